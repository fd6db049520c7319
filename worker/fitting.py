"""Training a network: from the start, or on from a checkpoint as if nothing had happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from core.artifacts import ArtifactStore
from core.bases import Base
from core.errors import TrainingFailure
from core.repositories.epochs import EpochMetrics
from core.repositories.resumption import begin_training
from core.states import Reason
from core.training_options import ReduceOnPlateau
from core.validation import CheckedSpec
from worker.augmentation import Augmenter
from worker.bases import set_trainable
from worker.callbacks.average_swapper import AverageSwapper
from worker.callbacks.best_epoch import BestEpoch
from worker.callbacks.checkpointer import Checkpointer, PhaseState, restore, restore_phase
from worker.callbacks.divergence_guard import DivergenceGuard
from worker.callbacks.early_stopper import EarlyStopper
from worker.callbacks.epoch_order import EpochOrderSetter
from worker.callbacks.epoch_recorder import EpochRecorder
from worker.callbacks.nonsense_watcher import NonsenseWatcher
from worker.callbacks.plateau_reducer import PlateauReducer
from worker.callbacks.progress_reporter import CancelHeard, ProgressReporter
from worker.checkpoints import TrainingState
from worker.class_weights import class_weights
from worker.distribution import (
    GlobalMean,
    MeanLossReporter,
    ReplicatedNetwork,
    Strategy,
    build_for_devices,
    mean_loss_metric,
    scope_of,
    strategy_of,
)
from worker.ledger import JobLedger
from worker.losses import Accuracy, make_loss
from worker.network import build_network
from worker.optimizers import optimizer_of
from worker.pipeline import EpochOrder, SplitDataset, Treatment, evaluation_batches, training_batches
from worker.precision import computing_in
from worker.pretrained import StartingWeights

CHUNK_SECONDS = 0.25
MULTIPLY_ADDS_A_SECOND = 1e10  # two cores train a small LeNet at about this rate
LONGEST_CHUNK = 64


@dataclass(frozen=True)
class Start:
    """Where a training begins: `state` is None for the first epoch; `troubles` say why not later."""

    state: TrainingState | None
    troubles: Sequence[str]
    weights: StartingWeights | None
    """None where `state` holds them"""


@dataclass(frozen=True)
class Means:
    """What a training computes with."""

    devices: Sequence[str]
    threads: int
    precision: str


@dataclass(frozen=True)
class Trained:
    """A network at its last epoch, with what is needed to go back to the best, and why it stopped there."""

    network: Any
    history: Sequence[EpochMetrics]
    best_epoch: int | None
    best_weights: list[Any]
    restored: tuple[int, list[Any]] | None
    """the epoch and weights that early stopping goes back to"""
    paused: bool
    cancelled: bool
    failure: TrainingFailure | None
    """a divergence; then the network holds nothing of use"""


def steps_per_execution(checked: CheckedSpec) -> int:
    """Steps that run without returning to Python: about a quarter of a second's worth, so that progress stays live."""
    a_step = 3 * checked.network.multiply_adds * checked.spec.batch_size / MULTIPLY_ADDS_A_SECOND
    return max(1, min(int(CHUNK_SECONDS / a_step), LONGEST_CHUNK, checked.steps))


def fit(
    checked: CheckedSpec, data: SplitDataset, ledger: JobLedger, store: ArtifactStore, start: Start, means: Means
) -> Trained:
    """Trains through all phases, or until a pause or a cancel is asked for, or the loss diverges."""
    with computing_in(means.precision):
        return _Fitting(checked, data, ledger, store, start, means).run()


class _Fitting:
    """One attempt's way through the phases of its job."""

    def __init__(
        self,
        checked: CheckedSpec,
        data: SplitDataset,
        ledger: JobLedger,
        store: ArtifactStore,
        start: Start,
        means: Means,
    ) -> None:
        spec = self._spec = checked.spec
        self._checked = checked
        self._strategy = strategy_of(means.devices)
        self._state = start.state
        self._network = first_network(checked, self._strategy)
        self._best = BestEpoch(spec.objective.resolved())
        if start.state is not None:
            restore(start.state, self._network, self._best)
        elif start.weights is not None:
            start.weights.put_into(self._network)
        done = start.state.epoch if start.state else 0
        history = ledger.write(
            lambda session, attempt: begin_training(session, attempt, done, self._best.epoch, start.troubles)
        )
        images = checked.epoch_images
        self._order = EpochOrder(spec.seed, images)
        self._batches = training_batches(data.train, spec.batch_size, self._order, treatment_of(checked, data))
        self._validation = evaluation_batches(data.validation, checked.network.evaluation_batch)
        self._progress = ProgressReporter(ledger, checked.steps)
        self._checkpointer = Checkpointer(store, ledger.attempt, self._best, means.threads, means.precision)
        self._recorder = EpochRecorder(ledger, self._best, self._progress, self._checkpointer, images, history)
        self._nonsense = NonsenseWatcher(ledger, self._recorder, data.validation, checked.network.evaluation_batch)

    def run(self) -> Trained:
        state, phases = self._state, self._spec.planned_phases
        first, began = (state.phase, state.phase_began) if state else (0, 0)
        stopper, over = None, True
        paused = cancelled = False
        failure = None
        for number in range(first, len(phases)):
            resumed = state if state is not None and number == first else None
            phase = self._begin(number, began, resumed)
            stopper = phase.stopper
            try:
                self._train(phase)
            except CancelHeard:
                cancelled = True
            except TrainingFailure as diverged:
                if diverged.reason is not Reason.DIVERGED:
                    raise
                failure = diverged
            done, last = len(self._recorder.history), number == len(phases) - 1
            over = done >= began + phases[number].epochs or (stopper is not None and stopper.stopped)
            paused = self._recorder.pause_heard and not (over and last)
            if cancelled or failure or paused:
                break
            if stopper is not None and stopper.weights and not last:
                self._network.set_weights(stopper.weights)
            began = done
        if not (cancelled or failure or paused):
            self._nonsense.look(self._network)
        restored = (
            (stopper.epoch, stopper.weights) if stopper is not None and stopper.epoch and stopper.weights else None
        )
        network = self._network if self._strategy is None else _on_one_device(self._network, self._checked)
        history = self._recorder.history
        best = self._best
        return Trained(network, history, best.epoch, best.weights, restored, paused, cancelled, failure)

    def _begin(self, number: int, began: int, resumed: TrainingState | None) -> PhaseState:
        """Readies the network for a phase; in the midst of it where a checkpoint says so."""
        compile_for_phase(self._network, self._checked, number, self._strategy)
        stopping, schedule = self._spec.early_stopping, self._spec.learning_rate_schedule
        stopper = EarlyStopper(stopping) if stopping is not None else None
        reducer = PlateauReducer(schedule) if isinstance(schedule, ReduceOnPlateau) else None
        phase = PhaseState(number, began, stopper, [each for each in (stopper, reducer) if each is not None])
        if resumed is not None:
            restore_phase(resumed, self._network, phase)
        self._checkpointer.phase = phase
        self._recorder.phase = number + 1
        self._progress.plan(began + sum(entry.epochs for entry in self._spec.planned_phases[number:]))
        return phase

    def _train(self, phase: PhaseState) -> None:
        done, end = len(self._recorder.history), phase.began + self._spec.planned_phases[phase.phase].epochs
        if done >= end or (phase.stopper is not None and phase.stopper.stopped):
            return
        self._network.fit(
            self._batches,
            validation_data=self._validation,
            initial_epoch=done,
            epochs=end,
            shuffle=False,  # the order is decided by (seed, epoch), not by Keras
            verbose=0,
            callbacks=[
                *([MeanLossReporter()] if self._strategy is not None else []),
                EpochOrderSetter(self._order),
                DivergenceGuard(),
                self._best,
                *phase.remembering,
                self._progress,
                self._checkpointer,
                self._recorder,
                self._nonsense,
                *([AverageSwapper()] if self._spec.optimizer.use_ema else []),
            ],
        )


def _on_one_device(network: Any, checked: CheckedSpec) -> Any:
    alone = build_network(checked.layers, checked.input_shape)
    alone.set_weights(network.get_weights())
    return alone


def treatment_of(checked: CheckedSpec, data: SplitDataset) -> Treatment:
    """How the job wants its training images changed and weighed."""
    spec, classes = checked.spec, len(checked.labels)
    weights = None
    if spec.class_weights is not None:
        weights = class_weights(spec.class_weights, checked.labels, data.train.labels)
    if spec.augmentation is None:
        return Treatment(class_weights=weights)
    augmenter = Augmenter(spec.augmentation, spec.seed, checked.input_shape, classes)
    return Treatment(augmenter, doubled=spec.augmentation.mode == "doubled", class_weights=weights)


def first_network(checked: CheckedSpec, strategy: Strategy = None) -> Any:
    """The job's network with its first, random weights."""
    keras.utils.set_random_seed(checked.spec.seed)
    with scope_of(strategy):
        kind = ReplicatedNetwork if strategy is not None else keras.Model
        return build_network(checked.layers_in(0), checked.input_shape, kind)


def compile_for_phase(network: Any, checked: CheckedSpec, number: int, strategy: Strategy = None) -> None:
    """Gives the network what a phase trains it with: a fresh optimizer, and so much of its base as the phase says."""
    spec, several, classes = checked.spec, strategy is not None, len(checked.labels)
    for layer in checked.layers_in(number):
        if isinstance(layer, Base):
            set_trainable(network.get_layer(layer.name), layer)
    loss = make_loss(spec.loss, classes)
    with scope_of(strategy):
        metrics = [Accuracy(classes)]
        network.compile(
            optimizer=optimizer_of(spec, spec.planned_phases[number], checked.steps),
            loss=GlobalMean(loss) if several else loss,
            metrics=[*metrics, mean_loss_metric(loss)] if several else metrics,
            # TensorFlow 2.21 fails at an epoch's last, smaller batch when several devices run several steps at once.
            steps_per_execution=1 if several else steps_per_execution(checked),
            jit_compile="auto",  # Keras leaves XLA off on a CPU, where it halves LeNet's speed
        )
        if several:
            build_for_devices(network, checked.input_shape)
