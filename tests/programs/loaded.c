/* loaded WHAT ...: a program that is not linked to libpq, and loads what it uses. */
#include "session.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

struct libpq {
    void *handle;
    PGconn *(*connectdb)(const char *);
    PGresult *(*exec)(PGconn *, const char *);
    char *(*getvalue)(const PGresult *, int, int);
    void (*clear)(PGresult *);
    void (*finish)(PGconn *);
    ConnStatusType (*status)(const PGconn *);
    char *(*error)(const PGconn *);
    int (*version)(void);
};

static void *found(void *handle, const char *name)
{
    void *address = dlsym(handle, name);
    if (!address)
        broken(dlerror());
    return address;
}

static struct libpq load(const char *path, int flags)
{
    struct libpq libpq = {.handle = dlopen(path, flags)};
    if (!libpq.handle)
        broken(dlerror());
    *(void **)&libpq.connectdb = found(libpq.handle, "PQconnectdb");
    *(void **)&libpq.exec = found(libpq.handle, "PQexec");
    *(void **)&libpq.getvalue = found(libpq.handle, "PQgetvalue");
    *(void **)&libpq.clear = found(libpq.handle, "PQclear");
    *(void **)&libpq.finish = found(libpq.handle, "PQfinish");
    *(void **)&libpq.status = found(libpq.handle, "PQstatus");
    *(void **)&libpq.error = found(libpq.handle, "PQerrorMessage");
    *(void **)&libpq.version = found(libpq.handle, "PQlibVersion");
    return libpq;
}

/* What the server says to a session of this libpq's. */
static const char *ask(const struct libpq *libpq, const char *conninfo)
{
    static __thread char text[100];
    PGconn *conn = libpq->connectdb(conninfo);
    if (libpq->status(conn) != CONNECTION_OK)
        broken(libpq->error(conn));
    PGresult *result = libpq->exec(conn, "select 'answer'");
    snprintf(text, sizeof text, "%s", libpq->getvalue(result, 0, 0));
    libpq->clear(result);
    libpq->finish(conn);
    return text;
}

/* each CONNINFO global|local PATH...: the first as said, the others local. */
static void each(char **arguments)
{
    struct libpq libpqs[16];
    int count = 0;
    for (char **path = arguments + 2; *path && count < 16; path++, count++)
        libpqs[count] = load(*path, RTLD_NOW | (count == 0 && !strcmp(arguments[1], "global")
                                                    ? RTLD_GLOBAL : RTLD_LOCAL));
    for (int i = 0; i < count; i++)
        fact("libpq", "%d %s", libpqs[i].version(), ask(&libpqs[i], arguments[0]));
}

/* plugin CONNINFO FLAGS PATH */
static void plugin(char **arguments)
{
    int flags = !strcmp(arguments[1], "deep") ? RTLD_LAZY | RTLD_DEEPBIND : RTLD_LAZY;
    void *handle = dlopen(arguments[2], flags);
    if (!handle)
        broken(dlerror());
    const char *(*run)(const char *) = (const char *(*)(const char *))found(handle, "plugin_run");
    const char *(*look)(void) = (const char *(*)(void))found(handle, "plugin_look");
    fact("plugin", "%s", run(arguments[0]));
    fact("look", "%s", look());
}

static void error_of(const char *name, void *result)
{
    const char *why = dlerror();
    fact(name, "%s, %s", result ? "there" : "null", why ? why : "no error");
}

static void errors(void)
{
    void *library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    void *libc = dlopen("libc.so.6", RTLD_NOW);
    error_of("dlsym in libpq", dlsym(library, "PQnothing"));
    error_of("dlsym in libpq", dlsym(library, "PQexec"));
    error_of("dlsym by default", dlsym(RTLD_DEFAULT, "PQexec"));
    error_of("dlsym by default", dlsym(RTLD_DEFAULT, "nothing"));
    error_of("dlsym next", dlsym(RTLD_NEXT, "main"));
    error_of("dlvsym in libpq", dlvsym(library, "PQexec", "NONE_1"));
    error_of("dlvsym in libc", dlvsym(libc, "dlopen", "GLIBC_2.34"));
    error_of("dlvsym in libc", dlvsym(libc, "dlopen", "GLIBC_9"));
    error_of("dlvsym by default", dlvsym(RTLD_DEFAULT, "fork", "GLIBC_2.2.5"));
    error_of("dlvsym by default", dlvsym(RTLD_DEFAULT, "getpid", ""));
    error_of("dlopen", dlopen("/nonexistent.so", RTLD_NOW));
    errno = 1234;
    dlsym(libc, "fork");
    fact("errno", "%d", errno);
}

static volatile int running = 1;
static char **given;

static void *connects(void *unused)
{
    struct libpq libpq = load(given[1], RTLD_NOW | RTLD_LOCAL);
    int count = 0;
    while (running) {
        if (strcmp(ask(&libpq, given[0]), "answer"))
            broken("another answer");
        count++;
    }
    fact("connections", "%s", count > 0 ? "some" : "none");
    return unused;
}

/* again CONNINFO PATH COPY: the copy comes and goes while a thread connects with the other. */
static void again(char **arguments)
{
    pthread_t thread;
    given = arguments;
    pthread_create(&thread, NULL, connects, NULL);
    int gone = 0;
    for (int i = 0; i < 1000; i++) {
        struct libpq libpq = load(arguments[2], RTLD_NOW | RTLD_LOCAL);
        if (i % 100 == 0 && strcmp(ask(&libpq, arguments[0]), "answer"))
            broken("another answer");
        if (libpq.status(NULL) != CONNECTION_BAD)
            broken("PQstatus(NULL)");
        dlclose(libpq.handle);
        void *still = dlopen(arguments[2], RTLD_NOLOAD | RTLD_NOW);
        gone += still == NULL;
    }
    running = 0;
    pthread_join(thread, NULL);
    fact("gone", "%d", gone);
}

static void *loads(void *path)
{
    while (running) {
        void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!handle)
            broken(dlerror());
        dlsym(handle, "PQexec");
        dlclose(handle);
    }
    return NULL;
}

static void *looks(void *unused)
{
    while (running)
        dlsym(RTLD_DEFAULT, "getpid");
    return unused;
}

static int one(struct dl_phdr_info *info, size_t size, void *count)
{
    ++*(int *)count;
    return 0;
}

/* forks PATH [CHILD]: children of a process whose other thread is inside the loader. */
static void forks(char **arguments)
{
    int ended_well = 0, hung = 0, other = 0;
    int walks = !strcmp(arguments[0], "walk");
    pthread_t thread;
    pthread_create(&thread, NULL, walks ? looks : loads, arguments[0]);
    usleep(20000);
    for (int i = 0; i < 300; i++) {
        int status, count = 0;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(2);
            if (walks)
                dl_iterate_phdr(one, &count);
            else if (!dlsym(RTLD_DEFAULT, "getpid"))
                _exit(1);
            _exit(0);
        }
        if (waitpid(pid, &status, 0) != pid)
            broken("waitpid");
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            ended_well++;
        else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            hung++;
        else
            other++;
        if (hung > 10)
            break;
    }
    running = 0;
    pthread_join(thread, NULL);
    fact("forks", "%d well, %d hung, %d other", ended_well, hung, other);
}

/* measure: nanoseconds a dlsym. */
static void measure(void)
{
    enum { TIMES = 200000 };
    struct timespec begin, end;
    double best = 1e9;
    for (int round = 0; round < 20; round++) {
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int i = 0; i < TIMES; i++)
            dlsym(RTLD_DEFAULT, "getpid");
        clock_gettime(CLOCK_MONOTONIC, &end);
        double each = ((end.tv_sec - begin.tv_sec) * 1e9 + end.tv_nsec - begin.tv_nsec) / TIMES;
        best = each < best ? each : best;
    }
    fact("dlsym", "%.1f ns", best);
}

int main(int count, char **arguments)
{
    if (count < 2)
        return 2;
    alarm(100);
    const char *what = arguments[1];
    char **more = arguments + 2;
    if (!strcmp(what, "each"))
        each(more);
    else if (!strcmp(what, "plugin"))
        plugin(more);
    else if (!strcmp(what, "errors"))
        errors();
    else if (!strcmp(what, "again"))
        again(more);
    else if (!strcmp(what, "forks"))
        forks(more);
    else if (!strcmp(what, "measure"))
        measure();
    else if (!strcmp(what, "nothing"))
        fact("default", "%s", dlsym(RTLD_DEFAULT, "PQexec") ? "there" : "null");
    else if (!strcmp(what, "protection")) { /* of the pages of a libpq */
        load(more[0], RTLD_NOW | RTLD_LOCAL);
        char line[1000], last[5] = "";
        FILE *maps = fopen("/proc/self/maps", "r");
        while (fgets(line, sizeof line, maps)) {
            char *name = strrchr(line, '/');
            char *pages = strchr(line, ' ') + 1;
            if (!name || !strstr(more[0], strtok(name + 1, "\n")) || !strncmp(last, pages, 4))
                continue; /* the kernel may list pages in two that were in one */
            memcpy(last, pages, 4);
            fact("pages", "%s", last);
        }
        fclose(maps);
    } else
        return 2;
    return 0;
}
