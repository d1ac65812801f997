"""usage: exits.py psycopg2|psycopg|sqlalchemy|scoped_session|django [transaction] CHILDREN

A connection that was used, and children that only end, one after the other. With STOP, a process
that is stopped before the first of them and goes on after the last.
"""

import os
import signal
import sys

KIND, CHILDREN = sys.argv[1], int(sys.argv[-1])
IN_TRANSACTION = sys.argv[2] == "transaction"

if KIND == "sqlalchemy":
    import sqlalchemy

    engine = sqlalchemy.create_engine("postgresql+psycopg2://", pool_size=2)
    held = engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def ask():
        return held.execute(sqlalchemy.text("select 1")).scalar()

    with engine.connect() as other:  # and one that lies in the pool
        other.execute(sqlalchemy.text("select 1"))
        sessions = 2
elif KIND == "django":
    import django
    from django.conf import settings
    from django.db import connection

    names = {"NAME": os.environ["PGDATABASE"], "USER": os.environ["PGUSER"], "HOST": os.environ["PGHOST"]}
    default = {"ENGINE": "django.db.backends.postgresql", "PORT": os.environ["PGPORT"], "CONN_MAX_AGE": None}
    settings.configure(DATABASES={"default": default | names})
    django.setup()
    sessions = 1

    def ask():
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            return cursor.fetchone()[0]
elif KIND == "scoped_session":
    import sqlalchemy
    from sqlalchemy.orm import scoped_session, sessionmaker

    scoped = scoped_session(sessionmaker(sqlalchemy.create_engine("postgresql+psycopg2://")))
    sessions = 1

    def ask():  # and leaves its transaction open
        return scoped.execute(sqlalchemy.text("select 1")).scalar()
else:
    connection = __import__(KIND).connect("")
    connection.autocommit = not IN_TRANSACTION
    sessions = 1

    def ask():
        with connection.cursor() as cursor:
            cursor.execute("select %s::int", (1,), **({"prepare": True} if KIND == "psycopg" else {}))
            return cursor.fetchone()[0]


ask()
stopped = int(os.environ.get("STOP", 0))
if stopped:
    os.kill(stopped, signal.SIGSTOP)
for number in range(CHILDREN):
    pid = os.fork()
    if pid == 0:
        if KIND == "scoped_session" and number % 2:
            scoped.remove()
        elif KIND.startswith("psycopg"):
            if number % 3 == 1:
                connection.rollback()  # without "transaction", of nothing
            if number % 3:
                connection.close()
        sys.exit(0)
    _, status = os.waitpid(pid, 0)
    print("ended:", status, flush=True)
if stopped:
    os.kill(stopped, signal.SIGCONT)
print("sessions:", sessions)
print("parent:", ask(), flush=True)
