"""usage: celery_client.py FOLDER TASKS SECONDS

The demo's victim and witness (demo/tasks.py, demo/witness.py, by PYTHONPATH and DEMO_*) in a
worker of two processes: sends the tasks, waits SECONDS at most for their end once it has started,
stops the worker and waits as long again, ends what is left of it, and says what the witness saw.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from celery import Celery

from broker import use_folder
from facts import say

folder, tasks, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
queue, journal = folder / "queue", folder / "journal"
(queue / "control").mkdir(parents=True)
os.environ |= {"DEMO_QUEUE": str(queue), "DEMO_JOURNAL": str(journal)}

# Not the victim's own app: its module connects when it is imported.
sender = use_folder(Celery(), queue)
for number in range(tasks):
    sender.send_task("tasks.times_seven", [number, (10, 3_000, 20_000)[number % 3]], ignore_result=True)
sender.close()

command = os.environ.get("CELERY_UNDER", "").split()  # "forkguard run --"
command += [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-I", "witness"]
command += ["-P", "prefork", "-c", "2", "--loglevel", "INFO"]
worker = subprocess.Popen(command, cwd=folder, stdout=sys.stderr, start_new_session=True)


def seen():
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


# A worker's start is no task's time: half a minute on a loaded machine.
end = time.monotonic() + 30
started = False
while worker.poll() is None and time.monotonic() < end:
    lines = seen()
    if sum(line["kind"] in ("done", "failed") for line in lines) >= tasks:
        break
    if lines and not started:
        started, end = True, time.monotonic() + seconds
    time.sleep(0.05)
worker.send_signal(signal.SIGTERM)
try:
    worker.wait(seconds)  # a sound one takes seven: two in drain_events, five in billiard's join
except subprocess.TimeoutExpired:
    pass
try:
    os.killpg(worker.pid, signal.SIGKILL)
except ProcessLookupError:
    pass
worker.wait()

for line in seen():
    kind = line.pop("kind")
    if kind == "parent":
        say("parent", backends=line["backends"])
    elif kind == "parent's sessions":
        say("after", same=line["intact"], errors=line["errors"])
    else:
        say(kind, worker=line.pop("pid"), **line)
