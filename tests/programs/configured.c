/* configured CHILDREN: two sessions ($CONNINFO) and so many children at once that use them.
 * configured PREPARATION ... CHILDREN: the same, with standard error or the log file as named. */
#include "session.h"

/* A pipe, or a FIFO, that takes no more. */
static void fill(int fd)
{
    static char much[65536];
    int before = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, before | O_NONBLOCK);
    for (size_t size = sizeof much; size; size /= 2)
        while (write(fd, much, size) > 0)
            ;
    fcntl(fd, F_SETFL, before);
}

static void begin_again(char **arguments, int used)
{
    for (int i = 1; arguments[i]; i++)
        arguments[i] = arguments[i + used];
    execv("/proc/self/exe", arguments);
    broken("exec");
}

/* Returns how many arguments it took. */
static int prepare(char **arguments)
{
    const char *how = arguments[1];
    int ends[2];
    if (!strcmp(how, "stderr-closed")) {
        close(2);
        begin_again(arguments, 1);
    }
    if (!strcmp(how, "stderr-gone") || !strcmp(how, "stderr-full")) {
        if (pipe(ends) != 0 || dup2(ends[1], 2) != 2)
            broken("pipe");
        if (!strcmp(how, "stderr-gone"))
            close(ends[0]);
        else
            fill(2);
        close(ends[1]);
        begin_again(arguments, 1);
    }
    if (!strcmp(how, "fifo-gone") || !strcmp(how, "fifo-full")) {
        /* The reader is there when the library is loaded; `fifo-reader` goes on. */
        char number[16];
        mkfifo(arguments[2], 0600);
        int reader = open(arguments[2], O_RDONLY | O_NONBLOCK);
        snprintf(number, sizeof number, "%d", reader);
        setenv("FORKGUARD_LOG_FILE", arguments[2], 1);
        setenv("READER", number, 1);
        arguments[2] = strcmp(how, "fifo-gone") ? "fifo-fill" : "fifo-leave";
        begin_again(arguments, 1);
    }
    if (!strcmp(how, "fifo-leave"))
        close(atoi(getenv("READER")));
    else if (!strcmp(how, "fifo-fill"))
        fill(open(getenv("FORKGUARD_LOG_FILE"), O_WRONLY));
    else if (!strcmp(how, "close-everything")) {
        if (chdir("/") != 0)
            broken("chdir");
        syscall(SYS_close_range, 3, ~0u, 0);
    } else if (!strncmp(how, "stderr-is-data", 14)) {
        /* Closed and used again, or covered. */
        int data = -1;
        if (!strcmp(how, "stderr-is-data"))
            close(2);
        data = open(arguments[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
        if (data != 2 && (dup2(data, 2) != 2 || close(data) != 0))
            broken("dup2");
        if (write(2, "data\n", 5) != 5)
            broken("write");
        return 2;
    } else
        return 0;
    return 1;
}

int main(int count, char **arguments)
{
    /* As a script's interpreter: the script's path comes first. */
    if (count > 1 && strchr(arguments[1], '/'))
        arguments++;
    if (!arguments[1])
        return 2;
    alarm(40);
    for (int used; (used = prepare(arguments)) > 0;)
        arguments += used;
    int children = atoi(arguments[1]);
    PGconn *conn = dial(getenv("CONNINFO")), *second = dial(getenv("CONNINFO"));
    fact("process", "%d", getpid());
    fact("descriptors", "%d %d", PQsocket(conn), PQsocket(second));
    hold(conn);
    command(second, "select 'marker in a query'; prepare marked as select 'marker in a prepared one'");
    tell("before", conn);
    pid_t pids[100];
    for (int i = 0; i < children; i++) {
        pids[i] = child_of(fork());
        if (pids[i] == 0) {
            use("child", conn);
            use("child", second);
            _exit(0);
        }
        fact("forked", "%d", pids[i]);
    }
    for (int i = 0; i < children; i++)
        ended("ended", pids[i]);
    sigset_t pending;
    sigpending(&pending);
    fact("signals", "%s", sigisemptyset(&pending) ? "none pending" : "pending");
    tell("after", conn);
    return 0;
}
