/*
 * fork_waits CONNINFO FORKS FORKERS: threads connect and close all the time while others fork.
 * Each child opens a connection of its own, asks, closes it. One that has not done so in time
 * waits for a lock that another thread of its parent held at the fork. The first such ends the run.
 *
 * Prints what it counted: forks, connections opened by the threads, children that hung (SIGALRM)
 * or failed, how long fork(2) took (microseconds), and the library's own count of waits.
 */
#define _GNU_SOURCE
#include <forkguard.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma weak forkguard_counters

enum {
    CLIENTS = 4,
    /* A child takes some milliseconds, and a second on a machine that is very busy. */
    CHILD_SECONDS = 15
};

static const char *conninfo;
static atomic_int running = 1, opened, lost, forks, hung, failed, to_do;
static int *took; /* one a fork */

static void *client(void *unused)
{
    (void)unused;
    while (atomic_load(&running)) {
        PGconn *conn = PQconnectdb(conninfo);
        atomic_fetch_add(PQstatus(conn) == CONNECTION_OK ? &opened : &lost, 1);
        PQfinish(conn);
    }
    return NULL;
}

static void __attribute__((noreturn)) child(void)
{
    alarm(CHILD_SECONDS);
    PGconn *conn = PQconnectdb(conninfo);
    PGresult *result = PQexec(conn, "select 42");
    int right = PQntuples(result) == 1 && !strcmp(PQgetvalue(result, 0, 0), "42");
    if (!right)
        fprintf(stderr, "child: %s", PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
    /* Not exit: finalizers of other libraries have locks of their own. */
    _exit(!right);
}

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000L + time.tv_nsec / 1000;
}

static void *forker(void *unused)
{
    (void)unused;
    int left;
    while ((left = atomic_fetch_sub(&to_do, 1)) > 0 && !atomic_load(&hung)) {
        long start = now();
        pid_t pid = fork();
        if (pid == 0)
            child();
        took[left - 1] = (int)(now() - start);
        int status = 0;
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            abort();
        atomic_fetch_add(&forks, 1);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            atomic_fetch_add(&hung, 1);
        else if (status != 0)
            atomic_fetch_add(&failed, 1);
    }
    return NULL;
}

static int ascending(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    conninfo = argv[1];
    int count = atoi(argv[2]), forkers = atoi(argv[3]);
    took = calloc(count, sizeof *took);
    atomic_store(&to_do, count);
    pthread_t threads[CLIENTS + 8];
    for (int i = 0; i < CLIENTS + forkers; i++)
        pthread_create(&threads[i], NULL, i < CLIENTS ? client : forker, NULL);
    for (int i = CLIENTS; i < CLIENTS + forkers; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&running, 0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);

    printf("forks %d opened %d lost %d hung %d failed %d\n", forks, opened, lost, hung, failed);
    qsort(took, count, sizeof *took, ascending);
    printf("took median %d p90 %d p99 %d p999 %d most %d\n", took[count / 2], took[count * 9L / 10],
           took[count * 99L / 100], took[count * 999L / 1000], took[count - 1]);
    struct forkguard_counters counters;
    if (forkguard_counters && forkguard_counters(&counters, sizeof counters) == 0) {
        static const char *const names[FORKGUARD_FORK_WAITS] = {
            "not", "below_10us", "below_100us", "below_1ms", "below_10ms", "longer", "in_vain"};
        printf("waited");
        for (int i = 0; i < FORKGUARD_FORK_WAITS; i++)
            printf(" %s %llu", names[i], (unsigned long long)counters.fork_waits[i]);
        printf("\n");
    }
    return 0;
}
