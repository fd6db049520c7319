"""The requests about studies."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from client.answers import Event
from client.connection import Connection
from client.events import EventStream
from client.resources import listed, wait_until_ended
from client.study_answers import Study, StudyRun, StudyValidation
from client.study_findings import StudyEffects, StudyResults

STUDIES = "/api/v1/studies"
LONG_ANSWER_SECONDS = 120.0
"""A thousand job specs are checked before an answer; a report's pictures are drawn when it is asked for."""


class StudyRequests:
    """The part of a Client that is about studies."""

    _connection: Connection
    _pause: Callable[[float], None]

    def submit_study(self, spec: Mapping[str, Any], idempotency_key: str | None = None) -> Study:
        """Creates a study. With the same key and spec, within a day, it returns the same study however often it is sent."""
        return Study.parse(self._post_study(STUDIES, spec, {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}))

    def validate_study(self, spec: Mapping[str, Any]) -> StudyValidation:
        """Checks a study spec, with every job spec in it, without creating anything."""
        return StudyValidation.parse(self._post_study(STUDIES, spec, params={"validate_only": "true"}))

    def study(self, study_id: str) -> Study:
        return Study.parse(self._connection.json("GET", _path(study_id)))

    def studies(self, *, state: str | None = None, limit: int | None = None) -> Iterator[Study]:
        """Studies, newest first, page by page; `limit` None means all."""
        return (Study.parse(item) for item in listed(self._connection, STUDIES, {"state": state}, limit))

    def study_runs(self, study_id: str, *, state: str | None = None, limit: int | None = None) -> Iterator[StudyRun]:
        """Its runs by variant and seed, page by page; `state` is a job's, WAITING or SKIPPED."""
        found = listed(self._connection, f"{_path(study_id)}/runs", {"state": state}, limit, order_by=None)
        return (StudyRun.parse(item) for item in found)

    def study_events(self, study_id: str, last_event_id: str | None = None) -> Iterator[Event]:
        """What happens to the study and its runs, until it has ended; resumes as `events` does."""
        stream = EventStream(
            self._connection,
            f"{_path(study_id)}/events",
            last_event_id,
            ended=lambda: self.study(study_id).ended,
            pause=self._pause,
        )
        return iter(stream)

    def wait_study(self, study_id: str, timeout: float | None = None) -> Study:
        """The study once it has ended. Raises TimeoutError after `timeout` seconds, if given."""
        return wait_until_ended(self._connection, _path(study_id), Study.parse, f"study {study_id}", timeout)

    def pause_study(self, study_id: str) -> Study:
        """Starts nothing more of it; its running jobs pause after their present epochs."""
        return self._move_study(study_id, "pause")

    def resume_study(self, study_id: str) -> Study:
        """It goes on where a pause stopped it."""
        return self._move_study(study_id, "resume")

    def cancel_study(self, study_id: str) -> Study:
        """Ends it with its jobs that have not ended; what has been trained stays."""
        return self._move_study(study_id, "cancel")

    def extend_study(
        self,
        study_id: str,
        *,
        seeds: int | Sequence[int] | None = None,
        space: Mapping[str, Any] | None = None,
        variants: Sequence[Mapping[str, Any]] | None = None,
        trials: int | None = None,
    ) -> Study:
        """Has it try more: seeds (how many in all, or which), values of fields in its space, named variants, trials in all."""
        wanted = {"seeds": seeds, "space": space, "variants": variants, "trials": trials}
        body = {key: value for key, value in wanted.items() if value is not None}
        # Not sent again when its answer was lost: what has been added once would be refused as a repetition.
        return self._move_study(study_id, "extend", body, repeatable=False)

    def study_results(self, study_id: str) -> StudyResults:
        """Its table and winners, as far as it has come."""
        return StudyResults.parse(self._connection.json("GET", f"{_path(study_id)}/results"))

    def study_effects(self, study_id: str) -> StudyEffects:
        """What each factor changes, as far as the runs so far tell."""
        return StudyEffects.parse(self._connection.json("GET", f"{_path(study_id)}/effects"))

    def study_table(self, study_id: str, format: Literal["csv", "markdown"]) -> str:  # noqa: A002  (as the server calls it)
        """Its table as text."""
        return self._connection.request("GET", f"{_path(study_id)}/results", params={"format": format}).text

    def study_picture(
        self,
        study_id: str,
        kind: str,
        format: Literal["svg", "png"] = "svg",  # noqa: A002  (as the server calls it)
        *,
        architecture: str | None = None,
    ) -> bytes:
        """One of its pictures: `curves` (of one architecture, if named), or another kind."""
        place = (
            f"{_path(study_id)}/curves" if kind == "curves" else f"{_path(study_id)}/pictures/{quote(kind, safe='')}"
        )
        return self._connection.request(
            "GET", f"{place}.{format}", params={"architecture": architecture}, answer_seconds=LONG_ANSWER_SECONDS
        ).content

    def study_report(self, study_id: str, format: Literal["html", "markdown"] = "html") -> str:  # noqa: A002  (as the server calls it)
        """All that it found, with its pictures, in one document that needs nothing else."""
        return self._connection.request(
            "GET", f"{_path(study_id)}/report", params={"format": format}, answer_seconds=LONG_ANSWER_SECONDS
        ).text

    def _move_study(
        self, study_id: str, move: str, body: Mapping[str, Any] | None = None, *, repeatable: bool = True
    ) -> Study:
        return Study.parse(self._post_study(f"{_path(study_id)}:{move}", body or {}, repeatable=repeatable))

    def _post_study(
        self,
        path: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        *,
        repeatable: bool = True,
    ) -> Any:
        return self._connection.json(
            "POST",
            path,
            headers={"Content-Type": "application/json", **(headers or {})},
            params=params,
            content=json.dumps(body, allow_nan=False).encode(),
            repeatable=repeatable,
            answer_seconds=LONG_ANSWER_SECONDS,
        )


def _path(study_id: str) -> str:
    return f"{STUDIES}/{quote(study_id, safe='')}"
