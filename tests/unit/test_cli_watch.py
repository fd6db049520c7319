"""What a watcher makes of a job's events."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from cli.history import History
from cli.output import duration, predict_command
from cli.watch import epoch_line, picture, summary
from client import Event, Job


def epoch(number: int, val_accuracy: float | None, **other: Any) -> Event:
    data = {
        "epoch": number,
        "loss": 0.5,
        "accuracy": 0.8,
        "val_loss": 0.6,
        "val_accuracy": val_accuracy,
        "learning_rate": 0.001,
        "seconds": 2.0,
        "images_per_second": 4321.0,
        "attempt": 1,
    }
    return Event(str(number), "epoch", {**data, **other})


def history(*events: Event) -> History:
    known = History()
    for event in events:
        known = known.after(event)
    return known


def job(**changes: Any) -> Job:
    return Job.parse(
        {
            "id": "a1",
            "state": "SUCCEEDED",
            "reason": None,
            "detail": None,
            "spec": {"dataset": {"name": "digits"}, "architecture": {"name": "lenet"}},
            "spec_hash": "ff",
            "attempt": 1,
            "progress": {"epoch": 2, "epochs": 10, "step": 20, "steps": 40, "eta_seconds": None},
            "best_epoch": None,
            "evaluation": {"test_loss": 0.1, "test_accuracy": 0.978},
            "model": {"name": "digits@0a1b2c3d.lenet", "version": 3},
            "warnings": [],
            "queue_position": None,
            "tags": {},
            "created_at": "2026-01-02T03:04:05Z",
            "started_at": "2026-01-02T03:04:06Z",
            "finished_at": "2026-01-02T03:05:16Z",
            "etag": '"9"',
            **changes,
        }
    )


class TestHistory:
    def test_epochs_add_up_to_curves(self) -> None:
        known = history(epoch(1, 0.5), epoch(2, None), epoch(3, 0.7))
        assert known.curve("val_accuracy") == [0.5, None, 0.7]
        assert known.last is not None
        assert known.last.epoch == 3

    def test_epochs_trained_again_replace_the_earlier_try(self) -> None:
        known = history(epoch(1, 0.5), epoch(2, 0.6), epoch(3, 0.7), epoch(2, 0.65))
        assert known.curve("val_accuracy") == [0.5, 0.65]

    def test_the_first_of_equal_epochs_is_best(self) -> None:
        best = history(epoch(1, 0.5), epoch(2, 0.9), epoch(3, 0.9), epoch(4, None)).best()
        assert best is not None
        assert best.epoch == 2

    def test_the_server_s_estimate_goes_before_ours(self) -> None:
        progress = Event(None, "progress", {"epoch": 2, "epochs": 10, "step": 1, "steps": 4, "eta_seconds": 7.0})
        assert history(epoch(1, 0.5)).eta_seconds(10) == 18.0
        assert history(epoch(1, 0.5), progress).eta_seconds(10) == 7.0

    def test_events_of_a_later_version_are_ignored(self) -> None:
        assert history(Event("1", "fireworks", {})) == History()


class TestWords:
    def test_an_epoch_in_one_line(self) -> None:
        assert epoch_line(history(epoch(2, 0.91)), 10) == (
            "epoch  2/10  loss 0.500  accuracy 0.800  val_loss 0.600  val_accuracy 0.910  4,321 images/s  ETA 16.0 s"
        )

    def test_a_metric_that_was_not_finite_is_a_dash(self) -> None:
        assert "val_accuracy -" in epoch_line(history(epoch(2, None)), 10)

    def test_durations(self) -> None:
        assert [duration(seconds) for seconds in (None, 4.25, 59.99, 60, 3601)] == [
            "-",
            "4.2 s",
            "60.0 s",
            "1:00",
            "1:00:01",
        ]

    def test_a_success_says_what_can_be_done_with_it(self) -> None:
        text = "\n".join(line.plain for line in summary(job(), "http://127.0.0.1:8000"))
        assert "SUCCEEDED after 1:10" in text
        assert "0.9780" in text
        assert "digits@0a1b2c3d.lenet version 3" in text
        assert "curl --data-binary @image.png" in text

    def test_a_failure_says_why(self) -> None:
        failed = job(state="FAILED", reason="DIVERGED", detail="the loss became NaN", evaluation=None, model=None)
        lines = [line.plain for line in summary(failed, "http://127.0.0.1:8000")]
        assert lines == ["FAILED after 1:10", "  DIVERGED: the loss became NaN"]

    def test_the_curl_command_survives_odd_names(self) -> None:
        command = predict_command("http://127.0.0.1:8000", job(), "/tmp/my picture.png")
        assert command == (
            "curl --data-binary @'/tmp/my picture.png' -H 'Content-Type: image/png' "
            "'http://127.0.0.1:8000/api/v1/predict/lenet?dataset=digits%400a1b2c3d'"
        )


class TestPicture:
    def test_it_shows_bar_curves_and_the_best_epoch(self) -> None:
        text = drawn(job(state="RUNNING"), history(epoch(1, 0.5), epoch(2, 0.9)), "utf-8")
        assert "lenet on digits" in text
        assert "epoch 2/10" in text
        assert "▁█" in text
        assert "val_accuracy 0.900 in epoch 2" in text

    def test_it_works_before_anything_happened(self) -> None:
        assert "epoch 2/10" in drawn(job(state="QUEUED"), History(), "utf-8")


def drawn(of: Job, known: History, encoding: str) -> str:
    stream = io.StringIO()
    Console(file=stream, width=100).print(picture(of, known, ascii_only=encoding != "utf-8"))
    return stream.getvalue()
