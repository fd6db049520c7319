"""What a job should be, kept beside the database: a second, simpler telling of the rules that the tests compare with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from core.repositories.attempts import LEASE_SECONDS, Attempt
from core.states import HELD, Reason, State


@dataclass
class ExpectedJob:
    id: str
    number: int
    """jobs that were submitted before it"""
    priority: int
    epochs: int
    max_attempts: int
    state: State = State.QUEUED
    reason: Reason | None = None
    attempt: int = 0
    fruitless: int = 0
    keep_best: bool = False
    published: bool = False
    makers: list[int] = field(default_factory=list)
    """the attempt that made each finished epoch"""
    lease_until: float | None = None

    def owned_by(self, attempt: Attempt) -> bool:
        return self.state in HELD and self.attempt == attempt.number

    def stands_for(self, attempt: Attempt) -> bool:
        """No other attempt has it, or is to have it."""
        return self.attempt == attempt.number and self.state is not State.QUEUED

    def expired(self, now: float) -> bool:
        return self.lease_until is not None and self.lease_until < now

    def claim(self, now: float) -> None:
        self.state = State.RUNNING
        self.attempt += 1
        self.renew(now)

    def renew(self, now: float) -> None:
        self.lease_until = now + LEASE_SECONDS

    def begin(self, done: int) -> None:
        del self.makers[done:]

    def record(self, number: int) -> None:
        self.makers[number - 1 :] = [self.attempt]
        self.fruitless = 0

    def end(self, state: State, reason: Reason | None = None, *, fruitless: bool = False) -> None:
        self.state, self.reason, self.lease_until = state, reason, None
        self.fruitless += int(fruitless)

    def end_as_wanted(self, otherwise: State) -> None:
        """What a cancel or a pause asked for comes first."""
        if self.state is State.CANCELLING:
            self.end(State.CANCELLED, Reason.USER_CANCELLED)
        elif self.state is State.PAUSING:
            self.end(State.PAUSED)
        else:
            self.end(otherwise)

    def publish(self, *, cancelled: bool) -> None:
        if cancelled:
            self.published = self.keep_best
            self.end(State.CANCELLED, Reason.USER_CANCELLED)
        else:
            self.published = True
            self.end(State.SUCCEEDED)

    def lose(self) -> None:
        """Its trainer or worker died."""
        fruitless = self.attempt not in self.makers
        if self.state is State.RUNNING and self.fruitless + fruitless >= self.max_attempts:
            self.end(State.FAILED, Reason.WORKER_LOST, fruitless=True)
            return
        self.fruitless += int(fruitless and self.state is State.RUNNING)
        self.end_as_wanted(State.QUEUED)

    def may_pause(self) -> bool:
        return self.state in (State.QUEUED, State.RUNNING, State.PAUSING, State.PAUSED)

    def pause(self) -> None:
        if self.state in (State.QUEUED, State.RUNNING):
            self.state = State.PAUSED if self.state is State.QUEUED else State.PAUSING

    def may_resume(self) -> bool:
        return self.state in (State.QUEUED, State.RUNNING, State.PAUSED)

    def resume(self) -> None:
        if self.state is State.PAUSED:
            self.state = State.QUEUED

    def may_cancel(self, *, keep_best: bool) -> bool:
        waits = self.state in (State.QUEUED, State.PAUSED)
        return (waits and not keep_best) or self.state in HELD or self.state is State.CANCELLED

    def cancel(self, *, keep_best: bool) -> None:
        if self.state is State.CANCELLED:
            return
        self.keep_best = keep_best and (self.keep_best or self.state is not State.CANCELLING)
        self.reason = Reason.USER_CANCELLED
        self.state = State.CANCELLING if self.state in HELD else State.CANCELLED

    def may_retry(self) -> bool:
        return self.state in (State.FAILED, State.CANCELLED) and not self.published

    def retry(self, *, scratch: bool) -> None:
        self.state, self.reason, self.fruitless, self.keep_best = State.QUEUED, None, 0, False
        if scratch:
            self.makers.clear()


def next_in_line(jobs: Iterable[ExpectedJob]) -> ExpectedJob | None:
    """The queued job that is to be claimed: the most urgent, and of those the oldest."""
    queued = [job for job in jobs if job.state is State.QUEUED]
    return min(queued, key=lambda job: (-job.priority, job.number), default=None)
