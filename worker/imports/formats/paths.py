"""Names of archive members: which are refused, and what the others are called.

No name of an archive ever becomes a path on disk; a name that tries to is refused all the same, because an archive
that holds one was made to attack somebody.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from worker.imports.formats.faults import UNPRINTABLE
from worker.imports.source import Limits

MOST_CHARACTERS = 1024
_DRIVE = re.compile(r"[A-Za-z]:")
_JUNK = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "@eadir"})


def path_fault(raw: str, limits: Limits) -> tuple[str, str] | None:
    """(code, detail) when no member may be called `raw`, as written or with its %-escapes undone."""
    if not raw or len(raw) > MOST_CHARACTERS:
        return "bad_name", f"a name has 1 to {MOST_CHARACTERS} characters"
    folders = raw.removeprefix("./").rstrip("/").count("/")
    if folders > limits.depth:
        return "too_deep", f"it lies {folders} folders deep; the limit is {limits.depth}"
    return _form_fault(raw) or (_form_fault(unquote(raw)) if "%" in raw else None)


def _form_fault(name: str) -> tuple[str, str] | None:
    if UNPRINTABLE.search(name):
        return "bad_name", "its name holds control characters or bytes that are not UTF-8"
    if "\\" in name:
        return "unsafe_path", "its name holds a backslash; folders are separated by /"
    if name.startswith("/") or _DRIVE.match(name):
        return "unsafe_path", "its name is an absolute path"
    if ".." in name.split("/"):
        return "unsafe_path", "its name leads out of the archive (..)"
    return None


def clean_path(raw: str) -> str:
    """`raw` without empty parts and `.`, in Unicode's composed form: two spellings of one name become equal."""
    if "//" in raw or raw.startswith("./") or "/./" in raw:
        raw = "/".join(part for part in raw.split("/") if part not in ("", "."))
    return unicodedata.normalize("NFC", raw)


def is_junk(path: str) -> bool:
    """Whether an operating system left this: hidden files, thumbnails, resource forks."""
    return any(part.startswith(".") or part.lower() in _JUNK for part in path.split("/"))


def base_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
