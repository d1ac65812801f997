"""usage: server_faults.py CONNINFO: as server_faults.c, by psycopg2. How its child is told: the class
of the error, and what SQLAlchemy makes of it."""

import os
import sys
import time

import psycopg2
from facts import child
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2



def say(name, text):
    os.write(1, f"{name}: {text}\n".encode())


connection = psycopg2.connect(sys.argv[1])
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("set app.tenant to 'one'")
if "STATEMENT" in os.environ:
    cursor.execute(os.environ["STATEMENT"])


def use(name):
    try:
        cursor.execute("select current_setting('app.tenant', true), pg_backend_pid()")
        say(name, "answered {} by backend {}".format(*cursor.fetchone()))
    except psycopg2.Error as error:
        lost = PGDialect_psycopg2(dbapi=psycopg2).is_disconnect(error, connection, None)
        say(name, f"{type(error).__name__}, {'disconnect' if lost else 'no disconnect'}, {str(error)!r}")


def in_child():
    meeting = os.environ["MEETING"]
    open(f"{meeting}/ready.py", "w").close()
    end = time.monotonic() + 60
    while not os.path.exists(f"{meeting}/go") and time.monotonic() < end:
        time.sleep(0.01)
    use("child")


say("backend", connection.info.backend_pid)
os.waitpid(child(in_child, 150), 0)
use("parent")
