"""How is a library of another protocol used? It is got at its first use, and its TLS asks for the right name."""

from __future__ import annotations

import importlib
import ssl
from typing import Any

from areabox.errors import Permanent


def driver(module: str, extra: str) -> Any:
    """Import and return a library, at the first use of what needs it: `driver("asyncpg", extra="postgres")`.

    `extra` is the name under `[project.optional-dependencies]` that installs it. Call it inside functions, and never
    import the library at the top of a module. Raises `Permanent` where the library is missing or cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise Permanent(f"{module} is not whole: {error}; install it anew: {_install(extra)}") from error
        raise Permanent(f"this needs {module.partition('.')[0]}, which is not installed: {_install(extra)}") from error
    except ImportError as error:
        raise Permanent(f"{module} cannot be loaded: {error}; install it anew: {_install(extra)}") from error


def tls_for(context: ssl.SSLContext, host: str) -> ssl.SSLContext:
    """Return a context that asks for the certificate of `host`, whatever address a library was told to connect to.

    For libraries that open their sockets themselves: they are given one of `ctx.addresses(host)`, so that they look up
    nothing, and would check the certificate against that address. It serves asyncio and uvloop, as a client.
    """
    return _Named.made(context, host)


class _Named(ssl.SSLContext):
    """Speaks TLS by another context, which it leaves as it is."""

    _context: ssl.SSLContext
    _host: str

    @classmethod
    def made(cls, context: ssl.SSLContext, host: str) -> _Named:
        named = cls(ssl.PROTOCOL_TLS_CLIENT)
        named._context, named._host = context, host
        return named

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **_options: Any) -> ssl.SSLObject:  # type: ignore[override]
        """Begin a conversation, whatever name was asked for."""
        return self._context.wrap_bio(incoming, outgoing, server_hostname=self._host)


def _install(extra: str) -> str:
    return f"pip install 'areabox[{extra}]'"
