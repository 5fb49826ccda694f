"""Makes what docker-compose.yml reads but git must not hold: ``python -m wtmo.local.compose_env`` (``make compose-env``).

================================ ====================================================================================
``.env``                         the platform's passwords and keys, and which profile starts. Readable by its owner only.
                                 What stands there is never changed; what is missing is added
``.compose/stand-ins.local.env`` for the profile ``local``: the stand-ins' addresses, development connections and
                                 variables. Written again each time
``.compose/secrets/``            the stand-ins' token and certificate. The containers' user has to read them, so the
                                 folder ``.compose`` keeps others out, not the files
================================ ====================================================================================
"""

from __future__ import annotations

import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config import ROOT
from wtmo.errors import WtmoError
from wtmo.local import airflow, generated, tls
from wtmo.local.state import State, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

ENV_FILE = ROOT / ".env"
STATE = State(ROOT / ".compose")
IMAGE_ROOT = Path("/opt/airflow")
TOKEN, CERTIFICATE, KEY, HOST_KEY = "service_token", "pods.crt", "pods.key", "sftp_host_key"


def _password() -> str:
    """32 random bytes in letters that need no quoting in a file, a URL, SQL or a shell."""
    return secrets.token_urlsafe(32)


def _signing_key() -> str:
    """As many bytes as SHA-512 gives, the least that RFC 7518 3.2 allows for HS512."""
    return secrets.token_urlsafe(64)


# Name, and what makes its value. All but the profile are secrets.
SETTINGS: dict[str, Callable[[], str]] = {
    "COMPOSE_PROFILES": lambda: "local",
    "POSTGRES_PASSWORD": _password,
    "CELERY_DB_PASSWORD": _password,
    "REDIS_PASSWORD": _password,
    "FERNET_KEY": tls.fernet_key,
    "JWT_SECRET": _signing_key,
    "API_SECRET_KEY": _password,
    "ADMIN_PASSWORD": _password,
}
# Said without a value it means something: no profile, the production shape alone.
MAY_BE_EMPTY = {"COMPOSE_PROFILES"}


@dataclass(frozen=True)
class Network(airflow.Ports):
    """The services on the compose network: each has the host name of its service in docker-compose.yml."""

    ui: int = 8080
    postgres: int = 5432
    bigquery: int = 9050
    gcs: int = 4443
    pods: int = 8443
    fivetran: int = 8001
    smtp: int = 1025
    slack: int = 8002
    google: int = 8003
    dataproc: int = 8004
    sftp: int = 8022

    def host(self, service: str) -> str:
        """The container that serves it: the small stand-ins share one."""
        shared = {"fivetran", "smtp", "slack", "google", "dataproc", "sftp"}
        return "services" if service in shared else {"ui": "api-server"}.get(service, service)


def complete(file: Path) -> list[str]:
    """Add to ``file`` the settings that it lacks, and let only its owner read it. Returns the names that were added."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise WtmoError(f"cannot read {file}: {error.strerror}") from error
    present = {
        match["name"]
        for match in re.finditer(
            r"^[ \t]*(?:export[ \t]+)?(?P<name>\w+)[ \t]*=[ \t]*(?P<value>.*)$", text, re.MULTILINE
        )
        if match["value"].strip(" \t\r'\"") or match["name"] in MAY_BE_EMPTY
    }
    missing = [name for name in SETTINGS if name not in present]
    if text and not text.endswith("\n"):
        text += "\n"
    # Where a name stands twice the later line counts: a value comes after an empty one.
    text += "".join(f"{name}={SETTINGS[name]()}\n" for name in missing)
    if missing:
        try:
            write_private(file, text)
        except OSError as error:
            raise WtmoError(f"cannot write {file}: {error.strerror}") from error
    file.chmod(0o600)
    return missing


def stand_ins(state: State) -> dict[str, str]:
    """The environment that sends Airflow's services in compose to the stand-ins; makes token and certificate if needed."""
    network = Network()
    folder = state.folder("secrets")
    state.root.chmod(0o700)
    settings = airflow.client_settings(state, network, airflow.stand_in_secrets(state, network))
    tls.ensure_certificate(folder)
    for name in (TOKEN, CERTIFICATE, KEY, HOST_KEY):
        (folder / name).chmod(0o644)
    # airflow-init makes it: git refuses a repository of another user.
    imports = generated.Origin(str(IMAGE_ROOT / "bundles" / "sample.git"), "main")
    return (
        settings
        | imports.settings
        | {
            "WTMO_GKE_CA_FILE": f"/run/secrets/{CERTIFICATE}",
            # Runs are started by hand: the sample's pings are of one day, not of today.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
        }
    )


def env_file(settings: dict[str, str]) -> str:
    """``settings`` as text in the form that compose reads, each value literal: no ``$`` in it is replaced.

    :raises WtmoError: when a value holds what that form can't carry.
    """
    for name, value in settings.items():
        if "'" in value or "\n" in value:
            raise WtmoError(f"{name} holds a quote or a line break, which an env file of compose cannot carry")
    return "".join(f"{name}='{value}'\n" for name, value in settings.items())


def main() -> int:
    """Make the files and say what was made, never a value."""
    try:
        added = complete(ENV_FILE)
        write_private(STATE.folder("") / "stand-ins.local.env", env_file(stand_ins(STATE)))
    except WtmoError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{ENV_FILE}: {'added ' + ', '.join(added) if added else 'complete, nothing was changed'}\n")
    sys.stdout.write(f"{STATE.root}: settings and secrets of the stand-ins (profile local)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
