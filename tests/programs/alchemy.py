"""usage: alchemy.py psycopg2|psycopg plain|ping CHILDREN SECONDS

An application with an SQLAlchemy engine of three connections, used before it forks: two are in
the pool, the third is in the middle of a transaction. First one child alone, then so many at once
beside the parent, then one that does what SQLAlchemy's manual asked for of old:
`engine.dispose()`. A failed query is tried once more, as applications do.
"""

import os
import signal
import sys

from sqlalchemy import create_engine, exc, text

from facts import WHO, child, first_line, is_right, query, say

ROUNDS = 15
dialect, ping = sys.argv[1], sys.argv[2] == "ping"
together, seconds = map(int, sys.argv[3:])
engine = create_engine(
    f"postgresql+{dialect}://", pool_size=3, max_overflow=0, pool_timeout=10, pool_pre_ping=ping
)


def mark(number):
    """Opens one: its settings are its state, and for the one that is held a temporary table."""
    connection = engine.connect()
    connection.execute(text(f"set application_name = 'mark {number}'"))
    if number == 0:
        connection.execute(text("create temp table held as select 7 as n"))
    connection.commit()
    return connection


def look(connection, more="0"):
    return list(connection.execute(text(WHO.replace(" from", f", current_setting('application_name'), {more} from"))).one())


def look_held():
    return look(held, "txid_current() + (select n from held)")


def ask(connection, number):
    row = connection.execute(text(query(number))).one()
    marked = connection.scalar(text("show application_name")).startswith("mark ")
    return is_right(number, row), row[2], marked


def use(kind, first):
    """Asks over two connections at a time, which is all that the pool has to spare."""
    asked = right = failed = lost = state = 0
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
        right += sum(answer[0] for answer in answers)
        backends.update(answer[1] for answer in answers)
        state += sum(answer[2] for answer in answers)
    say(kind, asked=asked, right=right, failed=failed, lost=lost, state=state, backends=backends,
        errors=sorted(errors))  # fmt: skip


def disposed():
    engine.dispose()
    use("disposed", 40_000)


held, *pooled = [mark(number) for number in range(3)]
before = [look_held(), *map(look, pooled)]
for connection in pooled:
    connection.close()
del connection, pooled
say("parent", backends=[backend for backend, *_ in before])

os.waitpid(child(lambda: use("alone", 10_000), seconds), 0)
signal.alarm(seconds)
children = [child(lambda: use("together", 20_000 + number), seconds) for number in range(together)]
if together:
    use("asking", 30_000)
for pid in children:
    os.waitpid(pid, 0)
os.waitpid(child(disposed, seconds), 0)

try:
    after = [look_held()]
    with engine.connect() as one, engine.connect() as other:
        after += sorted(map(look, (one, other)))
    before[1:] = sorted(before[1:])
    say("after", same=sum(was == now for was, now in zip(before, after)))
except Exception as error:
    say("after", same=0, error=first_line(error))
held.close()
engine.dispose()
