"""Everything that /metrics tells, in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.monitoring.histogram import COARSE_SECONDS, IMAGES, cumulative
from service.monitoring.recorder import Key
from service.monitoring.snapshot import Snapshot

VERSION = ("model", "version")


class Exposition(Collector):
    """A snapshot as Prometheus's metric families."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from self._predictions()
        yield from self._engine()
        yield from self._drift()
        yield from self._control_plane()
        yield from self._database()

    def _predictions(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "kerasd_predict_requests",
            "Prediction requests answered; no model where none was found or asked for",
            labels=(*VERSION, "protocol", "status"),
        )
        seconds = _histogram(
            "kerasd_predict_seconds", "From a prediction request's headers to its answer", (*VERSION, "protocol")
        )
        for entry in self._snapshot.answered:
            labels = (*_version(entry.key), entry.protocol)
            for status, count in entry.statuses.items():
                requests.add_metric((*labels, str(status)), count)
            seconds.add_metric(labels, cumulative(entry.seconds, COARSE_SECONDS), entry.seconds.total)
        for (protocol, status), count in self._snapshot.unresolved.items():
            requests.add_metric(("", "", protocol, str(status)), count)
        errors = CounterMetricFamily(
            "kerasd_predict_errors", "Prediction requests answered with an error", labels=("protocol", "code")
        )
        for name, count in self._snapshot.errors.items():
            errors.add_metric(name, count)
        yield from (requests, seconds, errors)

    def _engine(self) -> Iterator[Metric]:
        images = _histogram("kerasd_batch_images", "Images that a network was run on at once", VERSION)
        seconds = _histogram("kerasd_run_seconds", "Runs of a network", VERSION)
        for key, batches, durations in self._snapshot.runs:
            images.add_metric(_version(key), cumulative(batches, IMAGES), batches.total)
            seconds.add_metric(_version(key), cumulative(durations, COARSE_SECONDS), durations.total)
        queued = _gauge("kerasd_queued_images", "Images that wait for a network", VERSION)
        for key, count in self._snapshot.queued.items():
            queued.add_metric(_version(key), count)
        loaded = _gauge("kerasd_loaded_bytes", "Memory that a loaded model takes, about", (*VERSION, "device"))
        for predictor in self._snapshot.loaded:
            loaded.add_metric((*_version((predictor.name, predictor.version)), predictor.device), predictor.bytes)
        yield from (images, seconds, queued, loaded)

    def _drift(self) -> Iterator[Metric]:
        scores = _gauge(
            "kerasd_drift_score",
            "Population stability index of live images, or labels predicted, against the training set",
            (*VERSION, "of"),
        )
        for key, drift in self._snapshot.drifts.items():
            for name, comparison in (("inputs", drift.inputs), ("labels", drift.labels)):
                if comparison is not None:
                    scores.add_metric((*_version(key), name), comparison.score)
        yield scores

    def _control_plane(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "kerasd_http_requests", "Requests other than predictions", labels=("method", "route", "status")
        )
        for (route, status), count in self._snapshot.statuses.items():
            requests.add_metric((*route, str(status)), count)
        seconds = _histogram(
            "kerasd_http_seconds", "From such a request to the beginning of its answer", ("method", "route")
        )
        for route, histogram in self._snapshot.routes.items():
            seconds.add_metric(route, cumulative(histogram, COARSE_SECONDS), histogram.total)
        yield from (requests, seconds)

    def _database(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "kerasd_database_up", "Whether the database answers", int(self._snapshot.counts is not None)
        )
        if self._snapshot.counts is None:
            return
        yield _counted("kerasd_jobs", "Jobs in each state", self._snapshot.counts.jobs)
        yield _counted("kerasd_datasets", "Datasets in each state", self._snapshot.counts.datasets)
        tasks = _gauge("kerasd_tasks", "Exports and batch predictions in each state", ("kind", "state"))
        for name, count in self._snapshot.counts.tasks.items():
            tasks.add_metric(name, count)
        best = _gauge("kerasd_best_version", "The version that predictions use", ("model",))
        changes = CounterMetricFamily(
            "kerasd_best_changes", "How often that, or the rules for it, changed", labels=("model",)
        )
        for model, (version, revision) in self._snapshot.counts.best.items():
            best.add_metric((model,), version)
            changes.add_metric((model,), revision - 1)
        yield from (tasks, best, changes)


def written(snapshot: Snapshot) -> bytes:
    """With the process's own figures: memory, processor time, open files, collections of garbage."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(Exposition(snapshot))
    return generate_latest(registry)


def _version(key: Key) -> tuple[str, str]:
    return key[0], str(key[1])


def _histogram(name: str, documentation: str, labels: Iterable[str]) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, documentation, labels=tuple(labels))


def _gauge(name: str, documentation: str, labels: Iterable[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=tuple(labels))


def _counted(name: str, documentation: str, counts: Mapping[str, int]) -> GaugeMetricFamily:
    family = _gauge(name, documentation, ("state",))
    for state, count in counts.items():
        family.add_metric((state,), count)
    return family
