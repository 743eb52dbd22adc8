"""What does a library get that wants a client of its own? An `httpx2.AsyncClient` over the same guard."""

from __future__ import annotations

import httpx2

from areabox.errors import ConnectorError
from areabox.services.addresses import is_public
from areabox.services.egress import MAX_BYTES, TIMEOUT_S, Credentials, Egress
from areabox.services.redirects import STATUSES
from areabox.services.wire import NoAnswer, NotSent

_PUBLIC_ONLY = "areabox.public_only"


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Lets requests of an httpx2 client go through `Egress`; its errors are httpx2's, with the guard's as their cause.

    Answers are read whole, within `timeout_s` and `max_bytes`; redirects are the client's business, every hop is
    judged, and behind a public one only public addresses are left: the mark in a request's extensions, which httpx2
    hands on to the next hop, says so.
    """

    def __init__(
        self,
        egress: Egress,
        *,
        literal_hosts: frozenset[str] = frozenset(),
        credentials: Credentials | None = None,
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
        trust: str = "",
    ) -> None:
        self._egress = egress
        self._literal_hosts = literal_hosts
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._trust = trust

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request of the client; raises `httpx2.ConnectError`, `httpx2.ReadError` or `httpx2.TransportError`."""
        try:
            reply = await self._egress.request(
                request.method,
                str(request.url),
                headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
                content=await request.aread() or None,
                timeout_s=self._timeout_s,
                literal_hosts=self._literal_hosts,
                credentials=self._credentials,
                max_bytes=self._max_bytes,
                follow_redirects=False,
                trust=self._trust,
                public_only=bool(request.extensions.get(_PUBLIC_ONLY)),
            )
        except NotSent as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        except NoAnswer as error:
            raise httpx2.ReadError(str(error), request=request) from error
        except ConnectorError as error:
            raise httpx2.TransportError(str(error), request=request) from error
        if reply.status_code in STATUSES and is_public(reply.address):
            request.extensions = {**request.extensions, _PUBLIC_ONLY: True}
        return reply


def guarded_client(
    egress: Egress,
    *,
    literal_hosts: frozenset[str] = frozenset(),
    credentials: Credentials | None = None,
    timeout_s: float = TIMEOUT_S,
    max_bytes: int = MAX_BYTES,
    trust: str = "",
) -> httpx2.AsyncClient:
    """Return an httpx2 client whose every request is guarded; it looks at no settings of the environment."""
    transport = GuardedTransport(
        egress,
        literal_hosts=literal_hosts,
        credentials=credentials,
        timeout_s=timeout_s,
        max_bytes=max_bytes,
        trust=trust,
    )
    return httpx2.AsyncClient(transport=transport, trust_env=False)
