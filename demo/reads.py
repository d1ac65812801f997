"""The victim of the last two runs: it has read at its start, and left open what it read with.

A scoped Session that nobody removed and a psycopg2 connection that nobody committed: each of them
is in a transaction that has only read when the worker forks. Every process goes on in both.
"""

import os

import psycopg2
from celery import Celery
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

from broker import use_folder

app = use_folder(Celery("reads"), os.environ["DEMO_QUEUE"])

database = os.environ["DEMO_DATABASE"]
Session = scoped_session(sessionmaker(bind=create_engine(database)))
raw = psycopg2.connect(database.replace("+psycopg2", ""))

# "Which encoding? Is there a table for us?" asked at start-up.
Session.execute(text("select count(*) from pg_class")).scalar_one()
with raw.cursor() as cursor:
    cursor.execute("show server_encoding")
    cursor.fetchone()

QUERY = "select {0} * 7, repeat(chr(97 + {0} % 26), {1}), pg_backend_pid()"


def by_session(*values):
    return Session.execute(text(QUERY.format(*values))).one()


def by_psycopg2(*values):
    with raw.cursor() as cursor:
        cursor.execute(QUERY.format(*values))
        return cursor.fetchone()


@app.task
def times_seven(number, width):
    """As in tasks.py; one task by the Session, the next by the connection."""
    ask = by_session if number % 2 else by_psycopg2
    answer, letters, backend = ask(number, width)
    return {"answer": answer, "letters": letters, "backend": backend}
