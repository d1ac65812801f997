/* usage: idle fork|daemon CHILDREN SECONDS
 *
 * Three idle sessions with settings and prepared statements, as a pool holds them, and one in a
 * transaction that no child touches; then the children and the parent ask at once, each in all
 * of libpq's ways. `daemon`: the program detaches itself by hand, with two forks, and goes on.
 * The same as idle.py, with a C program's means. */
#include "session.h"

enum { SESSIONS = 3, ROUNDS = 10 };
static PGconn *sessions[SESSIONS], *held;
static char before[SESSIONS + 1][256];

static void say(const char *kind, const char *format, ...)
{
    char line[2048];
    int length = snprintf(line, sizeof line, "@%s\tpid=%d\t", kind, getpid());
    va_list list;
    va_start(list, format);
    length += vsnprintf(line + length, sizeof line - length, format, list);
    va_end(list);
    line[length++] = '\n';
    if (write(1, line, length) != length)
        _exit(98);
}

static PGresult *ask(PGconn *conn, int way, const char *number)
{
    const char *sql = "select $1::int * 7, repeat(chr(97 + $1::int % 26), 20000), pg_backend_pid()";
    char text[256];
    switch (way % 5) {
    case 0:
        snprintf(text, sizeof text, "select %s * 7, repeat(chr(97 + %s %% 26), 20000), pg_backend_pid()",
                 number, number);
        return PQexec(conn, text);
    case 1:
        return PQexecParams(conn, sql, 1, NULL, &number, NULL, NULL, 0);
    case 2:
        return PQexecPrepared(conn, "seven", 1, &number, NULL, NULL, 0);
    case 3:
        if (!PQsendQueryPrepared(conn, "seven", 1, &number, NULL, NULL, 0))
            return NULL;
        break;
    default: /* as an event loop does: write, wait, read */
        if (!PQsendQueryParams(conn, sql, 1, NULL, &number, NULL, NULL, 0))
            return NULL;
        while (PQflush(conn) > 0)
            ready(PQsocket(conn), POLLOUT, 1000);
        while (PQisBusy(conn)) {
            ready(PQsocket(conn), POLLIN, 1000);
            if (!PQconsumeInput(conn))
                break;
        }
    }
    PGresult *first = PQgetResult(conn), *more;
    while ((more = PQgetResult(conn)))
        PQclear(more);
    return first;
}

static int is_right(int number, PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK || atoi(PQgetvalue(result, 0, 0)) != number * 7)
        return 0;
    const char *letters = PQgetvalue(result, 0, 1);
    return strlen(letters) == 20000 && strspn(letters, (char[]){97 + number % 26, 0}) == 20000;
}

static PGconn *new_session(void)
{
    PGconn *conn = dial("");
    PQclear(PQprepare(conn, "seven", "select $1::int * 7, repeat(chr(97 + $1::int % 26), 20000), "
                      "pg_backend_pid()", 0, NULL));
    return conn;
}

static void use_all(const char *kind, int first)
{
    int asked = 0, right = 0, failed = 0, lost = 0, state = 0;
    char backends[512] = "", errors[512] = "";
    for (int round = 0; round < ROUNDS; round++)
        for (int place = 0; place < SESSIONS; place++) {
            char number[16];
            snprintf(number, sizeof number, "%d", first + asked);
            PGresult *result;
            for (int attempt = 0; attempt < 2; attempt++) {
                /* `first`: each child's first call is another one. */
                result = ask(sessions[place], first / 10000 + place + round, number);
                if (PQresultStatus(result) == PGRES_TUPLES_OK)
                    break;
                failed++;
                snprintf(errors, sizeof errors, "%.*s", (int)strcspn(PQerrorMessage(sessions[place]), "\n"),
                         PQerrorMessage(sessions[place]));
                if (PQstatus(sessions[place]) == CONNECTION_BAD) {
                    lost++;
                    PQfinish(sessions[place]);
                    sessions[place] = new_session();
                }
            }
            right += is_right(first + asked, result);
            asked++;
            if (round == 0 && PQresultStatus(result) == PGRES_TUPLES_OK)
                sprintf(backends + strlen(backends), "%s%s", *backends ? "," : "", PQgetvalue(result, 0, 2));
            PQclear(result);
        }
    for (int place = 0; place < SESSIONS; place++) {
        const char *is = value(sessions[place], "execute kept");
        state += is && !strcmp(is, before[place]);
    }
    say(kind, "asked=%d\tright=%d\tfailed=%d\tlost=%d\tstate=%d\tbackends=%s\terrors=%s", asked, right,
        failed, lost, state, backends, errors);
}

int main(int argc, char **argv)
{
    int daemonise = !strcmp(argv[1], "daemon"), children = atoi(argv[2]), seconds = atoi(argv[3]);
    char backends[256] = "";
    for (int place = 0; place < SESSIONS; place++) {
        char sql[256];
        sessions[place] = new_session();
        snprintf(sql, sizeof sql, "set application_name = 'idle %d'; set timezone = 'Asia/Tokyo'; "
                                  "set search_path = pg_catalog, public", place);
        command(sessions[place], sql);
        command(sessions[place], "prepare kept as select concat_ws(' ', current_setting('application_name'), "
                                 "current_setting('timezone'), current_setting('search_path'))");
        snprintf(before[place], sizeof *before, "%s", value(sessions[place], "execute kept"));
        sprintf(backends + strlen(backends), "%s,", value(sessions[place], "select pg_backend_pid()"));
    }
    held = dial("");
    hold(held);
    const char *holds = "select pg_backend_pid() || ' ' || txid_current() || ' ' || (select n from kept)";
    snprintf(before[SESSIONS], sizeof *before, "%s", value(held, holds));
    say("parent", "backends=%s%s", backends, value(held, "select pg_backend_pid()"));

    pid_t pids[16];
    for (int child = 0; child < children; child++) {
        if ((pids[child] = fork()) == 0) {
            alarm(seconds);
            if (daemonise) {
                setsid();
                if (fork() > 0)
                    _exit(0);
                alarm(seconds);
            }
            use_all("child", 10000 * (child + 1));
            for (int place = 0; place < SESSIONS; place++)
                PQfinish(sessions[place]);
            PQfinish(held);
            return 0;
        }
    }
    alarm(seconds);
    if (daemonise)
        _exit(0);
    if (children > 1)
        use_all("asking", 100000);
    for (int child = 0; child < children; child++)
        waitpid(pids[child], NULL, 0);

    int same = 0;
    for (int place = 0; place < SESSIONS; place++) {
        const char *is = value(sessions[place], "execute kept");
        const char *backend = is ? value(sessions[place], "select pg_backend_pid()") : NULL;
        char listed[16];
        snprintf(listed, sizeof listed, "%s,", backend ? backend : "?");
        same += backend && !strcmp(is, before[place]) && strstr(backends, listed);
    }
    const char *is = value(held, holds);
    same += is && !strcmp(is, before[SESSIONS]);
    say("after", "same=%d", same);
    for (int place = 0; place < SESSIONS; place++)
        PQfinish(sessions[place]);
    PQfinish(held);
}
