"""What the exit of a trainer or importer tells."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from core.states import Reason

NATIVE_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS})
NATIVE_CRASH_TRIES = 2

ENDED = 0
"""Exit code: the end of the attempt is in the database."""
FENCED_OUT = 3
"""Exit code: another attempt owns the job or import; nothing was written."""
NO_DATABASE = 4
"""Exit code of an importer: the database stayed away for longer than a lease."""


@dataclass(frozen=True)
class Exit:
    """Why an attempt was lost, and how many tries such a loss is worth (None: the spec's max_attempts)."""

    reason: Reason
    detail: str
    most_tries: int | None = None


def classify(returncode: int, oom_kills: int) -> Exit:
    """`returncode` as subprocess gives it: minus the signal's number when one ended the process.

    `oom_kills` counts kills by the memory controller of this worker's cgroup while the attempt ran.
    """
    if returncode >= 0:
        return Exit(Reason.INTERNAL_ERROR, f"the trainer exited with code {returncode}; the job's log may say why")
    name = _name(-returncode)
    if -returncode == signal.SIGKILL and oom_kills:
        detail = "the system ran out of memory and killed the trainer; use a smaller batch_size or a larger machine"
        return Exit(Reason.OUT_OF_MEMORY, detail, most_tries=1)
    if -returncode in NATIVE_SIGNALS:
        return Exit(Reason.NATIVE_CRASH, f"the trainer crashed in native code ({name})", NATIVE_CRASH_TRIES)
    return Exit(Reason.WORKER_LOST, f"the trainer was killed ({name})")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
