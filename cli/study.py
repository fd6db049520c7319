"""`kerasd study`: many jobs in one call, followed, moved and read."""

from __future__ import annotations

import json as json_format
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators
from rich.filesize import decimal

from cli.failures import INVALID, CommandFailed
from cli.output import stderr, stdout
from cli.server import ServerUrl, server
from cli.specs import json_value, split_pair
from cli.study_specs import StudyFile, adjust, read_study
from cli.study_view import effect_lines, results_table, runs_table, studies_table, validation_lines
from cli.study_watch import watch_study
from client import Client

StudyStateName = Literal["QUEUED", "RUNNING", "PAUSED", "SUCCEEDED", "FAILED", "CANCELLED"]
RunStateName = Literal[
    "WAITING", "QUEUED", "RUNNING", "PAUSING", "PAUSED", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"
]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]


def submit(
    spec: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    watch: bool = False,
    validate_only: bool = False,
    json: bool = False,
    dataset: str | None = None,
    seeds: Count | None = None,
    max_parallel: Count | None = None,
    no_budget: Annotated[bool, Parameter(name="--no-budget")] = False,
    epochs: Count | None = None,
    train_images: Count | None = None,
    width: float | None = None,
    stand_in: str | None = None,
    set: list[str] | None = None,  # noqa: A002  (the option is called --set)
    idempotency_key: str | None = None,
    url: ServerUrl = None,
) -> int:
    """Submit a study and print its id. `kerasd study SPEC.json` is short for this.

    Args:
        spec: a JSON file, or - for standard input.
        watch: follow the study until it ends.
        validate_only: check the study and describe it, without creating it.
        json: describe it as JSON.
        dataset: on this dataset instead of the file's, with all its classes.
        seeds: how often each variant is trained.
        max_parallel: at most so many of its jobs wait or train at once.
        no_budget: leave out the file's budget: every job at its full size.
        epochs: of the budget: at most so many for each job, or in each of its phases.
        train_images: of the budget: at most so many training images for each job.
        width: of the budget: multiplies the width of every architecture, up to 1.
        stand_in: of the budget: the dataset used while the study's own has not been imported.
        set: any field of the study spec, as base.batch_size=64 or /pruning={"method": "median"}; may be repeated.
        idempotency_key: submitting again with the same key returns the same study.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    file = read_study(spec)
    adjust(
        file.spec,
        no_budget=no_budget,
        budget={"epochs": epochs, "train_images": train_images, "width": width, "stand_in": stand_in},
        dataset=dataset,
        seeds=seeds,
        max_parallel=max_parallel,
        changes=set or (),
    )
    with server(url) as client:
        if validate_only:
            return _describe(client, file, json=json)
        with file.told_by_line():
            study = client.submit_study(file.spec, idempotency_key)
        print(study.id, flush=True)
        if watch:
            return watch_study(client, study.id, stdout())
        for warning in study.warnings:
            stderr().print(f"warning: {warning.detail}", style="yellow", soft_wrap=True)
    return 0


def watch(study: str, /, *, url: ServerUrl = None) -> int:
    """Follow a study until it ends. Ctrl-C stops the watching, not the study.

    Args:
        study: the study's id.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        return watch_study(client, study, stdout())


def listing(
    *,
    state: StudyStateName | None = None,
    limit: Count = 20,
    json: bool = False,
    url: ServerUrl = None,
) -> None:
    """List studies, newest first.

    Args:
        state: only studies in this state.
        limit: at most so many.
        json: print JSON instead of a table.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        found = list(client.studies(state=state, limit=limit))
    console = stdout()
    if json:
        console.print_json(data=[asdict(study) for study in found], default=str)
    elif found:
        console.print(studies_table(found))
    else:
        console.print("no studies")


def runs(
    study: str, /, *, state: RunStateName | None = None, limit: Count = 100, json: bool = False, url: ServerUrl = None
) -> None:
    """List a study's runs: each variant with each seed, its job, and why it ended.

    Args:
        study: the study's id.
        state: only runs in this state.
        limit: at most so many.
        json: print JSON instead of a table.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        metric = client.study(study).objective.metric
        found = list(client.study_runs(study, state=state, limit=limit))
    console = stdout()
    if json:
        console.print_json(data=[asdict(run) for run in found])
    elif found:
        console.print(runs_table(found, metric))
    else:
        console.print("no runs")


def results(
    study: str, /, *, csv: bool = False, markdown: bool = False, json: bool = False, url: ServerUrl = None
) -> None:
    """Show what each variant reached, best first, and who won.

    Args:
        study: the study's id.
        csv: print CSV, with every column.
        markdown: print Markdown, with every column.
        json: print JSON.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    if csv + markdown + json > 1:
        raise CommandFailed("choose one of --csv, --markdown and --json", INVALID)
    console = stdout()
    with server(url) as client:
        if csv or markdown:
            sys.stdout.write(client.study_table(study, "csv" if csv else "markdown"))
            return
        found = client.study_results(study)
    if json:
        console.print_json(data=asdict(found))
        return
    console.print(results_table(found))
    for winner in found.winners:
        console.print(winner.sentence, soft_wrap=True)


def effects(study: str, /, *, json: bool = False, url: ServerUrl = None) -> None:
    """Say what each factor changes: optimizer, batch size, amount of data, and whatever else the variants differ in.

    Args:
        study: the study's id.
        json: print JSON, with every figure.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        found = client.study_effects(study)
    console = stdout()
    if json:
        console.print_json(data=dict(found.data))
        return
    for line in effect_lines(found):
        console.print(line, soft_wrap=True)


def report(study: str, /, *, output: Path | None = None, markdown: bool = False, url: ServerUrl = None) -> None:
    """Write a study's report, with its pictures, to one file that needs no network.

    Args:
        study: the study's id.
        output: the file; default: study-ID.html or study-ID.md, here.
        markdown: as Markdown instead of HTML.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    console = stdout()
    with server(url) as client, console.status("waiting for the report"):
        text = client.study_report(study, "markdown" if markdown else "html")
    target = output or Path(f"study-{study}.{'md' if markdown else 'html'}")
    try:
        size = target.write_bytes(text.encode())
    except OSError as error:
        raise CommandFailed(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from None
    console.print(f"{target}: {decimal(size)}", soft_wrap=True)


def pause(study: str, /, *, url: ServerUrl = None) -> None:
    """Pause a study: nothing more of it is started, its running jobs pause after their present epochs.

    Args:
        study: the study's id.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        print(f"{study} {client.pause_study(study).state}")


def resume(study: str, /, *, url: ServerUrl = None) -> None:
    """Let a paused study go on.

    Args:
        study: the study's id.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        print(f"{study} {client.resume_study(study).state}")


def cancel(study: str, /, *, url: ServerUrl = None) -> None:
    """Cancel a study and its jobs that have not ended; what has been trained stays.

    Args:
        study: the study's id.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        print(f"{study} {client.cancel_study(study).state}")


def extend(
    study: str,
    /,
    *,
    seeds: Count | None = None,
    seed: list[int] | None = None,
    values: list[str] | None = None,
    variants: str | None = None,
    trials: Count | None = None,
    url: ServerUrl = None,
) -> None:
    """Have a study try more; what it has stays, and one that had ended goes on.

    Args:
        study: the study's id.
        seeds: how many there are to be in all.
        seed: one more seed; may be repeated.
        values: more values of a field of its space, as optimizer.learning_rate=[0.1,0.01]; may be repeated.
        variants: a JSON file with more variants: an object with `variants`, as a study spec.
        trials: how many points a search is to try in all.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    if seeds is not None and seed:
        raise CommandFailed("choose one of --seeds and --seed", INVALID)
    space = dict(_values(pair) for pair in values or ())
    file = read_study(variants) if variants is not None else None
    more = None if file is None else file.spec.get("variants")
    if file is not None and not isinstance(more, list):
        raise CommandFailed(f"{file.source} has no list of variants", INVALID)
    with server(url) as client:
        moved = client.extend_study(study, seeds=seeds or seed, space=space or None, variants=more, trials=trials)
    print(f"{study} {moved.state}, {moved.progress.runs} runs")


def _values(pair: str) -> tuple[str, Any]:
    """A field of the space and more values of it. Raises CommandFailed."""
    path, text = split_pair(pair, "--values")
    value = json_value(text, "--values")
    return path, value if isinstance(value, list) else [value]


def _describe(client: Client, file: StudyFile, *, json: bool) -> int:
    with file.told_by_line():
        found = client.validate_study(file.spec)
    if json:
        stdout().print_json(json_format.dumps(asdict(found)))
    else:
        for line in validation_lines(found):
            stdout().print(line, soft_wrap=isinstance(line, str))
    return 0
