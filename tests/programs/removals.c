/* removals CONNINFO [MORE KIND TEXT]...: what each command comes to on a live session and in a child
 * that inherits one like it, MORE (several statements, by ';') being done to both before. "here" says
 * whether the child's came without a session of its own; the state after it is asked for in both, in a
 * child of the child as well, and again where the transaction that is left open is rolled back. */
#include "session.h"
#include <libpq-events.h>

static int created;

static int on_event(PGEventId id, void *info, void *data)
{
    (void)info;
    (void)data;
    created += id == PGEVT_RESULTCREATE;
    return 1;
}

static PGconn *session(const char *conninfo, const char *more)
{
    PGconn *conn = dial(conninfo);
    command(conn, "prepare p1 as select 1");
    PQclear(PQprepare(conn, "Q 2", "select 2", 0, NULL));
    PQclear(PQprepare(conn, "select", "select 3", 0, NULL));
    command(conn, "set my.a to 'x'");
    command(conn, "set work_mem to '7MB'");
    command(conn, "listen news");
    char *rest = strdup(more);
    for (char *one; (one = strsep(&rest, ";"));)
        if (strstr(one, "1/0"))
            PQclear(PQexec(conn, one));
        else if (*one)
            command(conn, one);
    if (PQtransactionStatus(conn) == PQTRANS_IDLE)
        PQclear(PQexec(conn, "select 1/0")); /* leaves a message behind */
    else
        PQputCopyEnd(conn, NULL); /* so does this */
    PQregisterEventProc(conn, on_event, "count", NULL);
    return conn;
}

static PGresult *run(PGconn *conn, const char *kind, const char *text)
{
    const char *values[] = {"1"};
    if (!strcmp(kind, "simple"))
        return PQexec(conn, text);
    if (!strcmp(kind, "extended"))
        return PQexecParams(conn, text, 0, NULL, NULL, NULL, NULL, 1);
    if (!strcmp(kind, "parameter"))
        return PQexecParams(conn, text, 1, NULL, values, NULL, NULL, 0);
    broken(kind);
}

static void say_state(const char *name, PGconn *conn)
{
    char after[32];
    snprintf(after, sizeof after, "%s after", name);
    char *reported = strdup(PQparameterStatus(conn, "TimeZone")); /* before the child has a session */
    int stands = PQtransactionStatus(conn);
    const char *state = NULL;
    for (int again = 0; again < 2; again++) {
        state = value(conn, "select concat_ws(' ', (select string_agg(name, ',' order by name) from "
                            "pg_prepared_statements), current_setting('my.a', true) is null, "
                            "current_setting('my.a', true), current_setting('my.b', true) is null, "
                            "current_setting('my.b', true), current_setting('work_mem'), "
                            "(select string_agg(c, ',') from pg_listening_channels() c), current_user, "
                            "current_setting('search_path'), current_setting('seed'))");
        fact(after, "transaction %d, %s, time zone %s %s", stands, state ? state : PQerrorMessage(conn), reported,
             PQparameterStatus(conn, "TimeZone"));
        PQclear(PQexec(conn, "rollback"));
        stands = PQtransactionStatus(conn);
    }
}

static void say(const char *name, PGconn *conn, const char *kind, const char *text)
{
    created = 0;
    PGresult *result = run(conn, kind, text);
    int here = PQbackendPID(conn) == 0, events = created;
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    fact(name, "%s, tag '%s', rows %d %d '%s' '%s', binary %d, code '%s', '%s', '%s', status %d %d",
         PQresStatus(PQresultStatus(result)), PQcmdStatus(result), PQntuples(result), PQnfields(result),
         PQcmdTuples(result), PQoidStatus(result), PQbinaryTuples(result), code ? code : "",
         PQresultErrorMessage(result), PQerrorMessage(conn), PQstatus(conn), PQtransactionStatus(conn));
    PQclear(result);
    char events_of[16];
    snprintf(events_of, sizeof events_of, "%s events", name); /* a replay's results are among them */
    fact(events_of, "%d", events);
    if (!strcmp(name, "child")) {
        fact("here", "%d", here);
        pid_t pid = child_of(fork());
        if (pid == 0) {
            say_state("grandchild", conn);
            _exit(0);
        }
        ended("grandchild ended", pid);
    }
    say_state(name, conn);
}

int main(int argc, char **argv)
{
    for (int at = 2; at + 2 < argc; at += 3) {
        PGconn *live = session(argv[1], argv[at]), *inherited = session(argv[1], argv[at]);
        say("live", live, argv[at + 1], argv[at + 2]);
        pid_t pid = child_of(fork());
        if (pid == 0) {
            say("child", inherited, argv[at + 1], argv[at + 2]);
            _exit(0);
        }
        ended("ended", pid);
        if (PQtransactionStatus(inherited) == PQTRANS_INERROR)
            command(inherited, "rollback");
        use("parent", inherited);
        PQfinish(live);
        PQfinish(inherited);
    }
    return 0;
}
