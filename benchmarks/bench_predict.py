"""One 32x32x3 image a request, 8 connections, one API process: kerasd beside the usual way and an empty endpoint.

Asked for: PNG at least 60 times and JSON at least 25 times the usual way's requests/s, p99 under 5 times p50.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import numpy as np
from load import Figures, generator, measure
from PIL import Image
from rich.console import Console
from rich.table import Table
from running import running_kerasd, running_peer

SECONDS = 6.0
SPEC = {"dataset": {"name": "digits", "color": "rgb"}, "architecture": "lenet", "epochs": 2}


def bodies() -> tuple[bytes, bytes]:
    """One image of noise, the hardest to compress, as PNG and as JSON instances."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return png.getvalue(), json.dumps({"instances": [pixels.tolist()]}).encode()


def main() -> None:
    png, instances = bodies()
    figures: dict[str, Figures] = {}
    with running_peer("usual") as url:
        figures["FastAPI + Pydantic + model.predict, JSON"] = measure(url, instances, "application/json", SECONDS)
    with running_peer("empty") as url:
        figures["an empty endpoint that reads the PNG: the ceiling"] = measure(url, png, "image/png", SECONDS)
    # The standby trainer's import would take a core from whichever side is measured while it lasts.
    with tempfile.TemporaryDirectory() as folder, running_kerasd(Path(folder), KERASD_STANDBY="false") as client:
        job = client.wait(client.submit(SPEC).id)
        if job.state != "SUCCEEDED":
            raise RuntimeError(f"the job {job.state}: {job.detail}")
        url = f"{client.url}/api/v1/predict/lenet"
        figures["kerasd, PNG"] = measure(url, png, "image/png", SECONDS)
        figures["kerasd, JSON"] = measure(url, instances, "application/json", SECONDS)
    show(figures)


def show(figures: dict[str, Figures]) -> None:
    usual, ceiling = list(figures.values())[:2]
    table = Table(title=f"predict, one image a request, 8 connections ({generator()})")
    for column in ("server", "requests/s", "p50 ms", "p99 ms", "p99/p50", "x usual", "of empty"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for name, row in figures.items():
        ratio = f"{row.p99 / row.p50:.1f}"
        table.add_row(
            name,
            f"{row.rps:,.0f}",
            f"{row.p50:.2f}",
            f"{row.p99:.2f}",
            ratio,
            f"{row.rps / usual.rps:.0f}",
            f"{row.rps / ceiling.rps:.3f}",
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
