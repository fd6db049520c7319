"""`kerasd`: reads the command line and hands over to the command's own module."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError, Group, Parameter

from cli.failures import INTERRUPTED, INVALID, CommandFailed

RUN = Group("Run the server", sort_key=1)
WORK = Group("Use a server", sort_key=2)
CHECK = Group("Check", sort_key=3)

COMMANDS = (
    ("up", "cli.up:up", RUN, "Everything in one terminal: broker, migrations, API, workers. Ctrl-C stops it."),
    ("api", "cli.parts:api", RUN, "Only the HTTP API, for a cluster."),
    ("worker", "cli.parts:worker", RUN, "Only one worker, for a cluster."),
    ("migrate", "cli.parts:migrate", RUN, "Bring the database to the newest schema."),
    ("migrate-data", "cli.moving:migrate_data", RUN, "Copy a laptop's jobs, models and datasets into a cluster."),
    ("demo", "cli.demo:demo", RUN, "Start a server, train LeNet on handwritten digits and classify one."),
    ("train", "cli.train:train", WORK, "Train an architecture on a dataset."),
    ("submit", "cli.train:submit", WORK, "Submit a job spec from a JSON file."),
    ("watch", "cli.jobs:watch", WORK, "Follow a job live until it ends."),
    ("jobs", "cli.jobs:jobs", WORK, "List jobs, newest first."),
    ("compare", "cli.compare:compare", WORK, "Set jobs side by side: what differs, what each reached."),
    ("cancel", "cli.jobs:cancel", WORK, "Cancel a job."),
    ("pause", "cli.jobs:pause", WORK, "Pause a job after its present epoch."),
    ("resume", "cli.jobs:resume", WORK, "Let a paused job go on."),
    ("retry", "cli.jobs:retry", WORK, "Try a job that failed or was cancelled again."),
    ("predict", "cli.predict:predict", WORK, "Classify image files."),
    ("explain", "cli.explain:explain", WORK, "Show what in an image speaks for its label."),
    ("predict-batch", "cli.predict_batch:predict_batch", WORK, "Classify all images of an archive, folder or dataset."),
    ("export", "cli.export:export", WORK, "Bring a model here: ONNX, Keras, SavedModel, TFLite."),
    ("models", "cli.models:models", WORK, "List models with the version that predictions use."),
    ("model", "cli.models:model", WORK, "A model's versions, and the card of the best."),
    ("promote", "cli.models:promote", WORK, "Have predictions use a version, and pin it."),
    ("rollback", "cli.models:rollback", WORK, "Go back to the version that was served before, and pin it."),
    ("unpin", "cli.models:unpin", WORK, "Leave the choice of the best version to the rules again."),
    ("gate", "cli.models:gate", WORK, "Say by how much a new version must beat the served one."),
    ("doctor", "cli.doctor:doctor", CHECK, "Check the set-up, and show every setting with its source."),
)

DATASET_COMMANDS = (
    ("add", "cli.dataset:add", "Bring images: a folder, an archive, TFRecords, or a built-in set."),
    ("list", "cli.dataset:listing", "List datasets, newest first."),
    ("show", "cli.dataset:show", "Everything known of a dataset: classes, sizes, warnings, errors."),
    ("delete", "cli.dataset:delete", "Delete a dataset that no job needs."),
)

STUDY_COMMANDS = (
    ("submit", "cli.study:submit", "Submit a study from a JSON file; the word may be left out."),
    ("watch", "cli.study:watch", "Follow a study until it ends: jobs, leader board, ETA."),
    ("list", "cli.study:listing", "List studies, newest first."),
    ("runs", "cli.study:runs", "List a study's runs with their jobs."),
    ("results", "cli.study:results", "What each variant reached, and who won."),
    ("effects", "cli.study:effects", "What each factor changes, in sentences."),
    ("report", "cli.study:report", "Write a study's report to one file."),
    ("pause", "cli.study:pause", "Pause a study."),
    ("resume", "cli.study:resume", "Let a paused study go on."),
    ("cancel", "cli.study:cancel", "Cancel a study with its jobs."),
    ("extend", "cli.study:extend", "Have a study try more: seeds, values, variants, trials."),
)


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 invalid input, 3 no server, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    try:
        result = command_line()(_spelled_out(arguments), exit_on_error=False)
    except CycloptsError:  # cyclopts has printed what is wrong
        return INVALID
    except CommandFailed as failure:
        print(f"kerasd: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def command_line() -> App:
    """The whole command line; no command's module is loaded until it runs."""
    app = App(
        name="kerasd",
        help="Train and serve Keras image classifiers over HTTP.",
        version=lambda: version("kerasd"),
        default_parameter=Parameter(negative=()),
        result_action="return_value",
    )
    for name, target, group, summary in COMMANDS:
        app.command(target, name=name, group=group, help=summary)
    datasets = App(name="dataset", group=WORK, help="Bring, list, show and delete datasets.")
    for name, target, summary in DATASET_COMMANDS:
        datasets.command(target, name=name, help=summary)
    app.command(datasets)
    studies = App(name="study", group=WORK, help="Compare many trainings: `kerasd study SPEC.json --watch`.")
    for name, target, summary in STUDY_COMMANDS:
        studies.command(target, name=name, help=summary)
    app.command(studies)
    return app


def _spelled_out(arguments: list[str]) -> list[str]:
    """`study SPEC.json` means `study submit SPEC.json`."""
    known = {"--help", "-h", "--version", *(name for name, *_ in STUDY_COMMANDS)}
    if arguments[:1] == ["study"] and len(arguments) > 1 and arguments[1] not in known:
        return ["study", "submit", *arguments[1:]]
    return arguments


if __name__ == "__main__":
    main()
