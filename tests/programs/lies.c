/* lies CONNINFO LIE CHILD: a kernel that lies. LIE: "madvise" (every advice is answered 0, and nothing
 * is done), "wipe" (MADV_WIPEONFORK alone), "cookie" (SO_COOKIE is refused), "both" (the first and the
 * last), "none". CHILD: "clone" (by a raw system call), "fork", "forked" (forked by one made by clone),
 * "cloned" (the other way round), "vfork" (closes what it has, and leaves). The child uses its parent's
 * session, or cancels and ends it. "run" and a command instead of a child: that becomes of it. */
#include "session.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <time.h>

static void allow_all_but(int number, int argument, int value, int answer)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * argument),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, value >= 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        broken("seccomp");
}

static void lie(const char *what)
{
    if (!strcmp(what, "madvise") || !strcmp(what, "both"))
        allow_all_but(SYS_madvise, 2, -1, 0);
    if (!strcmp(what, "wipe"))
        allow_all_but(SYS_madvise, 2, 18 /* MADV_WIPEONFORK */, 0);
    if (!strcmp(what, "cookie") || !strcmp(what, "both"))
        allow_all_but(SYS_getsockopt, 2, 57 /* SO_COOKIE */, EPERM);
}

static pid_t raw(void)
{
    return child_of(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static void in_child(PGconn *conn, PGconn *busy, PGcancel *cancel)
{
    char error[256];
    struct timespec moment = {0, 100000000}; /* until the server is at the statement */
    syscall(SYS_nanosleep, &moment, NULL);   /* not through a hook */
    fact("cancelled", "%d", PQcancel(cancel, error, sizeof error));
    use("child", conn);
    PQfinish(busy);
    _exit(0);
}

int main(int count, char **arguments)
{
    if (count < 4)
        return 2;
    const char *what = arguments[2], *kind = arguments[3];
    alarm(30);
    if (!strcmp(kind, "run")) {
        lie(what);
        execv(arguments[4], arguments + 4);
        broken("exec");
    }
    if (count == 4) { /* and once more, under it */
        lie(what);
        char *again[] = {arguments[0], arguments[1], arguments[2], arguments[3], "in force", NULL};
        execv("/proc/self/exe", again);
        broken("exec");
    }
    PGconn *conn = dial(arguments[1]), *busy = dial(arguments[1]);
    fact("idle before", "%s", value(conn, "select pg_backend_pid()"));
    PGcancel *cancel = PQgetCancel(busy);
    if (!PQsendQuery(busy, "select pg_sleep(1), pg_backend_pid()"))
        broken("send");
    pid_t pid;
    if (!strcmp(kind, "vfork")) {
        pid = vfork();
        if (pid == 0) {
            /* What is closed here is open in the parent. */
            close(PQsocket(conn));
            dup2(PQsocket(busy), PQsocket(conn));
            _exit(0);
        }
    } else {
        int first = !strcmp(kind, "clone") || !strcmp(kind, "forked");
        int twice = !strcmp(kind, "forked") || !strcmp(kind, "cloned");
        pid = first ? raw() : child_of(fork());
        if (pid == 0 && twice) {
            pid = first ? child_of(fork()) : raw();
            if (pid) {
                int status;
                while (syscall(SYS_wait4, pid, &status, 0, 0) != pid)
                    ;
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
            }
        }
        if (pid == 0)
            in_child(conn, busy, cancel);
    }
    ended("ended", pid);
    PGresult *result = PQgetResult(busy);
    fact("busy after", "%s", PQresultStatus(result) == PGRES_TUPLES_OK ? "well" : PQerrorMessage(busy));
    fact("idle after", "%s", value(conn, "select pg_backend_pid()"));
    pid = child_of(fork()); /* and its table still knows what it has */
    if (pid == 0) {
        use("later child", conn);
        _exit(0);
    }
    ended("later ended", pid);
    fact("idle last", "%s", value(conn, "select pg_backend_pid()"));
    return 0;
}
