"""Everything the library has a hook for, once and again; every answer is checked.

usage: panics.py CONNINFO. Children may find their sessions lost (psycopg2.OperationalError),
and nothing else; the parent loses nothing.
"""

import fcntl
import os
import select
import socket
import sys

import psycopg2

conninfo = sys.argv[1]


def strangers():
    """Sockets that are no sessions."""
    for _ in range(2):
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        fcntl.fcntl(client, fcntl.F_SETFL, fcntl.fcntl(client, fcntl.F_GETFL) | os.O_NONBLOCK)
        client.send(b"hello")
        assert server.recv(5) == b"hello"
        copy = os.dup(client.fileno())
        os.write(copy, b"again")
        assert os.read(server.fileno(), 5) == b"again"
        os.dup2(copy, copy + 50)
        os.close(copy + 50)
        os.close(copy)
        poll = select.epoll()
        poll.register(client, select.EPOLLOUT)
        assert poll.poll(1)
        watch = select.poll()
        watch.register(client, select.POLLOUT)
        assert watch.poll(1000)
        assert select.select([], [client], [], 1)[1]
        poll.close()
        server.shutdown(socket.SHUT_RDWR)
        for one in (client, server, listener):
            one.close()


def work(session, number):
    with session.cursor() as cursor:
        cursor.execute("select %s * 7", (number,))
        assert cursor.fetchone() == (number * 7,)
        cursor.execute("set application_name = 'panics'")
        cursor.execute("prepare p as select 1")
        cursor.execute("deallocate p")
        cursor.execute("select pg_sleep(0)")
    session.cancel()
    session.commit()


def child(sessions):
    poll = select.epoll()
    lost = 0
    for session in sessions:
        try:
            try:
                poll.register(session.fileno(), select.EPOLLIN)
                poll.unregister(session.fileno())
            except OSError:
                pass
            work(session, 3)
        except psycopg2.OperationalError:
            lost += 1
    own = psycopg2.connect(conninfo)
    work(own, 4)
    own.close()
    strangers()
    print("child lost", lost, flush=True)


strangers()
for number in range(2):
    # The first meets the panics of opening: nobody may know it for a session.
    session = psycopg2.connect(conninfo)
    work(session, number)
    session.close()
sessions = [psycopg2.connect(conninfo) for _ in range(10)]
backends = []
for session in sessions:
    work(session, 5)
    backends.append(session.info.backend_pid)
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        child(sessions)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
for session, backend in zip(sessions, backends):
    work(session, 6)
    with session.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        assert cursor.fetchone() == (backend,)
print("parent intact", flush=True)
