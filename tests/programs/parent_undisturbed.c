/* parent_undisturbed CONNINFO CHILD: children of a kind, and what their parent sees of them. */
#include "session.h"

PGconn *meddled;

static void at_exit(void)
{
    fact("child", "finishes at exit");
    PQfinish(meddled);
}

static void __attribute__((noreturn)) child(const char *kind)
{
    if (!strcmp(kind, "query")) {
        use("child", meddled);
        _exit(0);
    }
    if (!strcmp(kind, "finish")) {
        PQfinish(meddled);
        _exit(0);
    }
    if (!strcmp(kind, "atexit")) {
        atexit(at_exit);
        exit(0);
    }
    if (!strcmp(kind, "handler"))
        _exit(0);
    /* The others leave while a statement of theirs is under way. */
    fact("sent", "%d", PQsendQuery(meddled, "select 'from the child'"));
    if (!strcmp(kind, "segv"))
        *(volatile int *)8 = 1;
    else if (!strcmp(kind, "abort"))
        abort();
    else if (!strcmp(kind, "kill"))
        raise(SIGKILL);
    else if (!strcmp(kind, "exec"))
        execl("/bin/true", "true", NULL);
    _exit(99);
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    meddled = dial(arguments[1]);
    hold(meddled);
    tell("before", meddled);
    alarm(40);
    for (int i = 0; i < 3; i++) {
        pid_t pid = child_of(fork());
        if (pid == 0)
            child(arguments[2]);
        ended("ended", pid);
    }
    tell("after", meddled);
    return 0;
}
