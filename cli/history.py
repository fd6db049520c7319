"""What is known of a job while it is watched: its events folded into one state."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cli.charts import Values
from client import Epoch, Event, Progress


@dataclass(frozen=True)
class History:
    """The job after the events so far. Epochs ascend; one that is trained again replaces the earlier try."""

    state: str = "QUEUED"
    progress: Progress | None = None
    epochs: tuple[Epoch, ...] = ()
    notices: tuple[str, ...] = field(default=())
    """what warnings said"""

    def after(self, event: Event) -> History:
        match event.kind:
            case "state":
                return replace(self, state=str(event.data["state"]))
            case "progress":
                return replace(self, progress=Progress.parse(event.data))
            case "epoch":
                epoch = Epoch.parse(event.data)
                earlier = tuple(known for known in self.epochs if known.epoch < epoch.epoch)
                return replace(self, epochs=(*earlier, epoch), progress=_without_estimate(self.progress))
            case "warning":
                return replace(self, notices=(*self.notices, str(event.data.get("detail", ""))))
        return self

    @property
    def last(self) -> Epoch | None:
        return self.epochs[-1] if self.epochs else None

    def curve(self, metric: str) -> Values:
        """One metric by epoch."""
        return [getattr(epoch, metric) for epoch in self.epochs]

    def best(self, metric: str = "val_accuracy") -> Epoch | None:
        """The first epoch with the highest value."""
        known = [epoch for epoch in self.epochs if getattr(epoch, metric) is not None]
        return max(known, key=lambda epoch: float(getattr(epoch, metric)), default=None)

    def eta_seconds(self, epochs: int) -> float | None:
        """The server's estimate, else from the last epoch's seconds."""
        last, progress = self.last, self.progress
        if progress is not None and progress.eta_seconds is not None and (last is None or progress.epoch != last.epoch):
            return progress.eta_seconds
        return None if last is None else (epochs - last.epoch) * last.seconds


def _without_estimate(progress: Progress | None) -> Progress | None:
    """An epoch has ended: what was estimated within it is out of date."""
    return None if progress is None else replace(progress, eta_seconds=None)
