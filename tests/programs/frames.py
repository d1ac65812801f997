"""usage: frames.py

A child uses its parent's session from frames of every kind. Before each use it writes the frames
that the interpreter itself tells of, as faulthandler writes them.
"""

import asyncio
import os
import sys
import threading

import psycopg2

conn = psycopg2.connect("")
conn.autocommit = True
cursor = conn.cursor()


def text(string):
    escaped = string[:500].encode("ascii", "backslashreplace").decode()
    return escaped + "..." * (len(string) > 500)


def tell(frame):
    lines = []
    while frame and len(lines) < 100:
        code = frame.f_code
        lines.append(f'File "{text(code.co_filename)}", line {frame.f_lineno} in {text(code.co_name)}')
        frame = frame.f_back
    lines += ["..."] * (frame is not None)
    os.write(1, "".join(f"expected: {line}\n" for line in lines).encode())


def ask(*_):
    return tell(sys._getframe()), cursor.execute("select 1")


def from_a_generator():
    yield from (ask() for _ in range(1))


async def from_a_coroutine():
    await asyncio.sleep(0)
    ask()


def from_the_middle_of_a_call():
    return dict(
        one=1,
        two=ask(),
        three=3,
    )


def from_a_handler():
    try:
        raise ValueError
    except ValueError:
        ask()
    finally:
        ask()


def deep(depth):
    ask() if depth == 0 else deep(depth - 1)


def traced():
    sys.settrace(lambda *_: None)
    try:
        (lambda: ask())()
    finally:
        sys.settrace(None)


def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


class Finished:
    def __del__(self):
        ask()


def with_names(file, name):
    places = {"ask": ask}
    exec(compile("\n" * 70_000 + "def named():\n\n    ask()\n", file, "exec"), places)
    named = places["named"]
    named.__code__ = named.__code__.replace(co_name=name)
    named()


def child():
    ask()
    list(from_a_generator())
    asyncio.run(from_a_coroutine())
    from_the_middle_of_a_call()
    from_a_handler()
    sorted([1], key=ask)  # called by C

    class Body:
        ask()

    [ask() for _ in range(1)]
    (lambda: ask())()
    deep(50)
    deep(300)
    traced()
    in_a_thread(ask)
    in_a_thread(lambda: list(map(ask, [1])))
    del Finished().__dict__
    with_names("/srv/na\xefve/\u540d \U0001f600.py", "f\xfcr_\u540d")
    with_names('/srv/", line 1 in/\udcff.py', "n" * 600)


pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
