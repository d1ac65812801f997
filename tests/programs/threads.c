/*
 * threads CONNINFO FORKS use|look: threads open, use, duplicate and close
 * sessions while others fork. Each child looks at every descriptor it has: none
 * may be the socket of a session that the parent had at the fork. With "use" it
 * then uses and finishes a session of its parent's. (Not for TLS: SSL_free waits
 * for ever where another thread was inside a lock of OpenSSL's at the fork, with
 * the library and without.)
 *
 * Prints what it counted: forks, sessions opened, live sockets found in
 * children, wrong answers in the parent, children that hung (SIGALRM) or
 * failed. "young" are sockets that another thread had made at the fork and not
 * yet connected: no session then, and nobody's in the child.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENTS = 3, FORKERS = 2 };

static const char *conninfo;
static int use;
static atomic_int running = 1, opened, wrong, refused_connections;
static atomic_int forks, found_live, hung, failed;
static atomic_int forks_to_do;
/* The cookies (SO_COOKIE, socket(7)) of the sessions open now, from the return
 * of PQconnectStart until PQfinish. A child sees them as they were at the fork. */
static atomic_ullong sessions[CLIENTS + 1];
static atomic_int *young; /* counted by children, too */
static PGconn *shared; /* open all the time, used by nobody but children */

static int answers(PGconn *conn, int number) {
    char sql[64];
    snprintf(sql, sizeof sql, "select %d", number);
    PGresult *result = PQexec(conn, sql);
    int right = PQntuples(result) == 1 && atoi(PQgetvalue(result, 0, 0)) == number;
    if (!right && atomic_load(&wrong) < 3)
        fprintf(stderr, "wrong: %s", PQerrorMessage(conn));
    PQclear(result);
    return right;
}

static unsigned long long cookie(int fd) {
    unsigned long long cookie = 0;
    socklen_t length = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

static PGconn *connected(int place) {
    PGconn *conn = PQconnectStart(conninfo);
    atomic_store(&sessions[place], cookie(PQsocket(conn)));
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED) {
        struct pollfd wait = {PQsocket(conn), next == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};
        poll(&wait, 1, 10000);
        next = PQconnectPoll(conn);
    }
    return conn;
}

static void *client(void *seed) {
    for (int i = 0; atomic_load(&running); i++) {
        PGconn *conn = connected((int)(long)seed);
        if (PQstatus(conn) != CONNECTION_OK) {
            fputs(PQerrorMessage(conn), stderr);
            atomic_fetch_add(&refused_connections, 1);
            PQfinish(conn);
            continue;
        }
        atomic_fetch_add(&opened, 1);
        int copy = i % 3 == 0 ? dup(PQsocket(conn)) : -1;
        for (int j = 0; j < 3; j++)
            if (!answers(conn, (int)(long)seed * 1000 + i % 100 * 10 + j))
                atomic_fetch_add(&wrong, 1);
        atomic_store(&sessions[(long)seed], 0);
        if (copy >= 0)
            close(copy);
        PQfinish(conn);
    }
    return NULL;
}

/* How many descriptors are sessions of the parent's. */
static int live_sockets(void) {
    int live = 0;
    for (int fd = 3; fd < 64; fd++) {
        unsigned long long found = cookie(fd);
        for (int i = 0; found != 0 && i <= CLIENTS; i++)
            live += found == atomic_load(&sessions[i]);
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        if (found != 0 && getpeername(fd, (void *)&peer, &length) == 0 && length > sizeof(sa_family_t))
            atomic_fetch_add(young, 1);
    }
    return live;
}

static int child(void) {
    alarm(10);
    int live = live_sockets();
    if (live > 0)
        _exit(live > 99 ? 99 : live);
    if (!use)
        _exit(0);
    PGresult *result = PQexec(shared, "select 1");
    if (PQresultStatus(result) == PGRES_TUPLES_OK || PQstatus(shared) != CONNECTION_BAD)
        _exit(100);
    PQclear(result);
    PQfinish(shared);
    /* Not exit: the finalizers of libgssapi and p11-kit find what another thread
     * of the parent held at the fork (tried, without us as well: a futex, or
     * "double free", twice in 60,000). */
    _exit(0);
}

static void *forker(void *unused) {
    (void)unused;
    while (atomic_fetch_sub(&forks_to_do, 1) > 0) {
        pid_t pid = fork();
        if (pid == 0)
            child();
        int status = 0;
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            abort();
        atomic_fetch_add(&forks, 1);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            atomic_fetch_add(&hung, 1);
        else if (!WIFEXITED(status) || WEXITSTATUS(status) >= 100)
            atomic_fetch_add(&failed, 1);
        else
            atomic_fetch_add(&found_live, WEXITSTATUS(status));
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    conninfo = argv[1];
    use = !strcmp(argv[3], "use");
    atomic_store(&forks_to_do, atoi(argv[2]));
    young = mmap(NULL, sizeof *young, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared = connected(CLIENTS);
    if (PQstatus(shared) != CONNECTION_OK) {
        fputs(PQerrorMessage(shared), stderr);
        return 1;
    }
    int backend = PQbackendPID(shared);

    pthread_t clients[CLIENTS], forkers[FORKERS];
    for (long i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, client, (void *)i);
    for (int i = 0; i < FORKERS; i++)
        pthread_create(&forkers[i], NULL, forker, NULL);
    for (int i = 0; i < FORKERS; i++)
        pthread_join(forkers[i], NULL);
    atomic_store(&running, 0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    char sql[] = "select pg_backend_pid()";
    PGresult *result = PQexec(shared, sql);
    int same = PQntuples(result) == 1 && atoi(PQgetvalue(result, 0, 0)) == backend;
    PQclear(result);
    PQfinish(shared);
    printf("forks %d opened %d live %d wrong %d hung %d failed %d refused %d same %d young %d\n", forks, opened,
           found_live, wrong, hung, failed, refused_connections, same, *young - found_live);
    return 0;
}
