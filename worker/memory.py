"""How often this worker's cgroup has killed for memory."""

from __future__ import annotations

from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def count_oom_kills() -> int:
    """`oom_kill` of this process's cgroup (version 2); 0 where there is none."""
    try:
        membership = Path("/proc/self/cgroup").read_text(encoding="ascii")
        own = next(line[3:].strip() for line in membership.splitlines() if line.startswith("0::"))
        events = (CGROUP_ROOT / own.lstrip("/") / "memory.events").read_text(encoding="ascii")
    except (OSError, StopIteration):
        return 0
    counts = dict(line.split() for line in events.splitlines())
    return int(counts.get("oom_kill", 0))
