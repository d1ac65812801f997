/* every_allocation CONNINFO HOW FIRST STEP [unguarded]: memory runs out at the FIRST allocation of
 * a process, in the next run at the FIRST + STEP-th, and so on until a run comes to its end before
 * that. HOW is "once, from start" (that one fails and no other), "on, from main" (none succeeds
 * from there on, and what is allocated before main is not counted), or as you think.
 *
 * A run connects, sets, prepares, listens and forks; the child asks its session what it is, and
 * the parent, when memory is back, asks the same. It is a process of its own, so that what is
 * allocated while it is loaded counts as well. With "unguarded" the child leaves the session
 * alone: what is left is what libpq does by itself. */
#include "session.h"
#include <spawn.h>
#include <sys/mman.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern char **environ;

/* Of one run; what its processes share, and the sweep reads. */
struct run {
    int hit, before_fork, dialled, answered, ended;
    char before[256], child[256], after[256];
};
static struct run *run;

static long count, fail_at = -1;
static int for_good, from_main, hit_early;

/* Before anybody has set `environ`: ld.so allocates already. */
static void read_environment(void)
{
    static char text[65536];
    int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/environ", O_RDONLY);
    long length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    fail_at = 0;
    for (char *at = text; at < text + length; at += strlen(at) + 1) {
        if (!strncmp(at, "FAIL_AT=", 8))
            fail_at = strtol(at + 8, NULL, 10);
        if (!strncmp(at, "FAIL=", 5))
            for_good = !!strstr(at, "on,"), from_main = !!strstr(at, "main");
    }
}

static int fails(void)
{
    if (fail_at < 0)
        read_environment();
    if (!fail_at || (from_main && !run))
        return 0;
    long mine = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    if (mine != fail_at && !(for_good && mine > fail_at))
        return 0;
    *(run ? &run->hit : &hit_early) = 1;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }
void *calloc(size_t number, size_t size) { return fails() ? NULL : __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { return fails() ? NULL : __libc_realloc(old, size); }
void *memalign(size_t align, size_t size) { return fails() ? NULL : __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }
int posix_memalign(void **out, size_t align, size_t size)
{
    void *memory = memalign(align, size);
    if (memory)
        *out = memory;
    return memory ? 0 : ENOMEM;
}

/* The session as its client knows it; "error …" where it says that it has none. */
static void ask(PGconn *conn, char *into)
{
    PGresult *result = PQexec(conn, "select pg_backend_pid(), current_setting('work_mem'), "
        "current_setting('app.tenant', true), "
        "(select string_agg(name || ' ' || statement, ', ') from pg_prepared_statements where name <> ''), "
        "(select string_agg(c, ', ') from pg_listening_channels() c)");
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        snprintf(into, 256, "error %s", PQerrorMessage(conn));
    else
        snprintf(into, 256, "%s: work_mem %s, tenant %s, prepared %s, listens %s",
                 PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2),
                 PQgetvalue(result, 0, 3), PQgetvalue(result, 0, 4));
    PQclear(result);
}

/* Errors are libpq's, and the program goes on, as careless programs do. */
static void one_run(const char *conninfo, int touches)
{
    PGconn *conn = NULL;
    alarm(30);
    for (int i = 0; i < 2 && PQstatus(conn) != CONNECTION_OK; i++) {
        PQfinish(conn);
        conn = PQconnectdb(conninfo);
    }
    run->dialled = PQstatus(conn) == CONNECTION_OK;
    PQclear(PQexec(conn, "set work_mem = '7MB'"));
    PQclear(PQexec(conn, "begin; set app.tenant = 'mine'; commit"));
    PQclear(PQexec(conn, "prepare answer as select 42"));
    PQclear(PQprepare(conn, "other", "select 43", 0, NULL));
    PQclear(PQexec(conn, "listen news"));
    PQclear(PQexec(conn, "select 1"));
    if (PQtransactionStatus(conn) == PQTRANS_INTRANS || PQtransactionStatus(conn) == PQTRANS_INERROR)
        PQclear(PQexec(conn, "rollback"));
    run->before_fork = run->hit;
    pid_t pid = child_of(fork());
    if (pid == 0) {
        if (touches)
            ask(conn, run->child);
        PQfinish(touches ? conn : NULL);
        _exit(0);
    }
    fail_at = 0;
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        _exit(98);
    run->ended = status;
    ask(conn, run->after);
    PQfinish(conn);
    run->answered = 1;
    exit(0);
}

/* The number of a backend, and what stands behind it. */
static const char *backend(const char *text, int *pid)
{
    char *end;
    *pid = (int)strtol(text, &end, 10);
    return end;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    int touches = argc < 6, fd = 200;
    if (getenv("FAIL_AT")) {
        run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (run == MAP_FAILED)
            return 97;
        run->hit = hit_early;
        one_run(argv[1], touches);
    }
    int shared = memfd_create("run", 0);
    if (dup2(shared, fd) != fd || ftruncate(fd, sizeof *run))
        broken("memfd");
    run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(shared);

    long at, runs = 0, crashed = 0, hung = 0, different = 0, disturbed = 0, equal = 0, lost = 0,
             unstarted = 0, undialled = 0;
    static char place[32], how[32], *more[512];
    snprintf(how, sizeof how, "FAIL=%s", argv[2]);
    int size = 0;
    while (environ[size] && size < 500)
        more[size] = environ[size], size++;
    more[size++] = place;
    more[size++] = how;
    for (at = atol(argv[3]);; at += atol(argv[4])) {
        snprintf(place, sizeof place, "FAIL_AT=%ld", at);
        memset(run, 0, sizeof *run);
        pid_t pid;
        int status;
        if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, more) != 0
            || waitpid(pid, &status, 0) != pid)
            broken("spawn");
        runs++;
        int parents, childs;
        const char *after = backend(run->after, &parents), *child = backend(run->child, &childs);
        const char *what = NULL;
        if (WIFSIGNALED(status) || WIFSIGNALED(run->ended)) {
            int signal = WIFSIGNALED(status) ? WTERMSIG(status) : WTERMSIG(run->ended);
            if (signal == SIGALRM)
                hung++;
            else
                crashed++;
            what = WIFSIGNALED(status) ? strsignal(signal) : "child ended by a signal";
        } else if (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 97 || !run->answered)
            unstarted++; /* ld.so says so */
        else if (!run->dialled)
            undialled++;
        else if (!parents) {
            /* A session that libpq had lost before the fork was not ours to disturb. */
            if (!run->before_fork)
                disturbed++, what = "parent disturbed";
            else
                lost++;
        } else if (touches && childs && (childs == parents || strcmp(child, after)))
            different++, what = "child different";
        else if (touches && !childs)
            lost++;
        else
            equal++;
        if (what)
            fact("fault", "at %ld: %s; parent %s; child %s", at, what, run->after, run->child);
        if (!run->hit && run->answered)
            break;
        if (runs > 100000)
            broken("no end");
    }
    fact("runs", "%ld", runs);
    fact("allocations", "%ld", at);
    fact("seen", "crashed %ld, hung %ld, different %ld, disturbed %ld", crashed, hung, different, disturbed);
    fact("well", "equal %ld, lost %ld, not connected %ld, not started %ld", equal, lost, undialled, unstarted);
    return 0;
}
