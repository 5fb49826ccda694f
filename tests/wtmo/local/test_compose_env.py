"""The files that compose reads: made once, private, never changed under a running platform."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.fernet import Fernet

from wtmo.errors import WtmoError
from wtmo.local import compose_env
from wtmo.local.state import State

if TYPE_CHECKING:
    from pathlib import Path


def values(file: Path) -> dict[str, str]:
    """What compose takes from the file: of a name that stands twice, the later line."""
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_everything_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert compose_env.complete(file) == list(compose_env.SETTINGS)
    first = file.read_text()
    assert mode(file) == 0o600
    assert compose_env.complete(file) == []
    assert file.read_text() == first


def test_secrets_are_long_and_all_different(tmp_path: Path) -> None:
    compose_env.complete(tmp_path / ".env")
    made = values(tmp_path / ".env")
    secrets = [made[name] for name in compose_env.SETTINGS if name not in compose_env.MAY_BE_EMPTY]
    assert len(set(secrets)) == len(secrets)
    assert min(map(len, secrets)) >= 43
    assert len(made["JWT_SECRET"]) >= 64
    Fernet(made["FERNET_KEY"])


def test_what_stands_there_is_kept(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    mine = "# mine\nexport POSTGRES_PASSWORD = 'old'\nCOMPOSE_PROFILES=\nPORT=8081"
    file.write_text(mine)
    file.chmod(0o644)
    added = compose_env.complete(file)
    assert file.read_text().startswith(f"{mine}\n")
    assert not {"POSTGRES_PASSWORD", "COMPOSE_PROFILES"} & set(added)
    assert mode(file) == 0o600


@pytest.mark.parametrize("empty", ["ADMIN_PASSWORD=", "ADMIN_PASSWORD=  ", "ADMIN_PASSWORD=''", 'ADMIN_PASSWORD=""\r'])
def test_an_empty_secret_is_a_missing_one(tmp_path: Path, empty: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"{empty}\n")
    assert "ADMIN_PASSWORD" in compose_env.complete(file)
    assert values(file)["ADMIN_PASSWORD"].strip("'\" ")


def test_a_comment_is_not_a_setting(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("#JWT_SECRET=abc\n")
    assert "JWT_SECRET" in compose_env.complete(file)


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(WtmoError, match=r"cannot read .*\.env"):
        compose_env.complete(tmp_path / ".env")


def test_the_stand_ins_are_named_by_their_services(tmp_path: Path) -> None:
    settings = compose_env.stand_ins(State(tmp_path / "compose"))
    assert settings["BIGQUERY_EMULATOR_HOST"] == "http://bigquery:9050"
    assert settings["WTMO_GKE_ENDPOINT"] == "pods:8443"
    assert settings["WTMO_GKE_CA_FILE"] == "/run/secrets/pods.crt"
    assert json.loads(settings["AIRFLOW_CONN_SMTP_DEFAULT"])["host"] == "services"
    assert "127.0.0.1" not in json.dumps(settings)
    assert (settings["WTMO_IMPORT_URL"], settings["WTMO_IMPORT_REF"]) == ("/opt/airflow/bundles/sample.git", "main")


def test_the_service_account_asks_the_stand_in_for_its_token(tmp_path: Path) -> None:
    settings = compose_env.stand_ins(State(tmp_path / "compose"))
    key = json.loads(settings["AIRFLOW_CONN_GOOGLE_CLOUD_AIRFLOW_GKE"])["extra"]["keyfile_dict"]
    assert json.loads(key)["token_uri"] == "http://services:8003/token"


def test_the_folder_keeps_others_out_and_the_containers_user_can_read_the_files(tmp_path: Path) -> None:
    root = tmp_path / "compose"
    compose_env.stand_ins(State(root))
    assert mode(root) == 0o700
    for name in (compose_env.TOKEN, compose_env.CERTIFICATE, compose_env.KEY):
        assert mode(root / "secrets" / name) == 0o644


def test_the_certificate_is_valid_for_the_compose_host(tmp_path: Path) -> None:
    compose_env.stand_ins(State(tmp_path / "compose"))
    certificate = x509.load_pem_x509_certificate((tmp_path / "compose" / "secrets" / "pods.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"pods", "localhost"} <= set(names.get_values_for_type(x509.DNSName))


def test_stand_ins_keep_their_secrets(tmp_path: Path) -> None:
    state = State(tmp_path / "compose")
    assert compose_env.stand_ins(state) == compose_env.stand_ins(state)


@pytest.mark.parametrize("value", ["it's", "two\nlines"])
def test_what_an_env_file_cannot_carry_is_refused(value: str) -> None:
    with pytest.raises(WtmoError, match="NAME holds a quote or a line break"):
        compose_env.env_file({"NAME": value})
