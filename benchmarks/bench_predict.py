"""One 32x32x3 image a request, 8 connections, one API process: kerasd beside four other ways and empty endpoints.

Asked for, of the requests/s of an empty FastAPI endpoint in the same run: binary tensors at least 0.45, PNG 0.30, JSON 0.15
(the aim: 0.55, 0.40 and 0.22); JSON at least 3.5 times LitServe and BentoML with the same ONNX file; p99 under 5 times p50.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from load import Figures, generator, measure
from PIL import Image
from rich.console import Console
from rich.table import Table
from running import running_kerasd, running_peer

from client.client import Client

SECONDS = 6.0
SPEC = {"dataset": {"name": "digits", "color": "rgb", "image_size": 32}, "architecture": "lenet", "epochs": 2}
# The standby trainer's import would take a core from whichever side is measured while it lasts.
SETTINGS = {"KERASD_STANDBY": "false"}
JSON = {"Content-Type": "application/json"}
USUAL, EMPTY = "FastAPI + Pydantic + model.predict, JSON", "an empty FastAPI endpoint that reads the PNG"


def png_of(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def binary_of(pixels: np.ndarray) -> tuple[bytes, dict[str, str]]:
    """A body of the Open Inference Protocol as tritonclient makes it, and its headers."""
    tensor = pixels.astype(np.float32)[None].tobytes()
    described = {"name": "pixels", "shape": [1, *pixels.shape], "datatype": "FP32"}
    inputs = [{**described, "parameters": {"binary_data_size": len(tensor)}}]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return header + tensor, {"Inference-Header-Content-Length": str(len(header))}


def train(client: Client, spec: dict[str, Any]) -> str:
    """The name of the model."""
    job = client.wait(client.submit(spec).id)
    if job.model is None:
        raise RuntimeError(f"the job {job.state}: {job.detail}")
    return job.model.name


def main() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)  # noise is the hardest to compress
    png, instances = png_of(pixels), json.dumps({"instances": [pixels.tolist()]}).encode()
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="kerasd-bench-") as temporary:
        folder = Path(temporary)
        with running_kerasd(folder, **SETTINGS) as client:
            name = train(client, SPEC)
        (published,) = (folder / "data" / "artifacts").rglob("model.onnx")
        onnx = Path(shutil.copy(published, folder / "same.onnx"))

        with running_peer("usual") as url:
            figures[USUAL] = measure(url, instances, JSON, SECONDS)
        for kind, title in (("litserve", "LitServe"), ("bentoml", "BentoML")):
            with running_peer(kind, onnx) as url:
                answer = httpx2.post(url, content=instances, headers=JSON).raise_for_status().json()
                peer = np.array(answer["predictions"] if isinstance(answer, dict) else answer)
                figures[f"{title} + ONNX Runtime, JSON"] = measure(url, instances, JSON, SECONDS)
        with running_peer("empty") as url:
            figures[EMPTY] = measure(url, png, {"Content-Type": "image/png"}, SECONDS)
        with running_peer("bare") as url:
            figures["an empty ASGI application"] = measure(url, png, {"Content-Type": "image/png"}, SECONDS)
        with running_kerasd(folder, **SETTINGS) as client:
            predict, infer = f"{client.url}/api/v1/predict/lenet", f"{client.url}/v2/models/{name}/infer"
            same_answer(infer, pixels, peer)
            binary, headers = binary_of(pixels)
            figures["kerasd, binary tensor at /v2"] = measure(infer, binary, headers, SECONDS)
            figures["kerasd, PNG"] = measure(predict, png, {"Content-Type": "image/png"}, SECONDS)
            figures["kerasd, JSON"] = measure(predict, instances, JSON, SECONDS)
    show(figures)


def same_answer(infer: str, pixels: np.ndarray, peer: np.ndarray) -> None:
    """Raises RuntimeError when kerasd's logits are not those of the peers."""
    inputs = [{"name": "pixels", "shape": [1, *pixels.shape], "datatype": "FP32", "data": pixels.ravel().tolist()}]
    outputs = httpx2.post(infer, json={"inputs": inputs}).raise_for_status().json()["outputs"]
    logits = next(output["data"] for output in outputs if output["name"] == "logits")
    if not np.allclose(logits, peer.ravel(), atol=1e-4):
        raise RuntimeError(f"kerasd's logits {logits} are not the peers' {peer}")


def show(figures: dict[str, Figures]) -> None:
    table = Table(title=f"predict, one image a request, 8 connections ({generator()})")
    for column in ("server", "requests/s", "p50 ms", "p99 ms", "p99/p50", "x usual", "of empty"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for name, row in figures.items():
        table.add_row(
            name,
            f"{row.rps:,.0f}",
            f"{row.p50:.2f}",
            f"{row.p99:.2f}",
            f"{row.p99 / row.p50:.1f}",
            f"{row.rps / figures[USUAL].rps:.0f}",
            f"{row.rps / figures[EMPTY].rps:.3f}",
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
