"""The compose file and the Dockerfile against the compose schema, the settings and the locks. Needs no engine."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
OURS = ("migrate", "api", "worker-cpu", "worker-gpu")
SERVERS = ("postgres", "valkey", "object-store")
ONCE = ("object-store-volume", "migrate")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def environment_of(service: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in service.get("environment", {}).items() if name.startswith("KERASD_")}


class TestCompose:
    def test_it_is_valid_by_the_compose_specification(self, compose: dict[str, Any]) -> None:
        schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
        jsonschema.validate(compose, schema)

    def test_the_schema_refuses_what_is_wrong(self, compose: dict[str, Any]) -> None:
        schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**compose, "services": {"api": {"imagine": "x"}}}, schema)

    def test_it_has_the_parts_of_a_cluster(self, compose: dict[str, Any]) -> None:
        assert set(compose["services"]) == {*SERVERS, *ONCE, *OURS}
        assert compose["services"]["api"]["deploy"]["replicas"] > 1

    def test_the_graphics_cards_are_reserved_for_those_who_ask(self, compose: dict[str, Any]) -> None:
        worker = compose["services"]["worker-gpu"]
        assert worker["profiles"] == ["gpu"]
        (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])

    def test_each_worker_serves_its_own_queue(self, compose: dict[str, Any]) -> None:
        for kind in ("cpu", "gpu"):
            assert environment_of(compose["services"][f"worker-{kind}"])["KERASD_QUEUES"] == kind

    def test_whatever_answers_has_a_health_check_and_is_waited_for(self, compose: dict[str, Any]) -> None:
        for name in (*SERVERS, "api"):
            assert compose["services"][name]["healthcheck"]["test"][0] == "CMD", name
        for service in compose["services"].values():
            for other, wait in service.get("depends_on", {}).items():
                assert wait["condition"] == f"service_{'completed_successfully' if other in ONCE else 'healthy'}"

    def test_every_setting_exists_and_takes_its_value(
        self, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in OURS:
            environment = environment_of(compose["services"][name])
            assert {key.removeprefix("KERASD_").lower() for key in environment} <= set(Settings.model_fields), name
            with monkeypatch.context() as patch:
                for key, value in environment.items():
                    patch.setenv(key, value)
                settings = Settings()
                assert settings.broker == "redis://valkey:6379/0"
                assert settings.artifacts == "s3://kerasd/artifacts"
                assert settings.s3_endpoint == "http://object-store:7070"

    def test_every_service_is_unprivileged(self, compose: dict[str, Any]) -> None:
        for name, service in compose["services"].items():
            assert service["read_only"], name
            assert service["user"].split(":")[0] not in ("0", "root"), name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name

    def test_no_secret_stands_in_the_file(self, compose: dict[str, Any]) -> None:
        for name, service in compose["services"].items():
            for key, value in service.get("environment", {}).items():
                assert not re.search("PASSWORD|SECRET|TOKEN", key) or value.startswith("/run/secrets/"), (name, key)
                assert not re.search("//[^/]*:[^/]*@", value), (name, key)

    def test_names_lead_somewhere(self, compose: dict[str, Any]) -> None:
        for service in compose["services"].values():
            assert set(service.get("depends_on", {})) <= set(compose["services"])
            assert set(service.get("secrets", [])) <= set(compose["secrets"])
            volumes = {volume.split(":")[0] for volume in service.get("volumes", [])}
            assert volumes <= set(compose["volumes"])

    def test_commands_exist(self, compose: dict[str, Any]) -> None:
        from cli.main import COMMANDS

        commands = {command[0] for command in COMMANDS}
        assert {compose["services"][name]["command"][1] for name in OURS} <= commands

    def test_our_secrets_are_those_that_the_settings_read(
        self, compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import core.settings

        for name in OURS:
            secrets = compose["services"][name]["secrets"]
            fields = [secret.removeprefix("kerasd_") for secret in secrets]
            assert set(fields) == {"database_url", "s3_access_key_id", "s3_secret_access_key"}
            for secret, field in zip(secrets, fields, strict=True):
                (tmp_path / secret).write_text(f"of {field}")
                monkeypatch.delenv(f"KERASD_{field.upper()}", raising=False)
        monkeypatch.setattr(core.settings, "SECRETS_DIR", tmp_path)
        settings = Settings()
        assert (settings.database, settings.s3_access_key_id) == ("of database_url", "of s3_access_key_id")
        assert settings.s3_secret_access_key is not None
        assert settings.s3_secret_access_key.get_secret_value() == "of s3_secret_access_key"


@pytest.fixture(scope="module")
def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile by its name."""
    text = (ROOT / "Dockerfile").read_text()
    return dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL))


class TestDockerfile:
    @pytest.mark.parametrize(
        ("stage", "lock", "tensorflow"),
        [("api", "base", None), ("worker-cpu", "cpu", "tensorflow-cpu"), ("worker-gpu", "gpu", "tensorflow")],
    )
    def test_each_image_has_the_tensorflow_that_it_needs(
        self, stages: dict[str, str], stage: str, lock: str, tensorflow: str | None
    ) -> None:
        assert re.findall(r"--require-hashes -r /(requirements/\S+)", stages[stage]) == [f"requirements/{lock}.lock"]
        pins = (ROOT / f"requirements/{lock}.lock").read_text()
        found = re.findall(r"^(tensorflow(?:-cpu)?)(?:\[[^\]]*\])?==", pins, re.MULTILINE)
        assert found == ([tensorflow] if tensorflow else [])

    def test_targets_are_those_of_the_compose_file(self, compose: dict[str, Any], stages: dict[str, str]) -> None:
        wanted = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
        assert wanted == set(stages) - {"base", "package"}

    def test_nothing_runs_as_root(self, stages: dict[str, str]) -> None:
        for name in set(stages) - {"base", "package"}:
            assert "\nUSER 10001:10001\n" in stages[name], name

    def test_what_it_copies_is_there(self) -> None:
        for source in re.findall(r"^COPY (\S+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
            assert (ROOT / source).exists(), source
