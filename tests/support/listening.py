"""The API on a port of this machine, in a thread, with networks published without training."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from networks import publish, publish_random
from stack import until

from core.artifacts import open_store
from core.database import Database
from core.settings import Settings
from service.app import create_app
from service.protocol import LimitedHttpProtocol

COLOURED, COLOURED_SHAPE, COLOURED_LABELS = "shapes@0badc0de.mycnn", (6, 5, 3), ["disc", "square", "stripes", "rest"]
"""a model whose pictures are wider than high, so that no axis can be taken for another"""


@dataclass(frozen=True)
class Listening:
    address: str
    """host:port"""
    http: httpx2.Client


@contextmanager
def listening(folder: Path, migrated: Path, **settings: Any) -> Iterator[Listening]:
    """Serves two versions of digits.lenet, one of shapes.lenet and the coloured model."""
    shutil.copy(migrated, folder / "kerasd.sqlite3")
    url = f"sqlite:///{folder / 'kerasd.sqlite3'}"
    chosen = Settings(data_dir=folder, database_url=url, broker_url="redis://127.0.0.1:1/0", **settings)
    database, store = Database(url), open_store(chosen)
    publish(database, store, "first.onnx", val_accuracy=0.5)
    publish(database, store, "second.onnx", val_accuracy=0.9)
    publish(database, store, "third.onnx", view="shapes")
    view, _, architecture = COLOURED.rpartition(".")
    publish_random(database, store, COLOURED_SHAPE, COLOURED_LABELS, view=view, architecture=architecture)
    database.close()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(chosen), http=LimitedHttpProtocol, log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive(), 30, "the API listens")
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            with httpx2.Client(base_url=f"http://{address}", timeout=30) as http:
                yield Listening(address, http)
        finally:
            server.should_exit = True
            thread.join()
