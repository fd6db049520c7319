"""One attempt from dataset to published model: what a trainer process does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import keras
from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.dataset_content import StoredDataset
from core.failpoints import failpoint
from core.jobspec import JobSpec
from core.repositories.attempts import Attempt, add_warning, record_environment
from core.repositories.epochs import EpochMetrics
from core.repositories.results import Publication, finish_job
from core.settings import Settings
from core.validation import CheckedSpec, check_spec
from worker import diagnosis
from worker.callbacks.best_epoch import BestEpoch
from worker.callbacks.chance_watcher import ChanceWatcher
from worker.callbacks.divergence_guard import DivergenceGuard
from worker.callbacks.epoch_order import EpochOrderSetter
from worker.callbacks.epoch_recorder import EpochRecorder
from worker.callbacks.progress_reporter import ProgressReporter
from worker.environment import describe_environment, prepare_devices
from worker.evaluation import evaluate, full_evaluation
from worker.ledger import Ledger
from worker.losses import make_loss
from worker.network import build_network
from worker.optimizers import make_optimizer
from worker.pipeline import EpochOrder, SplitDataset, evaluation_batches, split_dataset, training_batches
from worker.publishing import check_parity, export_onnx, store_artifact

CHUNK_SECONDS = 0.25
MULTIPLY_ADDS_A_SECOND = 1e10  # two cores train a small LeNet at about this rate
LONGEST_CHUNK = 64


@dataclass(frozen=True)
class Trained:
    """A trained network: at its last epoch, with what is needed to go back to the best."""

    network: Any
    history: Sequence[EpochMetrics]
    best_epoch: int | None
    best_weights: list[Any]


def run_attempt(document: dict[str, Any], dataset: StoredDataset, ledger: Ledger, settings: Settings) -> None:
    """Trains, evaluates, publishes. `document` is the job's normalised spec.

    Raises TrainingFailure when the job itself is at fault, FencedOut when another attempt owns it.
    """
    failpoint("attempt.starts")
    checked = check_spec(document, dataset.content.info)
    devices = prepare_devices()
    environment = describe_environment(devices, dataset.digest)
    ledger.write(lambda session, attempt: record_environment(session, attempt, environment))
    store = ArtifactStore(settings.artifacts)
    data = split_dataset(dataset, checked.spec.dataset, checked.input_shape, store, settings)
    _introduce(checked, data, devices)
    trained = _train(checked, data, ledger)
    _finish(checked, data, trained, dataset, ledger, store)


def steps_per_execution(checked: CheckedSpec) -> int:
    """Steps that run without returning to Python: about a quarter of a second's worth, so that progress stays live."""
    a_step = 3 * checked.network.multiply_adds * checked.spec.batch_size / MULTIPLY_ADDS_A_SECOND
    steps = -(-checked.counts.train // checked.spec.batch_size)
    return max(1, min(int(CHUNK_SECONDS / a_step), LONGEST_CHUNK, steps))


def _train(checked: CheckedSpec, data: SplitDataset, ledger: Ledger) -> Trained:
    spec = checked.spec
    keras.utils.set_random_seed(spec.seed)
    network = build_network(checked.layers, checked.input_shape)
    network.compile(
        optimizer=make_optimizer(spec.optimizer),
        loss=make_loss(spec.loss, len(checked.labels)),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        steps_per_execution=steps_per_execution(checked),
        jit_compile="auto",  # Keras leaves XLA off on a CPU, where it halves LeNet's speed
    )
    images = len(data.train.labels)
    order = EpochOrder(spec.seed, images)
    progress = ProgressReporter(ledger, spec.epochs, -(-images // spec.batch_size))
    best = BestEpoch(spec.objective.resolved())
    recorder = EpochRecorder(ledger, best, progress, images)
    chance = ChanceWatcher(ledger, recorder, data.validation.labels)
    network.fit(
        training_batches(data.train, spec.batch_size, order),
        validation_data=evaluation_batches(data.validation),
        epochs=spec.epochs,
        shuffle=False,  # the order is decided by (seed, epoch), not by Keras
        verbose=0,
        callbacks=[EpochOrderSetter(order), DivergenceGuard(), best, progress, recorder, chance],
    )
    return Trained(network, recorder.history, best.epoch, best.weights)


def _finish(
    checked: CheckedSpec,
    data: SplitDataset,
    trained: Trained,
    dataset: StoredDataset,
    ledger: Ledger,
    store: ArtifactStore,
) -> None:
    spec = checked.spec
    loss = make_loss(spec.loss, len(checked.labels))
    last = {"epoch": len(trained.history), **evaluate(trained.network, data.test, loss)}
    published_epoch = len(trained.history)
    if spec.publish == "best" and trained.best_epoch is not None:
        published_epoch = trained.best_epoch
        trained.network.set_weights(trained.best_weights)
    evaluation = {
        "epoch": published_epoch,
        **full_evaluation(trained.network, data.test, loss, checked.labels),
        "last_epoch": last,
    }
    _warn(trained, evaluation, ledger)

    content, rebuilt = export_onnx(checked.layers, checked.input_shape, trained.network.get_weights())
    parity = check_parity(content, rebuilt, data.test)
    artifact = store_artifact(store, ledger.attempt, content)
    metrics = asdict(trained.history[published_epoch - 1])
    publication = Publication(
        view=checked.view,
        architecture=spec.architecture.name,
        artifact=artifact,
        dataset_digest=dataset.digest,
        labels=list(checked.labels),
        input_shape={
            **dict(zip(("height", "width", "channels"), checked.input_shape, strict=True)),
            "reduced_to": dataset.content.reduced_to,
        },
        metrics={**metrics, "test_loss": evaluation["test_loss"], "test_accuracy": evaluation["test_accuracy"]},
        objective=spec.objective.resolved(),
        parity=parity,
    )
    failpoint("attempt.before_finish")
    version = ledger.write(lambda session, attempt: finish_job(session, attempt, evaluation, publication))
    print(f"test accuracy {evaluation['test_accuracy']:.4f}; published as version {version}", flush=True)


def _warn(trained: Trained, evaluation: dict[str, Any], ledger: Ledger) -> None:
    found = {
        "collapsed_to_one_class": diagnosis.collapsed_to_one_class(evaluation),
        "overfitting": diagnosis.overfitting(trained.history),
    }
    for code, detail in found.items():
        if detail is not None:
            print(f"warning: {detail}", flush=True)
            ledger.write(partial(_add_warning, code, detail))


def _add_warning(code: str, detail: str, session: Session, attempt: Attempt) -> None:
    add_warning(session, attempt, code, detail)


def _introduce(checked: CheckedSpec, data: SplitDataset, devices: list[str]) -> None:
    spec: JobSpec = checked.spec
    print(
        f"{spec.architecture.name} with {checked.network.parameters:,} parameters on {checked.view}: "
        f"{len(data.train.labels)} training, {len(data.validation.labels)} validation, {len(data.test.labels)} test images "
        f"of {'x'.join(map(str, checked.input_shape))}, {len(checked.labels)} classes; {', '.join(devices)}",
        flush=True,
    )
