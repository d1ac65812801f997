// Runs statements, and tells which of them left a mark on their session.
//
// usage: session_kept CONNINFO SECONDS < RECORDS
//
// A record is one letter and SQL, ended by a zero byte. 'h': said to be harmless. It runs in a
// session that is looked at before and after; where it is another one afterwards, "MARK", the
// statement and the lines that differ are printed, and a fresh session takes over. 'o': runs
// in a second session, which nobody looks at: it makes what others need. Past SECONDS it stops
// and says how far it came.
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Not pg_my_temp_schema(): REFRESH MATERIALIZED VIEW CONCURRENTLY makes a table there, drops it,
// and leaves the schema, which is empty; so does a fresh session's first temporary object.
static const char look[] =
    "select string_agg(line, E'\\n' order by line) from ("
    // SET TRANSACTION outside of one changes nothing but this source.
    " select 'setting ' || name || ' ' || setting || ' '"
    "  || case when name like 'transaction\\_%' then '' else source end as line from pg_settings"
    " union all select 'prepared ' || name from pg_prepared_statements"
    " union all select 'cursor ' || name from pg_cursors"
    " union all select 'listens ' || c from pg_listening_channels() c"
    " union all select 'user ' || current_user || ' ' || session_user"
    " union all select 'relation ' || relname from pg_class"
    "  where relnamespace = pg_my_temp_schema() and pg_my_temp_schema() <> 0"
    " union all select 'lock ' || classid || ' ' || objid from pg_locks"
    "  where locktype = 'advisory' and pid = pg_backend_pid()"
    ") lines";

static PGconn *connect_to(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK) {
        printf("FAILED %s", PQerrorMessage(conn));
        exit(1);
    }
    return conn;
}

static char *snapshot(PGconn *conn)
{
    PGresult *result = PQexec(conn, look);
    char *text = PQresultStatus(result) == PGRES_TUPLES_OK ? strdup(PQgetvalue(result, 0, 0)) : NULL;
    PQclear(result);
    return text;
}

// True when it succeeded.
static int run(PGconn *conn, const char *sql)
{
    int good = 1;
    if (!PQsendQuery(conn, sql))
        return 0;
    for (PGresult *result; (result = PQgetResult(conn)) != NULL; PQclear(result)) {
        char *line;
        switch (PQresultStatus(result)) {
        case PGRES_COPY_IN:
            PQputCopyEnd(conn, NULL);
            break;
        case PGRES_COPY_OUT:
            while (PQgetCopyData(conn, &line, 0) > 0)
                PQfreemem(line);
            break;
        case PGRES_COMMAND_OK:
        case PGRES_TUPLES_OK:
        case PGRES_EMPTY_QUERY:
            break;
        default:
            good = 0;
        }
        if (PQstatus(conn) == CONNECTION_BAD) {
            PQclear(result);
            return 0;
        }
    }
    return good;
}

// The lines of one text that are not in the other.
static void differences(const char *sign, char *text, const char *other)
{
    char *copy = strdup(text), *rest;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (!strstr(other, line))
            printf("  %s %s\n", sign, line);
    free(copy);
}

static void quiet(void *arg, const PGresult *result)
{
    (void)arg, (void)result;
}

static PGconn *fresh(const char *conninfo)
{
    PGconn *conn = connect_to(conninfo);
    PQsetNoticeReceiver(conn, quiet, NULL);
    return conn;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    time_t end = time(NULL) + atoi(argv[2]);
    PGconn *conn = fresh(argv[1]), *other = NULL;
    char *before = snapshot(conn), *record = NULL;
    size_t room = 0;
    long harmless = 0, succeeded = 0, others = 0, marks = 0;
    while (time(NULL) < end && getdelim(&record, &room, 0, stdin) > 1) {
        const char *sql = record + 1;
        if (record[0] != 'h') {
            if (!other || PQstatus(other) == CONNECTION_BAD) {
                PQfinish(other);
                other = fresh(argv[1]);
            }
            run(other, sql);
            others++;
            continue;
        }
        harmless++;
        // What fails is rolled back with all it did; a mark would be seen at the next success.
        int good = run(conn, sql);
        if (PQstatus(conn) == CONNECTION_BAD) {
            PQfinish(conn);
            conn = fresh(argv[1]);
            free(before);
            before = snapshot(conn);
            continue;
        }
        if (!good)
            continue;
        succeeded++;
        char *after = snapshot(conn);
        if (!after || strcmp(before, after) != 0) {
            marks++;
            printf("MARK %s\n", sql);
            if (after) {
                differences("-", before, after);
                differences("+", after, before);
            }
            PQfinish(conn);
            conn = fresh(argv[1]);
            free(before);
            before = snapshot(conn);
        }
        free(after);
    }
    printf("RAN %ld harmless, %ld succeeded, %ld others, %ld marks\n", harmless, succeeded, others, marks);
    return 0;
}
