"""usage: psycopg_pools.py CHILDREN SECONDS

A psycopg_pool of three connections, used before the fork. A child that finds them alive goes on
with them, and then asks for one more than there are; its pool's threads have stayed with the
parent (as without the library), so nobody makes that. A child that finds them lost opens a pool
of its own. First one child alone, then so many beside the parent.
"""

import os
import signal
import sys

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from facts import WHO, child, first_line, is_right, query, say

SIZE = 3
ROUNDS = 15
together, seconds = map(int, sys.argv[1:])


def new():
    pool = ConnectionPool("", min_size=SIZE, max_size=SIZE + 1, timeout=10, open=True)
    pool.wait(10)
    return pool


def all_of(pool):
    """Every connection of it, for one after another would be the same one every time."""
    return [pool.getconn() for _ in range(SIZE)]


def give_back(connections):
    for connection in connections:
        pool.putconn(connection)


def look(connection):
    row = list(connection.execute(WHO).fetchone())
    connection.commit()  # or the pool's threads end its transaction, sooner or later
    return row


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
    own = new() if words else pool
    facts = {"tried": tried, "lost": lost, "words": sorted(words), "inherited": inherited}
    ask(own, "child", first, **facts)
    if own is pool:
        connections = all_of(pool)
        try:
            pool.getconn(timeout=0.3)
            say("grown")
        except PoolTimeout:
            say("not grown")
        give_back(connections)
    own.close()
    pool.close()


pool = new()
connections = all_of(pool)
before = sorted(map(look, connections))
give_back(connections)
del connections
say("parent", backends=[backend for backend, _ in before])

signal.alarm(seconds)
os.waitpid(child(lambda: in_child(10_000), seconds), 0)
children = [child(lambda: in_child(20_000 + number), seconds) for number in range(together)]
if together:
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
