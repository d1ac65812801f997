/* shared_table CONNINFO WAY WHAT: a child that no fork handler sees is made in this way, with its
 * parent's table of descriptors or a copy of it, and does WHAT with its parent's session. */
#include "session.h"
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

static pid_t raw(unsigned long flags)
{
    return syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
}

/* kcmp(2) is refused, as in a container with Docker's own profile. */
static void forbid_kcmp(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        broken("seccomp");
}

/* As a daemon that has left root's rights: kcmp(2) is refused to others of the same user. */
static void become_undumpable(void)
{
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        broken("setuid");
    prctl(PR_SET_DUMPABLE, 0);
}

static void where(const char *name, PGconn *conn)
{
    const char *backend = value(conn, "select pg_backend_pid()");
    fact(name, "backend %s", backend ? backend : PQerrorMessage(conn));
}

/* The session's number: a child is not told. */
static int fd;
/* Where it says that it is done, if its parent cannot wait for it. */
static int done = -1;

static void use_it(PGconn *conn, const char *what)
{
    alarm(CHILD_SECONDS);
    if (!strcmp(what, "finish")) {
        PQfinish(conn);
        fact("child", "finished");
    } else if (!strcmp(what, "reset")) {
        PQreset(conn);
        use("child", conn);
    } else if (!strcmp(what, "over")) {
        int null = open("/dev/null", O_RDONLY);
        int put = dup2(null, fd);
        fact("over", "%s", put < 0 ? strerrorname_np(errno) : "done");
        put = dup3(null, fd, O_CLOEXEC);
        fact("over", "%s", put < 0 ? strerrorname_np(errno) : "done");
        close(null);
    } else {
        use("child", conn);
    }
    syscall(SYS_write, done, "", 1);
    _exit(0);
}

/* No hooked call: the process in the middle leaves meanwhile. */
static void pause_ms(long ms)
{
    syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

struct thread {
    PGconn *conn;
    const char *way, *what;
    int made, done;
};

/* The table is this thread's own, or the first thread's, which has ended. */
static void *thread(void *argument)
{
    struct thread *own = argument;
    char byte;
    if (!strcmp(own->way, "thread with its own") && unshare(CLONE_FILES) != 0)
        broken("unshare");
    if (!strcmp(own->way, "first thread gone")) {
        usleep(100000); /* it ends meanwhile: nothing tells when */
        pid_t pid = raw(CLONE_FILES);
        if (pid == 0) {
            /* and so has this one, by the first hooked call */
            pause_ms(200);
            use_it(own->conn, own->what);
        }
        write(own->made, &pid, sizeof pid);
        return NULL;
    }
    pid_t pid = raw(CLONE_FILES);
    if (pid == 0)
        use_it(own->conn, own->what);
    ended("ended", pid);
    where("after", own->conn);
    read(own->done, &byte, 1);
    return NULL;
}

static void *rest(void *argument)
{
    struct thread *own = argument;
    pid_t pid;
    if (read(own->done, &pid, sizeof pid) != sizeof pid)
        broken("pipe");
    ended("ended", pid);
    where("after", own->conn);
    exit(0);
}

int main(int count, char **arguments)
{
    if (count < 4)
        return 2;
    const char *way = arguments[2], *what = arguments[3];
    PGconn *conn;
    pid_t pid;
    int pipes[2];

    if (!strncmp(way, "undumpable", 10))
        become_undumpable();
    if (!strncmp(way, "no kcmp", 7))
        forbid_kcmp();
    conn = dial(arguments[1]);
    fd = PQsocket(conn);
    where("before", conn);

    if (!strcmp(way, "CLONE_PARENT")) {
        pid_t middle = fork();
        if (middle == 0) {
            /* The child's parent is then ours; the session is this one's own. */
            PGconn *own = dial(arguments[1]);
            fd = PQsocket(own);
            where("before own", own);
            pid = raw(CLONE_FILES | CLONE_PARENT);
            if (pid == 0)
                use_it(own, what);
            usleep(500000);
            where("after own", own);
            _exit(0);
        }
        int status;
        while (wait(&status) > 0)
            fact("ended", "%d", status);
        where("after", conn);
        return 0;
    }
    if (!strncmp(way, "thread", 6) || !strcmp(way, "first thread gone")) {
        static struct thread own;
        pthread_t one, other;
        if (pipe(pipes) != 0)
            broken("pipe");
        own = (struct thread){conn, way, what, pipes[1], pipes[0]};
        pthread_create(&one, NULL, thread, &own);
        if (!strcmp(way, "first thread gone")) {
            pthread_create(&other, NULL, rest, &own);
            pthread_exit(NULL);
        }
        close(-1);
        write(pipes[1], "", 1);
        pthread_join(one, NULL);
        return 0;
    }
    if (!strncmp(way, "dead socket", 11)) {
        /* What the forked child has in its parent's place is not to be replaced by its own child. */
        pid = child_of(fork());
        if (pid == 0) {
            ready(fd, POLLIN, 0);
            pid = raw(CLONE_FILES);
            if (pid == 0)
                use_it(conn, what);
            ended("ended", pid);
            use("again", conn);
            _exit(0);
        }
        ended("ended", pid);
        where("after", conn);
        return 0;
    }

    unsigned long files = strstr(way, "with a copy") ? 0 : CLONE_FILES;
    unsigned long newpid = CLONE_NEWPID | (geteuid() == 0 ? 0 : CLONE_NEWUSER);
    if (!strcmp(way, "clone3")) {
        struct clone_args how = {.flags = CLONE_FILES, .exit_signal = SIGCHLD};
        pid = syscall(SYS_clone3, &how, sizeof how);
    } else if (!strncmp(way, "CLONE_NEWPID", 12)) {
        pid = raw(files | newpid);
        if (pid == 0 && strstr(way, "twice")) {
            /* Its parent has a number there, and has left the table that it shares with us. */
            int status;
            pid = raw(files);
            if (pid > 0) {
                unshare(CLONE_FILES);
                syscall(SYS_wait4, pid, &status, 0, NULL);
                syscall(SYS_exit_group, status != 0);
            }
            pause_ms(200);
        }
    } else if (!strncmp(way, "middle gone", 11)) {
        char byte;
        if (pipe(pipes) != 0)
            broken("pipe");
        pid = raw(files);
        if (pid == 0) {
            pid = raw(files);
            if (pid != 0)
                syscall(SYS_exit_group, 0);
            pause_ms(200);
            done = pipes[1];
        } else {
            ended("middle", pid);
            alarm(CHILD_SECONDS);
            read(pipes[0], &byte, 1);
            where("after", conn);
            return 0;
        }
    } else if (!strncmp(way, "again", 5)) { /* a child that shares has one, with a copy or not */
        pid = raw(CLONE_FILES);
        if (pid == 0) {
            ready(fd, POLLIN, 0);
            pid = raw(files);
            if (pid != 0) {
                ended("ended", pid);
                _exit(0);
            }
        }
    } else if (strstr(way, "_Fork")) {
        pid = _Fork();
    } else {
        pid = raw(files);
    }
    if (pid == 0)
        use_it(conn, what);
    ended("ended", pid);
    where("after", conn);
    return 0;
}
