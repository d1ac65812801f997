/* usage: cancels busy|idle own|leave WAYS
 *
 * A statement runs in each of the parent's sessions, and a child cancels what it has inherited:
 * one session for each of libpq's ways to do so. `busy`: the statements ran at the fork; `idle`:
 * the parent sent them after it. WAYS is how many: libpq before 17 has the first four. Then, with
 * `own`, if an inherited session still answers the child, the same with a statement of its own. */
#include "session.h"

typedef struct pg_cancel_conn PGcancelConn;
extern PGcancelConn *PQcancelCreate(PGconn *) __attribute__((weak));
extern int PQcancelBlocking(PGcancelConn *) __attribute__((weak));
extern int PQcancelStart(PGcancelConn *) __attribute__((weak));
extern PostgresPollingStatusType PQcancelPoll(PGcancelConn *) __attribute__((weak));
extern int PQcancelSocket(const PGcancelConn *) __attribute__((weak));
extern char *PQcancelErrorMessage(const PGcancelConn *) __attribute__((weak));
extern void PQcancelFinish(PGcancelConn *) __attribute__((weak));

enum { MADE_BEFORE, MADE_HERE, OF_CONNECTION, IN_HANDLER, BLOCKING, POLLED, CONN_MADE_BEFORE, ALL };
static const char *names[ALL] = {"PQcancel, made before the fork", "PQcancel", "PQrequestCancel",
    "PQcancel in a signal handler", "PQcancelBlocking", "PQcancelPoll",
    "PQcancelBlocking, made before the fork"};

static PGconn *conns[ALL];
static PGcancel *cancels[ALL];
static PGcancelConn *cancel_conns[ALL];
static int ways, own;

static PGcancel *for_handler;
static volatile sig_atomic_t sent;
static void handler(int signal)
{
    (void)signal;
    char error[256];
    sent = PQcancel(for_handler, error, sizeof error);
}

static int cancel(int way)
{
    char error[256];
    int done = 0;
    PGcancel *here;
    PGcancelConn *conn;
    switch (way) {
    case MADE_BEFORE:
        return PQcancel(cancels[way], error, sizeof error);
    case MADE_HERE:
        if ((here = PQgetCancel(conns[way])))
            done = PQcancel(here, error, sizeof error);
        PQfreeCancel(here);
        return done;
    case OF_CONNECTION:
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
        return PQrequestCancel(conns[way]);
    case IN_HANDLER:
        for_handler = cancels[way];
        raise(SIGUSR1);
        return sent;
    case CONN_MADE_BEFORE:
        return PQcancelBlocking(cancel_conns[way]);
    case BLOCKING:
        conn = PQcancelCreate(conns[way]);
        done = PQcancelBlocking(conn);
        PQcancelFinish(conn);
        return done;
    default:
        conn = PQcancelCreate(conns[way]);
        PostgresPollingStatusType next = PQcancelStart(conn) ? PGRES_POLLING_WRITING : PGRES_POLLING_FAILED;
        for (int step = 0; step < 100 && next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED; step++) {
            ready(PQcancelSocket(conn), next == PGRES_POLLING_READING ? POLLIN : POLLOUT, 1000);
            next = PQcancelPoll(conn);
        }
        PQcancelFinish(conn);
        return next == PGRES_POLLING_OK;
    }
}

static const char *result_of(PGconn *conn)
{
    PGresult *result = PQgetResult(conn), *more;
    const char *state = PQresultStatus(result) == PGRES_TUPLES_OK ? "finished"
        : result && PQresultErrorField(result, PG_DIAG_SQLSTATE)  ? PQresultErrorField(result, PG_DIAG_SQLSTATE)
                                                                  : PQerrorMessage(conn);
    while ((more = PQgetResult(conn)))
        PQclear(more);
    return state;
}

/* Sends it, and waits until the server is at it, as a connection of nobody else's sees. */
static void start(PGconn *watch, int way, int seconds)
{
    char sql[128], look[256];
    snprintf(sql, sizeof sql, "select pg_sleep(%d) /* %d %d */", seconds, getpid(), way);
    snprintf(look, sizeof look, "select 1 from pg_stat_activity where query = '%s' and wait_event = 'PgSleep'", sql);
    if (!PQsendQuery(conns[way], sql) || PQflush(conns[way]) != 0)
        broken(PQerrorMessage(conns[way]));
    for (int tries = 0; tries < 1000 && !value(watch, look); tries++)
        usleep(1000);
}

static void start_all(void)
{
    PGconn *watch = dial("");
    for (int way = 0; way < ways; way++)
        start(watch, way, 2);
    PQfinish(watch);
}

static void child(void)
{
    for (int way = 0; way < ways; way++)
        fact("child's cancel", "%s: %d", names[way], cancel(way));
    if (!own)
        return;
    PGconn *watch = dial("");
    for (int way = 0; way < ways; way++) {
        if (!value(conns[way], "select 1"))
            continue;
        start(watch, way, 3);
        int done = cancel(way);
        fact("own", "%s: %d, %s", names[way], done, result_of(conns[way]));
    }
    PQfinish(watch);
}

int main(int argc, char **argv)
{
    int busy = !strcmp(argv[1], "busy"), go[2];
    own = !strcmp(argv[2], "own");
    ways = atoi(argv[3]);
    signal(SIGUSR1, handler);
    for (int way = 0; way < ways; way++) {
        conns[way] = dial("");
        cancels[way] = PQgetCancel(conns[way]);
        if (way == CONN_MADE_BEFORE)
            cancel_conns[way] = PQcancelCreate(conns[way]);
    }
    if (busy)
        start_all();
    if (pipe(go))
        broken("pipe");
    pid_t pid = child_of(fork());
    if (pid == 0) {
        char byte;
        if (!busy && read(go[0], &byte, 1) != 1)
            broken("pipe");
        child();
        _exit(0);
    }
    alarm(20);
    if (!busy)
        start_all();
    if (write(go[1], "", 1) != 1)
        broken("pipe");
    for (int way = 0; way < ways; way++)
        fact("parent's statement", "%s: %s", names[way], result_of(conns[way]));
    ended("child", pid);
    return 0;
}
