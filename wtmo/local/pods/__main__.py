"""Runs the pod server: ``python -m wtmo.local.pods --help``."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import logging
import os
import ssl
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from utils.config import ROOT, environment
from wtmo.errors import WtmoError
from wtmo.local.pods import engine, runtimes, volumes
from wtmo.local.pods.cluster import Cluster, Settings
from wtmo.local.pods.docker import DockerRuntime
from wtmo.local.pods.faults import ANNOTATION, Chance
from wtmo.local.pods.images import ImageTable
from wtmo.local.pods.limits import ControlGroups
from wtmo.local.pods.server import Server
from wtmo.local.pods.validation import SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from wtmo.local.pods.runtimes import Runtime

log = logging.getLogger("wtmo.local.pods")

_SHUTDOWN_TIMEOUT = 0.5


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m wtmo.local.pods", description="The local Kubernetes.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--state", type=Path, required=True, help="folder for pods, logs and records; made if missing")
    parser.add_argument("--cert", type=Path, required=True, help="PEM file: the server's certificate")
    parser.add_argument("--key", type=Path, required=True, help="PEM file: its private key")
    parser.add_argument("--token-file", type=Path, required=True, help="file with the bearer token that clients send")
    parser.add_argument(
        "--runtime",
        choices=("auto", "namespace", "process", "docker"),
        default="auto",
        help="how pods run; auto: namespaces where they work, else processes (default: auto)",
    )
    parser.add_argument("--docker-images", type=Path, help='JSON file {"image or repository": "image of the engine"}')
    parser.add_argument("--stand-in-image", metavar="IMAGE", help="image of the engine in which stand-ins run")
    parser.add_argument("--docker-network", default="host", metavar="NAME", help="of its containers (default: host)")
    parser.add_argument("--image-env", type=Path, help='JSON file {"NAME": "value"}: environment of every stand-in')
    parser.add_argument("--secrets", type=Path, help='JSON file {"secret": {"key": "value"}}')
    parser.add_argument("--startup-delay", type=float, default=0.0, help="seconds before a pod starts (default: 0)")
    parser.add_argument("--faults", metavar="SEED:RATE", help=f"give a share of the pods a fault ({ANNOTATION}) each")
    parser.add_argument("--back-off", type=float, default=10.0, help="seconds before the second restart (default: 10)")
    parser.add_argument("--removal-delay", type=float, default=2.0, help="seconds a deleted pod is seen (default: 2)")
    return parser.parse_args(argv)


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WtmoError(f"cannot read {what} {path}: {error}") from error


def _mapping(path: Path | None, what: str) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        value = json.loads(_text(path, what))
    except ValueError as error:
        raise WtmoError(f"{what} {path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise WtmoError(f"{what} {path} must hold a JSON object")
    return value


def _texts(path: Path | None, what: str) -> dict[str, str]:
    texts = _mapping(path, what)
    for name, value in texts.items():
        if not isinstance(value, str):
            raise WtmoError(f"{what} {path}: the value of {name} must be a text")
    return texts


def _secrets(path: Path | None) -> dict[str, dict[str, str]]:
    secrets = _mapping(path, "--secrets")
    for name, keys in secrets.items():
        if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
            raise WtmoError(f'--secrets {path}: {name} must be an object {{"key": "text"}}')
        for key in keys:
            if not SECRET_KEY.fullmatch(key) or key in {".", ".."}:
                raise WtmoError(f"--secrets {path}: {name} has the key {key!r}", fix="use A-Z a-z 0-9 - _ . only")
    return secrets


def _lock(state: Path) -> TextIO:
    """Hold the state folder for this process alone."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "lock").open("w")
    except OSError as error:
        raise WtmoError(f"cannot write to the state folder {state}: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise WtmoError(f"another pod server uses {state}", fix="stop it, or give another --state") from error
    return lock


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise WtmoError(f"cannot use the certificate {certificate} with the key {key}: {error}") from error
    return context


async def _application(options: argparse.Namespace, images: ImageTable) -> web.Application:
    token = _text(options.token_file, "--token-file").strip()
    if not token:
        raise WtmoError(f"--token-file {options.token_file} is empty")
    image_environment = _texts(options.image_env, "--image-env")
    secrets = _secrets(options.secrets)
    runtime = await _runtime(options, image_environment)
    # A server that reaches its engine over another network than the host's has not the engine's memory either.
    in_memory = volumes.SHARED_MEMORY.is_dir() and options.docker_network == "host"
    settings = Settings(
        image_environment=image_environment,
        secrets=secrets,
        startup_delay=options.startup_delay,
        removal_delay=options.removal_delay,
        back_off=options.back_off,
        memory=volumes.SHARED_MEMORY if in_memory else None,
        chance=Chance.parse(options.faults) if options.faults else Chance(),
    )
    cluster = Cluster(options.state, runtime, images, settings)
    log.info(
        "listening on https://%s:%s, runtime %s, state %s", options.host, options.port, runtime.name, options.state
    )
    return Server(cluster, token).application()


async def _runtime(options: argparse.Namespace, image_environment: dict[str, str]) -> Runtime:
    variables = environment()
    platform = variables.get(runtimes.PLATFORM_VARIABLE)
    if options.runtime == "docker":
        return await DockerRuntime.open(
            variables.get("DOCKER_HOST") or engine.DEFAULT_ADDRESS,
            options.state,
            images=_texts(options.docker_images, "--docker-images"),
            stand_in_image=options.stand_in_image,
            network=options.docker_network,
            platform=platform,
        )
    named = [Path(value) for value in image_environment.values() if value.startswith("/") and Path(value).exists()]
    with tempfile.TemporaryDirectory(dir=options.state) as trial:
        return await runtimes.choose(
            options.runtime,
            visible=[ROOT, Path(sys.prefix), Path(sys.base_prefix), *named],
            masked=[options.state],
            platform=platform,
            folder=Path(trial),
            groups=ControlGroups.find(options.state),
        )


def main(argv: Sequence[str] | None = None, images: ImageTable | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Returns the exit code, 2 for what the user can put right.

    :param argv: the command line. Default: this process's.
    :param images: which program stands for which image. Default: the project's table.
    """
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())  # instead of a thread for each process, as from 3.12 on
    options = _arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    options.state = options.state.absolute()
    try:
        with _lock(options.state):
            web.run_app(
                _application(options, images or ImageTable.of_project()),
                host=options.host,
                port=options.port,
                ssl_context=_tls(options.cert, options.key),
                access_log=None,
                print=lambda *_: None,
                shutdown_timeout=_SHUTDOWN_TIMEOUT,
                handler_cancellation=True,  # a client that leaves a followed log ends its reader
            )
    except WtmoError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
