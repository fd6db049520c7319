"""`kerasd train` and `kerasd submit`: new jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from cli.output import stderr, stdout
from cli.server import ServerUrl, server
from cli.specs import build_spec, read_spec
from cli.watch import watch_job
from client import Client, Validation


def train(
    *,
    architecture: str,
    dataset: str,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    loss: str | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    image_size: int | None = None,
    tag: list[str] | None = None,
    set: list[str] | None = None,  # noqa: A002  (the option is called --set)
    watch: bool = False,
    validate_only: bool = False,
    url: ServerUrl = None,
) -> int:
    """Train an architecture on a dataset. What is not given is the server's default.

    Args:
        architecture: recipe of the network, such as lenet.
        dataset: name of the dataset, such as digits.
        optimizer: Keras's name of the optimizer.
        learning_rate: of the optimizer.
        loss: Keras's name of the loss.
        batch_size: images in a training step.
        epochs: how often all training images are seen.
        seed: decides initial weights and data order.
        image_size: side of the images in pixels.
        tag: a label for the job, as key=value; may be repeated.
        set: any field of the job spec, as dataset.train_limit=500 or /dataset/train_limit=500; may be repeated.
        watch: follow the job until it ends.
        validate_only: check the job and describe it, without creating it.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    options = {
        "/architecture": architecture,
        "/dataset": dataset,
        "/optimizer": optimizer or ("adam" if learning_rate is not None else None),
        "/optimizer/learning_rate": learning_rate,
        "/loss": loss,
        "/batch_size": batch_size,
        "/epochs": epochs,
        "/seed": seed,
        "/dataset/image_size": image_size,
    }
    spec = build_spec(options, tags=tag or (), changes=set or ())
    with server(url) as client:
        return _hand_in(client, spec, watch=watch, validate_only=validate_only)


def submit(
    spec: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    watch: bool = False,
    validate_only: bool = False,
    idempotency_key: str | None = None,
    url: ServerUrl = None,
) -> int:
    """Submit a job spec and print the job's id.

    Args:
        spec: a JSON file, or - for standard input.
        watch: follow the job until it ends.
        validate_only: check the job and describe it, without creating it.
        idempotency_key: submitting again with the same key returns the same job.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        return _hand_in(
            client, read_spec(spec), watch=watch, validate_only=validate_only, idempotency_key=idempotency_key
        )


def _hand_in(
    client: Client,
    spec: Mapping[str, Any],
    *,
    watch: bool,
    validate_only: bool,
    idempotency_key: str | None = None,
) -> int:
    if validate_only:
        stdout().print_json(json.dumps(_described(client.validate(spec))))
        return 0
    job = client.submit(spec, idempotency_key)
    print(job.id, flush=True)
    if watch:
        return watch_job(client, job.id, stdout())
    for warning in job.warnings:
        stderr().print(f"warning: {warning.detail}", style="yellow", soft_wrap=True)
    return 0


def _described(validation: Validation) -> dict[str, Any]:
    return {
        "spec": validation.spec,
        "spec_hash": validation.spec_hash,
        "network": validation.network,
        "dataset": validation.dataset,
        "warnings": [{"code": warning.code, "detail": warning.detail} for warning in validation.warnings],
    }
