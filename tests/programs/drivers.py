"""usage: drivers.py psycopg2|psycopg|asyncpg|pg8000 SECONDS

A parent with three sessions, in a state only they can show: a temporary table, a prepared
statement, an open transaction. First one child that is killed in the middle of a query, then
four children and the parent at once. The server is named by libpq's environment. No process
lives longer than SECONDS: an unguarded one may wait for an answer that another has read.
"""

import asyncio
import os
import signal
import ssl
import sys

from facts import child, first_line, is_right, query, say

CHILDREN = 4
ROUNDS = 15


class Psycopg2:
    def __init__(self):
        import psycopg2

        self.connection = psycopg2.connect("")
        self.connection.autocommit = True

    def ask(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def lost(self, error):
        # SQLAlchemy's dialect does not rely on `closed` either: a connection whose status is bad
        # before a query psycopg2 refuses without closing it.
        return self.connection.closed != 0 or "server closed the connection" in str(error)

    def close(self):
        self.connection.close()


class Psycopg:
    def __init__(self):
        import psycopg

        self.connection = psycopg.connect("", autocommit=True)

    def ask(self, sql):
        cursor = self.connection.execute(sql)
        return cursor.fetchall() if cursor.description else []

    def lost(self, error):
        import psycopg

        return self.connection.closed and isinstance(error, psycopg.OperationalError)

    def close(self):
        self.connection.close()


class Pg8000:
    def __init__(self):
        import pg8000.dbapi

        env = os.environ
        where = (
            {"unix_sock": f"{env['PGHOST']}/.s.PGSQL.{env['PGPORT']}"}
            if env["PGHOST"].startswith("/")
            else {"host": env["PGHOST"], "port": int(env["PGPORT"])}
        )
        if env["PGSSLMODE"] == "require":
            where["ssl_context"] = ssl._create_unverified_context()
        else:
            where["ssl_context"] = False  # or it takes TLS where the server offers it
        self.connection = pg8000.dbapi.connect(env["PGUSER"], database=env["PGDATABASE"], **where)
        self.connection.autocommit = True

    def ask(self, sql):
        cursor = self.connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []

    def lost(self, error):
        # It keeps no flag; this is how SQLAlchemy's pg8000 dialect reads it (is_disconnect).
        return type(error).__name__ == "InterfaceError" and "network error" in str(error)

    def close(self):
        self.connection.close()


class Asyncpg:
    def __init__(self):
        import asyncpg

        # Each session has a loop of its own, so that a child's fresh one does not live on the
        # epoll descriptor it shares with its parent.
        self.loop = asyncio.new_event_loop()
        self.connection = self.loop.run_until_complete(asyncpg.connect())

    def ask(self, sql):
        return self.loop.run_until_complete(self.connection.fetch(sql))

    def lost(self, _):
        return self.connection.is_closed()

    def close(self):
        self.loop.run_until_complete(self.connection.close(timeout=5))


class Session:
    """One of the parent's, and what its state looked like before the fork."""

    def __init__(self, client, transaction):
        self.client = client
        client.ask("create temp table mark as select pg_backend_pid() as backend")
        client.ask("prepare marked as select backend from mark")
        if transaction:
            client.ask("begin")
        # In a transaction the number stays; outside of one each call has another.
        self.state = "select pg_backend_pid(), " + ("txid_current()" if transaction else "0")
        self.before = self.look()

    def look(self):
        return [list(row) for sql in (self.state, "execute marked") for row in self.client.ask(sql)]

    @property
    def backend(self):
        return self.before[0][0]

    def report(self, number):
        """In the parent: is it the same session, in the same state?"""
        try:
            # First whatever may still be in the socket: a mere answer proves nothing.
            row = self.client.ask(query(number))[0]
            say(
                "session",
                right=is_right(number, row),
                same=self.look() == self.before,
                backend=row[2],
            )
        except Exception as error:
            say("session", right=False, same=False, error=first_line(error))


def renewed(client, new, use):
    """The first use of an inherited session, and what an application does after it failed."""
    try:
        row = client.ask("select 'the child', pg_backend_pid()")[0]
        say("first", use=use, error="", wrong=row[0] != "the child", backend=row[1])
        return client
    except Exception as error:
        lost = client.lost(error)
        fresh = new()
        backend = fresh.ask("select pg_backend_pid()")[0][0]
        say("first", use=use, error=first_line(error), lost=lost, backend=backend)
        return fresh


def killed_in_a_query(session, new):
    client = renewed(session.client, new, "killed")
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    client.ask("select 'the child', pg_sleep(0.6)")
    say("broken", error="not killed")


def everyday(sessions, new, number):
    inherited = [session.client for session in sessions]
    clients = [renewed(client, new, "everyday") for client in inherited]
    if number == 0:
        for client in inherited:
            try:
                client.close()
            except Exception:
                pass  # some drivers complain about a lost session here, too
        clients = [client for client in clients if client not in inherited]
    ask_all("child", clients, number)
    if number == 1:
        os._exit(0)
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        sys.exit()  # everything is left to the finalizers


def ask_all(kind, clients, number):
    asked = right = 0
    errors = set()
    for round in range(ROUNDS):
        for place, client in enumerate(clients):
            asked += 1
            sent = (number + 1) * 10_000 + round * 10 + place
            try:
                right += is_right(sent, client.ask(query(sent))[0])
            except Exception as error:
                errors.add(first_line(error))
    say(kind, asked=asked, right=right, errors=sorted(errors))


def main():
    new = {"psycopg2": Psycopg2, "psycopg": Psycopg, "asyncpg": Asyncpg, "pg8000": Pg8000}[sys.argv[1]]
    sessions = [Session(new(), transaction=number == 2) for number in range(3)]
    say("parent", backends=[session.backend for session in sessions])

    os.waitpid(child(lambda: killed_in_a_query(sessions[0], new), SECONDS), 0)
    # The answer to its own question, or the late one to the child's?
    try:
        answer = sessions[0].client.ask("select 'the parent'")[0][0]
        say("asked", answer=answer)
    except Exception as error:
        say("asked", error=first_line(error))

    children = [child(lambda: everyday(sessions, new, number), SECONDS) for number in range(CHILDREN)]
    signal.alarm(SECONDS)
    ask_all("asking", [session.client for session in sessions], CHILDREN)
    for pid in children:
        os.waitpid(pid, 0)
    for number, session in enumerate(sessions):
        session.report(number)
    for session in sessions:
        session.client.close()
    say("end")


SECONDS = int(sys.argv[2])
main()
