"""Who this process is, so that another can tell later whether it still lives."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path
from typing import NoReturn

import psutil

from core.repositories.claims import Holder

PR_SET_PDEATHSIG = 1

READY_LINE = "kerasd trainer ready"
"""What a child prints once it is warm; no part of its log."""


def boot_id() -> str:
    """Names this boot of this host and its process-id namespace: only within one do process ids mean anything."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{platform.node()}/{psutil.boot_time():.0f}"


def this_holder() -> Holder:
    pid = os.getpid()
    return Holder(
        worker=f"{platform.node()}:{pid}",
        boot_id=boot_id(),
        pid=pid,
        process_started=psutil.Process(pid).create_time(),
    )


def lives(holder: Holder) -> bool:
    """Whether a holder of this host is still running; its process id may belong to another process by now."""
    try:
        process = psutil.Process(holder.pid)
        return abs(process.create_time() - holder.process_started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when the thread that started it ends (Linux; elsewhere stdin's end does)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the worker died while this trainer started")


def leave(code: int) -> NoReturn:
    """Exits at once: TensorFlow's teardown takes a second and has nothing left to save."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
