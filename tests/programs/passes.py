"""passes.py DRIVER: a session, a question, a cancel. The log says which calls pass the shims."""
import sys

if sys.argv[1] == "psycopg2":
    import psycopg2 as driver
else:
    import psycopg as driver

connection = driver.connect("")
cursor = connection.cursor()
cursor.execute("select 42")
print(f"answer: {cursor.fetchone()[0]}", flush=True)
connection.cancel()
connection.close()
