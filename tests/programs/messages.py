"""usage: messages.py CASE

One way in which two processes come to share a session, step by step, and the message it brings: the
headings of docs/TROUBLESHOOTING.md. No step depends on who is faster.
"""

import os
import signal
import socket
import sys
import time

import psycopg
import psycopg2

from facts import first_line, say


def child(work):
    """Runs in a child that ends without any clean-up, and waits for its end."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            work()
        except Exception as error:
            say("child", error=first_line(error))
        os._exit(0)
    return pid


def met(query):
    try:
        say("parent", answer=query())
    except Exception as error:
        say("parent", error=str(error))


def pg2():
    connection = psycopg2.connect("")
    connection.autocommit = True
    return connection, connection.cursor()


def arrived(connection, least):
    """Waits until so many bytes have come, and leaves them there."""
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        end = time.monotonic() + 10  # a loaded machine
        while time.monotonic() < end:
            try:
                if len(wire.recv(least, socket.MSG_PEEK | socket.MSG_DONTWAIT)) == least:
                    return
            except BlockingIOError:
                pass
            time.sleep(0.01)
    sys.exit("no answer comes")


def sent_by_a_child(sql, read=False):
    """A session on which a child has sent, and left before it read its answer, or read a part."""
    connection = psycopg.connect("", autocommit=True)

    def work():
        connection.pgconn.send_query(sql.encode())
        connection.pgconn.flush()
        if read:
            arrived(connection, 40000)  # of more than one read takes
            connection.pgconn.consume_input()

    os.waitpid(child(work), 0)
    if "LD_PRELOAD" not in os.environ:  # under the library the child's answer never comes here
        arrived(connection, 1)
    return connection


def decryption():
    connection, cursor = pg2()
    os.waitpid(child(lambda: cursor.execute("select 1")), 0)
    met(lambda: cursor.execute("select 2"))


def tuples_ok():
    connection, cursor = pg2()
    pid = child(lambda: cursor.execute("select pg_sleep(0.5)"))
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)  # as an out-of-memory killer, or a time limit, does
    os.waitpid(pid, 0)
    connection.autocommit = False
    time.sleep(0.5)
    met(lambda: cursor.execute("select 2"))  # begins a transaction first


def wrong_rows():
    connection = sent_by_a_child("select 'the child''s answer'")
    met(lambda: connection.execute("select 'the parent''s answer'").fetchone()[0])


def synchronization():
    connection = sent_by_a_child("select repeat('x', 10000000)", read=True)
    met(lambda: connection.execute("select 2").fetchone())


def while_idle():
    connection = sent_by_a_child("select 1")
    # psycopg hands notices to a function; this one keeps what libpq said.
    connection.pgconn.notice_handler = lambda result: say("parent", error=result.error_message.decode())
    connection.pgconn.consume_input()
    connection.pgconn.is_busy()


def two_results():
    connection = sent_by_a_child("select 1; select 2")
    connection.autocommit = False
    met(lambda: connection.execute("select 3").fetchone())


def in_progress():
    connection = psycopg.connect("", autocommit=True)
    connection.pgconn.send_query(b"select pg_sleep(0.1)")
    os.waitpid(child(lambda: connection.pgconn.send_query(b"select 1")), 0)


def closed():
    connection, cursor = pg2()
    os.waitpid(child(connection.close), 0)
    time.sleep(0.2)
    met(lambda: cursor.execute("select 2"))


globals()[sys.argv[1]]()
os._exit(0)  # what is left of the sessions is not to be closed in good order
