"""The last column of the fault table."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_table import read_results, rewritten

TABLE = """# Faults

| fault | required | test | last result |
| --- | --- | --- | --- |
| 1 a | b | `tests/e2e/test_a.py::TestA` | old |
| 2 c | d `code` | `tests/e2e/test_b.py`, `tests/unit/test_c.py::TestC` | old |

After | it | stays | the same |
"""


def results_file(folder: Path, name: str, *cases: str) -> Path:
    """Each case as `module.Class.test` or, when it failed, the same with an exclamation mark."""
    lines = [
        f'<testcase classname="{case.rstrip("!").rpartition(".")[0]}" name="{case.rstrip("!").rpartition(".")[2]}">'
        f"{'<failure/>' if case.endswith('!') else ''}</testcase>"
        for case in cases
    ]
    file = folder / name
    file.write_text(f'<testsuites><testsuite timestamp="2026-11-25T20:00:00">{"".join(lines)}</testsuite></testsuites>')
    return file


class TestTable:
    def test_each_row_tells_how_its_tests_ended(self, tmp_path: Path) -> None:
        file = results_file(
            tmp_path,
            "r.xml",
            "tests.e2e.test_a.TestA.test_x",
            "tests.e2e.test_a.TestA.test_y[1]!",
            "tests.e2e.test_a.TestAnother.test_x",
            "tests.e2e.test_b.TestB.test_x",
            "tests.unit.test_c.TestC.test_x",
        )
        lines = rewritten(TABLE, *read_results([file])).split("\n")
        assert lines[4].endswith("`tests/e2e/test_a.py::TestA` | 1 failed, 1 passed, 2026-11-25 |")
        assert lines[5].endswith("`tests/unit/test_c.py::TestC` | 2 passed, 2026-11-25 |")
        assert lines[7] == "After | it | stays | the same |"

    def test_a_row_keeps_its_result_where_a_test_did_not_run(self, tmp_path: Path) -> None:
        file = results_file(tmp_path, "r.xml", "tests.e2e.test_b.TestB.test_x")
        assert rewritten(TABLE, *read_results([file])) == TABLE

    def test_a_failure_is_not_hidden_by_a_later_success(self, tmp_path: Path) -> None:
        name = "tests.e2e.test_a.TestA.test_x"
        files = [results_file(tmp_path, "1.xml", f"{name}!"), results_file(tmp_path, "2.xml", name)]
        assert "| 1 failed, 2026-11-25 |" in rewritten(TABLE, *read_results(files))

    def test_a_document_without_the_table_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no table"):
            rewritten("# Nothing", {}, "2026-11-25")
