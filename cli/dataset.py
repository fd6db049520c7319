"""`kerasd dataset add`, `list`, `show` and `delete`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from rich.console import Console

from cli.configuration import hint
from cli.dataset_folder import folder_members, pack, scratch_folder
from cli.dataset_progress import bytes_bar, follow_import
from cli.dataset_sources import Builtin, Files, Folder, read_sources
from cli.dataset_view import dataset_table, file_faults, print_dataset, print_errors, print_outcome, printable
from cli.failures import FAILED, INTERRUPTED, INVALID, CommandFailed
from cli.output import stdout
from cli.server import ServerUrl, server
from client import ApiError, Client, Dataset

OnCorrupt = Literal["reject", "skip"]
Labels = Literal["fine", "coarse"]


def add(
    *sources: str,
    name: str | None = None,
    on_corrupt: OnCorrupt | None = None,
    labels: Labels | None = None,
    no_wait: bool = False,
    url: ServerUrl = None,
) -> int:
    """Bring images to the server, and wait until they have been checked.

    Args:
        sources: a folder with one folder of images for each class; or a zip, tar, npz or CIFAR archive; or TFRecord
            files; or a built-in set: digits, mnist, fashion_mnist, cifar10, cifar100, cifar100_coarse.
        name: of the dataset; default: the folder's or file's name.
        on_corrupt: what a damaged image does: reject the dataset (the server's default), or be skipped and counted.
        labels: of a CIFAR-100 archive: the 100 fine ones (the server's default) or the 20 coarse ones.
        no_wait: return after the upload.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    given = read_sources(sources, name)
    if isinstance(given, Builtin) and (name or on_corrupt or labels):
        raise CommandFailed(f"{given.name} is built in: it takes no --name, --on-corrupt or --labels", INVALID)
    console = stdout()
    with server(url) as client:
        try:
            dataset = _hand_in(client, given, on_corrupt, labels, console)
        except ApiError as error:
            if error.code != "dataset_rejected":
                raise
            return _refused(error, console)
        return _left(dataset, client.url, console) if no_wait else _finished(client, dataset, console)


def listing(
    *,
    state: Literal["IMPORTING", "READY", "REJECTED"] | None = None,
    json: bool = False,
    url: ServerUrl = None,
) -> None:
    """List datasets, newest first.

    Args:
        state: only datasets in this state.
        json: print JSON instead of a table.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        found = list(client.datasets(state=state))
    console = stdout()
    if json:
        console.print_json(data=[asdict(dataset) for dataset in found], default=str)
    elif found:
        console.print(dataset_table(found))
    else:
        console.print("no datasets")


def show(name: str, /, *, json: bool = False, url: ServerUrl = None) -> None:
    """Everything known of a dataset: classes, sizes, warnings, errors.

    Args:
        name: of the dataset.
        json: print JSON instead of tables.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        dataset = client.dataset(name)
    if json:
        stdout().print_json(data=asdict(dataset), default=str)
    else:
        print_dataset(dataset, stdout())


def delete(name: str, /, *, url: ServerUrl = None) -> None:
    """Delete a dataset that no job needs.

    Args:
        name: of the dataset.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        client.delete_dataset(name)
    print(f"{name} deleted")


def _hand_in(
    client: Client,
    given: Builtin | Files | Folder,
    on_corrupt: OnCorrupt | None,
    labels: Labels | None,
    console: Console,
) -> Dataset:
    match given:
        case Builtin(name):
            return client.add_builtin(name)
        case Files(paths, name):
            return _upload(client, name, paths, on_corrupt, labels, console)
        case Folder(path, name):
            members = folder_members(path)
            client.ready()  # better known before packing than after
            with scratch_folder() as scratch:
                archive = scratch / f"{name}.zip"
                with bytes_bar("packing", f"packed {len(members):,} files,", console) as tell:
                    pack(members, archive, tell)
                return _upload(client, name, (archive,), on_corrupt, labels, console)


def _upload(
    client: Client,
    name: str,
    paths: tuple[Path, ...],
    on_corrupt: OnCorrupt | None,
    labels: Labels | None,
    console: Console,
) -> Dataset:
    try:
        with bytes_bar("uploading", "uploaded", console) as tell:
            return client.add_dataset(name, paths, on_corrupt=on_corrupt, labels=labels, on_progress=tell)
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandFailed(
            f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}", INVALID
        ) from None


def _finished(client: Client, dataset: Dataset, console: Console) -> int:
    """Follows the import to its end. Returns the exit code: 0 for READY."""
    try:
        dataset = follow_import(client, dataset, console)
    except KeyboardInterrupt:
        command = hint(f"kerasd dataset show {dataset.name}", client.url)
        console.print(f"stopped watching; the import goes on. See it with: {command}", soft_wrap=True)
        return INTERRUPTED
    print_outcome(dataset, client.url, console)
    return 0 if dataset.state == "READY" else FAILED


def _left(dataset: Dataset, url: str, console: Console) -> int:
    command = hint(f"kerasd dataset show {dataset.name}", url)
    console.print(f"{dataset.name} {dataset.state}; see it with: {command}", soft_wrap=True)
    return FAILED if dataset.state == "REJECTED" else 0


def _refused(error: ApiError, console: Console) -> int:
    """An upload that was rejected at once, shown as one that is rejected later."""
    console.print(f"REJECTED: {printable(error.detail)}", style="red", soft_wrap=True)
    print_errors(file_faults(error.errors), len(error.errors), console)
    return FAILED
