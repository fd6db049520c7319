"""What the exit of a trainer or importer tells."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from core.errors import ArtifactStoreAway, FencedOut
from core.states import Reason

NATIVE_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS})
NATIVE_CRASH_TRIES = 2

ENDED = 0
"""Exit code: the end of the attempt is in the database."""
FENCED_OUT = 3
"""Exit code: another attempt owns the job, import or task; nothing was written."""
NO_DATABASE = 4
"""Exit code: the database stayed away for longer than a lease, so nobody was told how the attempt ended."""
NO_STORE = 5
"""Exit code of an importer or task runner: the artifact store stayed away for longer than a lease."""

_NO_MEMORY = re.compile(
    r"MemoryError\b|std::bad_alloc|pthread_create.*failed|can't start new thread"
    r"|Cannot allocate memory|failed to map segment|DefaultCPUAllocator: not enough memory"
)
"""What Python, the C++ library, TensorFlow, LLVM and the dynamic loader say when the system refuses them memory. A new
thread needs memory too, for its stack."""


def exit_code_of(work: Callable[[], None]) -> int:
    """ENDED once an importer's or task runner's work has recorded its end; else the code of what is no verdict on it."""
    try:
        work()
    except FencedOut as fenced:
        print(fenced.detail, flush=True)
        return FENCED_OUT
    except DBAPIError as error:
        print(f"the database does not answer: {error.orig}", flush=True)
        return NO_DATABASE
    except ArtifactStoreAway as away:
        print(away.detail, flush=True)
        return NO_STORE
    return ENDED


def refused_memory(text: str) -> str | None:
    """The line in which a process says that it got no memory; None when it does not say so."""
    found = next((line for line in text.splitlines() if _NO_MEMORY.search(line)), None)
    return None if found is None else found.strip()[:200]


@dataclass(frozen=True)
class Exit:
    """Why an attempt was lost, and how many tries such a loss is worth (None: the spec's max_attempts)."""

    reason: Reason
    detail: str
    most_tries: int | None = None


def classify(returncode: int, oom_kills: int, last_words: str = "") -> Exit:
    """`returncode` as subprocess gives it: minus the signal's number when one ended the process.

    `oom_kills` counts kills for memory, as memory.py does, while the attempt ran. `last_words` is the end of its output.
    """
    if returncode == NO_DATABASE:
        return Exit(Reason.WORKER_LOST, "the database did not answer the trainer for longer than a lease")
    if -returncode == signal.SIGKILL and oom_kills:
        return _out_of_memory("the system ran out of memory and killed the trainer")
    complaint = refused_memory(last_words)
    if complaint is not None and (returncode > 0 or -returncode in NATIVE_SIGNALS):
        return _out_of_memory(f"the system refused the trainer memory ({complaint})")
    if returncode >= 0:
        return Exit(Reason.INTERNAL_ERROR, f"the trainer exited with code {returncode}; the job's log may say why")
    name = _name(-returncode)
    if -returncode in NATIVE_SIGNALS:
        return Exit(Reason.NATIVE_CRASH, f"the trainer crashed in native code ({name})", NATIVE_CRASH_TRIES)
    return Exit(Reason.WORKER_LOST, f"the trainer was killed ({name})")


def _out_of_memory(detail: str) -> Exit:
    """Another try would need as much."""
    return Exit(Reason.OUT_OF_MEMORY, f"{detail}; use a smaller batch_size or a larger machine", most_tries=1)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
