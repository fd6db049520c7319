"""One attempt from dataset to published model: what a trainer process does."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore, open_store
from core.dataset_content import StoredDataset
from core.donors import Donor, no_donors, wanted_weights
from core.errors import InvalidJobSpec, TrainingFailure
from core.failpoints import failpoint
from core.jobspec import JobSpec
from core.repositories.attempts import (
    LEASE_SECONDS,
    Attempt,
    Ending,
    add_warning,
    current_standing,
    end_attempt,
    pause_attempt,
    record_environment,
)
from core.repositories.checkpoints import Checkpoint
from core.repositories.results import KEPT_BEST, SUCCESS, Publication, finish_job
from core.settings import Settings
from core.states import Reason, State
from core.validation import CheckedSpec, check_spec
from worker import diagnosis
from worker.cards import measure_latency, model_sizes
from worker.checkpoints import load_state
from worker.environment import Hardware, describe_environment, prepare_devices, prepare_threads
from worker.evaluation import evaluate, full_evaluation
from worker.fitting import Means, Start, Trained, fit
from worker.ledger import JobLedger
from worker.losses import LossFunction, make_loss
from worker.pipeline import SplitDataset, split_dataset
from worker.precision import choose_precision
from worker.pretrained import StartingWeights
from worker.publishing import check_drift, check_parity, export_onnx, rebuilt, store_artifact, store_weights
from worker.reference import reference_statistics

CANCELLED = Ending(State.CANCELLED, outcome="cancelled", reason=Reason.USER_CANCELLED, counts_as_failure=False)


def run_attempt(
    document: dict[str, Any],
    dataset: StoredDataset,
    checkpoints: list[Checkpoint],
    donor: Donor | None,
    ledger: JobLedger,
    settings: Settings,
    hardware: Hardware,
) -> None:
    """Trains, evaluates, publishes; or pauses, or keeps the best of a cancelled job. `document` is the normalised spec.

    Raises TrainingFailure when the job itself is at fault, FencedOut when another attempt owns it.
    """
    failpoint("attempt.starts")
    checked = _checked(document, dataset, donor)
    store = open_store(settings, LEASE_SECONDS)
    state, troubles = load_state(store, checkpoints)
    for trouble in troubles:
        print(trouble, flush=True)
    spec = checked.spec
    devices = prepare_devices(hardware.gpus, spec.devices)
    threads = prepare_threads(
        hardware.threads, state.threads if state else None, len(devices), deterministic=spec.deterministic
    )
    weights = StartingWeights(checked, store, settings) if state is None else None
    precision = choose_precision(checked, state.precision if state else None)
    environment = describe_environment(devices, threads, dataset.digest, precision)
    ledger.write(lambda session, attempt: record_environment(session, attempt, environment))
    data = split_dataset(dataset, spec.dataset, checked.input_shape, store, settings)
    means = Means(devices, threads, precision["chosen"])
    _introduce(checked, data, means, state.epoch if state else 0)
    trained = fit(checked, data, ledger, store, Start(state, troubles, weights), means)
    if trained.failure is not None and trained.best_epoch is None:
        raise trained.failure
    if trained.paused and ledger.write(pause_attempt) is State.CANCELLING:
        trained = replace(trained, paused=False, cancelled=True)
    if trained.paused:
        print(f"paused after epoch {len(trained.history)}", flush=True)
    elif trained.cancelled and not _keeps_best(trained, ledger):
        ledger.write(lambda session, attempt: end_attempt(session, attempt, CANCELLED))
    else:
        _finish(checked, data, trained, dataset, ledger, store, means)


def _checked(document: dict[str, Any], dataset: StoredDataset, donor: Donor | None) -> CheckedSpec:
    """Raises TrainingFailure: WEIGHTS_UNAVAILABLE when the job that should lend its weights is gone, INTERNAL_ERROR when
    the spec was accepted by a version with other rules.
    """
    if donor is None and wanted_weights(JobSpec.model_validate(document)) is not None:
        detail = "the job whose weights it should start with has none any more; train that again, or give other weights"
        raise TrainingFailure(Reason.WEIGHTS_UNAVAILABLE, detail)
    try:
        return check_spec(document, dataset.content.info, no_donors if donor is None else lambda _: donor)
    except InvalidJobSpec as error:  # it was accepted under other rules
        told = "; ".join(f"{fault.pointer} {fault.detail}" for fault in error.faults)
        detail = f"the job's spec does not pass this version's check ({told}); change that and submit the job anew"
        raise TrainingFailure(Reason.INTERNAL_ERROR, detail) from None


def _keeps_best(trained: Trained, ledger: JobLedger) -> bool:
    return trained.best_epoch is not None and ledger.write(current_standing).keep_best


def _finish(
    checked: CheckedSpec,
    data: SplitDataset,
    trained: Trained,
    dataset: StoredDataset,
    ledger: JobLedger,
    store: ArtifactStore,
    means: Means,
) -> None:
    loss, batch_size = make_loss(checked.spec.loss, len(checked.labels)), checked.network.evaluation_batch
    published_epoch, last = _go_back(checked, trained, data, loss)
    network = rebuilt(checked, trained.network.get_weights())
    evaluation = {
        "epoch": published_epoch,
        **full_evaluation(network, data.test, batch_size, loss, checked.labels),
        "last_epoch": last,
    }
    _warn(trained, evaluation, ledger)
    drift = None
    if means.precision != "float32":
        drift = check_drift(trained.network, network, data.test, batch_size, means.precision)
    content = export_onnx(network, checked.input_shape)
    parity = {**check_parity(content, network, data.test, batch_size), "drift": drift}
    artifact = store_artifact(store, ledger.attempt, content)
    weights = store_weights(store, ledger.attempt, network)
    metrics = asdict(trained.history[published_epoch - 1])
    publication = Publication(
        view=checked.view,
        architecture=checked.spec.architecture.name,
        artifact=artifact,
        weights=weights,
        dataset_digest=dataset.digest,
        labels=list(checked.labels),
        input_shape={
            **dict(zip(("height", "width", "channels"), checked.input_shape, strict=True)),
            "reduced_to": dataset.content.reduced_to,
        },
        metrics={**metrics, "test_loss": evaluation["test_loss"], "test_accuracy": evaluation["test_accuracy"]},
        objective=checked.spec.objective.resolved(),
        parity=parity,
        card={
            "sizes": model_sizes(checked.network.parameters, artifact, weights),
            "latency": measure_latency(content, checked.input_shape, means.threads),
            "reference": reference_statistics(data.train, evaluation["confusion_matrix"]),
        },
    )
    failpoint("attempt.before_finish")
    ending = _ending(trained)
    version = ledger.write(lambda session, attempt: finish_job(session, attempt, evaluation, publication, ending))
    if version is None:
        print("cancelled; the best epoch is not wanted any more", flush=True)
        return
    store.discard(f"checkpoints/{ledger.attempt.job_id}")
    print(f"test accuracy {evaluation['test_accuracy']:.4f}; published as version {version}", flush=True)


def _go_back(
    checked: CheckedSpec, trained: Trained, data: SplitDataset, loss: LossFunction
) -> tuple[int, dict[str, Any] | None]:
    """Gives the network the weights that are published. Returns their epoch, and what the last epoch's reached."""
    published_epoch = len(trained.history)
    # Of a job that was cut short the network stands somewhere within an epoch: only the best epoch's weights are whole.
    whole = not trained.cancelled and trained.failure is None
    last = None
    if whole:
        reached = evaluate(trained.network, data.test, checked.network.evaluation_batch, loss)
        last = {"epoch": published_epoch, **reached}
    if (checked.spec.publish == "best" or not whole) and trained.best_epoch is not None:
        published_epoch = trained.best_epoch
        trained.network.set_weights(trained.best_weights)
    elif trained.restored is not None:
        published_epoch, weights = trained.restored
        trained.network.set_weights(weights)
    return published_epoch, last


def _ending(trained: Trained) -> Ending:
    if trained.failure is not None:
        detail = f"{trained.failure.detail}; epoch {trained.best_epoch}, the best before, is published"
        return Ending(State.FAILED, outcome="failed", reason=trained.failure.reason, detail=detail)
    return KEPT_BEST if trained.cancelled else SUCCESS


def _warn(trained: Trained, evaluation: dict[str, Any], ledger: JobLedger) -> None:
    found = [diagnosis.collapsed_to_one_class(evaluation), diagnosis.overfitting(trained.history)]
    for warning in filter(None, found):
        print(f"warning: {warning.detail}", flush=True)
        ledger.write(partial(_add_warning, warning.as_json()))


def _add_warning(warning: dict[str, Any], session: Session, attempt: Attempt) -> None:
    add_warning(session, attempt, warning)


def _introduce(checked: CheckedSpec, data: SplitDataset, means: Means, done: int) -> None:
    spec: JobSpec = checked.spec
    print(
        f"{spec.architecture.name} with {checked.network.parameters:,} parameters on {checked.view}: "
        f"{len(data.train.labels)} training, {len(data.validation.labels)} validation, {len(data.test.labels)} test images "
        f"of {'x'.join(map(str, checked.input_shape))}, {len(checked.labels)} classes; {', '.join(means.devices)}, {means.precision}",
        flush=True,
    )
    if done:
        print(f"goes on after epoch {done}", flush=True)
