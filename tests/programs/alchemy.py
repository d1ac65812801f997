"""usage: alchemy.py psycopg2|psycopg plain|ping SECONDS

An application with an SQLAlchemy engine of three connections, used before it forks: two are in
the pool, the third is in the middle of a transaction. First one child alone, then three at once
beside the parent, then one that does what SQLAlchemy's manual asked for of old:
`engine.dispose()`. A failed query is tried once more, as applications do.
"""

import os
import signal
import sys

from sqlalchemy import create_engine, exc, text

from facts import child, first_line, is_right, query, say

ROUNDS = 15
dialect, ping, seconds = sys.argv[1], sys.argv[2] == "ping", int(sys.argv[3])
engine = create_engine(
    f"postgresql+{dialect}://", pool_size=3, max_overflow=0, pool_timeout=10, pool_pre_ping=ping
)


def mark(connection, transaction=False):
    connection.execute(text("create temp table mark as select pg_backend_pid() as backend"))
    connection.commit()
    return look(connection, transaction)


def look(connection, transaction=False):
    number = "txid_current()" if transaction else "0"
    row = connection.execute(text(f"select pg_backend_pid(), (select backend from mark), {number}")).one()
    return list(row)


def ask(connection, number):
    row = connection.execute(text(query(number))).one()
    return is_right(number, row), row[2]


def use(kind, first):
    """Asks over two connections at a time, which is all that the pool has to spare."""
    asked = right = failed = lost = 0
    backends, errors = set(), set()
    for number in range(first, first + ROUNDS):
        for attempt in (1, 2):
            try:
                with engine.connect() as one, engine.connect() as other:
                    answers = [ask(one, number), ask(other, number + 1)]
                break
            except exc.DBAPIError as error:
                failed += 1
                lost += bool(error.connection_invalidated)
                errors.add(first_line(error))
        else:
            continue
        asked += 2
        right += sum(answer for answer, _ in answers)
        backends.update(backend for _, backend in answers)
    say(kind, asked=asked, right=right, failed=failed, lost=lost, backends=backends, errors=sorted(errors))


def disposed():
    engine.dispose()
    use("disposed", 40_000)


held = engine.connect()
pooled = [engine.connect() for _ in range(2)]
before = [mark(held, transaction=True), *map(mark, pooled)]
for connection in pooled:
    connection.close()
del connection, pooled
say("parent", backends=[backend for backend, _, _ in before])

os.waitpid(child(lambda: use("alone", 10_000), seconds), 0)
signal.alarm(seconds)
children = [child(lambda: use("together", 20_000 + number), seconds) for number in range(3)]
use("asking", 30_000)
for pid in children:
    os.waitpid(pid, 0)
os.waitpid(child(disposed, seconds), 0)

try:
    after = [look(held, transaction=True)]
    with engine.connect() as one, engine.connect() as other:
        after += sorted(map(look, (one, other)))
    before[1:] = sorted(before[1:])
    say("after", same=sum(was == now for was, now in zip(before, after)))
except Exception as error:
    say("after", same=0, error=first_line(error))
held.close()
engine.dispose()
