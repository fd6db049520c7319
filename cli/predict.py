"""`kerasd predict`: image files in, labels out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich import box
from rich.table import Table

from cli.failures import INVALID
from cli.output import stderr, stdout
from cli.server import ServerUrl, server
from client import ApiError, Client, Predictions

SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def predict(
    *files: Path,
    architecture: str,
    dataset: str | None = None,
    version: int | None = None,
    top: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 3,
    json: bool = False,
    url: ServerUrl = None,
) -> int:
    """Classify image files (PNG, JPEG, WebP) with the best model of an architecture.

    Args:
        files: the images.
        architecture: such as lenet; `best` takes the best of all architectures.
        dataset: name of the view that the model was trained on; needed where several have this architecture.
        version: a version of the model instead of the best.
        top: how many labels to show for each image.
        json: print JSON instead of a table.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    if not files:
        stderr().print("kerasd: name at least one image file")
        return INVALID
    answers: dict[str, Predictions] = {}
    faults: dict[str, str] = {}
    with server(url) as client:
        for file in files:
            try:
                answers[str(file)] = _classify(client, file, architecture, dataset, version, top)
            except OSError as error:
                faults[str(file)] = f"cannot be read: {(error.strerror or str(error)).lower()}"
            except ApiError as error:
                faults[str(file)] = str(error)
    _show(answers, as_json=json)
    for name, fault in faults.items():
        stderr().print(f"{name}: {fault}", soft_wrap=True)
    return INVALID if faults else 0


def content_type_of(image: bytes) -> str:
    """By the file's first bytes; what is unknown is for the server to refuse."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    known = (kind for signature, kind in SIGNATURES.items() if image.startswith(signature))
    return next(known, "application/octet-stream")


def _classify(
    client: Client, file: Path, architecture: str, dataset: str | None, version: int | None, top: int
) -> Predictions:
    image = file.read_bytes()
    return client.predict(architecture, image, content_type_of(image), dataset=dataset, version=version, top=top)


def _show(answers: dict[str, Predictions], *, as_json: bool) -> None:
    console = stdout()
    if as_json:
        console.print_json(data={name: asdict(answer) for name, answer in answers.items()})
        return
    if not answers:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("file", "label", "probability", "next", "model"):
        table.add_column(heading)
    for name, answer in answers.items():
        first = answer.predictions[0]
        others = ", ".join(f"{score.label} {score.probability:.3f}" for score in first.top[1:])
        model = f"{answer.model.name} {answer.model.version}"
        table.add_row(name, first.label, f"{first.probability:.3f}", others, model)
    console.print(table)
