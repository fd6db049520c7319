"""How often processes were killed for memory around this worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MACHINE = Path("/proc/vmstat")


def count_oom_kills() -> int:
    """Of this process's memory cgroup, version 2 or 1; of the whole machine where it is in none; 0 if nothing tells."""
    for file in (*_cgroup_files(), MACHINE):
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        counts = dict(line.split(maxsplit=1) for line in lines)
        if "oom_kill" in counts:
            return int(counts["oom_kill"])
    return 0


def _cgroup_files() -> Iterator[Path]:
    """Where the count may stand. Of version 1, a container sees its own cgroup at the root, whatever its name."""
    try:
        memberships = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        if not controllers:
            yield CGROUPS / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            yield CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
            yield CGROUPS / "memory" / "memory.oom_control"
