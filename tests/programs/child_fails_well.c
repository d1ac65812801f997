/* child_fails_well CONNINFO STATE: a connection is inherited in a state; the child goes on with
 * it, and then the parent does. */
#include "session.h"

enum { ROWS = 20000 };

static PGconn *conn;
static char complaint[512]; /* the first */

static void complain(const char *text)
{
    if (!complaint[0])
        snprintf(complaint, sizeof complaint, "%s", text);
}

/* Reads the results that are left: how many rows, and whether an error was among them. A
 * pipeline gives NULL between its results: the end is two in a row, or a lost connection. */
static void rest(const char *name)
{
    long rows = 0;
    int errors = 0, results = 0, nulls = 0;
    while (nulls < 2 && results < 1000000) {
        PGresult *result = PQgetResult(conn);
        if (!result) {
            nulls++;
            continue;
        }
        nulls = 0;
        results++;
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_FATAL_ERROR || status == PGRES_PIPELINE_ABORTED) {
            complain(PQresultErrorMessage(result));
            errors++;
        }
        if (status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK)
            rows += PQntuples(result);
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC || PQstatus(conn) == CONNECTION_BAD)
            break;
    }
    fact(name, "%ld rows, %s", rows, errors ? "error" : "no error");
}

/* Sends rows; -1 is libpq's no. More than any buffer holds. */
static int rows_in(int many)
{
    int answer = 1;
    for (int i = 0; i < many && answer == 1; i++)
        answer = PQputCopyData(conn, "1234567890 and so on until the buffers are full\n", 48);
    if (answer == 1)
        answer = PQputCopyEnd(conn, NULL);
    if (answer != 1)
        complain(PQerrorMessage(conn));
    return answer;
}

static void rows_out(const char *name)
{
    char *row;
    long rows = 0;
    int length;
    while ((length = PQgetCopyData(conn, &row, 0)) > 0)
        rows++;
    if (length != -1)
        complain(PQerrorMessage(conn));
    fact(name, "%ld rows, %s", rows, length == -1 ? "end" : "error");
}

static void prepare(const char *conninfo, const char *state)
{
    char sql[128];
    conn = dial(conninfo);
    if (!strcmp(state, "transaction")) {
        command(conn, "begin");
    } else if (!strcmp(state, "listen")) {
        command(conn, on_channel("listen"));
    } else if (!strcmp(state, "result")) {
        snprintf(sql, sizeof sql, "select repeat('x', 100) from generate_series(1, %d)", ROWS);
        PQsendQuery(conn, sql);
        PQsetSingleRowMode(conn);
        for (int i = 0; i < 3; i++)
            PQclear(PQgetResult(conn));
    } else if (!strcmp(state, "copy in")) {
        command(conn, "create temp table lines (line text)");
        PQclear(PQexec(conn, "copy lines from stdin"));
    } else if (!strcmp(state, "copy out")) {
        snprintf(sql, sizeof sql,
                 "copy (select repeat('x', 100) from generate_series(1, %d)) to stdout", ROWS);
        PQclear(PQexec(conn, sql));
        for (int i = 0; i < 3; i++) {
            char *row;
            PQgetCopyData(conn, &row, 0);
        }
    } else if (!strcmp(state, "pipeline")) {
        PQenterPipelineMode(conn);
        for (int i = 0; i < 3; i++)
            PQsendQueryParams(conn, "select pg_sleep(0.2)", 0, NULL, NULL, NULL, NULL, 0);
        PQpipelineSync(conn);
        PQflush(conn);
    }
}

static void go_on(const char *state, const char *name)
{
    if (!strcmp(state, "result")) {
        rest(name);
    } else if (!strcmp(state, "copy in")) {
        fact(name, "%s", rows_in(ROWS) == 1 ? "all sent" : "error");
        rest("result");
    } else if (!strcmp(state, "copy out")) {
        rows_out(name);
        rest("result");
    } else if (!strcmp(state, "pipeline")) {
        rest(name);
        PQexitPipelineMode(conn);
    } else if (!strcmp(state, "listen")) {
        int input = PQconsumeInput(conn);
        if (!input)
            complain(PQerrorMessage(conn));
        fact(name, "input %d", input);
    } else {
        PGresult *result = PQexec(conn, "select 1");
        complain(PQerrorMessage(conn));
        fact(name, "%s", PQresStatus(PQresultStatus(result)));
    }
}

static void in_state(const char *conninfo, const char *state)
{
    prepare(conninfo, state);
    int fd = PQsocket(conn);
    fact("before", "backend %d", PQbackendPID(conn));
    pid_t pid = child_of(fork());
    if (pid == 0) {
        struct epoll_event event = {.events = EPOLLIN};
        struct timeval moment = {.tv_usec = 300000};
        fd_set set;
        FD_ZERO(&set);
        FD_SET(fd, &set);
        int epoll = epoll_create1(0);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        fact("woken", "poll %d, select %d, epoll %d", ready(fd, POLLIN, 300) != 0,
             select(fd + 1, &set, NULL, NULL, &moment), epoll_wait(epoll, &event, 1, 300));
        go_on(state, "goes on");
        fact("child", "%s, %s", PQstatus(conn) == CONNECTION_BAD ? "bad" : "still ok", complaint);
        use("again", conn);
        PQfinish(conn);
        _exit(0);
    }
    ended("ended", pid);
    alarm(30);
    go_on(state, "parent");
    if (!strcmp(state, "listen")) {
        command(conn, on_channel("notify"));
        fact("news", "%s", PQnotifies(conn) ? "came" : "none");
    }
    if (!strcmp(state, "copy in"))
        fact("lines", "%s", value(conn, "select count(*) from lines"));
    fact("after", "backend %s", value(conn, "select pg_backend_pid()"));
}

/* One step of libpq's handshake, as its documentation says: wait for what it wants, then poll. */
static PostgresPollingStatusType step(PGconn *conn, PostgresPollingStatusType wanted)
{
    if (!ready(PQsocket(conn), wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT, 5000))
        fact("stuck", "after 5 s");
    return PQconnectPoll(conn);
}

static PostgresPollingStatusType finish(PGconn *conn, PostgresPollingStatusType status)
{
    for (int i = 0; i < 50 && status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED; i++)
        status = step(conn, status);
    return status;
}

/* A fork after each step of a handshake, from none. */
static void in_handshake(const char *conninfo, const char *fate)
{
    for (int steps = 0;; steps++) {
        PGconn *conn = PQconnectStart(conninfo);
        PostgresPollingStatusType status = PGRES_POLLING_WRITING;
        for (int i = 0; i < steps && status != PGRES_POLLING_OK; i++)
            status = step(conn, status);
        if (status == PGRES_POLLING_OK) {
            fact("steps", "%d", steps);
            return;
        }
        pid_t pid = child_of(fork());
        if (pid == 0) {
            if (!strcmp(fate, "goes on")) {
                status = finish(conn, status);
                if (status == PGRES_POLLING_OK)
                    use("child", conn);
                else
                    fact("child", "bad, %s", PQerrorMessage(conn));
            } else {
                fact("child", "finishes");
                PQfinish(conn);
            }
            _exit(0);
        }
        ended("ended", pid);
        alarm(20);
        status = finish(conn, status);
        if (status == PGRES_POLLING_OK)
            use("parent", conn);
        else
            fact("parent", "failed, %s", PQerrorMessage(conn));
        PQfinish(conn);
    }
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    if (!strncmp(arguments[2], "handshake, ", 11))
        in_handshake(arguments[1], arguments[2] + 11);
    else
        in_state(arguments[1], arguments[2]);
    return 0;
}
