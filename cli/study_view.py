"""Studies, their runs, tables and effects as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from cli.dataset_view import printable
from cli.output import STATE_STYLES, accuracy, age, duration
from client import Mean, ResultRow, Study, StudyEffects, StudyResults, StudyRun, StudyValidation


def studies_table(found: Sequence[Study]) -> Table:
    table = _table("id", "name", "state", "runs", "epochs", "dataset", "created")
    for study in found:
        progress = study.progress
        table.add_row(
            study.id,
            printable(study.name),
            state_text(study.state),
            f"{progress.finished}/{progress.runs}",
            f"{progress.epochs}/{progress.epochs_planned}",
            f"{study.dataset} (stand-in)" if study.stand_in else study.dataset,
            age(study.created_at),
        )
    return table


def runs_table(found: Sequence[StudyRun], metric: str) -> Table:
    table = _table("variant", "seed", "state", "epochs", f"best {metric}", "job", "why")
    for run in found:
        table.add_row(
            printable(run.name),
            str(run.seed),
            state_text(run.state),
            f"{run.progress.epoch}/{run.progress.epochs}" if run.progress else "",
            accuracy(getattr(run.best_epoch, metric, None)) if run.best_epoch else "-",
            f"{run.job} (reused)" if run.reused else run.job or "",
            why(run),
        )
    return table


def results_table(found: StudyResults) -> Table:
    """One row a variant, best first."""
    table = _table("", "variant", "optimizer", "batch", "epochs")
    for heading in (f"mean {found.metric}", "95 % interval", "train", "test", "gap", "seeds", "seconds", "images/s"):
        table.add_column(heading, justify="right")
    for row in found.rows:
        table.add_row(
            "" if row.rank is None else str(row.rank),
            printable(row.name),
            row.optimizer,
            _whole(row.batch_size),
            _whole(row.epochs),
            accuracy(row.objective.mean),
            interval(row.objective),
            accuracy(row.train_accuracy),
            accuracy(row.test_accuracy),
            accuracy(row.gap),
            seeds_text(row),
            duration(row.seconds),
            _whole(row.images_per_second),
        )
    return table


def leaders_table(found: StudyResults, most: int) -> Table:
    """The first rows of the table, in the width of a terminal."""
    table = _table("", "variant")
    for heading in (found.metric, "95 % interval", "test", "seeds"):
        table.add_column(heading, justify="right")
    for row in [row for row in found.rows if row.rank is not None][:most]:
        figures = (accuracy(row.objective.mean), interval(row.objective), accuracy(row.test_accuracy), seeds_text(row))
        table.add_row(str(row.rank), printable(row.name), *figures)
    return table


def effect_lines(found: StudyEffects) -> Iterator[Text]:
    """A sentence for each comparison, by factor; then what they depend on, and how far they can be believed together."""
    for name, label in found.factors.items():
        sentences = [effect.sentence for effect in found.effects if effect.factor == name]
        if sentences:
            yield Text(label, style="bold")
            yield from (Text(f"  {printable(sentence)}") for sentence in sentences)
    if found.interactions:
        yield Text("one factor's effect at another's levels", style="bold")
        yield from (Text(f"  {printable(entry.sentence)}") for entry in found.interactions)
    for warning in found.warnings:
        yield Text(f"warning: {printable(warning.detail)}", style="yellow")
    yield Text(printable(found.statement))


def validation_lines(found: StudyValidation) -> Iterator[Table | str]:
    """What the study would train."""
    table = _table("variant", "architecture", "parameters", "epochs", "seconds an epoch")
    for variant in found.variants:
        seconds = f"{variant.epoch_seconds:.1f}"
        table.add_row(
            printable(variant.name), variant.architecture, f"{variant.parameters:,}", str(variant.epochs), seconds
        )
    yield table
    yield (
        f"{found.runs} runs on {found.dataset}, {found.epochs} epochs; "
        f"about {duration(found.seconds)} if trained one after another"
    )
    yield from (f"warning: {warning.detail}" for warning in found.warnings)


def state_text(state: str) -> Text:
    return Text(state, style=STATE_STYLES.get(state, ""))


def why(run: StudyRun) -> str:
    """Why a run ended, or never began."""
    return printable(": ".join(part for part in (run.reason, run.detail) if part))


def interval(mean: Mean) -> str:
    return "-" if mean.low is None or mean.high is None else f"{accuracy(mean.low)} to {accuracy(mean.high)}"


def seeds_text(row: ResultRow) -> str:
    return str(row.seeds) if row.finished == row.seeds else f"{row.finished}/{row.seeds}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number == 0)
    return table
