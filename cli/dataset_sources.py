"""What `kerasd dataset add` was given: the name of a built-in set, files, or a folder to pack."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.failures import INVALID, CommandFailed
from core.datasets import BUILTIN_DATASETS

LONGEST_NAME = 64
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

_SHARD = re.compile(r"[-.]\d+-of-\d+")
_ENDINGS = (".zip", ".tar", ".gz", ".bz2", ".xz", ".tgz", ".npz", ".tfrecord", ".tfrecords")


@dataclass(frozen=True)
class Builtin:
    name: str


@dataclass(frozen=True)
class Files:
    paths: tuple[Path, ...]
    name: str
    """of the dataset"""


@dataclass(frozen=True)
class Folder:
    path: Path
    name: str
    """of the dataset"""


def read_sources(given: Sequence[str], name: str | None) -> Builtin | Files | Folder:
    """What is meant by the arguments. The name of a built-in set always means that. Raises CommandFailed."""
    if not given:
        raise CommandFailed("name a folder, a file or a built-in dataset", INVALID)
    if len(given) == 1 and given[0] in BUILTIN_DATASETS:
        return Builtin(given[0])
    paths = tuple(_existing(text) for text in given)
    if any(path.is_dir() for path in paths):
        if len(paths) > 1:
            raise CommandFailed("a folder must stand alone: put everything into one, or give files only", INVALID)
        return Folder(paths[0], _checked(name) if name else default_name(paths[0].resolve().name))
    return Files(paths, _checked(name) if name else default_name(_stem(paths[0].name)))


def default_name(text: str) -> str:
    """A dataset's name made of a folder's or file's. Raises CommandFailed when nothing of it can stay."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:LONGEST_NAME].rstrip("-_")
    if not name:
        raise CommandFailed(f"no name for the dataset can be made of {text!r}: give one with --name", INVALID)
    return name


def _checked(name: str) -> str:
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise CommandFailed(
            f"--name {name}: must be up to {LONGEST_NAME} of a-z, 0-9, _ and -, and begin with a letter or digit",
            INVALID,
        )
    return name


def _existing(text: str) -> Path:
    path = Path(text)
    if path.is_file() or path.is_dir():
        return path
    if path.exists():
        raise CommandFailed(f"{text} is neither a file nor a folder", INVALID)
    known = ", ".join(BUILTIN_DATASETS)
    raise CommandFailed(f"there is no file or folder {text}, and no built-in dataset of that name ({known})", INVALID)


def _stem(name: str) -> str:
    """Without what says how it is packed: photos.tar.gz and photos.tfrecord-00000-of-00004 are photos."""
    name = _SHARD.sub("", name)
    while name.lower().endswith(_ENDINGS):
        name = name.rpartition(".")[0]
    return name
