"""Faults that are in no field of a job spec alone: fields that exclude each other, or do not fit the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.errors import Fault
from core.faults import escaped, steps_of
from core.jobspec import MOST_EPOCHS, JobSpec
from core.recipes import RECIPES
from core.recipes.transfer import TransferOptions, unfreeze_trouble, untrained_trouble
from core.splits import SplitCounts
from core.training_options import PiecewiseConstant, StepSchedule


def contradictions(spec: JobSpec, labels: Sequence[str], counts: SplitCounts) -> Iterator[Fault]:
    """All of them, each with its pointer. `spec` is as the client sent it."""
    yield from _architecture(spec)
    yield from _batches(spec, counts)
    yield from _devices(spec)
    yield from _training(spec, labels)
    yield from _phases(spec)


COUNTS = "how many images each class has"
"""follows from the dataset's fields, and is in doubt where they ask for what is not there"""


def rests_on(fault: Fault) -> set[str]:
    """The fields whose values decide whether a contradiction is one."""
    field = steps_of(fault.pointer)[0]
    return {field, *_OTHERS.get(fault.pointer, _OTHERS.get(f"/{field}", ()))}


_OTHERS = {
    "/architecture/frozen": ("phases",),
    "/architecture/input_size": ("dataset",),
    "/batch_size": ("dataset", COUNTS, "augmentation", "devices"),
    "/class_weights": ("dataset", COUNTS),
    "/dataset/color": ("architecture",),
    "/epochs": ("phases",),
    "/learning_rate_schedule/warmup_epochs": ("epochs", "phases"),
    "/phases": ("architecture",),
}


def _architecture(spec: JobSpec) -> Iterator[Fault]:
    options = spec.architecture
    for field, detail in RECIPES[options.name].faults(options):
        yield Fault(f"/architecture/{field}", detail)
    if isinstance(options, TransferOptions):
        points = [options.unfreeze_from, *(phase.unfreeze_from for phase in spec.planned_phases)]
        if trouble := untrained_trouble(options, points):
            yield Fault("/architecture/frozen", trouble)
    size = spec.dataset.image_size
    if options.asked_size is not None and size is not None and size != options.asked_size:
        detail = f"is {options.asked_size} where dataset.image_size is {size}; leave one of them out"
        yield Fault("/architecture/input_size", detail)
    color = RECIPES[options.name].color_of(options)
    if color is not None and spec.dataset.color not in (None, color):
        yield Fault("/dataset/color", f"{options.name} takes {color} images only, with these options")


def _batches(spec: JobSpec, counts: SplitCounts) -> Iterator[Fault]:
    """A batch larger than the data is a mistake; each device needs an image of every batch."""
    images, batch = images_of_an_epoch(spec, counts), batch_size_of(spec, counts)
    if batch > images:
        yield Fault("/batch_size", f"is larger than the {images} training images of an epoch", "batch_too_large")
        return
    smallest = images % batch or batch
    if spec.devices > smallest:
        detail = f"an epoch has a batch of {smallest} of {images} images, fewer than the {spec.devices} devices"
        yield Fault("/batch_size", detail)


def batch_size_of(spec: JobSpec, counts: SplitCounts) -> int:
    """The spec's; where it says nothing, no more than there are images."""
    if "batch_size" in spec.model_fields_set:
        return spec.batch_size
    return max(1, min(spec.batch_size, images_of_an_epoch(spec, counts)))


def images_of_an_epoch(spec: JobSpec, counts: SplitCounts) -> int:
    """How many images an epoch trains on: twice the training images where augmentation doubles them."""
    doubled = spec.augmentation is not None and spec.augmentation.mode == "doubled"
    return counts.train * 2 if doubled else counts.train


def _devices(spec: JobSpec) -> Iterator[Fault]:
    """What only one device can do: add sums in a fixed order, weigh images, clip what all have added."""
    if spec.devices == 1:
        return
    only_one = {
        "/deterministic": spec.deterministic,
        "/class_weights": spec.class_weights is not None,
        "/gradient_clipping": spec.gradient_clipping is not None,
    }
    reasons = {
        "/deterministic": "sums over several are not repeatable",
        "/class_weights": "several do not weigh images",
        "/gradient_clipping": "each would clip its own part",
    }
    for pointer, asked in only_one.items():
        if asked:
            yield Fault(pointer, f"needs devices to be 1: {reasons[pointer]}")
    if spec.precision == "float16":
        yield Fault("/precision", "float16 needs devices to be 1: each would scale its loss by itself")


def _training(spec: JobSpec, labels: Sequence[str]) -> Iterator[Fault]:
    clipping = spec.gradient_clipping
    if clipping is not None and sum(value is not None for value in vars(clipping).values()) != 1:
        yield Fault("/gradient_clipping", "must have exactly one of norm, global_norm and value")
    if isinstance(spec.class_weights, dict):
        for label in spec.class_weights:
            if label not in labels:
                yield Fault(f"/class_weights/{escaped(label)}", f"there is no class {label!r}", "unknown_class")
        if labels and all(spec.class_weights.get(label, 1.0) == 0 for label in labels):
            yield Fault("/class_weights", "leave nothing to learn: all classes count 0")
    yield from _schedule(spec)
    augmentation = spec.augmentation
    if augmentation is not None:
        if not augmentation.kinds:
            yield Fault("/augmentation", "must name at least one change, such as flip")
        if augmentation.mixup and augmentation.cutmix:
            yield Fault("/augmentation/cutmix", "cannot go with mixup: an image is mixed once")
        if augmentation.mode == "doubled" and (augmentation.mixup or augmentation.cutmix):
            yield Fault("/augmentation/mode", "doubled copies an image alone; mixup and cutmix need fresh")


def _schedule(spec: JobSpec) -> Iterator[Fault]:
    schedule = spec.learning_rate_schedule
    shortest = min(phase.epochs for phase in spec.planned_phases)
    if isinstance(schedule, StepSchedule) and schedule.warmup_epochs >= shortest:
        whole = "shortest phase" if spec.phases else "training"
        detail = f"is not shorter than the {whole} of {shortest} epoch{'s' if shortest > 1 else ''}"
        yield Fault("/learning_rate_schedule/warmup_epochs", detail)
    if isinstance(schedule, PiecewiseConstant):
        if len(schedule.boundaries) != len(schedule.factors):
            detail = f"must be as many as boundaries ({len(schedule.boundaries)})"
            yield Fault("/learning_rate_schedule/factors", detail)
        if any(later <= earlier for earlier, later in zip(schedule.boundaries, schedule.boundaries[1:], strict=False)):
            yield Fault("/learning_rate_schedule/boundaries", "must rise")


def _phases(spec: JobSpec) -> Iterator[Fault]:
    if spec.phases is None:
        return
    total = sum(phase.epochs for phase in spec.phases)
    if total > MOST_EPOCHS:
        yield Fault("/phases", f"have {total} epochs together; at most {MOST_EPOCHS} are allowed")
    if "epochs" in spec.model_fields_set and spec.epochs != total:
        yield Fault("/epochs", f"is {spec.epochs} where the phases have {total} epochs together; leave it out")
    options = spec.architecture
    for number, phase in enumerate(spec.phases):
        if phase.unfreeze_from is None:
            continue
        pointer = f"/phases/{number}/unfreeze_from"
        if not isinstance(options, TransferOptions):
            yield Fault(pointer, f"{options.name} has no base that was frozen")
        elif not options.frozen:
            yield Fault(pointer, "the base is not frozen")
        elif trouble := unfreeze_trouble(options.base, phase.unfreeze_from):
            yield Fault(pointer, trouble)
