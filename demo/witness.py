"""Watches the victim from beside it: `celery -A tasks worker -I witness`; or `-A reads`. Changes nothing in it.

Writes one JSON line for each task, and at the end one on the sessions of the worker's main
process, to $DEMO_JOURNAL. A line is one write to a file opened for appending, so that the
lines of several processes do not mix.
"""

import importlib
import json
import os

from celery import current_app, signals
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

victim = importlib.import_module(current_app.main)


def note(**line):
    journal = os.open(os.environ["DEMO_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(journal, (json.dumps(line) + "\n").encode())
    os.close(journal)


def first_line(error):
    return (str(error).strip() or repr(error)).splitlines()[0]


def connections():
    """Of this process, as its driver knows them; the victim's own, or all that are in its pool."""
    if hasattr(victim, "raw"):
        return [victim.Session.connection().connection, victim.raw]
    return [victim.engine.raw_connection() for _ in range(victim.engine.pool.size())]


def backend_of(connection):
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return cursor.fetchone()[0]


def look_from_outside():
    """Backend -> who it is. A server may give a number again, but not with the same time; and a
    transaction that was open is still the same one. Asked on a connection of our own: it leaves
    nothing behind in the victim's, for then no child's could be equal to it.
    """
    who = text("select pid, (backend_start, xact_start)::text from pg_stat_activity")
    with create_engine(os.environ["DEMO_DATABASE"], poolclass=NullPool).connect() as outside:
        return dict(outside.execute(who).all())


everyone = look_from_outside()
held = connections()
before = {backend: everyone[backend] for backend in map(backend_of, held)}
if hasattr(victim, "engine"):
    for connection in held:
        connection.close()
del held
note(kind="parent", pid=os.getpid(), backends=list(before))


# In the children.
@signals.task_success.connect
def succeeded(sender, result, **_):
    number, width = sender.request.args
    right = result["answer"] == number * 7 and result["letters"] == chr(97 + number % 26) * width
    note(kind="done", number=number, right=right, pid=os.getpid(), backend=result["backend"])


@signals.task_failure.connect
def failed(sender, exception, args, **_):
    note(
        kind="failed",
        number=args[0],
        pid=os.getpid(),
        error=f"{type(exception).__name__}: {first_line(exception)}",
        # SQLAlchemy's own verdict: "this was a lost connection", which it renews by itself.
        disconnect=bool(getattr(exception, "connection_invalidated", False)),
    )


# In the main process again, when the children are gone: does each session still answer, and
# is it still the same one?
@signals.worker_shutdown.connect
def look_again(**_):
    intact = 0
    errors = []
    now = look_from_outside()
    for connection in connections():  # all held, or the pool would hand out the first one three times
        try:
            backend = backend_of(connection)
            intact += backend in before and now[backend] == before[backend]
        except Exception as error:
            errors.append(f"{type(error).__name__}: {first_line(error)}")
    note(kind="parent's sessions", intact=intact, errors=errors)
