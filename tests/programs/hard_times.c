/* hard_times CONNINFO WHAT: a fork where something has run out. */
#include "session.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/resource.h>

static PGconn *conn, *second;

static void limit(rlim_t soft, rlim_t hard)
{
    struct rlimit limit;
    /* Not through glibc's functions, which call prlimit: that may be refused. */
    syscall(SYS_getrlimit, RLIMIT_NOFILE, &limit);
    limit.rlim_cur = soft;
    if (hard)
        limit.rlim_max = hard;
    if (syscall(SYS_setrlimit, RLIMIT_NOFILE, &limit) != 0)
        broken("setrlimit");
}

static void take_every_number(void)
{
    int taken = 0;
    while (dup(0) >= 0)
        taken++;
    fact("errno", "%s", strerrorname_np(errno));
    fact("taken", "%d", taken);
}

static void fork_and_use(void)
{
    struct rlimit before, now;
    int fd = PQsocket(conn);
    syscall(SYS_getrlimit, RLIMIT_NOFILE, &before);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        syscall(SYS_getrlimit, RLIMIT_NOFILE, &now);
        fact("limit", "%s", now.rlim_cur == before.rlim_cur ? "as it was" : "changed");
        fact("number", "%s", fcntl(fd, F_GETFD) >= 0 ? "taken" : "free");
        fact("mode", "%s", (fcntl(fd, F_GETFL) & O_NONBLOCK) ? "non-blocking" : "blocking");
        use("child", conn);
        use("child", second);
        PQfinish(conn);
        PQfinish(second);
        _exit(0);
    }
    ended("ended", pid);
}

/* The child closes all it did not open, and dials. */
static void child_closes_everything(const char *conninfo)
{
    pid_t pid = child_of(fork());
    if (pid == 0) {
        syscall(SYS_close_range, 3, ~0u, 0);
        PGconn *own = dial(conninfo);
        fact("number", "%d", PQsocket(own) == PQsocket(conn));
        hold(own);
        tell("own before", own);
        pid = child_of(fork());
        if (pid == 0) {
            use("child", own);
            PQfinish(own);
            _exit(0);
        }
        ended("ended", pid);
        tell("own after", own);
        _exit(0);
    }
    ended("ended", pid);
}

static void *duplicate_and_close(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++)
        close(dup(PQsocket(conn)));
    return NULL;
}

/* fork(2) itself fails: the parent goes on as if nothing had been, and so do its threads. */
static void no_fork(const char *conninfo)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        fact("fork", "%d %s", pid, pid < 0 ? strerrorname_np(errno) : "");
    }
    PGconn *next = dial(conninfo);
    hold(next);
    PQfinish(next);
    pthread_t thread;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pthread_create(&thread, NULL, duplicate_and_close, NULL);
    pthread_join(thread, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    fact("thread", "%s", end.tv_sec - begin.tv_sec < 2 ? "goes on" : "was held up");
}

/* A session without libpq, which would need memory. */
static int raw_session(const struct sockaddr_in *server)
{
    static const char startup[] = "\0\0\0\x2b\0\3\0\0user\0forkguard\0database\0forkguard\0";
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (void *)server, sizeof *server) != 0
        || send(fd, startup, sizeof startup, 0) != sizeof startup)
        broken("a raw session");
    return fd;
}

enum { SESSIONS = 30, DUPLICATES = 500 };

static void no_memory(void)
{
    static int fds[SESSIONS + DUPLICATES];
    struct rlimit none = {0, RLIM_INFINITY};
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(PQport(conn))),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    void *list = NULL;
    setrlimit(RLIMIT_AS, &none);
    for (size_t size = 1 << 20; size >= sizeof list; size /= 2)
        for (void **more; (more = malloc(size)); list = more)
            *more = list;
    fact("malloc", "%s", malloc(1) ? "gives" : "gives nothing");
    for (int i = 0; i < SESSIONS; i++)
        fds[i] = raw_session(&server);
    for (int i = SESSIONS; i < SESSIONS + DUPLICATES; i++)
        fds[i] = dup(fds[i % SESSIONS]);
    int beyond = fcntl(fds[0], F_DUPFD, 5000); /* the table's next part: it cannot be had */
    fact("beyond", "%s", beyond >= 5000 ? "duplicated" : "not");
    pid_t pid = child_of(fork());
    if (pid == 0) {
        int dead = 0;
        for (int i = 0; i < SESSIONS + DUPLICATES; i++)
            dead += send(fds[i], "X", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE;
        fact("dead", "%d of %d", dead, SESSIONS + DUPLICATES);
        _exit(0);
    }
    ended("ended", pid);
    int alive = 0;
    for (int i = 0; i < SESSIONS; i++)
        alive += !(ready(fds[i], POLLIN | POLLRDHUP, 200) & (POLLRDHUP | POLLHUP | POLLERR));
    for (int i = 0; i < SESSIONS + DUPLICATES; i++)
        close(fds[i]);
    fact("alive", "%d of %d", alive, SESSIONS);
    none.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_AS, &none);
    while (list) {
        void *next = *(void **)list;
        free(list);
        list = next;
    }
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    const char *what = arguments[2];
    alarm(40);
    if (!strncmp(what, "below", 5)) /* sessions on numbers above the limit to come */
        for (int i = 0; i < 100; i++)
            dup(0);
    conn = dial(arguments[1]);
    second = dial(arguments[1]);
    if (strstr(what, "blocking")) /* one of each kind */
        fcntl(PQsocket(conn), F_SETFL, 0);
    hold(conn);
    tell("before", conn);
    if (!strncmp(what, "full, soft", 10)) {
        limit(64, 0);
        take_every_number();
    } else if (!strncmp(what, "full, hard", 10)) {
        limit(64, 64);
        take_every_number();
    } else if (!strncmp(what, "below, soft", 11))
        limit(10, 0);
    else if (!strncmp(what, "below, hard", 11))
        limit(10, 10);
    if (!strcmp(what, "child closes everything"))
        child_closes_everything(arguments[1]);
    else if (!strcmp(what, "no fork"))
        no_fork(arguments[1]);
    else if (!strcmp(what, "no memory"))
        no_memory();
    else
        fork_and_use();
    tell("after", conn);
    return 0;
}
