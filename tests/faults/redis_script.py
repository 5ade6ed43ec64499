"""A proxy that answers in Redis' place when a fault says so, command by command."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import struct
import threading
from urllib.parse import urlsplit

_ASKING = {b"GET", b"MGET", b"HELLO", b"AUTH", b"CLIENT", b"SELECT", b"PING", b"INFO", b"STRLEN", b"PTTL", b"SCAN"}


class RedisScript:
    """Stands between a client and Redis.

    Attributes:
        answer: what each command is answered; None: what Redis says.
        lose_writes: Redis does what it is asked, and whoever asked for a change sees a reset.
    """

    def __init__(self, target):
        self.target = (urlsplit(target).hostname, urlsplit(target).port)
        self.answer = None
        self.lose_writes = False

    @contextlib.contextmanager
    def running(self):
        script = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError), socket.create_connection(script.target) as server:
                    script.talk(self.request, server)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        with Server(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self.address = "{}:{}".format(*server.server_address)
            yield self
            server.shutdown()

    def talk(self, client, server):
        while True:
            ready = select.select([client, server], [], [])[0]
            if server in ready:
                data = server.recv(65536)
                if not data:
                    return
                client.sendall(data)
            if client in ready:
                data = client.recv(65536)
                if not data:
                    return
                names = commands(data)
                if self.answer is not None:
                    client.sendall(self.answer * len(names))
                elif self.lose_writes and not set(names) <= _ASKING:
                    server.sendall(data)
                    server.recv(65536)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                    return
                else:
                    server.sendall(data)


def commands(data):
    """The names of the commands in a request (each is an array of strings)."""
    names, at = [], 0
    while at < len(data) and data[at : at + 1] == b"*":
        end = data.index(b"\r\n", at)
        count, at = int(data[at + 1 : end]), end + 2
        for number in range(count):
            end = data.index(b"\r\n", at)
            size, at = int(data[at + 1 : end]), end + 2
            if number == 0:
                names.append(data[at : at + size].upper())
            at += size + 2
    return names or [b"?"]
