"""The outbox: order, damaged files, what is written."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from wtmo.local.services.outbox import read_outbox, write_message

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, subject: str) -> Path:
    return write_message(
        folder, kind="mail", sender="a@x", recipients=["b@x", "c@x"], subject=subject, text="tä\n", html="<p>"
    )


def test_messages_come_back_oldest_first(tmp_path: Path) -> None:
    paths = [write(tmp_path / "outbox", str(number)) for number in range(20)]
    messages = read_outbox(tmp_path / "outbox")
    assert [message.subject for message in messages] == [str(number) for number in range(20)]
    assert [message.path for message in messages] == paths
    first = messages[0]
    assert (first.kind, first.sender, first.recipients, first.text, first.html) == (
        "mail",
        "a@x",
        ("b@x", "c@x"),
        "tä\n",
        "<p>",
    )
    assert first.date.tzinfo is UTC
    assert not list((tmp_path / "outbox").glob("*.tmp"))


def test_no_folder_is_no_messages(tmp_path: Path) -> None:
    assert read_outbox(tmp_path / "outbox") == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"{}", b"\xff", b'{"kind": "mail", "to": "b@x"}', b'{"kind": "mail", "to": [], "date": 1}'],
)
def test_damaged_file_is_named_and_the_others_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    write(tmp_path, "good")
    (tmp_path / "bad.json").write_bytes(damage)
    assert [message.subject for message in read_outbox(tmp_path)] == ["good"]
    assert str(tmp_path / "bad.json") in caplog.text


def test_message_with_a_wrong_date_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "x")
    path.write_text(path.read_text().replace('"date": "2', '"date": "soon 2'))
    assert read_outbox(tmp_path) == []
    assert path.name in caplog.text
