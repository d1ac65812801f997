/* A library with a fork handler of its own: in the child it deals with its parent's session, as
 * clients that clean up after a fork do. Built twice: linked to the program, and preloaded. */
#include "session.h"
#include <dlfcn.h>
#include <pthread.h>

static void in_child(void)
{
    /* The program is linked with -rdynamic. */
    PGconn **conn = dlsym(RTLD_DEFAULT, "meddled");
    const char *how = getenv("MEDDLE");
    if (!conn || !*conn || !how)
        return;
    fact("meddler", "in the child");
    if (!strcmp(how, "finish")) {
        PQfinish(*conn);
        *conn = NULL;
    } else if (!strcmp(how, "query")) {
        use("child", *conn);
    } else if (!strcmp(how, "close")) { /* a wire protocol's goodbye, then close */
        fact("goodbye", "%zd", send(PQsocket(*conn), "X\0\0\0\4", 5, MSG_NOSIGNAL));
        close(PQsocket(*conn));
    } else { /* the same past every hook: nothing but the order of handlers helps */
        fact("goodbye", "%ld", syscall(SYS_sendto, PQsocket(*conn), "X\0\0\0\4", 5, MSG_NOSIGNAL, NULL, 0));
        syscall(SYS_close, PQsocket(*conn));
    }
}

__attribute__((constructor)) static void load(void)
{
    pthread_atfork(NULL, NULL, in_child);
}
