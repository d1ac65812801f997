/*
 * cancel CONNINFO: a child cancels in every way while its parent's statement
 * runs, then its own. One fact a line.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static PGconn *connect_to(const char *conninfo) {
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK) {
        fputs(PQerrorMessage(conn), stderr);
        exit(1);
    }
    return conn;
}

static void fact(const char *name, const char *text) {
    printf("%s: %.*s\n", name, (int)strcspn(text, "\n"), text);
    fflush(stdout);
}

/* Says "sent", or why not. */
static void try_to(const char *name, PGcancel *cancel) {
    char why[256] = "";
    int sent = cancel && PQcancel(cancel, why, sizeof why);
    fact(name, sent ? "sent" : cancel ? why : "no object");
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    PGconn *conn = connect_to(argv[1]);
    PGcancel *made_before = PQgetCancel(conn);
    /* Long enough for the child to have tried all; a cancel ends it at once. */
    if (!PQsendQuery(conn, "select pg_sleep(1.5)"))
        return 1;
    usleep(300 * 1000);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        try_to("made before the fork", made_before);
        try_to("made in the child", PQgetCancel(conn));
        fact("asked of the connection", PQrequestCancel(conn) ? "sent" : "not sent");
        PGconn *own = connect_to(argv[1]);
        PGcancel *cancel = PQgetCancel(own);
        if (!PQsendQuery(own, "select pg_sleep(10)"))
            _exit(1);
        usleep(300 * 1000);
        try_to("its own", cancel);
        fact("its own statement", PQresultErrorMessage(PQgetResult(own)));
        _exit(0);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        return 1;
    PGresult *result = PQgetResult(conn);
    fact("parent", PQresultStatus(result) == PGRES_TUPLES_OK ? "undisturbed" : PQresultErrorMessage(result));
    while (PQgetResult(conn))
        ;
    /* The parent's own cancel goes on working. */
    if (!PQsendQuery(conn, "select pg_sleep(10)"))
        return 1;
    usleep(300 * 1000);
    try_to("parent's own", made_before);
    fact("parent's own statement", PQresultErrorMessage(PQgetResult(conn)));
    PQfreeCancel(made_before);
    PQfinish(conn);
    return 0;
}
