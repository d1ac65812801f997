"""usage: detector.py CLIENT loop|places

A session made before a fork, by CLIENT, and used by a child of multiprocessing: in each client's
`use` one line asks, and is marked. The parent waits, so that the child is answered.
"""

import asyncio
import multiprocessing
import os
import sys

from facts import say


def with_psycopg2():
    import psycopg2

    conn = psycopg2.connect("")
    conn.autocommit = True
    cursor = conn.cursor()

    def use():
        cursor.execute("select 'the answer'")  # guilty: psycopg2
        return cursor.fetchone()[0]

    return use


def with_psycopg():
    import psycopg

    conn = psycopg.connect("", autocommit=True)

    def use():
        return conn.execute("select 'the answer'").fetchone()[0]  # guilty: psycopg

    return use


def with_asyncpg():
    import asyncpg

    loop = asyncio.new_event_loop()
    # What a child prepares under a name, its parent would prepare again.
    conn = loop.run_until_complete(asyncpg.connect(statement_cache_size=0))

    def use():
        return loop.run_until_complete(conn.fetchval("select 'the answer'"))  # guilty: asyncpg

    return use


def child(use, how):
    if how == "places":
        exec("use()\n" * 1100)
    for _ in range(100 if how == "loop" else 1):
        answer = use()
    say("child", answer=answer)


def main():
    client, how = sys.argv[1:]
    use = globals()["with_" + client]()
    # It leaves by os._exit: nothing of its parent's is cleaned up in it.
    process = multiprocessing.get_context("fork").Process(target=child, args=(use, how))
    process.start()
    process.join(30)
    say("parent", exitcode=process.exitcode, after=use())
    sys.stdout.flush()
    os._exit(0)


main()
