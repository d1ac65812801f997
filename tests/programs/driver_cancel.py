"""driver_cancel DRIVER: a child cancels through its driver while its parent's statement runs."""

import os
import sys
import threading
import time

driver = sys.argv[1]
if driver == "psycopg2":
    import psycopg2

    conn = psycopg2.connect("")
    cancel = conn.cancel
else:
    import psycopg

    conn = psycopg.connect("", autocommit=True)
    # cancel: PQcancel; cancel_safe: PQcancelBlocking and its like, encrypted (libpq 17).
    cancel = conn.cancel if driver == "psycopg cancel" else conn.cancel_safe
    print("libpq:", psycopg.pq.version())

told = []


def work():
    try:
        conn.cursor().execute("select pg_sleep(1.5)")
        told.append("undisturbed")
    except Exception as error:
        told.append(str(error).splitlines()[0])


worker = threading.Thread(target=work)
worker.start()
time.sleep(0.4)
pid = os.fork()
if pid == 0:
    try:
        cancel()
        print("child: sent")
    except Exception as error:
        print("child:", type(error).__name__, str(error).splitlines()[0])
    sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
worker.join()
print("parent:", told[0])
