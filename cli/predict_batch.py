"""`kerasd predict-batch`: many images in, a file of labels and probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cli.dataset_folder import folder_members, pack, scratch_folder
from cli.dataset_progress import bytes_bar
from cli.dataset_view import printable
from cli.failures import FAILED, INVALID, CommandFailed
from cli.output import accuracy, duration, stdout
from cli.server import ServerUrl, server
from client import BatchPrediction, Client, TaskProgress

Format = Literal["csv", "jsonl", "parquet"]


def predict_batch(
    source: Path | None = None,
    /,
    *,
    model: str,
    dataset: str | None = None,
    split: Literal["train", "validation", "test"] | None = None,
    version: int | None = None,
    format: Format = "csv",  # noqa: A002  (what is typed)
    top: int = 5,
    output: Path | None = None,
    url: ServerUrl = None,
) -> int:
    """Classify all images of an archive, of a folder or of a stored dataset, on a worker.

    Args:
        source: a zip or tar archive, or a folder, which is packed first.
        model: name of the model: <view>.<architecture>.
        dataset: a stored dataset in place of files.
        split: of the dataset; default: all of it.
        version: of the model; default: the one that predictions use now.
        format: of the results.
        top: how many labels to tell for each image.
        output: the file of results; default: named after the model, here.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    if (source is None) == (dataset is None):
        raise CommandFailed("name an archive or a folder, or a stored dataset with --dataset", INVALID)
    console = stdout()
    with server(url) as client:
        if dataset is not None:
            batch = client.predict_batch(model, dataset, split=split, version=version, format=format, top=top)
        else:
            batch = _upload(client, source or Path(), console, model=model, version=version, format=format, top=top)
        try:
            batch = _followed(client, batch, console)
        except KeyboardInterrupt:
            batch = client.cancel_batch_prediction(batch.id)
        if batch.state != "SUCCEEDED":
            console.print(f"{batch.state}: {printable(batch.detail or '')}", style="red", soft_wrap=True)
            return FAILED
        target = output or Path(f"{model}-{batch.version}.{format}")
        try:
            client.download_results(batch.id, target)
        except OSError as error:
            raise CommandFailed(
                f"cannot write {target}: {(error.strerror or str(error)).lower()}; "
                f"the results stay at {client.url}/api/v1/batch-predictions/{batch.id}/results"
            ) from None
    _tell(batch, target, console)
    return 0


def _upload(client: Client, source: Path, console: Console, **options: Any) -> BatchPrediction:
    """Raises CommandFailed when the files cannot be read."""
    try:
        if not source.is_dir():
            with bytes_bar("uploading", "uploaded", console) as tell:
                return client.predict_batch(source=source, on_progress=tell, **options)
        members = folder_members(source)
        with scratch_folder() as scratch:
            archive = scratch / "images.zip"
            with bytes_bar("packing", f"packed {len(members):,} files,", console) as tell:
                pack(members, archive, tell)
            return _upload(client, archive, console, **options)
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandFailed(
            f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}", INVALID
        ) from None


def _followed(client: Client, batch: BatchPrediction, console: Console) -> BatchPrediction:
    """Shows how it goes until it has ended."""
    bar = Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("ETA {task.fields[eta]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(batch.progress.phase, total=None, speed="", eta="-")
        for event in client.batch_prediction_events(batch.id):
            if event.kind == "progress":
                told = TaskProgress.parse(event.data)
                speed = "" if told.images_per_second is None else f"{told.images_per_second:,.0f} images/s"
                bar.update(
                    task,
                    description=told.phase,
                    total=told.total,
                    completed=told.done,
                    speed=speed,
                    eta=duration(told.eta_seconds),
                )
    return client.batch_prediction(batch.id)


def _tell(batch: BatchPrediction, target: Path, console: Console) -> None:
    result = batch.result or {}
    told = f"{result['images']:,} images in {duration(result['seconds'])} by {batch.model} {batch.version}"
    if result["accuracy"] is not None:
        told += f", accuracy {accuracy(result['accuracy'])}"
    if result["failed"]:
        told += f", {result['failed']:,} could not be read"
    console.print(f"{target}: {told}", soft_wrap=True)
