"""The victim: an everyday Celery application, without a line about forking.

It uses its engine while the module is imported. That happens in the worker's main process, before
it forks, so all children inherit the same three sessions. It has no pool_pre_ping, no
worker_process_init, no NullPool.
"""

import os

from celery import Celery
from sqlalchemy import create_engine, text

from broker import use_folder

app = use_folder(Celery("tasks"), os.environ["DEMO_QUEUE"])

engine = create_engine(os.environ["DEMO_DATABASE"], pool_size=3)

# "Is the database there, and in the state we need?" asked at start-up, as many do.
warm = [engine.connect() for _ in range(3)]
for connection in warm:
    connection.execute(text("select 1"))
    connection.close()
del warm, connection


@app.task
def times_seven(number, width):
    """A query whose right answer is known: number * 7, and a text of `width` letters."""
    with engine.connect() as connection:
        answer, letters, backend = connection.execute(
            text("select :number * 7, repeat(chr(97 + :number % 26), :width), pg_backend_pid()"),
            {"number": number, "width": width},
        ).one()
    return {"answer": answer, "letters": letters, "backend": backend}
