/* places CONNINFO PLACE: a process forks from an unusual place, and the child uses its two
 * sessions, of which one is idle and one in a transaction; then the parent does. Built twice: as
 * the program, and with -DLIBRARY as a library that forks where PLACE says. */
#ifdef LIBRARY
#include "session.h"
#include <pthread.h>

/* The program's. */
extern void fork_here(const char *) __attribute__((weak));
extern void open_sessions(void) __attribute__((weak));

static const char *place;
static int nested;

static void once(const char *mine)
{
    if (!strcmp(place, mine) && !nested++) {
        fork_here(mine);
        nested = 0;
    }
}
static void in_prepare(void) { once("prepare: atfork handler"); }
static void in_parent(void) { once("parent: atfork handler"); }
static void in_child(void) { once("child: atfork handler"); }

__attribute__((constructor)) static void load(void)
{
    place = getenv("PLACE");
    if (!place || !fork_here)
        return;
    if (!strcmp(place, "constructor") && open_sessions) {
        open_sessions();
        fork_here("constructor");
    } else if (!strcmp(place, "dlopen")) {
        fork_here("dlopen");
    } else if (strstr(place, "handler")) {
        pthread_atfork(in_prepare, in_parent, in_child);
    }
}
#else
#include "session.h"
#include <dlfcn.h>
#include <sys/time.h>

static PGconn *idle, *busy;
static volatile int forked;

/* No libc yet: a fork while the program is relocated. Its child ends at once. */
static int nothing(void) { return 7; }
static int (*resolve(void))(void)
{
    long pid, status;
    __asm__ volatile("syscall" : "=a"(pid) : "a"(SYS_fork) : "rcx", "r11", "memory");
    if (pid == 0)
        __asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(0) : "rcx", "r11", "memory");
    __asm__ volatile("syscall" : "=a"(status) : "a"(SYS_wait4), "D"(pid), "S"(0), "d"(0)
                     : "rcx", "r11", "memory");
    return nothing;
}
int resolved(void) __attribute__((ifunc("resolve")));

void open_sessions(void)
{
    const char *conninfo = getenv("CONNINFO");
    idle = dial(conninfo);
    busy = dial(conninfo);
    command(idle, "set work_mem = '7MB'");
    hold(busy);
    tell("before", busy);
    fact("idle before", "%s", value(idle, "select pg_backend_pid()"));
}

static void use_both(void)
{
    use("child idle", idle);
    const char *work_mem = value(idle, "show work_mem");
    fact("work_mem", "%s", work_mem ? work_mem : "lost");
    use("child busy", busy);
    PQfinish(idle);
    PQfinish(busy);
    _exit(0);
}

void fork_here(const char *where)
{
    if (!idle)
        return;
    fact("forks", "in a %s", where);
    forked = 1;
    pid_t pid = child_of(fork());
    if (pid == 0)
        use_both();
    ended("ended", pid);
}

static void handler(int signal)
{
    (void)signal;
    fork_here("signal handler");
}

/* In a handler that interrupts libpq on the busy session: in the child the idle one is used. */
static void in_the_middle(int signal)
{
    (void)signal;
    fact("forks", "in the middle of a call");
    pid_t pid = child_of(fork());
    if (pid == 0)
        use_both();
    ended("ended", pid);
}

/* Before every constructor but that of a library linked with -z initfirst: ours. */
static void before_all(int count, char **arguments, char **environment)
{
    (void)count;
    (void)arguments;
    environ = environment;
    const char *place = getenv("PLACE");
    if (place && !strcmp(place, "preinit")) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        int status;
        fact("early", "%d", waitpid(pid, &status, 0) == pid && status == 0);
    } else if (place && !strcmp(place, "preinit session")) {
        open_sessions();
    }
}
__attribute__((section(".preinit_array"), used)) static void (*before)(int, char **, char **) = before_all;

int main(void)
{
    const char *place = getenv("PLACE");
    alarm(40);
    if (!idle)
        open_sessions();
    if (!strcmp(place, "signal handler")) {
        signal(SIGUSR1, handler);
        raise(SIGUSR1);
    } else if (!strcmp(place, "in the middle of a call")) {
        struct itimerval timer = {.it_value = {.tv_usec = 100000}};
        signal(SIGALRM, in_the_middle);
        setitimer(ITIMER_REAL, &timer, NULL);
        command(busy, "select pg_sleep(0.5)");
    } else if (!strcmp(place, "dlopen")) {
        if (!dlopen(getenv("LIBRARY"), RTLD_NOW))
            broken(dlerror());
    } else if (strstr(place, "handler")) {
        /* The handlers of the library fork once more, and so does its child's. */
        pid_t pid = child_of(fork());
        if (pid == 0)
            _exit(0);
        ended("outer", pid);
    } else if (strcmp(place, "constructor")) {
        fact("resolver", "%d", resolved());
        fork_here("plain place");
    }
    tell("after", busy);
    fact("idle after", "%s", value(idle, "select pg_backend_pid()"));
    return 0;
}
#endif
