"""LeNet on MNIST, adam, 3 epochs: the test accuracy that users of the real set get.

Asked for: at least 0.98. Usage: python bench_mnist.py /path/to/mnist.npz (without a path the set is downloaded)
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from running import running_kerasd

SPEC = {"dataset": "mnist", "architecture": "lenet", "optimizer": "adam", "epochs": 3}


def main() -> None:
    files = {"KERASD_DATASET_FILES": json.dumps({"mnist": sys.argv[1]})} if len(sys.argv) > 1 else {}
    with tempfile.TemporaryDirectory() as folder, running_kerasd(Path(folder), **files) as client:
        job = client.wait(client.submit(SPEC).id)
        if job.evaluation is None:
            sys.exit(f"the job {job.state}: {job.detail}")
        epochs = client.epochs(job.id)
    speed = max(epoch.images_per_second for epoch in epochs)
    Console().print(
        f"mnist, lenet, adam, 3 epochs: test accuracy {job.evaluation.test_accuracy:.4f}, up to {speed:,.0f} images/s"
    )


if __name__ == "__main__":
    main()
