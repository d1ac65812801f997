/* unload CONNINFO WHAT PATH: libraries that go away while they are in use. Not linked with libpq.
 *
 * libpq, kept    libpq is unloaded with a session open, and loaded again, many times
 * libpq, ended   the same, each session ended before
 * ourselves      PATH is libforkguard: opened and closed again, before libpq is loaded
 */
#include "session.h"
#include <dlfcn.h>

#define EACH(X) X(PQconnectdb) X(PQstatus) X(PQsocket) X(PQexec) X(PQgetvalue) X(PQntuples) \
    X(PQerrorMessage) X(PQfinish) X(PQresultStatus)
#define X(name) static typeof(name) *p##name;
EACH(X)
#undef X

static void *load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        broken(dlerror());
#define X(name) p##name = dlsym(handle, #name);
    EACH(X)
#undef X
    return handle;
}

static const char *ask(PGconn *conn, const char *sql)
{
    PGresult *result = pPQexec(conn, sql);
    if (pPQresultStatus(result) != PGRES_TUPLES_OK || pPQntuples(result) < 1)
        return NULL;
    return pPQgetvalue(result, 0, 0);
}

int main(int count, char **arguments)
{
    if (count < 4)
        return 2;
    const char *what = arguments[2];
    int left[100], gone = 0, dead = 0, sessions = 0;
    alarm(60);
    if (!strcmp(what, "ourselves")) {
        for (int i = 0; i < 3; i++) {
            void *handle = dlopen(arguments[3], RTLD_NOW);
            if (!handle)
                broken(dlerror());
            int (*state)(int) = (int (*)(int))dlsym(handle, "forkguard_state");
            fact("state", "%d", state(0));
            dlclose(handle);
        }
        fact("still there", "%d", dlopen(arguments[3], RTLD_NOW | RTLD_NOLOAD) != NULL);
    }
    for (int i = 0; i < 100 && strcmp(what, "ourselves"); i++) {
        void *handle = load(arguments[3]);
        PGconn *conn = pPQconnectdb(arguments[1]);
        if (!ask(conn, "select 7"))
            broken(pPQerrorMessage(conn));
        if (!strcmp(what, "libpq, kept") && i % 4 == 0) /* 25 are left open */
            left[sessions++] = pPQsocket(conn);
        else
            pPQfinish(conn);
        dlclose(handle);
        gone += dlopen(arguments[3], RTLD_NOW | RTLD_NOLOAD) == NULL;
    }
    fact("gone", "%d", gone);
    load(strcmp(what, "ourselves") ? arguments[3] : "libpq.so.5");
    PGconn *conn = pPQconnectdb(arguments[1]);
    const char *mine = ask(conn, "select pg_backend_pid()");
    fact("before", "backend %s", mine);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        for (int i = 0; i < sessions; i++)
            dead += send(left[i], "X\0\0\0\4", 5, MSG_NOSIGNAL) == -1 && errno == EPIPE;
        fact("dead", "%d of %d", dead, sessions);
        const char *backend = ask(conn, "select pg_backend_pid()");
        if (backend)
            fact("child", "answered by backend %s", backend);
        else
            fact("child", "bad, %s", pPQerrorMessage(conn));
        pPQfinish(conn);
        _exit(0);
    }
    ended("ended", pid);
    mine = ask(conn, "select pg_backend_pid()");
    fact("after", "backend %s", mine ? mine : pPQerrorMessage(conn));
    return 0;
}
