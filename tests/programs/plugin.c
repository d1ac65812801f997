/* A plug-in linked to libpq, for loaded.c. */
#include "session.h"
#include <dlfcn.h>
#include <pthread.h>

const char *plugin_run(const char *conninfo)
{
    PGconn *conn = dial(conninfo);
    const char *answer = strdup(value(conn, "select 'from the plug-in'"));
    PQfinish(conn);
    return answer;
}

/* By its own RUNPATH, and by the caller's place in the order of objects. */
const char *plugin_look(void)
{
    static char text[200];
    void *inner = dlopen("libinner_plugin.so", RTLD_NOW | RTLD_LOCAL);
    const char *why = inner ? "inner" : dlerror();
    snprintf(text, sizeof text, "%s, next %s, default %s", why,
             dlsym(RTLD_NEXT, "PQlibVersion") ? "yes" : "no",
             dlsym(RTLD_DEFAULT, "plugin_run") ? "yes" : "no");
    return text;
}

static void *thread(void *conninfo)
{
    fact("thread", "%s", plugin_run(conninfo));
    return NULL;
}

/* With CONSTRUCT a thread uses libpq while the loader is held by whoever loads us. */
static void __attribute__((constructor)) construct(void)
{
    const char *conninfo = getenv("CONSTRUCT");
    pthread_t other;
    if (conninfo) {
        pthread_create(&other, NULL, thread, (void *)conninfo);
        pthread_join(other, NULL);
        fact("constructed", "yes");
    }
}
