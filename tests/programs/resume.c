/* resume CONNINFO WHAT [MORE]: a session is inherited, idle but for what WHAT says; the child makes
 * it anew by using it, or says how it was lost. "backend" is the parent's. */
#include "session.h"
#include <grp.h>
#include <libpq-events.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

static PGconn *conn;

static double clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void sleep_ms(long ms)
{
    struct timespec moment = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&moment, NULL);
}

/* Where it stands by libpq's account; costs nothing. */
static void stands(const char *name)
{
    fact(name, "status %d, transaction %d, socket %d, backend %d, client encoding %d, non-blocking %d", PQstatus(conn),
         PQtransactionStatus(conn), PQsocket(conn), PQbackendPID(conn), PQclientEncoding(conn), PQisnonblocking(conn));
}

/* The child's side; returns in the child alone. */
static int in_child(void)
{
    pid_t pid = child_of(fork());
    if (pid == 0)
        return 1;
    ended("ended", pid);
    return 0;
}

/* A proxy to the server, with a delay in each direction, in a process of its own. It counts the
 * times a client spoke after it had been answered: round trips, however slow the machine is. */

static atomic_int *trips; /* shared with the proxy, if anybody wants to know */

struct way {
    int from, to, pipe[2];
    double delay;
    atomic_int *speaker; /* who of the two spoke last, by descriptor */
};

struct parcel {
    double due;
    int length;
};

static void whole(int fd, const void *bytes, size_t length)
{
    for (const char *at = bytes; length > 0;) {
        ssize_t done = write(fd, at, length);
        if (done <= 0)
            return;
        at += done;
        length -= done;
    }
}

static void *take(void *argument)
{
    struct way *way = argument;
    char bytes[32768];
    ssize_t length;
    while ((length = read(way->from, bytes, sizeof bytes)) > 0) {
        if (atomic_exchange(way->speaker, way->from) != way->from && trips)
            atomic_fetch_add(trips, 1);
        struct parcel parcel = {clock_ms() + way->delay, length};
        whole(way->pipe[1], &parcel, sizeof parcel);
        whole(way->pipe[1], bytes, length);
    }
    close(way->pipe[1]);
    return NULL;
}

static int all_of(int fd, void *bytes, size_t length)
{
    for (char *at = bytes; length > 0;) {
        ssize_t done = read(fd, at, length);
        if (done <= 0)
            return 0;
        at += done;
        length -= done;
    }
    return 1;
}

static void *give(void *argument)
{
    struct way *way = argument;
    struct parcel parcel;
    char bytes[32768];
    while (all_of(way->pipe[0], &parcel, sizeof parcel) && all_of(way->pipe[0], bytes, parcel.length)) {
        double left = parcel.due - clock_ms();
        if (left > 0)
            usleep(left * 1000);
        whole(way->to, bytes, parcel.length);
    }
    shutdown(way->to, SHUT_WR);
    return NULL;
}

static void forward(int from, int to, double delay, atomic_int *speaker)
{
    struct way *way = malloc(sizeof *way);
    pthread_t thread;
    *way = (struct way){.from = from, .to = to, .delay = delay, .speaker = speaker};
    if (pipe(way->pipe) || pthread_create(&thread, NULL, take, way) || pthread_create(&thread, NULL, give, way))
        broken("proxy");
}

/* A socket on a free port of 127.0.0.1. */
static int at_port(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, length) || getsockname(fd, (struct sockaddr *)&address, &length))
        broken("bind");
    *port = ntohs(address.sin_port);
    return fd;
}

static pid_t proxy(int listener, int server_port, double delay)
{
    listen(listener, 10);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(50);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        int server = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(server_port)};
        if (client < 0 || connect(server, (struct sockaddr *)&address, sizeof address))
            _exit(1);
        int one = 1;
        setsockopt(client, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
        setsockopt(server, IPPROTO_TCP, 1, &one, sizeof one);
        atomic_int *speaker = malloc(sizeof *speaker);
        atomic_init(speaker, server);
        forward(client, server, delay, speaker);
        forward(server, client, delay, speaker);
    }
}

static int server_port(const char *conninfo)
{
    const char *port = strstr(conninfo, "port=");
    return port ? atoi(port + 5) : 5432;
}

/* What is kept. */

static int notices, events;

static void on_notice(void *argument, const char *message)
{
    (void)message;
    notices += argument == &notices;
}

static int on_event(PGEventId id, void *info, void *argument)
{
    (void)info;
    (void)argument;
    if (id == PGEVT_CONNRESET)
        events++;
    return 1;
}

static void kept(void)
{
    static int data;
    FILE *trace = tmpfile();
    PQsetNoticeProcessor(conn, on_notice, &notices);
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    PQregisterEventProc(conn, on_event, "test", NULL);
    PQsetInstanceData(conn, on_event, &data);
    PQsetClientEncoding(conn, "LATIN1");
    PQsetnonblocking(conn, 1);
    PQtrace(conn, trace);
    stands("before");
    if (in_child()) {
        fflush(trace);
        long traced = ftell(trace);
        stands("untouched");
        use("child", conn);
        stands("resumed");
        command(conn, "set client_min_messages to notice");
        command(conn, "drop table if exists nosuch");
        fflush(trace);
        PGresult *result = PQexec(conn, "select 1/0");
        fact("kept", "notices %d, verbose %d, events %d, data %d, trace %d", notices, strstr(PQresultErrorMessage(result), "LOCATION") != NULL,
             events, PQinstanceData(conn, on_event) == &data, ftell(trace) > traced);
        _exit(0);
    }
    stands("after");
}

static void receiver(void *argument, const PGresult *result)
{
    (void)result;
    ++*(int *)argument;
}

static void received(void)
{
    int count = 0;
    PQsetNoticeReceiver(conn, receiver, &count);
    if (in_child()) {
        use("child", conn);
        command(conn, "drop table if exists nosuch");
        fact("received", "%d", count);
        _exit(0);
    }
}

/* The truth, before the server is asked; `more` makes it opaque. */
static void truth(const char *more)
{
    PGconn *other = dial(getenv("SECOND"));
    const char *backends = "select count(*) from pg_stat_activity where backend_type = 'client backend' and application_name = 'truth'";
    int to_parent[2], to_child[2];
    char byte;
    command(conn, "set application_name to 'truth'");
    command(conn, more);
    if (pipe(to_parent) || pipe(to_child))
        broken("pipe");
    stands("before");
    fact("backends", "%s", value(other, backends));
    pid_t pid = child_of(fork());
    if (pid == 0) {
        stands("child's");
        stands("child's again");
        if (write(to_parent[1], "x", 1) != 1 || read(to_child[0], &byte, 1) != 1)
            _exit(1);
        use("child", conn);
        stands("resumed");
        if (write(to_parent[1], "x", 1) != 1 || read(to_child[0], &byte, 1) != 1)
            _exit(1);
        _exit(0);
    }
    for (int i = 0; i < 2; i++) {
        if (read(to_parent[0], &byte, 1) != 1)
            break;
        fact("backends", "%s", value(other, backends));
        if (write(to_child[1], "x", 1) != 1)
            break;
    }
    ended("ended", pid);
    stands("after");
}

/* What escaping makes of half a character before a quote: refused in UTF-8, and an injection where
 * libpq has forgotten the encoding. */
static void escapes(const char *name)
{
    char escaped[10];
    int error = 0;
    PQescapeStringConn(conn, escaped, "\xe9'", 2, &error);
    fact(name, "%s", error ? "refused" : "passed");
}

/* The shell does MORE after the fork, and then the environment's UNDO. */
static void dial_fails(const char *more)
{
    PQsetClientEncoding(conn, "UTF8");
    escapes("escaping");
    if (in_child()) {
        if (system(more))
            broken(more);
        double begin = clock_ms();
        use("child", conn);
        fact("took", "%ld", (long)(clock_ms() - begin));
        escapes("escaping");
        use("again", conn);
        const char *undo = getenv("UNDO");
        if (undo && system(undo))
            broken(undo);
        PQreset(conn);
        use("reset", conn);
        _exit(0);
    }
}

static char *with_port(const char *conninfo, const char *hosts, const char *ports, const char *more)
{
    static char own[1000];
    snprintf(own, sizeof own, "%s host=%s port=%s %s", conninfo, hosts, ports, more);
    return own;
}

static void no_answer(const char *conninfo)
{
    int port;
    int listener = at_port(&port);
    pid_t pid = proxy(listener, server_port(conninfo), 0);
    char ports[20];
    snprintf(ports, sizeof ports, "%d", port);
    conn = dial(with_port(conninfo, "127.0.0.1", ports, "connect_timeout=2"));
    char stop[40];
    snprintf(stop, sizeof stop, "kill -STOP %d", pid);
    dial_fails(stop);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Two of a host list: the first is there only after the fork. */
static void first_host(const char *conninfo)
{
    int one, two;
    int first = at_port(&one), second = at_port(&two);
    pid_t there = proxy(second, server_port(conninfo), 0), here = -1;
    char ports[40];
    snprintf(ports, sizeof ports, "%d,%d", one, two);
    conn = dial(with_port(conninfo, "127.0.0.1,127.0.0.1", ports, ""));
    here = proxy(first, server_port(conninfo), 0);
    if (in_child()) {
        use("child", conn);
        use("again", conn);
        _exit(0);
    }
    kill(here, SIGKILL);
    kill(there, SIGKILL);
}

static void changed(const char *more)
{
    if (getenv("STATEMENT"))
        command(conn, getenv("STATEMENT"));
    if (in_child()) {
        if (!strcmp(more, "HOME") || !strncmp(more, "PG", 2))
            setenv(more, "/tmp", 1);
        else if (!strcmp(more, "user") && seteuid(65534))
            broken("seteuid");
        else if (!strcmp(more, "user for good") && setuid(65534))
            broken("setuid");
        else if (!strcmp(more, "groups") && (setgroups(0, NULL) || setgid(65534)))
            broken("setgroups");
        else if (!strcmp(more, "not dumpable") && prctl(PR_SET_DUMPABLE, 0))
            broken("prctl");
        else if (!strcmp(more, "root") && chroot("/tmp"))
            broken("chroot");
        else if (!strcmp(more, "shell") && system(getenv("ACTION")))
            broken("ACTION");
        stands("child's");
        use("child", conn);
        use("again", conn);
        stands("lost");
        _exit(0);
    }
    use("parent", conn);
}

/* Families. */

static void *resume_it(void *argument)
{
    use("child", argument);
    return NULL;
}

static void families(const char *conninfo, const char *what)
{
    command(conn, "set my.a to 'inherited'");
    if (!strcmp(what, "two")) {
        PGconn *other = dial(conninfo);
        if (in_child()) {
            int one = PQsocket(conn), two = PQsocket(other);
            use("child", conn);
            use("child", other);
            fact("sockets", "%s", one == PQsocket(conn) && two == PQsocket(other) ? "the same" : "others");
            _exit(0);
        }
    } else if (!strcmp(what, "grandchild")) {
        if (in_child()) {
            if (in_child()) {
                use("child", conn);
                fact("my.a", "%s", value(conn, "select current_setting('my.a', true)"));
                _exit(0);
            }
            use("child", conn);
            _exit(0);
        }
    } else if (!strcmp(what, "again")) {
        if (in_child()) {
            use("child", conn);
            command(conn, "set my.b to 'of the child'");
            if (in_child()) {
                use("child", conn);
                fact("settings", "%s", value(conn, "select current_setting('my.a', true) || ', ' || current_setting('my.b', true)"));
                _exit(0);
            }
            use("child", conn);
            _exit(0);
        }
    } else if (!strcmp(what, "threads")) {
        enum { MANY = 8 };
        PGconn *conns[MANY];
        pthread_t threads[MANY];
        for (int i = 0; i < MANY; i++) {
            conns[i] = dial(conninfo);
            command(conns[i], "set my.a to 'inherited'");
        }
        if (in_child()) {
            for (int i = 0; i < MANY; i++)
                pthread_create(&threads[i], NULL, resume_it, conns[i]);
            for (int i = 0; i < MANY; i++)
                pthread_join(threads[i], NULL);
            for (int i = 0; i < MANY; i++)
                fact("my.a", "%s", value(conns[i], "select current_setting('my.a', true)"));
            _exit(0);
        }
    } else if (!strcmp(what, "daemon")) {
        command(conn, "select pg_advisory_lock(5)");
        if (daemon(0, 1))
            broken("daemon");
        alarm(CHILD_SECONDS);
        use("child", conn);
        return;
    } else if (!strcmp(what, "double fork")) {
        if (fork() == 0) {
            setsid();
            if (fork() != 0)
                _exit(0);
            alarm(CHILD_SECONDS);
            sleep_ms(100); /* the first parent is gone */
            use("child", conn);
            fact("my.a", "%s", value(conn, "select current_setting('my.a', true)"));
        }
        _exit(0);
    }
    use("parent", conn);
}

/* MORE is run in the parent; then the child. */
static void after_statement(const char *more)
{
    command(conn, more);
    if (in_child()) {
        stands("child's");
        use("child", conn);
        _exit(0);
    }
    use("parent", conn);
}

static long resident_kb(void)
{
    long total, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
        broken("statm");
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void many_settings(int many)
{
    char sql[200];
    long before = 0;
    for (int i = 0; i < many; i++) {
        snprintf(sql, sizeof sql, "set %s to %d", i % 3 == 0 ? "my.a" : i % 3 == 1 ? "work_mem" : "my.b", 1000 + i % 1000);
        command(conn, sql);
        if (i == 1000)
            before = resident_kb();
    }
    fact("grown", "%ld", resident_kb() - before);
    const char *last = value(conn, "select current_setting('my.a') || current_setting('work_mem')");
    if (in_child()) {
        use("child", conn);
        fact("same", "%d", !strcmp(last, value(conn, "select current_setting('my.a') || current_setting('work_mem')")));
        _exit(0);
    }
}

/* A fork in the middle. */

static volatile int under_way;

static void *insert(void *argument)
{
    (void)argument;
    size_t size = 64 << 20; /* more than any socket's buffer: it is being sent, or run, for a while */
    char *sql = malloc(size + 100);
    strcpy(sql, "select length('");
    size_t length = strlen(sql);
    memset(sql + length, 'x', size);
    strcpy(sql + length + size, "'), pg_sleep(0.5)");
    under_way = 1;
    fact("insert", "%s", value(conn, sql) ? "done" : "failed");
    free(sql);
    return NULL;
}

static void in_the_middle(const char *what)
{
    if (!strcmp(what, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, insert, NULL);
        while (!under_way)
            sleep_ms(1);
        sleep_ms(20);
        pid_t pid = child_of(fork());
        if (pid == 0) {
            use("child", conn);
            _exit(0);
        }
        ended("ended", pid);
        pthread_join(thread, NULL);
    } else if (!strcmp(what, "unanswered")) {
        PQsendQuery(conn, "set my.a to 'late'");
        sleep_ms(50);
        if (in_child()) {
            use("child", conn);
            _exit(0);
        }
        PGresult *result;
        while ((result = PQgetResult(conn)))
            PQclear(result);
    } else if (!strcmp(what, "unflushed")) {
        PQsetnonblocking(conn, 1);
        static char sql[1 << 20];
        snprintf(sql, sizeof sql, "select length('%*d')", (int)sizeof sql - 100, 1);
        PQsendQuery(conn, sql);
        if (in_child()) {
            use("child", conn);
            _exit(0);
        }
        PGresult *result;
        while ((result = PQgetResult(conn)))
            PQclear(result);
    }
    use("parent", conn);
}

static int is_child;

static void fork_on_notice(void *argument, const char *message)
{
    (void)argument;
    (void)message;
    if (is_child)
        return;
    pid_t pid = child_of(fork());
    if (pid == 0) {
        is_child = 1; /* and back into PQexec */
        stands("child's");
    } else {
        ended("ended", pid);
    }
}

static void from_notice(void)
{
    PQsetNoticeProcessor(conn, fork_on_notice, NULL);
    PQclear(PQexec(conn, "drop table if exists nosuch"));
    use(is_child ? "child" : "parent", conn);
    if (is_child)
        _exit(0);
}

/* Bytes that no call of libpq sends. */
static void past_the_gate(void)
{
    const char sql[] = "set my.a to 'by hand'";
    unsigned char message[100] = "Q";
    unsigned length = htonl(4 + sizeof sql);
    memcpy(message + 1, &length, 4);
    memcpy(message + 5, sql, sizeof sql);
    PQexec(conn, "select 1");
    if (send(PQsocket(conn), message, 5 + sizeof sql, 0) != 5 + sizeof sql)
        broken("send");
    /* The tag and ReadyForQuery, so that libpq is none the wiser. */
    struct pollfd wanted = {.fd = PQsocket(conn), .events = POLLIN};
    char answer[100];
    if (poll(&wanted, 1, 5000) != 1 || recv(wanted.fd, answer, sizeof answer, 0) < 10)
        broken("recv");
    if (in_child()) {
        use("child", conn);
        _exit(0);
    }
    fact("my.a", "%s", value(conn, "select current_setting('my.a', true)"));
    use("parent", conn);
}

static void heard(void)
{
    PGconn *other = dial(getenv("SECOND"));
    PQclear(PQprepare(conn, "twice", "select $1::int * 2", 1, NULL));
    command(conn, on_channel("listen"));
    int ready_pipe[2];
    char byte;
    if (pipe(ready_pipe))
        broken("pipe");
    pid_t pid = child_of(fork());
    if (pid == 0) {
        const char *const values[] = {"21"};
        PGresult *result = PQexecPrepared(conn, "twice", 1, values, NULL, NULL, 0);
        fact("prepared", "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : PQerrorMessage(conn));
        if (write(ready_pipe[1], "x", 1) != 1)
            _exit(1);
        PGnotify *news = NULL;
        for (int i = 0; i < 50 && !news; i++) {
            ready(PQsocket(conn), POLLIN, 100);
            PQconsumeInput(conn);
            news = PQnotifies(conn);
        }
        fact("news", "%s", news ? news->extra : "none");
        _exit(0);
    }
    if (read(ready_pipe[0], &byte, 1) == 1)
        command(other, on_channel("notify"));
    ended("ended", pid);
    use("parent", conn);
}

/* How many round trips a resume takes, by how much there is to replay. The proxy counts each change
 * of the speaker: two a round trip. */
/* The first thing that a child does is to ask for the unnamed statement, which it never made. */
static void unnamed(void)
{
    command(conn, "set my.a to 'inherited'");
    for (int way = 0; way < 7; way++) {
        if (!in_child())
            continue;
        PGresult *result = NULL;
        if (way == 4)
            PQclear(PQprepare(conn, "s1", "select 1", 0, NULL));
        if (way == 5)
            PQclear(PQexecParams(conn, "select 1 as its_own", 0, NULL, NULL, NULL, NULL, 0));
        if (way == 6)
            PQenterPipelineMode(conn);
        if (way == 0)
            result = PQexecPrepared(conn, "", 0, NULL, NULL, NULL, 0);
        else if (way == 1 || way == 6)
            PQsendDescribePrepared(conn, "");
        else if (way == 2)
            PQsendQueryPrepared(conn, "", 0, NULL, NULL, NULL, 0);
        else
            result = PQdescribePrepared(conn, "");
        if (way == 6)
            PQpipelineSync(conn);
        PGresult *next;
        while (!result || (next = PQgetResult(conn))) {
            if (!result)
                result = PQgetResult(conn);
            else
                PQclear(next);
        }
        fact("unnamed", "%s", PQresultStatus(result) == PGRES_COMMAND_OK ? PQfname(result, 0) : PQresultErrorField(result, PG_DIAG_SQLSTATE));
        PQclear(result);
        if (way == 6) {
            for (int i = 0; i < 4; i++)
                PQclear(PQgetResult(conn));
            PQexitPipelineMode(conn);
        }
        if (way != 0 && way != 2 && in_child()) { /* what the library sent itself is not the program's */
            use("child", conn);
            _exit(0);
        }
        _exit(0);
    }
}

static void round_trips(const char *conninfo)
{
    /* Milliseconds: what a client sends without waiting is there long before an answer to it. */
    enum { DELAY = 30 };
    int port;
    int listener = at_port(&port);
    trips = mmap(NULL, sizeof *trips, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (trips == MAP_FAILED)
        broken("mmap");
    pid_t pid = proxy(listener, server_port(conninfo), DELAY);
    char ports[20], sql[200];
    snprintf(ports, sizeof ports, "%d", port);
    for (int many = 1; many <= 200; many += 199) {
        int begin = atomic_load(trips);
        conn = dial(with_port(conninfo, "127.0.0.1", ports, ""));
        if (many == 1)
            fact("dial", "%d", (atomic_load(trips) - begin) / 2);
        for (int i = 0; i < many; i++) { /* in few round trips of their own */
            snprintf(sql, sizeof sql, "set my.s%d to 'value %d'", i, i);
            PQsendQuery(conn, sql);
            PGresult *result;
            while ((result = PQgetResult(conn)))
                PQclear(result);
        }
        begin = atomic_load(trips);
        if (many == 1) {
            use("parent", conn);
            fact("trip", "%d", (atomic_load(trips) - begin) / 2);
        }
        begin = atomic_load(trips);
        pid_t child = child_of(fork());
        if (child == 0) {
            use("child", conn);
            _exit(0);
        }
        ended("ended", child);
        fact(many == 1 ? "one" : "many", "%d", (atomic_load(trips) - begin) / 2);
        PQfinish(conn);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    const char *conninfo = argv[1], *what = argv[2], *more = argc > 3 ? argv[3] : "";
    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(what, "round trips")) {
        round_trips(conninfo);
        return 0;
    }
    if (!strcmp(what, "no answer")) {
        no_answer(conninfo);
        return 0;
    }
    if (!strcmp(what, "first host")) {
        first_host(conninfo);
        return 0;
    }
    conn = dial(conninfo);
    fact("backend", "%d", PQbackendPID(conn));
    if (!strcmp(what, "kept"))
        kept();
    else if (!strcmp(what, "received"))
        received();
    else if (!strcmp(what, "truth"))
        truth(more);
    else if (!strcmp(what, "dial fails"))
        dial_fails(more);
    else if (!strcmp(what, "changed"))
        changed(more);
    else if (!strcmp(what, "family"))
        families(conninfo, more);
    else if (!strcmp(what, "after"))
        after_statement(more);
    else if (!strcmp(what, "many settings"))
        many_settings(atoi(more));
    else if (!strcmp(what, "in the middle"))
        in_the_middle(more);
    else if (!strcmp(what, "from a notice"))
        from_notice();
    else if (!strcmp(what, "past the shims"))
        past_the_gate();
    else if (!strcmp(what, "unnamed"))
        unnamed();
    else if (!strcmp(what, "heard"))
        heard();
    else
        return 2;
    PQfinish(conn);
    return 0;
}
