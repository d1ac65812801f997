/* server_faults CONNINFO: a session with a tenant, a prepared statement and a channel, idle; another
 * ($HELD, or of the same), held in a transaction. The child says that it is there (a file in $MEETING), waits until
 * the other side has done something to the server, and uses the first. Then the parent uses both. */
#include "session.h"
#include <time.h>

/* What a session is, in one row: what was set, who it is, and whose data it reads. */
static const char STATE[] =
    "select current_setting('app.tenant', true) || ', ' || current_user || ' of ' || session_user || ', path ' "
    "|| current_setting('search_path') || ', ' || coalesce((select string_agg(name, ' ' order by name) from pg_prepared_statements), 'none') "
    "|| ', ' || coalesce((select string_agg(c, ' ') from pg_listening_channels() as c), 'none') || ', ' || (select name from whose)";

static long clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void state(const char *name, PGconn *conn)
{
    const char *of = value(conn, STATE);
    fact(name, "%s", of ? of : PQerrorMessage(conn));
}

static void at(const char *folder, const char *what, int make)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s", folder, what);
    if (make) {
        int fd = open(path, O_CREAT | O_WRONLY, 0666);
        if (fd < 0)
            broken(path);
        close(fd);
        return;
    }
    for (int i = 0; i < 6000 && access(path, F_OK); i++)
        usleep(10000);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    const char *meeting = getenv("MEETING"), *statement = getenv("STATEMENT");
    signal(SIGPIPE, SIG_IGN);
    PGconn *conn = dial(argv[1]), *held = dial(getenv("HELD") ? getenv("HELD") : argv[1]);
    command(conn, "set app.tenant to 'one'");
    if (statement)
        command(conn, statement);
    PQclear(PQprepare(conn, "twice", "select $1::int * 2", 1, NULL));
    command(conn, "listen news");
    fact("backend", "%d", PQbackendPID(conn));
    fact("socket", "%d", PQsocket(conn));
    state("state", conn);
    hold(held);
    tell("before", held);

    pid_t pid = fork();
    if (pid == 0) {
        at(meeting, "ready.c", 1);
        at(meeting, "go", 0);
        alarm(150); /* more than any bound that is promised */
        long begin = clock_ms();
        use("child", conn);
        fact("took", "%ld", clock_ms() - begin);
        begin = clock_ms();
        use("again", conn);
        fact("took again", "%ld", clock_ms() - begin);
        fact("socket in the child", "%d", PQsocket(conn));
        if (PQstatus(conn) == CONNECTION_OK)
            state("state in the child", conn);
        PQfinish(conn);
        _exit(0);
    }
    ended("ended", pid);
    tell("after", held);
    use("parent", conn);
    if (PQstatus(conn) == CONNECTION_OK)
        state("state", conn);
    return 0;
}
