"""Watches the victim from beside it: `celery -A tasks worker -I witness`. Changes nothing in it.

Writes one JSON line for each task, and at the end one on the sessions of the worker's main
process, to $DEMO_JOURNAL. A line is one write to a file opened for appending, so that the
lines of several processes do not mix.
"""

import json
import os

from celery import signals
from sqlalchemy import text

from tasks import engine


def note(**line):
    journal = os.open(os.environ["DEMO_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(journal, (json.dumps(line) + "\n").encode())
    os.close(journal)


def first_line(error):
    return (str(error).strip() or repr(error)).splitlines()[0]


# Who a session is. A server may give a backend's number again, but not with the same time. It
# leaves nothing behind in the session, for then no child's could be equal to it.
WHO = text("select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()")

pool = [engine.connect() for _ in range(engine.pool.size())]
before = [connection.execute(WHO).one() for connection in pool]
for connection in pool:
    connection.close()
del pool, connection
note(kind="parent", pid=os.getpid(), backends=[who.pid for who in before])


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
    held = []  # one after another, or the pool would hand out the first one three times
    for _ in before:
        try:
            connection = engine.connect()
            held.append(connection)
            intact += connection.execute(WHO).one() in before
        except Exception as error:
            errors.append(f"{type(error).__name__}: {first_line(error)}")
    note(kind="parent's sessions", intact=intact, errors=errors)
