"""From any JSON to a checked spec or to every fault in it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from variants import VARIANTS

from core.datasets import DatasetInfo
from core.errors import Fault, InvalidJobSpec
from core.faults import steps_of
from core.jobspec import JobSpec
from core.recipes import RECIPES
from core.splits import SplitCounts
from core.validation import CheckedSpec, check_spec

DIGITS: dict[str, Any] = {"dataset": "digits", "architecture": "lenet"}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["digits", "lenet", "adam"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("dataset", "architecture", "optimizer", "loss", "batch_size", "epochs", "phases", "tags", "seed", "objective")
bodies = json_values | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), json_values, max_size=6).map(
    lambda extra: {**DIGITS, **extra}
)

ARCHITECTURES: list[dict[str, Any]] = [
    *(document for document, _ in VARIANTS),
    *({"name": recipe.name, "preset": preset} for recipe in RECIPES.values() for preset in recipe.options.PRESETS),
]
PHASES = st.lists(st.integers(1, 100_000).map(lambda epochs: {"epochs": epochs}), min_size=1, max_size=3)
likely_specs = st.fixed_dictionaries(
    {
        "dataset": st.fixed_dictionaries(
            {"name": st.sampled_from(["digits", "mnist", "cifar10"])},
            optional={
                "image_size": st.sampled_from([32, 64, 224, 1024]),
                "train_limit": st.integers(10, 2000),
                "color": st.sampled_from(["rgb", "grayscale"]),
                "classes": st.sampled_from([[0, 1], [3, 2, 1]]),
            },
        ),
        "architecture": st.sampled_from(ARCHITECTURES),
    },
    optional={
        "phases": PHASES,
        "batch_size": st.integers(1, 100),
        "objective": st.sampled_from([{"metric": "val_loss"}, {"metric": "val_accuracy"}]),
    },
)


def faults_of(body: Any) -> dict[str, str]:
    """Pointer to code, of every fault in `body`."""
    with pytest.raises(InvalidJobSpec) as caught:
        check_spec(body)
    return {fault.pointer: fault.code for fault in caught.value.faults}


def found_faults(body: Any) -> tuple[Fault, ...]:
    """The faults of `body`, at least one; none when it passes."""
    try:
        check_spec(body)
    except InvalidJobSpec as error:
        return error.faults or (Fault("/no/fault", "an error without a fault"),)
    return ()


def spec_of(**fields: Any) -> CheckedSpec:
    return check_spec({**DIGITS, **fields})


class TestAnyJson:
    @settings(max_examples=300, deadline=None)
    @given(bodies)
    def test_it_passes_or_every_fault_points_into_it(self, body: Any) -> None:
        for fault in found_faults(body):
            here = body
            for step in steps_of(fault.pointer)[:-1]:
                here = here[int(step)] if isinstance(here, list) else here[step]

    @settings(max_examples=150, deadline=None)
    @given(likely_specs)
    def test_what_is_accepted_can_be_read_again_and_means_the_same(self, body: Any) -> None:
        if found_faults(body):
            return
        document = json.loads(json.dumps(check_spec(body).document))
        assert JobSpec.model_validate(document).model_dump(mode="json") == document
        assert check_spec(document).document == document

    @pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
    def test_so_can_every_architecture(self, architecture: dict[str, Any]) -> None:
        document = check_spec(
            {"dataset": {"name": "cifar10", "image_size": 224}, "architecture": architecture}
        ).document
        assert check_spec(json.loads(json.dumps(document))).document == document

    @pytest.mark.parametrize("body", [None, 3, "lenet", [], True])
    def test_what_is_no_object_is_told_so(self, body: Any) -> None:
        assert faults_of(body) == {"": "invalid"}


class TestFaults:
    def test_all_are_told_at_once_whatever_their_kind(self) -> None:
        assert faults_of(
            {
                "dataset": {"name": "digits", "image_size": 8, "nonsense": 1},
                "architecture": {"name": "lenet", "depth": 3},
                "optimizer": {"name": "adamant"},
                "epochs": "3",
                "precision": "float8",
            }
        ) == {
            "/dataset/nonsense": "unknown_field",
            "/dataset/image_size": "shape_mismatch",
            "/architecture/depth": "unknown_field",
            "/optimizer/name": "unknown_name",
            "/epochs": "invalid",
            "/precision": "invalid",
        }

    def test_a_kernel_larger_than_its_input_names_the_layer(self) -> None:
        with pytest.raises(InvalidJobSpec) as caught:
            spec_of(dataset={"name": "digits", "image_size": 8})
        assert "layer 'conv2'" in caught.value.faults[0].detail

    def test_each_device_needs_an_image_of_each_batch(self) -> None:
        assert faults_of({**DIGITS, "devices": 4, "batch_size": 3}) == {"/batch_size": "invalid"}
        limited = {"name": "digits", "train_limit": 66}
        assert faults_of({**DIGITS, "dataset": limited, "devices": 4}) == {"/batch_size": "invalid"}
        assert spec_of(dataset=limited, devices=2).spec.devices == 2

    def test_a_batch_size_that_nobody_asked_for_fits_the_data(self) -> None:
        assert spec_of(dataset={"name": "digits", "train_limit": 20}).spec.batch_size == 20

    def test_several_devices_do_not_repeat_exactly(self) -> None:
        assert faults_of({**DIGITS, "devices": 2, "deterministic": True}) == {"/deterministic": "invalid"}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("epochs", 0), ("epochs", 1.5), ("epochs", True), ("epochs", 10**30), ("epochs", float("nan")),
            ("batch_size", "32"), ("seed", -1), ("loss", "mse"), ("objective", {"metric": "test_accuracy"}),
            ("timeout_seconds", 0), ("timeout_seconds", float("inf")), ("max_attempts", 0), ("priority", 10**6),
            ("tags", {"a": 1}), ("tags", {"": "x"}), ("tags", {str(n): "x" for n in range(33)}), ("publish", "worst"),
            ("optimizer", {"name": "sgd", "learning_rate": 0}), ("optimizer", {"name": "sgd", "learning_rate": None}),
        ],
    )  # fmt: skip
    def test_a_value_out_of_range_is_told_at_its_field(self, field: str, value: Any) -> None:
        assert [pointer.split("/")[1] for pointer in faults_of({**DIGITS, field: value})] == [field]

    @pytest.mark.parametrize(
        ("spec", "pointer"),
        [
            ({"batch_size": 2000}, "/batch_size"),
            ({"dataset": {"name": "digits", "train_limit": 20}, "batch_size": 32}, "/batch_size"),
            ({"gradient_clipping": {}}, "/gradient_clipping"),
            ({"gradient_clipping": {"norm": 1.0, "value": 1.0}}, "/gradient_clipping"),
            ({"class_weights": {"ten": 1.0}}, "/class_weights/ten"),
            ({"class_weights": {str(digit): 0.0 for digit in range(10)}}, "/class_weights"),
            ({"augmentation": {}}, "/augmentation"),
            ({"augmentation": {"mixup": 1.0, "cutmix": 1.0}}, "/augmentation/cutmix"),
            ({"augmentation": {"mixup": 1.0, "mode": "doubled"}}, "/augmentation/mode"),
            ({"augmentation": {"rotation": 1.5}}, "/augmentation/rotation"),
            ({"learning_rate_schedule": "step"}, "/learning_rate_schedule"),
            ({"learning_rate_schedule": {"name": "piecewise", "boundaries": [1.0, 1.0], "factors": [0.1, 0.01]}},
             "/learning_rate_schedule/boundaries"),
            ({"learning_rate_schedule": {"name": "piecewise", "boundaries": [1.0], "factors": [0.1, 0.01]}},
             "/learning_rate_schedule/factors"),
            ({"loss": {"name": "focal", "gama": 2.0}}, "/loss/gama"),
            ({"loss": {"name": "poisson", "label_smoothing": 0.1}}, "/loss/label_smoothing"),
            ({"epochs": 3, "phases": [{"epochs": 2}, {"epochs": 2}]}, "/epochs"),
            ({"phases": []}, "/phases"),
            ({"phases": [{"epochs": 60_000}, {"epochs": 60_000}]}, "/phases"),
            ({"phases": [{"epochs": 2, "unfreeze_from": "block4_conv1"}]}, "/phases/0/unfreeze_from"),
            ({"architecture": {"name": "lenet", "dropout": 1.5}}, "/architecture/dropout"),
            ({"architecture": {"name": "lenet", "preset": "lenet6"}}, "/architecture/preset"),
            ({"architecture": {"name": "lenet", "input_size": 64}, "dataset": {"name": "digits", "image_size": 32}},
             "/architecture/input_size"),
            ({"architecture": {"name": "alexnet"}, "dataset": {"name": "digits", "image_size": 10}}, "/dataset/image_size"),
            ({"architecture": {"name": "transfer", "weights": "none"}}, "/architecture/frozen"),
            ({"architecture": {"name": "transfer", "unfreeze_from": "block9_conv1"}}, "/architecture/unfreeze_from"),
            ({"architecture": {"name": "transfer", "weights": {"job": "none"}}}, "/architecture/weights"),
            ({"architecture": "transfer", "dataset": {"name": "digits", "color": "grayscale"}}, "/dataset/color"),
            ({"architecture": "transfer", "dataset": {"name": "digits", "image_size": 16}}, "/dataset/image_size"),
            ({"devices": 2, "class_weights": "balanced"}, "/class_weights"),
            ({"dataset": "cifar10", "architecture": {"name": "vgg", "width": 2.0}}, "/architecture"),
            ({"class_weights": "balance"}, "/class_weights"),
            ({"class_weights": 3}, "/class_weights"),
            ({"class_weights": {"1": -1.0}}, "/class_weights/1"),
            ({"dataset": {"name": "digits", "classes": [1.5, 0]}}, "/dataset/classes/0"),
            ({"dataset": {"name": "digits", "classes": [-1, 0]}}, "/dataset/classes/0"),
            ({"architecture": {"name": "transfer", "weights": "imagnet"}}, "/architecture/weights"),
            ({"architecture": {"name": "transfer", "weights": {}}}, "/architecture/weights"),
            ({"architecture": {"name": "transfer", "weights": {"job": "x", "part": "netwrk"}}},
             "/architecture/weights/part"),
            ({"architecture": {"name": "transfer", "weights": {"model": "x", "version": 0}}},
             "/architecture/weights/version"),
            ({"architecture": {"name": "transfer", "weights": "none", "unfreeze_from": "block5_conv1"}},
             "/architecture/frozen"),
            ({"learning_rate_schedule": {"name": "cosine", "warmup_epochs": 2.0}, "epochs": 2},
             "/learning_rate_schedule/warmup_epochs"),
            ({"learning_rate_schedule": {"name": "constant", "warmup_epochs": 2.5},
              "phases": [{"epochs": 9}, {"epochs": 2}]}, "/learning_rate_schedule/warmup_epochs"),
            ({"batch_size": 2000, "augmentation": {"mode": "doubled", "flip": "sideways"}}, "/augmentation/flip"),
            ({"dataset": {"name": "digits", "classes": [0, 99]}, "batch_size": 200}, "/dataset/classes/1"),
            ({"dataset": {"name": "digits", "classes": "0", "train_limit": 3}}, "/dataset/classes"),
            ({"epochs": "50", "learning_rate_schedule": {"name": "cosine", "warmup_epochs": 30.0}}, "/epochs"),
            ({"architecture": {"name": "lenet", "padding": "sane"}, "dataset": {"name": "digits", "image_size": 9}},
             "/architecture/padding"),
            ({"optimizer": {"name": "schedule_free_adamw", "beta_1": 0.0}}, "/optimizer/beta_1"),
            ({"optimizer": {"name": "adafactor", "beta_2_decay": 0.1}}, "/optimizer/beta_2_decay"),
            ({"devices": 2, "gradient_clipping": {"norm": 1.0}}, "/gradient_clipping"),
            ({"devices": 2, "precision": "float16"}, "/precision"),
        ],
        ids=str,
    )  # fmt: skip
    def test_what_cannot_be_trained_is_told_before_it_is_queued(self, spec: dict[str, Any], pointer: str) -> None:
        assert [fault.pointer for fault in found_faults({**DIGITS, **spec})] == [pointer]

    @pytest.mark.parametrize("place", ["architecture", "phase"])
    def test_a_base_without_weights_may_be_unfrozen_from_its_first_layer(self, place: str) -> None:
        point = {"unfreeze_from": "block1_conv1"}
        architecture = {"name": "transfer", "weights": "none", **(point if place == "architecture" else {})}
        phases = [{"epochs": 1, **(point if place == "phase" else {})}]
        network = spec_of(architecture=architecture, phases=phases).network_in(0)
        assert network.trainable_parameters > 14_714_688  # the base's and the head's

    @pytest.mark.parametrize(
        ("dataset", "pointer", "code"),
        [
            ("imagenet", "/dataset", "unknown_dataset"),
            ({"name": "imagenet"}, "/dataset/name", "unknown_dataset"),
            ({"name": "digits", "classes": ["0", "ten"]}, "/dataset/classes/1", "unknown_class"),
            ({"name": "digits", "classes": [0, 10]}, "/dataset/classes/1", "unknown_class"),
            ({"name": "digits", "classes": ["0", 1, 0]}, "/dataset/classes/2", "duplicate_class"),
            ({"name": "digits", "validation_fraction": 0}, "/dataset/validation_fraction", "empty_split"),
            ({"name": "digits", "train_limit": 3}, "/dataset/train_limit", "empty_split"),
            ({"name": "mnist", "test_fraction": 0.2}, "/dataset/test_fraction", "invalid"),
            ({"name": "digits", "view": "My view"}, "/dataset/view", "invalid"),
        ],
    )
    def test_a_dataset_that_cannot_be_had_so_is_told(self, dataset: Any, pointer: str, code: str) -> None:
        assert faults_of({**DIGITS, "dataset": dataset})[pointer] == code


class TestNormalisedSpec:
    def test_it_is_a_fixed_point(self) -> None:
        first = spec_of(
            dataset={"name": "digits", "classes": [7, "1"]}, optimizer="sgd", objective={"metric": "val_loss"}
        )
        again = check_spec(json.loads(json.dumps(first.document)))
        assert again.document == first.document
        assert again.spec_hash == first.spec_hash

    def test_images_keep_their_size_where_the_network_takes_it(self) -> None:
        assert spec_of().input_shape == (32, 32, 1)
        assert spec_of(dataset="mnist").input_shape == (28, 28, 1)
        assert spec_of(dataset={"name": "cifar10", "color": "grayscale"}).input_shape == (32, 32, 1)

    def test_the_size_that_was_asked_for_wins_over_a_presets(self) -> None:
        preset = {"name": "vgg", "preset": "vgg16"}
        assert spec_of(dataset="cifar10", architecture=preset).input_shape == (224, 224, 3)
        checked = spec_of(dataset={"name": "cifar10", "image_size": 64}, architecture=preset)
        assert checked.input_shape == (64, 64, 3)
        assert checked.spec.architecture.input_size == 64
        asked = {**preset, "input_size": 224}
        body = {"dataset": {"name": "cifar10", "image_size": 64}, "architecture": asked}
        assert faults_of(body) == {"/architecture/input_size": "invalid"}

    def test_classes_keep_the_datasets_order(self) -> None:
        assert spec_of(dataset={"name": "cifar100", "classes": ["bear", 0]}).labels == ("apple", "bear")

    def test_the_notebooks_data_and_network(self) -> None:
        checked = spec_of(dataset={"name": "cifar100", "classes": list(range(20)), "split": "last"})
        counts = checked.counts
        assert (counts.train, counts.validation, counts.test) == (8_500, 1_500, 2_000)
        assert checked.network.parameters == checked.network.trainable_parameters == 83_976
        assert checked.network.output_shape == (20,)


class TestOwnSplits:
    """A set that brings its validation and test images."""

    INFO = DatasetInfo("photos", ("cat", "dog"), None, 3, (80, 90), (10, 11), (8, 9))

    def checked(self, **dataset: Any) -> CheckedSpec:
        return check_spec({"dataset": {"name": "photos", **dataset}, "architecture": "lenet"}, lambda name: self.INFO)

    def test_nothing_is_held_out_of_the_training_images(self) -> None:
        checked = self.checked()
        assert checked.counts == SplitCounts(170, 17, 21)
        assert checked.spec.dataset.validation_fraction is None
        assert checked.spec.dataset.test_fraction is None
        assert checked.view == "photos"

    def test_the_normalised_spec_is_a_fixed_point(self) -> None:
        first = self.checked(classes=["dog", "cat"], seed=3)
        again = check_spec(json.loads(json.dumps(first.document)), lambda name: self.INFO)
        assert again.document == first.document
        assert again.view == first.view == "photos"  # neither the seed nor the order asked for changes anything

    def test_a_fraction_that_is_asked_for_is_refused(self) -> None:
        with pytest.raises(InvalidJobSpec) as caught:
            self.checked(validation_fraction=0.15, test_fraction=0.2)
        assert [fault.pointer for fault in caught.value.faults] == [
            "/dataset/validation_fraction",
            "/dataset/test_fraction",
        ]

    def test_images_larger_than_any_network_takes_are_brought_to_the_architectures_size(self) -> None:
        large = replace(self.INFO, size=(2048, 2048))
        checked = check_spec({"dataset": "photos", "architecture": "lenet"}, lambda name: large)
        assert checked.input_shape == (32, 32, 3)
        assert check_spec(checked.document, lambda name: large).document == checked.document

    def test_mixed_sizes_are_brought_to_the_architectures(self) -> None:
        assert self.checked().input_shape == (32, 32, 3)
        assert self.checked(image_size=48, color="grayscale").input_shape == (48, 48, 1)


class TestViews:
    def test_labels_and_split_make_a_view(self) -> None:
        views = {
            spec_of(dataset={"name": "digits", **fields}).view
            for fields in ({}, {"seed": 1}, {"split": "last"}, {"classes": ["0", "1"]}, {"validation_fraction": 0.2})
        }
        assert len(views) == 5
        assert "digits" in views

    @pytest.mark.parametrize("fields", [{"train_limit": 100}, {"image_size": 40}, {"color": "rgb"}])
    def test_what_only_changes_how_a_network_learns_does_not(self, fields: dict[str, Any]) -> None:
        assert spec_of(dataset={"name": "digits", **fields}).view == "digits"

    def test_a_clients_name_is_taken(self) -> None:
        assert spec_of(dataset={"name": "digits", "classes": [0, 1], "view": "binary"}).view == "binary"


class TestSpecHash:
    def test_short_and_long_forms_are_the_same_run(self) -> None:
        long = {
            "architecture": {"name": "lenet"},
            "optimizer": {"learning_rate": 0.001, "name": "adam"},
            "dataset": {"name": "digits"},
        }
        assert check_spec(long).spec_hash == spec_of().spec_hash

    @pytest.mark.parametrize(
        "fields", [{"tags": {"a": "b"}}, {"priority": 3}, {"timeout_seconds": 9}, {"max_attempts": 9}]
    )
    def test_how_a_job_is_run_does_not_matter(self, fields: dict[str, Any]) -> None:
        assert spec_of(**fields).spec_hash == spec_of().spec_hash

    @pytest.mark.parametrize(
        "fields",
        [
            {"seed": 1},
            {"epochs": 3},
            {"publish": "last"},
            {"loss": "poisson"},
            {"dataset": {"name": "digits", "seed": 1}},
        ],
    )
    def test_what_it_computes_does(self, fields: dict[str, Any]) -> None:
        assert spec_of(**fields).spec_hash != spec_of().spec_hash


class TestViewName:
    def test_the_whole_set_has_its_own_name(self) -> None:
        assert spec_of().view == "digits"
        assert (
            spec_of(dataset={"name": "digits", "image_size": 40, "train_limit": 500, "color": "rgb"}).view == "digits"
        )

    @pytest.mark.parametrize(
        "part", [{"classes": ["1", "7"]}, {"seed": 3}, {"validation_fraction": 0.2}, {"split": "last"}]
    )
    def test_other_labels_or_another_split_are_another_view(self, part: dict[str, Any]) -> None:
        view = spec_of(dataset={"name": "digits", **part}).view
        assert view.startswith("digits@")
        assert len(view) == len("digits@") + 8


class TestWarnings:
    """Each has a code, what was seen in words and numbers, and advice."""

    def test_a_learning_rate_that_rarely_works_is_warned_of(self) -> None:
        (warning,) = spec_of(optimizer={"name": "adam", "learning_rate": 1.0}).warnings
        assert warning == {
            "code": "learning_rate_too_high",
            "detail": "adam rarely learns with a rate of 1; usual are 1e-4 to 0.05",
            "numbers": {"learning_rate": 1.0, "usual": 0.05},
            "advice": "usual are 1e-4 to 0.05",
        }
        assert spec_of().warnings == ()

    def test_phases_have_rates_of_their_own(self) -> None:
        phases = [{"epochs": 1}, {"epochs": 1, "learning_rate": 0.5}]
        (warning,) = spec_of(phases=phases).warnings
        assert "a rate of 0.5 in phase 2" in warning["detail"]
        tame = [{"epochs": 1, "learning_rate": 0.01}]
        assert spec_of(phases=tame, optimizer={"name": "adam", "learning_rate": 9.0}).warnings == ()

    def test_a_change_of_rate_after_the_end_is_warned_of(self) -> None:
        schedule = {"name": "piecewise", "boundaries": [1.0, 500.0], "factors": [0.1, 0.01]}
        (warning,) = spec_of(learning_rate_schedule=schedule, epochs=2).warnings
        assert (warning["code"], warning["numbers"]) == ("boundary_never_reached", {"boundary": 500.0, "epochs": 2})
        assert spec_of(learning_rate_schedule=schedule, epochs=501).warnings == ()
