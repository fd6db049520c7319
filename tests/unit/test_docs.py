"""What the documents say is there, is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "deploy/README.md", ROOT / "benchmarks/README.md"]


class TestDocuments:
    @pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
    def test_links_and_pictures_lead_somewhere(self, document: Path) -> None:
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
            assert "://" in target or (document.parent / target).exists(), target

    def test_every_setting_is_documented(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        for name, field in Settings.model_fields.items():
            assert f"| `KERASD_{name.upper()}` |" in text
            assert str(field.description) in text, name

    def test_every_decision_is_listed(self) -> None:
        listed = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
        for record in (ROOT / "docs/decisions").glob("[0-9]*.md"):
            assert f"({record.name})" in listed

    def test_tests_named_by_the_promises_exist(self) -> None:
        text = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
        for file, _, name in re.findall(r"`(tests/[\w/]+\.py)(::(\w+))?`", text):
            assert name in (ROOT / file).read_text(encoding="utf-8")
