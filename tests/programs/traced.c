/* traced CONNINFO WHAT: counts the system calls of a child and of what it forks ("call NUMBER": how
 * often), from the fork on. WHAT: "strangers" (sockets, descriptors and children, and no PostgreSQL in
 * sight, not in its parent either), "session" (the parent has one, and the child uses it; with the
 * argument "anew" it dials one of its own in its place), "own" (the parent has none, the child dials),
 * "exec" (the child becomes a program that dials). */
#include "session.h"
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

/* A stranger's server: a listening socket of ours. */
static struct sockaddr_in address = {.sin_family = AF_INET};

static void speak(int fd, int accepted)
{
    char byte[8];
    struct iovec vector[2] = {{"a", 1}, {"b", 1}};
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};
    if (write(fd, "GET /", 5) != 5 || send(fd, "x", 1, 0) != 1 || sendto(fd, "y", 1, 0, NULL, 0) != 1
        || writev(fd, vector, 2) != 2 || sendmsg(fd, &message, 0) != 2)
        _exit(3);
    while (recv(accepted, byte, sizeof byte, MSG_DONTWAIT) > 0)
        ;
    if (read(accepted, byte, 0) || write(accepted, "z", 1) != 1 || recv(fd, byte, 1, 0) != 1)
        _exit(4);
}

static int connected(int listening, int *accepted)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        _exit(5);
    *accepted = accept(listening, NULL, NULL);
    return fd;
}

static void strangers(int listening, int inherited, int inherited_accepted)
{
    int accepted, fd = connected(listening, &accepted);
    speak(fd, accepted);
    speak(inherited, inherited_accepted); /* connected before the fork, and not yet spoken on */
    int peer, silent = connected(listening, &peer), other = dup(silent);
    fcntl(silent, F_SETFL, O_NONBLOCK);
    fcntl(silent, F_SETFD, FD_CLOEXEC);
    dup2(silent, other);
    close(dup(fd));
    struct pollfd wanted = {fd, POLLIN, 0};
    poll(&wanted, 1, 0);
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN, {0}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, silent, &event);
    epoll_wait(epoll, &event, 1, 0);
    int bad = socket(AF_INET, SOCK_STREAM, 0); /* nobody listens, and wild pointers */
    connect(bad, NULL, sizeof address);
    connect(bad, (struct sockaddr *)16, sizeof address);
    if (send(silent, (void *)16, 8, 0) != -1 || errno != EFAULT)
        _exit(6);
    close(bad);
    shutdown(silent, SHUT_RDWR);
    close(silent);
    for (int i = 0; i < 2; i++) { /* a child of fork, one of vfork, and a raw one */
        pid_t pid = i ? vfork() : fork();
        if (pid == 0) {
            close(other);
            if (!i)
                speak(fd, accepted), connected(listening, &peer);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0) {
        close(fd);
        write(other, "x", 1);
        _exit(0);
    }
    wait(NULL);
    speak(fd, accepted);
}

static void query(PGconn *conn)
{
    if (!value(conn, "select pg_backend_pid()"))
        _exit(7);
    PQfinish(conn);
}

static long counts[1024];

static void trace(pid_t first)
{
    int status, left = 1;
    waitpid(first, &status, 0);
    ptrace(PTRACE_SETOPTIONS, first, 0,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE
               | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    for (pid_t pid = first; left;) {
        ptrace(PTRACE_SYSCALL, pid, 0, 0);
        pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            broken("wait");
        while (!WIFSTOPPED(status)) {
            if (pid == first)
                fact("ended", "%s %d", WIFEXITED(status) ? "exit" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
            if (pid == first)
                return;
            pid = waitpid(-1, &status, __WALL);
        }
        struct __ptrace_syscall_info info;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)
            && ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0
            && info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr < 1024)
            counts[info.entry.nr]++;
    }
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    const char *conninfo = arguments[1], *what = arguments[2];
    alarm(30);
    if (!strcmp(what, "dial")) {
        query(dial(conninfo));
        return 0;
    }
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listening, (struct sockaddr *)&address, length) || listen(listening, 9)
        || getsockname(listening, (struct sockaddr *)&address, &length))
        broken("listen");
    int accepted, inherited = connected(listening, &accepted);
    PGconn *conn = !strcmp(what, "session") ? dial(conninfo) : NULL;
    pid_t pid = child_of(fork());
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
        if (!strcmp(what, "strangers"))
            strangers(listening, inherited, accepted);
        else if (!strcmp(what, "session"))
            query(count > 3 ? dial(conninfo) : conn);
        else if (!strcmp(what, "own"))
            query(dial(conninfo));
        else {
            char *become[] = {arguments[0], arguments[1], "dial", NULL};
            execv("/proc/self/exe", become);
        }
        _exit(0);
    }
    trace(pid);
    for (int i = 0; i < 1024; i++)
        if (counts[i])
            fact("call", "%d %ld", i, counts[i]);
    return 0;
}
