/* under HARDSHIP PROGRAM ARGUMENTS...: runs the program where the kernel refuses something. */
#include "session.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>

/* The call fails with this error; where `argument` is not -1, only if that one is `value`. */
static void refuse(int call, int error, int argument, uint32_t value)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 argument < 0 ? offsetof(struct seccomp_data, nr)
                              : offsetof(struct seccomp_data, args) + 8 * argument),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument < 0 ? (uint32_t)call : value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        broken("seccomp");
}

/* In a plain chroot / is a folder and no mount, so nothing can be cut off there (nor can `unshare
 * --mount`). The mount that holds it lies above: go there, cut it off, come back. */
static int private_from_above(void)
{
    int root = open("/", O_PATH | O_CLOEXEC), here = open(".", O_PATH | O_CLOEXEC);
    /* chroot(2): who stands outside of his root walks up past it. */
    if (root < 0 || here < 0 || chdir("/") || chroot("/etc"))
        return -1;
    for (int i = 0; i < 256; i++) /* at the top .. stays there; no chroot lies deeper */
        if (chdir(".."))
            return -1;
    return chroot(".") || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)
           || fchdir(root) || chroot(".") || fchdir(here);
}

/* What is mounted from here on is seen by this process and its children alone, and ends with them. */
static void own_mounts(void)
{
    if (unshare(CLONE_NEWNS)
        || (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) && private_from_above()))
        broken("unshare: mounts of its own");
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    const char *hardship = arguments[1];
    if (strstr(hardship, "no SO_COOKIE"))
        refuse(SYS_getsockopt, ENOPROTOOPT, 2, 57);
    if (strstr(hardship, "SO_COOKIE forbidden"))
        refuse(SYS_getsockopt, EPERM, 2, 57);
    if (strstr(hardship, "no files in the system")) {
        refuse(SYS_socketpair, ENFILE, -1, 0);
    }
    if (strstr(hardship, "no memory for a socket"))
        refuse(SYS_socketpair, ENOMEM, -1, 0);
    if (strstr(hardship, "no dup3"))
        refuse(SYS_dup3, EPERM, -1, 0);
    if (strstr(hardship, "no kcmp"))
        refuse(SYS_kcmp, EPERM, -1, 0);
    if (strstr(hardship, "no madvise"))
        refuse(SYS_madvise, EINVAL, -1, 0);
    if (strstr(hardship, "no process_vm_readv"))
        refuse(SYS_process_vm_readv, EPERM, -1, 0);
    if (strstr(hardship, "no prlimit"))
        refuse(SYS_prlimit64, EPERM, -1, 0);
    if (strstr(hardship, "own mounts")) /* the program's to make */
        own_mounts();
    if (strstr(hardship, "no /proc")) {
        own_mounts();
        if (mount("none", "/proc", "tmpfs", 0, NULL))
            broken("mount");
    }
    if (strstr(hardship, "full disk")) { /* at $FULL: room for two pages, and both are taken */
        char file[4096];
        static char bytes[65536];
        const char *full = getenv("FULL");
        snprintf(file, sizeof file, "%s/fill", full);
        own_mounts();
        if (mount("none", full, "tmpfs", 0, "size=8k"))
            broken("mount");
        int fd = open(file, O_WRONLY | O_CREAT, 0600);
        while (write(fd, bytes, sizeof bytes) > 0)
            continue;
        if (errno != ENOSPC)
            broken("filling");
        close(fd);
    }
    execv(arguments[2], arguments + 2);
    broken("exec");
}
