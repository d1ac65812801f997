"""usage: workers.py Pool|ProcessPoolExecutor SECONDS

Workers by `multiprocessing` or `concurrent.futures`, started by fork, in a program with one
global connection, as scripts have it. It is opened again when psycopg2 knows it for lost.
"""

import concurrent.futures
import multiprocessing
import os
import sys

import psycopg2

from facts import WHO, first_line, is_right, query, say

TASKS = 60
WORKERS = 3


def connect():
    global connection
    connection = psycopg2.connect("")
    connection.autocommit = True


def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


def task(number):
    errors = []
    for _ in range(2):
        try:
            # Long enough that no worker can do the others' tasks, too.
            ask("select pg_sleep(0.01)")
            row = ask(query(number))
            return os.getpid(), is_right(number, row), row[2], errors
        except Exception as error:
            errors.append(("lost: " if connection.closed else "") + first_line(error))
            if connection.closed:
                connect()
    return os.getpid(), False, 0, errors


kind, seconds = sys.argv[1], int(sys.argv[2])
connect()
before = ask(WHO)
say("parent", backends=before[:1])

fork = multiprocessing.get_context("fork")
try:
    if kind == "Pool":
        with fork.Pool(WORKERS) as pool:
            answers = pool.map_async(task, range(TASKS), chunksize=1).get(seconds)
            pool.close()
            pool.join()
    else:
        # Not by `with`, which would wait for workers that hang.
        pool = concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=fork)
        answers = list(pool.map(task, range(TASKS), timeout=seconds))
        pool.shutdown()
except (multiprocessing.TimeoutError, TimeoutError):
    say("hung")
    # The workers wait for ever: no orderly way out.
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(1)

for pid in sorted({answer[0] for answer in answers}):
    own = [answer for answer in answers if answer[0] == pid]
    errors = [error for answer in own for error in answer[3]]
    say(
        "worker",
        worker=pid,
        asked=len(own),
        right=sum(answer[1] for answer in own),
        backends={answer[2] for answer in own},
        failed=len(errors),
        lost=sum(error.startswith("lost: ") for error in errors),
        errors=sorted(set(errors)),
    )
try:
    after = ask(WHO)
    say("after", same=int(after == before))
except Exception as error:
    say("after", same=0, error=first_line(error))
connection.close()
