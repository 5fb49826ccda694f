"""What the HTTP stand-ins share."""

from __future__ import annotations

from aiohttp import web

from wtmo.errors import WtmoError

SHUTDOWN_SECONDS = 1.0


class _Health(web.View):
    async def get(self) -> web.Response:
        return web.Response(text="ok\n")


async def serve(app: web.Application, *, name: str, host: str, port: int) -> web.AppRunner:
    """Listen for ``app`` and answer ``GET /healthz`` too. Without access log.

    :param name: what the service is called in an error.
    :return: the runner; its ``cleanup()`` stops listening and gives requests under way a second to end.
    :raises WtmoError: where the port is taken.
    """
    app.router.add_view("/healthz", _Health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise cannot_listen(name, host, port, error) from error
    return runner


def cannot_listen(name: str, host: str, port: int, error: OSError) -> WtmoError:
    """The error of a service whose port is taken or whose host is not this machine's."""
    return WtmoError(
        f"{name} cannot listen on {host}:{port}: {error.strerror}", fix=f"give another port: --{name}-port PORT"
    )
