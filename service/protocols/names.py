"""What the protocols' paths name: a model, and a version of it or its best."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from core.errors import ModelNotFound
from service.predictions.query import LAST_VERSION, PredictQuery
from service.predictions.served import BEST


class Target(NamedTuple):
    name: str
    """as the client wrote it: "<view>.<architecture>", or an architecture alone where one view has it"""
    architecture: str
    query: PredictQuery
    """the view, and the version where one is named"""

    @property
    def full_name(self) -> str | None:
        """Of the model; None where it depends on what is published."""
        view = self.query.dataset
        return None if view is None or self.architecture == BEST else f"{view}.{self.architecture}"


@lru_cache(maxsize=1024)
def parse_target(name: str, version: str | None = None) -> Target:
    """`version` is digits. Raises ModelNotFound for a number that no version can have."""
    view, _, architecture = name.rpartition(".")
    if version is None:
        return Target(name, architecture, PredictQuery(dataset=view or None))
    number = int(version) if len(version) <= len(str(LAST_VERSION)) else 0
    if not 1 <= number <= LAST_VERSION:
        raise ModelNotFound(f"model {name!r} has no version {version[:20]}")
    return Target(name, architecture, PredictQuery(dataset=view or None, version=number))
