/* What the programs here share: they dial, hold a session, fork, and say facts, one line each
 * ("name: text"). The Rust side judges. Whatever waits, waits within a time. */
#ifndef SESSION_H
#define SESSION_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <libpq-fe.h>

/* A child that hangs ends by SIGALRM, which ended() tells; fork(2) clears the alarm. */
#define CHILD_SECONDS 10

/* Where facts go. */
static int facts = 1;

/* One line, in one write: those of several processes do not mix. */
static inline void __attribute__((format(printf, 2, 3))) fact(const char *name, const char *format, ...)
{
    char line[4096];
    int length = snprintf(line, sizeof line, "%s: ", name);
    va_list list;
    va_start(list, format);
    length += vsnprintf(line + length, sizeof line - length - 1, format, list);
    va_end(list);
    if (length > (int)sizeof line - 2)
        length = sizeof line - 2;
    for (int i = 0; i < length; i++) /* libpq's messages have several lines */
        if (line[i] == '\n')
            line[i] = ' ';
    line[length++] = '\n';
    /* Not through a hook: a child of clone is to make its first intercepted call elsewhere. */
    syscall(SYS_write, facts, line, length);
}

static inline void __attribute__((noreturn)) broken(const char *what)
{
    fact("broken", "%s: %s", what, strerror(errno));
    _exit(99);
}

static inline PGconn *dial(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        broken(PQerrorMessage(conn));
    return conn;
}

static inline void command(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        broken(PQerrorMessage(conn));
    PQclear(result);
}

/* "listen" or "notify", on a channel of this program's own: others use the database as well. A
 * notification says who sent it. */
static inline const char *on_channel(const char *what)
{
    static char sql[64];
    static int program;
    if (!program)
        program = getpid(); /* and not a child's */
    snprintf(sql, sizeof sql, "%s news_%d%s", what, program,
             strcmp(what, "notify") ? "" : ", 'from another session'");
    return sql;
}

/* One value; NULL where there was an error. Never freed: these programs are short. */
static inline const char *value(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) < 1)
        return NULL;
    return PQgetvalue(result, 0, 0);
}

/* An open transaction, a temporary table and a prepared statement. */
static inline void hold(PGconn *conn)
{
    command(conn, "begin");
    command(conn, "create temp table kept as select 7 as n");
    command(conn, "prepare answer as select 42");
}

/* What the session holds, or how it was lost. */
static inline void tell(const char *name, PGconn *conn)
{
    const char *all = value(conn, "select pg_backend_pid() || ', transaction ' || txid_current() "
                                  "|| ', kept ' || (select n from kept)");
    const char *prepared = all ? value(conn, "execute answer") : NULL;
    if (prepared)
        fact(name, "backend %s, prepared %s, status %d %d", all, prepared, PQstatus(conn),
             PQtransactionStatus(conn));
    else
        fact(name, "lost, %s", PQerrorMessage(conn));
}

/* What a child does with a session of its parent's. */
static inline void use(const char *name, PGconn *conn)
{
    const char *backend = value(conn, "select pg_backend_pid()");
    if (backend)
        fact(name, "answered by backend %s", backend);
    else
        fact(name, "%s, %s", PQstatus(conn) == CONNECTION_BAD ? "bad" : "still ok",
             PQerrorMessage(conn));
}

/* How a child ended: "exit 0", "signal 14" (it hung). */
static inline void ended(const char *name, pid_t pid)
{
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        broken("fork or wait");
    if (WIFSIGNALED(status))
        fact(name, "signal %d", WTERMSIG(status));
    else
        fact(name, "exit %d", WEXITSTATUS(status));
}

static inline pid_t child_of(pid_t pid)
{
    if (pid == 0)
        alarm(CHILD_SECONDS);
    return pid;
}

/* PQsocket's readiness in a poll of at most `ms`: the events, 0 for none. */
static inline int ready(int fd, short events, int ms)
{
    struct pollfd wanted = {.fd = fd, .events = events};
    return poll(&wanted, 1, ms) > 0 ? wanted.revents : 0;
}
#endif
