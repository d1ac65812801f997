"""Writes what became of each test, a line of JSON a test, as it ends: what a run that crashes or hangs
had done by then is known, and what it was at.

For pytest it is a plug-in (`-p outcomes`); for psycopg2's suite, which is unittest's, a program:
`outcomes.py [--fork] [MODULE or TEST…]` in the folder that holds its package `tests`. With --fork each test is
run in a child, and goes on in a child of that one behind each connection that it makes: on inherited sessions.
The lines go to $SUITES_OUTCOMES.
"""

import json
import os
import sys
import threading
import time
import unittest

BEST_TO_WORST = ["passed", "skipped", "xfailed", "xpassed", "failed", "error"]
# Line by line and unbuffered, through a descriptor that is this process's alone.
OUT = open(os.environ["SUITES_OUTCOMES"], "a", buffering=1)  # noqa: SIM115


def write(name, outcome, why=""):
    OUT.write(json.dumps({"test": name, "outcome": outcome, "why": why, "at": round(time.time(), 3)}) + "\n")


def last_line(text):
    lines = [line for line in str(text).splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


# pytest

so_far = {}


def pytest_runtest_logstart(nodeid, location):
    write(nodeid, "started")


def pytest_runtest_logreport(report):
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    elif report.failed and report.when != "call":
        outcome = "error"
    why = "" if report.passed else last_line(report.longreprtext)
    # Three phases, and subtests: the worst of them.
    before = so_far.get(report.nodeid, ("passed", ""))
    if BEST_TO_WORST.index(outcome) > BEST_TO_WORST.index(before[0]):
        so_far[report.nodeid] = (outcome, why)


def pytest_runtest_logfinish(nodeid, location):
    write(nodeid, *so_far.pop(nodeid, ("passed", "")))


def pytest_collectreport(report):
    if report.failed:
        write(f"collecting {report.nodeid}", "error", last_line(report.longreprtext))


# unittest


class Result(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        write(test.id(), "started")
        self.outcome = ("passed", "")

    def stopTest(self, test):
        write(test.id(), *self.outcome)
        super().stopTest(test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcome = ("skipped", reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.outcome = ("failed", last_line(err[1]))

    def addError(self, test, err):
        super().addError(test, err)
        self.outcome = ("error", last_line(f"{err[0].__name__}: {err[1]}"))
        # setUpClass and its like are no tests: nobody starts or stops them.
        if not hasattr(test, "_testMethodName"):
            write(str(test), *self.outcome)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.outcome = ("failed", last_line(err[1]))

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.outcome = ("xfailed", "")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.outcome = ("xpassed", "")


def tests_in(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_in(test)
        else:
            yield test


def in_a_child(work):
    """Runs it in a forked child, and gives the child's exit status."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = 0 if work() else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_behind_connect():
    """From now on the rest of a test, behind each connection that it makes, is a child's: it goes on with
    what it inherited, while its parent waits for it and does nothing else."""
    import psycopg2

    connect = psycopg2.connect

    def connect_and_fork(*args, **kwargs):
        connection = connect(*args, **kwargs)
        # A child of another thread would have no main thread to go on in. An asynchronous connection
        # is not there yet. (A test may put something else in its place, too.)
        if threading.current_thread() is threading.main_thread() and not getattr(connection, "async_", True):
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid:
                os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
        return connection

    psycopg2.connect = connect_and_fork


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    import tests

    # A package's own list: it says what belongs to the suite, and in which order.
    suite = tests.test_suite()
    arguments = sys.argv[1:]
    forked = "--fork" in arguments
    wanted = [argument for argument in arguments if argument != "--fork"]
    if wanted:
        # A module's name, or a test's.
        suite = unittest.TestSuite(
            test for test in tests_in(suite) if test.id() in wanted or test.id().rsplit(".", 2)[0] in wanted
        )

    def run(suite):
        return unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite).wasSuccessful()

    if not forked:
        sys.exit(not run(suite))
    fork_behind_connect()
    statuses = {in_a_child(lambda test=test: run(unittest.TestSuite([test]))) for test in tests_in(suite)}
    sys.exit(statuses != {0})
