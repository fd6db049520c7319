"""Training a network: from the start, or on from a checkpoint as if nothing had happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from core.artifacts import ArtifactStore
from core.repositories.epochs import EpochMetrics
from core.repositories.resumption import begin_training
from core.validation import CheckedSpec
from worker.callbacks.best_epoch import BestEpoch
from worker.callbacks.chance_watcher import ChanceWatcher
from worker.callbacks.checkpointer import Checkpointer, restore
from worker.callbacks.divergence_guard import DivergenceGuard
from worker.callbacks.epoch_order import EpochOrderSetter
from worker.callbacks.epoch_recorder import EpochRecorder
from worker.callbacks.progress_reporter import CancelHeard, ProgressReporter
from worker.checkpoints import TrainingState
from worker.distribution import (
    GlobalMean,
    MeanLossReporter,
    ReplicatedNetwork,
    build_for_devices,
    mean_loss_metric,
    scope_of,
)
from worker.ledger import JobLedger
from worker.losses import make_loss
from worker.network import build_network
from worker.optimizers import make_optimizer
from worker.pipeline import EpochOrder, SplitDataset, evaluation_batches, training_batches

CHUNK_SECONDS = 0.25
MULTIPLY_ADDS_A_SECOND = 1e10  # two cores train a small LeNet at about this rate
LONGEST_CHUNK = 64


@dataclass(frozen=True)
class Start:
    """Where a training begins: `state` is None for the first epoch; `troubles` say why not later."""

    state: TrainingState | None
    troubles: Sequence[str]
    threads: int


@dataclass(frozen=True)
class Trained:
    """A network at its last epoch, with what is needed to go back to the best, and whether it was asked to stop there."""

    network: Any
    history: Sequence[EpochMetrics]
    best_epoch: int | None
    best_weights: list[Any]
    paused: bool
    cancelled: bool


def steps_per_execution(checked: CheckedSpec) -> int:
    """Steps that run without returning to Python: about a quarter of a second's worth, so that progress stays live."""
    a_step = 3 * checked.network.multiply_adds * checked.spec.batch_size / MULTIPLY_ADDS_A_SECOND
    steps = -(-checked.counts.train // checked.spec.batch_size)
    return max(1, min(int(CHUNK_SECONDS / a_step), LONGEST_CHUNK, steps))


def fit(
    checked: CheckedSpec,
    data: SplitDataset,
    ledger: JobLedger,
    store: ArtifactStore,
    start: Start,
    devices: Sequence[str],
) -> Trained:
    """Trains to the last epoch, or until a pause or a cancel is asked for."""
    spec = checked.spec
    network = compiled_network(checked, devices)
    best = BestEpoch(spec.objective.resolved())
    state = start.state
    if state is not None:
        restore(state, network, best)
    done = state.epoch if state else 0
    history = ledger.write(lambda session, attempt: begin_training(session, attempt, done, best.epoch, start.troubles))
    images = len(data.train.labels)
    order = EpochOrder(spec.seed, images)
    progress = ProgressReporter(ledger, spec.epochs, -(-images // spec.batch_size))
    checkpointer = Checkpointer(store, ledger.attempt, best, start.threads)
    recorder = EpochRecorder(ledger, best, progress, checkpointer, images, history)
    chance = ChanceWatcher(ledger, recorder, data.validation.labels)
    cancelled = False
    if done < spec.epochs:
        try:
            network.fit(
                training_batches(data.train, spec.batch_size, order),
                validation_data=evaluation_batches(data.validation),
                initial_epoch=done,
                epochs=spec.epochs,
                shuffle=False,  # the order is decided by (seed, epoch), not by Keras
                verbose=0,
                callbacks=[
                    *([MeanLossReporter()] if len(devices) > 1 else []),
                    EpochOrderSetter(order),
                    DivergenceGuard(),
                    best,
                    progress,
                    checkpointer,
                    recorder,
                    chance,
                ],
            )
        except CancelHeard:
            cancelled = True
    if len(devices) > 1:
        network = _on_one_device(network, checked)
    return Trained(network, recorder.history, best.epoch, best.weights, recorder.paused, cancelled)


def _on_one_device(network: Any, checked: CheckedSpec) -> Any:
    alone = build_network(checked.layers, checked.input_shape)
    alone.set_weights(network.get_weights())
    return alone


def compiled_network(checked: CheckedSpec, devices: Sequence[str]) -> Any:
    """The job's network with its first weights, ready to be trained on these devices."""
    spec = checked.spec
    several = len(devices) > 1
    keras.utils.set_random_seed(spec.seed)
    loss = make_loss(spec.loss, len(checked.labels))
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    with scope_of(devices):
        network = build_network(checked.layers, checked.input_shape, ReplicatedNetwork if several else keras.Model)
        network.compile(
            optimizer=make_optimizer(spec.optimizer),
            loss=GlobalMean(loss) if several else loss,
            metrics=[*metrics, mean_loss_metric(loss)] if several else metrics,
            # TensorFlow 2.21 fails at an epoch's last, smaller batch when several devices run several steps at once.
            steps_per_execution=1 if several else steps_per_execution(checked),
            jit_compile="auto",  # Keras leaves XLA off on a CPU, where it halves LeNet's speed
        )
        if several:
            build_for_devices(network, checked.input_shape)
    return network
