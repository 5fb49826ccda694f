"""SMTP sink: takes every mail and puts it into the outbox instead of sending it.

Any login is accepted and none is kept. Mails of up to 10 MB; attachments are named in the text, not stored.
"""

from __future__ import annotations

import asyncio
import logging
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from wtmo.local.services.outbox import write_message
from wtmo.local.services.web import cannot_listen

if TYPE_CHECKING:
    from email.message import EmailMessage, MIMEPart
    from pathlib import Path

log = logging.getLogger(__name__)

MAX_BYTES = 10_000_000


async def serve_smtp(outbox: Path, *, host: str, port: int) -> asyncio.Server:
    """Listen for mail.

    :param outbox: the folder that the messages go to.
    :raises WtmoError: where the port is taken.
    """

    logging.getLogger("mail.log").setLevel(logging.WARNING)  # at INFO aiosmtpd logs every line, passwords too

    def protocol() -> SMTP:
        return SMTP(
            _Sink(outbox),
            hostname="localhost",
            data_size_limit=MAX_BYTES,
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=_accept,
        )

    try:
        return await asyncio.get_running_loop().create_server(protocol, host, port)
    except OSError as error:
        raise cannot_listen("smtp", host, port, error) from error


def _accept(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, _data: object) -> AuthResult:
    return AuthResult(success=True, auth_data=LoginPassword(b"", b""))


class _Sink:
    """The hooks that aiosmtpd calls."""

    def __init__(self, outbox: Path) -> None:
        self.outbox = outbox

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Store one mail; the sender is told of success only when it is on disk."""
        content = envelope.content or b""
        mail = message_from_bytes(content.encode() if isinstance(content, str) else content, policy=policy.default)
        subject = str(mail.get("Subject", ""))
        try:
            path = write_message(
                self.outbox,
                kind="mail",
                sender=envelope.mail_from or "",
                recipients=list(envelope.rcpt_tos),
                subject=subject,
                text=_body(mail, "plain") + _attachments(mail),
                html=_body(mail, "html"),
            )
        except OSError as error:
            log.error("smtp: a mail was refused, the outbox cannot be written: %s", error)
            return f"451 the outbox cannot be written: {error.strerror}"
        log.info("smtp: mail to %s: %r (%s)", ", ".join(envelope.rcpt_tos), subject, path.name)
        return "250 OK"


def _body(mail: EmailMessage, subtype: str) -> str:
    part = mail.get_body(preferencelist=(subtype,))
    return _decoded(part) if part else ""


def _decoded(part: MIMEPart) -> str:
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, ValueError):  # an unknown charset or a broken encoding: show what there is
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)


def _attachments(mail: EmailMessage) -> str:
    names = [part.get_filename() or part.get_content_type() for part in mail.iter_attachments()] if _mixed(mail) else []
    return "".join(f"\n[attachment: {name}]" for name in names)


def _mixed(mail: EmailMessage) -> bool:
    return mail.get_content_type() == "multipart/mixed"
