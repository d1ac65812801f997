"""make demo: the same Celery worker without and with libforkguard, and what came of it.

Starts a private server (tools/pg-cluster) and gives a few hundred tasks to a worker of four
processes, ten times: psycopg2 and psycopg, TLS and plain, and with the main process's reads left
open; each without the library and with it. Prints one table and a verdict; --verbose prints what each
run saw. Exits 0 only if every run without the library shows the fault, and not one task fails with
it. The victims are tasks.py and reads.py; witness.py watches them. Logs, journals and the details
stay in target/demo.
"""

import argparse
import collections
import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery

from broker import use_folder

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target/demo"
LIBRARY = Path(os.environ.get("FORKGUARD_LIBRARY", ROOT / "target/release/libforkguard.so"))

# Open reads: the main process never ends the transactions it reads in.
KINDS = [(dialect, kind) for dialect in ("psycopg2", "psycopg") for kind in ("TLS", "plain")]
KINDS += [("psycopg2", "open reads")]

PROCESSES = 4
# Nothing finished for so long: what is left is hung. A task takes milliseconds; a worker on a
# loaded two-core machine starts in two to four seconds.
SILENCE = 10
UNGUARDED_SILENCE = 4
# A run as a whole, and the worker's way out after SIGTERM: a sound one takes seven seconds, a
# hung one for ever. Sixteen are left to it guarded, three unguarded.
RUN_LIMIT = 30
EXIT_LIMIT = 16
UNGUARDED_EXIT_LIMIT = 3

# What a server writes when two clients talk into one session. A lost client is not among them:
# that is only an end.
FAULTS = re.compile(
    "invalid frontend message type|unexpected message type|protocol synchronization was lost"
    "|lost synchronization|invalid message|data left in message|SSL error|SSL SYSCALL"
    "|bad record mac|wrong version number|there is already a transaction in progress"
    "|there is no transaction in progress",
    re.IGNORECASE,
)


class Cluster:
    """A private server for as long as this process lives: it ends with the pipe."""

    def __enter__(self):
        self.home = Path(tempfile.mkdtemp(prefix="forkguard-demo."))
        self.home.chmod(0o755)  # the server runs as another user when we are root
        self.process = subprocess.Popen(
            [ROOT / "tools/pg-cluster", self.home / "cluster"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Two minutes: above all of pg-cluster's own limits together on a good day.
        ready, _, _ = select.select([self.process.stdout], [], [], 120)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.__exit__()
            sys.exit("demo: the server did not start")
        facts = dict(pair.split("=", 1) for pair in line.split())
        self.host, self.port, self.log = facts["PGHOST_TCP"], facts["PGPORT"], Path(facts["PGLOG"])
        return self

    def __exit__(self, *_):
        if hasattr(self, "log") and self.log.exists():
            shutil.copy(self.log, OUT / "server.log")
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def end_group(worker):
    """The worker and all it forked, by the number of their process group."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    worker.wait()


def read_journal(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


class Run:
    """One worker, from its first task to its end, and what the witness saw."""

    def __init__(self, cluster, dialect, kind, guarded, tasks):
        self.title = (dialect, kind, "guarded" if guarded else "unguarded")
        sslmode = "disable" if kind == "plain" else "require"
        victim = "reads" if kind == "open reads" else "tasks"
        self.name = ", ".join(self.title)
        self.guarded, self.tasks = guarded, tasks
        home = OUT / "-".join(self.title).replace(" ", "-")
        queue = home / "queue"
        (queue / "control").mkdir(parents=True)
        (home / "tmp").mkdir()
        journal = home / "journal"

        sender = use_folder(Celery(), queue)
        for number in range(tasks):
            # From an answer that fits one read to one that takes several (a TLS record holds
            # 16 KiB, libpq's buffer begins with as much).
            width = (10, 3_000, 20_000, 60_000)[number % 4]
            sender.send_task(f"{victim}.times_seven", [number, width], ignore_result=True)
        sender.close()

        environment = {k: v for k, v in os.environ.items() if not k.startswith(("FORKGUARD_", "LD_PRELOAD", "PG"))}
        environment["DEMO_QUEUE"] = str(queue)
        environment["DEMO_JOURNAL"] = str(journal)
        environment["DEMO_DATABASE"] = (
            f"postgresql+{dialect}://forkguard@{cluster.host}:{cluster.port}/forkguard"
            f"?sslmode={sslmode}&gssencmode=disable"
        )
        environment["PYTHONPATH"] = str(ROOT / "demo")
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment["TMPDIR"] = str(home / "tmp")  # what a killed worker leaves there goes with target/
        worker = [sys.executable, "-m", "celery", "-A", victim, "worker", "-I", "witness"]
        worker += ["-P", "prefork", "-c", str(PROCESSES), "--loglevel", "INFO"]
        preload = [f"LD_PRELOAD={LIBRARY}"] if guarded else []

        log_mark = cluster.log.stat().st_size
        began = time.monotonic()
        with open(home / "worker.log", "wb") as output:
            process = subprocess.Popen(
                # pdeathsig: a demo killed outright leaves no worker behind.
                ["setpriv", "--pdeathsig", "TERM", "env", *preload, *worker],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait_for_tasks(process, journal)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(EXIT_LIMIT if guarded else UNGUARDED_EXIT_LIMIT)
            except subprocess.TimeoutExpired:
                pass
        finally:
            end_group(process)
        self.seconds = time.monotonic() - began
        self.sum_up(read_journal(journal))
        with open(cluster.log, errors="replace") as log:
            log.seek(log_mark)
            self.faults = [line.strip() for line in log if FAULTS.search(line)]

    def wait_for_tasks(self, process, journal):
        began = heard = time.monotonic()
        # It starts as slowly as a guarded one.
        silence, size = SILENCE, 0
        while process.poll() is None:
            now = time.monotonic()
            lines = journal.read_bytes() if journal.exists() else b""
            if len(lines) != size:
                size, heard = len(lines), now
                silence = SILENCE if self.guarded or lines.count(b"\n") < 2 else UNGUARDED_SILENCE
            finished = lines.count(b'"kind": "done"') + lines.count(b'"kind": "failed"')
            if finished >= self.tasks or now - heard > silence or now - began > RUN_LIMIT:
                return
            time.sleep(0.1)

    def sum_up(self, journal):
        done = [line for line in journal if line["kind"] == "done"]
        self.failures = [line for line in journal if line["kind"] == "failed"]
        self.done = len(done)
        self.wrong = sum(not line["right"] for line in done)
        self.lost = self.tasks - self.done - len(self.failures)
        self.errors = collections.Counter(line["error"] for line in self.failures)

        parents = [line for line in journal if line["kind"] == "parent"]
        if not parents:
            sys.exit(f"demo: the worker did not start ({self.name}): see {OUT}")
        self.inherited = parents[0]["backends"]
        verdicts = [line for line in journal if line["kind"] == "parent's sessions"]
        self.intact = verdicts[0]["intact"] if verdicts else None  # None: it never came to answer
        for error in verdicts[0]["errors"] if verdicts else []:
            self.errors[f"(main process) {error}"] += 1

        # Process -> the server backends that answered it, the main process first.
        self.backends = {parents[0]["pid"]: list(self.inherited)}
        for line in done:
            seen = self.backends.setdefault(line["pid"], [])
            if line["backend"] not in seen:
                seen.append(line["backend"])
        users = collections.Counter(backend for seen in self.backends.values() for backend in set(seen))
        self.seen = set(users)
        self.shared = {backend for backend, count in users.items() if count > 1}

    def shows_the_fault(self):
        return bool(self.failures or self.wrong or self.lost or self.faults or self.intact != len(self.inherited))

    def objections(self):
        """Why this guarded run is not good enough; empty if it is."""
        checks = [
            (self.failures, f"{len(self.failures)} tasks failed"),
            (self.wrong, f"{self.wrong} wrong answers"),
            (self.lost, f"{self.lost} tasks lost or hung"),
            (self.faults, f"{len(self.faults)} faults in the server's log, the first: {self.faults[:1]}"),
            (self.intact != len(self.inherited), "the main process's sessions did not all survive"),
            (self.shared, "processes shared a server backend"),
        ]
        return [text for objection, text in checks if objection]


def table(runs):
    """Five rows, two columns: all runs without the library, and all with it."""
    columns = [[run for run in runs if run.guarded == guarded] for guarded in (False, True)]

    def row(title, count, total):
        cells = (f"{sum(map(count, column))} of {sum(map(total, column))}" for column in columns)
        print(f"{title:<32}" + "".join(f"{cell:>16}" for cell in cells))

    def tasks(run):
        return run.tasks

    print(f"\n{'':<32}{'without':>16}{'with':>16}")
    row("tasks failed", lambda run: len(run.failures), tasks)
    row("tasks lost or hung", lambda run: run.lost, tasks)
    row("wrong answers", lambda run: run.wrong, tasks)
    row("parent's sessions broken (1)", lambda run: len(run.inherited) - (run.intact or 0), lambda run: len(run.inherited))
    row("sessions used by two processes", lambda run: len(run.shared), lambda run: len(run.seen))


def details(runs):
    """What each run saw."""

    def row(title, cell):
        print(f"{title:<40}" + "".join(f"{cell(run):>11}" for run in runs))

    def survived(run):
        total = len(run.inherited)
        return f"{run.intact} of {total}" if run.intact is not None else "no answer"

    print()
    for line in range(3):
        row("", lambda run: run.title[line])
    row("tasks sent", lambda run: run.tasks)
    row("  done", lambda run: run.done)
    row("  failed", lambda run: len(run.failures))
    row("  lost or hung", lambda run: run.lost)
    row("wrong answers", lambda run: run.wrong)
    row("main process's own sessions intact", survived)
    row("faults in the server's log", lambda run: len(run.faults))
    row("backends used by more than one process", lambda run: len(run.shared))
    row("seconds", lambda run: f"{run.seconds:.1f}")

    print("\nerrors, by first line")
    everything = collections.Counter()
    for run in runs:
        everything.update(run.errors)
    for message, _ in everything.most_common(20):
        row(f"  {message[:110]}\n" if len(message) > 36 else f"  {message}", lambda run: run.errors[message] or "-")

    print("\nserver backends each process used (* also another process)")
    for run in runs:
        print(f"  {run.name}")
        for number, (pid, seen) in enumerate(run.backends.items()):
            names = [f"{backend}{'*' * (backend in run.shared)}" for backend in seen]
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            print(f"    {'main ' if number == 0 else 'child'} {pid:>8}: {' '.join(names[:8])}{more}")

    print()
    for run in runs:
        for fault in run.faults[:3]:
            print(f"  server's log, {run.name}: {fault[:200]}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tasks", type=int, default=300, help="tasks a run (default 300)")
    arguments.add_argument("-v", "--verbose", action="store_true", help="also print what each run saw")
    arguments = arguments.parse_args()
    if not LIBRARY.exists():
        sys.exit(f"demo: {LIBRARY} is missing: run make build")
    # So that `finally` and `with` are run on the way out, as they are for Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)

    runs = []
    with Cluster() as cluster:
        for dialect, kind in KINDS:
            for guarded in (False, True):
                runs.append(Run(cluster, dialect, kind, guarded, arguments.tasks))
                print(f"demo: {runs[-1].name}: {runs[-1].seconds:.0f} s", file=sys.stderr)
    with open(OUT / "details", "w") as file, contextlib.redirect_stdout(file):
        details(runs)
    verdict = [f"{run.name}: no fault seen" for run in runs if not run.guarded and not run.shows_the_fault()]
    verdict += [f"{run.name}: {text}" for run in runs if run.guarded for text in run.objections()]
    if arguments.verbose or verdict:
        print((OUT / "details").read_text())
    table(runs)
    print(
        f"\n{len(KINDS)} runs each, of {arguments.tasks} tasks: psycopg2 and psycopg, TLS and plain, and with reads left open."
        "\n(1) Of the sessions that the main process had before it forked: asked again when its children were"
        "\n    gone. A worker that hung and was killed before it could answer has lost them."
        "\nDetails: --verbose, or target/demo/details."
    )
    print("\n" + ("\n".join(f"NOT GOOD: {text}" for text in verdict) or "GOOD: the fault without the library, none with it."))
    sys.exit(bool(verdict))


main()
