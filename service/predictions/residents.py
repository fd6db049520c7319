"""The versions that are in memory, within a limit: whatever was used least recently makes room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from service.predictions.predictor import Predictor


class Residents:
    """To be used from one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._predictors: OrderedDict[tuple[str, int], Predictor] = OrderedDict()

    def get(self, key: tuple[str, int]) -> Predictor | None:
        """The loaded version of that name and number, which counts as used now."""
        predictor = self._predictors.get(key)
        if predictor is not None:
            self._predictors.move_to_end(key)
        return predictor

    def touch(self, predictor: Predictor) -> None:
        """It is used now."""
        key = (predictor.name, predictor.version)
        if key in self._predictors:
            self._predictors.move_to_end(key)

    def add(self, predictor: Predictor) -> Sequence[Predictor]:
        """Returns those that had to go for it: their memory is free once no request uses them any more."""
        key = (predictor.name, predictor.version)
        self._predictors.pop(key, None)
        self._predictors[key] = predictor
        gone = []
        while len(self._predictors) > 1 and sum(each.bytes for each in self._predictors.values()) > self._most:
            gone.append(self._predictors.popitem(last=False)[1])
        return gone

    def all(self) -> Sequence[Predictor]:
        """The least recently used first."""
        return list(self._predictors.values())
