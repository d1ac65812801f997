"""One engine for the application, asked at start-up whether the database is there, as many do."""

import os

from sqlalchemy import create_engine, text

engine = create_engine(f"postgresql+{os.environ.get('MYAPP_DRIVER', 'psycopg2')}://")
with engine.connect() as connection:
    connection.execute(text("select 1"))


def answer(number):
    """What was asked, a short wait so that one process can't serve all, whose session, whose process."""
    with engine.connect() as connection:
        row = connection.execute(
            text("select :number * 7, pg_backend_pid(), pg_sleep(0.01)"), {"number": number}
        ).one()
    return f"{row[0]} {row[1]} {os.getpid()}"
