"""Architectures of other packages: the documentation's own example, installed as pip would leave it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "architectures.md"

SCRIPT = """
from core.validation import check_spec
from core.recipes import RECIPES
spec = {"dataset": "digits", "architecture": {"name": "allconv", "blocks": 3}}
checked = check_spec(spec)
print(checked.network.parameters, checked.network.output_shape, "allconv" in RECIPES, checked.document["architecture"]["blocks"])
"""


def install(folder: Path, code: str, entry: str) -> None:
    """A package with one module and one entry point."""
    (folder / "allconv.py").write_text(code, encoding="utf-8")
    metadata = folder / "allconv-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: allconv\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[kerasd.architectures]\nallconv = {entry}\n", encoding="utf-8")


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def example() -> str:
    found = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


class TestPlugins:
    def test_the_guide_s_example_is_an_architecture_like_any_other(self, tmp_path: Path) -> None:
        install(tmp_path, example(), "allconv:RECIPE")
        assert len(example().splitlines()) <= 35
        assert run(tmp_path).stdout.split() == ["645850", "(10,)", "True", "3"]

    def test_one_that_cannot_be_used_is_named(self, tmp_path: Path) -> None:
        install(tmp_path, "RECIPE = 3", "allconv:RECIPE")
        assert "'allconv:RECIPE' is not a core.recipes.Recipe" in run(tmp_path).stderr

    def test_a_name_that_is_taken_is_refused(self, tmp_path: Path) -> None:
        install(tmp_path, example().replace('name="allconv"', 'name="lenet"'), "allconv:RECIPE")
        assert "takes the name 'lenet'" in run(tmp_path).stderr
