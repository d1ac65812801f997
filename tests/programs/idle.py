"""usage: idle.py psycopg2|psycopg|django KEEPS CHILDREN SECONDS

Three idle sessions with settings and prepared statements, as a pool holds them, and one in a
transaction that no child touches. Then so many children and, beside more than one, the parent
ask at once; a failed question is asked once more, over a new connection where the driver knows
the old one for lost. KEEPS is what a session keeps for its client: `all`, or `startup`, what it
was opened with, behind a pooler that hands out another session for each transaction.
"""

import os
import signal
import sys

from facts import child, first_line, is_right, say

KIND, KEEPS = sys.argv[1:3]
CHILDREN, SECONDS = map(int, sys.argv[3:])
SESSIONS = 3
ROUNDS = 10
NAMES = ["default", "one", "two", "held"]
# The question of facts.py with parameters, as applications ask; psycopg prepares it by itself.
QUESTION = "select %(n)s::int * 7, repeat(chr(97 + %(n)s::int %% 26), %(width)s::int), pg_backend_pid()"
SETTINGS = "current_setting('application_name'), current_setting('timezone')"
STATE = "execute kept" if KEEPS == "all" else f"select {SETTINGS}"


class Psycopg:
    """psycopg2 as well: what is asked of them here, both spell alike."""

    def __init__(self, name):
        self.name, self.driver = name, __import__(KIND)
        self.renew()

    def renew(self):
        options = {}
        if KEEPS == "startup":
            options |= {"application_name": self.name}
            options |= {"prepare_threshold": None} if KIND == "psycopg" else {}
        self.connection = self.driver.connect("", **options)
        self.connection.autocommit = True

    def ask(self, sql, values=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone() if cursor.description else None

    def lost(self, _):
        return bool(self.connection.closed)

    def number(self):
        """The backend's, as the client knows it: a pooler's own number behind one."""
        return self.connection.info.backend_pid & 0xFFFFFFFF  # PgBouncer's are any 32 bits


class Django:
    """Persistent connections, one for each database of the settings. Each question is a request
    through Django's WSGI handler, for its start and end are where Django looks at them."""

    def __init__(self, name):
        from django.core.wsgi import get_wsgi_application

        self.name, self.application = name, get_wsgi_application()

    def renew(self):
        pass  # Django does, at the next request

    def ask(self, sql, values=None):
        self.question, self.error = (sql, values), None
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80"}
        environ |= {"wsgi.input": sys.stdin.buffer, "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http"}
        environ["idle.client"] = self
        self.application(environ, lambda *_: None).close()
        if self.error:
            raise self.error
        return self.row

    def view(self):
        from django.db import connections

        try:
            with connections[self.name].cursor() as cursor:
                cursor.execute(*self.question)
                self.row = cursor.fetchone() if cursor.description else None
        except Exception as error:
            self.error = error

    def lost(self, error):
        from django.db import OperationalError, connections

        return isinstance(error, OperationalError) and connections[self.name].connection is None

    def number(self):
        from django.db import connections

        return connections[self.name].connection.info.backend_pid


def set_up_django():
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    def view(request):
        request.environ["idle.client"].view()
        return HttpResponse()

    database = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": None}
    database |= {"NAME": os.environ["PGDATABASE"]}
    settings.configure(
        DATABASES={name: dict(database) for name in NAMES},
        ROOT_URLCONF=type("urls", (), {"urlpatterns": [path("", view)]}),
        ALLOWED_HOSTS=["*"],
        USE_TZ=False,
    )
    django.setup()


def question(client, number):
    return client.ask(QUESTION, {"n": number, "width": (10, 3_000, 20_000)[number % 3]})


def use(kind, clients, first):
    asked = right = failed = lost = 0
    backends, numbers, errors = set(), set(), set()
    for _ in range(ROUNDS):
        for client in clients:
            number = first + asked
            asked += 1
            for attempt in (1, 2):
                try:
                    row = question(client, number)
                    right += is_right(number, row)
                    backends.add(row[2])
                    numbers.add(client.number())
                    break
                except Exception as error:
                    failed += 1
                    errors.add(first_line(error))
                    if client.lost(error):
                        lost += 1
                        client.renew()
    state = sum(look(client) == was for client, was in zip(clients, before))
    say(kind, asked=asked, right=right, failed=failed, lost=lost, state=state, backends=backends,
        numbers=numbers, errors=sorted(errors))  # fmt: skip


def look(client):
    try:
        return client.ask(STATE)
    except Exception:
        return None


def look_held():
    return held.ask("select pg_backend_pid(), txid_current(), (select n from held)")


if KIND == "django":
    set_up_django()
new = Django if KIND == "django" else Psycopg
clients = [new(name) for name in NAMES]
for place, client in enumerate(clients):
    if KEEPS == "all":
        client.ask(f"set application_name = 'idle {place}'")
        client.ask("set timezone = 'Asia/Tokyo'")
        client.ask("set search_path = pg_catalog, public")
        client.ask(f"prepare kept as select {SETTINGS}, current_setting('search_path')")
    for _ in range(6):  # from the sixth time on psycopg has it prepared
        question(client, 0)
*clients, held = clients
before = [look(client) for client in clients]
backends = [client.ask("select pg_backend_pid()")[0] for client in clients]
if KIND != "django":  # whose connections are reset at the end of a request
    held.ask("begin")
held.ask("create temp table held as select 7 as n")
held_before = look_held()
say("parent", backends=[*backends, held_before[0]], numbers=[client.number() for client in [*clients, held]])

signal.alarm(SECONDS)
children = [child(lambda: use("child", clients, 10_000 * number), SECONDS) for number in range(1, CHILDREN + 1)]
if CHILDREN > 1:
    use("asking", clients, 100_000)
for pid in children:
    os.waitpid(pid, 0)


def is_same(client, was, backend):
    try:
        return client.ask(STATE) == was and (KEEPS != "all" or client.ask("select pg_backend_pid()")[0] == backend)
    except Exception:
        return False


same = sum(map(is_same, clients, before, backends))
try:
    now = look_held()
    same += now[::2] == held_before[::2] and (KIND == "django" or now == held_before)
except Exception:
    pass
say("after", same=same)
