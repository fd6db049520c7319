"""Child processes: each in its own session, so that Ctrl-C reaches only `kerasd up`, and never outliving it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_ROUNDS = 10

# Loaded here, because between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Plan:
    """A child to run. Children of a lower `stop_order` stop first."""

    name: str
    command: Sequence[str]
    stop_order: int = 0
    grace_seconds: float = 5.0
    """from TERM to KILL when stopping"""
    once: bool = False
    """it ends by itself; ending with a failure ends everything"""
    delay_seconds: float = 0.0
    """from the beginning to its first start, unless `Supervisor.hasten` says earlier"""
    pass_fds: tuple[int, ...] = ()
    hidden: tuple[str, ...] = ()
    """output lines that hold one of these are not shown"""


def start_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    output: int,
    *,
    pass_fds: tuple[int, ...] = (),
    parent_death: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Starts a child in a new session, its output going to the descriptor `output`.

    On Linux it gets `parent_death` when the calling thread ends, so call this from the main thread. Raises OSError.
    """
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=_tied_to(os.getpid(), parent_death),  # noqa: PLW1509  (there are no threads here)
    )


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signals the child and whatever it started in its session's first group; harmless once all have ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def adopt_orphans() -> None:
    """Makes grandchildren whose parent died this process's children, so that stopping finds them (Linux)."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(own: Iterable[int]) -> None:
    """Collects adopted children that have ended; those in `own` are their Popen's business."""
    known = set(own)
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in known:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(ended.si_pid, 0)


def kill_descendants() -> int:
    """Kills every process below this one, however deep. Returns how many there were."""
    import psutil

    killed = 0
    for _ in range(KILL_ROUNDS):  # one that was starting another may have been missed
        descendants = psutil.Process().children(recursive=True)
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(descendants, timeout=1)
        killed += len(descendants)
        if not descendants and not alive:
            break
    return killed


def _tied_to(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    libc = _libc
    if libc is None:
        return None

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return before_exec
