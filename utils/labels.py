"""Label values that both Kubernetes and BigQuery take."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 63
_HASH_LENGTH = 8


def label_value(text: str) -> str:
    """Turn any text into a label value: at most 63 of ``a-z 0-9 _ -``, starting and ending with a letter or digit.

    A text that is a valid value already comes back as it is. Any other keeps a readable start and gets the first
    8 hexadecimal digits of its SHA-256, so that two different texts never share a value by being cut or folded.
    The rules are Kubernetes' (label values) and BigQuery's (label values), whichever is the stricter.

    >>> label_value("copy_deduplicate")
    'copy_deduplicate'
    >>> label_value("scheduled__2026-06-01T01:00:00+00:00")
    'scheduled__2026-06-01t01-00-00-00-00-b4764887'
    """
    folded = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")
    if folded == text and len(text) <= MAX_LENGTH:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
    head = folded[: MAX_LENGTH - _HASH_LENGTH - 1].rstrip("-_")
    return f"{head}-{digest}" if head else digest
