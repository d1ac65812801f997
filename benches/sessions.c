/*
 * What calls to libpq cost in this process, in nanoseconds: run by cost.rs with
 * and without the library, in turn. libpq's environment names the server.
 *
 *   sessions threads     fork, with threads that have connected and wait
 *   sessions call NAME   a call that needs no server, on an idle session
 *   sessions exec SQL    PQexec of that, median
 *   sessions resume N    three numbers: PQconnectdb and a first query in a child; the same, with
 *                        N statements prepared by one command before the query; a first query
 *                        on a session that it inherited, on which the parent prepared those.
 *                        Medians of children in turn
 *   sessions memory      bytes by which the heap grows while PQexec is called a million times
 */
#include "measure.h"
#include <libpq-fe.h>
#include <malloc.h>
#include <pthread.h>

static PGconn *dial(void) {
    PGconn *conn = PQconnectdb("");
    if (PQstatus(conn) != CONNECTION_OK) {
        fputs(PQerrorMessage(conn), stderr);
        exit(1);
    }
    return conn;
}

static void command(PGconn *conn, const char *sql) {
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fputs(PQerrorMessage(conn), stderr);
        exit(1);
    }
    PQclear(result);
}

static void *connect_and_wait(void *ready) {
    dial();
    pthread_barrier_wait(ready);
    pause();
    return NULL;
}

static void threads_cost(void) {
    enum { THREADS = 4, ROUNDS = 301 };
    static int64_t took[ROUNDS];
    pthread_barrier_t ready;
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        need(pthread_create(&thread, NULL, connect_and_wait, &ready) == 0, "pthread_create");
    }
    pthread_barrier_wait(&ready);
    int64_t *done = shared();
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = now();
        pid_t pid = fork();
        if (pid == 0) {
            *done = now();
            _exit(0);
        }
        need(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
        took[round] = *done - start;
    }
    printf("%.0f\n", median(took, ROUNDS));
}

static void call_cost(const char *call) {
    enum { ROUNDS = 40, CALLS = 200000 };
    PGconn *conn = dial();
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = now();
        if (!strcmp(call, "PQtransactionStatus"))
            for (int i = 0; i < CALLS; i++)
                PQtransactionStatus(conn);
        else if (!strcmp(call, "PQflush"))
            for (int i = 0; i < CALLS; i++)
                PQflush(conn);
        else
            need(0, call);
        double each = (double)(now() - start) / CALLS;
        if (each < best)
            best = each;
    }
    PQfinish(conn);
    printf("%.2f\n", best);
}

static void exec_cost(const char *sql) {
    enum { CALLS = 20000 };
    static int64_t took[CALLS];
    PGconn *conn = dial();
    for (int i = 0; i < CALLS; i++) {
        int64_t start = now();
        command(conn, sql);
        took[i] = now() - start;
    }
    PQfinish(conn);
    printf("%.0f\n", median(took, CALLS));
}

static void resume_cost(int statements) {
    enum { ROUNDS = 51, FRESH = 0, PREPARED = 1, INHERITED = 2, WAYS = 3, EACH = 64 };
    static int64_t took[WAYS][ROUNDS];
    char *prepare = calloc(statements + 1, EACH);
    for (int i = 0; i < statements; i++)
        snprintf(prepare + strlen(prepare), EACH, "PREPARE statement_%d AS SELECT %d;", i, i);
    PGconn *inherited = dial();
    /* With 0 it is as it was opened: once it has run anything, its child asks the server about it. */
    if (statements > 0)
        command(inherited, prepare);
    int64_t *done = shared();
    for (int turn = 0; turn < WAYS * ROUNDS; turn++) {
        int way = turn % WAYS, status;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(10);
            int64_t start = now();
            PGconn *conn = way == INHERITED ? inherited : dial();
            if (way == PREPARED && statements > 0)
                command(conn, prepare);
            command(conn, "SELECT 1");
            *done = now() - start;
            PQfinish(conn);
            _exit(0);
        }
        need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork");
        if (status != 0)
            exit(1);
        took[way][turn / WAYS] = *done;
        /* Its backend goes, too, before the next is asked for. */
        usleep(3000);
    }
    PQfinish(inherited);
    for (int way = 0; way < WAYS; way++)
        printf("%.0f ", median(took[way], ROUNDS));
}

static void memory_growth(void) {
    enum { CALLS = 1000000, WARM = 10000 };
    const char *commands[] = {
        "SELECT 1", "SET work_mem = '5MB'",
        "PREPARE answer AS SELECT 42", "EXECUTE answer", "DEALLOCATE answer",
        "BEGIN", "SAVEPOINT here", "SET LOCAL work_mem = '6MB'", "RELEASE here", "COMMIT",
    };
    enum { COUNT = sizeof commands / sizeof *commands };
    PGconn *conn = dial();
    size_t before = 0;
    for (int i = 0; i < CALLS; i++) {
        if (i == WARM)
            before = mallinfo2().uordblks;
        command(conn, commands[i % COUNT]);
    }
    printf("%.0f\n", (double)mallinfo2().uordblks - (double)before);
    PQfinish(conn);
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "threads"))
        threads_cost();
    else if (argc == 2 && !strcmp(argv[1], "memory"))
        memory_growth();
    else if (argc == 3 && !strcmp(argv[1], "call"))
        call_cost(argv[2]);
    else if (argc == 3 && !strcmp(argv[1], "exec"))
        exec_cost(argv[2]);
    else if (argc == 3 && !strcmp(argv[1], "resume"))
        resume_cost(atoi(argv[2]));
    else
        return 2;
    return 0;
}
