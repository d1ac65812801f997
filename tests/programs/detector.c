/* Uses of an inherited session in a child, one kind a run: for the detector. The parent waits
 * meanwhile, so that without the library the child is answered, too. */
#include "session.h"
#include <forkguard.h>
#include <pthread.h>
#pragma weak forkguard_release

static PGconn *conn;
static PGcancel *cancel;

/* Named, exported, and never a tail call: they are looked for in the stacks. */
#define SITE __attribute__((noinline, noclone, visibility("default"), used))

SITE void asks_here(void)
{
    fact("answer", "%s", value(conn, "select 'the answer'"));
    __asm__ volatile("");
}

SITE void asks_there(void)
{
    fact("answer", "%s", value(conn, "select 'another answer'"));
    __asm__ volatile("");
}

SITE void cancels_here(void)
{
    char error[256] = "";
    int done = PQcancel(cancel, error, sizeof error);
    fact("cancel", "%d %s", done, error);
}

SITE void cancels_anew(void)
{
    PGcancel *own = PQgetCancel(conn);
    char error[256] = "";
    int done = PQcancel(own, error, sizeof error);
    fact("cancel", "%d %s", done, error);
    PQfreeCancel(own);
}

SITE void requests_cancel(void)
{
    fact("cancel", "%d", PQrequestCancel(conn));
}

SITE void sends_raw(void)
{
    /* A query by hand, past libpq. */
    const char query[] = "Q\0\0\0\x0dselect 1";
    ssize_t sent = send(PQsocket(conn), query, sizeof query, 0);
    char answer[512];
    ready(PQsocket(conn), POLLIN, 5000);
    ssize_t got = recv(PQsocket(conn), answer, sizeof answer, 0);
    fact("raw", "%zd sent, %s", sent, got > 0 ? "answered" : "no answer");
}

SITE void writes_raw(void)
{
    const char query[] = "Q\0\0\0\x0dselect 1";
    ssize_t sent = write(PQsocket(conn), query, sizeof query);
    char answer[512];
    ready(PQsocket(conn), POLLIN, 5000);
    ssize_t got = read(PQsocket(conn), answer, sizeof answer);
    fact("raw", "%zd sent, %s", sent, got > 0 ? "answered" : "no answer");
}

SITE void listens_only(void)
{
    ready(PQsocket(conn), POLLIN, 5000);
    PQconsumeInput(conn);
    PGnotify *news = PQnotifies(conn);
    fact("news", "%s", news ? news->extra : "none");
}

SITE void ends_here(void)
{
    PQfinish(conn); /* the guilty line */
    fact("finish", "done");
}

static void *in_a_thread(void *argument)
{
    asks_here();
    return argument;
}

static void in_a_handler(int signal)
{
    (void)signal;
    cancels_here();
}

/* Ends the session that is its parent's: nobody may get there. */
static void ends_in_a_handler(int signal)
{
    (void)signal;
    ends_here();
}

/* A TLS request, the first bytes on a connection that the parent has only made. */
static int half_made;
SITE void speaks_first(void)
{
    const char request[8] = {0, 0, 0, 8, 4, (char)0xd2, 0x16, 0x2f};
    char answer = 0;
    ssize_t sent = send(half_made, request, sizeof request, 0);
    ready(half_made, POLLIN, 5000);
    ssize_t got = recv(half_made, &answer, 1, 0);
    fact("first", "%zd sent, %zd received", sent, got);
}

/* What a correct child does: a session of its own, and the inherited one closed. */
static void correct(void)
{
    close(PQsocket(conn));
    conn = dial("");
    cancel = PQgetCancel(conn);
    asks_here();
    cancels_here();
    PQfinish(conn);
}

static void child(const char *how)
{
    if (!strcmp(how, "exec"))
        asks_here();
    else if (!strcmp(how, "loop"))
        for (int i = 0; i < 1000; i++)
            asks_here();
    else if (!strcmp(how, "places")) {
        for (volatile int i = 0; i < 3; i++) { /* not unrolled: that would be six places */
            asks_here();
            asks_there();
        }
    } else if (!strcmp(how, "finish"))
        ends_here();
    else if (!strcmp(how, "cancel"))
        cancels_here();
    else if (!strcmp(how, "cancel anew"))
        cancels_anew();
    else if (!strcmp(how, "request cancel"))
        requests_cancel();
    else if (!strcmp(how, "cancel of a closed"))
        close(PQsocket(conn)), cancels_here();
    else if (!strcmp(how, "send"))
        sends_raw();
    else if (!strcmp(how, "write"))
        writes_raw();
    else if (!strcmp(how, "listen"))
        listens_only();
    else if (!strcmp(how, "close"))
        close(PQsocket(conn));
    else if (!strcmp(how, "correct") || !strcmp(how, "nothing")) {
        if (how[0] == 'c')
            correct();
    } else if (!strcmp(how, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, in_a_thread, NULL);
        pthread_join(thread, NULL);
    } else if (!strcmp(how, "grandchild")) {
        asks_here();
        pid_t pid = child_of(fork());
        if (pid == 0) {
            fact("grandchild", "%d", getpid());
            asks_here();
            _exit(0);
        }
        ended("its child", pid);
    } else if (!strcmp(how, "own")) {
        /* The child's own session, used by a child of its own. */
        close(PQsocket(conn));
        conn = dial("");
        pid_t pid = child_of(fork());
        if (pid == 0) {
            asks_here();
            _exit(0);
        }
        ended("its child", pid);
    } else if (!strcmp(how, "handler") || !strcmp(how, "small stack")) {
        static char small[8192];
        struct sigaction action = {.sa_handler = in_a_handler};
        if (how[0] == 's') {
            stack_t stack = {.ss_sp = small, .ss_size = sizeof small};
            sigaltstack(&stack, NULL);
            action.sa_flags = SA_ONSTACK;
        }
        sigaction(SIGUSR1, &action, NULL);
        raise(SIGUSR1);
    } else if (!strcmp(how, "first bytes")) {
        speaks_first();
    } else if (!strcmp(how, "released")) {
        asks_here();
        cancels_here();
    } else if (!strcmp(how, "reset")) {
        PQreset(conn);
        asks_here();
    } else if (!strcmp(how, "handled")) {
        signal(SIGABRT, ends_in_a_handler);
        asks_here();
    } else if (!strcmp(how, "ignored")) {
        signal(SIGABRT, SIG_IGN);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGABRT);
        sigprocmask(SIG_BLOCK, &set, NULL);
        asks_here();
    } else
        broken(how);
}

/* Other threads, so that the child is one of a threaded parent. */
static void *idle(void *argument)
{
    for (;;)
        pause();
    return argument;
}

int main(int count, char **arguments)
{
    const char *how = count > 1 ? arguments[1] : "";
    pthread_t thread;
    conn = dial("");
    cancel = PQgetCancel(conn);
    fact("parent", "%d", getpid());
    fact("descriptor", "%d", PQsocket(conn));
    if (!strcmp(how, "listen")) {
        command(conn, on_channel("listen"));
        PGconn *other = dial("");
        command(other, on_channel("notify"));
        PQfinish(other);
        ready(PQsocket(conn), POLLIN, 5000);
    }
    if (count > 2 && !strcmp(arguments[2], "threaded"))
        pthread_create(&thread, NULL, idle, NULL);
    if (!strcmp(how, "first bytes")) {
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        getpeername(PQsocket(conn), (struct sockaddr *)&address, &length);
        half_made = socket(address.ss_family, SOCK_STREAM, 0);
        if (connect(half_made, (struct sockaddr *)&address, length))
            broken("connect");
        fact("half made", "%d", half_made);
    }
    if (!strcmp(how, "released")) {
        if (forkguard_release)
            forkguard_release(PQsocket(conn));
        fact("hands over", "descriptor %d", PQsocket(conn));
    }
    if (!strcmp(how, "daemon")) {
        pid_t starter = fork();
        if (starter == 0) {
            /* Of its own, so that the heir of it is looked at. */
            conn = dial("");
            cancel = PQgetCancel(conn);
            if (daemon(1, 1))
                broken("daemon");
            alarm(CHILD_SECONDS);
            asks_here();
            cancels_here();
            PQfinish(conn);
            _exit(0);
        }
        ended("starter", starter);
    } else {
        /* Without fork handlers, with "_Fork". */
        pid_t pid = child_of(count > 2 && !strcmp(arguments[2], "_Fork") ? _Fork() : fork());
        if (pid == 0) {
            fact("child", "%d", getpid());
            child(how);
            _exit(0);
        }
        ended("child's end", pid);
    }
    if (!strcmp(how, "finish") || !strcmp(how, "reset") || !strcmp(how, "released"))
        return 0; /* the session is over, or the child's */
    fact("parent's answer", "%s", value(conn, "select 'here'"));
    PQfinish(conn);
    return 0;
}
