/* storm CONNINFO restart|interrupt FORKS: thousands of signals a second, with SA_RESTART or
 * without, while a program forks and its children use its sessions. A timer of each process sends
 * them, and a thread of the parent's, to its main thread and to the child. */
#include "session.h"
#include <pthread.h>
#include <time.h>

static volatile int count, stop;
static volatile pid_t child;
static pthread_t main_thread;

static void storm(int signal)
{
    (void)signal;
    count++;
}

/* 5,000 a second. */
static void start_timer(void)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec every = {{0, 200000}, {0, 200000}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &every, NULL))
        broken("timer");
}

static void *thread(void *unused)
{
    (void)unused;
    struct timespec moment = {0, 200000};
    while (!stop) {
        pthread_kill(main_thread, SIGUSR2);
        pid_t pid = child;
        if (pid > 0)
            kill(pid, SIGUSR2);
        nanosleep(&moment, NULL);
    }
    return NULL;
}

int main(int argc, char **arguments)
{
    if (argc < 4)
        return 2;
    alarm(90);
    struct sigaction action = {.sa_handler = storm,
                               .sa_flags = strcmp(arguments[2], "restart") ? 0 : SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    PGconn *idle = dial(arguments[1]), *busy = dial(arguments[1]);
    command(idle, "set work_mem = '7MB'");
    command(idle, "prepare answer as select 42");
    hold(busy);
    tell("before", busy);
    int parents = atoi(value(idle, "select pg_backend_pid()"));

    pthread_t other;
    main_thread = pthread_self();
    start_timer();
    pthread_create(&other, NULL, thread, NULL);
    int forks = atoi(arguments[3]), well = 0, shared = 0, lost = 0, hung = 0, signals = 0;
    for (int i = 0; i < forks; i++) {
        int pipes[2];
        if (pipe(pipes) != 0)
            broken("pipe");
        pid_t pid = fork();
        if (child_of(pid) == 0) {
            count = 0;
            start_timer();
            const char *backend = value(idle, "select pg_backend_pid()");
            const char *set = backend ? value(idle, "show work_mem") : NULL;
            const char *answer = set ? value(idle, "execute answer") : NULL;
            int busy_answers = !!value(busy, "select 1");
            int how = busy_answers || (backend && atoi(backend) == parents) ? 2
                      : backend && set && answer && !strcmp(set, "7MB") && !strcmp(answer, "42") ? 0 : 1;
            int seen = count;
            while (write(pipes[1], &seen, sizeof seen) < 0 && errno == EINTR)
                continue;
            PQfinish(idle);
            PQfinish(busy);
            _exit(how);
        }
        child = pid;
        int status, seen = 0;
        pid_t waited;
        siginfo_t info;
        while (waitid(P_PID, pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
            continue;
        child = 0;
        usleep(1000); /* the thread's last signal goes to the zombie, and to nobody else */
        while ((waited = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
            continue;
        while (read(pipes[0], &seen, sizeof seen) < 0 && errno == EINTR)
            continue;
        close(pipes[0]);
        close(pipes[1]);
        signals += seen;
        if (waited == pid && WIFEXITED(status))
            (WEXITSTATUS(status) == 0 ? well++ : WEXITSTATUS(status) == 2 ? shared++ : lost++);
        else
            hung++;
    }
    stop = 1;
    pthread_join(other, NULL);
    fact("children", "own %d, shared %d, lost %d, ended by a signal %d", well, shared, lost, hung);
    fact("signals", "%d", count);
    fact("in children", "%d", signals);
    tell("after", busy);
    return 0;
}
