"""An export: a version's network built anew in float32, written in another format, loaded back and compared with Keras.

Keras's own layers are all it is made of, so each format loads where kerasd is not installed. Input (pixels 0-255) and
output (logits) are the published model's.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from core.donors import Donor
from core.errors import TrainingFailure
from core.failpoints import failpoint
from core.jobspec import JobSpec
from core.parity import Parity, parity_of
from core.recipes.transfer import ModelWeights
from core.repositories.datasets import stored_dataset
from core.repositories.donors import find_donor
from core.repositories.models import get_version
from core.repositories.task_attempts import finish_task
from core.states import DatasetState
from core.tables import DatasetRow
from worker.datasets.parts import Parts
from worker.tasks.assignment import Assignment, TaskFailed, TaskProgress

Floats = NDArray[np.float32]

COMPARED_IMAGES = 32
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Sample:
    """Pixels to compare with, (images, height, width, channels), and where they are from."""

    pixels: Floats
    source: str


def run_export(assignment: Assignment) -> None:
    """Writes, compares and records, or raises: TaskFailed when the export is refused, and whatever else ends a task."""
    started, spec, progress = time.monotonic(), assignment.spec, TaskProgress(assignment.ledger)
    progress.begin("reading")
    donor = _donor(assignment)
    weights = assignment.store.get(donor.path, donor.sha256)
    sample = _held_out(assignment, donor) or _made_up(donor)
    progress.begin("building")
    failpoint("export.before_build")
    from worker.tasks.formats import FORMATS, rebuilt  # brings TensorFlow, which takes seconds

    network, written = rebuilt(donor, weights), FORMATS[spec["format"]]
    expected: Floats = network.predict(sample.pixels, verbose=0)
    file = Path(tempfile.mkdtemp()) / written.file
    progress.begin("converting")
    written.write(network, file)
    progress.begin("comparing")
    parity = compare(written.run(file, sample.pixels), expected)
    path = f"{assignment.attempt.folder}/{written.file}"
    with assignment.store.writing(path) as target, file.open("rb") as source:
        while block := source.read(BLOCK_BYTES):
            target.write(block)
    stored = {"path": path, "sha256": target.sha256, "bytes": target.bytes}
    result = {
        "format": spec["format"],
        "bytes": target.bytes,
        "sha256": target.sha256,
        "max_difference": parity.max_difference,
        "tolerance": parity.tolerance,
        "images": len(sample.pixels),
        "compared_on": sample.source,
        "seconds": round(time.monotonic() - started, 3),
        "files": {"artifact": stored},
    }
    failpoint("export.before_finish")
    assignment.ledger.write(lambda session, attempt: finish_task(session, attempt, result))
    print(f"exported {spec['model']} {spec['version']} as {spec['format']}: {target.bytes} bytes", flush=True)


def compare(actual: Floats, expected: Floats) -> Parity:
    """Logits of a format and of Keras, (images, classes). Raises TaskFailed when they differ by more than is right."""
    parity = parity_of(actual, expected)
    if not parity.holds:
        raise TaskFailed(f"the network differs from Keras {parity}")
    return parity


def _donor(assignment: Assignment) -> Donor:
    spec = assignment.spec
    wanted = ModelWeights(model=spec["model"], version=spec["version"])
    with assignment.database.snapshot() as session:
        donor = find_donor(session, assignment.attempt.tenant, wanted)
    if donor is None:
        raise TaskFailed(
            f"version {spec['version']} of {spec['model']} has no stored weights to build it from, or none that can be read"
        )
    return donor


def _held_out(assignment: Assignment, donor: Donor) -> Sample | None:
    """Test images of the dataset that the job was trained on; None where that is gone or damaged."""
    spec, tenant = assignment.spec, assignment.attempt.tenant
    with assignment.database.snapshot() as session:
        digest = get_version(session, tenant, spec["model"], spec["version"]).row.dataset_digest
        query = select(DatasetRow).where(
            DatasetRow.tenant_id == tenant, DatasetRow.digest == digest, DatasetRow.state == DatasetState.READY
        )
        row = session.scalars(query.limit(1)).one_or_none()
    if row is None:
        return None
    job = JobSpec.model_validate(donor.spec)
    try:
        part = Parts(stored_dataset(row), job.dataset, assignment.store, assignment.settings).find("test")
        images = part.images.take(part.members[:COMPARED_IMAGES], part.labels[:COMPARED_IMAGES], donor.input_shape)
        pixels = images.gather(np.arange(len(images.labels)))
    except TrainingFailure as failure:
        print(failure.detail, flush=True)
        return None
    return Sample(pixels.astype(np.float32), "test images of the dataset")


def _made_up(donor: Donor) -> Sample:
    pixels = np.random.default_rng(0).integers(0, 256, (COMPARED_IMAGES, *donor.input_shape))
    return Sample(pixels.astype(np.float32), "random pixels")
