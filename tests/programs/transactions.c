/* transactions CONNINFO FILE [goes on]: sessions, each with a history of its own, one a line of the file: its name and
 * steps, with tabs between. Then a fork; the child tells all that can be seen of each session and its transaction, and
 * the parent after it the same of its own. "goes on": when the child begins, the parent has taken an advisory lock in each
 * session and has written in its transaction, where it could; what is held is then not told.
 *
 * A step is SQL for PQexec, or "params: SQL", "send: SQL", "prepare: NAME SQL", "execute: NAME", "pipeline: SQL;; SQL" (in
 * one pipeline, with one sync), "lo_creat:".
 *
 * Before the fork another session asks the server what each has written: the account. */
#include "session.h"

enum {
    SESSIONS = 100,
    STEPS = 16,
};

static void quiet(void *nothing, const char *message)
{
    (void)nothing;
    (void)message;
}

static void results(PGconn *conn)
{
    PGresult *result;
    for (int i = 0, nulls = 0; i < 100 && nulls < 2; i++) {
        result = PQgetResult(conn);
        nulls = result ? 0 : nulls + 1;
        if (PQresultStatus(result) == PGRES_COPY_OUT) {
            char *row;
            while (PQgetCopyData(conn, &row, 0) > 0)
                PQfreemem(row);
        }
        PQclear(result);
    }
}

static const char *behind(const char *step, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(step, prefix, length) ? NULL : step + length;
}

static void run(PGconn *conn, char *step)
{
    const char *sql;
    if ((sql = behind(step, "params: "))) {
        PQclear(PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0));
    } else if ((sql = behind(step, "send: "))) {
        PQsendQuery(conn, sql);
        results(conn);
    } else if ((sql = behind(step, "prepare: "))) {
        char name[64];
        sscanf(sql, "%63s", name);
        PQclear(PQprepare(conn, name, strchr(sql, ' ') + 1, 0, NULL));
    } else if ((sql = behind(step, "execute: "))) {
        PQclear(PQexecPrepared(conn, sql, 0, NULL, NULL, NULL, 0));
    } else if ((sql = behind(step, "pipeline: "))) {
        PQenterPipelineMode(conn);
        char *rest = (char *)sql, *end;
        do {
            if ((end = strstr(rest, ";; ")))
                *end = 0;
            PQsendQueryParams(conn, rest, 0, NULL, NULL, NULL, NULL, 0);
            rest = end + 3;
        } while (end);
        PQpipelineSync(conn);
        results(conn);
        PQexitPipelineMode(conn);
    } else if (behind(step, "lo_creat:")) {
        lo_creat(conn, 0x60000);
    } else {
        PQclear(PQexec(conn, step));
        results(conn); /* of COPY */
    }
}

struct text {
    char bytes[3000];
    size_t length;
};

static void ask(struct text *text, PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *of = state ? state : PQntuples(result) ? PQgetvalue(result, 0, 0) : PQcmdStatus(result);
    if (text->length < sizeof text->bytes - 300)
        text->length += snprintf(text->bytes + text->length, 300, "%.200s %d; ", of, PQtransactionStatus(conn));
    PQclear(result);
}

/* What is there, and then what becomes of it: savepoints, what may still be set, and what counts after its end. */
static void look(const char *who, const char *name, PGconn *conn, int goes_on)
{
    static const char *const held[] = {
        "select string_agg(mode, ' ') from pg_locks where pid = pg_backend_pid() and locktype <> 'virtualxid' and mode <> 'AccessShareLock'",
        "select pg_current_xact_id_if_assigned() is null",
    };
    static const char *const questions[] = {
        "select current_setting('transaction_isolation') || current_setting('transaction_read_only') || current_setting('transaction_deferrable')",
        "select concat_ws('/', current_setting('app.x', true), current_setting('search_path'), current_setting('timezone'), current_setting('work_mem'), current_user)",
        "select string_agg(name || statement, '/' order by name) from pg_prepared_statements where not from_sql or name !~ '^t'",
        "select string_agg(a::text, ' ') from things",
        "rollback to c", "select current_setting('app.x', true)", "rollback to b", "select current_setting('app.x', true)", "rollback to a",
        "select concat_ws('/', current_setting('app.x', true), current_setting('timezone'))", "insert into sink values (1)", "commit",
        "select concat_ws('/', current_setting('app.x', true), current_setting('timezone'), current_setting('transaction_read_only'), current_user)",
        "rollback",
        "select concat_ws('/', current_setting('app.x', true), current_setting('timezone'), current_user)",
    };
    struct text text = {.length = 0};
    text.length = snprintf(text.bytes, 100, "was %d %d; ", PQstatus(conn), PQtransactionStatus(conn));
    if (strstr(name, "may set")) /* refused once the transaction has a snapshot */
        ask(&text, conn, "set transaction read only");
    for (size_t i = 0; !goes_on && i < sizeof held / sizeof *held && PQstatus(conn) == CONNECTION_OK; i++)
        ask(&text, conn, held[i]);
    for (size_t i = 0; i < sizeof questions / sizeof *questions && PQstatus(conn) == CONNECTION_OK; i++)
        ask(&text, conn, questions[i]);
    char label[200];
    snprintf(label, sizeof label, "%s %.150s", who, name);
    fact(label, "%s%s", PQstatus(conn) == CONNECTION_OK ? "" : "lost; ", text.bytes);
}

/* The savepoint is for a transaction that may only read; what is written under it gives the transaction its identity. */
static void go_on(PGconn *conn, int number)
{
    char lock[100];
    snprintf(lock, sizeof lock, "select pg_advisory_lock(%d)", number);
    const char *const steps[] = {lock, "savepoint gone", "insert into sink values (99)", "rollback to gone", "release gone"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        PQclear(PQexec(conn, steps[i]));
}

int main(int argc, char **argv)
{
    int goes_on = argc > 3;
    FILE *file = argc < 3 ? NULL : fopen(argv[2], "r");
    if (!file)
        return 2;
    static char lines[SESSIONS][2000];
    static PGconn *conns[SESSIONS];
    int many = 0;
    PGconn *other = dial(argv[1]);
    while (many < SESSIONS && fgets(lines[many], sizeof lines[many], file)) {
        char *line = lines[many], *step, *rest = line;
        line[strcspn(line, "\n")] = 0;
        strsep(&rest, "\t");
        PGconn *conn = conns[many++] = dial(argv[1]);
        PQsetNoticeProcessor(conn, quiet, NULL);
        while ((step = strsep(&rest, "\t")))
            run(conn, step);
        char sql[500], label[200];
        snprintf(sql, sizeof sql,
                 "select exists (select from pg_stat_activity where pid = %d and backend_xid is not null) or exists "
                 "(select from pg_locks where pid = %d and locktype <> 'virtualxid' and mode <> 'AccessShareLock')",
                 PQbackendPID(conn), PQbackendPID(conn));
        snprintf(label, sizeof label, "account %.150s", line);
        fact(label, "descriptor %d, wrote %s", PQsocket(conn), value(other, sql));
    }
    int go[2];
    if (pipe(go))
        broken("pipe");
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        alarm(50);
        close(go[1]);
        if (read(go[0], &byte, 1) < 0)
            broken("read");
        for (int i = 0; i < many; i++)
            look("child", lines[i], conns[i], goes_on);
        for (int i = 0; i < many; i++)
            PQfinish(conns[i]);
        _exit(0);
    }
    if (goes_on) {
        usleep(20000); /* well after the fork */
        for (int i = 0; i < many; i++)
            go_on(conns[i], 1000 + i); /* no lock that a history takes */
    }
    close(go[1]);
    ended("ended", pid);
    for (int i = 0; i < many; i++)
        look("parent", lines[i], conns[i], goes_on);
    return 0;
}
