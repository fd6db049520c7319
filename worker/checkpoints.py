"""What a training needs to go on exactly where it stood after an epoch, as one file.

The file is a sequence of .npy arrays: first the description as UTF-8 JSON, then the network's variables (dropout seeds
and batch statistics among them), the optimizer's, the best epoch's weights and those that early stopping would go back
to, unless they are the current ones. It holds no code and no pickle; it is read only when its sha256 is the one that the database recorded.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.errors import ArtifactCorrupt
from core.repositories.checkpoints import Checkpoint

FORMAT = 2


@dataclass(frozen=True)
class RandomState:
    """Of Python's and NumPy's global generators. Keras's own seeds are variables of the network."""

    python: list[Any]
    numpy: list[Any]

    @classmethod
    def current(cls) -> RandomState:
        version, internal, gauss = random.getstate()
        kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  (Keras draws from this one)
        return cls(
            [version, list(internal), gauss],
            [kind, np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        )

    def restore(self) -> None:
        version, internal, gauss = self.python
        random.setstate((version, tuple(internal), gauss))
        kind, keys, position, has_gauss, cached = self.numpy
        np.random.set_state((kind, np.array(keys, np.uint32), position, has_gauss, cached))  # noqa: NPY002


@dataclass(frozen=True)
class TrainingState:
    """After `epoch` finished epochs. Arrays are in the order of Keras's own variables."""

    epoch: int
    best_epoch: int | None
    best_value: float | None
    random_state: RandomState
    threads: int
    """that the attempt computed with: another number gives other roundings"""
    variables: list[NDArray[Any]]
    optimizer: list[NDArray[Any]]
    best_weights: list[NDArray[Any]] | None
    """None where the current weights are the best, or there is none yet"""
    phase: int
    """index of the phase that `epoch` belongs to"""
    phase_began: int
    """finished epochs before that phase"""
    callbacks: dict[str, Any]
    """what callbacks remember, by their keys"""
    stopper_weights: list[NDArray[Any]] | None
    """of the best epoch by early stopping's own metric; None where the current ones are, or nobody asks"""
    precision: str
    """that the attempt computed with: on another it would go on differently"""


def write_state(state: TrainingState, file: Any) -> None:
    """Writes the state to a file, of which nothing but `write` is asked."""
    groups = [state.variables, state.optimizer, state.best_weights or [], state.stopper_weights or []]
    description = {
        "format": FORMAT,
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_value": state.best_value,
        "random_state": asdict(state.random_state),
        "threads": state.threads,
        "counts": [len(group) for group in groups],
        "has_best": state.best_weights is not None,
        "has_stopper": state.stopper_weights is not None,
        "phase": state.phase,
        "phase_began": state.phase_began,
        "callbacks": state.callbacks,
        "precision": state.precision,
    }
    text = np.frombuffer(json.dumps(description).encode(), np.uint8)
    for array in (text, *(array for group in groups for array in group)):
        np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def read_state(content: bytes) -> TrainingState:
    """Raises ValueError for a file of another format."""
    file = BytesIO(content)

    def arrays(count: int) -> list[NDArray[Any]]:
        return [np.lib.format.read_array(file, allow_pickle=False) for _ in range(count)]

    description = json.loads(arrays(1)[0].tobytes())
    if description["format"] != FORMAT:
        raise ValueError(f"a checkpoint of format {description['format']}")
    variables, optimizer, best, stopper = (arrays(count) for count in description["counts"])
    return TrainingState(
        epoch=description["epoch"],
        best_epoch=description["best_epoch"],
        best_value=description["best_value"],
        random_state=RandomState(**description["random_state"]),
        threads=description["threads"],
        variables=variables,
        optimizer=optimizer,
        best_weights=best if description["has_best"] else None,
        phase=description["phase"],
        phase_began=description["phase_began"],
        callbacks=description["callbacks"],
        stopper_weights=stopper if description["has_stopper"] else None,
        precision=description["precision"],
    )


def load_state(store: ArtifactStore, checkpoints: list[Checkpoint]) -> tuple[TrainingState | None, list[str]]:
    """The newest state that can be trusted, None without one, and what is wrong with those passed over."""
    troubles: list[str] = []
    for checkpoint in checkpoints:
        try:
            return read_state(store.get(checkpoint.path, checkpoint.sha256)), troubles
        except (ArtifactCorrupt, OSError, ValueError, KeyError, EOFError) as error:
            troubles.append(f"the checkpoint of epoch {checkpoint.epoch} cannot be used: {error}")
    return None, troubles
