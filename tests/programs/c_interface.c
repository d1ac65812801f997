/* c_interface CONNINFO WHAT: include/forkguard.h from C. */
#include "session.h"
#include <forkguard.h>

/* An answer with errno, which success leaves alone. */
#define SAY(call)                                                                                  \
    do {                                                                                           \
        int answer;                                                                                \
        errno = EXDEV; /* one that nothing here sets */                                            \
        answer = (call);                                                                           \
        fact("answer", "%s = %d%s%s", #call, answer, errno == EXDEV ? "" : " ",                    \
             errno == EXDEV ? "" : strerrorname_np(errno));                                        \
    } while (0)

static void say_counters(const char *name)
{
    struct forkguard_counters now;
    if (forkguard_counters(&now, sizeof now) != 0)
        broken("counters");
    fact(name, "opened %d, open now %d, abandoned %d, refused %d, handed over %d", (int)now.opened,
         (int)now.open_now, (int)now.abandoned, (int)now.refused, (int)now.handed_over);
}

static void errors(PGconn *conn)
{
    struct forkguard_counters counters[2];
    int session = PQsocket(conn), closed = 900, file = open("/dev/null", O_RDONLY);
    int udp = socket(AF_INET, SOCK_DGRAM, 0), pair[2];
    uint64_t *numbers = (uint64_t *)counters;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        broken("socketpair");

    fact("version", "%s", forkguard_version());
    SAY(forkguard_state(-1));
    SAY(forkguard_state(closed));
    SAY(forkguard_state(1 << 30));
    SAY(forkguard_state(file));
    SAY(forkguard_state(pair[0]));
    SAY(forkguard_state(session));

    SAY(forkguard_track(-1));
    SAY(forkguard_track(closed));
    SAY(forkguard_track(file));
    SAY(forkguard_track(udp));
    SAY(forkguard_track(session));
    SAY(forkguard_track(pair[0]));
    SAY(forkguard_state(pair[0]));
    SAY(forkguard_state(pair[1]));

    SAY(forkguard_release(-1));
    SAY(forkguard_release(closed));
    SAY(forkguard_release(file));
    SAY(forkguard_release(udp));
    SAY(forkguard_release(pair[1]));
    SAY(forkguard_release(session));
    SAY(forkguard_release(session));
    SAY(forkguard_state(session));
    SAY(forkguard_track(session));

    SAY(forkguard_counters(NULL, sizeof *counters));
    memset(counters, 0xff, sizeof counters);
    SAY(forkguard_counters(counters, 8)); /* a program that knows one field */
    fact("known", "%d %d", (int)numbers[0], (int)numbers[1]);
    SAY(forkguard_counters(counters, sizeof counters)); /* one that knows more than we do */
    fact("unknown", "%d", (int)numbers[sizeof *counters / sizeof *numbers]);
    SAY(forkguard_counters(counters, 0));

    close(session);
    SAY(forkguard_state(session));
    if (dup2(file, session) != session)
        broken("dup2");
    SAY(forkguard_state(session));
}

static void states(PGconn *conn, const char *conninfo)
{
    int fd = PQsocket(conn), other = dup(fd);
    PGconn *half = PQconnectStart(conninfo);
    fact("parent", "%d %d %d", forkguard_state(fd), forkguard_state(other),
         forkguard_state(PQsocket(half)));
    PQfinish(half);
    say_counters("parent counts");
    hold(conn);
    tell("before", conn);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        fact("in child", "%d %d", forkguard_state(fd), forkguard_state(other));
        SAY(forkguard_release(fd));
        say_counters("child counts");
        use("child", conn);
        PGconn *own = dial(conninfo);
        fact("own", "%d", forkguard_state(PQsocket(own)));
        say_counters("child counts");
        PQfinish(own);
        say_counters("child counts");
        PQfinish(conn);
        fact("in child", "%d %d", forkguard_state(fd), forkguard_state(other));
        _exit(0);
    }
    ended("ended", pid);
    tell("after", conn);
    say_counters("parent counts");
    close(other);
    say_counters("parent counts");
}

/* A session is handed to the child, and on to its child, unless that is told otherwise. */
static void release(PGconn *conn, int by_duplicate)
{
    int fd = PQsocket(conn);
    hold(conn);
    tell("before", conn);
    if (forkguard_release(by_duplicate ? dup(fd) : fd) != 0)
        broken("release");
    pid_t pid = child_of(fork());
    if (pid == 0) {
        fact("in child", "%d", forkguard_state(fd));
        say_counters("child counts");
        pid = child_of(fork());
        if (pid == 0) {
            use("heir", conn);
            _exit(0);
        }
        ended("ended", pid);
        if (forkguard_track(fd) != 0)
            broken("track");
        pid = child_of(fork());
        if (pid == 0) {
            use("child", conn);
            PQfinish(conn);
            _exit(0);
        }
        ended("ended", pid);
        tell("after", conn);
        _exit(0);
    }
    close(fd); /* harmless, the header says */
    ended("ended", pid);
}

/* A session that came some other way: here across execve, without its close-on-exec. */
static void track(char **arguments, int fd)
{
    char number[16];
    if (fd < 0) {
        PGconn *conn = dial(arguments[1]);
        snprintf(number, sizeof number, "%d", dup(PQsocket(conn)));
        setenv("SESSION", number, 1);
        execv("/proc/self/exe", arguments);
        broken("exec");
    }
    fact("untracked", "%d", forkguard_state(fd));
    if (forkguard_track(fd) != 0)
        broken("track");
    pid_t pid = child_of(fork());
    if (pid == 0) {
        ssize_t sent = send(fd, "X\0\0\0\4", 5, MSG_NOSIGNAL);
        fact("sent", "%d %s", (int)sent, sent < 0 ? strerrorname_np(errno) : "");
        _exit(0);
    }
    ended("ended", pid);
    fact("server", "%s", ready(fd, POLLIN, 200) ? "hung up" : "waits");
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    const char *what = arguments[2];
    alarm(40);
    if (!strcmp(what, "track")) {
        track(arguments, getenv("SESSION") ? atoi(getenv("SESSION")) : -1);
        return 0;
    }
    PGconn *conn = dial(arguments[1]);
    if (!strcmp(what, "errors"))
        errors(conn);
    else if (!strcmp(what, "states"))
        states(conn, arguments[1]);
    else if (!strncmp(what, "release", 7))
        release(conn, !strcmp(what, "release a duplicate"));
    return 0;
}
