/* heir CONNINFO: daemon(3) with a session that listens, holds locks and is watched by an epoll. */
#include "session.h"

int main(int count, char **arguments)
{
    if (count < 2)
        return 2;
    PGconn *conn = dial(arguments[1]);
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    command(conn, on_channel("listen"));
    command(conn, "select pg_advisory_lock(4711)");
    hold(conn);
    epoll_ctl(epoll, EPOLL_CTL_ADD, PQsocket(conn), &event);
    tell("before", conn);
    fact("process", "%d", getpid());
    facts = dup(1); /* daemon(3) puts /dev/null there */
    if (daemon(0, 0) != 0)
        broken("daemon");
    alarm(3 * CHILD_SECONDS);

    fact("heir", "%d", getpid());
    tell("after", conn);
    command(conn, "commit");
    fact("locks", "%s", value(conn, "select count(*) from pg_locks where locktype = 'advisory' "
                                    "and objid = 4711 and pid = pg_backend_pid()"));
    PGconn *other = dial(arguments[1]);
    command(other, on_channel("notify"));
    fact("woken", "%d", epoll_wait(epoll, &event, 1, 5000));
    PQconsumeInput(conn);
    PGnotify *news = PQnotifies(conn);
    fact("news", "%s", news ? news->extra : "none");

    command(conn, "begin");
    tell("between", conn);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        use("child", conn);
        use("child", other);
        PQfinish(conn);
        _exit(0);
    }
    ended("ended", pid);
    tell("finally", conn);
    return 0;
}
