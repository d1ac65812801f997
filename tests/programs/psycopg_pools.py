"""usage: psycopg_pools.py SECONDS

A psycopg_pool of three connections, used before the fork. A child finds them lost; its pool's
threads have stayed with the parent (as without the library), so it opens a pool of its own, and
closes both. The parent asks meanwhile.
"""

import os
import signal
import sys

import psycopg
from psycopg_pool import ConnectionPool

from facts import child, first_line, is_right, query, say

SIZE = 3
ROUNDS = 15
seconds = int(sys.argv[1])


def new():
    pool = ConnectionPool("", min_size=SIZE, max_size=SIZE, timeout=10, open=True)
    pool.wait(10)
    return pool


def all_of(pool):
    """Every connection of it, for one after another would be the same one every time."""
    return [pool.getconn() for _ in range(SIZE)]


def give_back(connections):
    for connection in connections:
        pool.putconn(connection)


def look(connection):
    return list(connection.execute("select pg_backend_pid(), (select backend from mark)").fetchone())


def ask(pool, kind, first, **more):
    right, backends, errors = 0, set(), set()
    for number in range(first, first + ROUNDS):
        try:
            with pool.connection() as connection:
                row = connection.execute(query(number)).fetchone()
            right += is_right(number, row)
            backends.add(row[2])
        except Exception as error:
            errors.add(first_line(error))
    say(kind, asked=ROUNDS, right=right, backends=backends, errors=sorted(errors), **more)


def in_child(first):
    tried, lost, words, inherited = 0, 0, set(), set()
    for _ in range(SIZE):
        tried += 1
        try:
            with pool.connection() as connection:
                inherited.add(connection.execute("select pg_backend_pid()").fetchone()[0])
        except psycopg.OperationalError as error:
            lost += connection.closed
            words.add(first_line(error))
    own = new()
    ask(own, "child", first, tried=tried, lost=lost, words=sorted(words), inherited=inherited)
    own.close()
    pool.close()


pool = new()
connections = all_of(pool)
for connection in connections:
    connection.execute("create temp table mark as select pg_backend_pid() as backend")
    connection.commit()
before = sorted(map(look, connections))
give_back(connections)
del connections, connection
say("parent", backends=[backend for backend, _ in before])

signal.alarm(seconds)
os.waitpid(child(lambda: in_child(10_000), seconds), 0)
children = [child(lambda: in_child(20_000 + number), seconds) for number in range(2)]
ask(pool, "asking", 30_000)
for pid in children:
    os.waitpid(pid, 0)

try:
    connections = all_of(pool)
    after = sorted(map(look, connections))
    say("after", same=sum(was == now for was, now in zip(before, after)))
    give_back(connections)
except Exception as error:
    say("after", same=0, error=first_line(error))
pool.close()
