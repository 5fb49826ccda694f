"""docker-compose.yml, Dockerfile and the image's settings: valid, closed to the network, without a default password.

What only reads the files runs everywhere. What asks compose itself needs its plugin, not an engine: CI has it from
``.ci/install-compose`` and fails without; on another machine without it those tests are skipped.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from utils.config import ROOT, environment
from wtmo.local import compose_env
from wtmo.local.state import State

if TYPE_CHECKING:
    from pathlib import Path

AIRFLOW = {"airflow-init", "api-server", "scheduler", "dag-processor", "triggerer", "worker"}
PRODUCTION = AIRFLOW | {"postgres", "redis"}
STAND_INS = {"bigquery", "gcs", "pods", "services"}
SECRETS = sorted(set(compose_env.SETTINGS) - compose_env.MAY_BE_EMPTY)
COMPOSE_FILE = ROOT / "docker-compose.yml"
SECONDS = 60


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """The services as written, anchors and merges resolved, variables not."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    assert set(found) == PRODUCTION | STAND_INS
    return found


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command line of compose: the docker command's plugin, or the plugin by itself."""
    candidates = [["docker", "compose"]]
    if folder := environment().get("DOCKER_CONFIG"):
        candidates.append([f"{folder}/cli-plugins/docker-compose"])
    for candidate in candidates:
        try:
            done = subprocess.run([*candidate, "version"], capture_output=True, timeout=SECONDS, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    reason = "docker compose is not installed: `export DOCKER_CONFIG=$(.ci/install-compose | tail -n 1)` brings it"
    if environment().get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the compose file and what `make compose-env` makes."""
    (tmp_path / "docker-compose.yml").write_text(COMPOSE_FILE.read_text())
    compose_env.complete(tmp_path / ".env")
    state = State(tmp_path / ".compose")
    state.folder("")
    (state.root / "stand-ins.local.env").write_text(compose_env.env_file(compose_env.stand_ins(state)))
    return tmp_path


def config(compose: list[str], project: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config` in ``project``, with nothing of this process's environment but what finds the program."""
    inherited = {k: v for k, v in environment().items() if k in {"PATH", "HOME", "DOCKER_CONFIG"}}
    return subprocess.run(
        [*compose, "--project-directory", str(project), *options, "config", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=project,
        env=inherited | variables,
    )


def resolved(compose: list[str], project: Path, **variables: str) -> dict[str, Any]:
    done = config(compose, project, **variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


# -- as compose reads it ---------------------------------------------------------------------------------------------


def test_without_a_profile_it_is_production_alone(compose: list[str], project: Path) -> None:
    found = resolved(compose, project, COMPOSE_PROFILES="")
    assert set(found) == PRODUCTION
    for name in AIRFLOW:
        assert not {n for n in found[name]["environment"] if n.startswith(("AIRFLOW_CONN_", "WTMO_GKE", "BIGQUERY_"))}


def test_the_profile_adds_the_stand_ins_and_tells_airflow_of_them(compose: list[str], project: Path) -> None:
    found = resolved(compose, project)
    assert set(found) == PRODUCTION | STAND_INS
    expected = compose_env.stand_ins(State(project / ".compose"))
    for name in AIRFLOW:
        got = found[name]["environment"]
        # Value for value: nothing of the keys and JSON was lost in the env file's quoting.
        assert {key: got[key].replace("$$", "$") for key in expected} == expected


def test_the_profile_alone_is_refused(compose: list[str], project: Path) -> None:
    done = config(compose, project, "--profile", "local", COMPOSE_PROFILES="")
    assert done.returncode != 0
    assert "stand-ins.none.env" in done.stderr


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_secret_is_an_error_that_says_what_to_type(
    compose: list[str], project: Path, secret: str, value: str | None
) -> None:
    lines = [x for x in (project / ".env").read_text().splitlines() if not x.startswith(f"{secret}=")]
    (project / ".env").write_text("\n".join([*lines, *([f"{secret}="] if value == "" else [])]) + "\n")
    done = config(compose, project)
    assert done.returncode != 0
    assert secret in done.stderr
    assert "run make compose-env" in done.stderr


def test_everything_published_is_on_loopback(compose: list[str], project: Path) -> None:
    found = resolved(compose, project)
    published = {name: port for name, service in found.items() for port in service.get("ports", [])}
    assert set(published) == {"api-server", "bigquery"}
    assert {port["host_ip"] for port in published.values()} == {"127.0.0.1"}


def test_the_worker_cannot_open_the_metadata_database(compose: list[str], project: Path) -> None:
    values = dict(line.split("=", 1) for line in (project / ".env").read_text().splitlines())
    worker = json.dumps(resolved(compose, project)["worker"])
    for secret in ("POSTGRES_PASSWORD", "FERNET_KEY", "JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD"):
        assert values[secret] not in worker, f"the worker gets {secret}"


def test_the_stand_ins_listen_where_airflow_looks_for_them(compose: list[str], project: Path) -> None:
    found = resolved(compose, project)
    network = compose_env.Network()
    for service in ("bigquery", "gcs", "pods", "fivetran", "smtp", "slack", "google", "dataproc", "sftp"):
        arguments = " ".join(found[network.host(service)]["command"]).replace("=", " ")
        option = "--port" if network.host(service) == service else f"--{service}-port"
        assert f"{option} {getattr(network, service)} " in f"{arguments} ", service
    assert found["api-server"]["ports"][0]["target"] == network.ui


# -- as written ------------------------------------------------------------------------------------------------------


def test_nothing_is_published_beyond_this_machine(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not str(port).startswith("127.0.0.1:")] == []


def test_no_service_has_more_rights_than_it_needs(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        taken = {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "user", "ulimits"}
        assert not taken & set(service), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not [v for v in service.get("volumes", []) if "docker.sock" in str(v)], name
        assert service["mem_limit"], name
        if name in AIRFLOW | STAND_INS:
            assert service["cap_drop"] == ["ALL"], name


def test_no_secret_has_a_default() -> None:
    text = COMPOSE_FILE.read_text()
    used = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*)([^}]*)\}", text)
    assert {name for name, _ in used} == set(SECRETS)
    assert {rest for _, rest in used} == {":?run make compose-env"}


def test_no_secret_is_written_out(services: dict[str, dict[str, Any]]) -> None:
    secret = re.compile(r"PASSWORD|SECRET|_KEY|REDISCLI_AUTH|SQL_ALCHEMY_CONN|BROKER_URL|RESULT_BACKEND")
    found = 0
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable):
                found += 1
                assert re.search(r"\$\{\w+:\?", str(value)), f"{name}: {variable} is written out"
    assert found > len(SECRETS)


def test_health_is_asked_cheaply(services: dict[str, dict[str, Any]]) -> None:
    """`airflow jobs check` imports Airflow each time: 3 CPU-s a check and service."""
    for name, service in services.items():
        if name != "airflow-init":
            assert "airflow jobs" not in " ".join(service["healthcheck"]["test"]), name


def test_dags_are_reloaded_but_not_changed(services: dict[str, dict[str, Any]]) -> None:
    for name in AIRFLOW:
        assert "./dags:/opt/airflow/dags:ro" in services[name]["volumes"], name


def test_one_image_runs_all_of_airflow(services: dict[str, dict[str, Any]]) -> None:
    assert len({services[name]["image"] for name in AIRFLOW}) == 1
    assert services["airflow-init"]["build"]["target"] == "production"
    assert len({services[name]["image"] for name in STAND_INS}) == 1
    assert services["bigquery"]["build"]["target"] == "local"
    assert not [s for s in services.values() if "pull_policy" in s]


# -- the image -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def test_the_base_image_has_the_locked_airflow(dockerfile: str) -> None:
    locked = re.search(r"^apache-airflow==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert locked
    bases = re.findall(r"^FROM (apache/\S+)", dockerfile, re.MULTILINE)
    assert bases == [f"apache/airflow:slim-{locked[1]}-python3.12"]


def test_the_image_installs_the_lock_by_its_hashes(dockerfile: str) -> None:
    assert re.search(r"uv pip sync --require-hashes .*requirements\.txt", dockerfile)
    assert "--compile-bytecode" in dockerfile
    assert "# syntax" not in dockerfile


def test_no_stage_ends_as_root(dockerfile: str) -> None:
    user = "50000:0"
    for line in dockerfile.splitlines():
        if line.startswith("FROM"):
            assert user == "50000:0"
        elif line.startswith("USER "):
            user = line.removeprefix("USER ").strip()
    assert user == "50000:0"


def test_production_does_not_carry_the_stand_ins_engine(dockerfile: str) -> None:
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)", dockerfile, re.MULTILINE | re.DOTALL))
    assert [name for name, text in stages.items() if "wtmo.local.bigquery" in text] == ["local"]
    assert list(stages)[-1] == "production", "the last stage is what a plain `docker build` makes"


def test_the_image_reads_the_settings_of_this_repository(dockerfile: str) -> None:
    root = str(compose_env.IMAGE_ROOT)
    assert f"WTMO_ROOT={root} " in dockerfile
    assert f"AIRFLOW_CONFIG={root}/config/airflow.cfg" in dockerfile
    assert f"PYTHONPATH={root}:{root}/config" in dockerfile


def test_nothing_but_the_named_folders_reaches_a_build() -> None:
    lines = [x for x in (ROOT / ".dockerignore").read_text().splitlines() if x and not x.startswith("#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert let_in == {"config", "dags", "operators", "plugins", "requirements.txt", "resources", "utils", "wtmo"}


def test_imported_dags_lie_where_every_service_finds_them(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """In a volume, owned by the services' user: git refuses a repository of another one."""
    folder = "/opt/airflow/bundles"
    for name in AIRFLOW:
        service = services[name]
        assert service["environment"]["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"] == folder, name
        assert f"bundles:{folder}" in service["volumes"], name
    assert compose_env.stand_ins(State(tmp_path))["WTMO_IMPORT_URL"].startswith(f"{folder}/")
    assert f"install --directory --owner=50000 --group=0 {folder}" in (ROOT / "Dockerfile").read_text()
