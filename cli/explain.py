"""`kerasd explain`: an image file in, a heat map out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from cli.failures import FAILED, INVALID
from cli.output import stderr, stdout
from cli.predict import content_type_of
from cli.server import ServerUrl, server


def explain(
    file: Path,
    *,
    architecture: str,
    dataset: str | None = None,
    version: int | None = None,
    label: str | None = None,
    method: Literal["auto", "grad_cam", "occlusion"] = "auto",
    output: Path | None = None,
    json: bool = False,
    url: ServerUrl = None,
) -> int:
    """Show what in an image (PNG, JPEG, WebP) speaks for the label that a model finds, as a heat map over it.

    Args:
        file: the image.
        architecture: such as lenet; `best` takes the best of all architectures.
        dataset: name of the view that the model was trained on; needed where several have this architecture.
        version: a version of the model instead of the best.
        label: another label than the one that the model finds.
        method: auto takes Grad-CAM where the network allows it, else occlusion.
        output: where to write the picture; default: beside the image, with the ending .heat.png.
        json: print the numbers as JSON instead of writing a picture.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    target = output or file.with_suffix(".heat.png")
    try:
        image = file.read_bytes()
    except OSError as error:
        stderr().print(f"{file}: cannot be read: {(error.strerror or str(error)).lower()}", soft_wrap=True)
        return INVALID
    kind = content_type_of(image)
    with server(url) as client:
        told = client.explain(architecture, image, kind, dataset=dataset, version=version, label=label, method=method)
        if json:
            stdout().print_json(data=asdict(told))
            return 0
        picture = client.heat_map(
            architecture,
            image,
            kind,
            dataset=told.model.view,
            version=told.model.version,
            label=told.label,
            method=method,
        )
    try:
        target.write_bytes(picture)
    except OSError as error:
        stderr().print(f"{target}: cannot be written: {(error.strerror or str(error)).lower()}", soft_wrap=True)
        return FAILED
    model = f"{told.model.name} {told.model.version}"
    stdout().print(f"{target}: {told.label} {told.probability:.3f}, by {told.method} of {model}", soft_wrap=True)
    return 0
