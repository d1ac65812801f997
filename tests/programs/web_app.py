"""What gunicorn serves: one connection for the whole module, opened again when it is lost, as
small applications have it. Also gunicorn's configuration, for the hook at the end."""

from urllib.parse import parse_qs

import psycopg2

from facts import first_line, query, say


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
ask("create temp table mark as select pg_backend_pid() as backend; select 1")
before = ask("select pg_backend_pid(), (select backend from mark)")


# In gunicorn's main process, when the workers are gone.
def on_exit(_):
    try:
        after = ask("select pg_backend_pid(), (select backend from mark)")
        say("after", same=int(after == before))
    except Exception as error:
        say("after", same=0, error=first_line(error))


# Also in the main process, when it listens.
def when_ready(_):
    say("parent", backends=before[:1])
