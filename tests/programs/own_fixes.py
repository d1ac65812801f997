"""usage: own_fixes.py FRAMEWORK

The framework's own fix, as docs/TROUBLESHOOTING.md has it: which backend answers the parent, its
child, and the parent again.
"""

import os
import sys

from facts import child, say

ASK = "select pg_backend_pid()"


def sqlalchemy():
    from sqlalchemy import create_engine, text

    engine = create_engine("postgresql+psycopg2://")

    def ask():
        with engine.connect() as connection:
            return connection.execute(text(ASK)).scalar()

    return ask, lambda: None, lambda: engine.dispose(close=False)


def django():
    from django.conf import settings

    connection = {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"]}
    settings.configure(DATABASES={"default": connection})
    from django.db import connections

    def ask():
        with connections["default"].cursor() as cursor:
            cursor.execute(ASK)
            return cursor.fetchone()[0]

    return ask, connections.close_all, lambda: None


def psycopg_pool():
    import psycopg_pool

    pool = psycopg_pool.ConnectionPool("", min_size=1, open=False)

    def ask():
        pool.open()  # once in each process, after the fork
        with pool.connection() as connection:
            return connection.execute(ASK).fetchone()[0]

    return ask, lambda: None, lambda: None


ask, before_the_fork, in_the_child = globals()[sys.argv[1]]()
if sys.argv[1] != "psycopg_pool":
    say("before", backend=ask())
before_the_fork()


def work():
    in_the_child()
    say("child", backend=ask())


os.waitpid(child(work, 10), 0)
say("after", backend=ask())
