"""usage: service.py http|fastcgi|celery REQUESTS

Starts $SERVICE, a shell's command line, with its sessions known to the server by their application
name; sends it REQUESTS, one at a time if one, else six; says who answered; runs $LOOK meanwhile;
stops it. http and fastcgi are spoken over the Unix socket $SOCKET; PHP-FPM is asked for $SCRIPT.
"""

import concurrent.futures
import http.client
import os
import socket
import struct
import subprocess
import sys
import time

import psycopg2

from facts import first_line, say

kind, numbers = sys.argv[1], range(1, int(sys.argv[2]) + 1)
# Starts of the slowest (Celery) take seconds on a loaded machine.
end = time.monotonic() + 30


class Http(http.client.HTTPConnection):
    def connect(self):
        self.sock = reach()


def reach():
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(max(end - time.monotonic(), 0.1))
    connection.connect(os.environ["SOCKET"])
    return connection


def http_request(number):
    connection = Http("localhost")
    try:
        connection.request("GET", f"/?number={number}")
        response = connection.getresponse()
        body = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(body)
    return body


def fastcgi_request(number):
    """One request of the FastCGI specification, 1.0: begin, parameters, no input."""
    script = os.environ["SCRIPT"]
    parameters = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_FILENAME": script,
        "SCRIPT_NAME": "/index.php",
        "QUERY_STRING": f"number={number}",
    }
    pairs = b"".join(
        struct.pack(">BI", len(name), len(value) | 0x80000000) + name.encode() + value.encode()
        for name, value in parameters.items()
    )

    def record(of_type, content):
        return struct.pack(">BBHHBx", 1, of_type, 1, len(content), 0) + content

    with reach() as connection:
        begin = record(1, struct.pack(">HB5x", 1, 0))  # a responder, closed after its answer
        connection.sendall(begin + record(4, pairs) + record(4, b"") + record(5, b""))
        stream = connection.makefile("rb")
        output = errors = b""
        while header := stream.read(8):
            _, of_type, _, length, padding = struct.unpack(">BBHHBx", header)
            content = stream.read(length + padding)[:length]
            if of_type == 6:
                output += content
            elif of_type == 7:
                errors += content
            elif of_type == 3:
                break
    if errors:
        raise RuntimeError(errors.decode())
    return output.split(b"\r\n\r\n", 1)[1].decode()


def celery_request(number):
    while True:
        try:
            return sent[number].get(timeout=max(end - time.monotonic(), 0.1), interval=0.02)
        except DecodeError:
            pass  # a result that is half written: its file is made before it is filled


def request(number):
    try:
        seven, backend, process = send(number).split()
        return ("right" if int(seven) == number * 7 else "wrong"), int(backend), int(process), ""
    except Exception as error:
        return "failed", 0, 0, first_line(error)


send = {"http": http_request, "fastcgi": fastcgi_request, "celery": celery_request}[kind]
if kind == "celery":
    queue = os.environ["MYAPP_QUEUE"]
    for folder in ("tasks", "control", "results"):
        os.makedirs(f"{queue}/{folder}")
    from kombu.exceptions import DecodeError

    from myapp import tasks

    # Before there is a worker, which would choke on a message that is half written.
    sent = {number: tasks.answer.delay(number) for number in numbers}

name, masters = f"service {os.getpid()}", int(os.environ["SESSIONS"])
witness = psycopg2.connect("")
witness.autocommit = True  # not as `with`, which is one transaction, and that sees one moment


def sessions():
    with witness.cursor() as cursor:
        cursor.execute(
            "select pid, backend_start from pg_stat_activity where application_name = %s order by backend_start", [name]
        )
        return cursor.fetchall()


def is_ready(parents):
    return len(parents) >= masters and (kind == "celery" or os.path.exists(os.environ["SOCKET"]))


service = subprocess.Popen(
    ["bash", "-c", os.environ["SERVICE"]], env=os.environ | {"PGAPPNAME": name}, stdout=sys.stderr
)
try:
    while not is_ready(parents := sessions()):
        if service.poll() is not None or time.monotonic() > end:
            sys.exit(f"the service did not start: {service.poll()}, {len(parents)} sessions")
        time.sleep(0.02)
    # Its master's are the first: it forks when it has loaded the application.
    parents = parents[:masters]
    say("parent", backends=[backend for backend, _ in parents])

    with concurrent.futures.ThreadPoolExecutor(1 if len(numbers) == 1 else 6) as threads:
        answers = list(threads.map(request, numbers))
    of_kind = {kind: sum(answer[0] == kind for answer in answers) for kind in ("right", "wrong", "failed")}
    pairs = {f"{backend}:{process}" for answered, backend, process, _ in answers if answered != "failed"}
    say("requests", **of_kind, users=pairs, errors=sorted({answer[3] for answer in answers} - {""}))
    say("after", alive=len(set(sessions()) & set(parents)))
    if look := os.environ.get("LOOK"):
        subprocess.run(["bash", "-c", look], timeout=10)
finally:
    service.terminate()
    try:
        service.wait(15)
    except subprocess.TimeoutExpired:
        service.kill()
        service.wait()
