"""usage: web_client.py gunicorn|uwsgi SECONDS

Starts `gunicorn --preload web_app` or uWSGI with the same application, sends it requests over loopback, six at a time, and stops it.
"""

import concurrent.futures
import http.client
import os
import re
import subprocess
import sys
import threading
import time

import psycopg2

from facts import first_line, is_right, say

REQUESTS = 120
WORKERS = 3
seconds = int(sys.argv[2])

# A hung worker is ended after so many seconds.
if sys.argv[1] == "gunicorn":
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(WORKERS), "--bind", "127.0.0.1:0"]
    # Its control socket would be in the home folder.
    command += ["--no-control-socket", "--timeout", str(seconds), "--graceful-timeout", "2"]
    command += ["web_app:application"]
else:
    # Loaded once, by the master, which is what it does unless it is told --lazy-apps.
    command = ["uwsgi", "--plugin", "python3", "--virtualenv", sys.prefix, "--module", "web_app", "--need-app"]
    command += ["--master", "--die-on-term", "--processes", str(WORKERS), "--http-socket", "127.0.0.1:0"]
    command += ["--harakiri", str(seconds), "--worker-reload-mercy", "2"]
name = f"web {os.getpid()}"
server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PGAPPNAME": name})
port = None
for line in server.stderr:  # ends with the server at the latest
    sys.stderr.write(line)
    if found := re.search(r"(?:Listening at: http://|bound to TCP address )127\.0\.0\.1:(\d+)", line):
        port = int(found[1])
        break
# Nobody reads the rest otherwise, and a full pipe would stop the server.
threading.Thread(target=lambda: sys.stderr.writelines(server.stderr), daemon=True).start()


def request(number):
    if time.monotonic() > end:
        return "failed", "no time left", 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", f"/?number={number}")
        response = connection.getresponse()
        body = response.read().decode()
    except Exception as error:
        return "failed", first_line(error), 0
    finally:
        connection.close()
    if response.status != 200:
        return ("lost" if body.startswith("lost: ") else "failed"), body, 0
    answer, letters, backend = (body.split(" ") + ["", ""])[:3]
    right = answer.isdigit() and is_right(number, (int(answer), letters))
    return ("right" if right else "wrong"), "", int(backend or 0)


end = time.monotonic() + 2 * seconds
with concurrent.futures.ThreadPoolExecutor(6) as threads:
    answers = list(threads.map(request, range(REQUESTS)))
say(
    "requests",
    asked=len(answers),
    **{kind: sum(answer[0] == kind for answer in answers) for kind in ("right", "wrong", "lost", "failed")},
    backends={answer[2] for answer in answers} - {0},
    errors=sorted({answer[1] for answer in answers} - {""}),
)
if sys.argv[1] == "uwsgi":
    # Its master never runs the application's code again. Whether its session is alive others can
    # tell; what it met, the server's log.
    with psycopg2.connect("") as connection, connection.cursor() as cursor:
        cursor.execute("select pid from pg_stat_activity where application_name = %s order by backend_start", [name])
        say("after", alive=cursor.fetchone()[0])
server.terminate()
try:
    server.wait(5)
except subprocess.TimeoutExpired:
    server.kill()
    server.wait()
