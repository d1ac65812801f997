/* reused CONNINFO HOW [COUNT]: descriptors are closed and used again at once, by the child or the
 * parent, while sessions are held; or there are very many.
 *
 * child     the child closes each number it inherited and opens something else there, by libc
 * child raw the same by system calls, past every hook
 * parent    a thread of the parent does so with its own numbers, and dials, while it forks
 * parent raw
 * none      no number is left, from before the fork on
 * none left in the child
 * many      COUNT descriptors are open, or as many as may be; sessions above them; how long
 *           forks take */
#include "session.h"
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

static int raw;

static int shut(int fd) { return raw ? (int)syscall(SYS_close, fd) : close(fd); }
static int copy(int from, int to) { return raw ? (int)syscall(SYS_dup2, from, to) : dup2(from, to); }
static int pair(int *two)
{
    return raw ? (int)syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, two)
               : socketpair(AF_UNIX, SOCK_STREAM, 0, two);
}

/* Something else at this number, by each way in turn; it must then work as what it is. */
static int replaced_well(int fd, int round)
{
    char byte = 0;
    int two[2], three[2], good;
    if (pair(two) != 0)
        return 0;
    if (round % 3 == 0) { /* dup2 over it */
        if (copy(two[0], fd) != fd)
            return 0;
        shut(two[0]);
    } else { /* close, and whatever comes next takes the number, or is put there */
        shut(fd);
        if (round % 3 == 1 && pair(three) == 0) {
            shut(three[0]);
            shut(three[1]);
        }
        if (copy(two[0], fd) != fd)
            return 0;
        if (two[0] != fd)
            shut(two[0]);
    }
    good = write(fd, "x", 1) == 1 && read(two[1], &byte, 1) == 1 && byte == 'x'
           && write(two[1], "y", 1) == 1 && read(fd, &byte, 1) == 1 && byte == 'y';
    shut(two[1]);
    return good;
}

static void take_all(void)
{
    struct rlimit limit = {64, 64};
    setrlimit(RLIMIT_NOFILE, &limit);
    while (dup(0) >= 0)
        continue;
    fact("errno", "%s", strerrorname_np(errno));
}

static volatile int stop, strangers, spoilt;
static const char *conninfo;

/* Numbers of this thread's own, used again and again, a session among them each time. */
static void *churn(void *unused)
{
    (void)unused;
    for (int round = 0; !stop; round++) {
        PGconn *conn = PQconnectdb(conninfo);
        int fd = PQsocket(conn);
        if (fd < 0 || PQstatus(conn) != CONNECTION_OK) {
            spoilt++;
            continue;
        }
        for (int i = 0; i < 20; i++)
            if (replaced_well(fd, round + i))
                strangers++;
            else
                spoilt++;
        PQfinish(conn); /* closes what is there now */
    }
    return NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_number(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return difference < 0 ? -1 : difference > 0;
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    conninfo = arguments[1];
    const char *how = arguments[2];
    raw = !!strstr(how, "raw");
    alarm(60);
    enum { SESSIONS = 5 };
    int many = count > 3 ? atoi(arguments[3]) : 0;
    PGconn *conn[SESSIONS];
    int fds[SESSIONS];
    if (!strcmp(how, "many")) {
        struct rlimit limit = {(rlim_t)many + 100, (rlim_t)many + 100};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) { /* root alone may, and not in every container */
            getrlimit(RLIMIT_NOFILE, &limit);
            limit.rlim_cur = limit.rlim_max;
            setrlimit(RLIMIT_NOFILE, &limit);
            many = (int)limit.rlim_max - 100;
        }
        fact("open", "%d", many);
        for (int i = 3; i < many; i++)
            if (dup(0) < 0)
                broken("dup");
    }
    for (int i = 0; i < SESSIONS; i++)
        fds[i] = PQsocket(conn[i] = dial(conninfo));
    fact("number", "%d", fds[0]);
    hold(conn[0]);
    tell("before", conn[0]);
    if (!strcmp(how, "many")) {
        double took[101];
        for (int i = 0; i < 101; i++) {
            double start = now();
            pid_t pid = fork();
            if (pid == 0)
                _exit(0);
            took[i] = now() - start;
            waitpid(pid, NULL, 0);
        }
        qsort(took, 101, sizeof *took, by_number);
        fact("fork", "%.0f", took[50]);
        pid_t pid = child_of(fork());
        if (pid == 0) {
            use("child", conn[0]);
            use("idle", conn[1]);
            fact("same", "%d", PQsocket(conn[1]) >= many);
            _exit(0);
        }
        ended("ended", pid);
    } else if (!strncmp(how, "none", 4)) {
        if (!strcmp(how, "none"))
            take_all();
        pid_t pid = child_of(fork());
        if (pid == 0) {
            if (strcmp(how, "none"))
                take_all();
            use("idle", conn[1]);
            use("child", conn[0]); /* libpq finds it lost, and closes it: a number */
            use("idle again", conn[1]);
            for (int i = 3; i < 64; i++) /* numbers again: the child's own */
                if (i < fds[0] || i > fds[SESSIONS - 1])
                    close(i);
            PGconn *own = dial(conninfo);
            fact("own", "%s", value(own, "select 7"));
            use("next", conn[2]);
            _exit(0);
        }
        ended("ended", pid);
        value(conn[1], "select 1");
        fact("idle after", "%d", PQstatus(conn[1]));
    } else if (!strncmp(how, "child", 5)) {
        pid_t pid = child_of(fork());
        if (pid == 0) {
            int good = 0;
            for (int round = 0; round < 3000; round++)
                good += replaced_well(fds[round % SESSIONS], round);
            fact("replaced", "%d of 3000", good);
            /* What stands there now is the child's own: libpq's call on it is no session's. */
            for (int i = 0; i < SESSIONS; i++)
                PQfinish(conn[i]);
            PGconn *own = dial(conninfo);
            fact("own", "%s", value(own, "select 7"));
            _exit(0);
        }
        ended("ended", pid);
    } else {
        pthread_t thread;
        pthread_create(&thread, NULL, churn, NULL);
        int well = 0, forks = 0;
        for (double end = now() + 3e6; now() < end; forks++) {
            pid_t pid = child_of(fork());
            if (pid == 0) {
                int dead = 0;
                for (int i = 0; i < SESSIONS; i++)
                    dead += send(fds[i], "X\0\0\0\4", 5, MSG_NOSIGNAL) == -1 && errno == EPIPE;
                _exit(dead == SESSIONS ? 0 : 1);
            }
            int status;
            waitpid(pid, &status, 0);
            well += status == 0;
        }
        stop = 1;
        pthread_join(thread, NULL);
        fact("children", "%s", well == forks ? "all well" : "not all well");
        fact("forks", "%d, well %d", forks, well);
        fact("churned", "%d, spoilt %d", strangers, spoilt);
    }
    tell("after", conn[0]);
    return 0;
}
