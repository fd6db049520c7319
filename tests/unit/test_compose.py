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
OURS = ("migrate", "api", "worker")


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
        assert set(compose["services"]) == {"postgres", "valkey", *OURS}

    def test_every_setting_exists_and_takes_its_value(
        self, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in OURS:
            environment = environment_of(compose["services"][name])
            assert {key.removeprefix("KERASD_").lower() for key in environment} <= set(Settings.model_fields), name
            with monkeypatch.context() as patch:
                for key, value in environment.items():
                    patch.setenv(key, value)
                assert Settings().broker == "redis://valkey:6379/0"

    def test_our_services_are_unprivileged(self, compose: dict[str, Any]) -> None:
        for name in OURS:
            service = compose["services"][name]
            assert service["read_only"], name
            assert service["user"].split(":")[0] not in ("0", "root"), name
            assert service["cap_drop"] == ["ALL"], name

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

    def test_the_database_secret_is_one_that_the_settings_read(
        self, compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import core.settings

        secret = compose["services"]["api"]["secrets"][0]
        (tmp_path / secret).write_text("postgresql+psycopg://kerasd:x@postgres/kerasd")
        monkeypatch.setattr(core.settings, "SECRETS_DIR", tmp_path)
        monkeypatch.delenv("KERASD_DATABASE_URL", raising=False)
        assert Settings().database.startswith("postgresql+psycopg://kerasd:x@postgres")


class TestDockerfile:
    def test_the_api_has_no_tensorflow(self) -> None:
        text = (ROOT / "Dockerfile").read_text()
        api = text[text.index("AS api") : text.index("AS worker")]
        (lock,) = re.findall(r"-r (requirements/\S+)", api)
        assert not re.search(r"^(tensorflow|keras|tf2onnx)\b", (ROOT / lock).read_text(), re.MULTILINE)

    def test_targets_are_those_of_the_compose_file(self, compose: dict[str, Any]) -> None:
        text = (ROOT / "Dockerfile").read_text()
        targets = set(re.findall(r"^FROM .* AS (\w+)$", text, re.MULTILINE))
        assert {compose["services"][name]["build"]["target"] for name in OURS} <= targets

    def test_nothing_runs_as_root(self) -> None:
        text = (ROOT / "Dockerfile").read_text()
        for target in ("AS api", "AS worker"):
            assert "USER 10001:10001" in text[text.index(target) :].split("\nFROM")[0]
