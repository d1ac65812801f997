"""What the clients' programs share: facts for the test to judge, and a query with a known answer."""

import os
import signal
import sys

ASK = "select {0} * 7, repeat(chr(97 + {0} % 26), {1}), pg_backend_pid()"

# A session that answers twice alike is the same one: a backend's number may come again, but not
# with the same time. Nothing is left in it, as with a temporary table, that no other can have.
WHO = "select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()"


def query(number):
    """From an answer that fits one read to one that takes several (libpq's buffer and a TLS
    record hold 16 KiB)."""
    return ASK.format(number, (10, 3_000, 20_000)[number % 3])


def is_right(number, row):
    return row[0] == number * 7 and row[1] == chr(97 + number % 26) * (10, 3_000, 20_000)[number % 3]


def say(kind, **facts):
    """One line, in one write, so that those of several processes do not mix."""
    line = [f"@{kind}", f"pid={os.getpid()}", *(f"{name}={flat(value)}" for name, value in facts.items())]
    os.write(1, ("\t".join(line) + "\n").encode())


def child(work, seconds):
    """Forks one, which ends as a Python program does, with its finalizers, or by SIGALRM when it
    has lived so long. Returns its number."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(seconds)
        try:
            work()
        except Exception as error:
            say("broken", error=first_line(error))
        sys.exit()
    return pid


def flat(value):
    if isinstance(value, (list, tuple, set)):
        return ",".join(map(flat, value))
    return " ".join(str(value).split())[:300]


def first_line(error):
    return f"{type(error).__name__}: {(str(error).strip() or repr(error)).splitlines()[0]}"
