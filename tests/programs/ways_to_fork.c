/* ways_to_fork CONNINFO WAY [FIRST]: a child made in this way touches its parent's session,
 * with FIRST as its first call. WAY can be one that runs another program, too: then the parent
 * is looked at, and a child forked later. */
#include "session.h"
#include <pty.h>
#include <sched.h>
#include <spawn.h>

/* arm64's kernel has no call of this name: libc's fork is a clone. */
#ifndef SYS_fork
#define SYS_fork SYS_clone, SIGCHLD, 0, 0, 0, 0
#endif

extern char **environ;

/* The first hook of a process runs in its vfork child, on its memory. */
static void vfork_and_close(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        close(99);
        execl("/bin/true", "true", NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

static void child(PGconn *conn, const char *first)
{
    int fd = PQsocket(conn);
    char byte;
    static const char terminate[] = "X\0\0\0\4";
    struct epoll_event event = {.events = EPOLLIN};
    struct timeval moment = {.tv_usec = 300000};
    fd_set set;

    if (!strcmp(first, "poll")) {
        fact("woken", "%s", ready(fd, POLLIN, 300) ? "yes" : "no");
    } else if (!strcmp(first, "select")) {
        FD_ZERO(&set);
        FD_SET(fd, &set);
        fact("woken", "%s", select(fd + 1, &set, NULL, NULL, &moment) == 1 ? "yes" : "no");
    } else if (!strcmp(first, "epoll")) {
        int epoll = epoll_create1(0);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        fact("woken", "%s", epoll_wait(epoll, &event, 1, 300) == 1 ? "yes" : "no");
    } else if (!strcmp(first, "recv")) {
        ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
        fact("first", "%zd %s", got, got < 0 ? strerrorname_np(errno) : "");
    } else if (!strcmp(first, "read")) { /* the session is non-blocking: libpq makes it so */
        ssize_t got = read(fd, &byte, 1);
        fact("first", "%zd %s", got, got < 0 ? strerrorname_np(errno) : "");
    } else if (!strcmp(first, "send")) {
        ssize_t sent = send(fd, terminate, 5, MSG_NOSIGNAL);
        fact("first", "%zd %s", sent, sent < 0 ? strerrorname_np(errno) : "");
    } else if (!strcmp(first, "write")) {
        signal(SIGPIPE, SIG_IGN);
        ssize_t sent = write(fd, terminate, 5);
        fact("first", "%zd %s", sent, sent < 0 ? strerrorname_np(errno) : "");
    } else if (!strcmp(first, "dup")) {
        ssize_t sent = send(dup(fd), terminate, 5, MSG_NOSIGNAL);
        fact("first", "%zd %s", sent, sent < 0 ? strerrorname_np(errno) : "");
    } else if (!strcmp(first, "wild")) {
        /* volatile: the compiler would not have it */
        struct pollfd list = {.fd = fd}, *volatile some = &list, *volatile wild = (void *)8;
        volatile nfds_t many = -1;
        const char *poll_wild = poll(wild, 1, 0) < 0 ? strerrorname_np(errno) : "none";
        const char *poll_many = poll(some, many, 0) < 0 ? strerrorname_np(errno) : "none";
        const char *select_wild =
            select(fd + 1, (fd_set *)wild, NULL, NULL, &moment) < 0 ? strerrorname_np(errno) : "none";
        fact("first", "%s %s %s", poll_wild, poll_many, select_wild);
    } else if (!strcmp(first, "vfork")) {
        vfork_and_close();
        fact("first", "vfork");
    } else if (!strcmp(first, "finish")) {
        PQfinish(conn);
        fact("child", "finished");
        return;
    }
    use("child", conn);
    if (strcmp(first, "no finish"))
        PQfinish(conn);
}

struct act {
    PGconn *conn;
    const char *first;
};

static int act(void *argument)
{
    struct act *act = argument;
    alarm(CHILD_SECONDS);
    child(act->conn, act->first);
    return 0;
}

static pid_t make(const char *way, struct act *what)
{
    static char stack[256 * 1024] __attribute__((aligned(16)));
    int terminal;
    pid_t pid;

    if (!strcmp(way, "fork"))
        return fork();
    if (!strcmp(way, "forkpty")) {
        facts = dup(1); /* the child's standard output is the terminal */
        return forkpty(&terminal, NULL, NULL, NULL);
    }
    if (!strcmp(way, "_Fork"))
        return _Fork();
    if (!strcmp(way, "SYS_fork"))
        return syscall(SYS_fork);
    if (!strcmp(way, "SYS_clone"))
        return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (!strcmp(way, "clone"))
        return clone(act, stack + sizeof stack, SIGCHLD, what);
    if (!strcmp(way, "CLONE_FILES"))
        return syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    /* The one in the middle leaves; its child becomes ours to wait for, prctl(2). */
    if (!strcmp(way, "double fork") || !strcmp(way, "_Fork, then fork")
        || !strcmp(way, "fork, then _Fork")) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        pid = way[0] == '_' ? _Fork() : fork();
        if (pid == 0) {
            pid = strstr(way, "then _Fork") ? _Fork() : fork();
            if (pid == 0)
                return 0;
            _exit(pid < 0);
        }
        ended("middle", pid);
        /* The one child left. Its number does not matter. */
        siginfo_t info;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) != 0)
            broken("waitid");
        return info.si_pid;
    }
    broken("no such way");
}

/* Runs `echo ran`, which says so on our standard output. False: not one of these ways. */
static int run(const char *way, int fd)
{
    char *const shell[] = {"sh", "-c", "echo ran: by the shell", NULL};
    pid_t pid;

    if (!strncmp(way, "vfork", 5)) {
        pid = vfork();
        if (pid == 0) {
            /* What programs do before they exec; the memory is the parent's. */
            if (strstr(way, "that closes"))
                close(fd);
            if (strstr(way, "that duplicates"))
                dup2(fd, 77);
            execv("/bin/sh", shell);
            _exit(127);
        }
        ended("ended", pid);
    } else if (!strcmp(way, "posix_spawn")) {
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addclose(&actions, fd);
        if (posix_spawn(&pid, "/bin/sh", &actions, NULL, shell, environ) != 0)
            broken("posix_spawn");
        ended("ended", pid);
    } else if (!strcmp(way, "system")) {
        fact("ended", "exit %d", system(shell[2]));
    } else if (!strcmp(way, "popen")) {
        char line[64] = "";
        FILE *stream = popen(shell[2], "r");
        if (!stream || !fgets(line, sizeof line, stream))
            broken("popen");
        syscall(SYS_write, 1, line, strlen(line));
        fact("ended", "exit %d", pclose(stream));
    } else {
        return 0;
    }
    return 1;
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    const char *way = arguments[2];
    if (!strncmp(way, "a worker of ", 12)) { /* forked before there is any session */
        way += 12;
        pid_t worker = !strcmp(way, "_Fork") ? _Fork() : fork();
        if (worker != 0) {
            ended("worker", worker);
            return 0;
        }
        vfork_and_close();
        way = "fork";
    }
    PGconn *conn = dial(arguments[1]);
    struct act what = {conn, count > 3 ? arguments[3] : "query"};
    hold(conn);
    tell("before", conn);

    if (run(way, PQsocket(conn))) {
        tell("between", conn);
        way = "fork";
    }
    pid_t pid = make(way, &what);
    if (pid == 0)
        _exit(act(&what));
    ended("ended", pid);
    tell("after", conn);
    return 0;
}
