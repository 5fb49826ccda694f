"""An SFTP server: each user has a folder of its own, and what is written there shows in the outbox.

Any user name of letters, digits, ``_`` and ``-`` with the password of the token file. The folder is that user's root: no path
leads out of it. Nothing but SFTP is served: no shell, no forwarding. The host key is one of this machine's.
"""

from __future__ import annotations

import hmac
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncssh

from wtmo.local.services.outbox import write_message
from wtmo.local.services.web import cannot_listen

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_USER = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class Sftp:
    """What is served.

    :param folder: holds one folder a user.
    :param outbox: the folder that messages about written files go to.
    :param password_file: its content is every user's password; read at each log-in.
    :param host_key: file of the private key, in the form of OpenSSH.
    """

    folder: Path
    outbox: Path
    password_file: Path
    host_key: Path


class _Login(asyncssh.SSHServer):
    def __init__(self, sftp: Sftp) -> None:
        self._sftp = sftp

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        wanted = self._sftp.password_file.read_text().strip()
        right = hmac.compare_digest(password.encode(), wanted.encode())
        return right and _USER.fullmatch(username) is not None


class _Files(asyncssh.SFTPServer):
    """A user's files."""

    def __init__(self, sftp: Sftp, channel: Any) -> None:
        self._sftp = sftp
        self._user: str = channel.get_connection().get_extra_info("username")
        self._written: dict[int, tuple[Any, str]] = {}
        root = sftp.folder / self._user
        root.mkdir(parents=True, exist_ok=True)
        super().__init__(channel, chroot=str(root).encode())

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Open a file, and remember one that is written."""
        file = super().open(path, pflags, attrs)
        if pflags & asyncssh.FXF_WRITE:
            self._written[id(file)] = (file, path.decode(errors="replace"))
        return file

    def close(self, file_obj: object) -> None:
        """Close a file; tell of one that was written."""
        super().close(file_obj)
        if id(file_obj) not in self._written:
            return
        _, path = self._written.pop(id(file_obj))
        size = (self._sftp.folder / self._user / path.lstrip("/")).stat().st_size
        write_message(
            self._sftp.outbox, kind="sftp", sender=self._user, recipients=[path], subject=f"{size} bytes", text=""
        )
        log.info("sftp: %s wrote %s, %d bytes", self._user, path, size)


async def serve_sftp(sftp: Sftp, *, host: str, port: int) -> asyncssh.SSHAcceptor:
    """Listen. The acceptor's ``close()`` ends it.

    :raises WtmoError: where the port is taken.
    """
    try:
        return await asyncssh.listen(
            host,
            port,
            server_factory=lambda: _Login(sftp),
            server_host_keys=[str(sftp.host_key)],
            sftp_factory=lambda channel: _Files(sftp, channel),
            allow_scp=False,
        )
    except OSError as error:
        raise cannot_listen("sftp", host, port, error) from error
