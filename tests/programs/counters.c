/* counters FOLDER [no-memfd | small-files]: a tree of processes that does what it is told, while
 * somebody reads its counters. Each process reads commands from FOLDER/PID, a FIFO, and answers
 * each with a line "PID: TEXT". $CONNINFO says where sessions go. */
#include "session.h"
#include <forkguard.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/resource.h>
#pragma weak forkguard_counters

enum { MOST = 32, SECONDS = 50 };

static const char *folder;
static PGconn *conns[MOST];
static PGcancel *cancels[MOST];
static int open_count;

static void answer(const char *text, long number)
{
    char name[16];
    snprintf(name, sizeof name, "%d", getpid());
    fact(name, "%s %ld", text, number);
}

/* The FIFO of this process, whose number is always the same. */
static void listen_to_commands(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%d", folder, getpid());
    mkfifo(path, 0600);
    /* Open for both: it never ends. */
    int fd = open(path, O_RDWR);
    if (fd < 0 || dup2(fd, 40) != 40)
        broken("fifo");
    if (fd != 40)
        close(fd);
    alarm(SECONDS);
}

static int next_command(char *line, int size)
{
    int length = 0;
    while (length < size - 1 && read(40, line + length, 1) == 1 && line[length] != '\n')
        length++;
    line[length] = 0;
    return length;
}

static void filter_memfd(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        broken("seccomp");
}

/* Children that abandon what they inherit; each waits for its end, or for the one before. */
static void children(int count, int at_once)
{
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            while (at_once)
                pause();
            _exit(0);
        }
        if (pid < 0 || (!at_once && waitpid(pid, NULL, 0) != pid))
            broken("fork or wait");
        if (at_once)
            answer("child", pid);
    }
}

static void counters(void)
{
    struct forkguard_counters now;
    if (forkguard_counters(&now, sizeof now) != 0)
        broken("counters");
    char text[200];
    snprintf(text, sizeof text, "%d %d %d %d %d %d %d", (int)now.opened, (int)now.abandoned,
             (int)now.refused, (int)now.handed_over, (int)now.resumed, (int)now.lost,
             (int)now.cancels_held);
    answer(text, 0);
}

static void obey(char *line)
{
    char *command = strtok(line, " "), *argument = strtok(NULL, " "), why[256];
    int number = argument ? atoi(argument) : 0;
    long result = 0;
    if (!command)
        return;
    if (!strcmp(command, "open")) {
        conns[open_count] = dial(getenv("CONNINFO"));
        cancels[open_count] = PQgetCancel(conns[open_count]);
        result = PQsocket(conns[open_count++]);
    } else if (!strcmp(command, "close"))
        PQfinish(conns[--open_count]);
    else if (!strcmp(command, "duplicate"))
        result = dup(PQsocket(conns[number]));
    else if (!strcmp(command, "close-number"))
        close(number);
    else if (!strcmp(command, "use")) { /* answered? */
        PGresult *answered = PQexec(conns[number], "select 1");
        result = PQresultStatus(answered) == PGRES_TUPLES_OK;
        PQclear(answered);
    } else if (!strcmp(command, "hold"))
        hold(conns[number]);
    else if (!strcmp(command, "cancel"))
        result = PQcancel(cancels[number], why, sizeof why);
    else if (!strcmp(command, "fork") || !strcmp(command, "raw-fork")) {
        result = strcmp(command, "fork") ? syscall(SYS_fork) : fork();
        if (result == 0) {
            listen_to_commands();
            return; /* the parent answers */
        }
    } else if (!strcmp(command, "vfork")) {
        /* A child that closes what it needs not, in our memory. */
        int fd = PQsocket(conns[0]);
        pid_t pid = vfork();
        if (pid == 0) {
            close(fd);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    } else if (!strcmp(command, "wait"))
        result = waitpid(number, NULL, 0);
    else if (!strcmp(command, "in-turn"))
        children(number, 0);
    else if (!strcmp(command, "at-once"))
        children(number, 1);
    else if (!strcmp(command, "close-all")) {
        /* As a daemon does, its sessions included. */
        syscall(SYS_close_range, 3, 39, 0);
        syscall(SYS_close_range, 41, ~0u, 0);
        open_count = 0;
    } else if (!strcmp(command, "daemon")) {
        pid_t before = getpid();
        if (daemon(1, 1) != 0)
            broken("daemon");
        listen_to_commands();
        char name[16];
        snprintf(name, sizeof name, "%d", before);
        fact(name, "daemon %d", getpid());
        return;
    } else if (!strcmp(command, "exec")) {
        fact("exec", "%d", getpid());
        execl("/proc/self/exe", "counters", folder, (char *)NULL);
        broken("exec");
    } else if (!strcmp(command, "counters"))
        return counters();
    else if (!strcmp(command, "exit"))
        _exit(0);
    else
        broken(command);
    answer(command, result);
}

int main(int count, char **arguments)
{
    char line[100];
    folder = arguments[1];
    if (count > 2 && !strcmp(arguments[2], "no-memfd"))
        filter_memfd();
    if (count > 2 && !strcmp(arguments[2], "small-files")) {
        struct rlimit small = {4096, 4096};
        setrlimit(RLIMIT_FSIZE, &small);
    }
    listen_to_commands();
    answer("ready", 0);
    while (next_command(line, sizeof line) > 0)
        obey(line);
    return 0;
}
