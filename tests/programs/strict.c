/* strict: SECCOMP_MODE_STRICT, in which read, write and exit are all that a process may call, in a
 * child that connects to a stranger first, in one that inherits a connection, and in one that has a
 * pair of sockets. */
#include "session.h"
#include <linux/seccomp.h>

static void in_child(const char *name, int ours, int theirs, const struct sockaddr_in *address)
{
    pid_t pid = child_of(fork());
    if (pid == 0) {
        char byte;
        if (address && connect(ours, (const struct sockaddr *)address, sizeof *address))
            _exit(3);
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        if (write(ours, "GET / HTTP/1.0\r\n\r\n", 18) != 18 || (theirs >= 0 && read(theirs, &byte, 1) != 1))
            syscall(SYS_exit, 4);
        syscall(SYS_exit, 0);
    }
    ended(name, pid);
}

int main(void)
{
    int listening = socket(AF_INET, SOCK_STREAM, 0), pair[2], made = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listening, (struct sockaddr *)&address, length) || listen(listening, 3)
        || getsockname(listening, (struct sockaddr *)&address, &length)
        || socketpair(AF_UNIX, SOCK_STREAM, 0, pair)
        || connect(made, (struct sockaddr *)&address, length))
        broken("sockets");
    in_child("connects", socket(AF_INET, SOCK_STREAM, 0), -1, &address);
    in_child("inherits", made, -1, NULL);
    in_child("pair", pair[0], pair[1], NULL);
    return 0;
}
