"""`make soak`: a whole kerasd under steady use while its processes are killed at random; then nothing may be wrong.

The figures of the last long run are in docs/promises.md.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from killing import WORKERS, Killer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from sampling import Samples
from servers import running_postgres
from sqlalchemy import func, select
from stack import Stack
from topology import Laptop
from traffic import Traffic
from verdict import of_clients, of_history, of_predictions, of_processes

from core.states import DatasetState, State
from core.tables import AttemptRow, DatasetRow, EpochRow, JobRow

SAMPLE_SECONDS = 2.0
TURN_SECONDS = 0.1
HEAL_SECONDS = 120.0
DRAIN_SECONDS = 600.0
STOP_SECONDS = 30.0
RUNNERS = 4
"""clients that each have one job under way"""
PROCESSES = 6
"""broker, API, two workers, each with a standby trainer"""

console = Console()


@dataclass
class Soak:
    stack: Stack
    killer: Killer
    traffic: Traffic
    samples: Samples
    kills_wanted: int
    seconds: float
    began: float = field(default_factory=time.monotonic)

    def run(self) -> list[str]:
        """Kills while jobs flow, lets all end, stops. Returns what was wrong."""
        self.traffic.start()
        self._harm()
        self._heal()
        self.traffic.stop(DRAIN_SECONDS)
        faults = list(self._drained())
        faults += [*of_predictions(self.stack, self.traffic.ledger), *of_processes(self.stack, PROCESSES)]
        self._stop_all()
        faults += of_clients(self.stack, self.traffic.ledger)
        found, self.swept = of_history(self.stack, list(self.traffic.ledger.jobs.values()))
        faults += [*found, *self.samples.growth()]
        if (kills := self.killer.kills.total()) < max(1, self.kills_wanted):
            faults.append(f"only {kills} of {self.kills_wanted} kills were done")
        return faults

    def _harm(self) -> None:
        """All kills, at moments chosen beforehand, in the time between the first and the last minute's tenth."""
        chance = self.killer.chance
        moments = sorted(chance.uniform(0.02, 0.98) * self.seconds for _ in range(self.kills_wanted))
        with Live(self._progress(), console=console, refresh_per_second=1) as live:
            while (elapsed := time.monotonic() - self.began) < self.seconds:
                self._turn(live)
                if moments and moments[0] <= elapsed and self.killer.kill_one():
                    moments.pop(0)

    def _turn(self, live: Live | None = None) -> None:
        self.killer.tend()
        if time.monotonic() - self._sampled >= SAMPLE_SECONDS:
            self._sampled = time.monotonic()
            self.samples.take()
            if live is not None:
                live.update(self._progress())
        time.sleep(TURN_SECONDS)

    _sampled = 0.0
    swept = 0

    def _heal(self) -> None:
        """Nothing is killed any more."""
        deadline = time.monotonic() + HEAL_SECONDS
        while not self.killer.healed and time.monotonic() < deadline:
            self._turn()
        for wound in self.killer.open_wounds():
            self.traffic.ledger.fault(f"no recovery from {wound}")

    def _drained(self) -> list[str]:
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            if not self._unfinished():
                # A standby that has just been taken is started again.
                time.sleep(2 * SAMPLE_SECONDS)
                return []
            self._turn()
        return [f"{self._unfinished()} jobs and imports have not ended"]

    def _unfinished(self) -> int:
        ended = [state for state in State if state.terminal]
        with self.stack.database.snapshot() as session:
            jobs = select(func.count()).select_from(JobRow).where(JobRow.state.not_in(ended))
            imports = select(func.count()).select_from(DatasetRow).where(DatasetRow.state == DatasetState.IMPORTING)
            return session.scalars(jobs).one() + session.scalars(imports).one()

    def _stop_all(self) -> None:
        for part in (*WORKERS, "api", "valkey"):
            self.stack.kill(part, signal.SIGTERM)

    def _progress(self) -> Table:
        ledger = self.traffic.ledger
        table = Table(title=f"{(time.monotonic() - self.began) / 60:.1f} of {self.seconds / 60:.0f} min", box=None)
        rows: dict[str, Counter[Any]] = {
            "kills": self.killer.kills,
            "jobs": ledger.endings,
            "datasets": ledger.datasets,
            "predictions": ledger.predictions,
        }
        for name, counts in rows.items():
            table.add_row(name, str(counts.total()), "  ".join(f"{kind} {count}" for kind, count in counts.items()))
        table.add_row("faults", str(len(ledger.faults)), ledger.faults[-1] if ledger.faults else "")
        table.add_row("memory, files", "", "  ".join(f"{k} {v[-1]:.0f}" for k, v in self.samples.series.items() if v))
        return table

    def figures(self) -> dict[str, Any]:
        ledger = self.traffic.ledger
        with self.stack.database.snapshot() as session:
            epochs = session.scalars(select(func.count()).select_from(EpochRow)).one()
            outcomes = Counter(session.scalars(select(AttemptRow.outcome)).all())
            most = session.scalars(select(func.max(JobRow.attempt))).one()
        return {
            "minutes": round((time.monotonic() - self.began) / 60, 1),
            "kills": dict(self.killer.kills),
            "kills_total": self.killer.kills.total(),
            "jobs_acknowledged": len(ledger.jobs),
            "jobs": dict(ledger.endings),
            "epochs": epochs,
            "attempts": {str(outcome): count for outcome, count in outcomes.items()},
            "most_attempts_of_a_job": most,
            "datasets": dict(ledger.datasets),
            "predictions": {str(status): count for status, count in ledger.predictions.items()},
            "versions_that_served": len(ledger.answers),
            "slowest_recovery_seconds": {kind: round(value, 1) for kind, value in self.killer.slowest.items()},
            "peaks": self.samples.peaks(),
            "first_and_last_third": {name: [round(x, 1) for x in both] for name, both in self.samples.thirds().items()},
            "files_left_to_the_hourly_sweep": self.swept,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill every process of a kerasd at random while jobs flow.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--kills-a-minute", type=float, default=8.0)
    parser.add_argument("--topology", choices=["laptop", "cluster"], default="laptop")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if wanted.seed is None else wanted.seed
    console.print(
        f"seed {seed}, {wanted.topology}: the same again with make soak MINUTES={wanted.minutes:g} SEED={seed}"
    )
    with ExitStack() as exits:
        folder = Path(
            exits.enter_context(tempfile.TemporaryDirectory(prefix="kerasd-soak-", ignore_cleanup_errors=True))
        )
        soak = prepared(exits, folder, seed, wanted)
        faults = soak.run()
        figures = {"seed": seed, "topology": wanted.topology, **soak.figures(), "faults": len(faults)}
        show(figures, faults)
        if faults:
            kept = Path(tempfile.mkdtemp(prefix="kerasd-soak-failed-"))
            folder.rename(kept / "soak")
            console.print(f"database, store and logs are in {kept / 'soak'}")
    return 1 if faults else 0


def prepared(exits: ExitStack, folder: Path, seed: int, wanted: argparse.Namespace) -> Soak:
    """Everything started and ready."""
    postgres, environment = None, {}
    if wanted.topology == "cluster":
        postgres = exits.enter_context(running_postgres(crashes=True))
        environment["KERASD_DATABASE_URL"] = exits.enter_context(postgres.database(migrated=True))
    stack = Stack(folder, Laptop(), **environment)  # one API, so that each kill is one process
    exits.callback(stack.close)
    stack.start_all()
    for name in WORKERS[1:]:
        stack.start("worker", name=name)
    chance = random.Random(f"{seed}/kills")
    return Soak(
        stack,
        Killer(stack, chance, postgres),
        Traffic(stack.url, folder, seed, RUNNERS),
        Samples(stack),
        round(wanted.kills_a_minute * wanted.minutes),
        wanted.minutes * 60,
    )


def show(figures: dict[str, Any], faults: list[str]) -> None:
    table = Table(title="soak", box=None)
    for name, value in figures.items():
        text = "  ".join(f"{key}: {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name.replace("_", " "), text)
    console.print(table)
    for fault in faults:
        console.print(f"[red]{fault}", highlight=False, soft_wrap=True)
    console.print("[red]it failed" if faults else "[green]nothing was lost, doubled, wrongly ended or left over")
    console.out(json.dumps(figures), highlight=False)


if __name__ == "__main__":
    sys.exit(main())
