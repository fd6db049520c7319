"""`kerasd up` with its real parts: readiness, restarts, and no process left behind however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from stack import until

from client import ApiError, Client, Unreachable

KERASD = Path(sys.executable).with_name("kerasd")
READY_SECONDS = 60.0
STOP_SECONDS = 40.0

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs prctl of Linux"),
    pytest.mark.laptop("`kerasd up` with its embedded database and broker"),
]


class Up:
    """One `kerasd up` on a free port, its printed lines, and every process that it ever had."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.data = folder / "data"
        self._log = folder / "up.log"
        self.family: dict[int, psutil.Process] = {}
        with self._log.open("wb") as stream:
            self.process = subprocess.Popen(
                [KERASD, "up", "--data", self.data, "--port", "0", *options],
                stdout=stream,
                stderr=stream,
                env=environment(),
                start_new_session=True,
            )

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def until(self, condition: Callable[[], Any], what: str, seconds: float = READY_SECONDS) -> Any:
        return until(condition, seconds, what, self.log)

    def url(self) -> str:
        """Waits for the banner."""
        return str(self.until(self._announced, "it says that it is ready"))

    def part(self, module: str) -> psutil.Process:
        """The running process of a part, by the module that it runs."""
        found = self.until(lambda: self._running(module), f"{module} runs")
        assert isinstance(found, psutil.Process)
        return found

    def remember_family(self) -> None:
        for process in psutil.Process(self.process.pid).children(recursive=True):
            self.family[process.pid] = process

    def survivors(self) -> list[psutil.Process]:
        _, alive = psutil.wait_procs(list(self.family.values()), timeout=10)
        return alive

    def wait(self) -> int:
        return self.process.wait(STOP_SECONDS)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def _announced(self) -> str | None:
        assert self.process.poll() is None, self.log()
        found = re.search(r"is ready\n\s+API\s+(http://\S+)", self.log())
        return found.group(1) if found else None

    def _running(self, module: str) -> psutil.Process | None:
        for child in psutil.Process(self.process.pid).children():
            if module in child.cmdline():
                return child
        return None


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KERASD_")}
    return {**kept, "KERASD_OFFLINE": "true", "PYTHONPATH": str(Path(__file__).parents[2])}


def kerasd(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [KERASD, *arguments],
        env={**environment(), "KERASD_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


Start = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Up] = []

    def run(*options: str) -> Up:
        started.append(Up(tmp_path, *options))
        return started[-1]

    yield run
    for up in started:
        up.end()


class TestUp:
    def test_one_life(self, start: Start, tmp_path: Path) -> None:
        """Ready, a job from the command line, an API killed and back on its port, a clean end. One start for all."""
        up = start()
        url = up.url()
        with Client(url) as client:
            assert client.ready()["status"] == "ready"
            self._trains_and_predicts(url, client, tmp_path)
            self._survives_a_killed_api(up, client)
        self._refuses_a_second_on_the_same_folder(up)
        up.part("worker")
        up.until(lambda: "worker ready" in up.log(), "the worker is ready")
        up.remember_family()
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0, up.log()
        assert up.survivors() == []

    def _trains_and_predicts(self, url: str, client: Client, folder: Path) -> None:
        options = ("--architecture", "lenet", "--dataset", "digits", "--epochs", "2", "--tag", "course=cv")
        trained = kerasd("train", *options, "--watch", url=url)
        assert trained.returncode == 0, trained.stdout + trained.stderr
        job_id = trained.stdout.split()[0]
        assert re.search(r"epoch 2/2 .* val_accuracy 0\.\d{3} .* images/s", trained.stdout)
        assert "digits.lenet version 1" in trained.stdout
        assert "curl --data-binary" in trained.stdout
        assert client.job(job_id).tags == {"course": "cv"}
        assert client.models()[0].job == job_id
        assert len(client.epochs(job_id, after=1)) == 1
        assert client.evaluation(job_id).test_accuracy > 0.2
        assert [event.id for event in client.events(job_id) if event.kind == "epoch"] == sorted(
            {event.id for event in client.events(job_id) if event.kind == "epoch"}, key=lambda name: int(name or 0)
        )
        listed = kerasd("jobs", "--tag", "course", "--json", url=url)
        assert [job["id"] for job in json.loads(listed.stdout)] == [job_id]
        self._predicts(url, folder)
        self._refuses_politely(url)

    def _predicts(self, url: str, folder: Path) -> None:
        from PIL import Image

        picture, text = folder / "grey.png", folder / "notes.txt"
        Image.new("L", (8, 8), 128).save(picture)
        text.write_text("no picture")
        answer = kerasd("predict", str(picture), "--architecture", "lenet", "--top", "2", "--json", url=url)
        assert answer.returncode == 0, answer.stderr
        assert len(json.loads(answer.stdout)[str(picture)]["predictions"][0]["top"]) == 2
        mixed = kerasd("predict", str(picture), str(text), "--architecture", "lenet", url=url)
        assert mixed.returncode == 2
        assert "grey.png" in mixed.stdout
        assert "notes.txt" in mixed.stderr

    def _refuses_politely(self, url: str) -> None:
        bad = kerasd(
            "train", "--architecture", "lenet", "--dataset", "digits", "--epochs", "0", "--set", "x=1", url=url
        )
        assert bad.returncode == 2
        assert "/epochs: " in bad.stderr
        assert "/x: unknown field" in bad.stderr
        assert kerasd("watch", "no-such-job", url=url).returncode == 2

    def _survives_a_killed_api(self, up: Up, client: Client) -> None:
        before = up.part("service")
        before.kill()
        # The socket is held by `up`: a request made now waits for the next API instead of being refused.
        assert client.ready()["status"] in ("ready", "degraded")
        assert up.part("service").pid != before.pid
        assert "api     | " in up.log()
        assert "api ended (killed by SIGKILL)" in up.log()

    def _refuses_a_second_on_the_same_folder(self, up: Up) -> None:
        second = subprocess.run(
            [KERASD, "up", "--data", up.data, "--port", "0"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert second.returncode == 2
        assert f"process {up.process.pid}" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1

    def test_a_killed_up_takes_its_children_along(self, start: Start) -> None:
        up = start()
        url = up.url()
        up.until(lambda: "worker ready" in up.log(), "the worker is ready")
        up.until(lambda: len(psutil.Process(up.process.pid).children(recursive=True)) >= 4, "the standby trainer runs")
        up.remember_family()
        up.process.kill()
        up.wait()
        assert up.survivors() == []
        with Client(url, pause=lambda seconds: None) as client, pytest.raises((ApiError, Unreachable)):
            client.ready()

    def test_a_failed_migration_ends_it_and_says_why(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "data" / "kerasd.sqlite3").mkdir(parents=True)  # no file can be made there
        up = start()
        assert up.wait() == 1
        assert "migrate failed" in up.log()
        assert "unable to open database file" in up.log()
