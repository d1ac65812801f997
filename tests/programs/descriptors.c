/* descriptors CONNINFO WHAT [HOW [WHEN]]: what a child finds at the numbers it inherits. */
#include "session.h"
#include <linux/close_range.h>
#include <sys/ioctl.h>

static const char terminate[] = "X\0\0\0\4";

static void flags_of(const char *name, int fd)
{
    fact(name, "%#x %#x", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
}

/* Every pair of O_NONBLOCK and FD_CLOEXEC, on the session and on a duplicate of it. */
static void flags(PGconn *conn, const char *how)
{
    int fd = PQsocket(conn), other = dup(fd);
    for (int pair = 0; pair < 4; pair++) {
        int block = pair & 1, close = pair & 2;
        if (!strcmp(how, "fcntl")) {
            fcntl(fd, F_SETFL, block ? O_NONBLOCK : 0);
            fcntl(fd, F_SETFD, close ? FD_CLOEXEC : 0);
        } else {
            ioctl(other, FIONBIO, &block); /* of the description: for both numbers */
            ioctl(fd, close ? FIOCLEX : FIONCLEX);
        }
        flags_of("parent", fd);
        flags_of("parent", other);
        pid_t pid = child_of(fork());
        if (pid == 0) {
            flags_of("child", fd);
            flags_of("child", other);
            _exit(0);
        }
        ended("ended", pid);
        flags_of("parent again", fd);
        flags_of("parent again", other);
    }
}

/* The number is not free for others to take. */
static void number(PGconn *conn)
{
    pid_t pid = child_of(fork());
    if (pid == 0) {
        int taken = 0;
        for (int i = 0; i < 20; i++)
            taken += open("/dev/null", O_RDONLY) == PQsocket(conn);
        fact("child", "given away %d times, open %d", taken, fcntl(PQsocket(conn), F_GETFD) >= 0);
        _exit(0);
    }
    ended("ended", pid);
}

static int duplicate(int fd, const char *how)
{
    if (!strcmp(how, "dup"))
        return dup(fd);
    if (!strcmp(how, "dup2"))
        return dup2(fd, 50);
    if (!strcmp(how, "dup3"))
        return dup3(fd, 51, O_CLOEXEC);
    if (!strcmp(how, "F_DUPFD"))
        return fcntl(fd, F_DUPFD, 52);
    if (!strcmp(how, "F_DUPFD_CLOEXEC"))
        return fcntl(fd, F_DUPFD_CLOEXEC, 53);
    if (!strcmp(how, "of a duplicate"))
        return dup(dup(dup2(fd, 54)));
    if (!strcmp(how, "over a session")) /* of our own: that one is closed by it */
        return dup2(fd, PQsocket(dial(getenv("CONNINFO"))));
    broken("no such duplicate");
}

/* A session under two numbers: `when` it was duplicated, before its first byte or after; or
 * under the duplicate's alone. */
static void duplicates(const char *how, const char *when)
{
    PGconn *conn = PQconnectStart(getenv("CONNINFO"));
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    int other = strcmp(when, "first") ? -1 : duplicate(PQsocket(conn), how);
    while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
        ready(PQsocket(conn), status == PGRES_POLLING_READING ? POLLIN : POLLOUT, 5000);
        status = PQconnectPoll(conn);
    }
    if (other < 0)
        other = duplicate(PQsocket(conn), how);
    int fd = PQsocket(conn);
    hold(conn);
    tell("before", conn);
    if (!strcmp(when, "alone"))
        close(fd);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        ssize_t sent = send(other, terminate, 5, MSG_NOSIGNAL);
        fact("sent", "%zd %s", sent, sent < 0 ? strerrorname_np(errno) : "");
        _exit(0);
    }
    ended("ended", pid);
    if (!strcmp(when, "alone"))
        dup2(other, fd);
    tell("after", conn);
}

/* The session is closed behind everybody's back, and its number used for something else. */
static void reuse(PGconn *conn, const char *how, const char *what)
{
    int fd = PQsocket(conn), pair[2] = {-1, -1};
    char text[16] = "";
    PGconn *next = NULL;

    if (!strcmp(how, "close_range"))
        close_range(fd, fd, 0);
    else if (!strcmp(how, "raw close"))
        syscall(SYS_close, fd);
    else
        fclose(fdopen(fd, "r"));

    if (!strcmp(what, "file")) {
        pair[0] = open("/proc/self/comm", O_RDONLY);
    } else if (!strcmp(what, "pipe")) {
        if (pipe(pair) != 0)
            broken("pipe");
    } else if (!strcmp(what, "socket")) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
            broken("socketpair");
    } else {
        next = dial(getenv("CONNINFO"));
        pair[0] = PQsocket(next);
        hold(next);
        tell("before", next);
    }
    if (pair[0] != fd)
        broken("another number");
    pid_t pid = child_of(fork());
    if (pid == 0) {
        if (next) {
            use("child", next);
            PQfinish(next);
        } else {
            fact("child", "%s", read(fd, text, 11) == 11 ? text : "cannot read");
            if (!strcmp(what, "socket"))
                fact("child", "%s", write(fd, "from child", 10) == 10 ? "wrote" : "cannot write");
        }
        _exit(0);
    }
    if (pair[1] >= 0 && write(pair[1], "descriptors", 11) != 11)
        broken("write");
    ended("ended", pid);
    if (!strcmp(what, "socket"))
        fact("parent", "%s", read(pair[1], text, 10) == 10 ? text : "cannot read");
    if (next)
        tell("after", next);
}

static void grandchildren(PGconn *conn)
{
    hold(conn);
    tell("before", conn);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        PGconn *own = dial(getenv("CONNINFO"));
        hold(own);
        tell("own before", own);
        pid = child_of(fork());
        if (pid == 0) {
            use("child", conn);
            use("child", own);
            PGconn *fresh = dial(getenv("CONNINFO"));
            use("fresh", fresh);
            PQfinish(conn);
            PQfinish(own);
            PQfinish(fresh);
            _exit(0);
        }
        ended("ended", pid);
        tell("own after", own);
        use("child", conn);
        PQfinish(conn);
        _exit(0);
    }
    ended("ended", pid);
    tell("after", conn);
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    const char *what = arguments[2];
    setenv("CONNINFO", arguments[1], 1);
    alarm(40);
    if (!strcmp(what, "duplicates")) {
        duplicates(arguments[3], arguments[4]);
        return 0;
    }
    PGconn *conn = dial(arguments[1]);
    if (!strcmp(what, "flags"))
        flags(conn, arguments[3]);
    else if (!strcmp(what, "number"))
        number(conn);
    else if (!strcmp(what, "reuse"))
        reuse(conn, arguments[3], arguments[4]);
    else if (!strcmp(what, "grandchildren"))
        grandchildren(conn);
    return 0;
}
