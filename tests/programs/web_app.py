"""What gunicorn and uWSGI serve: one connection for the whole module, opened again when it is
lost, as small applications have it. The module is loaded by the main process, before it forks."""

import atexit
import os
from urllib.parse import parse_qs

import psycopg2

from facts import WHO, first_line, query, say


def connect():
    global connection
    connection = psycopg2.connect("")
    connection.autocommit = True


def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


def application(environ, start_response):
    number = int(parse_qs(environ["QUERY_STRING"])["number"][0])
    status = "200 OK"
    try:
        ask("select pg_sleep(0.01)")  # so that one worker can't serve them all
        body = " ".join(map(str, ask(query(number))))
    except Exception as error:
        status = "500 Internal Server Error"
        body = ("lost: " if connection.closed else "") + first_line(error)
        if connection.closed:
            connect()
    start_response(status, [("Content-Type", "text/plain")])
    return [body.encode()]


connect()
before = ask(WHO)


def after():
    if os.getpid() != main_process:
        return
    try:
        say("after", same=int(ask(WHO) == before))
    except Exception as error:
        say("after", same=0, error=first_line(error))


# When the workers are gone.
main_process = os.getpid()
atexit.register(after)
say("parent", backends=before[:1])
