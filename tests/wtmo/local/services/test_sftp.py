"""The SFTP server: what a user writes, and that nobody gets out of their folder."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import asyncssh
import pytest

from wtmo.errors import WtmoError
from wtmo.local import tls
from wtmo.local.services.outbox import read_outbox
from wtmo.local.services.sftp import Sftp, serve_sftp
from wtmo.local.state import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.loopback

PASSWORD = "very-secret"


class Server:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "token").write_text(PASSWORD + "\n")
        (folder / "key").write_text(tls.ssh_host_key())
        (folder / "key").chmod(0o600)
        self.sftp = Sftp(folder / "sftp", folder / "outbox", folder / "token", folder / "key")

    def connect(
        self, *, user: str = "agency", password: str = PASSWORD, host_key: str | None = None
    ) -> asyncssh.misc._ACMWrapper[asyncssh.SSHClientConnection]:
        known = host_key or tls.ssh_public_key((self.folder / "key").read_text())
        return asyncssh.connect(
            "127.0.0.1",
            self.port,
            username=user,
            password=password,
            known_hosts=f"[127.0.0.1]:{self.port} {known}".encode(),
            client_keys=None,
            config=None,
        )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    acceptor = await serve_sftp(server.sftp, host="127.0.0.1", port=server.port)
    yield server
    acceptor.close()
    await acceptor.wait_closed()


async def test_a_written_file_is_in_the_users_folder_and_in_the_outbox(server: Server) -> None:
    async with server.connect() as connection, connection.start_sftp_client() as client:
        await client.makedirs("/data/prod")
        async with client.open("/data/prod/workers.csv", "w") as file:
            await file.write("email\nb@example.com\n")
        async with client.open("/data/prod/workers.csv") as file:
            assert await file.read() == "email\nb@example.com\n"
    assert (server.folder / "sftp" / "agency" / "data" / "prod" / "workers.csv").read_text().startswith("email")
    (message,) = read_outbox(server.folder / "outbox")
    assert (message.kind, message.sender, message.recipients, message.subject) == (
        "sftp",
        "agency",
        ("/data/prod/workers.csv",),
        "20 bytes",
    )


async def test_no_path_leads_out_of_the_folder(server: Server) -> None:
    async with server.connect() as connection, connection.start_sftp_client() as client:
        for path in ("/../../token", "../../token", "/../other/x"):
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await client.stat(path)
        assert await client.listdir("/..") == [".", ".."]


@pytest.mark.parametrize(
    ("user", "password"), [("agency", "wrong"), ("agency", ""), ("../outbox", PASSWORD), ("a/b", PASSWORD)]
)
async def test_who_has_no_password_or_no_name_is_refused(server: Server, user: str, password: str) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        async with server.connect(user=user, password=password):
            pass


async def test_another_host_key_is_seen(server: Server) -> None:
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        async with server.connect(host_key=tls.ssh_public_key(tls.ssh_host_key())):
            pass


async def test_there_is_no_shell(server: Server) -> None:
    async with server.connect() as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.run("id")


async def test_a_port_in_use_is_named(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(WtmoError, match="sftp cannot listen"):
        await serve_sftp(server.sftp, host="127.0.0.1", port=taken.getsockname()[1])
