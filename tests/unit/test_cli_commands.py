"""`kerasd` as it is typed: exit codes and what is printed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.failures import INVALID
from cli.main import COMMANDS, run

KERASD = Path(sys.executable).with_name("kerasd")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("KERASD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KERASD_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing answers."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can take it
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


class TestHelp:
    def test_alone_it_prints_its_commands(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run([]) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name, *_ in COMMANDS)

    @pytest.mark.parametrize("name", [name for name, *_ in COMMANDS])
    def test_every_command_explains_itself(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run([name, "--help"]) == 0
        assert f"Usage: kerasd {name}" in capsys.readouterr().out

    def test_the_version_is_the_packages(self) -> None:
        shown = subprocess.run([KERASD, "--version"], capture_output=True, text=True, check=True).stdout
        assert shown.split() == ["0.1.0"]


class TestInvalidInput:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["fly"],
            ["up", "--bogus"],
            ["up", "--port", "many"],
            ["up", "--port", "70000"],
            ["up", "--workers", "-1"],
            ["train", "--architecture", "lenet"],
            ["train", "--architecture", "lenet", "--dataset", "digits", "--epochs", "few"],
            ["jobs", "--state", "DONE"],
            ["jobs", "--url", "localhost"],
            ["submit", "/nonexistent.json"],
            ["watch"],
            ["promote", "digits.lenet"],
            ["promote", "digits.lenet", "newest"],
        ],
    )
    def test_exit_code_2_and_no_traceback(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert run(arguments) == 2
        printed = capsys.readouterr()
        assert printed.out + printed.err
        assert "Traceback" not in printed.err


class TestNoServer:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["jobs"],
            ["watch", "a1"],
            ["cancel", "a1"],
            ["pause", "a1"],
            ["resume", "a1"],
            ["retry", "a1"],
            ["models"],
            ["model", "digits.lenet"],
            ["promote", "digits.lenet", "1"],
            ["rollback", "digits.lenet"],
            ["unpin", "digits.lenet"],
            ["train", "--architecture", "lenet", "--dataset", "digits"],
        ],
    )
    def test_exit_code_3_and_how_to_start_one(
        self, arguments: list[str], nobody: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run([*arguments, "--url", nobody]) == 3
        assert "kerasd up" in capsys.readouterr().err

    def test_the_address_may_come_from_the_environment(
        self, nobody: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("KERASD_URL", nobody)
        assert run(["jobs"]) == 3
        assert nobody in capsys.readouterr().err


class TestDoctor:
    def test_a_sound_machine_passes(self, nobody: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["doctor", "--json", "--url", nobody]) == 0
        report = json.loads(capsys.readouterr().out)
        verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
        assert report["ok"]
        assert {"Python", "database", "data folder", "disk space", "broker", "TensorFlow", "GPU", "ONNX Runtime"} < set(
            verdicts
        )
        assert verdicts["broker"] == "ok"
        assert verdicts["server"] == "note"

    def test_every_setting_has_its_source_and_no_secret(
        self, nobody: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("KERASD_BROKER_URL", "redis://me:hunter2@127.0.0.1:1/0")
        run(["doctor", "--json", "--url", nobody])
        printed = capsys.readouterr().out
        settings = {row["name"]: row for row in json.loads(printed)["settings"]}
        assert "hunter2" not in printed
        assert settings["KERASD_BROKER_URL"]["value"] == "redis://me:***@127.0.0.1:1/0"
        assert settings["KERASD_BROKER_URL"]["source"] == "environment"
        assert settings["KERASD_PORT"] == {"name": "KERASD_PORT", "value": "8000", "source": "default"}

    def test_a_folder_that_cannot_be_written_is_broken(
        self, nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("KERASD_DATA_DIR", str(tmp_path / "file" / "data"))
        assert run(["doctor", "--url", nobody]) == 1
        assert "cannot be written" in " ".join(capsys.readouterr().out.split())

    def test_it_makes_no_data_folder(self, nobody: str, tmp_path: Path) -> None:
        run(["doctor", "--json", "--url", nobody])
        assert not (tmp_path / "data").exists()


class TestImports:
    def test_up_loads_nothing_heavy(self) -> None:
        code = "import sys, cli.main, cli.up; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        heavy = {
            "numpy",
            "celery",
            "kombu",
            "redis",
            "onnxruntime",
            "sqlalchemy",
            "fastapi",
            "httpx2",
            "rich",
            "psutil",
        }
        assert heavy.isdisjoint(loaded)

    @pytest.mark.parametrize(("part", "module"), [("api", "service"), ("worker", "worker"), ("migrate", "migrations")])
    def test_a_part_begins_without_the_command_line(self, part: str, module: str) -> None:
        assert part in [name for name, *_ in COMMANDS]
        code = "import os, sys; os.execv = lambda *a: sys.exit(print(a[1][-1], *sys.modules))"
        code += f"; sys.argv = ['kerasd', '{part}']; from cli.entry import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        begun, *loaded = done.stdout.split()
        assert begun == module
        assert "cyclopts" not in loaded

    @pytest.mark.parametrize("arguments", [["api", "--help"], ["worker", "--no-such"], ["up", "--help"]])
    def test_anything_else_is_read(self, arguments: list[str]) -> None:
        kerasd = [str(Path(sys.executable).parent / "kerasd"), *arguments]
        done = subprocess.run(kerasd, capture_output=True, text=True, check=False)
        assert done.returncode == (INVALID if "--no-such" in arguments else 0)
        assert ("Usage" if done.returncode == 0 else "--no-such") in done.stdout + done.stderr

    def test_doctor_does_not_import_tensorflow(self) -> None:
        code = "import sys; from cli.main import run; run(['doctor', '--json']); print('tensorflow' in sys.modules)"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert shown.endswith("False\n")
