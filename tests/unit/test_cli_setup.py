"""What `kerasd up` needs before it starts anything: settings, a folder, a port, a broker."""

from __future__ import annotations

import os
import selectors
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.broker import valkey_binary, valkey_command
from cli.configuration import http_url, load_settings, server_url
from cli.failures import INVALID, CommandFailed
from cli.folder import held_folder, private_folder
from cli.listener import open_listener
from cli.readiness import ReadyProbe
from cli.up import planned_parts
from core.settings import Settings

Clean = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: Clean) -> None:
    for name in [name for name in os.environ if name.startswith("KERASD_")]:
        monkeypatch.delenv(name)


class TestSettings:
    def test_an_option_wins_over_the_environment(self, monkeypatch: Clean) -> None:
        monkeypatch.setenv("KERASD_PORT", "9000")
        assert load_settings(port=None).port == 9000
        assert load_settings(port=9001).port == 9001

    def test_every_fault_is_told_under_the_name_that_it_was_given_by(self, monkeypatch: Clean) -> None:
        monkeypatch.setenv("KERASD_POLL_SECONDS", "-1")
        with pytest.raises(CommandFailed) as caught:
            load_settings(port=70_000)
        assert caught.value.exit_code == INVALID
        assert "  --port: must be less than or equal to 65535" in str(caught.value)
        assert "  KERASD_POLL_SECONDS: must be greater than 0" in str(caught.value)

    def test_a_variable_that_must_be_json_is_named(self, monkeypatch: Clean) -> None:
        monkeypatch.setenv("KERASD_DATASET_FILES", "{")
        with pytest.raises(CommandFailed, match="KERASD_DATASET_FILES: must be JSON"):
            load_settings()

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("127.0.0.1", "http://127.0.0.1:8000"),
            ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104  (it is what a person may set)
            ("::", "http://[::1]:8000"),
            ("gpu-box", "http://gpu-box:8000"),
        ],
    )
    def test_a_client_finds_the_server_that_they_describe(self, host: str, url: str) -> None:
        assert server_url(Settings(host=host)) == http_url(host, 8000) == url


class TestFolder:
    def test_one_process_holds_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "data"
        with held_folder(folder), pytest.raises(CommandFailed) as caught, held_folder(folder):
            pass
        assert caught.value.exit_code == INVALID
        assert f"process {os.getpid()}" in str(caught.value)

    def test_it_can_be_held_again_afterwards(self, tmp_path: Path) -> None:
        for _ in range(2):
            with held_folder(tmp_path):
                pass

    def test_one_that_cannot_be_made_is_invalid_input(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with (
            pytest.raises(CommandFailed, match="cannot use the data folder") as caught,
            held_folder(tmp_path / "file" / "x"),
        ):
            pass
        assert caught.value.exit_code == INVALID

    def test_a_private_folder_is_closed_to_others(self, tmp_path: Path) -> None:
        folder = tmp_path / "broker"
        folder.mkdir(mode=0o755)
        private_folder(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_a_link_in_its_place_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "broker").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(CommandFailed, match="not this user's own"):
            private_folder(tmp_path / "broker")


class TestListener:
    def test_port_0_is_any_free_one(self) -> None:
        with open_listener("127.0.0.1", 0) as listener:
            assert listener.getsockname()[1] > 0

    def test_a_port_in_use_is_told_in_one_line(self) -> None:
        with open_listener("127.0.0.1", 0) as listener, pytest.raises(CommandFailed, match="is in use") as caught:
            open_listener("127.0.0.1", listener.getsockname()[1])
        assert caught.value.exit_code == INVALID
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
    def test_an_address_that_is_not_here_is_invalid_input(self, host: str) -> None:
        with pytest.raises(CommandFailed) as caught:
            open_listener(host, 0)
        assert caught.value.exit_code == INVALID


class TestBroker:
    def test_the_embedded_one_listens_on_a_private_socket_and_no_port(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path)
        command = valkey_command(settings)
        assert command[0] == str(valkey_binary())
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _until(lambda: _ask(settings.broker_socket, b"PING\r\n") == b"+PONG\r\n")
            assert _ask(settings.broker_socket, b"CONFIG GET port\r\n").endswith(b"$1\r\n0\r\n")
            assert stat.S_IMODE(settings.broker_socket.stat().st_mode) == 0o700
            assert stat.S_IMODE(settings.broker_socket.parent.stat().st_mode) == 0o700
        finally:
            process.terminate()
            process.wait()

    def test_its_queue_outlives_it(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path)
        answers = []
        for request in (b"SET kept yes\r\n", b"GET kept\r\n"):
            process = subprocess.Popen(valkey_command(settings), stdout=subprocess.DEVNULL)
            try:
                _until(lambda: _ask(settings.broker_socket, b"PING\r\n") == b"+PONG\r\n")
                answers.append(_ask(settings.broker_socket, request))
            finally:
                process.terminate()
                process.wait()
        assert answers == [b"+OK\r\n", b"$3\r\nyes\r\n"]

    def test_a_server_of_ones_own_takes_its_place(self, tmp_path: Path) -> None:
        embedded = planned_parts(Settings(data_dir=tmp_path), listener=3, workers=2)
        own = planned_parts(Settings(data_dir=tmp_path, broker_url="redis://host/0"), listener=3, workers=1)
        assert [plan.name for plan in embedded] == ["valkey", "api", "migrate", "worker-1", "worker-2"]
        assert [plan.name for plan in own] == ["api", "migrate", "worker"]


class TestReadyProbe:
    def test_it_asks_until_the_answer_is_200_and_tells_once(self) -> None:
        told: list[bool] = []
        with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as selector:
            listener.settimeout(5)
            probe = ReadyProbe("127.0.0.1", listener.getsockname()[1], lambda: told.append(True))
            for status in ("503 Service Unavailable", "200 OK"):
                _until(lambda: self._asked(probe, selector))
                assert not told
                with listener.accept()[0] as connection:
                    assert connection.recv(4096).startswith(b"GET /readyz ")
                    connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
                    for key, _ in selector.select(5):
                        key.data()
            assert told == [True]
            assert probe.tick(selector, time.monotonic()) is None

    def test_closing_it_leaves_nothing_to_wait_for(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as selector:
            probe = ReadyProbe("127.0.0.1", listener.getsockname()[1], lambda: None)
            probe.tick(selector, time.monotonic())
            probe.close(selector)
            assert not selector.get_map()
            assert probe.tick(selector, time.monotonic()) is None

    @staticmethod
    def _asked(probe: ReadyProbe, selector: selectors.BaseSelector) -> bool:
        probe.tick(selector, time.monotonic())
        return len(selector.get_map()) == 1


def _ask(path: Path, command: bytes) -> bytes:
    """One command's answer; empty while nobody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return b""
        connection.sendall(command)
        return connection.recv(4096)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
