"""Objects of a Cloud Storage stand-in: what load and extract jobs need of its JSON API."""

from __future__ import annotations

import fnmatch
import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from .errors import BigQueryError, invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMEOUT_SECONDS = 60


def read(base_url: str, uris: Sequence[str]) -> list[bytes]:
    """The content of each object; a URI may end in or hold one ``*``.

    :raises BigQueryError: ``notFound`` for an object that is not there, ``backendError`` where the store can't be
        reached.
    """
    contents = []
    for uri in uris:
        bucket, name = _split(uri)
        names = _matching(base_url, bucket, name) if "*" in name else [name]
        if not names:
            raise not_found("URI", uri)
        for found in names:
            status, data = _request(
                base_url, "GET", f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(found, safe='')}?alt=media"
            )
            if status == http.HTTPStatus.NOT_FOUND:
                raise not_found("URI", f"gs://{bucket}/{found}")
            contents.append(_checked(status, data))
    return contents


def write(base_url: str, uri: str, data: bytes) -> None:
    """Put an object in place.

    :raises BigQueryError: the bucket is not there, or the store can't be reached.
    """
    bucket, name = _split(uri)
    query = urlencode({"uploadType": "media", "name": name})
    status, answer = _request(base_url, "POST", f"/upload/storage/v1/b/{quote(bucket, safe='')}/o?{query}", data)
    if status == http.HTTPStatus.NOT_FOUND:
        raise not_found("URI", f"gs://{bucket}")
    _checked(status, answer)


def names(base_url: str, uri: str) -> list[str]:
    """The objects that a path with a ``*`` names.

    :raises BigQueryError: the bucket is not there, or the store can't be reached.
    """
    return _matching(base_url, *_split(uri))


def _matching(base_url: str, bucket: str, pattern: str) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        query = urlencode({"prefix": pattern.split("*")[0]} | ({"pageToken": token} if token else {}))
        status, data = _request(base_url, "GET", f"/storage/v1/b/{quote(bucket, safe='')}/o?{query}")
        if status == http.HTTPStatus.NOT_FOUND:
            raise not_found("URI", f"gs://{bucket}")
        page = json.loads(_checked(status, data))
        names += [
            item["name"]
            for item in page.get("items", [])
            if fnmatch.fnmatchcase(item["name"], pattern.replace("[", "[[]"))
        ]
        token = page.get("nextPageToken", "")
        if not token:
            return sorted(names)


def _split(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme != "gs" or not parts.netloc or len(parts.path) < 2:
        raise invalid(f"Invalid URI {uri!r}: it must be gs://bucket/object")
    return parts.netloc, uri.removeprefix(f"gs://{parts.netloc}/")


def _request(base_url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, path, body, {"Content-Type": "application/octet-stream"} if body is not None else {})
        response = connection.getresponse()
        return response.status, response.read()
    except OSError as error:
        raise BigQueryError(
            "backendError", f"The Cloud Storage stand-in at {base_url} can't be reached: {error}"
        ) from error
    finally:
        connection.close()


def _checked(status: int, data: bytes) -> bytes:
    if status != http.HTTPStatus.OK:
        raise BigQueryError(
            "backendError", f"The Cloud Storage stand-in answered {status}: {data[:200].decode(errors='replace')}"
        )
    return data
