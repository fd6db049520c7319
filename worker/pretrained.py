"""Weights that a network starts with: published ones, or those that another job has learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.artifacts import ArtifactStore
from core.bases import BaseName
from core.donors import Donor, wanted_weights
from core.errors import ArtifactCorrupt, TrainingFailure
from core.layers import LayerSpec
from core.recipes.transfer import TransferOptions
from core.settings import Settings
from core.states import Reason
from core.validation import CheckedSpec
from worker.bases import normalise
from worker.imports.downloads import DownloadFailed, RemoteFile, have_file
from worker.published_weights import IMAGENET, weights_folder
from worker.weights import Weights, lend, read_weights


class StartingWeights:
    """What a job's network starts with; nothing, unless its spec asks for it."""

    def __init__(self, checked: CheckedSpec, store: ArtifactStore, settings: Settings) -> None:
        """Fetches what is needed. Raises TrainingFailure WEIGHTS_UNAVAILABLE."""
        self._layers: list[LayerSpec] = checked.layers
        self._lent: Weights | None = None
        self._part = "base"
        self._published: Path | None = None
        options = checked.spec.architecture
        if checked.donor is not None:
            wanted = wanted_weights(checked.spec)
            self._lent = _lent_by(checked.donor, store)
            self._part = wanted.part if wanted is not None else "base"
        elif isinstance(options, TransferOptions) and options.weights == "imagenet":
            self._base: BaseName = options.base
            self._published = imagenet_file(options.base, settings)

    def put_into(self, network: Any) -> None:
        if self._lent is not None:
            lend(self._lent, network, self._layers, self._part)
        elif self._published is not None:
            load_imagenet(network.get_layer("base"), self._published)


def _lent_by(donor: Donor, store: ArtifactStore) -> Weights:
    try:
        return read_weights(store.get(donor.path, donor.sha256))
    except (ArtifactCorrupt, FileNotFoundError) as error:
        detail = f"the weights of job {donor.job_id} cannot be used ({error}); train it again"
        raise TrainingFailure(Reason.WEIGHTS_UNAVAILABLE, detail) from None


def imagenet_file(base: BaseName, settings: Settings) -> Path:
    """The published file: the one that the settings name, one downloaded earlier, or downloaded now, its checksum verified.

    Raises TrainingFailure WEIGHTS_UNAVAILABLE, which says what to do.
    """
    remote, local = IMAGENET[base], settings.weights_files.get(base)
    if local is not None:
        if not local.is_file():
            raise _unavailable(base, f"KERASD_WEIGHTS_FILES names {local}, which is not a file", remote)
        if remote is not None and not remote.matches(local):
            raise _unavailable(base, f"{local} does not match the published checksum", remote)
        return local
    if remote is None:
        raise _unavailable(base, "Keras publishes no checksum for them, so they are not downloaded", remote)
    try:
        return have_file(remote, weights_folder(settings), offline=settings.offline, on_progress=lambda _: None)
    except DownloadFailed as error:
        raise _unavailable(base, str(error), remote) from None


def load_imagenet(network: Any, file: Path) -> None:
    """Loads a file whose checksum was verified into a built base."""
    network.load_weights(str(file))
    normalise(network)


def _unavailable(base: BaseName, why: str, remote: RemoteFile | None) -> TrainingFailure:
    file = f"{remote.name} from {remote.url}" if remote else "Keras's own file of them"
    return TrainingFailure(
        Reason.WEIGHTS_UNAVAILABLE,
        f"the ImageNet weights of {base} are not here: {why}; put {file} where the worker can read it and name it in "
        f'KERASD_WEIGHTS_FILES=\'{{"{base}": "/path/to/file"}}\', or use the weights of an earlier job',
    )
