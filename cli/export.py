"""`kerasd export`: a model as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.filesize import decimal

from cli.failures import CommandFailed
from cli.output import stdout
from cli.server import ServerUrl, server

ENDINGS = {"onnx": "onnx", "keras": "keras", "saved_model": "saved_model.zip", "tflite": "tflite", "litert": "tflite"}


def export(
    name: str,
    /,
    *,
    version: int | None = None,
    format: Literal["onnx", "keras", "saved_model", "tflite", "litert"] = "onnx",  # noqa: A002  (what is typed)
    output: Path | None = None,
    retry: bool = False,
    url: ServerUrl = None,
) -> None:
    """Bring a model here as a file. A worker makes it where it is not ONNX, and checks that it computes the same.

    Args:
        name: of the model: <view>.<architecture>.
        version: default: the one that predictions use.
        format: of the file; saved_model is a zip of the folder, litert another name of tflite.
        output: the file; default: NAME-VERSION and the format's ending, here.
        retry: make anew a file that was refused, or is damaged by now.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    console = stdout()
    with server(url) as client:
        number = version or client.model(name).best
        target = output or Path(f"{name}-{number}.{ENDINGS[format]}")
        try:
            with console.status(f"waiting for {name} {number} as {format}"):
                size = client.export_model(name, number, format, target, retry=retry)
        except OSError as error:
            raise CommandFailed(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from None
    console.print(f"{target}: {decimal(size)}", soft_wrap=True)
