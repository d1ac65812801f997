/* equal CONNINFO SEED SEQUENCES resumable|any|traps|tenants|settings: random changes of sessions in the parent, SESSIONS
 * of them at a time; then a fork. The child tells all that can be seen of each session, the parent
 * the same of its own, and both must agree, unless the child's was lost.
 *
 * The parent tells *after* the fork: what it asks cannot make the session opaque in the child. Where an administrator
 * has changed rights or defaults meanwhile ("tenants"), the child's session may be equal to one that is made after that, by
 * the same steps, instead.
 * Sequence i is made from SEED + i alone: "equal CONNINFO (SEED + i) 1 KIND" repeats it.
 * A step that breaks into a database with the tables and roles of `prepare_database`. */
#include "session.h"
#include <stdbool.h>
#include <sys/mman.h>
#include <time.h>

/* libpq 13 has no pipelines: there nothing is sent in one. */
#pragma weak PQpipelineStatus
#pragma weak PQenterPipelineMode
#pragma weak PQexitPipelineMode
#pragma weak PQpipelineSync
static PGpipelineStatus pipeline_status(const PGconn *conn)
{
    return PQpipelineStatus ? PQpipelineStatus(conn) : PQ_PIPELINE_OFF;
}
static int enter_pipeline(PGconn *conn)
{
    return PQenterPipelineMode ? PQenterPipelineMode(conn) : 0;
}
#define PQpipelineStatus pipeline_status
#define PQenterPipelineMode enter_pipeline

enum {
    SESSIONS = 20,
    ROOM = 512 << 10, /* bytes of one session's snapshot: about 350 settings of 60 bytes, and more */
    TRACE = 16 << 10,
};

/* Random numbers: splitmix64, one state for each sequence. */
static uint64_t state;

static uint64_t next(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static unsigned below(unsigned many)
{
    return next() % many;
}

static bool one_in(unsigned many)
{
    return below(many) == 0;
}

#define PICK(list) ((list)[below(sizeof(list) / sizeof *(list))])

struct text {
    char *bytes;
    size_t length, room;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *text, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    size_t left = text->room - text->length;
    int length = vsnprintf(text->bytes + text->length, left, format, list);
    va_end(list);
    text->length += (size_t)length < left ? (size_t)length : left ? left - 1 : 0;
}

/* A value of any length on one line: what is too long is cut, and then its length and hash tell. */
static void add_value(struct text *text, const char *value)
{
    if (!value) {
        add(text, "NULL");
        return;
    }
    uint64_t hash = 0xcbf29ce484222325;
    size_t length = strlen(value);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)value[i]) * 0x100000001b3;
    add(text, "'");
    for (size_t i = 0; i < length && i < 200; i++)
        add(text, value[i] == '\n' ? "\\n" : "%c", value[i]);
    add(text, length > 200 ? "'... %zu %llx" : "'", length, (unsigned long long)hash);
}

/* One sequence and its session. */
struct sequence {
    uint64_t seed;
    PGconn *conn;
    bool resumable;   /* only steps that can be made again: it must be resumed */
    bool left;        /* in the middle of a pipeline: nothing more is done to it */
    bool must_be_lost; /* something was done that no question shows, and nobody can do again */
    unsigned prepared;   /* names that were, in bits */
    int first_use;
    char unnamed[400]; /* as described before the fork; empty where it could not be asked */
    struct text trace;
};

static struct sequence *now; /* the one being made */
static bool traps, tenants;

/* What is tried, one after another: printed where a session came out different. */
static void __attribute__((format(printf, 1, 2))) note(const char *format, ...)
{
    char line[400];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    add(&now->trace, "    %s\n", line);
}

static void quiet(void *nothing, const char *message)
{
    (void)nothing;
    (void)message;
}

/* Commands, by every road that libpq has. */

/* Feeds or drains what a COPY opened. */
static void copied(PGconn *conn, ExecStatusType status)
{
    if (status == PGRES_COPY_IN) {
        PQputCopyData(conn, "7\n8\n", 4);
        PQputCopyEnd(conn, one_in(4) ? "changed my mind" : NULL);
    } else if (status == PGRES_COPY_OUT) {
        char *row;
        while (PQgetCopyData(conn, &row, 0) > 0)
            PQfreemem(row);
    }
}

static void results(PGconn *conn)
{
    PGresult *result;
    for (int i = 0; i < 10000 && (result = PQgetResult(conn)); i++) {
        copied(conn, PQresultStatus(result));
        PQclear(result);
        if (PQstatus(conn) == CONNECTION_BAD)
            return;
    }
}

static const char *outcome(PGconn *conn, PGresult *result)
{
    static char text[100];
    snprintf(text, sizeof text, "%s %s%s", PQresStatus(PQresultStatus(result)), PQcmdStatus(result),
             PQresultStatus(result) == PGRES_FATAL_ERROR ? PQerrorMessage(conn) : "");
    for (char *at = text; *at; at++)
        if (*at == '\n')
            *at = ' ';
    return text;
}

static void simple(const char *sql)
{
    PGresult *result = PQexec(now->conn, sql);
    note("PQexec: %.200s  -> %s", sql, outcome(now->conn, result));
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
        copied(now->conn, status);
        results(now->conn);
    }
}

/* One statement. */
static void run(const char *sql)
{
    PGconn *conn = now->conn;
    switch (below(8)) {
    case 0: {
        PGresult *result = PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
        note("PQexecParams: %.200s  -> %s", sql, outcome(conn, result));
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
            copied(conn, status);
            results(conn);
        }
        return;
    }
    case 1:
        note("PQsendQuery: %.200s", sql);
        if (PQsendQuery(conn, sql))
            results(conn);
        return;
    case 2:
        note("PQsendQuery, single rows: %.200s", sql);
        if (PQsendQuery(conn, sql)) {
            PQsetSingleRowMode(conn);
            results(conn);
        }
        return;
    case 3:
        note("PQsendQueryParams: %.200s", sql);
        if (PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0))
            results(conn);
        return;
    default:
        simple(sql);
    }
}

static void __attribute__((format(printf, 1, 2))) runf(const char *format, ...)
{
    static char sql[300 << 10];
    va_list list;
    va_start(list, format);
    vsnprintf(sql, sizeof sql, format, list);
    va_end(list);
    run(sql);
}

/* Values and names. */

static const char *const CUSTOM[] = {"my.a", "my.b", "my.c", "app.tenant", "app.x.y", "_q.r$1"};

static const char *custom(void)
{
    static const char *const written[] = {
        "my.a", "my.b", "my.c", "app.tenant", "app.x.y", "_q.r$1", "MY.a", "\"my\".a", "my.\"b\"",
        "My.C", "\"my.c\"", "\"MY\".a", "APP.tenant",
    };
    /* Whose names are in doubt. */
    static const char *const odd[] = {"my /* of mine */ . a", "U&\"my\".a", "U&\"m!0079\" uescape '!'.a", "my\n.b"};
    return now->resumable || one_in(2) ? PICK(written) : PICK(odd);
}

/* A string constant, quoted in some way. */
static const char *constant(void)
{
    static const char *const constants[] = {
        "'x'", "'y'", "''", "'O''Reilly'", "E'a\\\\b\\nc'", "E'\\x41\\u00e9\\''", "$$dollar$$",
        "$q$two $$ in$q$", "U&'d\\0061t\\+000061'", "'ab' \n 'cd'", "'; reset all; --'", "'/*'",
        "'back\\slash'", "e'tab\\t'", "N'national'", "'\xc3\xa9\xe2\x82\xac'", "$$'$$", "'$1'",
        "'42'", "'off'", "U&'d!0061t' uescape '!'",
    };
    return PICK(constants);
}

/* What SET takes. */
static const char *value_of_custom(void)
{
    static const char *const bare[] = {"on", "word", "\"Ident\"", "42", "-1", "+3", "1.5e3", "true", "x", "default", "DEFAULT"};
    return one_in(3) ? PICK(bare) : constant();
}

struct setting {
    const char *name;
    const char *values[6];
};

static const struct setting SETTINGS[] = {
    {"search_path", {"public", "alt, public", "'alt', \"public\"", "\"$user\", public", "''", "pg_catalog, alt"}},
    {"datestyle", {"German", "'ISO, DMY'", "SQL", "mdy", "'Postgres, YMD'", "iso, mdy"}},
    {"DateStyle", {"German", "ISO, DMY", "sql, dmy", "'YMD'", "default"}},
    {"\"DateStyle\"", {"'German'", "'ISO'", "'DMY'"}},
    {"intervalstyle", {"iso_8601", "sql_standard", "'postgres_verbose'", "postgres"}},
    {"TimeZone", {"'Europe/Berlin'", "'UTC'", "'America/New_York'", "'<+05>-05'", "default", "\"Asia/Tokyo\""}},
    {"standard_conforming_strings", {"on", "off", "'off'", "true", "0", "1"}},
    {"escape_string_warning", {"off", "on"}},
    {"backslash_quote", {"on", "off", "safe_encoding"}},
    {"client_encoding", {"'UTF8'", "LATIN1", "'WIN1252'", "sql_ascii", "EUC_JP", "utf8"}},
    {"extra_float_digits", {"0", "3", "-4", "'1'"}},
    {"bytea_output", {"escape", "hex"}},
    {"work_mem", {"'8MB'", "1024", "'1 GB'", "default"}},
    {"statement_timeout", {"0", "'10s'", "20000", "'1min'"}},
    {"lock_timeout", {"'5s'", "0"}},
    {"lc_messages", {"'C'"}},
    {"default_transaction_isolation", {"'serializable'", "'repeatable read'", "default"}},
    {"default_transaction_deferrable", {"on", "off"}},
    {"enable_seqscan", {"off", "on", "'f'", "no"}},
    {"application_name", {"'a ''name'''", "worker", "\"Quoted Name\"", "''", "E'e\\\\x'"}},
    {"client_min_messages", {"error", "warning", "'notice'"}},
    {"row_security", {"off", "on"}},
    {"xmlbinary", {"hex", "base64"}},
    {"xmloption", {"document", "content"}},
    {"transform_null_equals", {"on", "off"}},
    {"array_nulls", {"off", "on"}},
    {"quote_all_identifiers", {"on", "off"}},
    {"plan_cache_mode", {"force_generic_plan", "force_custom_plan", "auto"}},
    {"random_page_cost", {"1.1", "2", "1e1"}},
    {"temp_tablespaces", {"''", "pg_default", "'pg_default', pg_default"}},
    {"default_text_search_config", {"'pg_catalog.german'", "'simple'"}},
    {"log_min_messages", {"error", "fatal"}},
    {"session_replication_role", {"replica", "origin"}},
    {"vacuum_cost_delay", {"'2ms'", "0"}},
    {"synchronous_commit", {"on", "local"}},
};

static const char *value_for(const struct setting *setting)
{
    int many = 0;
    while (many < 6 && setting->values[many])
        many++;
    return setting->values[below(many)];
}

/* SET and RESET, in all forms. `scope`: "", "session ", "local ". */
static void set(const char *scope)
{
    const struct setting *setting = &PICK(SETTINGS);
    const char *to = one_in(2) ? "=" : one_in(2) ? " to " : "/* a \n /* nested */ */TO ";
    unsigned form = below(18);
    /* By what a text is read does not change in what must be resumed. */
    if (now->resumable && (form == 1 || strstr(setting->name, "encoding") || strstr(setting->name, "strings")))
        return;
    switch (form) {
    case 0: {
        static const char *const zones[] = {
            "'Europe/Berlin'", "-3.5", "+2", "0", "default", "local", "'UTC'", "interval '-08:00' hour to minute",
            "INTERVAL(0) '+5'", "utc", "\"Asia/Tokyo\"",
        };
        runf("SET %stime /**/ zone %s", scope, PICK(zones));
        return;
    }
    case 1: {
        static const char *const names[] = {"'UTF8'", "'LATIN1'", "", "default", "'SQL_ASCII'"};
        runf("set %snames %s", scope, PICK(names));
        return;
    }
    case 2: {
        static const char *const roles[] = {"one", "'two'", "none", "'none'", "\"one\""};
        if (one_in(4))
            runf("reset role");
        else
            runf("set %srole %s", scope, PICK(roles));
        return;
    }
    case 3: {
        static const char *const options[] = {"document", "content"};
        runf("set %sxml option %s", scope, PICK(options));
        return;
    }
    case 4:
        runf("select %sset_config(%s, %s, %s)%s", one_in(2) ? "pg_catalog." : "",
             one_in(2) ? "'my.a'" : "'work_mem'", one_in(2) ? "'77'" : "'2048'",
             *scope == 'l' ? "true" : "false", one_in(2) ? " as it" : "");
        return;
    case 5:
        if (*scope == 'l')
            break;
        runf("%s %s", one_in(2) ? "reset" : "RESET/**/", setting->name);
        return;
    case 6:
        if (*scope == 'l')
            break;
        runf("reset %s", custom());
        return;
    case 7:
    case 8:
    case 9:
    case 10:
    case 11:
        runf("set %s%s%s%s", scope, custom(), to, value_of_custom());
        return;
    case 12: {
        static const char *const modes[] = {
            "isolation level serializable", "isolation level read committed", "read write",
            "isolation level repeatable read, read write, deferrable", "not deferrable",
        };
        runf("set %ssession characteristics as transaction %s", *scope == 'l' ? scope : "", PICK(modes));
        return;
    }
    }
    runf("-- why\nset %s%s%s%s", scope, setting->name, to, value_for(setting));
}

/* Prepared statements. Those whose name begins with x are not executed by the snapshot. */

struct body {
    const char *sql;
    int parameters;
};

static const struct body BODIES[] = {
    {"select 1", 0},
    {"select $1::int + 1", 1},
    {"select '1.2.2003'::date", 0},
    {"select date '04/05/06'", 0},
    {"select '2020-01-01 12:00'::timestamptz", 0},
    {"select '2020-06-01 12:00'::timestamptz, now() - now()", 0},
    {"select 'a\\b', length('\\\\')", 0},
    {"select E'a\\\\b'", 0},
    {"select $1::text || coalesce(current_setting('my.a', true), 'nothing')", 1},
    {"select name from things order by 1", 0},
    {"select count(*) from things where name = $1", 1},
    {"insert into public.sink values ($1) returning 1", 1},
    {"values ($1, $2)", 2},
    {"select interval '1 day 2 hours 3 minutes'", 0},
    {"select interval '-1-2 +3 4:05:06'", 0},
    {"select 1/0", 0},
    {"select '\\101'::bytea", 0},
    {"select 1.0::float8 / 3", 0},
    {"select null = $1", 1},
    {"select '{1,NULL}'::text[]", 0},
    {"select xml '<a/>'", 0},
    {"select xml 'a<b/>'", 0},
    {"select to_tsvector('the dogs')", 0},
    {"update public.sink set a = a where a = $1", 1},
    {"select pg_typeof($1), $1", 1},
};

static const char *const STATEMENTS[] = {"s1", "s2", "s3", "\"S 4\"", "s5"};
static const char *const STATEMENTS_RAW[] = {"s1", "s2", "s3", "S 4", "s5"};
static const Oid TYPES[][2] = {{0, 0}, {23, 25}, {25, 25}, {20, 0}, {1043, 23}};
static const char *const ONES[] = {"1", "1", "1"};

static void prepare(void)
{
    const struct body *body = &PICK(BODIES);
    /* A setting that changes after a statement with constants was prepared is not followed. */
    while (now->resumable && (strchr(body->sql, '\'') || strstr(body->sql, "null")))
        body = &PICK(BODIES);
    unsigned place = below(5);
    PGconn *conn = now->conn;
    now->prepared |= 1u << place;
    switch (below(4)) {
    case 0: {
        int types = body->parameters && one_in(2) ? body->parameters : 0;
        const Oid *of = PICK(TYPES);
        note("PQprepare %s: %s (%d types: %u %u)", STATEMENTS_RAW[place], body->sql, types, of[0], of[1]);
        PQclear(PQprepare(conn, STATEMENTS_RAW[place], body->sql, types, types ? of : NULL));
        return;
    }
    case 1:
        note("PQsendPrepare %s: %s", STATEMENTS_RAW[place], body->sql);
        if (PQsendPrepare(conn, STATEMENTS_RAW[place], body->sql, 0, NULL))
            results(conn);
        return;
    default: {
        static const char *const types[] = {"", "(int, text)", "(text)", "(pg_catalog.int4, varchar(7))", "(int[])"};
        runf("prepare %s%s as %s", STATEMENTS[place], body->parameters ? PICK(types) : "", body->sql);
    }
    }
}

static void execute(void)
{
    unsigned place = below(5);
    if (!(now->prepared >> place & 1) && !one_in(20))
        return;
    if (one_in(2)) {
        note("PQexecPrepared %s", STATEMENTS_RAW[place]);
        PQclear(PQexecPrepared(now->conn, STATEMENTS_RAW[place], below(2), ONES, NULL, NULL, 0));
    } else {
        runf("execute %s%s", STATEMENTS[place], one_in(2) ? "(1)" : "");
    }
}

static void deallocate(void)
{
    runf("%s %s", one_in(2) ? "deallocate prepare" : "DEALLOCATE", one_in(6) ? "all" : PICK(STATEMENTS));
}

static void listen_(void)
{
    static const char *const channels[] = {"c1", "\"C Two\"", "c3", "C1"};
    if (one_in(3))
        runf("unlisten %s", one_in(3) ? "*" : PICK(channels));
    else
        runf("listen %s", PICK(channels));
}

/* What leaves the session as it is. */
static void harmless(void)
{
    static const char *const queries[] = {
        "select 1", "select * from things", "select name, upper(name) from things where length(name) > 1",
        "insert into sink values (1)", "select pg_sleep(0)", "select current_setting('my.a', true)",
        "show datestyle", "show all", "explain select 1", "table things", "values (1), (2)", "",
        "/* nothing */", "select clock_timestamp(), gen_random_uuid()", "copy things to stdout",
        "copy sink from stdin", "select 'set my.a to 1'",
        "select $$ set my.a to 1 $$", "with w as (select 1) select * from w", "delete from sink where a = -1",
        "update sink set a = a + 1 where a = -5", "begin; select 1; commit", "select 1; select 2",
        "-- set my.a to 1", "discard plans", "discard sequences", "discard temp", "notify nobody",
        "select /* set */ 1 -- my.a", "set constraints all deferred",
    };
    const char *sql = PICK(queries);
    if (strchr(sql, ';'))
        simple(sql);
    else
        run(sql);
}

/* What fails. */
static void failing(void)
{
    static const char *const statements[] = {
        "select 1/0", "set datestyle to nonsense", "set nosuch to 1", "set my.new to 1, 2", "reset nosuch", "select * from nosuch",
        "show my.nothing", "deallocate nosuch", "set work_mem to 'much'", "set role nosuch", "select * from things where",
        "set time zone 'Nowhere'", "insert into sink values (1/0)", "prepare bad as select * from nosuch", "set \"my.1 a\" to 'x'",
        "savepoint outside", "release savepoint nosuch", "copy sink (nosuch) from stdin", "rollback to nosuch",
    };
    /* Read with doubts. */
    static const char *const odd[] = {
        "selec 1", "select 'unterminated", "execute nosuch", "prepare bad as selec", "set 1x.y to 1", "listen", "set my. to 1",
        "set session authorization nosuch", "commit prepared 'nosuch'", "commit; selec", "set \"\".a to 1", "set my.a to 'x", "/* open",
    };
    run(now->resumable || !one_in(6) ? PICK(statements) : PICK(odd));
}

/* Statements in one text, that succeed. */
static void several(void)
{
    static const char *const texts[] = {
        "set my.a to 'm1'; set my.b = 'm2'", "set my.a to 'm3';; ; reset my.a;", "select 1; set my.c to 'after'; select 2",
        "begin; set my.a to 'm4'; commit", "begin; set my.a to 'm5'; rollback", "set my.b to 'm6'; begin; set my.a to 'm7'; rollback",
        "set my.b to 'm8'; commit; set my.c to 'm9'", "begin; set local my.a to 'm10'; commit; set my.b to 'm11'",
        "begin; savepoint a; set my.a to 'm12'; rollback to a; set my.b to 'm13'; commit",
        "set my.a to 'm14'; rollback", "set work_mem to 2048; set local work_mem to 4096",
        "set datestyle to german; select 1 /* ; reset all */; set datestyle to dmy -- ; reset all",
        "begin; set my.a to 'm15'; commit and chain; set my.b to 'm16'; rollback",
        "listen c1; listen c3; unlisten c1", 
        "begin; savepoint a; savepoint a; set my.a to 'm17'; release a; rollback to a; commit",
        "set local my.a to 'm18'; set my.a to 'm19'", "set my.a to 'm20'; set local my.a to 'm21'",
    };
    /* The second command of an extended protocol's text is refused: the text of one is a text. */
    simple(PICK(texts));
}

static void transaction(void)
{
    static const char *const ends[] = {"commit", "rollback", "end", "abort", "COMMIT work", "rollback transaction", "commit and no chain"};
    static const char *const begins[] = {"begin", "start transaction", "BEGIN work", "begin isolation level serializable", "begin read only"};
    run(PICK(begins));
    int depth = 0;
    for (unsigned left = below(6); left > 0; left--) {
        switch (below(9)) {
        case 0:
            runf("savepoint p%d", depth++ % 2);
            break;
        case 1:
            if (depth > 0)
                runf("rollback to %sp%d", one_in(2) ? "savepoint " : "", --depth % 2);
            break;
        case 2:
            if (depth > 0)
                runf("release %sp%d", one_in(2) ? "savepoint " : "", --depth % 2);
            break;
        case 3:
            if (one_in(3)) {
                failing();
                if (depth > 0)
                    runf("rollback to savepoint p%d", --depth % 2);
            }
            break;
        case 4:
            listen_();
            break;
        case 5:
        case 6:
            set("local ");
            break;
        case 7:
            set("");
            break;
        default:
            harmless();
        }
        if (PQtransactionStatus(now->conn) == PQTRANS_IDLE)
            return; /* harmless() may hold one of its own */
    }
    if (one_in(6)) {
        runf("%s and chain", one_in(2) ? "commit" : "rollback");
        set(one_in(2) ? "local " : "");
    }
    for (int i = 0; i < 3 && PQtransactionStatus(now->conn) != PQTRANS_IDLE; i++)
        run(i ? "rollback" : PICK(ends));
}

/* libpq's own state. */
static void libpq(void)
{
    PGconn *conn = now->conn;
    switch (below(3)) {
    case 0: {
        /* In SJIS a byte of a character may be a quote: such texts are not read. */
        static const char *const encodings[] = {"UTF8", "LATIN1", "latin1", "nonsense", "EUC_JP", "SJIS"};
        const char *encoding = encodings[below(now->resumable ? 5 : 6)];
        note("PQsetClientEncoding %s: %d", encoding, PQsetClientEncoding(conn, encoding));
        break;
    }
    case 1: {
        PGVerbosity verbosity = below(4);
        note("PQsetErrorVerbosity %d", verbosity);
        PQsetErrorVerbosity(conn, verbosity);
        break;
    }
    default: {
        int on = below(2);
        note("PQsetnonblocking %d: %d", on, PQsetnonblocking(conn, on));
    }
    }
}

/* One thing put into a pipeline. */
static void pipe_one(bool tame)
{
    PGconn *conn = now->conn;
    static const char *const queries[] = {
        "set my.a to 'p1'", "set my.b = 'p2'", "select 1", "set work_mem to 3072", "listen c3", "reset my.a",
        "set local my.c to 'p3'", "set datestyle to 'SQL, DMY'", "insert into sink values (3)", "unlisten *",
        "select set_config('my.b', 'p4', false)",
    };
    static const char *const wild[] = {
        "begin", "commit", "rollback", "select 1/0", "savepoint q", "rollback to q", "discard all", "set role one",
        "deallocate all", "release q", "selec", "prepare s3 as select 3", "execute s1", "set my.b to 'p5'",
    };
    switch (tame ? 9 : below(10)) {
    case 0:
        note("  in the pipeline: PQsendPrepare s1");
        PQsendPrepare(conn, "s1", "select 'p1', $1::int", 0, NULL);
        return;
    case 1:
        note("  in the pipeline: PQsendQueryPrepared s1");
        PQsendQueryPrepared(conn, "s1", 1, ONES, NULL, NULL, 0);
        return;
    case 2:
        note("  in the pipeline: PQsendDescribePrepared s2");
        PQsendDescribePrepared(conn, "s2");
        return;
    case 3:
    case 4:
    case 5: {
        const char *sql = PICK(wild);
        note("  in the pipeline: %s", sql);
        PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
        return;
    }
    default: {
        const char *sql = PICK(queries);
        note("  in the pipeline: %s", sql);
        PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
    }
    }
}

/* Tame: succeeds; false where it is left in the middle. */
static bool pipeline(bool tame)
{
    PGconn *conn = now->conn;
    if (!PQenterPipelineMode(conn))
        return true;
    note("pipeline:");
    int syncs = 0;
    for (unsigned left = 1 + below(8); left > 0; left--) {
        if (one_in(4)) {
            note("  sync");
            syncs += PQpipelineSync(conn);
        } else {
            pipe_one(tame);
        }
    }
    if (!tame && one_in(12)) {
        note("left so");
        return false;
    }
    note("  sync");
    syncs += PQpipelineSync(conn);
    for (int i = 0; i < 1000 && syncs > 0 && PQstatus(conn) == CONNECTION_OK; i++) {
        PGresult *result = PQgetResult(conn);
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
            syncs--;
        PQclear(result);
        if (!tame && one_in(40)) {
            note("left with %d syncs", syncs);
            return false;
        }
    }
    note("end of the pipeline: %d", PQexitPipelineMode(conn));
    return true;
}

/* What nobody can make again, or only guess. */
static void wild(void)
{
    static const char *const statements[] = {
        "create temp table held (a int)", "select 1 as a into temp held2", "select pg_advisory_lock(pg_backend_pid())",
        "select pg_try_advisory_lock(8)", "select changes()", "select pure()", "do $$ begin perform set_config('my.a', 'do', false); end $$",
        "declare kept cursor with hold for select 1", "select set_config('my.a', upper('computed'), false)",
        "select set_config(name, 'computed', false) from (values ('my.b')) v(name)", "update pg_settings set setting = '3MB' where name = 'work_mem'",
        "call changes_too()", "set session authorization one", "reset session authorization", "set session authorization default",
        "create table if not exists pg_temp.held3 (a int)", "select nextval('counter')", "select setval('counter', 100)",
        "explain analyze select changes()", "select set_config('my.c', '1', false), 1/0", "select 1 from set_config('my.a', 'from', false)",
        "prepare transaction 'nosuch'", "select pg_advisory_unlock_all()", "select lo_creat(-1)", "discard all", "reset all",
        "select pg_notify('c1', 'x')", "copy (select 1) to stdout", "prepare s1 as select changes()", "create temp view tv as select 1", "select set_config('my.b', null, false)",
        "select set_config('app.tenant', 't', true)", "begin; select set_config('my.c', 'in', false); rollback", "explain analyze execute s1",
        "create temporary sequence ts", "alter role one set work_mem to '1MB'", "select pg_reload_conf()", "set local my.c to 'loc'",
        "set search_path to pg_temp, public", "create table in_path (a int)", "drop table if exists in_path",
    };
    const char *sql = PICK(statements);
    /* Nothing holds a lock for which another of these sessions would wait. */
    bool locks = strchr("acd", *sql) && strncmp(sql, "call", 4) && strncmp(sql, "declare", 7) && strncmp(sql, "discard", 7);
    if (!locks || PQtransactionStatus(now->conn) == PQTRANS_IDLE)
        simple(sql);
}

static void hidden(void)
{
    static const char *const statements[] = {"select setseed(0.5)", "load 'auto_explain'"};
    simple(PICK(statements));
    now->must_be_lost = true;
}

static void overlapping(void)
{
    static const char *const texts[] = {"set my.a to 'o1'", "select 1", "begin", "select 1/0", "set my.b to 'o2'; set my.c to 'o3'"};
    const char *one = PICK(texts), *two = PICK(texts);
    note("PQsendQuery: %s; and before its answer PQexec: %s", one, two);
    PQsendQuery(now->conn, one);
    PQclear(PQexec(now->conn, two));
}

static void large(void)
{
    static char blank[200 << 10];
    memset(blank, 'x', sizeof blank - 1);
    switch (below(now->resumable ? 2 : 3)) {
    case 0:
        runf("set my.a to '%.*s'", (int)below(sizeof blank), blank);
        break;
    case 1:
        runf("select length('%s'), '/*' -- set", blank);
        break;
    default:
        runf("prepare s5 as select length('%.*s')", (int)below(sizeof blank), blank);
    }
}

/* A text made of several random statements: each may fail. */
static void text(void)
{
    static const char *const statements[] = {
        "set my.a to 't1'", "begin", "commit", "rollback", "savepoint z", "rollback to z", "release z", "select 1/0", "set local my.b to 't2'",
        "reset my.a", "set datestyle to german", "prepare s2 as select date '1.2.2003'", "deallocate s2", "listen c1", "reset all", "select 1",
        "commit and chain", "rollback and chain", "unlisten *", "selec", "set my.c to 't3'", "select set_config('my.b', 't4', false)",
    };
    char sql[1000] = "";
    for (unsigned left = 1 + below(5); left > 0; left--) {
        strcat(sql, PICK(statements));
        strcat(sql, left > 1 || one_in(2) ? "; " : "");
    }
    simple(sql);
}

/* Whose bytes mean what the settings of their moment say. */
static void strings(void)
{
    static const char *const statements[] = {
        "set standard_conforming_strings to off", "set standard_conforming_strings to on", "reset standard_conforming_strings",
        "set client_encoding to 'LATIN1'", "set client_encoding to 'UTF8'", "reset client_encoding", "set names 'WIN1252'",
        "set my.a to 'back\\\\slash'", "set my.b to 'a\\tb'", "set my.c to '\xc3\xa9'", "set application_name to 'x\\\\y'",
        "listen \"\xc3\xa9\"", "listen \"\xe9\"", "prepare s4 as select 'a\\\\b', '\xc3\xa9'",
    };
    for (int i = 0; i < 4; i++) {
        const char *sql = PICK(statements);
        if (!now->resumable || *sql != 'p')
            run(sql);
    }
}

/* Statements whose names the snapshot leaves alone, and parameters. */
static void odd_prepared(void)
{
    static const char *const bodies[] = {
        "set my.a to 'by x1'", "begin", "commit", "listen c3", "select set_config('my.b', 'by x1', false)", "select set_config('my.b', $1, false)",
        "select changes()", "deallocate s1", "reset all", "unlisten *", "select 1", "savepoint x", "rollback", "select set_config($1, '1', false)",
    };
    static const char *const names[] = {"", "x1", "x2"};
    static const char *const values[] = {"my.c"};
    const char *name = PICK(names), *body = PICK(bodies);
    switch (below(4)) {
    case 0:
        note("PQexecParams: %s ('my.c')", body);
        PQclear(PQexecParams(now->conn, body, strchr(body, '$') != NULL, NULL, values, NULL, NULL, 0));
        return;
    case 1:
    case 2:
        note("PQprepare '%s': %s", name, body);
        PQclear(PQprepare(now->conn, name, body, 0, NULL));
    }
    note("PQexecPrepared '%s'", name);
    PQclear(PQexecPrepared(now->conn, name, one_in(3), values, NULL, NULL, 0));
}

/* Traps: statements one by one, until the empty one. */
static const char *const TRAPS[][12] = {
    /* A text that leaves a failed transaction before it commits. */
    {"begin", "set work_mem to '7MB'", "savepoint s", "select 1/0", "rollback to s; commit"},
    {"begin", "select 1/0", "rollback; begin; set work_mem to '7MB'; commit"},
    /* The server reads a whole text before it runs any of it. */
    {"set client_encoding to 'LATIN1'; set my.a to '\xc3\xa9'"},
    {"set standard_conforming_strings to off; set my.a to 'x\\ny'"},
    /* Analysed once, and good for ever. */
    {"prepare s1 as select 'now'::timestamptz"},
    {"prepare s1 as select e'n\\x6fw'::timestamptz"},
    /* Analysed under what a savepoint's end takes back. */
    {"begin", "savepoint s", "prepare s1 as select '01/02/2024'::date from things", "set datestyle to 'ISO, DMY'", "analyze things", "execute s1", "rollback to s", "commit"},
    /* Prepared, and perhaps not executed. */
    {"prepare s1 as select 1", "explain execute s1", "set my.a to 'x'"},
    {"set transaction_isolation to serializable", "begin", "set transaction_isolation to 'repeatable read'", "commit", "set my.a to 'x'"},
    {"set standard_conforming_strings to off", "set my.a to 'a\\\\b'", "set standard_conforming_strings to on"},
    {"set client_encoding to 'LATIN1'", "set my.a to '\xc3\xa9'", "set client_encoding to 'UTF8'"},
    {"set client_encoding to 'LATIN1'", "set my.a to '\xc3\xa9'", "reset client_encoding"},
    {"set standard_conforming_strings to off", "listen a", "set application_name to 'a\\\\b'", "reset all"},
    /* A changed search_path has a prepared statement analysed again, under what is set then. */
    {"set datestyle to dmy", "prepare s1 as select date '04/05/06'", "set search_path to alt", "execute s1", "set datestyle to mdy"},
    {"set datestyle to dmy", "prepare s1 as select date '04/05/06'", "set search_path to alt", "set datestyle to mdy"},
    {"set datestyle to dmy", "prepare s1 as select date '04/05/06', count(*) from things", "set role one", "execute s1", "set datestyle to mdy"},
    {"prepare s1 as select '2020-06-01 12:00'::timestamptz, count(*) from things", "set timezone to 'Asia/Tokyo'", "truncate gone", "execute s1", "reset timezone"},
    {"set timezone to 'Asia/Tokyo'", "prepare s1 as select '2020-06-01 12:00'::timestamptz from gone", "alter table gone add b int", "reset timezone"},
    {"set timezone to 'Asia/Tokyo'", "prepare s1 as select '2020-06-01 12:00'::timestamptz from gone", "alter table gone add c int", "execute s1", "reset timezone"},
    {"prepare s1 as select '2020-06-01 12:00'::timestamptz from things", "set timezone to 'Asia/Tokyo'", "alter table things add d int", "execute s1", "reset timezone"},
    {"set timezone to 'Asia/Tokyo'", "prepare s1 as select '2020-06-01 12:00'::timestamptz from things", "analyze things", "reset timezone"},
    {"set timezone to 'Asia/Tokyo'", "prepare s1 as select '2020-06-01 12:00'::timestamptz from things", "reset all"},
    {"prepare s1 as select date '04/05/06' from things", "begin", "set local datestyle to dmy", "analyze things", "execute s1", "commit"},
    {"begin", "set local standard_conforming_strings to off", "set my.a to 'a\\\\b'", "commit"},
    {"set client_encoding to 'LATIN1'", "listen \"\xc3\xa9\"", "set client_encoding to 'UTF8'", "listen \"\xc3\xa9\""},
    {"set client_encoding to 'LATIN1'", "listen \"\xc3\xa9\"", "reset all"},
    {"begin", "insert into deferred values (1), (1)", "set my.a to 'x'", "commit"},
    {"begin", "insert into deferred values (1), (1)", "set my.a to 'x'", "commit and chain", "set my.b to 'y'", "commit"},
    {"begin; insert into deferred values (1), (1); set my.a to 'x'; commit"},
    {"begin", "set my.a to 'x'", "insert into deferred values (1), (1)", "set constraints all immediate", "rollback"},
    {"set my.a to 'x'; insert into deferred values (1), (1)"},
    {"begin", "declare c cursor for select 1", "fetch c", "set my.a to 'x'", "close c", "commit"},
    {"begin", "savepoint a", "set my.a to 'x'", "savepoint a", "set my.a to 'y'", "release a", "rollback to a", "set my.b to 'z'", "commit"},
    {"begin", "set my.a to 'x'", "savepoint a", "reset my.a", "rollback to a", "set local my.b to 'y'", "commit"},
    {"begin", "set my.a to 'x'", "set local my.a to 'y'", "commit"},
    {"begin", "set local my.a to 'x'", "set my.a to 'y'", "savepoint a", "set local my.a to 'z'", "release a", "commit"},
    {"set my.a to 'x'", "begin", "set local my.a to 'y'", "commit"},
    {"set my.a to 'x'", "begin", "reset all", "rollback"},
    {"begin", "reset all", "set my.a to 'x'", "reset my.a", "commit"},
    {"set my.a to default"},
    {"reset my.a"},
    {"set local my.a to 'x'"},
    {"select set_config('my.a', null, false)"},
    {"set my.a to 'x'", "select set_config('my.a', null, false)"},
    {"set role one", "reset all"},
    {"set role one", "discard all"},
    {"set role one", "set my.a to 'x'", "set role two"},
    {"begin", "set local role one", "set my.a to 'x'", "commit"},
    {"set log_min_messages to fatal", "set role one", "reset role", "set log_min_messages to error", "set role one"},
    {"set session authorization one", "set role two"},
    {"set session authorization one", "reset session authorization"},
    {"set session authorization one", "set work_mem to 2048", "reset session authorization"},
    {"set datestyle to german", "set datestyle to ymd", "set datestyle to iso"},
    {"set xml option document", "prepare s1 as select xml '<a/>'", "set xml option content"},
    {"set transform_null_equals to on", "prepare s1 as select null = $1", "set transform_null_equals to off"},
    {"set array_nulls to off", "prepare s1 as select '{1,NULL}'::text[]", "set array_nulls to on"},
    {"set intervalstyle to sql_standard", "prepare s1 as select interval '-1-2 3 4:05:06'", "reset intervalstyle"},
    {"set search_path to alt", "prepare s1 as select name from things", "set search_path to public"},
    {"begin", "set search_path to alt", "prepare s1 as select name from things", "rollback"},
    {"begin", "set local datestyle to dmy", "prepare s1 as select date '04/05/06'", "commit"},
    {"begin", "savepoint a", "set datestyle to dmy", "prepare s1 as select date '04/05/06'", "rollback to a", "commit"},
    {"begin", "prepare s1 as select 1", "rollback"},
    {"prepare s1 as select 1", "begin", "deallocate s1", "rollback"},
    {"begin", "deallocate all", "prepare s1 as select 2", "rollback"},
    {"begin", "listen c1", "rollback", "begin", "unlisten c3", "listen c3", "commit"},
    {"listen c1", "begin", "unlisten *", "rollback"},
    {"set session characteristics as transaction isolation level serializable", "set default_transaction_isolation to 'read committed'"},
    {"set session characteristics as transaction read only", "set session characteristics as transaction isolation level serializable, read write"},
    {"set default_transaction_read_only to on", "set my.a to 'x'"},
    {"set my.a to 'x'; select 1/0"},
    {"set my.a to 'x'; begin; select 1/0", "rollback"},
    {"begin; select 1/0", "rollback; set my.a to 'x'"},
    {"begin; select 1/0", "commit; set my.a to 'x'"},
    {"begin", "select 1/0", "commit; set my.a to 'x'"},
    {"begin", "set my.a to 'x'", "select 1/0", "commit; set my.b to 'y'"},
    {"begin; set my.a to 'x'; commit; set my.b to 'y'; begin; set my.c to 'z'; rollback"},
    {"begin; commit; set my.a to 'x'; select 1/0"},
    {"prepare s1 as select 1; deallocate s1; prepare s1 as select 2"},
    {"prepare s1 as select 1", "prepare s1 as select 2"},
    {"begin", "set my.a to 'x'", "prepare transaction 'nosuch'"},
    {"declare c cursor with hold for select 1"},
    /* Names that are spelled by escapes. */
    {"select set_config(E'my.\\x61', 'x', false)"},
    {"select set_config(U&'my.\\0061', 'x', false)"},
    {"select set_config(U&'my.!0061' uescape '!', 'x', false)"},
    {"select set_config('my.'\n'a', 'x', false), set_config($$my.b$$, 'y', false)"},
    {"select set_config(N'my.a', 'x', false)"},
    {"set standard_conforming_strings to off", "select set_config('my.\\141', 'x', false)"},
    {"select set_config(E'search\\x5fpath', 'pg_temp', false)", "create table in_pg_temp (a int)"},
    {"begin", "select set_config(E'my.\\x61', 'x', true)", "commit"},
    {"=s1 select set_config(E'my.\\x61', $1, false)", "execute s1"},
    /* Temporary objects that are gone. */
    {"!create temp table t (a serial)", "insert into t values (default)", "drop table t"},
    {"!create temp table if not exists \"T t\" (a int)", "select * from pg_temp.\"T t\"", "drop table if exists \"T t\" cascade"},
    {"!create temp table t (a int)", "discard temp"},
    {"!create temp table t (a int); create temp view v as select * from t", "discard all"},
    {"!begin", "create temp table t (a int)", "rollback"},
    {"!begin", "create temp table t (a int)", "select 1/0", "commit"},
    {"!begin", "savepoint a", "create temp table t (a int)", "insert into t values (1)", "rollback to a", "commit"},
    {"!begin", "create temp table t (a int) on commit drop", "insert into t values (1)", "commit"},
    {"!begin; create temp table t on commit drop as select 1; commit"},
    {"!create temp table t (a int) on commit drop"},
    {"!begin", "savepoint a", "create temp table t (a int) on commit drop", "release a", "commit and chain", "commit"},
    {"!create table pg_temp.t (a int)", "drop table pg_temp.t"},
    {"!select 1 as a into temp t", "alter table t add primary key (a)", "drop table t"},
    {"!select 1 as a into pg_temp.t", "create temp sequence s", "create or replace temp view v as select 1", "drop view v", "drop sequence s", "drop table \"t\""},
    {"!create temp table t (a int)", "create temp table u (a int)", "drop table t, pg_temp.u"},
    {"!create temp table t (a int)", "begin", "drop table t", "create temp table t (b int) on commit drop", "commit"},
    {"!create temp table t (a int)", "create view v as select * from t", "drop table t cascade"},
    {"!|create temp table t (a int)", "|", "|drop table t"},
    {"=s1 create temp table t (a int)", "=x1 drop table t", "execute s1", "execute x1", "execute s1", "execute x1"},
    {"!=s1 select 1 as one", "create temp table zz (a int)", "drop table zz"},
    {"!=s1 select 1 as one", "begin", "create temp table t (a int) on commit drop", "create table if not exists t17 as select * from t", "commit", "deallocate s1"},
    {"create temp table t (a int)", "drop table public.t"},
    {"create temp table things (a int)", "drop table alt.gone"},
    {"create temp table t (a int)", "begin", "drop table t", "rollback"},
    {"create temp table t (a int)", "begin", "savepoint a", "drop table t", "rollback to a", "commit"},
    {"create temp table t (a int)", "create temp table if not exists t (a int) on commit drop"},
    {"begin", "create temp table t (a int) on commit drop", "drop table t", "create temp table t (a int)", "commit"},
    {"create temp table t (a int) on commit delete rows"},
    {"create temp table \"T\" (a int)", "drop table if exists t"},
    {"create temp table t (a int)", "drop table t; select 1/0"},
    {"create temp table t (a int)", "begin; drop table t; select 1/0", "rollback"},
    {"create temp table t (a int)", "|drop table t", "|select 1/0"},
    {"create table t18 (a int)", "create temp table t (a int)", "alter table t rename to u", "drop table t18"},
    {"create table t19 (a int)", "create temp table t19 (a int)", "alter table t19 rename to u", "drop table t19"},
    {"create table t20 (a int)", "create temp table t20 (a int)", "alter index t20 rename to u", "drop table t20"},
    {"create table t21 (a int)", "create temp table t21 (a int)", "alter table t21 rename to u; commit; select 1/0", "drop table t21"},
    {"create temp table t (a serial)", "alter sequence t_a_seq owned by none", "drop table t"},
    {"create temp table p (a int) partition by list (a)", "create temp table q partition of p default", "alter table p detach partition q", "drop table p"},
    {"create temp table t (a int)", "create function pg_temp.f() returns int language sql as 'select 1'", "drop table t"},
    {"create domain pg_temp.d as int"},
    {"create temp table t (a int)", "select changes()", "drop table t"},
    {"explain analyze create temp table t as select 1 as a"},
    {"explain analyze select 1 as a into temp t"},
    {"explain create temp table t as select 1 as a"},
    {"=s1 create temp table t as select 1 as a", "explain analyze execute s1"},
    /* What was prepared while it hid another table, or before. */
    {"create temp table things (name int)", "=s1 select name from things where name = $1", "drop table things"},
    {"=s1 select name from things where name = $1", "create temp table things (name int)", "execute s1", "drop table things"},
    {"begin", "create temp table things (name int) on commit drop", "=s1 select name from things where name = $1", "commit"},
    {"begin", "create temp table things (name int)", "=s1 select name from things where name = $1", "rollback"},
    {"begin", "savepoint a", "create temp table things (name int)", "prepare s1 as select name from things where name = $1", "rollback to a", "commit"},
    {"begin", "create temp table of_role (a int) on commit drop", "create view things as select a as name from of_role", "=s1 select name from things where name = $1", "commit"},
    {"begin", "create temp table of_role (a int) on commit drop", "create view things as select a as name from of_role", "create temp table zz (a int) on commit drop", "=s1 select name from things where name = $1", "commit"},
    {"create temp table of_role (a int)", "create view things as select a as name from of_role", "=s1 select name from things where name = $1", "discard temp"},
    {"begin", "create temp table t (a int) on commit drop", "create table t22 as select 1 as n, t from t", "=s1 insert into t22 values ($1, null)", "commit"},
    {"create temp table things (name int)", "=s1 select name from things where name = $1", "discard temp"},
    /* PL/pgSQL keeps the types that it has looked up, in a function that only the user vouches for. */
    {"create temp table things (name int)", "select typed()", "drop table things"},
    {"begin", "create temp table things (name int)", "select typed()", "rollback"},
    {"!select typed()"},
    {"select pg_advisory_lock(pg_backend_pid())", "discard all"},
    {"select changes()", "discard all"},
    {"set lc_messages to 'C'", "set lc_time to 'C'", "set lc_numeric to 'C'"},
    {"set statement_timeout to 50", "select pg_sleep(1)", "set my.a to 'x'"},
    {"set my.a to 'x'", "set transaction_read_only to on"},
    {"set \"My.A\" to 'x'", "set my.a to 'y'"},
    {"set my.\"a b\" to 'x'"},
    {"set my.a to 'x', 'y'"},
    {"set my.a to on", "set my.b to 1.50", "set my.c to 007"},
    {"set seed to 0.5"},
    {"set work_mem to '1GB'", "set work_mem to 1"},
    {"do ''"},
    {"explain analyze select changes()"},
    {"select current_setting('my.a', true), set_config('my.a', 'x', false)"},
    {"SELECT pg_catalog.set_config('search_path', '', false)"},
    {"set my.a to 'x' -- a comment\n"},
    {"set my.a /* ; reset all */ to /* */ 'x';"},
    {"\t;;set my.a to 'x';;"},
    {"set my.a to 'x'\n'y'"},
    {"set time zone interval '-08:30' hour to minute"},
    {"set intervalstyle to sql_standard", "set time zone interval '-08:30' hour to minute", "set intervalstyle to postgres"},
    {"set local time zone default", "begin", "set time zone default", "set local time zone 'UTC'", "commit"},
    /* By what a text in a pipeline is read, one before it may have changed. */
    {"set standard_conforming_strings to off", "|set standard_conforming_strings to on", "|select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"set standard_conforming_strings to off", "|set standard_conforming_strings to on", "|", "|select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"set standard_conforming_strings to off", "|reset standard_conforming_strings", "|select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"set standard_conforming_strings to off", "|reset all", "|select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"set standard_conforming_strings to off", "|select set_config('standard_conforming_strings', 'on', false)", "|=s1 select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"=x1 set standard_conforming_strings to on", "set standard_conforming_strings to off", "|select 1", "|execute x1", "|select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"begin", "set local standard_conforming_strings to off", "|commit", "|select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"begin", "savepoint a", "set standard_conforming_strings to off", "|rollback to a", "|select 'a\\', set_config('app.tenant', 't2', false) --'", "|commit"},
    {"|set local standard_conforming_strings to off", "|", "|select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"|set standard_conforming_strings to off", "|select 1/0", "|", "|select 'a\\', set_config('app.tenant', 't2', false) --'"},
    {"|set client_encoding to 'SJIS'", "|set my.a to '\x83\x5c'", "|set my.b to '\x83\x27'"},
    /* They change nothing of it. */
    {"!select 1", "|set my.a to 'x'", "|set my.b to 'a\\b'", "|select E'a\\'', ''"},
    {"set standard_conforming_strings to off", "|set my.a to 'x'", "|", "|select 'a\\'', '"},
    /* Settings that a library owns, which is loaded when one of its functions is called. */
    {"begin", "set local pg_trgm.similarity_threshold = 0.5", "select 'a' % 'b'", "commit"},
    {"select 'a' % 'b'", "begin", "set local pg_trgm.similarity_threshold = 0.5", "commit"},
    {"select 'a' % 'b'", "begin", "set pg_trgm.similarity_threshold = 0.5", "rollback"},
    {"set pg_trgm.similarity_threshold = 0.5", "select 'a' % 'b'", "reset pg_trgm.similarity_threshold"},
    {"set pg_trgm.similarity_threshold = 0.5", "select 'a' % 'b'", "reset all"},
    {"set pg_trgm.similarity_threshold = 0.5", "select 'a' % 'b'", "discard all"},
    {"set pg_trgm.similarity_threshold = 0.50", "select 'a' % 'b'"},
    {"select 'a' % 'b'", "set \"PG_trgm\".similarity_threshold to '5e-1'"},
    {"begin", "set local plpgsql.variable_conflict = use_column", "insert into noted values (1)", "commit"},
    {"!set pg_trgm.similarity_threshold = 0.5", "select 'a' % 'b'"},
    {"!begin", "set local pg_trgm.similarity_threshold = 0.5", "set pg_trgm.similarity_threshold = '0.7'", "select 'a' % 'b'", "commit"},
    {"!begin", "set local app.x.y = 'l'", "select 'a' % 'b'", "commit"},
    /* What is over. */
    {"!declare c cursor with hold for select 1", "fetch c", "close c"},
    {"!declare \"C 1\" no scroll cursor with hold for select 1", "close \"C 1\""},
    {"!declare c cursor with hold for select 1", "begin", "close c", "rollback"},
    {"!begin", "declare c cursor with hold for select 1", "rollback"},
    {"!begin", "savepoint a", "declare c cursor with hold for select 1", "rollback to a", "commit"},
    {"!declare c cursor with hold for select 1", "declare d cursor with hold for select 1", "close all"},
    {"!declare c cursor with hold for select 1", "discard all"},
    {"declare c cursor with hold for select 1", "close d"},
    {"declare c cursor with hold for select 1", "declare d cursor with hold for select 1", "close d"},
    {"declare c cursor with hold for select 1", "declare \"C\" cursor with hold for select 1", "close \"C\""},
    {"declare c cursor with hold for select 1", "close c; select 1/0"},
    {"begin", "declare c cursor with hold for select 1", "commit"},
    {"begin", "declare c cursor with hold for select 1", "declare d cursor with hold for select 1 / (a - a) from generate_series(1, 1) as a", "commit"},
    {"begin", "declare d cursor with hold for select 1", "declare c cursor with hold for select 1 / (a - a) from generate_series(1, 1) as a", "commit"},
    {"begin", "declare c cursor with hold for select 1", "commit and chain", "rollback"},
    {"!begin", "declare c cursor with hold for select 1", "savepoint a", "close c", "rollback to a", "commit"},
    {"!declare C cursor with hold for select 1", "close \"c\"", "declare c cursor with hold for select 1", "close c"},
    {"declare c cursor with hold for select 1", "close \"C\""},
    {"declare c cursor with hold for select 1", "begin", "declare d cursor with hold for select 1", "close d", "discard all", "rollback"},
    {"!begin", "declare c cursor with hold for select 1", "select 1/0"},
    {"begin", "declare c cursor with hold for select 1"},
    {"begin", "declare c cursor with hold for select 1", "close c"},
    {"explain declare c cursor with hold for select 1", "select 1"},
    {"!|declare c cursor with hold for select 1", "|", "|close c"},
    {"|declare c cursor with hold for select 1", "|", "|close c", "|select 1/0"},
    {"=s1 declare c cursor with hold for select 1", "execute s1"},
    {"begin", "declare c cursor with hold for select 1", "savepoint a", "rollback to a", "commit"},
    {"declare c cursor with hold for select changes()", "close c"},
    {"!listen c1", "listen c3", "unlisten *"},
    {"!set my.a to 'x'", "listen c1", "=s1 select 1", "discard all"},
    {"!set my.a to 'x'", "listen c1", "discard all", "set my.b to 'y'", "listen c3"},
    {"!select pg_advisory_lock(811)", "select pg_advisory_unlock(811)"},
    {"!select pg_try_advisory_lock(812, -1)", "begin", "SELECT pg_catalog.pg_advisory_unlock(812, -1);", "rollback"},
    {"!select pg_advisory_lock(813)", "select pg_advisory_lock(813)", "select pg_advisory_unlock(813)", "select pg_advisory_unlock(813)"},
    {"!select pg_advisory_lock_shared(814)", "select pg_advisory_lock(815)", "select pg_advisory_unlock_all()"},
    {"!select pg_advisory_lock(816)", "discard all"},
    {"select pg_advisory_lock(817)", "select pg_advisory_lock(817)", "select pg_advisory_unlock(817)"},
    {"select pg_advisory_lock(818)", "select pg_advisory_unlock_shared(818)"},
    {"select pg_advisory_lock(819)", "select pg_advisory_unlock(8190)"},
    {"begin", "select pg_advisory_lock(820)", "rollback"},
    {"begin", "select pg_advisory_lock(823)", "select 1/0"},
    {"begin", "savepoint a", "select pg_advisory_lock(824)", "rollback to a", "commit"},
    {"begin", "select pg_advisory_lock(825)", "select pg_advisory_unlock(825)"},
    {"!begin", "select pg_advisory_lock(826)", "select pg_advisory_unlock(826)", "select 1/0"},
    {"!begin", "select pg_advisory_lock(827)", "select pg_advisory_unlock(827)", "rollback"},
    {"begin", "select pg_advisory_lock(828)", "select 1/0", "select pg_advisory_unlock(828)", "select pg_advisory_unlock_all()", "rollback"},
    {"select pg_advisory_lock(829, 1)", "select pg_advisory_unlock(829)"},
    {"select pg_advisory_lock(830)", "select pg_advisory_unlock(0, 830)"},
    {"!select pg_advisory_unlock(831)", "select 1"},
    {"!select pg_advisory_lock(832)", "select pg_advisory_unlock(832)", "select pg_advisory_unlock(832)"},
    {"select pg_advisory_unlock(833)", "select pg_advisory_lock(833)"},
    {"prepare s1 as select pg_advisory_lock(834)", "execute s1"},
    {"=s1 select pg_advisory_lock(835)", "execute s1", "execute s1", "select pg_advisory_unlock(835)"},
    {"!=s1 select pg_advisory_lock(836)", "execute s1", "execute s1", "select pg_advisory_unlock(836)", "select pg_advisory_unlock(836)"},
    {"select pg_advisory_lock(837)", "begin", "discard all", "rollback"},
    {"select pg_advisory_lock(838)", "select pg_advisory_unlock(838); select 1/0"},
    {"select pg_advisory_lock(839); select 1/0"},
    {"select pg_advisory_lock_shared(840)", "select pg_advisory_lock(840)", "select pg_advisory_unlock_shared(840)"},
    {"select pg_advisory_lock(841)", "explain select pg_advisory_unlock(841)"},
    {"select pg_advisory_lock(842)", "prepare s1 as select pg_advisory_unlock(842)"},
    /* A function of the user's has the name: the server knows that the lock is held. */
    {"create function pg_advisory_unlock(int) returns boolean language sql as 'select true'", "select pg_advisory_lock(843)", "select pg_advisory_unlock(843)", "drop function pg_advisory_unlock(int)"},
    {"select pg_advisory_lock(821) from things", "select pg_advisory_unlock(821)"},
    {"select pg_advisory_lock(822), 1/0", "select pg_advisory_unlock(8220)"},
    /* The types of parameters and columns are those of the moment of the PREPARE. */
    {"create table e1 (a int)", "=s1 insert into e1 values ($1)", "alter table e1 alter a type real"},
    {"create table e2 (a int)", "prepare s1 as insert into e2 values ($1)", "alter table e2 alter a type real"},
    {"create table e3 (a int)", "begin", "alter table e3 alter a type real", "=s1 insert into e3 values ($1)", "rollback"},
    {"create table e4 (a int)", "begin", "alter table e4 alter a type real", "savepoint a", "=s1 insert into e4 values ($1)", "rollback to a", "rollback"},
    {"create table e5 (a int)", "|=s1 insert into e5 values ($1)", "|alter table e5 alter a type real"},
    {"create table e6 (a int)", "=x1 alter table e6 alter a type real", "=s1 insert into e6 values ($1)", "execute x1"},
    {"create table alt.e7 (a real)", "set search_path to public, alt", "=s1 insert into e7 values ($1)", "create table public.e7 (a int)"},
    {"create table alt.e8 (a real)", "set search_path to public, alt", "=s1 insert into e8 values ($1)", "select 1 as a into public.e8"},
    {"create table alt.e9 (a real)", "set search_path to public, alt", "=s1 insert into e9 values ($1)", "create table public.e9 as execute nosuch", "create table public.e9 as select 1 as a"},
    {"create table e10 (a int)", "=s1 select a from e10 where a = $1", "drop table e10; create table e10 (a text)"},
    {"create table e11 (a int); create view e12 as select a from e11", "=s1 select * from e12 where a = $1", "drop view e12", "create view e12 as select a::text as a from e11"},
    {"create table e13 (a int)", "=s1 select a from e13 where a = $1", "alter table e13 alter a type real; selec"},
    {"create domain e14 as int", "set search_path to public, alt", "=s1 select $1::e14", "drop domain e14", "create domain e14 as text"},
    {"!=s1 select $1::int from things", "create table e15 (a int)", "drop table e15", "create index on sink (a)", "drop view if exists e15"},
    {"!create table e16 (a int)", "=s1 insert into e16 values ($1)", "alter table e16 alter a type real", "deallocate s1", "=s1 insert into e16 values ($1)"},
    {"!begin", "create table e17 (a int)", "=s1 insert into e17 values ($1)", "commit"},
};

/* A `!` before the first: this must be made again. `=NAME TEXT` is prepared by libpq's own call; `|…` stands in a pipeline with its neighbours, and `|` alone is a sync. */
static void trap(uint64_t number)
{
    const char *const *statements = TRAPS[number % (sizeof TRAPS / sizeof *TRAPS)];
    PGconn *conn = now->conn;
    int syncs = 0;
    for (int i = 0; i < 12 && statements[i]; i++) {
        const char *sql = statements[i];
        if (*sql == '!') {
            now->resumable = true;
            sql++;
        }
        bool piped = *sql == '|';
        if (piped)
            sql++;
        if (piped && PQpipelineStatus(conn) == PQ_PIPELINE_OFF && !PQenterPipelineMode(conn))
            return;
        char name[64] = "";
        bool prepared = *sql == '=';
        if (prepared) {
            size_t length = strcspn(sql + 1, " ");
            snprintf(name, sizeof name, "%.*s", (int)length, sql + 1);
            sql += length + 2;
        }
        if (!piped && prepared) {
            note("PQprepare '%s': %s", name, sql);
            PQclear(PQprepare(conn, name, sql, 0, NULL));
        } else if (!piped) {
            simple(sql);
        } else {
            note("  in the pipeline: %s%s%s", name, *name ? ": " : "", *sql ? sql : "sync");
            if (prepared)
                PQsendPrepare(conn, name, sql, 0, NULL);
            else if (*sql)
                PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
            else
                syncs += PQpipelineSync(conn);
            if (i < 11 && statements[i + 1] && *statements[i + 1] == '|')
                continue;
            syncs += PQpipelineSync(conn);
            for (int tries = 0; tries < 1000 && syncs > 0; tries++) {
                PGresult *result = PQgetResult(conn);
                if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
                    syncs--;
                PQclear(result);
            }
            note("end of the pipeline: %d", PQexitPipelineMode(conn));
        }
    }
}

/* Whose rows a session reads: every way to say it, and to take it back. */

static const char *tenant(void)
{
    static const char *const values[] = {"'t1'", "'t2'", "''", "t1", "E't2'"};
    return PICK(values);
}

static void with_parameter(const char *sql, const char *value)
{
    note("PQexecParams: %s (%s)  -> %s", sql, value ? value : "NULL", "");
    PQclear(PQexecParams(now->conn, sql, 1, NULL, &value, NULL, NULL, 0));
}

static void tenant_step(void)
{
    static const char *const roles[] = {
        "set role one", "set role two", "set role none", "reset role", "set local role two", "set session role 'one'",
        "set session authorization one", "set local session authorization two", "reset session authorization",
        "set session authorization default", "set row_security to off", "reset row_security", "set session authorization app",
        "select set_config('role', 'two', false)", "select set_config('role', 'two', true)", "select set_config('session_authorization', 'one', false)",
        "update pg_settings set setting = 'one' where name = 'role'", "set \"role\" to two", "set role = 'one'", "reset \"role\"",
        "set session characteristics as transaction read only", "select set_config('row_security', 'off', false)",
    };
    static const char *const control[] = {
        "begin", "commit", "rollback", "savepoint a", "rollback to a", "release a", "begin; set local app.tenant to 't2'; commit",
        "begin; set app.tenant to 't2'; rollback", "begin", "commit", "abort and chain", "select 1/0", "commit and chain",
        "begin; set role two; rollback", "begin; set local role one; commit", "begin; select set_config('app.tenant', 't1', true); commit",
    };
    static const char *const all[] = {"reset all", "discard all", "discard plans", "deallocate all"};
    static const char *const parameters[] = {"t1", "t2", "", NULL};
    static const char *const reads[] = {
        "select tenant from of_tenant", "select tenant from open_to_all", "select current_setting('app.tenant')",
        "select name from of_role", "insert into of_tenant select 't1' where false", "update of_tenant set tenant = tenant",
        "show app.tenant", "explain select * from of_tenant", "copy (select tenant from of_tenant) to stdout",
    };
    switch (below(18)) {
    case 0:
    case 1:
    case 2:
        runf("set %sapp.tenant %s %s", one_in(3) ? "local " : one_in(2) ? "session " : "", one_in(2) ? "=" : "to", one_in(8) ? "default" : tenant());
        return;
    case 3:
        runf("reset app.tenant");
        return;
    case 4:
        runf("select %sset_config('app.tenant', '%s', %s)", one_in(2) ? "pg_catalog." : "", one_in(2) ? "t1" : "t2", one_in(2) ? "true" : "false");
        return;
    case 5:
        if (!one_in(4))
            return;
        with_parameter(one_in(2) ? "select set_config('app.tenant', $1, false)" : "select set_config('app.tenant', $1, true)", PICK(parameters));
        return;
    case 6:
    case 7:
    case 8:
        run(PICK(roles));
        return;
    case 9:
    case 10:
        simple(PICK(control));
        return;
    case 11:
        if (one_in(2))
            run(PICK(all));
        return;
    case 12:
        if (!one_in(4))
            return;
        if (one_in(4))
            runf("select set_tenant(%s)", one_in(2) ? "'t1'" : "'t2'");
        else if (one_in(3))
            runf("do $$ begin perform set_config('app.tenant', 't2', false); end $$");
        else if (one_in(2))
            runf("call set_tenant_too('t2')");
        return;
    case 13: /* prepared under one tenant or role, executed under another */
        now->prepared |= 1;
        runf("prepare s1 as select tenant from of_tenant%s", one_in(2) ? " where current_user <> 'nobody'" : "");
        return;
    case 14:
        if (now->prepared & 1)
            runf("execute s1");
        return;
    case 15:
        if (!one_in(4))
            return;
        note("PQprepare x1: set_config with a parameter");
        PQclear(PQprepare(now->conn, one_in(2) ? "x1" : "", "select set_config('app.tenant', $1, false)", 0, NULL));
        if (one_in(2)) {
            const char *value = PICK(parameters);
            note("PQexecPrepared x1 (%s)", value ? value : "NULL");
            PQclear(PQexecPrepared(now->conn, "x1", 1, &value, NULL, NULL, 0));
        }
        return;
    case 16:
        if (PQtransactionStatus(now->conn) != PQTRANS_IDLE || !PQenterPipelineMode(now->conn))
            return;
        note("pipeline:");
        for (unsigned left = 1 + below(4); left > 0; left--) {
            const char *sql = one_in(3) ? PICK(roles) : one_in(3) ? "set local app.tenant to 't1'" : one_in(4) ? "select 1/0" : one_in(2) ? "set app.tenant to 't2'" : "reset app.tenant";
            note("  in the pipeline: %s", sql);
            PQsendQueryParams(now->conn, sql, 0, NULL, NULL, NULL, NULL, 0);
            if (one_in(3)) {
                note("  sync");
                PQpipelineSync(now->conn);
            }
        }
        note("  sync");
        PQpipelineSync(now->conn);
        for (int i = 0, nulls = 0; i < 100 && nulls < 2; i++) {
            PGresult *result = PQgetResult(now->conn);
            nulls = result ? 0 : nulls + 1;
            PQclear(result);
        }
        note("end of the pipeline: %d", PQexitPipelineMode(now->conn));
        return;
    default:
        run(PICK(reads));
    }
}

/* Every setting that the server lets a session change: no list knows those of the next version. */

/* Name, type, values of an enum, bounds of a number, default. */
static PGresult *settings;

static void learn_settings(PGconn *conn)
{
    settings = PQexec(conn,
        "select name, vartype, array_to_string(enumvals, ','), min_val, max_val, boot_val from pg_settings "
        "where context in ('user', 'superuser') "
        /* A transaction's own; what ends a session or a statement in the middle of being looked at; what fills the log. */
        "and name !~ '^transaction_|_timeout$|^exit_on_error$|^max_stack_depth$|^trace_|^debug_(print|pretty)|^log_.*_stats$' "
        "and name not in ('log_min_messages', 'client_min_messages', 'commit_delay', 'debug_discard_caches') order by name");
    if (PQntuples(settings) < 100)
        broken("pg_settings");
}

static void settings_step(void)
{
    int row = below(PQntuples(settings));
    const char *name = PQgetvalue(settings, row, 0), *type = PQgetvalue(settings, row, 1), *usual = PQgetvalue(settings, row, 5);
    char value[300];
    if (!strcmp(type, "bool")) {
        snprintf(value, sizeof value, "%s", one_in(2) ? "on" : "off");
    } else if (!strcmp(type, "enum")) {
        const char *at = PQgetvalue(settings, row, 2);
        for (int skip = below(6); skip > 0 && strchr(at, ','); skip--)
            at = strchr(at, ',') + 1;
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at, ","), at);
    } else if (!strcmp(type, "string")) {
        static const char *const strings_[] = {"", "public", "C", "on", "x, y", "SQL, DMY", "UTC", "all"};
        snprintf(value, sizeof value, "%s", one_in(3) ? usual : PICK(strings_));
    } else if (one_in(3)) {
        snprintf(value, sizeof value, "%s", usual);
    } else { /* between its bounds, most of it near the lower one */
        double low = atof(PQgetvalue(settings, row, 3)), high = atof(PQgetvalue(settings, row, 4));
        if (high > low + 1000)
            high = low + 1000;
        double at = low + (high - low) * below(101) / 100;
        snprintf(value, sizeof value, *type == 'i' ? "%.0f" : "%g", at);
    }
    switch (below(8)) {
    case 0:
        runf("reset %s", name);
        return;
    case 1:
        runf("set %s to default", name);
        return;
    case 2:
        runf("select set_config('%s', '%s', %s)", name, value, one_in(3) ? "true" : "false");
        return;
    case 3:
        runf("set local %s to '%s'", name, value);
        return;
    default:
        runf("set %s%s = '%s'", one_in(4) ? "session " : "", name, value);
    }
}

/* What an administrator does between the fork and the child's first use, and takes back after it. The parent's
 * session has the rights and defaults of its day; the child's, today's. */
static const char *const BETWEEN[][2] = {
    {"select 1", "select 1"},
    {"alter role app set app.tenant to 't2'", "alter role app reset all"},
    {"alter role app in database forkguard set app.tenant to 't2'", "alter role app in database forkguard reset all"},
    {"alter database forkguard set app.tenant to 't2'", "alter database forkguard reset all"},
    {"alter role all set app.tenant to ''", "alter role all reset all"},
    {"alter role app set role to two", "alter role app reset all"},
    {"revoke two from app", "grant two to app"},
    {"alter role app bypassrls", "alter role app nobypassrls"},
    {"alter role two bypassrls", "alter role two nobypassrls"},
    {"create policy more on of_tenant to three using (true); grant three to app", "drop policy more on of_tenant; revoke three from app"},
    {"create policy more on of_tenant to one using (true)", "drop policy more on of_tenant"},
    {"alter role app superuser", "alter role app nosuperuser"},
    {"revoke select on of_tenant from public", "grant select on of_tenant to public"},
    {"alter role two rename to four", "alter role four rename to two"},
};

static void administer(const char *sql)
{
    PGconn *admin = dial(getenv("ADMIN"));
    command(admin, sql);
    PQfinish(admin);
}

/* The steps of a life, each as often as its weight says among all of its table; where `chance` is above 1, one in so
 * many of those is made. */
struct step {
    unsigned weight, chance;
    void (*make)(void);
};

static void make_one(const struct step *steps, size_t many)
{
    unsigned all = 0;
    for (size_t i = 0; i < many; i++)
        all += steps[i].weight;
    unsigned at = below(all);
    while (at >= steps->weight)
        at -= steps++->weight;
    if (steps->chance <= 1 || one_in(steps->chance))
        steps->make();
}

#define MAKE_ONE(steps) make_one(steps, sizeof(steps) / sizeof *(steps))

static void set_for_the_session(void)
{
    set(one_in(8) ? "session " : "");
}

static void set_for_either(void)
{
    set(one_in(4) ? "local " : "");
}

static void fail_or_deallocate(void)
{
    if (one_in(2))
        failing();
    else
        deallocate();
}

static void begin_anew_or_use_a_large_object(void)
{
    if (one_in(4))
        simple(one_in(2) ? "reset all" : "discard all");
    else if (one_in(2))
        large();
}

static void tame_pipeline(void)
{
    if (PQtransactionStatus(now->conn) == PQTRANS_IDLE)
        pipeline(true);
}

static void any_pipeline(void)
{
    now->left = !pipeline(false);
}

static void control(void)
{
    static const char *const texts[] = {
        "begin", "commit", "rollback", "savepoint a", "savepoint b", "rollback to a", "rollback to b", "release a", "release b",
        "commit and chain", "rollback and chain", "begin read only", "start transaction isolation level serializable", "end", "abort",
        "reset all", "discard all", "unlisten *", "deallocate all", "close all", "set transaction read only",
    };
    run(PICK(texts));
}

/* What can be made again. */
static const struct step TAME[] = {
    {1, 1, transaction}, {1, 1, prepare}, {1, 1, listen_}, {1, 1, harmless}, {1, 1, fail_or_deallocate}, {1, 1, several},
    {1, 1, begin_anew_or_use_a_large_object}, {1, 1, libpq}, {1, 2, tame_pipeline}, {3, 1, set_for_the_session}, {1, 2, strings},
};

/* Anything. */
static const struct step WILD[] = {
    {1, 1, prepare}, {1, 1, execute}, {1, 1, listen_}, {1, 1, deallocate}, {1, 1, failing}, {1, 1, several}, {1, 2, text},
    {1, 1, libpq}, {1, 1, any_pipeline}, {1, 3, wild}, {1, 10, hidden}, {1, 4, overlapping}, {1, 3, large}, {2, 1, control},
    {1, 1, transaction}, {1, 1, harmless}, {3, 1, set_for_either}, {1, 3, strings}, {1, 3, odd_prepared},
};

static void live_among_tenants(void)
{
    run("select 1"); /* one on which nothing was ever run begins as a new one does */
    for (unsigned left = 1 + below(7); left > 0; left--)
        tenant_step();
    if (PQtransactionStatus(now->conn) != PQTRANS_IDLE && !one_in(4))
        simple(one_in(2) ? "commit" : "rollback");
}

static void live_by_settings(void)
{
    static const char *const texts[] = {"begin", "commit", "rollback", "savepoint a", "rollback to a", "reset all", "discard all"};
    for (unsigned left = 4 + below(12); left > 0; left--) {
        if (one_in(6))
            simple(PICK(texts));
        else
            settings_step();
    }
    for (int i = 0; i < 3 && PQtransactionStatus(now->conn) != PQTRANS_IDLE; i++)
        simple(i ? "rollback" : "commit");
}

/* Some sessions end with a command that nobody has waited for. */
static void leave_a_command(void)
{
    if (one_in(20)) {
        note("PQsendQuery, not read");
        PQsendQuery(now->conn, "set my.a to 'late'");
        if (one_in(2)) {
            struct timespec moment = {.tv_nsec = 3000000};
            nanosleep(&moment, NULL);
        }
    } else if (one_in(20)) {
        note("COPY, in the middle");
        PQclear(PQexec(now->conn, "copy sink from stdin"));
    }
}

/* A session's life. */
static void live(struct sequence *sequence)
{
    now = sequence;
    if (tenants) {
        live_among_tenants();
    } else if (traps) {
        trap(sequence->seed);
    } else if (settings) {
        live_by_settings();
    } else {
        for (unsigned left = 1 + below(12); left > 0 && !now->left && PQstatus(now->conn) == CONNECTION_OK; left--) {
            if (now->resumable)
                MAKE_ONE(TAME);
            else
                MAKE_ONE(WILD);
        }
        if (!now->left && !now->resumable && PQtransactionStatus(now->conn) == PQTRANS_IDLE)
            leave_a_command();
    }
}

/* All that can be seen of a session. */

static void ask(struct text *text, PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        add(text, "%s -> ", sql);
        add_value(text, PQresultErrorMessage(result));
        add(text, "\n");
    }
    for (int row = 0; row < PQntuples(result); row++) {
        add(text, "%.60s:", sql);
        for (int column = 0; column < PQnfields(result); column++) {
            add(text, " ");
            add_value(text, PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column));
        }
        add(text, "\n");
    }
    PQclear(result);
}

static void look(struct text *text, PGconn *conn)
{
    static const char *const reported[] = {
        "server_version", "server_encoding", "client_encoding", "application_name", "default_transaction_read_only", "in_hot_standby",
        "is_superuser", "session_authorization", "DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings",
        "search_path",
    };
    /* What libpq knows, before anything is asked. */
    for (size_t i = 0; i < sizeof reported / sizeof *reported; i++) {
        add(text, "PQparameterStatus %s: ", reported[i]);
        add_value(text, PQparameterStatus(conn, reported[i]));
        add(text, "\n");
    }
    add(text, "PQclientEncoding %d, PQisnonblocking %d, PQtransactionStatus %d, PQpipelineStatus %d, PQuser %s, PQdb %s\n",
        PQclientEncoding(conn), PQisnonblocking(conn), PQtransactionStatus(conn), PQpipelineStatus(conn), PQuser(conn), PQdb(conn));
    char escaped[64];
    int error = 0;
    PQescapeStringConn(conn, escaped, "a\\'\xe9", 4, &error);
    add(text, "PQescapeStringConn %d ", error);
    add_value(text, escaped);
    char *literal = PQescapeLiteral(conn, "a\\'b", 4);
    add(text, " ");
    add_value(text, literal);
    PQfreemem(literal);
    add(text, "\n");

    for (size_t i = 0; i < sizeof CUSTOM / sizeof *CUSTOM; i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "select current_setting('%s', true)", CUSTOM[i]);
        ask(text, conn, sql);
    }
    ask(text, conn, "select current_setting('my.new', true)");
    /* Their defaults, where nothing has loaded their libraries. */
    ask(text, conn, "select coalesce(current_setting('pg_trgm.similarity_threshold', true), '0.3'), coalesce(current_setting('plpgsql.variable_conflict', true), 'error')");
    ask(text, conn, "select name, setting, case when setting <> reset_val and name !~ '^transaction_' then source end, reset_val from pg_settings where name !~ '[.]' order by name"); /* others show which libraries are loaded */
    ask(text, conn, "select current_user, session_user, current_setting('role'), current_setting('is_superuser'), current_database()");
    /* Without the backend's own, which is there once it has been used, and empty by the question below. */
    ask(text, conn, "select array(select its from unnest(current_schemas(true)) as its where its !~ '^pg_temp_')");
    ask(text, conn, "select channel from pg_listening_channels() as t(channel) order by 1");
    ask(text, conn, "select name, is_holdable from pg_cursors order by 1");
    ask(text, conn, "select relname from pg_class where relnamespace = pg_my_temp_schema() "
        "union all select proname from pg_proc where pronamespace = pg_my_temp_schema() "
        "union all select typname from pg_type where typnamespace = pg_my_temp_schema() order by 1");
    ask(text, conn, "select classid, objid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()");
    ask(text, conn, /* Of PREPARE it tells the whole text that it stood in, other statements and comments with it. */
        "select name, case when not from_sql then statement end, parameter_types, from_sql from pg_prepared_statements order by name");
    ask(text, conn, "select tenant from of_tenant order by 1");
    ask(text, conn, "select tenant from open_to_all order by 1");
    ask(text, conn, "select name from of_role order by 1");
    ask(text, conn, "select nosuch from nowhere"); /* an error, as verbose as it is */
    ask(text, conn, "select public.typed()");

    PGresult *names = PQexec(conn, "select name, cardinality(parameter_types) from pg_prepared_statements where name !~ '^x' order by name");
    for (int row = 0; row < PQntuples(names); row++) {
        const char *name = PQgetvalue(names, row, 0);
        PGresult *result = PQexecPrepared(conn, name, atoi(PQgetvalue(names, row, 1)), ONES, NULL, NULL, 0);
        add(text, "%s returns %s ", name, PQresStatus(PQresultStatus(result)));
        if (PQresultStatus(result) == PGRES_FATAL_ERROR)
            add_value(text, PQresultErrorMessage(result));
        for (int of = 0; of < PQntuples(result); of++)
            for (int column = 0; column < PQnfields(result); column++) {
                add(text, " %u ", PQftype(result, column));
                add_value(text, PQgetisnull(result, of, column) ? NULL : PQgetvalue(result, of, column));
            }
        add(text, "\n");
        PQclear(result);
    }
    PQclear(names);
    /* What one of those may have begun. */
    ask(text, conn, "select current_setting('transaction_isolation'), current_setting('transaction_read_only'), 1 as last");
}

/* What the child says of one session: shared with the parent. */
struct told {
    bool lost;
    bool was_ok; /* PQstatus, before anything was asked */
    int backend, backend_by_libpq;
    size_t length;
    char why[200];
    char bytes[ROOM];
};

/* What the server says of the unnamed statement. */
static void describe_unnamed(PGconn *conn, char *into, size_t room)
{
    PGresult *result = PQdescribePrepared(conn, "");
    int length = snprintf(into, room, "%s", PQresultStatus(result) == PGRES_COMMAND_OK ? "described" : PQresultErrorField(result, PG_DIAG_SQLSTATE));
    for (int i = 0; i < PQnparams(result); i++)
        length += snprintf(into + length, room - length, ", $%u", PQparamtype(result, i));
    for (int i = 0; i < PQnfields(result) && length < (int)room - 100; i++)
        length += snprintf(into + length, room - length, ", %.60s %u", PQfname(result, i), PQftype(result, i));
    PQclear(result);
}

/* The first use of a session in the child: each of libpq's roads to the server. */
static PGresult *first_use(struct sequence *sequence, char *why, size_t room)
{
    PGconn *conn = sequence->conn;
    PGresult *result = NULL, *more;
    const char *sql = "select pg_catalog.pg_backend_pid()";
    bool describes = sequence->first_use == 1 || sequence->first_use == 6;
    switch (describes && PQtransactionStatus(conn) != PQTRANS_IDLE ? 5 : sequence->first_use) {
    case 0:
        return PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
    case 1:
    case 6: {
        char unnamed[400] = "";
        if (sequence->first_use == 1)
            PQclear(PQdescribePrepared(conn, "nosuch"));
        describe_unnamed(conn, unnamed, sizeof unnamed);
        /* The parent's, or none: nothing of the library's own. */
        if (PQstatus(conn) == CONNECTION_OK && strcmp(unnamed, "26000") && strcmp(unnamed, sequence->unnamed))
            snprintf(why, room, "the unnamed statement: %s, in the parent: %s", unnamed, sequence->unnamed);
        break;
    }
    case 2:
        if (!PQsendQuery(conn, sql))
            return NULL;
        for (int i = 0; i < 100 && (more = PQgetResult(conn)); i++) {
            PQclear(result);
            result = more;
        }
        return result;
    case 3:
        if (!PQconsumeInput(conn))
            return NULL;
        break;
    }
    return PQexec(conn, sql);
}

static void in_child(struct sequence *sequence, struct told *told)
{
    PGconn *conn = sequence->conn;
    told->was_ok = PQstatus(conn) == CONNECTION_OK;
    bool failed = PQtransactionStatus(conn) == PQTRANS_INERROR;
    PGresult *result = first_use(sequence, told->why, sizeof told->why);
    if (failed && PQtransactionStatus(conn) == PQTRANS_INERROR) {
        told->backend = PQbackendPID(conn);
    } else if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        told->lost = PQstatus(conn) == CONNECTION_BAD;
        snprintf(told->why, sizeof told->why, "%s", PQerrorMessage(conn));
        return;
    } else {
        told->backend = atoi(PQgetvalue(result, 0, 0));
    }
    told->backend_by_libpq = PQbackendPID(conn);
    PQclear(result);
    struct text text = {.bytes = told->bytes, .room = sizeof told->bytes};
    look(&text, conn);
    told->length = text.length;
}

static void show(const struct sequence *sequence, const char *what, const char *more)
{
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)sequence->seed);
    fact(what, "seed %s, %s", number, more);
    for (const char *line = sequence->trace.bytes, *end; (end = strchr(line, '\n')); line = end + 1)
        fact("  step", "%.*s", (int)(end - line), line);
}

/* The lines in which they differ. */
static void differences(const char *parent, const char *child)
{
    int shown = 0;
    while ((*parent || *child) && shown < 20) {
        size_t one = strcspn(parent, "\n"), two = strcspn(child, "\n");
        if (one != two || memcmp(parent, child, one)) {
            fact("  parent", "%.*s", (int)one, parent);
            fact("  child", "%.*s", (int)two, child);
            shown++;
        }
        parent += one + (parent[one] != 0);
        child += two + (child[two] != 0);
    }
}

static struct {
    long sequences, equal, lost, lost_at_dial, different, refused, stuck;
} count;

static void begin_life(struct sequence *sequence)
{
    PQsetNoticeProcessor(sequence->conn, quiet, NULL);
    state = sequence->seed;
    next();
    sequence->first_use = below(7);
    live(sequence);
}

/* What a session made and used now, in the same way, is: all of it has today's rights and defaults. */
static void look_at_todays(struct text *text, const struct sequence *sequence, const char *conninfo)
{
    static char trace[TRACE];
    struct sequence again = {
        .seed = sequence->seed, .conn = dial(conninfo), .resumable = sequence->resumable, .trace = {.bytes = trace, .room = TRACE},
    };
    begin_life(&again);
    look(text, again.conn);
    PQfinish(again.conn);
}

/* `anew`: how to connect, where the child's session may be equal to one made now, and not to the parent's. */
static void judge(struct sequence *sequence, const struct told *told, bool idle, const char *anew)
{
    static char room[ROOM];
    struct text own = {.bytes = room, .room = sizeof room};
    room[0] = 0;
    count.sequences++;
    if (told->lost) {
        count.lost++;
        count.lost_at_dial += told->was_ok;
        if (sequence->resumable) {
            count.refused++;
            char why[300];
            snprintf(why, sizeof why, "descriptor %d, %s", PQsocket(sequence->conn), told->why);
            show(sequence, "refused", why);
        }
        return;
    }
    const char *wrong = NULL;
    if (!told->backend)
        wrong = "not lost, and no answer";
    else if (*told->why)
        wrong = told->why;
    else if (!idle)
        wrong = "not idle, and resumed";
    else if (sequence->must_be_lost)
        wrong = "resumed after what nobody can do again";
    else if (told->backend == PQbackendPID(sequence->conn))
        wrong = "the parent's session";
    else if (told->backend != told->backend_by_libpq)
        wrong = "PQbackendPID is another's";
    if (!wrong) {
        look(&own, sequence->conn);
        if (anew && strcmp(own.bytes, told->bytes)) {
            own.length = 0;
            look_at_todays(&own, sequence, anew);
        }
        if (strcmp(own.bytes, told->bytes))
            wrong = "different";
    }
    if (!wrong) {
        count.equal++;
        return;
    }
    count.different++;
    show(sequence, "different", wrong);
    fact("  why", "%s", told->why);
    differences(own.bytes, told->bytes);
}

static void round_(const char *conninfo, uint64_t seed, int many, bool resumable)
{
    static struct sequence sequences[SESSIONS];
    static char traces[SESSIONS][TRACE];
    bool idle[SESSIONS];
    struct told *told = mmap(NULL, SESSIONS * sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED)
        broken("mmap");
    for (int i = 0; i < many; i++) {
        traces[i][0] = 0;
        sequences[i] = (struct sequence){
            .seed = seed + i, .conn = dial(conninfo), .resumable = resumable,
            .trace = {.bytes = traces[i], .room = TRACE},
        };
        begin_life(&sequences[i]);
        PGTransactionStatusType stands = PQtransactionStatus(sequences[i].conn);
        idle[i] = (stands == PQTRANS_IDLE || stands == PQTRANS_INTRANS || stands == PQTRANS_INERROR) &&
                  PQpipelineStatus(sequences[i].conn) == PQ_PIPELINE_OFF;
        if (idle[i] && stands == PQTRANS_IDLE) /* in a transaction it might fail */
            describe_unnamed(sequences[i].conn, sequences[i].unnamed, sizeof sequences[i].unnamed);
    }
    fflush(NULL);
    state = seed;
    const char *const *between = one_in(2) ? BETWEEN[0] : PICK(BETWEEN);
    if (getenv("BETWEEN")) /* this one, always */
        between = BETWEEN[atoi(getenv("BETWEEN")) % (sizeof BETWEEN / sizeof *BETWEEN)];
    pid_t pid = fork();
    if (pid == 0) {
        alarm(50);
        if (tenants)
            administer(between[0]);
        for (int i = 0; i < many; i++)
            in_child(&sequences[i], &told[i]);
        for (int i = 0; i < many; i++)
            PQfinish(sequences[i].conn);
        _exit(0);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        broken("fork or wait");
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        count.stuck++;
        fact("child ended", "%x, seeds from %llu", status, (unsigned long long)seed);
    }
    for (int i = 0; i < many; i++) {
        if (tenants)
            add(&sequences[i].trace, "    after the fork: %s\n", between[0]);
        judge(&sequences[i], &told[i], idle[i], tenants && between != BETWEEN[0] ? conninfo : NULL);
        PQfinish(sequences[i].conn);
    }
    if (tenants)
        administer(between[1]);
    munmap(told, SESSIONS * sizeof *told);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    uint64_t seed = strtoull(argv[2], NULL, 10);
    long many = atol(argv[3]);
    bool resumable = !strcmp(argv[4], "resumable");
    traps = !strcmp(argv[4], "traps");
    tenants = !strcmp(argv[4], "tenants");
    if (!many)
        many = sizeof TRAPS / sizeof *TRAPS;
    PGconn *one = dial(argv[1]);
    if (!strcmp(argv[4], "settings"))
        learn_settings(one);
    fact("versions", "libpq %d, server %d", PQlibVersion() / 10000, PQserverVersion(one) / 10000);
    PQfinish(one);
    for (long done = 0; done < many; done += SESSIONS)
        round_(argv[1], seed + done, many - done < SESSIONS ? many - done : SESSIONS, resumable);
    fact("counts", "%ld sequences, %ld equal, %ld lost (%ld of them at the dial), %ld different, %ld refused, %ld stuck",
         count.sequences, count.equal, count.lost, count.lost_at_dial, count.different, count.refused, count.stuck);
    return 0;
}
