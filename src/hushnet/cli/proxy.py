"""`hush proxy`: a local OpenAI endpoint that verifies and seals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from hushnet.cli import console
from hushnet.cli.extras import require_extra
from hushnet.cli.options import ApiKey, AsJson, BaseUrl, Home, Trust, settings_of
from hushnet.foundation.errors import ConfigurationError
from hushnet.foundation.stopping import stop_signals
from hushnet.sdk.settings import ConsumerSettings, is_loopback

if TYPE_CHECKING:
    import uvicorn


def command(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The local port; 0 takes a free one.")] = 8472,
    host: Annotated[str, typer.Option("--host", help="The local address; loopback only.")] = "127.0.0.1",
    trust: Trust = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Serve a local OpenAI endpoint that verifies and seals, for any tool that can change its base URL."""
    require_extra("proxy", "uvicorn")
    settings = settings_of(base_url, api_key, home)
    settings.require_key()
    if not is_loopback(f"http://{host}"):
        raise ConfigurationError(
            f"the sealing proxy does not listen on {host}",
            code="not_local",
            hint="it spends your key without asking for one, so it answers on loopback only",
        )
    asyncio.run(_serve(host, port, trust, settings, as_json))


async def _serve(host: str, port: int, trust: str | None, settings: ConsumerSettings, as_json: bool) -> None:
    import uvicorn

    from hushnet.sdk.async_client import AsyncClient
    from hushnet.sdk.policy import VerificationPolicy
    from hushnet.sdk.proxy import ProxyApp

    listener = _listen(host, port)
    url = f"http://{host}:{listener.getsockname()[1]}/v1"
    async with AsyncClient(settings=settings, policy=VerificationPolicy(floor=trust)) as client:
        config = uvicorn.Config(
            ProxyApp(client),
            log_config=None,
            access_log=False,
            lifespan="off",
            loop="none",
            timeout_graceful_shutdown=3,
        )
        if as_json:
            console.print_json({"base_url": url, "coordinator": settings.base_url, "trust": client.policy.floor})
        else:
            floor = client.policy.floor
            least = "statements verified" if floor == "none" else f"trust {floor} or better"
            console.err().print(f"sealing for [bold]{url}[/]  [dim](any key; {settings.base_url}; {least})[/]")
            console.err().print("[dim]prompts leave this machine sealed to verified providers; Ctrl-C stops[/]")
        with stop_signals() as signals:
            server = _quiet_server(config)

            def stop() -> None:
                server.should_exit = True

            signals.then(stop)
            await server.serve(sockets=[listener])


def _quiet_server(config: uvicorn.Config) -> uvicorn.Server:
    """Make a server that leaves signals to us: uvicorn's own handling ends the process by the same signal again."""
    import uvicorn

    class QuietServer(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return QuietServer(config)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"port {port} on {host} can't be used ({error.strerror})",
            code="port_in_use",
            hint="choose another with --port",
        ) from None
    return listener
