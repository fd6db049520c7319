"""Watches one attempt: lease, cancel, time limit, hang, log, and how it ended."""

from __future__ import annotations

import threading
import time

import structlog
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.errors import FencedOut
from core.repositories.attempts import (
    LEASE_SECONDS,
    Attempt,
    Ending,
    Standing,
    append_log,
    current_standing,
    end_attempt,
    lose_attempt,
    renew_lease,
)
from core.repositories.claims import Claim
from core.states import HELD, Reason, State
from worker.child_process import ChildProcess
from worker.exits import Exit

log = structlog.get_logger("kerasd.worker")

RENEW_SECONDS = 5.0
LOOK_SECONDS = 0.5
TROUBLE_SECONDS = 1.0

RELEASED = Ending(
    State.QUEUED, outcome="released", detail="the worker stopped; waiting for another", counts_as_failure=False
)
CANCELLED = Ending(State.CANCELLED, outcome="cancelled", reason=Reason.USER_CANCELLED, counts_as_failure=False)


class AttemptWatch:
    """`woken` makes it look at once, `stopping` ends the attempt so that another worker may go on."""

    def __init__(
        self,
        database: Database,
        claim: Claim,
        trainer: ChildProcess,
        *,
        woken: threading.Event,
        stopping: threading.Event,
        stall_seconds: float,
    ) -> None:
        self._database = database
        self._claim = claim
        self._attempt: Attempt = claim.attempt
        self._trainer = trainer
        self._woken = woken
        self._stopping = stopping
        self._stall_seconds = stall_seconds
        self._renewed = self._moved = time.monotonic()
        self._progress: dict[str, object] = {}

    def until_end(self) -> Ending | Exit | None:
        """Waits for the trainer's exit (None), or says how the attempt is to be ended. Raises FencedOut."""
        left = self._claim.seconds_left
        deadline = None if left is None else self._renewed + left
        while self._trainer.returncode() is None:
            self._woken.wait(LOOK_SECONDS)
            self._woken.clear()
            if self._stopping.is_set():
                return RELEASED
            if deadline is not None and time.monotonic() > deadline:
                return _timed_out(self._claim.spec["timeout_seconds"])
            try:
                standing = self._look()
            except DBAPIError as error:
                log.warning("the database does not answer while an attempt runs", error=str(error.orig))
                if time.monotonic() - self._renewed > LEASE_SECONDS:
                    raise FencedOut(f"job {self._attempt.job_id}", self._attempt.number) from error
                continue
            if standing.state is State.CANCELLING and not standing.keep_best:
                return CANCELLED
            if time.monotonic() - self._moved > self._stall_seconds:
                return _stalled(self._stall_seconds)
        return None

    def close(self, verdict: Ending | Exit | None, loss: Exit) -> None:
        """Records the end, unless the trainer did so itself; tries for as long as the lease lasts.

        `loss` is what the trainer's exit tells, for when nothing else explains it.
        """
        text = self._trainer.finish_log()
        deadline = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                self._record_end(text, verdict or loss)
            except FencedOut as fenced:
                log.warning("attempt fenced out", detail=fenced.detail)
            except DBAPIError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(TROUBLE_SECONDS)
                continue
            return

    def _look(self) -> Standing:
        """Stores the log, keeps the lease, and reads how the job stands."""
        now = time.monotonic()
        renew = now - self._renewed >= RENEW_SECONDS
        text = self._trainer.take_log()
        try:
            with self._database.transaction() as session:
                standing = current_standing(session, self._attempt)
                if renew and standing.state in HELD:
                    renew_lease(session, self._attempt)
                if text:
                    append_log(session, self._attempt, text)
        except DBAPIError:
            self._trainer.return_log(text)
            raise
        if renew:
            self._renewed = now
        if text or standing.progress != self._progress:
            self._moved, self._progress = now, standing.progress
        return standing

    def _record_end(self, text: str, end: Ending | Exit) -> None:
        with self._database.transaction() as session:
            state = current_standing(session, self._attempt).state
            if text:
                append_log(session, self._attempt, text)
            if state not in HELD:
                log.info("attempt ended", state=state)
            elif isinstance(end, Ending):
                after = end_attempt(session, self._attempt, end)
                log.info("attempt ended", state=after, cause=end.outcome)
            else:
                after = lose_attempt(session, self._attempt, end.reason, end.detail, end.most_tries)
                log.warning("attempt lost", reason=end.reason, detail=end.detail, state=after)


def _timed_out(limit: float) -> Ending:
    detail = f"not done within timeout_seconds ({limit:g}); raise it or train fewer epochs"
    return Ending(State.FAILED, outcome="timed out", reason=Reason.TIMEOUT, detail=detail)


def _stalled(limit: float) -> Exit:
    return Exit(Reason.STALLED, f"the trainer showed no progress for {limit:g} s (KERASD_STALL_SECONDS)")
