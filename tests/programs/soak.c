/*
 * soak: programs that hold sessions with PostgreSQL and fork, for as long as one likes. tools/soak
 * starts it, and says by environment what it needs: SOAK_SECONDS, SOAK_SEED, SOAK_MIX, SOAK_LOG (the
 * server's), SOAK_STACKS (a file), SOAK_STUCK (seconds), SOAK_FORKS, SOAK_LIBRARY (to preload; empty: unguarded), SOAK_LIBPQS (paths,
 * with ':' between), SOAK_TCP, SOAK_SOCKET, SOAK_PORT.
 *
 * soak            the supervisor, without the library and without libpq: starts the two hosts, watches
 *                 that everybody makes progress, reads the server's log, counts, and tells
 * soak threads    a host whose threads connect, query, prepare, set and close, by every libpq there
 *                 is, while others fork
 * soak master N   a host with one thread and the libpq N, which forks several children at a time, and
 *                 ends after a while
 * soak query ...  what children exec: one connection, one question
 *
 * Both hosts hold sessions of every kind and ask them again and again. Numbers are in memory that
 * all share; exit status 0 if nothing is wrong, 1 if something is, 2 if it could not be run.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <forkguard.h>
#include <libpq-fe.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma weak forkguard_counters

typedef long long number;

/* ------------------------------------------------------------------ what all processes share */

#define COUNTS(X)                                                                                  \
    X(forks, "forks", 0)                                                                           \
    X(grandchildren, "  of them in children", 0)                                                   \
    X(queries, "queries in parents", 0)                                                            \
    X(child_queries, "queries in children", 0)                                                     \
    X(connections, "connections", 0)                                                               \
    X(resumes, "sessions resumed", 0)                                                              \
    X(abandons, "descriptors abandoned", 0)                                                        \
    X(lost, "opaque sessions lost loudly", 0)                                                      \
    X(lost_in_call, "  lost, a thread was inside", 0)                                              \
    X(crashed, "children that crashed", 0)                                                         \
    X(killed, "children that were killed", 0)                                                      \
    X(programs, "programs executed", 0)                                                            \
    X(heirs, "daemons", 0)                                                                         \
    X(cancels, "cancels in children", 0)                                                           \
    X(log_lines, "lines of the server's log", 0)                                                   \
    X(log_cut, "  of cut children's own", 0)                                                       \
    X(in_vain, "hung after a wait in vain", 0)                                                     \
    X(deadlocks, "deadlocks", 1)                                                                   \
    X(wrong, "wrong answers", 1)                                                                   \
    X(disturbed, "disturbed parents", 1)                                                           \
    X(log_bad, "protocol errors in the log", 1)                                                    \
    X(failed, "failed children", 1)

enum count {
#define X(name, text, bad) name,
    COUNTS(X)
#undef X
        COUNT
};

static const struct {
    const char *name, *text;
    int bad;
} counts[COUNT] = {
#define X(name, text, bad) {#name, text, bad},
    COUNTS(X)
#undef X
};

/* Whose session a backend serves: a parent's, or one that a child ends in good order, of which the
 * log may say nothing; or one that is cut off. */
enum owner { NOBODYS, PARENTS, CLEAN, CUT };

struct backend {
    atomic_int owner;
    atomic_llong since, until; /* milliseconds, wall clock; until 0: open */
};

enum { SLOTS = 256 };

/* A process or thread that has to make progress. */
struct slot {
    atomic_int pid; /* 0: free; -1: taken, not forked yet */
    atomic_int tid, taker, waiting, vain, dumped;
    atomic_int doing; /* enum kind, or -1 for a thread */
    atomic_llong beat; /* milliseconds, monotonic */
};

static struct shared {
    atomic_ullong count[COUNT];
    atomic_int stop, said[COUNT];
    struct slot slots[SLOTS];
    struct backend backends[];
} *shared;

static int highest_pid, guarded;
static char self[PATH_MAX];

static void add(enum count which, number by)
{
    atomic_fetch_add(&shared->count[which], by);
}

static number milliseconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static number now(void) { return milliseconds(CLOCK_MONOTONIC); }

static void rest(number microseconds)
{
    struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&time, NULL);
}

/* The first lines of what is wrong, one write each; the rest is counted only. */
static void __attribute__((format(printf, 2, 3))) wrong_is(enum count which, const char *format, ...)
{
    add(which, 1);
    if (atomic_fetch_add(&shared->said[which], 1) >= (guarded ? 20 : 2))
        return;
    char line[2048];
    int length = snprintf(line, sizeof line, "soak[%d]: %s: ", getpid(), counts[which].name);
    va_list list;
    va_start(list, format);
    length += vsnprintf(line + length, sizeof line - length - 1, format, list);
    va_end(list);
    if (length > (int)sizeof line - 2)
        length = sizeof line - 2;
    for (int i = 0; i < length; i++)
        if (line[i] == '\n')
            line[i] = ' ';
    line[length++] = '\n';
    if (write(2, line, length) < 0)
        _exit(98);
}

static void __attribute__((noreturn)) broken(const char *what, const char *why)
{
    fprintf(stderr, "soak: %s: %s\n", what, why ? why : strerror(errno));
    _exit(2);
}

static const char *given(const char *variable)
{
    const char *text = getenv(variable);
    if (!text)
        broken(variable, "not set: run tools/soak");
    return text;
}

static void share(int fd)
{
    size_t size = sizeof *shared + (highest_pid + 1) * sizeof shared->backends[0];
    if (ftruncate(fd, size) != 0)
        broken("ftruncate", NULL);
    shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        broken("mmap", NULL);
}

static void backend_is(int pid, enum owner owner, number since)
{
    if (pid <= 0 || pid > highest_pid)
        return;
    struct backend *backend = &shared->backends[pid];
    atomic_store(&backend->owner, NOBODYS);
    atomic_store(&backend->since, since);
    atomic_store(&backend->until, 0);
    atomic_store(&backend->owner, owner);
}

static void backend_ends(int pid)
{
    if (pid > 0 && pid <= highest_pid)
        atomic_store(&shared->backends[pid].until, milliseconds(CLOCK_REALTIME));
}

/* --------------------------------------------------------------------------- progress */

static struct slot *take_slot(int doing)
{
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &shared->slots[i];
        int nobody = 0;
        if (!atomic_compare_exchange_strong(&slot->pid, &nobody, -1))
            continue;
        slot->taker = getpid();
        slot->tid = slot->waiting = slot->vain = slot->dumped = 0;
        slot->doing = doing;
        slot->beat = now();
        return slot;
    }
    broken("take_slot", "too many processes");
}

static void free_slot(struct slot *slot) { atomic_store(&slot->pid, 0); }

static __thread struct slot *mine;

static void beat(void)
{
    if (mine)
        atomic_store(&mine->beat, now());
}

static void thread_begins(void)
{
    mine = take_slot(-1);
    mine->tid = gettid();
    mine->pid = getpid();
}

static void tell_stack(int number)
{
    (void)number;
    int before = errno;
    void *frames[64];
    int count = backtrace(frames, 64);
    int fd = open(getenv("SOAK_STACKS"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    backtrace_symbols_fd(frames, count, fd);
    close(fd);
    errno = before;
}

/* ------------------------------------------------------------------------------ libpq */

#define FUNCTIONS(X)                                                                               \
    X(PQconnectdb) X(PQstatus) X(PQerrorMessage) X(PQfinish) X(PQexec) X(PQexecParams)             \
    X(PQprepare) X(PQexecPrepared) X(PQsendQuery) X(PQsendQueryParams) X(PQgetResult)              \
    X(PQgetCopyData) X(PQfreemem) X(PQclear) X(PQresultStatus) X(PQresultErrorMessage)             \
    X(PQntuples) X(PQnfields) X(PQgetvalue) X(PQbackendPID) X(PQsocket) X(PQgetCancel)             \
    X(PQcancel) X(PQtransactionStatus) X(PQenterPipelineMode) X(PQpipelineSync)

struct libpq {
#define X(name) __typeof__(&name) name;
    FUNCTIONS(X)
#undef X
    /* libpq 17 and later. */
    void *(*cancel_create)(PGconn *);
    int (*cancel_blocking)(void *);
    void (*cancel_finish)(void *);
};

static struct libpq libpqs[8];
static int libpq_count;

/* All of them, or one. */
static void load_libpqs(int only)
{
    char *paths = strdup(given("SOAK_LIBPQS"));
    int found = 0;
    for (char *path = strtok(paths, ":"); path && libpq_count < 8; path = strtok(NULL, ":")) {
        if (only >= 0 && found++ != only)
            continue;
        void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!handle)
            broken("dlopen", dlerror());
        struct libpq *pq = &libpqs[libpq_count++];
#define X(name)                                                                                    \
    if (!(*(void **)&pq->name = dlsym(handle, #name)))                                             \
        broken("dlsym", dlerror());
        FUNCTIONS(X)
#undef X
        *(void **)&pq->cancel_create = dlsym(handle, "PQcancelCreate");
        *(void **)&pq->cancel_blocking = dlsym(handle, "PQcancelBlocking");
        *(void **)&pq->cancel_finish = dlsym(handle, "PQcancelFinish");
    }
    free(paths);
}

enum { UNIX, TCP, TLS, KERBEROS, TRANSPORTS }; /* the fourth asks libgssapi before it goes on plain */
static char conninfos[TRANSPORTS][512];

static void write_conninfos(void)
{
    const char *tcp = given("SOAK_TCP"), *port = given("SOAK_PORT");
    const char *rest = "dbname=forkguard user=forkguard gssencmode=disable";
    snprintf(conninfos[UNIX], 512, "host=%s port=%s %s sslmode=disable", given("SOAK_SOCKET"), port, rest);
    snprintf(conninfos[TCP], 512, "host=%s port=%s %s sslmode=disable", tcp, port, rest);
    snprintf(conninfos[TLS], 512, "host=%s port=%s %s sslmode=require", tcp, port, rest);
    snprintf(conninfos[KERBEROS], 512, "host=%s port=%s %s sslmode=disable gssencmode=prefer", tcp, port, rest);
}

static __thread unsigned long long seed;

static unsigned long long draw(unsigned long long below)
{
    seed += 0x9e3779b97f4a7c15; /* splitmix64 */
    unsigned long long mixed = seed;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return (mixed ^ (mixed >> 31)) % below;
}

static int chance(int percent) { return (int)draw(100) < percent; }

static number nonce(void) { return 1 + draw(1LL << 40); }

/* --------------------------------------------------------------------------- sessions */

enum what { QUIET, TRANSACTION, TEMPORARY, LOCK, PIPELINE, HOT, VICTIM };

struct session {
    struct libpq *pq;
    PGconn *conn;
    PGcancel *cancel;
    enum what what;
    int transport, backend, timeout, place;
    number name, since, transaction;
    atomic_llong tag, next_tag; /* soak.tag; next_tag is what a call under way makes it */
    atomic_int fd, ready, busy; /* busy: a thread is in a call on it */
    atomic_ullong cookie;       /* SO_COOKIE, while the session is open */
};

enum { SESSIONS = 40 };
static struct session sessions[SESSIONS];
static int session_count;
static int in_child; /* how deep */
static unsigned long long host_seed;

static void called(int times)
{
    beat();
    add(in_child ? child_queries : queries, times);
}

static unsigned long long cookie_of(int fd)
{
    unsigned long long cookie = 0;
    socklen_t length = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

/* Every answer is one of these three. */
enum { WRONG = -1, ERROR = 0, RIGHT = 1 };

static number value_of(const struct libpq *pq, const PGresult *result, int row, int column)
{
    return atoll(pq->PQgetvalue(result, row, column));
}

/* The result must be `rows` rows of first, first + 1, … and the backend's number. */
static int is_answer(const struct session *session, PGresult *result, int rows, number first)
{
    const struct libpq *pq = session->pq;
    int answer = ERROR;
    if (pq->PQresultStatus(result) == PGRES_TUPLES_OK) {
        answer = pq->PQntuples(result) == rows && pq->PQnfields(result) == 2 ? RIGHT : WRONG;
        for (int row = 0; answer == RIGHT && row < rows; row++)
            if (value_of(pq, result, row, 0) != first + row || value_of(pq, result, row, 1) != session->backend)
                answer = WRONG;
    } else if (pq->PQresultStatus(result) != PGRES_FATAL_ERROR)
        answer = WRONG; /* somebody else's */
    pq->PQclear(result);
    called(1);
    return answer;
}

/* One question, asked in one of the ways there are. */
static int ask(struct session *session)
{
    const struct libpq *pq = session->pq;
    PGconn *conn = session->conn;
    number sent = nonce();
    char sql[256], text[32];
    const char *values[1] = {text};
    snprintf(text, sizeof text, "%lld", sent);
    if (session->what == PIPELINE) {
        const char *statement = "select $1::bigint, pg_backend_pid()";
        if (!pq->PQsendQueryParams(conn, statement, 1, NULL, values, NULL, NULL, 0) || !pq->PQpipelineSync(conn))
            return ERROR;
        int answer = is_answer(session, pq->PQgetResult(conn), 1, sent);
        if (answer != RIGHT)
            return answer;
        PGresult *end = pq->PQgetResult(conn), *sync = end ? NULL : pq->PQgetResult(conn);
        int synced = sync && pq->PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
        pq->PQclear(sync);
        return synced ? RIGHT : WRONG;
    }
    switch (draw(6)) {
    case 0:
        snprintf(sql, sizeof sql, "select $1::bigint, pg_backend_pid()");
        return is_answer(session, pq->PQexecParams(conn, sql, 1, NULL, values, NULL, NULL, 0), 1, sent);
    case 1:
        snprintf(sql, sizeof sql, "select %lld, pg_backend_pid()", sent);
        if (!pq->PQsendQuery(conn, sql))
            return ERROR;
        int answer = is_answer(session, pq->PQgetResult(conn), 1, sent);
        for (PGresult *more; (more = pq->PQgetResult(conn));) {
            pq->PQclear(more);
            answer = answer == RIGHT ? WRONG : answer;
        }
        return answer;
    case 2:
        snprintf(sql, sizeof sql, "select %lld + g, pg_backend_pid() from generate_series(0, 149) g", sent);
        return is_answer(session, pq->PQexec(conn, sql), 150, sent);
    case 3: {
        snprintf(sql, sizeof sql, "copy (select %lld + g from generate_series(1, 20) g) to stdout", sent);
        PGresult *result = pq->PQexec(conn, sql);
        if (pq->PQresultStatus(result) != PGRES_COPY_OUT) {
            int other = pq->PQresultStatus(result) == PGRES_FATAL_ERROR ? ERROR : WRONG;
            pq->PQclear(result);
            return other;
        }
        pq->PQclear(result);
        char *row;
        int rows = 0, right = 1, length;
        while ((length = pq->PQgetCopyData(conn, &row, 0)) > 0) {
            right &= atoll(row) == sent + ++rows;
            pq->PQfreemem(row);
        }
        int failed_in_it = length != -1;
        while ((result = pq->PQgetResult(conn))) {
            failed_in_it |= pq->PQresultStatus(result) != PGRES_COMMAND_OK;
            pq->PQclear(result);
        }
        called(1);
        return failed_in_it ? ERROR : rows == 20 && right ? RIGHT : WRONG;
    }
    default:
        snprintf(sql, sizeof sql, "select %lld, pg_backend_pid()", sent);
        return is_answer(session, pq->PQexec(conn, sql), 1, sent);
    }
}

static int does(struct session *session, const char *format, ...)
{
    char sql[256];
    va_list list;
    va_start(list, format);
    vsnprintf(sql, sizeof sql, format, list);
    va_end(list);
    PGresult *result = session->pq->PQexec(session->conn, sql);
    ExecStatusType status = session->pq->PQresultStatus(result);
    session->pq->PQclear(result);
    called(1);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* A new connection; its session is entered in `backends` and open for all to see. */
static int connects(struct session *session, struct libpq *pq, int transport, enum what what, enum owner owner)
{
    session->since = milliseconds(CLOCK_REALTIME);
    session->pq = pq;
    session->transport = transport;
    session->what = what;
    session->ready = session->busy = 0;
    session->conn = pq->PQconnectdb(conninfos[transport]);
    session->fd = pq->PQsocket(session->conn);
    session->cookie = cookie_of(session->fd);
    add(connections, 1);
    beat();
    if (pq->PQstatus(session->conn) != CONNECTION_OK)
        return 0;
    session->backend = pq->PQbackendPID(session->conn);
    session->name = nonce();
    session->tag = session->next_tag = nonce();
    backend_is(session->backend, owner, session->since);
    return 1;
}

static void ends(struct session *session)
{
    session->ready = 0;
    session->cookie = 0;
    session->cancel = NULL; /* not freed: a child may be about to use it */
    session->pq->PQfinish(session->conn);
    session->conn = NULL;
    backend_ends(session->backend);
}

/* What a session is given that a child's is to have as well. */
static int set_state(struct session *session)
{
    session->timeout = 600001 + draw(50);
    char sql[128];
    snprintf(sql, sizeof sql, "select $1::bigint + %lld, pg_backend_pid()", session->name);
    PGresult *result;
    int fine = does(session, "set application_name = 'soak %lld'", session->name) &&
               does(session, "set soak.tag = '%lld'", session->tag) &&
               does(session, "set statement_timeout = %d", session->timeout) &&
               does(session, "set timezone = '%s'", session->name % 2 ? "Asia/Tokyo" : "America/Lima") &&
               does(session, "listen soak_%lld", session->name);
    if (!fine)
        return 0;
    result = session->pq->PQprepare(session->conn, "plus", sql, 1, NULL);
    fine = session->pq->PQresultStatus(result) == PGRES_COMMAND_OK;
    session->pq->PQclear(result);
    return fine;
}

/* Whether the session is in that state, but for the tag, which is returned. */
static int is_in_state(struct session *session, number *tag)
{
    const struct libpq *pq = session->pq;
    char sql[512], name[64], channel[64], timeout[32], text[32];
    number sent = nonce();
    snprintf(sql, sizeof sql,
             "select %lld, pg_backend_pid(), current_setting('application_name'), "
             "current_setting('statement_timeout'), current_setting('TimeZone'), current_setting('soak.tag', true), "
             "(select string_agg(c, ',') from pg_listening_channels() c), "
             "(select count(*) from pg_prepared_statements)", sent);
    PGresult *result = pq->PQexec(session->conn, sql);
    called(1);
    if (pq->PQresultStatus(result) != PGRES_TUPLES_OK) {
        int answer = pq->PQresultStatus(result) == PGRES_FATAL_ERROR ? ERROR : WRONG;
        pq->PQclear(result);
        return answer;
    }
    snprintf(name, sizeof name, "soak %lld", session->name);
    snprintf(channel, sizeof channel, "soak_%lld", session->name);
    snprintf(timeout, sizeof timeout, "%dms", session->timeout);
    const char *zone = session->name % 2 ? "Asia/Tokyo" : "America/Lima";
    int right = pq->PQntuples(result) == 1 && pq->PQnfields(result) == 8 && value_of(pq, result, 0, 0) == sent &&
                value_of(pq, result, 0, 1) == session->backend && !strcmp(pq->PQgetvalue(result, 0, 2), name) &&
                !strcmp(pq->PQgetvalue(result, 0, 3), timeout) && !strcmp(pq->PQgetvalue(result, 0, 4), zone) &&
                !strcmp(pq->PQgetvalue(result, 0, 6), channel) && value_of(pq, result, 0, 7) == 1;
    *tag = right ? value_of(pq, result, 0, 5) : 0;
    pq->PQclear(result);
    if (!right)
        return WRONG;
    sent = nonce();
    snprintf(text, sizeof text, "%lld", sent);
    const char *values[1] = {text};
    result = pq->PQexecPrepared(session->conn, "plus", 1, values, NULL, NULL, 0);
    return is_answer(session, result, 1, sent + session->name);
}

enum { ROWS = 20 };

/* What a session is given that a child must not have. */
static int set_opaque(struct session *session)
{
    switch (session->what) {
    case TRANSACTION: {
        if (!does(session, "begin") ||
            !does(session, "insert into soak_rows select %d, %lld + g from generate_series(1, %d) g",
                  session->place, session->tag, ROWS) ||
            !does(session, "set local soak.tag = '%lld'", session->tag))
            return 0;
        PGresult *result = session->pq->PQexec(session->conn, "select pg_current_xact_id()");
        session->transaction = session->pq->PQntuples(result) == 1 ? value_of(session->pq, result, 0, 0) : 0;
        session->pq->PQclear(result);
        return session->transaction != 0;
    }
    case TEMPORARY:
        return does(session, "create temp table soak_rows as select %d as session, %lld + g as n from generate_series(1, %d) g",
                    session->place, session->tag, ROWS) &&
               does(session, "set soak.tag = '%lld'", session->tag);
    case LOCK:
        return does(session, "select pg_advisory_lock(%lld)", session->tag);
    case PIPELINE:
        return session->pq->PQenterPipelineMode(session->conn);
    default:
        return 1;
    }
}

/* Whether all of it is still there. */
static int is_opaque(struct session *session)
{
    const struct libpq *pq = session->pq;
    char sql[512];
    number sent = nonce();
    if (session->what == PIPELINE || session->what == VICTIM)
        return ask(session);
    if (session->what == LOCK)
        snprintf(sql, sizeof sql,
                 "select %lld, pg_backend_pid(), count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() "
                 "and (classid::bigint << 32) + objid::bigint = %lld", sent, session->tag);
    else
        snprintf(sql, sizeof sql,
                 "select %lld, pg_backend_pid(), count(*), min(n), max(n), current_setting('soak.tag', true), "
                 "pg_current_xact_id() from soak_rows where session = %d", sent, session->place);
    PGresult *result = pq->PQexec(session->conn, sql);
    called(1);
    int answer = ERROR;
    if (pq->PQresultStatus(result) == PGRES_TUPLES_OK) {
        int right = pq->PQntuples(result) == 1 && pq->PQnfields(result) == (session->what == LOCK ? 3 : 7) &&
                    value_of(pq, result, 0, 0) == sent && value_of(pq, result, 0, 1) == session->backend;
        if (right && session->what == LOCK)
            right = value_of(pq, result, 0, 2) == 1;
        else if (right)
            right = value_of(pq, result, 0, 2) == ROWS && value_of(pq, result, 0, 3) == session->tag + 1 &&
                    value_of(pq, result, 0, 4) == session->tag + ROWS && value_of(pq, result, 0, 5) == session->tag &&
                    (session->what != TRANSACTION || value_of(pq, result, 0, 6) == session->transaction);
        answer = right ? RIGHT : WRONG;
    } else if (pq->PQresultStatus(result) != PGRES_FATAL_ERROR)
        answer = WRONG;
    pq->PQclear(result);
    return answer;
}

/* ---------------------------------------------------------------------------- parents */

static const char *const whats[] = {"quiet", "transaction", "temporary", "lock", "pipeline", "hot", "victim"};

/* Quiet sessions are used with this held for writing, and forks made with it held for reading: no
 * thread is inside a call on one at a fork. */
static pthread_rwlock_t quiet;

static int opens(struct session *session, struct libpq *pq, int transport, enum what what)
{
    session->place = (int)(session - sessions) + (getpid() % 10000) * 100;
    /* Busy from before it is ready: no child takes it for more than a socket. */
    int fine = connects(session, pq, transport, what, PARENTS) &&
               (what == QUIET || what == HOT ? set_state(session) : set_opaque(session));
    session->busy = 0;
    session->ready = fine;
    return fine;
}

/* A parent's session is not what it was: it is counted, and made anew. */
static void is_disturbed(struct session *session, int answer, const char *where)
{
    wrong_is(answer == WRONG ? wrong : disturbed, "%s: a parent's session (%s, transport %d, backend %d): %s", where,
             whats[session->what], session->transport, session->backend,
             answer == WRONG ? "another answer" : session->pq->PQerrorMessage(session->conn));
    ends(session);
    for (int i = 0; i < 20 && !shared->stop; i++) {
        if (opens(session, session->pq, session->transport, session->what))
            return;
        ends(session);
        rest(100000);
    }
}

static void verify(struct session *session)
{
    if (session->what == QUIET)
        pthread_rwlock_wrlock(&quiet);
    session->busy = 1;
    number tag = session->tag;
    int answer;
    if (session->pq->PQbackendPID(session->conn) != session->backend)
        answer = WRONG;
    else if (session->what == QUIET)
        answer = is_in_state(session, &tag);
    else
        answer = is_opaque(session);
    if (tag != session->tag)
        answer = WRONG;
    /* Now and then it ends, and another begins. */
    if (answer == RIGHT && session->what == TRANSACTION && chance(2)) {
        int kept = chance(50);
        if (!does(session, kept ? "commit" : "rollback"))
            answer = ERROR;
        else if (kept) {
            char sql[100];
            snprintf(sql, sizeof sql, "delete from soak_rows where session = %d returning n", session->place);
            PGresult *result = session->pq->PQexec(session->conn, sql);
            if (session->pq->PQntuples(result) != ROWS)
                answer = session->pq->PQresultStatus(result) == PGRES_TUPLES_OK ? WRONG : ERROR;
            session->pq->PQclear(result);
        }
        if (answer == RIGHT) {
            session->tag = nonce();
            answer = set_opaque(session) ? RIGHT : ERROR;
        }
    }
    if (answer == RIGHT)
        session->busy = 0;
    else
        is_disturbed(session, answer, "verified");
    if (session->what == QUIET)
        pthread_rwlock_unlock(&quiet);
}

/* Sessions of each kind, by every libpq over every transport. */
static void hold_sessions(void)
{
    static const enum what kinds[] = {TRANSACTION, TEMPORARY, LOCK, PIPELINE};
    for (int i = 0; i < libpq_count * TRANSPORTS; i++) {
        struct libpq *pq = &libpqs[i % libpq_count];
        struct session *session = &sessions[session_count++];
        if (!opens(session, pq, i / libpq_count, QUIET))
            broken("connection", pq->PQerrorMessage(session->conn));
    }
    for (int i = 0; i < (libpq_count > 1 ? 1 : 2) * libpq_count * TRANSPORTS; i++) {
        struct libpq *pq = &libpqs[i % libpq_count];
        struct session *session = &sessions[session_count++];
        int transport = i / libpq_count % TRANSPORTS;
        if (!opens(session, pq, transport, kinds[(transport + i / TRANSPORTS) % 4]))
            broken("connection", pq->PQerrorMessage(session->conn));
    }
}

static void *guardian(void *first_seed)
{
    seed = (unsigned long)first_seed;
    thread_begins();
    while (!shared->stop) {
        for (int i = 0; i < session_count && !shared->stop; i++)
            if (sessions[i].what < HOT) {
                verify(&sessions[i]);
                rest(3000);
            }
    }
    free_slot(mine);
    return NULL;
}

/* A statement is under way all the time, which children try to cancel. */
static void *victim(void *session_)
{
    struct session *session = session_;
    seed = host_seed + session->place;
    thread_begins();
    while (!shared->stop) {
        char sql[128];
        number sent = nonce();
        session->busy = 1;
        if (!session->cancel)
            session->cancel = session->pq->PQgetCancel(session->conn);
        snprintf(sql, sizeof sql, "select %lld, pg_backend_pid() from pg_sleep(0.03)", sent);
        int answer = is_answer(session, session->pq->PQexec(session->conn, sql), 1, sent);
        if (answer != RIGHT)
            is_disturbed(session, answer, "victim of cancels");
    }
    free_slot(mine);
    return NULL;
}

/* Connects, queries, prepares, sets, closes. */
static void *worker(void *session_)
{
    struct session *session = session_;
    seed = host_seed + 1000 * (session - sessions);
    thread_begins();
    while (!shared->stop) {
        if (!opens(session, &libpqs[draw(libpq_count)], draw(TRANSPORTS), HOT))
            wrong_is(disturbed, "a parent's connection: %s", session->pq->PQerrorMessage(session->conn)), rest(100000);
        int answer = session->ready ? RIGHT : ERROR;
        for (int i = 20 + draw(60); i > 0 && answer == RIGHT && !shared->stop; i--) {
            number tag = session->tag;
            session->busy = 1;
            switch (draw(4)) {
            case 0:
                tag = nonce();
                session->next_tag = tag;
                answer = does(session, "set soak.tag = '%lld'", tag) ? RIGHT : ERROR;
                session->tag = tag;
                break;
            case 1:
                answer = is_in_state(session, &tag);
                if (answer == RIGHT && tag != session->tag)
                    answer = WRONG;
                break;
            default:
                answer = ask(session);
            }
            if (answer != RIGHT)
                wrong_is(answer == WRONG ? wrong : disturbed, "a thread's session (transport %d, backend %d): %s",
                         session->transport, session->backend,
                         answer == WRONG ? "another answer" : session->pq->PQerrorMessage(session->conn));
            session->busy = 0;
            rest(draw(4000));
        }
        ends(session);
    }
    free_slot(mine);
    return NULL;
}

/* --------------------------------------------------------------------------- children */

/* Thousandths of the forks, and what a child does. */
#define KINDS(X)                                                                                   \
    X(look, 700)    /* looks for its parent's sockets, and ends */                                 \
    X(clone, 40)    /* the same, made by _Fork, which runs no handlers */                          \
    X(lost, 80)     /* uses a session that must be lost */                                         \
    X(finish, 20)   /* ends every session, as garbage collection does */                           \
    X(cancel, 10)   /* cancels its parent's statement */                                           \
    X(resume, 40)   /* uses one that must come back */                                             \
    X(hot, 20)      /* uses one that a thread of its parent's uses as well */                      \
    X(own, 15)      /* connects */                                                                 \
    X(again, 15)    /* forks in its turn */                                                        \
    X(crash, 20)    /* SIGSEGV, abort */                                                           \
    X(kill, 20)     /* is killed at some moment */                                                 \
    X(exec, 5)      /* becomes a program that queries */                                           \
    X(shell, 5)     /* sh -c, by fork, system, posix_spawn */                                      \
    X(psql, 1)      /* psql */                                                                     \
    X(daemon, 3)    /* daemon(3): the heir keeps the session */                                    \
    X(twice, 3)     /* double fork by hand */                                                      \
    X(threads, 3)   /* threads of its own that connect and resume */

enum kind {
#define X(name, weight) K_##name,
    KINDS(X)
#undef X
        KIND
};

static const char *const kinds[KIND] = {
#define X(name, weight) #name,
    KINDS(X)
#undef X
};

static int weights[KIND] = {
#define X(name, weight) weight,
    KINDS(X)
#undef X
};

static void read_mix(const char *text)
{
    char *copy = strdup(text);
    for (char *pair = strtok(copy, ", "); pair; pair = strtok(NULL, ", ")) {
        char *number = strchr(pair, '=');
        int kind = 0;
        if (number)
            *number++ = 0;
        while (kind < KIND && strcmp(pair, kinds[kind]))
            kind++;
        char *end = "x";
        long weight = number ? strtol(number, &end, 10) : -1;
        if (kind == KIND || weight < 0 || weight > 100000 || *end)
            broken("MIX", "wants KIND=WEIGHT,... with the kinds that the first line names");
        weights[kind] = weight;
    }
    free(copy);
}

static enum kind draw_kind(void)
{
    int all = 0;
    for (int i = 0; i < KIND; i++)
        all += weights[i];
    int drawn = draw(all ? all : 1);
    for (int i = 0; i < KIND; i++)
        if ((drawn -= weights[i]) < 0)
            return i;
    return K_look;
}

static int is_threaded; /* this host */

static void __attribute__((noreturn)) child_ends(void)
{
    /* exit(3) in a child of a threaded program finds what other libraries' finalizers hold. */
    if (!is_threaded && in_child == 1 && chance(10))
        exit(0);
    _exit(0);
}

/* No descriptor is a session of the parent's. */
static void look(void)
{
    int dead = 0;
    for (int i = 0; i < session_count; i++) {
        unsigned long long cookie = sessions[i].cookie, found = cookie ? cookie_of(sessions[i].fd) : 0;
        dead += found != 0 && found != cookie;
        if (found != 0 && found == cookie)
            wrong_is(failed, "descriptor %d of a child is its parent's session (%s)", sessions[i].fd,
                     whats[sessions[i].what]);
    }
    add(abandons, dead);
}

/* A session of the parent's, of some kind, with no thread in it; NULL where there is none. */
static struct session *pick(int from, int to)
{
    int start = draw(session_count);
    for (int i = 0; i < session_count; i++) {
        struct session *session = &sessions[(start + i) % session_count];
        if ((int)session->what >= from && (int)session->what <= to && session->ready)
            return session;
    }
    return NULL;
}

/* What must be lost is, and says so. */
static void use_lost(struct session *session)
{
    const struct libpq *pq = session->pq;
    if (!session || session->busy)
        return;
    int bad_before = chance(50) ? pq->PQstatus(session->conn) == CONNECTION_BAD : 1;
    char sql[100];
    number sent = nonce();
    snprintf(sql, sizeof sql, "select %lld, pg_backend_pid()", sent);
    PGresult *result;
    if (session->what == PIPELINE) {
        if (pq->PQsendQueryParams(session->conn, sql, 0, NULL, NULL, NULL, NULL, 0))
            pq->PQpipelineSync(session->conn);
        result = pq->PQgetResult(session->conn);
    } else
        result = pq->PQexec(session->conn, sql);
    called(1);
    if (pq->PQresultStatus(result) == PGRES_TUPLES_OK)
        wrong_is(wrong, "a child used its parent's session (%s, transport %d): answered %s by backend %s, parent's %d",
                 whats[session->what], session->transport, value_of(pq, result, 0, 0) == sent ? "rightly" : "wrongly",
                 pq->PQgetvalue(result, 0, 1), session->backend);
    else if (pq->PQstatus(session->conn) != CONNECTION_BAD || !*pq->PQerrorMessage(session->conn))
        wrong_is(failed, "a child's session (%s, transport %d) is lost in silence (status %d): %s", whats[session->what],
                 session->transport, pq->PQstatus(session->conn), pq->PQerrorMessage(session->conn));
    else if (!bad_before)
        wrong_is(failed, "a child's session (%s, transport %d) is lost, and PQstatus did not say so", whats[session->what],
                 session->transport);
    else
        add(lost, 1);
    pq->PQclear(result);
}

/* What must come back does, equal. True if it did. `owner` is for how it will end. */
static int use_resumed(struct session *session, enum owner owner)
{
    const struct libpq *pq = session->pq;
    int was = session->backend, was_busy = session->busy;
    number since = milliseconds(CLOCK_REALTIME), tag = 0, before = session->tag, after = session->next_tag;
    session->backend = 0;
    char sql[100];
    number sent = nonce();
    snprintf(sql, sizeof sql, "select %lld, pg_backend_pid()", sent);
    PGresult *result = pq->PQexec(session->conn, sql);
    called(1);
    if (pq->PQresultStatus(result) != PGRES_TUPLES_OK) {
        if (was_busy && pq->PQstatus(session->conn) == CONNECTION_BAD && *pq->PQerrorMessage(session->conn))
            add(lost_in_call, 1);
        else
            wrong_is(failed, "a session (%s, transport %d, libpq %d) did not come back in a child: %s", whats[session->what],
                     session->transport, (int)(pq - libpqs), pq->PQerrorMessage(session->conn));
        pq->PQclear(result);
        return 0;
    }
    if (pq->PQntuples(result) != 1 || pq->PQnfields(result) != 2 || value_of(pq, result, 0, 0) != sent)
        wrong_is(wrong, "a child's first query (%s, transport %d) got another's answer", whats[session->what], session->transport);
    else
        session->backend = value_of(pq, result, 0, 1);
    pq->PQclear(result);
    if (session->backend == was) {
        wrong_is(wrong, "a child used its parent's session (%s, transport %d, backend %d)", whats[session->what], session->transport, was);
        return 0;
    }
    if (pq->PQbackendPID(session->conn) != session->backend)
        wrong_is(wrong, "PQbackendPID says %d of backend %d", pq->PQbackendPID(session->conn), session->backend);
    backend_is(session->backend, owner, since);
    add(resumes, 1);
    int answer = is_in_state(session, &tag);
    if (answer == RIGHT && tag != before && !(was_busy && tag == after))
        wrong_is(wrong, "a child's session (%s) has soak.tag %lld, its parent's had %lld", whats[session->what], tag, before);
    else if (answer != RIGHT)
        wrong_is(answer == WRONG ? wrong : failed, "a child's session (%s, transport %d, libpq %d) is not equal to its parent's: %s",
                 whats[session->what], session->transport, (int)(pq - libpqs), answer == WRONG ? "another state" : pq->PQerrorMessage(session->conn));
    session->tag = session->next_tag = tag;
    session->fd = pq->PQsocket(session->conn);
    session->cookie = cookie_of(session->fd);
    return answer == RIGHT;
}

static void asks(struct session *session, int times)
{
    while (times-- > 0) {
        int answer = ask(session);
        if (answer != RIGHT) {
            wrong_is(answer == WRONG ? wrong : failed, "a child's own session (transport %d, backend %d): %s", session->transport, session->backend,
                     answer == WRONG ? "another answer" : session->pq->PQerrorMessage(session->conn));
            return;
        }
    }
}

static int has_own(struct session *session, enum owner owner)
{
    memset(session, 0, sizeof *session);
    if (connects(session, &libpqs[draw(libpq_count)], draw(TRANSPORTS), HOT, owner))
        return 1;
    wrong_is(failed, "a child's connection (transport %d): %s", session->transport, session->pq->PQerrorMessage(session->conn));
    return 0;
}

static pid_t forks_child(enum kind kind, struct slot **slot, int lock);

/* Waits for a child and says whether it ended well. */
static void awaits(pid_t pid, struct slot *slot, enum kind kind)
{
    int status;
    if (mine)
        mine->waiting = 1;
    while (waitpid(pid, &status, 0) != pid)
        if (errno != EINTR)
            broken("waitpid", NULL);
    if (mine)
        mine->waiting = 0;
    beat();
    int dumped = slot->dumped;
    free_slot(slot);
    if (dumped)
        return;
    if (kind == K_crash && WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGABRT))
        add(crashed, 1);
    else if (kind == K_kill && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        add(killed, 1);
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        wrong_is(failed, "child %d (%s) ended by %s %d", pid, kinds[kind], WIFSIGNALED(status) ? "signal" : "exit",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Forks, from a child: its child is to do that. */
static pid_t forks_again(struct slot **slot, enum kind kind)
{
    add(grandchildren, 1);
    return forks_child(kind, slot, 1);
}

static void crash(void)
{
    signal(SIGSEGV, SIG_DFL);
    if (chance(50))
        abort();
    *(volatile int *)0 = 1;
}

static void *resuming_thread(void *session_)
{
    struct session *session = session_, own;
    seed = (unsigned long)session + getpid();
    if (session && use_resumed(session, CLEAN)) {
        asks(session, 3);
        ends(session);
    }
    if (has_own(&own, CLEAN)) {
        asks(&own, 3);
        ends(&own);
    }
    return NULL;
}

static void runs_program(enum kind kind)
{
    char sent[32], line[64] = "";
    snprintf(sent, sizeof sent, "%lld", nonce());
    const char *conninfo = conninfos[draw(TRANSPORTS)];
    add(programs, 1);
    if (kind == K_exec) {
        char index[8];
        snprintf(index, sizeof index, "%d", (int)draw(3));
        execl(self, "soak", "query", index, conninfo, sent, NULL);
        _exit(97);
    }
    if (kind == K_psql) {
        char command[1024];
        snprintf(command, sizeof command, "psql -XAtq -d \"%s\" -c 'select %s' 2>&1", conninfo, sent);
        FILE *answer = popen(command, "r");
        if (!answer || !fgets(line, sizeof line, answer))
            line[0] = 0;
        if (atoll(line) != atoll(sent) || pclose(answer) != 0)
            wrong_is(failed, "psql in a child said: %s", line);
        return;
    }
    int status = -1;
    char *const arguments[] = {"sh", "-c", "exit 7", NULL};
    pid_t pid;
    switch (draw(4)) {
    case 0:
        status = system("exit 7");
        break;
    case 1:
        if (posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ) != 0 || waitpid(pid, &status, 0) != pid)
            status = -1;
        break;
    case 2:
        pid = vfork();
        if (pid == 0) {
            execv("/bin/sh", arguments);
            _exit(97);
        }
        if (waitpid(pid, &status, 0) != pid)
            status = -1;
        break;
    default:
        execl("/bin/sh", "sh", "-c", "exit 0", NULL);
        _exit(97);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
        wrong_is(failed, "sh -c 'exit 7' ended by status %#x", status);
}

/* What a child does. Its session may be NULL, where a thread was just making it. */
static void child_does(enum kind kind)
{
    struct session own, *session;
    struct slot *slot;
    pid_t pid;
    switch (kind) {
    case K_lost:
        use_lost(session = pick(TRANSACTION, PIPELINE));
        if (session && !session->busy && chance(30))
            session->pq->PQfinish(session->conn);
        break;
    case K_finish:
        for (int i = 0; i < session_count; i++)
            if (sessions[i].ready && !sessions[i].busy) {
                sessions[i].pq->PQfinish(sessions[i].conn);
                beat();
            }
        break;
    case K_cancel:
        if ((session = pick(VICTIM, VICTIM)) && session->cancel) {
            const struct libpq *pq = session->pq;
            if (pq->cancel_finish && chance(50)) {
                void *cancel = pq->cancel_create(session->conn);
                pq->cancel_blocking(cancel);
                pq->cancel_finish(cancel);
            } else {
                char error[256];
                pq->PQcancel(session->cancel, error, sizeof error);
            }
            add(cancels, 1);
        }
        break;
    case K_resume:
    case K_hot:
        session = kind == K_hot ? pick(HOT, HOT) : pick(QUIET, QUIET);
        int clean = chance(50);
        if (session && use_resumed(session, clean ? CLEAN : CUT)) {
            asks(session, draw(4));
            if (clean)
                ends(session);
        }
        break;
    case K_own:
        if (has_own(&own, CLEAN)) {
            asks(&own, 1 + draw(4));
            ends(&own);
        }
        break;
    case K_again: {
        static const enum kind lives[] = {K_look, K_lost, K_resume, K_resume, K_own, K_crash, K_again};
        session = pick(QUIET, QUIET);
        int used = session && chance(50) && use_resumed(session, CLEAN);
        for (int i = 1 + draw(3); i > 0; i--) {
            enum kind next = lives[draw(in_child < 4 ? 7 : 6)];
            pid = forks_again(&slot, next);
            awaits(pid, slot, next);
        }
        if (used) {
            asks(session, 2);
            number tag;
            if (is_in_state(session, &tag) != RIGHT || tag != session->tag)
                wrong_is(disturbed, "a child's session, after its children: backend %d: %s", session->backend, session->pq->PQerrorMessage(session->conn));
            ends(session);
        }
        break;
    }
    case K_crash:
        session = pick(QUIET, QUIET);
        switch (draw(3)) {
        case 0:
            if (session)
                use_resumed(session, CUT);
            break;
        case 1:
            if (has_own(&own, CUT) && does(&own, "begin"))
                asks(&own, 1);
            break;
        }
        crash();
        break;
    case K_kill:
        for (int i = 0; i < 5; i++) {
            if ((session = pick(QUIET, QUIET)) && session->backend && use_resumed(session, CUT)) {
                asks(session, 1);
                session->ready = 0;
            }
            if (has_own(&own, CUT))
                asks(&own, 3);
            own.pq->PQfinish(own.conn);
        }
        break;
    case K_exec:
    case K_shell:
    case K_psql:
        runs_program(kind);
        break;
    case K_daemon:
        if (!has_own(&own, CLEAN))
            break;
        own.place = getpid();
        own.what = TEMPORARY;
        if (!set_opaque(&own) || is_opaque(&own) != RIGHT) {
            wrong_is(failed, "a child's own session: %s", own.pq->PQerrorMessage(own.conn));
            break;
        }
        slot = take_slot(K_daemon);
        if (daemon(1, 1) != 0)
            broken("daemon", NULL);
        slot->pid = getpid();
        mine = slot;
        if (is_opaque(&own) != RIGHT || own.pq->PQbackendPID(own.conn) != own.backend)
            wrong_is(wrong, "a daemon's session is not what it inherited: %s", own.pq->PQerrorMessage(own.conn));
        ends(&own);
        add(heirs, 1);
        if ((session = pick(QUIET, QUIET)) && use_resumed(session, CLEAN))
            ends(session);
        break;
    case K_twice:
        pid = forks_again(&slot, K_twice);
        (void)pid; /* in the child, which goes on as `forks_child` has it */
        break;
    case K_threads: {
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            if (pthread_create(&threads[i], NULL, resuming_thread, &sessions[i]) != 0)
                broken("pthread_create", NULL);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        break;
    }
    default:
        break;
    }
}

static void __attribute__((noreturn)) child_lives(enum kind kind, struct slot *slot)
{
    slot->pid = getpid();
    mine = slot;
    in_child++;
    beat();
    if (kind == K_clone)
        close(-1); /* the first interposed call tells of the fork */
    look();
    if (kind == K_twice && in_child > 1) { /* the daemon */
        struct session *session = pick(QUIET, QUIET);
        while (getppid() != atoi(given("SOAK_SUPERVISOR")))
            rest(200);
        if (session && use_resumed(session, CLEAN))
            ends(session);
        add(heirs, 1);
        child_ends();
    }
    if (kind == K_twice)
        setsid();
    child_does(kind);
    child_ends();
}

/* Whether a fork of such a length may have been one that waited in vain (docs/LIMITS.md, "What it does not
 * cover"): the bound is 100 ms, and the library counts them. */
static int was_in_vain(number length)
{
    static __thread number known;
    struct forkguard_counters counters;
    if (length < 95 || !forkguard_counters || forkguard_counters(&counters, sizeof counters) != 0)
        return 0;
    number before = known;
    known = counters.fork_waits[FORKGUARD_WAITED_IN_VAIN];
    return known != before;
}

static pid_t forks_child(enum kind kind, struct slot **slot, int lock)
{
    unsigned long long its_seed = draw(1ULL << 62);
    number start = now();
    *slot = take_slot(kind);
    if (lock && in_child == 0)
        pthread_rwlock_rdlock(&quiet);
    pid_t pid = kind == K_clone ? _Fork() : fork();
    if (pid == 0) {
        seed = its_seed;
        child_lives(kind, *slot);
    }
    if (lock && in_child == 0)
        pthread_rwlock_unlock(&quiet);
    if (pid < 0)
        broken("fork", NULL);
    (*slot)->vain = was_in_vain(now() - start);
    (*slot)->pid = pid;
    beat();
    add(forks, 1);
    return pid;
}

static void kills_later(pid_t pid, enum kind kind)
{
    if (kind != K_kill)
        return;
    rest(draw(chance(50) ? 3000 : 12000));
    kill(pid, SIGKILL);
}

static void *forker(void *first_seed)
{
    seed = (unsigned long)first_seed;
    thread_begins();
    while (!shared->stop) {
        struct slot *slot;
        enum kind kind = draw_kind();
        pid_t pid = forks_child(kind, &slot, 1);
        kills_later(pid, kind);
        awaits(pid, slot, kind);
    }
    free_slot(mine);
    return NULL;
}

/* ------------------------------------------------------------------------------ hosts */

enum { FORKERS = 3, WORKERS = 3, AT_ONCE = 3 };

static void threads_host(void)
{
    is_threaded = 1;
    pthread_t threads[FORKERS + WORKERS + 2];
    int count = 0;
    struct session *sleeper = &sessions[session_count++];
    if (!opens(sleeper, &libpqs[libpq_count - 1], TLS, VICTIM))
        broken("connection", sleeper->pq->PQerrorMessage(sleeper->conn));
    pthread_create(&threads[count++], NULL, victim, sleeper);
    pthread_create(&threads[count++], NULL, guardian, (void *)(seed + 1));
    struct session *first = &sessions[session_count];
    for (int i = 0; i < WORKERS; i++)
        first[i].what = HOT;
    session_count += WORKERS;
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&threads[count++], NULL, worker, first + i);
    for (int i = 0; i < FORKERS; i++)
        pthread_create(&threads[count++], NULL, forker, (void *)(seed + 100 + i));
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void master_host(void)
{
    struct {
        pid_t pid;
        struct slot *slot;
        enum kind kind;
    } running[AT_ONCE] = {0};
    thread_begins();
    number end = now() + 10000;
    for (unsigned turn = 0; !shared->stop && now() < end; turn++) {
        int i = turn % AT_ONCE;
        if (running[i].pid)
            awaits(running[i].pid, running[i].slot, running[i].kind);
        running[i].kind = draw_kind();
        running[i].pid = forks_child(running[i].kind, &running[i].slot, 0);
        kills_later(running[i].pid, running[i].kind);
        if (turn % 4 == 0)
            verify(&sessions[turn / 4 % session_count]);
    }
    for (int i = 0; i < AT_ONCE; i++)
        if (running[i].pid)
            awaits(running[i].pid, running[i].slot, running[i].kind);
    free_slot(mine);
}

static int host(const char *kind, int only)
{
    void *frame[1];
    backtrace(frame, 1); /* loads what it needs now, and not in a signal handler */
    signal(SIGUSR2, tell_stack);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&quiet, &attributes);
    seed = host_seed = strtoull(given("SOAK_SEED"), NULL, 10) * 1000003 + (unsigned char)kind[0];
    load_libpqs(only);
    hold_sessions();
    if (!strcmp(kind, "threads"))
        threads_host();
    else
        master_host();
    for (int i = 0; i < session_count; i++)
        if (sessions[i].conn)
            ends(&sessions[i]);
    return 0;
}

/* query INDEX CONNINFO NONCE */
static int query(char **arguments)
{
    load_libpqs(atoi(arguments[0]));
    struct libpq *pq = &libpqs[0];
    PGconn *conn = pq->PQconnectdb(arguments[1]);
    const char *values[1] = {arguments[2]};
    PGresult *result = pq->PQexecParams(conn, "select $1::bigint", 1, NULL, values, NULL, NULL, 0);
    int right = pq->PQntuples(result) == 1 && value_of(pq, result, 0, 0) == atoll(arguments[2]);
    if (!right)
        wrong_is(failed, "a program that a child became: %s", pq->PQerrorMessage(conn));
    pq->PQclear(result);
    pq->PQfinish(conn);
    return 0;
}

/* ------------------------------------------------------------------- the server's log */

struct line {
    int pid;
    number time;
    const char *text;
};

/* "2026-11-27 18:00:00.123 UTC [pid] LEVEL:  text" */
static int read_line(char *from, struct line *line)
{
    struct tm tm = {0};
    int thousandths, length = 0;
    if (sscanf(from, "%d-%d-%d %d:%d:%d.%d UTC [%d] %n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &thousandths, &line->pid, &length) != 8 || !length)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    line->time = timegm(&tm) * 1000LL + thousandths;
    line->text = from + length;
    return 1;
}

static int holds(const char *text, const char *const *parts)
{
    for (; *parts; parts++)
        if (strstr(text, *parts))
            return 1;
    return 0;
}

static number unknown_cut;

static void judge_line(const struct line *line, const char *whole)
{
    /* Nothing happened. */
    static const char *const usual[] = {"LOG:  connection ", "LOG:  disconnection: ", "LOG:  checkpoint ", "LOG:  starting ",
                                        "LOG:  listening ", "LOG:  database system ", "STATEMENT:  ", "DETAIL:  ", "HINT:  ", "CONTEXT:  ", NULL};
    /* Somebody went without a word: his own session's end, if he was one to do so. */
    static const char *const cut[] = {"unexpected EOF on client connection", "could not receive data from client: ",
                                      "could not send data to client: ", "connection to client lost", "could not accept SSL connection: ",
                                      "incomplete startup packet", "SSL error: unexpected eof while reading", "SSL SYSCALL error", NULL};
    add(log_lines, 1);
    if (holds(line->text, usual))
        return;
    enum owner owner = NOBODYS;
    if (line->pid > 0 && line->pid <= highest_pid) {
        const struct backend *backend = &shared->backends[line->pid];
        number since = backend->since, until = backend->until;
        /* Two seconds: how long a server may take to see an end. Numbers come again after 15 at the least. */
        if (line->time >= since && (until == 0 || line->time <= until + 2000))
            owner = backend->owner;
    }
    static const char *const owners[] = {"of nobody known", "of a parent", "of a child that ends well", "of a child that is cut off"};
    if (owner != PARENTS && owner != CLEAN && holds(line->text, cut)) {
        add(log_cut, 1);
        unknown_cut += owner == NOBODYS;
        return;
    }
    wrong_is(log_bad, "the server's log, session %s: %s", owners[owner], whole);
}

/* Judges the lines that are a second and a half old: by then their session is entered. */
static void read_log(FILE *log, int all)
{
    static char kept[8192];
    number limit = milliseconds(CLOCK_REALTIME) - 1500;
    for (;;) {
        struct line line;
        if (!kept[0]) {
            long at = ftell(log);
            if (!fgets(kept, sizeof kept, log)) {
                clearerr(log);
                kept[0] = 0;
                return;
            }
            if (!strchr(kept, '\n') && strlen(kept) < sizeof kept - 1) { /* not written to its end */
                fseek(log, at, SEEK_SET);
                kept[0] = 0;
                return;
            }
        }
        if (read_line(kept, &line)) {
            if (!all && line.time > limit)
                return;
            judge_line(&line, kept);
        }
        kept[0] = 0;
    }
}

/* ------------------------------------------------------------------------- supervisor */

static long stuck_after; /* milliseconds */

static void print_stack(struct slot *slot, pid_t pid)
{
    const char *path = given("SOAK_STACKS");
    struct stat before = {0};
    stat(path, &before);
    if (getenv("SOAK_GDB")) {
        char command[PATH_MAX + 200];
        snprintf(command, sizeof command, "timeout 60 gdb -p %d -batch -ex 'thread apply all bt 40' >>%s 2>&1 </dev/null", pid, path);
        if (system(command) != 0)
            fprintf(stderr, "soak: gdb failed\n");
    }
    syscall(SYS_tgkill, pid, slot->tid ? slot->tid : pid, SIGUSR2);
    rest(500000);
    FILE *stacks = fopen(path, "r");
    if (!stacks)
        return;
    fseek(stacks, before.st_size, SEEK_SET);
    char line[1024];
    for (int i = 0; i < 400 && fgets(line, sizeof line, stacks); i++)
        fprintf(stderr, "  %s", line);
    fclose(stacks);
}

/* Whether a process has ended, and its parent has not looked. */
static int is_zombie(pid_t pid)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 1;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    fclose(file);
    return state == 'Z' || state == 'X';
}

/* Who has made no progress is shown and killed. */
static void watch(void)
{
    int shown = 0;
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &shared->slots[i];
        pid_t pid = slot->pid;
        if (pid == -1 && now() - slot->beat > 5000 && kill(slot->taker, 0) != 0)
            free_slot(slot); /* its taker was killed before it forked */
        if (pid <= 0 || slot->waiting || slot->dumped || now() - slot->beat <= stuck_after)
            continue;
        if (kill(pid, 0) != 0) {
            atomic_compare_exchange_strong(&slot->pid, &pid, 0);
            continue;
        }
        if (is_zombie(pid))
            continue;
        slot->dumped = 1;
        enum count which = slot->vain ? in_vain : deadlocks;
        wrong_is(which, "process %d, thread %d (%s) made no progress for %ld s", pid, slot->tid, slot->doing < 0 ? "a thread of a parent" : kinds[slot->doing],
                 stuck_after / 1000);
        if (guarded && shared->count[which] <= 10) {
            print_stack(slot, pid);
            shown = 1;
        }
        kill(pid, SIGKILL);
    }
    if (shown) /* the machine, or a host, stood still meanwhile */
        for (int i = 0; i < SLOTS; i++)
            shared->slots[i].beat = now();
}

static pid_t start_host(char *kind)
{
    static unsigned masters;
    char only[16];
    snprintf(only, sizeof only, "%u", (kind[0] == 'm' ? masters++ : 0) % 3);
    const char *library = given("SOAK_LIBRARY");
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    if (*library)
        setenv("LD_PRELOAD", library, 1);
    execl(self, "soak", kind, strcmp(kind, "master") ? NULL : only, NULL);
    broken(self, NULL);
}

static void reap(char *const *names, pid_t *hosts, int restart)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (int i = 0; i < 2; i++)
            if (hosts[i] == pid) {
                hosts[i] = 0;
                if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
                    broken(names[i], "a host could not run");
                if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                    wrong_is(disturbed, "the host %s ended by %s %d", names[i], WIFSIGNALED(status) ? "signal" : "exit",
                             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
                if (restart)
                    hosts[i] = start_host(names[i]);
            }
        for (int i = 0; i < SLOTS; i++)
            if (shared->slots[i].pid == pid)
                free_slot(&shared->slots[i]);
    }
}

static long resident(pid_t pid)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void print_line(number seconds)
{
    printf("%5lld s  %llu forks  %llu queries  %llu resumes  %llu abandons  %llu lost | %llu deadlocks  %llu wrong  %llu disturbed  %llu in the log  %llu failed\n",
           seconds, shared->count[forks], shared->count[queries] + shared->count[child_queries], shared->count[resumes], shared->count[abandons],
           shared->count[lost], shared->count[deadlocks], shared->count[wrong], shared->count[disturbed], shared->count[log_bad], shared->count[failed]);
    fflush(stdout);
}

static void give_up(int number)
{
    (void)number;
    for (int i = 0; i < SLOTS; i++)
        if (shared->slots[i].pid > 0)
            kill(shared->slots[i].pid, SIGKILL);
    _exit(2);
}

static int supervise(void)
{
    long seconds = atol(given("SOAK_SECONDS"));
    stuck_after = guarded ? 1000 * atol(given("SOAK_STUCK")) : 1000;
    int memory = memfd_create("soak", 0);
    char text[32];
    if (memory < 0)
        broken("memfd_create", NULL);
    share(memory);
    snprintf(text, sizeof text, "%d", memory);
    setenv("SOAK_SHARED", text, 1);
    snprintf(text, sizeof text, "%d", getpid());
    setenv("SOAK_SUPERVISOR", text, 1);
    signal(SIGTERM, give_up);
    signal(SIGINT, give_up);
    signal(SIGHUP, give_up);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    FILE *log = fopen(given("SOAK_LOG"), "r");
    if (!log)
        broken(given("SOAK_LOG"), NULL);
    fseek(log, 0, SEEK_END);

    printf("soak: %s, %ld s, seed %s, mix", guarded ? "guarded" : "unguarded", seconds, given("SOAK_SEED"));
    for (int i = 0; i < KIND; i++)
        printf("%c%s=%d", i ? ',' : ' ', kinds[i], weights[i]);
    printf("\n");
    fflush(stdout);
    char *names[] = {"threads", "master"};
    pid_t hosts[2] = {start_host(names[0]), start_host(names[1])};
    number start = now(), told = start, end = start + seconds * 1000;
    long warm[2] = {0}, last[2] = {0};
    number least = atoll(given("SOAK_FORKS")), at_last = start + (guarded ? 10 : 1) * seconds * 1000;
    while ((now() < end || ((number)shared->count[forks] < least && now() < at_last)) &&
           (!guarded || shared->count[deadlocks] < 20)) {
        rest(50000);
        reap(names, hosts, 1);
        read_log(log, 0);
        watch();
        for (int i = 0; i < 2; i++) {
            last[i] = resident(hosts[i]);
            if (!warm[i] || now() < start + seconds * 250) /* after a quarter of the time */
                warm[i] = last[i];
        }
        if (now() - told >= 10000) {
            told += 10000;
            print_line((now() - start) / 1000);
        }
    }
    number worked = now() - start;
    shared->stop = 1;
    for (number limit = now() + (guarded ? stuck_after + 15000 : 1500); (hosts[0] || hosts[1]) && now() < limit;) {
        rest(20000);
        reap(names, hosts, 0);
        read_log(log, 0);
        watch();
    }
    /* Children that have left their parents, and in an unguarded run everybody who hangs. */
    for (number limit = now() + (guarded ? stuck_after + 15000 : 0); now() < limit;) {
        int left = 0;
        for (int i = 0; i < SLOTS; i++)
            left += shared->slots[i].pid != 0;
        if (!left)
            break;
        rest(20000);
        reap(names, hosts, 0);
        watch();
    }
    for (int i = 0; i < SLOTS; i++)
        if (shared->slots[i].pid > 0)
            kill(shared->slots[i].pid, SIGKILL);
    for (int i = 0; i < 2; i++)
        if (hosts[i])
            kill(hosts[i], SIGKILL);
    rest(1600000);
    read_log(log, 1);
    if (unknown_cut > (number)(shared->count[killed] + shared->count[crashed] + shared->count[deadlocks] + shared->count[in_vain]))
        wrong_is(log_bad, "%lld sessions of nobody known were cut off, and only %llu children were killed", unknown_cut, shared->count[killed]);
    int bad = 0;
    for (int i = 0; i < COUNT; i++) {
        printf("%-28s %12llu\n", counts[i].text, shared->count[i]);
        bad |= counts[i].bad && shared->count[i];
    }
    printf("%-28s %12.0f\n", "forks in a second", shared->count[forks] * 1000.0 / worked);
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    printf("%-28s %6ld user, %ld system\n", "seconds of processor, hosts", used.ru_utime.tv_sec, used.ru_stime.tv_sec);
    printf("%-28s %6ld to %ld, %ld to %ld\n", "KB resident, threads, master", warm[0], last[0], warm[1], last[1]);
    return bad;
}

int main(int count, char **arguments)
{
    FILE *file = fopen("/proc/sys/kernel/pid_max", "r");
    if (!file || fscanf(file, "%d", &highest_pid) != 1)
        broken("/proc/sys/kernel/pid_max", NULL);
    fclose(file);
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        broken("/proc/self/exe", NULL);
    guarded = *given("SOAK_LIBRARY") != 0;
    read_mix(given("SOAK_MIX"));
    write_conninfos();
    if (count == 1)
        return supervise();
    share(atoi(given("SOAK_SHARED")));
    if (count == 2 || count == 3)
        return host(arguments[1], count == 3 ? atoi(arguments[2]) : -1);
    if (count == 5 && !strcmp(arguments[1], "query"))
        return query(arguments + 2);
    broken("usage", "run tools/soak");
}
