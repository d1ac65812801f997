/*
 * fork_steps stuck|cancelled|ways|children|waiting|slow|left|own CONNINFO: one fork, or a few, beside one step of a
 * connection attempt. What each took is said in milliseconds.
 *
 * stuck      a thread is inside a look-up that takes long, while others fork
 * cancelled  that thread is cancelled in it
 * ways       the same for forkpty(3) and daemon(3)
 * children   children of that process fork in their turn, and connect
 * waiting    threads wait in PQconnectdb and PQreset for a server that says nothing
 * slow       a fork's prepare handler takes long, while a thread would connect
 * left       a prepare handler leaves its fork by siglongjmp
 * own        libpq calls back in the middle of a step, and the callback forks
 *
 * The look-up is that of CONNINFO. Where $FIFO is set it is of a service's file, a FIFO, which
 * ends when somebody writes it; otherwise of a name, from a nameserver of this program's own at
 * 127.0.77.53 that never answers.
 */
#include "session.h"
#include <forkguard.h>
#include <libpq-events.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <time.h>

#pragma weak forkguard_counters

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000L + time.tv_nsec / 1000000;
}

static void rest(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* A fork, and how long it took. */
static void one_fork(const char *name)
{
    long start = now();
    pid_t pid = child_of(fork());
    if (pid == 0)
        _exit(0);
    fact(name, "%ld", now() - start);
    ended("child", pid);
}

/* A step that does nothing, and how long it took: there is no such server. */
static void one_step(const char *name)
{
    long start = now();
    PGconn *conn = PQconnectStart("host=/nowhere");
    fact(name, "%ld", now() - start);
    PQfinish(conn);
}

static void *look_up(void *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);
    fact("looked up", "%s", PQstatus(conn) == CONNECTION_BAD ? PQerrorMessage(conn) : "connected");
    PQfinish(conn);
    return NULL;
}

/* A thread that is inside its look-up by now. */
static pthread_t looking_up(char *conninfo)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, look_up, conninfo) != 0)
        broken("pthread_create");
    rest(300);
    return thread;
}

static void let_go(void)
{
    const char *fifo = getenv("FIFO");
    int fd = fifo ? open(fifo, O_WRONLY | O_NONBLOCK) : -1;
    if (fifo && fd < 0)
        broken("nobody reads the FIFO");
    if (fifo)
        close(fd);
}

static void never_answer(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(53)};
    inet_aton("127.0.77.53", &name.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0)
        broken("bind");
}

static void stuck(char *conninfo, int cancel)
{
    if (!getenv("FIFO"))
        never_answer();
    pthread_t thread = looking_up(conninfo);
    if (cancel) {
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
    one_fork("first");
    for (int i = 0; i < 5; i++)
        one_fork("later");
    if (!cancel) {
        let_go();
        pthread_join(thread, NULL);
    }
    /* Another look-up, by a thread that may well have the same stack, is waited for again, once. */
    thread = looking_up(conninfo);
    one_fork("first");
    one_fork("later");
    let_go();
    pthread_join(thread, NULL);
    one_fork("later");
    one_step("step");
}

static void ways(char *conninfo)
{
    pthread_t thread = looking_up(conninfo);
    int terminal;
    long start = now();
    pid_t pid = child_of(forkpty(&terminal, NULL, NULL, NULL));
    if (pid == 0)
        _exit(0);
    fact("forkpty", "%ld", now() - start);
    ended("child", pid);
    let_go();
    pthread_join(thread, NULL);
    looking_up(conninfo);
    start = now();
    if (daemon(1, 1) != 0)
        broken("daemon");
    fact("daemon", "%ld", now() - start);
    one_fork("heir's");
}

static void children(char *conninfo)
{
    pthread_t thread = looking_up(conninfo);
    /* The second is waited for, in vain, and the look-up after that no more: hence this order. */
    pid_t (*const forks[])(void) = {_Fork, fork};
    for (int i = 0; i < 2; i++) {
        pid_t pid = child_of(forks[i]());
        if (pid == 0) {
            one_fork("later");
            one_step("step");
            _exit(0);
        }
        ended("child", pid);
    }
    let_go();
    pthread_join(thread, NULL);
}

static void *connect_for_ever(void *conninfo)
{
    PQconnectdb(conninfo);
    return NULL;
}

static void *reset_for_ever(void *conninfo)
{
    PQreset(PQconnectStart(conninfo));
    return NULL;
}

static void waiting(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    static char conninfo[64];
    if (bind(fd, (struct sockaddr *)&name, length) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        broken("listen");
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d", ntohs(name.sin_port));
    pthread_t thread;
    pthread_create(&thread, NULL, connect_for_ever, conninfo);
    pthread_create(&thread, NULL, reset_for_ever, conninfo);
    rest(300);
    one_fork("fork");
}

/* For the handlers. */
static volatile long handler_ms;
static volatile int jumps;
static sigjmp_buf back;

static void prepare(void)
{
    rest(handler_ms);
    if (jumps)
        siglongjmp(back, 1);
}

static void *step_during_fork(void *unused)
{
    (void)unused;
    rest(50); /* into the handler */
    one_step("step");
    one_step("next");
    return NULL;
}

/* A fork whose prepare handler takes long. */
static void slow(long ms)
{
    one_step("warm"); /* before the first step no fork announces itself */
    pthread_t thread;
    handler_ms = ms;
    pthread_create(&thread, NULL, step_during_fork, NULL);
    one_fork("fork");
    pthread_join(thread, NULL);
}

static void left(void)
{
    pthread_t thread;
    one_step("warm");
    jumps = 1;
    if (sigsetjmp(back, 1) == 0)
        fork();
    jumps = 0;
    one_step("own");
    pthread_create(&thread, NULL, step_during_fork, NULL);
    pthread_join(thread, NULL);
    one_fork("fork");
    one_step("own");
}

static int forks_at_its_end(PGEventId event, void *info, void *unused)
{
    (void)info, (void)unused;
    if (event == PGEVT_CONNDESTROY)
        one_fork("fork");
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    const char *mode = argv[1];
    if (!strcmp(mode, "stuck"))
        stuck(argv[2], 0);
    else if (!strcmp(mode, "cancelled"))
        stuck(argv[2], 1);
    else if (!strcmp(mode, "ways"))
        ways(argv[2]);
    else if (!strcmp(mode, "waiting"))
        waiting();
    else if (!strcmp(mode, "children"))
        children(argv[2]);
    else if (!strcmp(mode, "left") || !strcmp(mode, "slow")) {
        /* No handlers where a fork of libc's own stands for nothing. */
        if (pthread_atfork(prepare, NULL, NULL) != 0)
            broken("pthread_atfork");
        if (!strcmp(mode, "left"))
            left();
        else
            slow(atoi(argv[2]));
    } else {
        PGconn *conn = PQconnectStart("host=/nowhere");
        PQregisterEventProc(conn, forks_at_its_end, "own", NULL);
        PQfinish(conn);
    }
    struct forkguard_counters counters;
    if (forkguard_counters && forkguard_counters(&counters, sizeof counters) == 0)
        fact("in vain", "%d", (int)counters.fork_waits[FORKGUARD_WAITED_IN_VAIN]);
    return 0;
}
