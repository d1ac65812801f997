"""usage: secrets_.py CONNINFO: sessions of which every text and value holds a secret, each in another
place; then a child uses them all. $ADMIN is where tables are dropped meanwhile."""

import os
import sys

import psycopg2
from facts import child

SECRET = "hunter2"
CONNINFO, ADMIN = sys.argv[1], os.environ["ADMIN"]
# How each session lives: statements, and their parameters.
LIVES = [
    [(f"set app.key to '{SECRET}'",)],
    [("select set_config('app.key', %s, false)", [SECRET])],
    [(f"select set_config('app.key', '{SECRET}', false)",)],
    [("set app.key to %s", [SECRET])],
    [(f"prepare p as select '{SECRET}' as \"{SECRET}\" -- {SECRET}",), ("execute p",)],
    [(f"do $${'begin perform 1; end'}$$ /* {SECRET} */",)],
    [(f"alter role current_user password '{SECRET}'",)],
    [(f"create role \"{SECRET}\" login password '{SECRET}'",), (f'drop role "{SECRET}"',)],
    [(f"selec '{SECRET}'",)],
    [(f"select '{SECRET}' from nowhere",)],
    [(f"select '{SECRET}",)],
    [(f"select '{SECRET}'::int",)],
    [(f"select myfunc('{SECRET}')",)],
    [(f"select setseed(0.5) /* {SECRET} */, '{SECRET}'",)],
    [(f"copy (select '{SECRET}') to stdout",)],
    [(f"set app.key to '{SECRET}'; select 1/0 /* {SECRET} */",)],
    [(f"begin; set app.key to '{SECRET}'",)],
    [(f"set application_name to '{SECRET}'",)],
    [(f"set search_path to '{SECRET}'",)],
    [(f"listen {SECRET}",)],
    [(f"notify news, '{SECRET}'",)],
    [(f"create temp table t as select '{SECRET}'",)],
    [(f"declare c cursor with hold for select '{SECRET}'",)],
    [(f"update pg_settings set setting = '{SECRET}' where name = 'application_name'",)],
    # What it names is gone by the child's first use: the server's complaint quotes the text.
    [(f"prepare q as select '{SECRET}' from gone where name = '{SECRET}'",)],
    [(f"prepare q(text) as select gone_too($1, '{SECRET}')",)],
    [(f"set role going /* {SECRET} */",)],
]


def run(connection, sql, parameters=None):
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    except psycopg2.Error:
        pass


def admin(*statements):
    connection = psycopg2.connect(ADMIN)
    connection.autocommit = True
    for sql in statements:
        with connection.cursor() as cursor:
            cursor.execute(sql)


admin(
    "create table gone (name text)",
    "create function gone_too(text, text) returns text immutable language sql as 'select $1'",
    "create role going",
)
sessions = []
for life in LIVES:
    connection = psycopg2.connect(CONNINFO)
    connection.autocommit = True
    for statement in life:
        run(connection, *statement)
    sessions.append(connection)


def in_child():
    for connection in sessions:
        run(connection, f"select '{SECRET}'")
        run(connection, f"set app.key to '{SECRET}'")


admin("drop table gone", "drop function gone_too", "drop role going")
os.waitpid(child(in_child, 100), 0)
for connection in sessions:
    connection.close()
