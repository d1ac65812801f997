/* behind CONNINFO WHAT: a child does WHAT with a session, or half of one, of its parent's. For runs in which
 * another library may stand before libforkguard, and libc's calls not reach its hooks. */
#include "session.h"

static void where(const char *name, PGconn *conn)
{
    const char *backend = value(conn, "select pg_backend_pid()");
    fact(name, "backend %s", backend ? backend : PQerrorMessage(conn));
}

/* Of a call that waits for no answer. */
static void asynchronous(PGconn *conn)
{
    int sent = PQsendQuery(conn, "select pg_backend_pid()");
    PQflush(conn);
    PQconsumeInput(conn);
    PGresult *result = PQgetResult(conn);
    if (result && PQresultStatus(result) == PGRES_TUPLES_OK)
        fact("child", "answered by backend %s", PQgetvalue(result, 0, 0));
    else
        fact("child", "%s, %s", PQstatus(conn) == CONNECTION_BAD ? "bad" : "still ok",
             PQerrorMessage(conn));
    (void)sent;
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    const char *what = arguments[2];
    PGconn *conn = !strcmp(what, "half") ? PQconnectStart(arguments[1]) : dial(arguments[1]);
    char *row = NULL;
    int fd;

    if (!strcmp(what, "half")) {
        PQconnectPoll(conn); /* the first bytes are still to be sent, or have been */
    } else {
        where("before", conn);
        if (!strncmp(what, "copy in", 7))
            PQclear(PQexec(conn, "create temp table t (n int); copy t from stdin"));
        if (!strcmp(what, "copy out"))
            PQclear(PQexec(conn, "copy (select generate_series(1, 3)) to stdout"));
    }
    fd = PQsocket(conn);
    fflush(NULL);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        if (!strcmp(what, "finish")) {
            PQfinish(conn);
            fact("child", "finished");
        } else if (!strcmp(what, "reset")) {
            PQreset(conn);
            use("child", conn);
            PQfinish(conn);
        } else if (!strcmp(what, "reset in steps")) {
            PQresetStart(conn);
            while (PQresetPoll(conn) == PGRES_POLLING_READING || PQstatus(conn) != CONNECTION_OK)
                if (PQstatus(conn) == CONNECTION_BAD)
                    break;
            use("child", conn);
            PQfinish(conn);
        } else if (!strcmp(what, "asynchronous")) {
            asynchronous(conn);
            PQfinish(conn);
        } else if (!strcmp(what, "copy in")) {
            int put = PQputCopyData(conn, "666\n", 4);
            put |= PQflush(conn);
            (void)put;
            PQputCopyEnd(conn, NULL);
            use("child", conn);
        } else if (!strcmp(what, "copy out")) {
            fact("read", "%s", PQgetCopyData(conn, &row, 0) > 0 ? row : "nothing");
            use("child", conn);
        } else if (!strcmp(what, "cancel")) {
            char error[256] = "";
            PGcancel *cancel = PQgetCancel(conn);
            fact("cancelled", "%d", cancel ? PQcancel(cancel, error, sizeof error) : -1);
        } else if (!strcmp(what, "half")) {
            PostgresPollingStatusType step;
            while ((step = PQconnectPoll(conn)) == PGRES_POLLING_WRITING || step == PGRES_POLLING_READING)
                if (!ready(PQsocket(conn), step == PGRES_POLLING_READING ? POLLIN : POLLOUT, 2000))
                    break;
            fact("child", "%s", step == PGRES_POLLING_OK ? "connected" : "failed");
            PQfinish(conn);
        } else if (!strcmp(what, "another socket")) {
            /* Something else of the child's has the number: it gets nothing of libpq's. */
            int pair[2];
            char byte;
            if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0)
                broken("socketpair");
            syscall(SYS_dup3, pair[0], fd, 0);
            use("child", conn);
            fact("got", "%zd", read(pair[1], &byte, 1));
        } else if (!strcmp(what, "own")) {
            PQfinish(conn); /* the number is free, and the next session's */
            PGconn *own = PQconnectdb(arguments[1]);
            fact("same number", "%d", PQsocket(own) == fd);
            use("child", own);
            PQfinish(own);
        } else {
            use("child", conn);
            PQfinish(conn);
        }
        _exit(0);
    }
    ended("ended", pid);
    if (!strcmp(what, "half")) {
        PostgresPollingStatusType step;
        while ((step = PQconnectPoll(conn)) == PGRES_POLLING_WRITING || step == PGRES_POLLING_READING)
            if (!ready(PQsocket(conn), step == PGRES_POLLING_READING ? POLLIN : POLLOUT, 5000))
                break;
        fact("parent", "%s", step == PGRES_POLLING_OK ? "connected" : PQerrorMessage(conn));
        return 0;
    }
    if (!strcmp(what, "copy in")) {
        PQputCopyData(conn, "1\n2\n", 4);
        PQputCopyEnd(conn, NULL);
        PQclear(PQgetResult(conn));
        PQclear(PQgetResult(conn));
        fact("rows", "%s", value(conn, "select string_agg(n::text, ' ') from t"));
    }
    if (!strcmp(what, "copy out")) {
        int rows = 0;
        while (PQgetCopyData(conn, &row, 0) > 0)
            rows++;
        PQclear(PQgetResult(conn));
        fact("rows", "%d", rows);
    }
    where("after", conn);
    return 0;
}
