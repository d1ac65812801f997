/*
 * signals CONNINFO malloc|jump|limit: what a signal handler may do (signal-safety(7))
 * to a program that has sessions.
 *
 * malloc  closes sessions in handlers that interrupt malloc
 * limit   forks where files may not grow: a line of log raises SIGXFSZ
 * jump    leaves dup2, dup and close of a session's descriptor by siglongjmp,
 *         then forks
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { VICTIMS = 60 };
static volatile int victims[VICTIMS], closed, armed, jumps;
static sigjmp_buf back;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void every(int microseconds, void (*handler)(int)) {
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    signal(SIGALRM, handler);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void close_one(int signal) {
    (void)signal;
    if (closed < VICTIMS)
        close(victims[closed++]);
}

static void jump(int signal) {
    (void)signal;
    if (armed)
        siglongjmp(back, 1);
}

static void *idle(void *unused) {
    pause();
    return unused;
}

static PGconn *connected(const char *conninfo) {
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK) {
        fputs(PQerrorMessage(conn), stderr);
        exit(1);
    }
    return conn;
}

static void closes_while_in_malloc(const char *conninfo) {
    for (int i = 0; i < VICTIMS; i++)
        victims[i] = PQsocket(connected(conninfo));
    /* malloc takes its locks only in a program with threads; the signals are ours. */
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_create(&thread, NULL, idle, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    every(2000, close_one);
    void *blocks[64] = {0};
    unsigned random = 1;
    for (double end = now() + 10; closed < VICTIMS && now() < end;) {
        for (int i = 0; i < 1000; i++) {
            random = random * 1103515245 + 12345;
            unsigned place = random >> 16 & 63;
            free(blocks[place]);
            blocks[place] = malloc(2000 + (random >> 8 & 4095));
        }
    }
    printf("closed: %d\n", closed);
}

static void jumps_out(int fd) {
    signal(SIGALRM, jump);
    struct sigaction action = {.sa_handler = jump};
    sigaction(SIGALRM, &action, NULL);
    every(173, jump);
    for (volatile double end = now() + 3; now() < end;) {
        if (sigsetjmp(back, 1)) {
            armed = 0;
            jumps++;
            for (int number = fd + 1; number < fd + 40; number++)
                close(number);
        }
        armed = 1;
        close(dup(fd));
        dup2(fd, fd + 20);
        close(fd + 20);
        armed = 0;
    }
    every(0, SIG_IGN);
    printf("jumps: %d\n", jumps);
    for (int i = 0; i < 3; i++) {
        double start = now();
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        double took = now() - start;
        waitpid(pid, NULL, 0);
        printf("fork: %s\n", took < 0.08 ? "at once" : "waited");
    }
}

static void at_the_limit(void) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_FSIZE, &none);
    pid_t pid = fork();
    if (pid == 0)
        _exit(7);
    int status = 0;
    waitpid(pid, &status, 0);
    printf("child: %s %d\n", WIFEXITED(status) ? "exit" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    PGconn *conn = connected(argv[1]);
    if (!strcmp(argv[2], "malloc"))
        closes_while_in_malloc(argv[1]);
    else if (!strcmp(argv[2], "limit"))
        at_the_limit();
    else
        jumps_out(PQsocket(conn));
    PGresult *result = PQexec(conn, "select 7");
    printf("answer: %s\n", PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
    return 0;
}
