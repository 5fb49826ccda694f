"""A client of the Docker Engine API: JSON calls, and the calls that turn the connection into a stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
STDOUT, STDERR = 1, 2
_TIMEOUT = 60.0
_OPEN_TIMEOUT = 10.0
_LARGEST_ERROR = 64 * 1024


class EngineError(Exception):
    """What the engine refused.

    :param status: HTTP status; 0 if it did not answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def image_path(image: str) -> str:
    """An image's name in a path of the API."""
    return f"/images/{quote(image, safe='/:@')}"


class Engine:
    """One engine. Make it in a running event loop, then :meth:`open` it.

    :param address: as in ``DOCKER_HOST``: ``unix:///path`` or ``tcp://host:port``; no TLS and no ssh.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme == "unix" and parts.path:
            self._socket: str | None = parts.path
            self._host, self._port = "docker", 80
        elif parts.scheme == "tcp" and parts.hostname:
            self._socket = None
            self._host, self._port = parts.hostname, parts.port or 2375
        else:
            raise WtmoError(
                f"DOCKER_HOST {address!r} is no address of an engine",
                fix="unix:///path/of/docker.sock or tcp://host:port",
            )
        self.address = address
        # No limit: each container that runs holds a connection.
        connector = (
            aiohttp.UnixConnector(self._socket, limit=0) if self._socket else aiohttp.TCPConnector(limit=0, ssl=False)
        )
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        self._prefix = ""

    async def open(self) -> None:
        """See that it answers; from then on the newest version of its API that it knows is spoken.

        :raises WtmoError: it does not answer.
        """
        try:
            version = await self.call("GET", "/version", timeout=_OPEN_TIMEOUT)
        except EngineError as error:
            await self.close()
            raise WtmoError(
                f"no Docker engine answers at {self.address}: {error}",
                fix="start it, or say with DOCKER_HOST where it is; --runtime auto needs none",
            ) from error
        self._prefix = f"/v{version['ApiVersion']}"

    async def close(self) -> None:
        """Let go of all connections."""
        await self._session.close()

    def _path(self, path: str, query: Mapping[str, str] | None) -> str:
        return f"{self._prefix}{path}" + (f"?{urlencode(query)}" if query else "")

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        timeout: float | None = _TIMEOUT,
    ) -> Any:
        """One call. Returns the decoded answer, None if it is empty.

        :param timeout: seconds; None waits for ever.
        :raises EngineError: it refuses or does not answer.
        """
        content = await self._content(method, path, query, body, timeout)
        return json.loads(content) if content.strip() else None

    async def pull(self, image: str) -> None:
        """Have the engine get an image from its registry.

        :raises EngineError: it can't.
        """
        content = await self._content("POST", "/images/create", {"fromImage": image}, None, None)
        for line in filter(None, map(bytes.strip, content.splitlines())):
            if error := json.loads(line).get("error"):
                raise EngineError(404, str(error))

    async def _content(
        self, method: str, path: str, query: Mapping[str, str] | None, body: object, timeout: float | None
    ) -> bytes:
        url = f"http://{self._host}:{self._port}{self._path(path, query)}"
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._session.request(method, url, json=body, timeout=limit) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineError(0, str(error) or type(error).__name__) from error
        if response.status >= 400:
            raise EngineError(response.status, _message(content))
        return content

    async def stream(self, path: str, query: Mapping[str, str], body: object = None) -> Stream:
        """A call whose connection becomes a stream: attach, exec.

        :raises EngineError: it refuses or does not answer.
        """
        content = json.dumps(body).encode() if body is not None else b""
        head = (
            f"POST {self._path(path, query)} HTTP/1.1\r\nHost: {self._host}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                reader, writer = await (
                    asyncio.open_unix_connection(self._socket)
                    if self._socket
                    else asyncio.open_connection(self._host, self._port)
                )
                writer.write(head.encode() + content)
                await writer.drain()
                answer = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise EngineError(0, str(error) or type(error).__name__) from error
        status = int(answer[0].split()[1])
        if status not in {101, 200}:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    content = await reader.read(_LARGEST_ERROR)
            writer.close()
            raise EngineError(status, _message(content))
        return Stream(reader, writer)


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:500].decode(errors="replace").strip()


class _Brake(asyncio.ReadTransport):
    """What a :class:`asyncio.StreamReader` stops when it holds more than is read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()

    def pause_reading(self) -> None:
        self.free.clear()

    def resume_reading(self) -> None:
        self.free.set()


class Stream:
    """Output of a container or command, taken apart, and its input."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._task: asyncio.Task[None] | None = None

    def divide(self, *, merge: bool) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
        """Standard output and standard error, once.

        :param merge: both in the first.
        """
        brakes: dict[int, tuple[asyncio.StreamReader, _Brake]] = {}
        for number in (STDOUT, STDERR):
            stream, brake = asyncio.StreamReader(), _Brake()
            stream.set_transport(brake)
            brakes[number] = stream, brake
        out, error = brakes[STDOUT][0], brakes[STDERR][0]
        if merge:
            brakes[STDERR] = brakes[STDOUT]
        self._task = asyncio.create_task(self._divide(brakes, (out, error)))
        return out, error

    async def _divide(
        self,
        brakes: Mapping[int, tuple[asyncio.StreamReader, _Brake]],
        streams: tuple[asyncio.StreamReader, asyncio.StreamReader],
    ) -> None:
        try:
            while True:
                # Docker's own frame: which stream, three zeros, four bytes of length.
                header = await self._reader.readexactly(8)
                data = await self._reader.readexactly(int.from_bytes(header[4:], "big"))
                stream, brake = brakes[header[0]]
                await brake.free.wait()
                stream.feed_data(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for stream in streams:
                stream.feed_eof()
            self._writer.close()

    async def write(self, data: bytes) -> None:
        """Give it standard input."""
        with contextlib.suppress(ConnectionError):  # it ended or does not read: its exit code tells
            self._writer.write(data)
            await self._writer.drain()

    def end_input(self) -> None:
        """It gets no more standard input."""
        with contextlib.suppress(OSError):
            if self._writer.can_write_eof() and not self._writer.is_closing():
                self._writer.write_eof()

    def close(self) -> None:
        """Let go of the connection."""
        if self._task is not None:
            self._task.cancel()
        self._writer.close()
