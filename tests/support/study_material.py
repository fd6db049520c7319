"""A made-up study like the notebook's: what its runs reached, their curves and a confusion matrix."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from core.objective import Direction, Objective
from core.repositories.study_curves import METRICS, Spread
from service.studies.answers import (
    Difference,
    Effect,
    Effects,
    Factor,
    Level,
    Mean,
    ResultRow,
    Results,
    StudyWarning,
    Verdict,
    Winner,
    Winners,
)
from service.studies.confusion import Confusion
from service.studies.curves import CurvePoint, VariantCurves
from service.studies.figures import RunFigures, StudyFigures, VariantFigures
from service.studies.pictures.material import Material
from service.studies.report import DataView, EnvironmentUse, JobRecord, ReportInput

NOTEBOOK = (
    ("LeNet-1", "lenet", "adam", 32, 25, 0.8608, 0.4433),
    ("LeNet-2", "lenet", "sgd", 32, 25, 0.4842, 0.3827),
    ("LeNet-3", "lenet", "sgd", 128, 25, 0.2874, 0.2300),
    ("AlexNet-1", "alexnet", "adagrad", 32, 20, 0.8993, 0.4560),
    ("AlexNet-2", "alexnet", "adam", 32, 20, 0.0460, 0.0427),
    ("AlexNet-3", "alexnet", "sgd", 32, 20, 0.9284, 0.4973),
    ("VGG-1", "vgg", "adagrad", 64, 8, 0.5811, 0.4607),
    ("VGG-2", "vgg", "adagrad", 128, 8, 0.0461, 0.0447),
    ("VGG-3", "vgg", "sgd", 64, 8, 0.0324, 0.0327),
    ("MyCNN-1", "mycnn", "adam", 64, 10, 0.7789, 0.3500),
    ("MyCNN-2", "mycnn", "adam", 128, 10, 0.8222, 0.2573),
    ("MyCNN + augmentation", "mycnn", "adam", 128, 10, 0.8459, 0.4413),
    ("MyCNN + dropout 0.2", "mycnn", "adam", 128, 10, 0.7448, 0.3987),
    ("MyCNN + early stopping", "mycnn", "adam", 128, 10, 0.8171, 0.3447),
    ("Transfer, base frozen", "transfer", "adam", 128, 8, 0.5274, 0.4207),
    ("Transfer, fine-tuned", "transfer", "adam", 128, 16, 0.7926, 0.5387),
)
"""name, architecture, optimizer, batch size, epochs, training and validation accuracy"""

SECONDS = {"lenet": 11.0, "alexnet": 320.0, "vgg": 1250.0, "mycnn": 500.0, "transfer": 650.0}
"""of an epoch"""

LABELS = (
    *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle"),
    *("bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle"),
)


def made_up(
    variants: Sequence[tuple[str, str, str, int, int, float, float]] = NOTEBOOK,
    seeds: int = 3,
    name: str = "The notebook's sixteen runs",
) -> Material:
    """A finished study of those variants."""
    noise = random.Random(7)
    numbered = list(enumerate(variants, 1))
    figures = StudyFigures(
        "stu_0123456789",
        name,
        Objective("val_accuracy", Direction.MAX),
        0.4,
        tuple(_variant(number, *variant, seeds, noise) for number, variant in numbered),
    )
    curves = tuple(_curves(number, *variant, seeds, noise) for number, variant in numbered)
    return Material(figures, results_of(figures), effects_of(figures), curves, confusion(LABELS))


def _variant(
    number: int,
    name: str,
    architecture: str,
    optimizer: str,
    batch: int,
    epochs: int,
    train: float,
    validation: float,
    seeds: int,
    noise: random.Random,
) -> VariantFigures:
    rate = 0.01 if optimizer == "sgd" else 0.001
    spec: dict[str, Any] = {
        "architecture": {"name": architecture},
        "optimizer": {"name": optimizer, "learning_rate": rate},
        "batch_size": batch,
        "epochs": epochs,
    }
    levels = {"/architecture/name": architecture, "/optimizer/name": optimizer, "/batch_size": batch}
    runs = tuple(_run(number, seed, architecture, epochs, train, validation, noise) for seed in range(seeds))
    return VariantFigures(number, name, architecture, spec, levels, runs)


def _run(
    number: int, seed: int, architecture: str, epochs: int, train: float, validation: float, noise: random.Random
) -> RunFigures:
    reached = validation + noise.gauss(0, 0.012)
    return RunFigures(
        seed=seed,
        job=f"job_{number:04}{seed:02}",
        state="SUCCEEDED" if reached > 0.04 else "FAILED",
        reason=None if reached > 0.04 else "OUT_OF_MEMORY",
        reused=False,
        epochs=epochs,
        best_epoch=max(1, epochs - 2),
        train_accuracy=train + noise.gauss(0, 0.01),
        train_loss=3 * (1 - train),
        val_accuracy=reached,
        val_loss=3 * (1 - reached) + 0.3,
        test_accuracy=reached + noise.gauss(0, 0.01),
        test_loss=3 * (1 - reached) + 0.35,
        seconds=epochs * SECONDS.get(architecture, 60.0),
        images_per_second=8500 / SECONDS.get(architecture, 60.0),
        epochs_to_target=epochs // 2 if reached > 0.4 else None,
        warnings=({"code": "COLLAPSED", "detail": "all images are taken for one class"},) if reached < 0.1 else (),
    )


def _curves(
    number: int,
    name: str,
    architecture: str,
    optimizer: str,
    batch: int,
    epochs: int,
    train: float,
    validation: float,
    seeds: int,
    noise: random.Random,
) -> VariantCurves:
    second = SECONDS.get(architecture, 60.0)
    points = []
    for epoch in range(1, epochs + 1):
        way = (1 - math.exp(-4 * epoch / epochs)) / (1 - math.exp(-4))
        accuracy = 0.05 + (train - 0.05) * way
        val_accuracy = 0.05 + (validation - 0.05) * min(1.0, 1.3 * way) + noise.gauss(0, 0.008)
        means = (accuracy, 3 * (1 - accuracy), val_accuracy, 3.3 * (1 - val_accuracy))
        spreads = {metric: _spread(mean, seeds, noise) for metric, mean in zip(METRICS, means, strict=True)}
        rate = 0.01 if optimizer == "sgd" else 0.001 if epoch <= 8 or architecture != "transfer" else 1e-5
        points.append(CurvePoint(epoch, seeds, spreads, rate, epoch * second))
    return VariantCurves(number, name, architecture, tuple(points))


def _spread(mean: float, seeds: int, noise: random.Random) -> Spread:
    width = abs(noise.gauss(0.015, 0.004)) if seeds > 1 else 0.0
    return Spread(mean, mean - width, mean + width)


def confusion(labels: Sequence[str], images: int = 100) -> Confusion:
    """Of three jobs that are right on half the images, and confuse neighbours."""
    noise = random.Random(3)
    classes = len(labels)
    rows = []
    for truth in range(classes):
        row = [0] * classes
        for _ in range(3 * images):
            kind = noise.random()
            guess = truth if kind < 0.5 else truth + noise.choice((-1, 1)) if kind < 0.75 else noise.randrange(classes)
            row[guess % classes] += 1
        rows.append(tuple(row))
    return Confusion("AlexNet-3", tuple(labels), tuple(rows), 3)


def results_of(figures: StudyFigures) -> Results:
    rows = []
    for variant in figures.variants:
        values = [run.val_accuracy for run in variant.runs if run.val_accuracy is not None]
        tests = [run.test_accuracy for run in variant.runs if run.test_accuracy is not None]
        first = variant.runs[0]
        rows.append(
            ResultRow(
                rank=None,
                number=variant.number,
                name=variant.name,
                architecture=variant.architecture,
                optimizer=variant.spec["optimizer"]["name"],
                loss="sparse_categorical_crossentropy",
                batch_size=variant.spec["batch_size"],
                epochs=variant.spec["epochs"],
                train_accuracy=first.train_accuracy,
                val_accuracy=fmean(values),
                test_accuracy=fmean(tests),
                seeds=len(variant.runs),
                finished=len(variant.runs),
                objective=_mean(values),
                test=_mean(tests),
                gap=(first.train_accuracy or 0) - fmean(values),
                epochs_to_target=first.epochs_to_target,
                reached_target=3,
                seconds=first.seconds,
                images_per_second=first.images_per_second,
                states={"SUCCEEDED": len(variant.runs)},
                reused=0,
                jobs=tuple(run.job or "" for run in variant.runs),
            )
        )
    rows.sort(key=lambda row: -(row.objective.mean or 0))
    return Results("val_accuracy", "max", figures.target, tuple(replace(row, rank=n) for n, row in enumerate(rows, 1)))


def _mean(values: list[float]) -> Mean:
    mean = fmean(values)
    return Mean(len(values), mean, mean - 0.02, mean + 0.02, "t")


def effects_of(figures: StudyFigures) -> Effects:
    factor = Factor(
        "optimizer", "optimizer", (Level("adagrad", "adagrad", ()), Level("adam", "adam", ()), Level("sgd", "sgd", ()))
    )
    batch = Factor("batch_size", "batch size", (Level("64", 64, ()), Level("128", 128, ())))
    noise = random.Random(5)
    effects = []
    for which, level, base, where in (
        (factor, "sgd", "adam", "lenet, batch size 32"),
        (factor, "adam", "adagrad", "alexnet"),
        (factor, "sgd", "adagrad", "alexnet"),
        (factor, "sgd", "adam", ""),
        (batch, "128", "64", "mycnn, adam"),
        (batch, "128", "32", "lenet, sgd"),
    ):
        middle = noise.gauss(0, 0.08)
        width = abs(noise.gauss(0.04, 0.02))
        d = Difference("val_accuracy", 3, 0, middle, middle - width, middle + width, 0.02, 0.04, "t")
        verdict = (
            Verdict.NOT_DISTINGUISHABLE if abs(middle) < width else Verdict.BETTER if middle > 0 else Verdict.WORSE
        )
        effects.append(
            Effect(
                which.name,
                level,
                base,
                level,
                base,
                {"x": where} if where else None,
                where,
                1 if where else 3,
                (),
                d,
                d,
                d,
                abs(middle) > width,
                verdict,
                f"{level} is {abs(middle) * 100:.1f} points {'better' if middle > 0 else 'worse'} than {base}{' on ' + where if where else ''}, 95 % interval {100 * (middle - width):.1f} to {100 * (middle + width):.1f}, 3 seeds",
            )
        )
    return Effects(
        "val_accuracy",
        "max",
        (factor, batch),
        tuple(effects),
        (),
        (StudyWarning("confounded", ("architecture", "epochs"), "architecture and epochs change together"),),
        6,
        3,
        0.3,
        2,
        "6 comparisons were made; 3 have intervals that leave out zero, of which 0.3 would be expected by chance; 2 are distinguishable after Holm's correction.",
    )


def report_input(
    material: Material, question: str | None = "Which optimizer is better, and how sure are we?"
) -> ReportInput:
    """Of a finished study: one run failed, the data is CIFAR-100's first 20 classes."""
    moment = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    runs = [run for variant in material.figures.variants for run in variant.runs]
    return ReportInput(
        id=material.figures.id,
        name=material.figures.name,
        question=question,
        state="SUCCEEDED",
        detail=None,
        spec={"name": material.figures.name, "base": {"dataset": "cifar100", "architecture": "lenet"}, "seeds": 3},
        created_at=moment,
        started_at=moment,
        finished_at=moment,
        written_at=moment,
        material=material,
        winners=winners_of(material.results),
        data=(
            DataView(
                "cifar100@0a1b2c3d",
                "cifar100",
                "sha256:" + "ab" * 32,
                LABELS,
                {"train": 8500, "validation": 1500, "test": 2000},
                tuple(variant.number for variant in material.figures.variants),
            ),
        ),
        environments=(EnvironmentUse(ENVIRONMENT, len(runs)),),
        jobs={run.job: JobRecord("c0ffee" * 10, "killed: out of memory") for run in runs if run.job},
        warnings=({"code": "stand_in", "detail": "digits stand in for cifar100, which has not been imported"},),
    )


ENVIRONMENT = {
    "versions": {"python": "3.11.9", "keras": "3.15.0", "tensorflow": "2.21.0"},
    "processor": "x86_64, 2 cores",
    "devices": ["CPU:0"],
    "threads": 2,
    "code_revision": "0123456789ab",
}


def winners_of(results: Results) -> Winners:
    architectures = dict.fromkeys(row.architecture for row in results.rows)
    bests = [next(row for row in results.rows if row.architecture == one) for one in architectures]
    return Winners(
        "val_accuracy", "max", _winner(results.rows[0], None), tuple(_winner(row, row.architecture) for row in bests)
    )


def _winner(row: ResultRow, architecture: str | None) -> Winner:
    group = f"Of {architecture}" if architecture else "Of all"
    sentence = (
        f"{group}, {row.name} has the highest val_accuracy: {row.objective.mean:.4f} in the mean of {row.seeds} seeds."
    )
    return Winner(architecture, row.number, row.name, row.objective, (), (), sentence)
