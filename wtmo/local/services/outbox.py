"""The outbox: what would have been sent, one JSON file a message.

A file has the keys ``kind`` (``mail``, ``slack``, or what else took it in: ``sftp``, ``jira``, ...), ``date`` (when that was,
ISO 8601, UTC), ``from``, ``to`` (a list), ``subject``, ``text`` and ``html``. Its name starts with the date, so that a listing
is in order.
"""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Message:
    """One message that would have been sent.

    :param path: the file it was read from.
    :param kind: ``mail``, ``slack``, ``sftp``, ``dataproc``, ``dbt``, ``jira``, ``netlify`` or ``bugzilla``.
    :param date: when the sink took it in, UTC.
    :param sender: the address or user name it came from; may be empty.
    :param recipients: addresses, or the one Slack channel.
    :param subject: a mail's subject; of a Slack message what was done beside posting, mostly empty.
    :param text: the body as plain text, decoded.
    :param html: the body as HTML, decoded; empty where there is none.
    """

    path: Path
    kind: str
    date: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str
    html: str


def write_message(
    folder: Path, *, kind: str, sender: str, recipients: list[str], subject: str, text: str, html: str = ""
) -> Path:
    """Put one message into the outbox, whole or not at all, and give its file."""
    date = datetime.now(UTC)
    content = {
        "kind": kind,
        "date": date.isoformat(),
        "from": sender,
        "to": recipients,
        "subject": subject,
        "text": text,
        "html": html,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{date:%Y%m%dT%H%M%S.%f}-{kind}-{uuid.uuid4().hex[:8]}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    temporary.replace(path)
    return path


def read_outbox(folder: Path) -> list[Message]:
    """The messages of an outbox, oldest first; none where the folder does not exist.

    A file that is not a message is named in a warning of this module's logger and left out.
    """
    messages = []
    for path in sorted(folder.glob("*.json")):
        try:
            messages.append(_read(path))
        except (OSError, ValueError) as error:
            log.warning("outbox: %s is damaged and left out: %s", path, error)
    return sorted(messages, key=lambda message: (message.date, message.path.name))


def _read(path: Path) -> Message:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    recipients = content.get("to")
    if not isinstance(recipients, list) or not all(isinstance(address, str) for address in recipients):
        raise ValueError("'to' is not a list of texts")
    texts = {key: content.get(key) for key in ("kind", "date", "from", "subject", "text", "html")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise ValueError(f"{key!r} is not a text")
    date = datetime.fromisoformat(str(texts["date"]))
    return Message(
        path=path,
        kind=str(texts["kind"]),
        date=date if date.tzinfo else date.replace(tzinfo=UTC),
        sender=str(texts["from"]),
        recipients=tuple(recipients),
        subject=str(texts["subject"]),
        text=str(texts["text"]),
        html=str(texts["html"]),
    )
