"""Writes into docs/promises.md how the tests of each fault ended, from pytest's JUnit files.

Usage: python tests/fault_table.py RESULTS.xml…   (make faults does so; a row keeps its result where none of its tests ran)
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

PROMISES = Path(__file__).parent.parent / "docs" / "promises.md"
HEADING = "| fault | required | test | last result |"
TEST = re.compile(r"`(tests/[\w/]+)\.py(?:::(\w+))?`")

WORST_FIRST = ("failed", "passed", "skipped")
"""A test that ran twice, such as on a laptop and on a cluster, has the worse of its results."""

Results = dict[str, str]
"""passed, failed or skipped, by module.class.test with dots"""


def read_results(files: Iterable[Path]) -> tuple[Results, str]:
    """All tests' results, and the day of the oldest file."""
    results: Results = {}
    days = []
    for file in files:
        root = ET.parse(file).getroot()  # noqa: S314  (pytest wrote it a moment ago)
        days += [suite.attrib["timestamp"][:10] for suite in root.iter("testsuite")]
        for case in root.iter("testcase"):
            kinds = {child.tag for child in case}
            ending = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            name = f"{case.attrib['classname']}.{case.attrib['name']}"
            results[name] = min(ending, results.get(name, ending), key=WORST_FIRST.index)
    return results, min(days, default=datetime.now(UTC).date().isoformat())


def verdict_of(tests: str, results: Mapping[str, str], day: str) -> str | None:
    """What to write for a row that names these tests; None when one of them did not run."""
    endings: list[str] = []
    for module, case in TEST.findall(tests):
        prefix = f"{module.replace('/', '.')}.{case + '.' if case else ''}"
        found = [ending for name, ending in results.items() if name.startswith(prefix)]
        if not found:
            return None
        endings += found
    counts = [f"{endings.count(kind)} {kind}" for kind in WORST_FIRST if kind in endings]
    return f"{', '.join(counts)}, {day}" if counts else None


def rewritten(document: str, results: Mapping[str, str], day: str) -> str:
    """The document with the results of all rows that were tested."""
    before, heading, table = document.partition(HEADING)
    if not heading:
        raise ValueError(f"{PROMISES.name} has no table headed {HEADING!r}")
    rows, gap, after = table.partition("\n\n")
    lines = [_row(line, results, day) for line in rows.split("\n")]
    return before + heading + "\n".join(lines) + gap + after


def _row(line: str, results: Mapping[str, str], day: str) -> str:
    cells = line.split(" | ")
    verdict = verdict_of(cells[2], results, day) if len(cells) == 4 else None
    return line if verdict is None else " | ".join([*cells[:3], f"{verdict} |"])


def main() -> int:
    results, day = read_results(map(Path, sys.argv[1:]))
    PROMISES.write_text(rewritten(PROMISES.read_text(encoding="utf-8"), results, day), encoding="utf-8")
    failed = sum(ending == "failed" for ending in results.values())
    print(f"{len(results)} results, {failed} failed: written to {PROMISES.name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
