/* refused CONNINFO CALL ERROR WHEN: the kernel refuses a system call (ERROR is a number, or "kill")
 * from WHEN on: "start" (before the program is loaded), "connect", "fork", "child" (there alone), or "never". Two sessions, one idle and one in a
 * transaction; the child uses both, then the parent. CALLS names the calls, as X(name). */
#include "session.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>

static const struct { const char *name; int number; } calls[] = {
#define X(name) {#name, SYS_##name},
    CALLS
};

static void refuse(const char *call, const char *error)
{
    int number = -1;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (!strcmp(calls[i].name, call))
            number = calls[i].number;
    /* Of mprotect what makes something writable: ld.so takes rights away with it as well. */
    int writes = !strcmp(call, "mprotect");
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, writes ? offsetof(struct seccomp_data, args[2])
                                                  : offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, writes ? PROT_READ | PROT_WRITE : number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, !strcmp(error, "kill") ? SECCOMP_RET_KILL_PROCESS
                                                        : SECCOMP_RET_ERRNO | atoi(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (number < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        broken("seccomp");
}

int main(int count, char **arguments)
{
    if (count < 5)
        return 2;
    const char *conninfo = arguments[1], *when = arguments[4];
    int touches = count == 5;
    alarm(30);
    if (!strcmp(when, "start")) { /* and once more, under it */
        refuse(arguments[2], arguments[3]);
        arguments[4] = "in force";
        execv("/proc/self/exe", arguments);
        broken("exec");
    }
    if (!strcmp(when, "connect"))
        refuse(arguments[2], arguments[3]);
    PGconn *idle = dial(conninfo), *busy = dial(conninfo);
    command(idle, "set work_mem = '7MB'");
    hold(busy);
    tell("before", busy);
    fact("idle before", "%s", value(idle, "select pg_backend_pid()"));
    if (!strcmp(when, "fork"))
        refuse(arguments[2], arguments[3]);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        if (!strcmp(when, "child"))
            refuse(arguments[2], arguments[3]);
        if (touches) {
            use("child idle", idle);
            const char *work_mem = value(idle, "show work_mem");
            fact("work_mem", "%s", work_mem ? work_mem : "lost");
            use("child busy", busy);
            PQfinish(idle);
            PQfinish(busy);
        }
        _exit(0);
    }
    ended("ended", pid);
    tell("after", busy);
    fact("idle after", "%s", value(idle, "select pg_backend_pid()"));
    return 0;
}
