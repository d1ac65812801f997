"""usage: cancels.py psycopg2|psycopg busy|idle own|leave

cancels.c with the drivers' own ways. `busy`: the parent's statement runs, in another thread, at
the fork; `idle`: it is sent after it.
"""

import os
import signal
import sys
import threading

from facts import child, first_line, say

driver, busy = __import__(sys.argv[1]), sys.argv[2] == "busy"
WAYS = ["cancel"] if sys.argv[1] == "psycopg2" else ["cancel", "cancel_safe"]


def sleeps(connection, seconds):
    try:
        connection.cursor().execute(f"select pg_sleep({seconds}) /* {os.getpid()} */")
        return "finished"
    except driver.Error as error:
        return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or first_line(error)


def started(work):
    """Runs it in a thread; comes back when the server is at this process's statement."""
    thread = threading.Thread(target=work)
    thread.start()
    watch = driver.connect("")
    watch.autocommit = True
    cursor = watch.cursor()
    found = False
    sql = "select from pg_stat_activity where wait_event = 'PgSleep' and query like %s"
    while thread.is_alive() and not found:
        cursor.execute(sql, [f"%{os.getpid()} */"])
        found = cursor.rowcount > 0
    watch.close()
    return thread


def cancel(connection, way):
    try:
        getattr(connection, way)()
        return ""
    except driver.Error as error:
        return first_line(error)


def in_child(connection, way):
    os.read(go[0], 1)
    say("cancel", way=way, error=cancel(connection, way))
    if busy or sys.argv[3] == "leave":
        os._exit(0)  # psycopg2's lock on the connection was its parent's other thread's
    try:
        connection.cursor().execute("select 1")
    except driver.Error:
        return
    thread = started(lambda: say("own", way=way, result=sleeps(connection, 3)))
    cancel(connection, way)
    thread.join()


signal.alarm(30)
for way in WAYS:
    connection = driver.connect("")
    connection.autocommit = True
    go = os.pipe()

    def statement():
        say("statement", way=way, result=sleeps(connection, 2))

    if busy:
        thread = started(statement)
    pid = child(lambda: in_child(connection, way), 15)
    if not busy:
        thread = started(statement)
    os.write(go[1], b"!")
    thread.join()
    os.waitpid(pid, 0)
    connection.close()
