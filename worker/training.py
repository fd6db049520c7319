"""One attempt from dataset to published model: what a trainer process does."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore, open_store
from core.dataset_content import StoredDataset
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
from worker.checkpoints import load_state
from worker.environment import Hardware, describe_environment, prepare_devices, prepare_threads
from worker.evaluation import evaluate, full_evaluation
from worker.fitting import Start, Trained, fit
from worker.ledger import JobLedger
from worker.losses import make_loss
from worker.pipeline import SplitDataset, split_dataset
from worker.publishing import check_parity, export_onnx, store_artifact

CANCELLED = Ending(State.CANCELLED, outcome="cancelled", reason=Reason.USER_CANCELLED, counts_as_failure=False)


def run_attempt(
    document: dict[str, Any],
    dataset: StoredDataset,
    checkpoints: list[Checkpoint],
    ledger: JobLedger,
    settings: Settings,
    hardware: Hardware,
) -> None:
    """Trains, evaluates, publishes; or pauses, or keeps the best of a cancelled job. `document` is the normalised spec.

    Raises TrainingFailure when the job itself is at fault, FencedOut when another attempt owns it.
    """
    failpoint("attempt.starts")
    checked = check_spec(document, dataset.content.info)
    store = open_store(settings, LEASE_SECONDS)
    state, troubles = load_state(store, checkpoints)
    for trouble in troubles:
        print(trouble, flush=True)
    spec = checked.spec
    devices = prepare_devices(hardware.gpus, spec.devices)
    threads = prepare_threads(
        hardware.threads, state.threads if state else None, len(devices), deterministic=spec.deterministic
    )
    environment = describe_environment(devices, threads, dataset.digest)
    ledger.write(lambda session, attempt: record_environment(session, attempt, environment))
    data = split_dataset(dataset, spec.dataset, checked.input_shape, store, settings)
    _introduce(checked, data, devices, state.epoch if state else 0)
    trained = fit(checked, data, ledger, store, Start(state, troubles, threads), devices)
    if trained.paused and ledger.write(pause_attempt) is State.CANCELLING:
        trained = replace(trained, paused=False, cancelled=True)
    if trained.paused:
        print(f"paused after epoch {len(trained.history)}", flush=True)
    elif trained.cancelled and not _keeps_best(trained, ledger):
        ledger.write(lambda session, attempt: end_attempt(session, attempt, CANCELLED))
    else:
        _finish(checked, data, trained, dataset, ledger, store)


def _keeps_best(trained: Trained, ledger: JobLedger) -> bool:
    return trained.best_epoch is not None and ledger.write(current_standing).keep_best


def _finish(
    checked: CheckedSpec,
    data: SplitDataset,
    trained: Trained,
    dataset: StoredDataset,
    ledger: JobLedger,
    store: ArtifactStore,
) -> None:
    spec = checked.spec
    loss = make_loss(spec.loss, len(checked.labels))
    published_epoch = len(trained.history)
    # Of a cancelled job the network stands somewhere within an epoch: only the best epoch's weights are whole.
    last = None if trained.cancelled else {"epoch": published_epoch, **evaluate(trained.network, data.test, loss)}
    if (spec.publish == "best" or trained.cancelled) and trained.best_epoch is not None:
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
    ending = KEPT_BEST if trained.cancelled else SUCCESS
    version = ledger.write(lambda session, attempt: finish_job(session, attempt, evaluation, publication, ending))
    if version is None:
        print("cancelled; the best epoch is not wanted any more", flush=True)
        return
    store.discard(f"checkpoints/{ledger.attempt.job_id}")
    print(f"test accuracy {evaluation['test_accuracy']:.4f}; published as version {version}", flush=True)


def _warn(trained: Trained, evaluation: dict[str, Any], ledger: JobLedger) -> None:
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


def _introduce(checked: CheckedSpec, data: SplitDataset, devices: list[str], done: int) -> None:
    spec: JobSpec = checked.spec
    print(
        f"{spec.architecture.name} with {checked.network.parameters:,} parameters on {checked.view}: "
        f"{len(data.train.labels)} training, {len(data.validation.labels)} validation, {len(data.test.labels)} test images "
        f"of {'x'.join(map(str, checked.input_shape))}, {len(checked.labels)} classes; {', '.join(devices)}",
        flush=True,
    )
    if done:
        print(f"goes on after epoch {done}", flush=True)
