"""exempt.py: a program that is named for its script. $CONNINFO."""
import os

import psycopg2

session = psycopg2.connect(os.environ["CONNINFO"])
cursor = session.cursor()
if os.fork() == 0:
    try:
        cursor.execute("select pg_backend_pid()")
        said = f"answered by backend {cursor.fetchone()[0]}"
    except psycopg2.Error as error:
        said = f"bad, {str(error).splitlines()[0]}"
    os.write(1, f"child: {said}\n".encode())
    os._exit(0)
os.wait()
