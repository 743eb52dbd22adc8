"""`areabox serve`: run the daemon until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from areabox.cli.call import Call, here

if TYPE_CHECKING:
    from areabox.deployment.settings import Settings


@click.command()
@click.option("--host", metavar="HOST", help="Address to listen on.")
@click.option("--port", metavar="PORT", help="Port to listen on; 0 takes any free one.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="logfmt or json.")
@here
def serve(call: Call, **flags: str | None) -> None:
    """Run the daemon.

    Prints one line with its address (and, before the first account exists, a one-time setup token) on stdout once it
    answers; everything else goes to stderr. SIGTERM or Ctrl-C stops it in order.
    """
    settings = call.load(**flags)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(call, settings))


async def _serve(call: Call, wanted: Settings) -> None:
    from areabox.app import open_app
    from areabox.deployment import lifecycle
    from areabox.deployment.settings import service_manager

    manager = service_manager()
    with lifecycle.bound(wanted, manager) as (settings, taken):
        async with open_app(settings, role="serve") as app:
            setup_token = await app.setup_token()
            gc.collect()
            gc.freeze()  # what is there now stays: the collector need not look at it again and again
            gc.set_threshold(10_000, 20, 50)  # an event makes hundreds of short-lived objects, and hardly a cycle

            def announce(addresses: list[str]) -> None:
                _announce(call, settings, addresses, setup_token)

            await lifecycle.serve(app, settings, manager, taken, announce)


def _announce(call: Call, settings: Settings, addresses: list[str], setup_token: str | None) -> None:
    address = settings.public_url or addresses[0]
    if call.json:
        from areabox.cli.output import print_json

        print_json({"addresses": addresses, "url": address, "setup_token": setup_token})
    else:
        first = f"; open {address}/setup with the one-time token {setup_token}" if setup_token else ""
        click.echo(f"areabox listens on {addresses[0]}{first}")
    sys.stdout.flush()
    plain = settings.tls_cert is None and not settings.public_url.startswith("https:")
    if plain and not all(map(_loopback, addresses)):
        call.say("others on the network can reach this address over plain http: put a proxy with TLS before it")


def _loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True  # a unix socket


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Any = uvloop.new_event_loop
    return factory  # type: ignore[no-any-return]
