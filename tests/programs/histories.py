"""usage: histories.py [NAME...]
       histories.py --expect CODE SQL...

Common histories of programs that fork. For each the parent does what it does, forks, and the child asks
what the parent asks: who it is, its settings, prepared statements and channels. A line each:
`@history name=… expected=… was=…`, where both are `back`, or the code of the reason for which the session
was lost; `different` is neither. It wants the library's log as JSON in FORKGUARD_LOG_FILE, the usual PG…
variables, and a server with the extensions that are named below. With `--expect` each SQL is a history, and
CODE is what is expected of all.
"""

import json
import os
import sys
import warnings

from facts import say

warnings.simplefilter("ignore")

PROBE = """select
    (select string_agg(name || '=' || setting, ' ' order by name) from pg_settings where source in ('session', 'user', 'database', 'database user', 'global')
        and name not like 'transaction%'),
    current_setting('app.tenant', true), current_setting('app.user', true), coalesce(current_setting('pg_trgm.similarity_threshold', true), '0.3'),
    current_user::text, current_setting('transaction_read_only'), (select string_agg(its, ' ' order by its) from pg_listening_channels() its),
    (select string_agg(name || ' ' || statement || parameter_types::text, ' ' order by name) from pg_prepared_statements),
    array(select its from unnest(current_schemas(true)) its where its !~ '^pg_temp_')::text,
    (select string_agg(relname, ' ') from pg_class where relnamespace = pg_my_temp_schema())"""


class Raw:
    """psycopg 3's libpq, with nothing around it."""

    def __init__(self, conninfo=b""):
        import psycopg

        self.pgconn = psycopg.pq.PGconn.connect(conninfo)

    def __call__(self, text, parameters=None, types=None, formats=None):
        text = text if isinstance(text, bytes) else text.encode()
        if parameters is None:
            result = self.pgconn.exec_(text)
        else:
            parameters = [p if p is None or isinstance(p, bytes) else p.encode() for p in parameters]
            result = self.pgconn.exec_params(text, parameters, param_types=types, param_formats=formats)
        if result.status not in (1, 2):
            raise RuntimeError(result.error_message.decode())
        return [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]

    def prepare(self, name, text, types=None):
        self.pgconn.prepare(name.encode(), text.encode(), types)

    def execute(self, name, *parameters):
        result = self.pgconn.exec_prepared(name.encode(), [p.encode() for p in parameters])
        if result.status not in (1, 2):
            raise RuntimeError(result.error_message.decode())


def raw(*statements):
    """Plain SQL, one text a call; a tuple has parameters."""

    def history():
        run = Raw()
        for statement in statements:
            run(*statement) if isinstance(statement, tuple) else run(statement)
        return run

    return history


def tolerant(*statements, asks=()):
    """The same, whether they fail or not. `asks` comes before the probe, in what is open, and fails alike."""

    def history():
        run = Raw()

        def said(statement):
            try:
                return str(run(*statement) if isinstance(statement, tuple) else run(statement))
            except RuntimeError as error:
                return str(error).split("\n")[0]

        for statement in statements:
            said(statement)
        if not asks:
            return run
        return lambda text: [[said(ask) for ask in asks], *run(text)]

    return history


def on_a_path(path, *statements):
    """A session that begins with this search path, and whose parent has gone on when the child asks."""

    def history():
        run = Raw(f"options='-c search_path={path}'".encode())
        for statement in statements:
            run(statement)
        run.goes_on = lambda: run("SELECT 1")
        return run

    return history


def own_names(statement):
    return statement.format(user=f'"{os.environ["PGUSER"]}"', database=f'"{os.environ["PGDATABASE"]}"')


def own(*statements, reset=None):
    """With the names of the session's own role and database. `reset`: the next history is not to have it."""

    def history():
        run = raw(*map(own_names, statements))()
        if reset:
            run(own_names(reset))
        return run

    return history


def psycopg3(work, autocommit=True, **options):
    def history():
        import psycopg

        connection = psycopg.connect("", autocommit=autocommit, **options)
        connection.prepare_threshold = 2
        work(connection)
        run = Raw.__new__(Raw)
        run.pgconn, run.keep = connection.pgconn, connection
        run.standing = lambda: connection.info.transaction_status.name
        return run

    return history


def psycopg_pool(work):
    def history():
        from psycopg_pool import ConnectionPool

        pool = ConnectionPool("", min_size=2, max_size=2, timeout=10)
        pool.wait(10)
        connection = pool.getconn()
        work(connection)
        run = Raw.__new__(Raw)
        run.pgconn, run.keep = connection.pgconn, (connection, pool)
        run.standing = lambda: connection.info.transaction_status.name
        return run

    return history


def psycopg2(work, autocommit=True):
    def history():
        import psycopg2

        connection = psycopg2.connect("")
        connection.autocommit = autocommit
        work(connection)

        def run(text):
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall()

        return run

    return history


def alchemy(work, driver="psycopg2"):
    def history():
        from sqlalchemy import create_engine

        engine = create_engine(f"postgresql+{driver}://", pool_size=1, max_overflow=0)
        work(engine)

        def run(text):
            # The pool's own connection, and not one that it makes when that is lost.
            return [list(row) for row in lend(engine, text)]

        def lend(engine, text):
            if driver == "psycopg":
                connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(text)
            return cursor.fetchall()

        lent = engine.raw_connection()
        connection = lent.driver_connection
        lent.detach()
        run.keep = lent
        return run

    return history


def django(work, database={}, **options):
    def history():
        from django.conf import settings

        databases = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "OPTIONS": options} | database}
        settings.configure(DATABASES=databases, USE_TZ=True, TIME_ZONE="Europe/Berlin", INSTALLED_APPS=[], ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], MIDDLEWARE=[])
        import django as framework

        framework.setup()
        from django.db import connection

        work(connection)

        def run(text):
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall()

        run.standing = lambda: connection.connection.info.transaction_status.name
        return run

    return history


def queries(*texts):
    """Each run and read to its end, on a psycopg or psycopg2 connection."""

    def work(connection):
        for text in texts:
            text, values = text if isinstance(text, tuple) else (text, None)
            with connection.cursor() as cursor:
                cursor.execute(text, values)
                if cursor.description:
                    cursor.fetchall()

    return work


def tenant_per_request(connection):
    """Row-level security's usual way, often enough for psycopg to prepare what it sends."""
    for number in range(5):
        with connection.transaction():
            connection.execute("SELECT set_config('app.tenant', %s, true)", (f"t{number}",))
            connection.execute("SELECT * FROM things WHERE name = %s", ("x",)).fetchall()


def local_beside_prepared(connection):
    under_local(connection, "app.tenant = 't1'")


def rolled_back(connection):
    for _ in range(5):
        with connection.transaction(force_rollback=True):
            connection.execute("SET app.tenant = 't1'")
            connection.execute("SELECT * FROM things WHERE name = %s", ("x",)).fetchall()


def under_local(connection, setting):
    for _ in range(5):
        with connection.transaction():
            connection.execute(f"SET LOCAL {setting}")
            connection.execute("SELECT * FROM things WHERE name = %s", ("x",)).fetchall()


def often(connection):
    for _ in range(8):
        connection.execute("SELECT set_config('TimeZone', %s, false)", ("Asia/Tokyo",))
        connection.execute("SELECT * FROM things WHERE id > %s", (1,)).fetchall()


def orm(connection):
    """What an application does when it starts: a model's table read, written, paged."""
    from django.db import models, transaction

    class Thing(models.Model):
        name = models.TextField(null=True)

        class Meta:
            app_label, db_table = "histories", "things"

    with transaction.atomic():
        thing = Thing.objects.create(name="a thing")
        thing.name = "another"
        thing.save()
    for _ in range(6):
        list(Thing.objects.filter(name__icontains="thing").order_by("-id")[:3])
        Thing.objects.filter(pk=thing.pk).exists()
        Thing.objects.aggregate(models.Count("id"), models.Max("id"))
    thing.delete()
    return Thing


urlpatterns = []
PERSISTENT = {"CONN_MAX_AGE": None}
ATOMIC = PERSISTENT | {"ATOMIC_REQUESTS": True}


def requests(view):
    """Through Django's WSGI handler, for a request's start and end are where Django looks at its connections."""

    def work(connection):
        from django.core.wsgi import get_wsgi_application
        from django.http import HttpResponse
        from django.urls import path

        model = orm(connection)

        def responds(request):
            view(connection, model)
            return HttpResponse()

        urlpatterns.append(path("", responds))
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80"}
        environ |= {"wsgi.input": sys.stdin.buffer, "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http"}
        application = get_wsgi_application()
        for _ in range(6):
            statuses = []
            application(dict(environ), lambda status, _: statuses.append(status)).close()
            if statuses != ["200 OK"]:
                raise RuntimeError(f"a request: {statuses}")

    return work


def reads_and_writes(connection, model):
    model.objects.create(name="by a request").delete()
    list(model.objects.filter(name="x").values("id"))


def pages(connection, model):
    list(model.objects.order_by("id").iterator(chunk_size=2))


def tenant_of_request(connection, model):
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.tenant', %s, true)", ["t1"])
    list(model.objects.all())


def tenant_of_session(connection, model):
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.tenant', %s, false), set_config('app.user', %s, false)", ["t1", "it's"])


def hours(connection, model):
    """Under another time zone than the settings': Django turns instants in the query."""
    from django.db.models.functions import Now, TruncHour
    from django.utils import timezone

    with timezone.override("Asia/Tokyo"):
        list(model.objects.annotate(hour=TruncHour(Now())).values("hour"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('TimeZone', %s, false)", ["Asia/Tokyo"])


def opened(view):
    """A transaction stays open, as in a view under ATOMIC_REQUESTS that forks."""

    def work(connection):
        from django.db import transaction

        model = orm(connection)
        transaction.atomic().__enter__()
        view(connection, model)

    return work


def only_reads(connection, model):
    list(model.objects.filter(name="x").values("id"))
    model.objects.filter(pk=1).exists()


def savepoint(connection, model):
    from django.db import transaction

    with transaction.atomic():
        list(model.objects.all())


def iterator(connection):
    list(orm(connection).objects.iterator(chunk_size=2))


def migrate(connection):
    with connection.schema_editor() as editor:
        editor.execute("CREATE TABLE IF NOT EXISTS django_migrations (id bigint, app text)")
    with connection.cursor() as cursor:
        connection.introspection.table_names(cursor)
        cursor.execute("DROP TABLE django_migrations")


def sessions(engine):
    from sqlalchemy import text
    from sqlalchemy.orm import Session

    for _ in range(6):
        with Session(engine) as session:
            session.execute(text("SELECT count(*) FROM things WHERE name = :name"), {"name": "x"}).all()
            session.execute(text("INSERT INTO things (name) VALUES (:name)"), {"name": "x"})
            session.commit()


def tenants(engine):
    from sqlalchemy import text

    for number in range(6):
        with engine.begin() as connection:
            connection.execute(text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": str(number)})
            connection.execute(text("SELECT * FROM things WHERE name = :name"), {"name": "x"}).all()


def reflect(engine):
    from sqlalchemy import MetaData

    MetaData().reflect(engine)


def prepared(connection):
    run = Raw.__new__(Raw)
    run.pgconn = connection.pgconn
    run.prepare("a1", "SELECT $1::int + 1")
    run.execute("a1", "1")
    run.prepare("a2", "SELECT name FROM things WHERE id = $1")
    run.execute("a2", "1")


BACK = "back"
REPEATABLE = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SHOW transaction_isolation", "ROLLBACK")
# Prepared for a table that goes with its transaction, which fails at its end.
DEFERRED = (
    "CREATE TABLE IF NOT EXISTS deferred (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
    "BEGIN",
    "CREATE TEMP TABLE things (id text, name int)",
    "PREPARE q AS SELECT * FROM things WHERE id = $1",
)
LONG = 40 * b"\xe9"  # 40 bytes in Latin 1, 80 in the server's UTF-8, which cuts it
HISTORIES = {
    # Plain SQL.
    "nothing": (BACK, raw()),
    "select": (BACK, raw("SELECT 1", "SELECT count(*) FROM things")),
    "transaction": (BACK, raw("BEGIN", "INSERT INTO things (name) VALUES ('a')", "COMMIT")),
    "rolled back": (BACK, raw("BEGIN", "SET TimeZone = 'UTC'", "ROLLBACK")),
    "savepoints": (BACK, raw("BEGIN", "SAVEPOINT a", "SET TimeZone = 'UTC'", "ROLLBACK TO a", "RELEASE a", "COMMIT")),
    "failed query": (BACK, lambda: failed()),
    "settings": (BACK, raw("SET TimeZone = 'UTC'", "SET search_path = public", "SET statement_timeout = '5s'", "SET app.tenant = 't1'")),
    "set local": (BACK, raw("BEGIN", "SET LOCAL app.tenant = 't1'", "SELECT 1", "COMMIT")),
    "role": (BACK, raw("SET ROLE reader")),
    "listen": (BACK, raw("LISTEN jobs", "LISTEN done")),
    "discard all": (BACK, raw("SET app.tenant = 't1'", "LISTEN jobs", "DISCARD ALL")),
    "prepare": (BACK, raw("PREPARE q (int) AS SELECT $1 + 1", "EXECUTE q (1)")),
    "prepare, deallocate": (BACK, raw("PREPARE q (int) AS SELECT $1 + 1", "DEALLOCATE q")),
    "copy": (BACK, raw("CREATE TABLE IF NOT EXISTS copied (a int)", "INSERT INTO copied VALUES (1)", "DROP TABLE copied")),
    "schema": (BACK, raw("CREATE TABLE IF NOT EXISTS made (id serial PRIMARY KEY, name text)", "CREATE INDEX IF NOT EXISTS made_name ON made (name)", "DROP TABLE made")),
    "transaction lock": (BACK, raw("BEGIN", "SELECT pg_advisory_xact_lock(1)", "COMMIT")),
    "notify": (BACK, raw("NOTIFY jobs", "SELECT pg_notify('jobs', 'x')")),
    "sequence": (BACK, raw("SELECT nextval('things_id_seq')")),
    "cursor": (BACK, raw("BEGIN", "DECLARE c CURSOR FOR SELECT * FROM things", "FETCH 10 FROM c", "CLOSE c", "COMMIT")),
    # set_config.
    "set_config": (BACK, raw("SELECT set_config('app.tenant', 't1', false)")),
    "set_config, parameters": (BACK, raw(("SELECT set_config('app.tenant', $1, false)", ["t1"]))),
    "set_config, all parameters": (BACK, raw(("SELECT set_config($1, $2, $3)", ["app.tenant", "t1", "f"]))),
    "set_config, binary": (BACK, raw(("SELECT set_config($1, $2, $3)", ["app.tenant", "t1", b"\0"], [25, 25, 16], [1, 1, 1]))),
    "set_config, local by parameter": (BACK, raw("BEGIN", ("SELECT set_config($1, $2, $3)", ["app.tenant", "t1", "true"]), "COMMIT")),
    "set_config, local by a binary boolean over an earlier value": (
        BACK,
        raw("SET app.tenant = 'before'", "BEGIN", ("SELECT set_config($1, $2, $3)", ["app.tenant", "t1", b"\1"], [25, 25, 16], [0, 0, 1]), "COMMIT"),
    ),
    "set_config, local by parameter over an earlier value": (BACK, raw("SET app.tenant = 'before'", "BEGIN", ("SELECT set_config($1, $2, $3)", ["app.tenant", "t1", "y"]), "COMMIT")),
    "set_config, not local by parameter, rolled back": (BACK, raw("SET app.tenant = 'before'", "BEGIN", ("SELECT set_config($1, $2, $3)", ["app.tenant", "t1", "no"]), "ROLLBACK")),
    # A boolean's text is `true`; a text's, as it was sent.
    "set_config, of a given type": (BACK, raw(("SELECT set_config('app.user', $1::text, false)", ["t"], [16]))),
    "set_config, of a given type, binary": (BACK, raw(("SELECT set_config('app.user', $1::text, false)", [b"\0\0\1\0"], [23], [1]))),
    "set_config, of a given type, prepared": (BACK, lambda: prepared_set_config("SELECT set_config('app.user', $1::text, false)", "f", "t", types=[16])),
    "set_config, of a given type, open transaction": (BACK, raw("BEGIN", ("SELECT set_config('app.user', $1::text, true)", ["t"], [16]))),
    "set_config, integer": (BACK, raw(("SELECT set_config('app.user', $1::text, false)", ["7"], [23]))),
    "set_config, several": (BACK, raw(("SELECT set_config('app.tenant', $1, false), set_config('app.user', $2, false) AS u", ["t1", "u1"]))),
    "set_config, several, one twice": (BACK, raw("SELECT set_config('app.tenant', 'a', false), set_config('app.tenant', 'b', false)")),
    "set_config, casts": (BACK, raw(("SELECT pg_catalog.set_config($1::text, $2::varchar, $3::boolean)", ["app.tenant", "t1", "off"]))),
    "set_config, quotes": (BACK, raw("SELECT set_config('app.tenant', 'it''s', false)", "SELECT set_config('app.user', E'a\\\\b\\x41', false)")),
    "set_config, dollars": (BACK, raw("SELECT set_config('app.tenant', $x$it's$x$, false), set_config('app.user', U&'\\0041', false)")),
    "set_config, other scripts": (BACK, raw("SELECT set_config('app.tenant', 'Ünïcødé', false)", ("SELECT set_config('app.user', $1, false)", ["日本"]))),
    "set_config, an escaped name": ("set_config_unread", raw("SELECT set_config(E'app.\\x74enant', 't1', false)")),
    "set_config, a name in Unicode escapes": ("set_config_unread", raw("SELECT set_config(U&'app.\\0074enant', 't1', false)")),
    "set_config, a name on two lines": ("set_config_unread", raw("SELECT set_config('app.'\n'tenant', 't1', false)")),
    "set_config, null": (BACK, raw("SET app.tenant = 't1'", ("SELECT set_config('app.tenant', $1, false)", [None]))),
    "set_config, prepared": (BACK, lambda: prepared_set_config()),
    "set_config, search_path": (BACK, raw(("SELECT set_config('search_path', $1, false)", ["public, pg_catalog"]))),
    "set_config, open transaction": (BACK, raw("BEGIN", ("SELECT set_config('app.tenant', $1, true)", ["t1"]), "SELECT 1")),
    "set_config, open transaction, several": (BACK, raw("BEGIN", ("SELECT set_config($1, $2, $3), set_config('app.user', 'u', false)", ["app.tenant", "t1", "true"]))),
    "set_config, open transaction, of it": ("transaction_more", raw("BEGIN", ("SELECT set_config($1, $2, true)", ["transaction_read_only", "on"]))),
    "set_config, open transaction, of it, several": ("transaction_more", raw("BEGIN", "SELECT set_config('transaction_read_only', 'on', true), set_config('app.user', 'u', false)")),
    "set_config of a computed value": ("set_config_unread", raw("SELECT set_config('app.user', upper('u'), false)")),
    "set_config in a condition": ("set_config_unread", raw("SELECT 1 WHERE set_config('app.user', 'u', false) = 'u'")),
    "set_config of a temporary schema": ("temporary_search_path", raw(("SELECT set_config('search_path', $1, false)", ["pg_temp"]))),
    "set_config, a parameter of two types": ("set_config_unread", raw(("SELECT set_config('app.tenant', 'x', $1), set_config('app.user', $1::text, false)", ["0"]))),
    "set_config, a parameter of two types, prepared": ("set_config_unread", lambda: prepared_set_config("SELECT set_config('app.tenant', 'x', $1), set_config('app.user', $1::text, false)", "0")),
    "set_config, the unnamed statement again": (BACK, lambda: unnamed_set_config()),
    "set_config, rolled back to a savepoint: the snapshot stays": (BACK, tolerant("BEGIN", "SAVEPOINT a", ("SELECT set_config('app.tenant', $1, true)", ["t1"]), "ROLLBACK TO a", "RELEASE a", asks=REPEATABLE)),
    "set_config, failed before a savepoint's rollback: the snapshot stays": (BACK, tolerant("BEGIN", "SAVEPOINT a", "SELECT set_config('work_mem', 'x', true)", "ROLLBACK TO a", "RELEASE a", asks=REPEATABLE)),
    "SET, rolled back to a savepoint: no snapshot": (BACK, tolerant("BEGIN", "SAVEPOINT a", "SET LOCAL app.tenant = 't1'", "ROLLBACK TO a", "RELEASE a", asks=REPEATABLE)),
    "PREPARE, failed before a savepoint's rollback: the snapshot stays": (BACK, tolerant("BEGIN", "SAVEPOINT a", "PREPARE q AS SELECT nowhere", "ROLLBACK TO a", "RELEASE a", asks=REPEATABLE)),
    "text search, a cast of its own schema": ("text_search_lookup", raw(("SELECT set_config('default_text_search_config', $1::pg_catalog.text, false)", ["english"]))),
    "text search, a label with the schema": ("text_search_lookup", raw("SELECT set_config('default_text_search_config', 'english', false) AS \"pg_catalog.\"")),
    "text search, a comment with the schema": ("text_search_lookup", raw("SET default_text_search_config = /* pg_catalog. */ 'english'")),
    "text search, with its schema": (BACK, raw("SET default_text_search_config TO 'pg_catalog.german'", "set DEFAULT_TEXT_SEARCH_CONFIG='Pg_Catalog.english'", ("SELECT set_config('default_text_search_config', $1, false)", ["pg_catalog.german"]))),
    # What a savepoint's release takes back, and what it does not.
    "READ ONLY in a savepoint that is released": ("transaction_unseen", raw("BEGIN", "SAVEPOINT a", "SET TRANSACTION READ ONLY", "RELEASE a")),
    "READ ONLY by its setting in a savepoint that is released": ("transaction_unseen", raw("BEGIN", "SAVEPOINT a", "SET LOCAL transaction_read_only = on", "RELEASE a")),
    "BEGIN READ ONLY in a savepoint that is released": ("transaction_unseen", raw("BEGIN", "SAVEPOINT a", "BEGIN READ ONLY", "RELEASE a")),
    "READ ONLY in a savepoint that is rolled back": (BACK, raw("BEGIN", "SAVEPOINT a", "SET TRANSACTION READ ONLY", "ROLLBACK TO a", "RELEASE a")),
    "READ ONLY in a savepoint that stays": (BACK, raw("BEGIN", "SAVEPOINT a", "SET TRANSACTION READ ONLY")),
    "SET CONSTRAINTS in a savepoint that is released": (BACK, raw("BEGIN", "SAVEPOINT a", "SET CONSTRAINTS ALL IMMEDIATE", "RELEASE a")),
    # A transaction that fails at its end is rolled back.
    "prepared for a temporary table, the commit failed": ("prepared_redefined", tolerant(*DEFERRED, "INSERT INTO deferred VALUES (1), (1)", "COMMIT")),
    "prepared for an altered table, the commit failed": ("prepared_redefined", tolerant(DEFERRED[0], "BEGIN", "ALTER TABLE things ALTER name TYPE char(7)", *DEFERRED[3:], "INSERT INTO deferred VALUES (1), (1)", "COMMIT")),
    "prepared before a failed commit": (BACK, tolerant(DEFERRED[0], "BEGIN", *DEFERRED[3:], "INSERT INTO deferred VALUES (1), (1)", "COMMIT")),
    # Names that the server cuts in its own encoding.
    "a prepared statement's name in Latin 1": ("name_in_doubt", raw("SET client_encoding = LATIN1", b'PREPARE "%sx" AS SELECT 1' % LONG, b'DEALLOCATE "%sy"' % LONG)),
    "a savepoint's name in Latin 1": ("name_in_doubt", raw("SET client_encoding = LATIN1", "BEGIN", b'SAVEPOINT "%sx"' % LONG, "SET app.tenant = '1'", b'SAVEPOINT "%sy"' % LONG, b'ROLLBACK TO "%sx"' % LONG, "COMMIT")),
    "a table's name in Latin 1, and one prepared": (
        "prepared_redefined",
        raw("SET client_encoding = LATIN1", b'CREATE TABLE IF NOT EXISTS "%sx" (a int)' % LONG, b'PREPARE q AS SELECT * FROM "%sx" WHERE a = $1' % LONG, b'DROP TABLE "%sy"' % LONG),
    ),
    "short names in other scripts": (BACK, raw("BEGIN", 'SAVEPOINT "größe"', 'ROLLBACK TO "größe"', "COMMIT", 'PREPARE "größe" AS SELECT 1', 'DEALLOCATE "größe"')),
    # psycopg 3.
    "psycopg 3": (BACK, psycopg3(queries("SELECT 1", ("SELECT * FROM things WHERE name = %s", ("x",))))),
    "psycopg 3, prepared by itself": (BACK, psycopg3(often)),
    "psycopg 3, tenant a request": (BACK, psycopg3(tenant_per_request)),
    "psycopg 3, prepared under SET LOCAL": (BACK, psycopg3(local_beside_prepared)),
    "psycopg 3, prepared under SET LOCAL of a time limit": (BACK, psycopg3(lambda c: under_local(c, "statement_timeout = '5s'"))),
    "psycopg 3, prepared under SET LOCAL of a search path": ("prepared_under_local", psycopg3(lambda c: under_local(c, "search_path = public"))),
    "psycopg 3, prepared in a transaction rolled back": (BACK, psycopg3(rolled_back)),
    "psycopg 3, without autocommit": (BACK, psycopg3(lambda c: (c.execute("SELECT 1"), c.commit()), autocommit=False)),
    "psycopg 3, time zone and client encoding": (BACK, psycopg3(queries("SET TIME ZONE 'UTC'", "SET client_encoding TO 'UTF8'"))),
    "psycopg 3, copy": (BACK, psycopg3(lambda c: copy3(c))),
    "psycopg 3, executemany": (BACK, psycopg3(lambda c: c.cursor().executemany("INSERT INTO things (name) VALUES (%s)", [("a",), ("b",)]))),
    "psycopg 3, pipeline": (BACK, psycopg3(lambda c: pipeline(c))),
    "psycopg 3, server-side cursor": (BACK, psycopg3(lambda c: (c.cursor("n").execute("SELECT * FROM things").fetchall(), c.commit()), autocommit=False)),
    # psycopg2.
    "psycopg2": (BACK, psycopg2(queries("SELECT 1", ("SELECT * FROM things WHERE name = %s", ("x",))))),
    "psycopg2, without autocommit": (BACK, psycopg2(lambda c: (queries("SELECT 1")(c), c.commit()), autocommit=False)),
    "psycopg2, tenant": (BACK, psycopg2(queries(("SELECT set_config('app.tenant', %s, false)", ("it's",))))),
    "psycopg2, session": (BACK, psycopg2(lambda c: c.set_session(isolation_level="REPEATABLE READ", autocommit=True))),
    "psycopg2, named cursor": (BACK, psycopg2(lambda c: named2(c), autocommit=False)),
    "psycopg2, hstore and json": (BACK, psycopg2(lambda c: extras2(c))),
    # SQLAlchemy.
    "SQLAlchemy": (BACK, alchemy(sessions)),
    "SQLAlchemy on psycopg 3": (BACK, alchemy(sessions, "psycopg")),
    "SQLAlchemy, tenants": (BACK, alchemy(tenants)),
    "SQLAlchemy, tenants on psycopg 3": (BACK, alchemy(tenants, "psycopg")),
    "SQLAlchemy, reflection": (BACK, alchemy(reflect)),
    "SQLAlchemy, reflection on psycopg 3": (BACK, alchemy(reflect, "psycopg")),
    # Django.
    "Django": (BACK, django(orm)),
    "Django, server_side_binding": (BACK, django(orm, server_side_binding=True)),
    "Django, migration": (BACK, django(migrate)),
    "Django, migration, server_side_binding": (BACK, django(migrate, server_side_binding=True)),
    "Django, iterator in autocommit": (BACK, django(iterator)),
    "Django, iterator in autocommit, server_side_binding": (BACK, django(iterator, server_side_binding=True)),
    "Django, role and schema": (BACK, django(orm, assume_role="forkguard", options="-c search_path=public")),
    # As Rails does: its start-up, and statements prepared as a1, a2, …
    "Rails-like": (
        BACK,
        psycopg3(
            lambda c: (
                queries(
                    "SET client_min_messages TO 'warning'",
                    "SET standard_conforming_strings = on",
                    "SET intervalstyle = iso_8601",
                    "SET SESSION timezone TO 'UTC'",
                    "SELECT t.oid, t.typname FROM pg_type AS t WHERE t.typname IN ('int2', 'bool')",
                )(c),
                prepared(c),
            )
        ),
    ),
    "Rails-like, migration": (BACK, raw("SELECT pg_try_advisory_lock(2915411530)", "CREATE TABLE IF NOT EXISTS schema_migrations (version varchar NOT NULL PRIMARY KEY)", "SELECT pg_advisory_unlock(2915411530)")),
    # Extensions.
    "pgcrypto": (BACK, raw("SELECT crypt('x', gen_salt('bf', 4)), digest('x', 'sha256'), gen_random_uuid()")),
    "uuid-ossp": (BACK, raw("SELECT uuid_generate_v4()", "INSERT INTO things (name) VALUES (uuid_generate_v1()::text)")),
    "unaccent": (BACK, raw("SELECT unaccent('é')", "SELECT * FROM things WHERE unaccent(name) = 'e'")),
    "pg_trgm": (BACK, raw("SELECT similarity('a', 'b'), word_similarity('a', 'b')", "SELECT * FROM things WHERE name % 'x'")),
    "hstore, ltree, fuzzystrmatch": (BACK, raw("SELECT hstore('a', 'b'), levenshtein('a', 'b'), nlevel('a.b')")),
    "an extension's function prepared": (BACK, raw("PREPARE q AS SELECT unaccent('é')", "EXECUTE q")),
    "an extension's function as a default": (BACK, raw("CREATE TABLE IF NOT EXISTS defaulted (id uuid DEFAULT uuid_generate_v4())", "DROP TABLE defaulted")),
    "many functions of extensions": (BACK, raw("SELECT soundex('a'), difference('a', 'b'), akeys('a=>b'), avals('a=>b'), hstore_to_json('a=>b')", "SELECT subltree('a.b', 0, 1), show_trgm('a')")),
    "by schema and quoted": (BACK, raw('SELECT public.unaccent(\'é\'), "similarity"(\'a\', \'b\')')),
    "a function that hides behind an extension's name": ("unknown_function", raw("SELECT hidden.metaphone('a')")),
    "an extension's function put in its place": ("unknown_function", raw("SELECT unaccent('é')", "DROP FUNCTION IF EXISTS hidden.none()")),
    "a function that is no more": ("unknown_function", lambda: failed("SELECT gone('x')")),
    "set_limit of pg_trgm": ("unknown_function", raw("SELECT set_limit(0.5)")),
    # What a program made itself.
    "CREATE FUNCTION": (BACK, raw("CREATE OR REPLACE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION made()")),
    "CREATE FUNCTION, trigger": (
        BACK,
        raw(
            "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "DROP TRIGGER IF EXISTS touch ON things",
            "CREATE TRIGGER touch BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION touch()",
        ),
    ),
    "CREATE TRIGGER, in all its forms": (
        BACK,
        raw(
            "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "PREPARE q AS SELECT 1",
            "CREATE TRIGGER forms AFTER INSERT ON things REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE PROCEDURE touch('a', 1)",
            "CREATE CONSTRAINT TRIGGER forms2 AFTER DELETE ON things DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.touch()",
            "CREATE TRIGGER forms3 BEFORE UPDATE ON things FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "ALTER TRIGGER forms3 ON things RENAME TO forms4",
            "ALTER TABLE things DISABLE TRIGGER forms4",
            "INSERT INTO things (name) VALUES ('touched')",
            "DROP TRIGGER IF EXISTS forms ON things",
            "DROP TRIGGER forms2 ON things RESTRICT",
            "DROP TRIGGER forms4 ON things",
            "DEALLOCATE q",
        ),
    ),
    "CREATE TRIGGER with a function of one's own": ("unknown_function", raw("CREATE TRIGGER sometimes BEFORE DELETE ON things FOR EACH ROW WHEN (own() > 0) EXECUTE FUNCTION suppress_redundant_updates_trigger()", "DROP TRIGGER sometimes ON things")),
    "CREATE EVENT TRIGGER": (
        "schema_change",
        raw(
            "CREATE OR REPLACE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RETURN; END $$",
            "CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION seen()",
            "DROP EVENT TRIGGER seen",
        ),
    ),
    "CREATE FUNCTION, and a call": ("unknown_function", raw("CREATE OR REPLACE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 1'", "SELECT made()", "DROP FUNCTION made()")),
    "CREATE FUNCTION that changes settings": ("schema_change", raw("CREATE OR REPLACE FUNCTION sets() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.user', 'u', false) $$", "DROP FUNCTION sets()")),
    "CREATE FUNCTION with a setting": ("schema_change", raw("CREATE OR REPLACE FUNCTION sets() RETURNS int LANGUAGE sql SET app.tenant = 'u' AS 'SELECT 1'", "DROP FUNCTION sets()")),
    "CREATE FUNCTION, then a statement prepared before": ("prepared_redefined", raw("PREPARE q AS SELECT 1", "CREATE OR REPLACE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION made()")),
    "CREATE EXTENSION IF NOT EXISTS": (BACK, raw("CREATE EXTENSION IF NOT EXISTS unaccent")),
    # What new sessions begin with: another role's or database's is not the child's.
    "ALTER ROLE SET, another": (BACK, raw("ALTER ROLE reader SET statement_timeout = '1min'", "ALTER ROLE Reader RESET statement_timeout")),
    "ALTER ROLE SET, another, and that role": (BACK, raw("ALTER ROLE reader SET statement_timeout = '1min'", "SET ROLE reader")),
    "ALTER DATABASE SET, another": (BACK, raw("ALTER DATABASE template1 SET statement_timeout = '1min'")),
    "ALTER ROLE IN DATABASE SET, another database": (BACK, own("ALTER ROLE {user} IN DATABASE template1 SET statement_timeout = '1min'", "ALTER ROLE ALL IN DATABASE template1 RESET statement_timeout")),
    "ALTER ROLE IN DATABASE SET, another role": (BACK, own("ALTER ROLE reader IN DATABASE {database} SET statement_timeout = '1min'")),
    "ALTER ROLE SET, its own, rolled back": (BACK, own("BEGIN", "ALTER ROLE {user} SET statement_timeout = '1min'", "ROLLBACK")),
    "ALTER ROLE SET, its own, failed": (BACK, lambda: failed(own_names("ALTER ROLE {user} SET statement_timeout = 'none'"))),
    "ALTER ROLE SET, its own": ("altered_defaults", own("ALTER ROLE {user} SET statement_timeout = '1min'", reset="ALTER ROLE {user} RESET statement_timeout")),
    "ALTER ROLE SET, CURRENT_USER": ("altered_defaults", own("ALTER ROLE CURRENT_USER SET statement_timeout = '1min'", reset="ALTER ROLE {user} RESET statement_timeout")),
    "ALTER ROLE SET, ALL": ("altered_defaults", own("ALTER ROLE ALL SET statement_timeout = '1min'", reset="ALTER ROLE ALL RESET statement_timeout")),
    "ALTER DATABASE SET, its own": ("altered_defaults", own("ALTER DATABASE {database} SET statement_timeout = '1min'", reset="ALTER DATABASE {database} RESET statement_timeout")),
    "ALTER ROLE IN DATABASE SET, its own": ("altered_defaults", own("ALTER ROLE {user} IN DATABASE {database} SET statement_timeout = '1min'", reset="ALTER ROLE {user} IN DATABASE {database} RESET statement_timeout")),
    "ALTER ROLE SET, a custom setting": ("altered_defaults", raw("ALTER ROLE reader SET app.tenant = 'u'")),
    "ALTER ROLE RENAME and DROP ROLE, others": (BACK, raw("CREATE ROLE passing", "ALTER ROLE passing RENAME TO passed", "DROP ROLE passed")),
    "its own role renamed from under it": (
        "altered_defaults",
        own("CREATE ROLE other SUPERUSER", "SET SESSION AUTHORIZATION other", "ALTER ROLE {user} RENAME TO once", "ALTER ROLE once SET statement_timeout = '1min'", "ALTER ROLE once RESET statement_timeout", "ALTER ROLE once RENAME TO {user}", "RESET SESSION AUTHORIZATION", "DROP ROLE other"),
    ),
    "a function of one's own": ("unknown_function", raw("SELECT own()")),
    # What stays with its session.
    "temporary table": ("temporary_object", raw("CREATE TEMP TABLE t (a int)")),
    "temporary table, dropped": (BACK, raw("CREATE TEMP TABLE t (id serial, name text)", "INSERT INTO t (name) SELECT name FROM things", "DROP TABLE t")),
    "temporary table, rolled back": (BACK, raw("BEGIN", "CREATE TEMP TABLE t AS SELECT * FROM things", "ROLLBACK")),
    "temporary table, rolled back to a savepoint": (BACK, raw("BEGIN", "SAVEPOINT a", "CREATE TEMP TABLE t (a int)", "ROLLBACK TO a", "COMMIT")),
    "temporary table, ON COMMIT DROP": (BACK, raw("BEGIN", "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT * FROM things", "CREATE INDEX ON t (name)", "INSERT INTO things SELECT * FROM t WHERE false", "COMMIT")),
    "temporary table, DISCARD TEMP": (BACK, raw("SELECT * INTO TEMP t FROM things", "DISCARD TEMP")),
    "temporary table, DISCARD ALL": (BACK, raw("CREATE TEMP TABLE t (a int)", "CREATE TEMP VIEW v AS SELECT * FROM t", "DISCARD ALL")),
    "temporary tables, dropped by schema": (BACK, raw("CREATE TABLE pg_temp.t (a int)", 'CREATE TEMP TABLE "U" (a int)', 'DROP TABLE IF EXISTS pg_temp.t, "U"')),
    "temporary view and sequence, dropped": (BACK, raw("CREATE TEMP SEQUENCE s", "CREATE OR REPLACE TEMP VIEW v AS SELECT nextval('s')", "SELECT * FROM v", "DROP VIEW v", "DROP SEQUENCE s")),
    "temporary table, altered and dropped": (BACK, raw("CREATE TEMP TABLE t (a int)", "ALTER TABLE t ADD PRIMARY KEY (a)", "DROP TABLE t")),
    "temporary table, psycopg 3 and COPY": (BACK, psycopg3(lambda c: staged(c, 1))),
    "temporary table, psycopg 3 and COPY, prepared by itself": ("prepared_redefined", psycopg3(lambda c: staged(c, 6))),
    "temporary table in SQLAlchemy": (BACK, alchemy(lambda e: staged_too(e))),
    "temporary table, renamed and dropped": ("temporary_object", raw("CREATE TEMP TABLE t (a int)", "ALTER TABLE t RENAME TO u", "DROP TABLE u")),
    "temporary table, another dropped": ("temporary_object", raw("CREATE TEMP TABLE t (a int)", "DROP TABLE IF EXISTS public.t, u")),
    "temporary table, dropped first of a hundred": (BACK, raw("CREATE TEMP TABLE t (a int)", "DROP TABLE IF EXISTS t, " + ", ".join(f"t{n}" for n in range(99)))),
    # So many names are not followed.
    "temporary table, dropped last of a hundred": ("temporary_object", raw("CREATE TEMP TABLE t (a int)", "DROP TABLE IF EXISTS " + ", ".join(f"t{n}" for n in range(99)) + ", t")),
    "temporary table, its drop rolled back": ("temporary_object", raw("CREATE TEMP TABLE t (a int)", "BEGIN", "DROP TABLE t", "ROLLBACK")),
    "temporary table that stays empty": ("temporary_object", raw("CREATE TEMP TABLE t (a int) ON COMMIT DELETE ROWS")),
    "temporary table in the way of a prepared statement": ("prepared_redefined", raw("PREPARE q AS SELECT name FROM things", "CREATE TEMP TABLE things (name int)", "DROP TABLE things")),
    "a search path that makes tables temporary": ("parent_temporary_tables", on_a_path("pg_temp,public", "CREATE TABLE things (id int)")),
    "a search path that makes tables temporary, and another since": ("parent_temporary_tables", on_a_path("pg_temp,public", "SELECT 1 AS id INTO things", "SET search_path = public")),
    "another search path from the start": (BACK, on_a_path("public", "CREATE TABLE IF NOT EXISTS on_a_path (id int)", "DROP TABLE on_a_path")),
    "temporary function": ("schema_change", raw("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION pg_temp.f()")),
    "session lock": ("advisory_lock", raw("SELECT pg_advisory_lock(7)")),
    "session lock, given back": (BACK, raw("SELECT pg_advisory_lock(8)", "SELECT pg_advisory_unlock(8)")),
    "DO": ("any_effect", raw("DO $$ BEGIN PERFORM 1; END $$")),
    "open transaction": ("transaction_more", raw("BEGIN", "INSERT INTO things (name) VALUES ('open')")),
}


# Django's own traffic, as it binds and with `server_side_binding`.
for what, (work, database) in {
    "requests": (requests(reads_and_writes), PERSISTENT),
    "ATOMIC_REQUESTS": (requests(reads_and_writes), ATOMIC),
    "ATOMIC_REQUESTS, iterator": (requests(pages), ATOMIC),
    "ATOMIC_REQUESTS, tenant": (requests(tenant_of_request), ATOMIC),
    "requests, tenant of the session": (requests(tenant_of_session), PERSISTENT),
    "requests, time zones": (requests(hours), PERSISTENT),
    "a time zone of its own": (orm, {"TIME_ZONE": "Asia/Tokyo"}),
    "open transaction": (opened(only_reads), {}),
    "open transaction, tenant": (opened(tenant_of_request), {}),
    "open transaction, savepoint": (opened(savepoint), {}),
    "open transaction, iterator": (opened(pages), {}),
}.items():
    # A cursor of a transaction that goes on, closed or not, is not followed.
    expected = "transaction_more" if what == "open transaction, iterator" else BACK
    HISTORIES[f"Django, {what}"] = (expected, django(work, database))
    HISTORIES[f"Django, {what}, server_side_binding"] = (expected, django(work, database, server_side_binding=True))

HISTORIES |= {
    "psycopg_pool": (BACK, psycopg_pool(lambda c: (c.execute("SELECT 1"), c.commit()))),
    "psycopg_pool, open transaction": (BACK, psycopg_pool(lambda c: c.execute("SELECT count(*) FROM things WHERE name = %s", ("x",)).fetchall())),
    "psycopg_pool, open transaction, prepared by itself": (BACK, psycopg_pool(lambda c: [c.execute("SELECT count(*) FROM things WHERE name = %s", ("x",)).fetchall() for _ in range(8)])),
    "psycopg 3, open transaction under SET LOCAL, prepared by itself": (
        BACK,
        psycopg3(lambda c: (local_beside_prepared(c), c.execute("BEGIN"), c.execute("SET LOCAL app.tenant = 't2'"), [c.execute("SELECT * FROM things WHERE name = %s", ("x",)).fetchall() for _ in range(5)])),
    ),
}


def failed(text="SELECT 1/0"):
    run = Raw()
    try:
        run(text)
    except RuntimeError:
        pass
    return run


def prepared_set_config(text="SELECT set_config('app.tenant', $1, false)", *values, types=None):
    run = Raw()
    run.prepare("s", text, types)
    for value in values or ("a", "b"):
        run.execute("s", value)
    return run


def unnamed_set_config():
    """An execution leaves its statement behind, with the types that it was sent with."""
    run = Raw()
    run("SELECT set_config('app.tenant', $1::text, false)", ["7"], [23])
    run.execute("", "007")
    return run


def copy3(connection):
    with connection.cursor() as cursor, cursor.copy("COPY things (name) FROM STDIN") as copy:
        copy.write_row(("copied",))


def pipeline(connection):
    with connection.pipeline():
        connection.execute("SELECT set_config('app.tenant', %s, false)", ("t1",))
        connection.execute("INSERT INTO things (name) VALUES (%s)", ("piped",))


def named2(connection):
    with connection.cursor("named") as cursor:
        cursor.execute("SELECT * FROM things")
        cursor.fetchall()
    connection.commit()


def extras2(connection):
    from psycopg2.extras import Json, register_hstore

    register_hstore(connection)
    queries(("SELECT %s::json", (Json({}),)))(connection)


def staged(connection, times):
    """Rows come in by way of a staging table, as in an upsert."""
    for _ in range(times):
        with connection.transaction():
            connection.execute("CREATE TEMP TABLE staged (LIKE things INCLUDING DEFAULTS) ON COMMIT DROP")
            with connection.cursor() as cursor, cursor.copy("COPY staged (name) FROM STDIN") as copy:
                copy.write_row(("staged",))
            connection.execute("INSERT INTO things (name) SELECT name FROM staged ON CONFLICT DO NOTHING")


def staged_too(engine):
    from sqlalchemy import Column, Integer, MetaData, Table

    table = Table("staged", MetaData(), Column("id", Integer, primary_key=True), prefixes=["TEMPORARY"])
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"id": 1}, {"id": 2}])
        table.drop(connection)


def reasons(pid):
    with open(os.environ["FORKGUARD_LOG_FILE"]) as log:
        events = [json.loads(line) for line in log]
    return [event["reason"] for event in events if event["pid"] == pid and event.get("event") == "lost"]


def state(run):
    """What the probe says, and where libpq stands then."""
    def flat(value):
        return value.decode() if isinstance(value, bytes) else value

    rows = [[flat(value) for value in row] for row in run(PROBE)]
    return [*rows, [run.standing()]] if hasattr(run, "standing") else rows


def came_back(history):
    """In a process of its own: Django can be configured once."""
    run = history()
    reader, writer = os.pipe()
    later, gone_on = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gone_on)
        os.read(later, 1)
        try:
            answer = state(run)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    getattr(run, "goes_on", lambda: None)()
    os.close(gone_on)
    with os.fdopen(reader) as pipe:
        child = json.load(pipe)
    os.waitpid(pid, 0)
    lost = reasons(pid)
    if lost:
        return lost[0]
    if isinstance(child, str):
        return child
    # What is open can be asked as well.
    return BACK if child == state(run) else f"different: {child} {state(run)}"


def main():
    histories, only = HISTORIES, sys.argv[1:]
    if only[:1] == ["--expect"]:
        histories, only = {sql: (only[1], raw(sql)) for sql in only[2:]}, []
    for name, (expected, history) in histories.items():
        if only and name not in only:
            continue
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                say("history", name=name, expected=expected, was=came_back(history))
            except Exception as error:
                say("history", name=name, expected=expected, was=f"broken: {type(error).__name__}: {error}")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


main()
