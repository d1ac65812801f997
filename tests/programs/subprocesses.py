"""subprocesses.py CONNINFO WAY: Python's subprocess beside an open transaction. WAY is
`plain` (CPython makes the process with vfork) or `preexec_fn` (with fork: the function runs
in the child, before exec, and touches the session)."""
import os
import subprocess
import sys

import psycopg2

conninfo, way = sys.argv[1:]
session = psycopg2.connect(conninfo)
cursor = session.cursor()
cursor.execute("create temp table kept as select 7 as n")


def tell(name):
    cursor.execute("select pg_backend_pid(), txid_current(), (select n from kept)")
    print(f"{name}:", *cursor.fetchone(), flush=True)


def use(name):
    try:
        cursor.execute("select pg_backend_pid()")
        said = f"answered by backend {cursor.fetchone()[0]}"
    except psycopg2.Error as error:
        said = f"{'bad' if session.closed else 'still ok'}, {str(error).splitlines()[0]}"
    os.write(1, f"{name}: {said}\n".encode())


tell("before")
for _ in range(3):
    subprocess.run(
        ["sh", "-c", "echo ran: by the shell"],
        check=True,
        timeout=10,
        preexec_fn=(lambda: use("preexec_fn")) if way == "preexec_fn" else None,
    )
print("output:", subprocess.check_output(["sh", "-c", "cat"], input=b"to cat", timeout=10).decode(), flush=True)
tell("between")
pid = os.fork()
if pid == 0:
    use("child")
    session.close()
    os._exit(0)
os.waitpid(pid, 0)
try:
    tell("after")
except psycopg2.Error as error:
    print("after: lost,", str(error).splitlines()[0])
