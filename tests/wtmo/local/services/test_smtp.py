"""The SMTP sink, talked to by the standard library's client and Airflow's notifier."""

from __future__ import annotations

import asyncio
import base64
import smtplib
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import pytest

from wtmo.local.services.outbox import read_outbox
from wtmo.local.services.smtp import MAX_BYTES, serve_smtp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

pytestmark = pytest.mark.loopback


@asynccontextmanager
async def sink(outbox: Path) -> AsyncGenerator[int, None]:
    server = await serve_smtp(outbox, host="127.0.0.1", port=0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def talk(port: int, conversation: Callable[[smtplib.SMTP], Any]) -> Any:
    def connect() -> Any:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            return conversation(client)

    return await asyncio.to_thread(connect)


async def test_mail_is_kept_with_both_bodies(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = (
        "airflow@example.org",
        "team@example.org",
        "dag.täsk failed (" + "x" * 200 + ")",
    )
    mail.set_content("Größe: 3 €\n")
    mail.add_alternative("<b>Größe</b>\n", subtype="html")
    mail.add_attachment(b"\0\1", maintype="application", subtype="octet-stream", filename="core.bin")
    async with sink(tmp_path) as port:
        await talk(port, lambda client: client.send_message(mail, to_addrs=["team@example.org", "bcc@example.org"]))
    (message,) = read_outbox(tmp_path)
    assert (message.kind, message.sender) == ("mail", "airflow@example.org")
    assert message.recipients == ("team@example.org", "bcc@example.org")
    assert message.subject == mail["Subject"]
    assert message.text == "Größe: 3 €\n\n[attachment: core.bin]"
    assert message.html.strip() == "<b>Größe</b>"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"Subject: s\r\nContent-Type: text/plain; charset=no-such\r\n\r\nbody \xff", "body \ufffd"),
        (b"no headers at all", ""),
        (b"Subject: =?utf-8?b?broken\r\n\r\nbody", "body"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno parts", ""),
        (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!", ""),
    ],
)
async def test_malformed_mail_is_kept(tmp_path: Path, content: bytes, text: str) -> None:
    async with sink(tmp_path) as port:
        await talk(port, lambda client: client.sendmail("a@x", ["b@x"], content))
    (message,) = read_outbox(tmp_path)
    assert text in message.text


async def test_login_is_accepted_and_neither_kept_nor_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="")

    def conversation(client: smtplib.SMTP) -> None:
        client.login("user", "very-secret")
        client.sendmail("a@x", ["b@x"], b"Subject: s\r\n\r\nbody")

    async with sink(tmp_path) as port:
        await talk(port, conversation)
    (path,) = tmp_path.iterdir()
    for form in ("very-secret", base64.b64encode(b"\0user\0very-secret").decode()):
        assert form not in path.read_text()
        assert form not in caplog.text
    assert "smtp: mail to b@x" in caplog.text


async def test_mail_that_is_too_big_is_refused(tmp_path: Path) -> None:
    async with sink(tmp_path) as port:
        with pytest.raises(smtplib.SMTPResponseException):
            await talk(port, lambda client: client.sendmail("a@x", ["b@x"], b"x" * (MAX_BYTES + 1)))
    assert read_outbox(tmp_path) == []


async def test_sender_is_told_when_the_outbox_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file, not a folder")
    async with sink(tmp_path / "outbox") as port:
        with pytest.raises(smtplib.SMTPDataError, match="451"):
            await talk(port, lambda client: client.sendmail("a@x", ["b@x"], b"Subject: s\r\n\r\nbody"))
