/*
 * What a few calls cost in this process, in nanoseconds: run by cost.rs with
 * and without the library, in turn. One number a line.
 *
 *   cost fork N CHILD   fork with N sessions; CHILD is "exit" or "close" (of
 *                       each session). From before fork() until the child is
 *                       done with that, median of many.
 *   cost send|write|close|connect|dlsym
 *
 * The sessions of "fork" are real connections over loopback TCP to a listener of this
 * process, opened by a real startup packet: only their descriptors matter here.
 */
#include "measure.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_in listen_on_loopback(int *listener) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(*listener >= 0 && bind(*listener, (void *)&address, length) == 0 && listen(*listener, 64) == 0, "listen");
    need(getsockname(*listener, (void *)&address, &length) == 0, "getsockname");
    return address;
}

/* Protocol 3.0, user=u: what libpq sends first. */
static const char startup[] = "\0\0\0\x10\0\x03\0\0user\0u\0";

static void fork_cost(int sessions, int close_them) {
    enum { ROUNDS = 301, MOST = 1000 };
    static int fds[MOST];
    static int64_t took[ROUNDS];
    struct rlimit limit = {4096, 4096};
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener;
    struct sockaddr_in address = listen_on_loopback(&listener);
    for (int i = 0; i < sessions; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        need(fds[i] >= 0 && connect(fds[i], (void *)&address, sizeof address) == 0, "connect");
        need(send(fds[i], startup, sizeof startup, 0) == sizeof startup, "send");
        need(accept(listener, NULL, NULL) >= 0, "accept");
    }
    int64_t *done = shared();
    for (int round = 0; round < ROUNDS; round++) {
        *done = 0;
        int64_t start = now();
        pid_t pid = fork();
        if (pid == 0) {
            for (int i = 0; close_them && i < sessions; i++)
                close(fds[i]);
            *done = now();
            _exit(0);
        }
        need(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
        took[round] = *done - start;
    }
    printf("%.0f\n", median(took, ROUNDS));
}

/* The cheapest form of each call, so that what is added shows: on a number
 * that is not open, the kernel returns EBADF at once. */
static void call_cost(const char *call) {
    enum { ROUNDS = 20, CALLS = 200000 };
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = now();
        if (!strcmp(call, "send"))
            for (int i = 0; i < CALLS; i++)
                send(900, "x", 1, 0);
        else if (!strcmp(call, "write"))
            for (int i = 0; i < CALLS; i++)
                need(write(900, "x", 1) == -1, "write");
        else if (!strcmp(call, "dlsym"))
            for (int i = 0; i < CALLS; i++)
                need(dlsym(RTLD_DEFAULT, "malloc") != NULL, "dlsym");
        else
            for (int i = 0; i < CALLS; i++)
                close(900);
        double each = (double)(now() - start) / CALLS;
        if (each < best)
            best = each;
    }
    printf("%.2f\n", best);
}

/* socket, connect to a Unix socket, close: as a client of a local server. */
static void connect_cost(void) {
    enum { ROUNDS = 20, CALLS = 2000 };
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* Abstract: no file to clean up. */
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "forkguard-cost.%d", getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    need(listener >= 0 && bind(listener, (void *)&address, sizeof address) == 0 && listen(listener, 64) == 0, "listen");
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t spent = 0;
        for (int i = 0; i < CALLS; i++) {
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            int64_t start = now();
            need(connect(fd, (void *)&address, sizeof address) == 0, "connect");
            spent += now() - start;
            close(accept(listener, NULL, NULL));
            close(fd);
        }
        if ((double)spent / CALLS < best)
            best = (double)spent / CALLS;
    }
    printf("%.1f\n", best);
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "fork"))
        fork_cost(atoi(argv[2]), !strcmp(argv[3], "close"));
    else if (argc == 2 && !strcmp(argv[1], "connect"))
        connect_cost();
    else if (argc == 2)
        call_cost(argv[1]);
    else
        return 2;
    return 0;
}
