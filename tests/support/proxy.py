"""A TCP proxy in front of a broker, which a test may make deaf and dumb: connections stay open, nothing gets through."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

CHUNK_BYTES = 1 << 16


class Proxy:
    """`url` leads to the broker at `broker_url` while `hold` is not in force; what is held back arrives after `let_go`."""

    def __init__(self, broker_url: str) -> None:
        self._target = urlsplit(broker_url)
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def hold(self) -> None:
        self._flowing.clear()

    def let_go(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self._flowing.set()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._open):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                self._open.append(near)
                self._join(near)

    def _join(self, near: socket.socket) -> None:
        try:
            far = self._connect()
        except OSError:  # the broker is not there
            near.shutdown(socket.SHUT_RDWR)
            return
        self._open.append(far)
        for source, sink in ((near, far), (far, near)):
            self._threads.append(threading.Thread(target=self._pump, args=(source, sink)))
            self._threads[-1].start()

    def _connect(self) -> socket.socket:
        if self._target.port is None:
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target.path)
            return far
        return socket.create_connection(("127.0.0.1", self._target.port))

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self._flowing.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def running_proxy(broker_url: str) -> Iterator[Proxy]:
    proxy = Proxy(broker_url)
    try:
        yield proxy
    finally:
        proxy.close()
