"""What is done to every request before it is looked at, and to every answer afterwards.

In: an id, who may come from where, maintenance, what browsers ask first. Out: the headers that keep browsers safe, the
request's id, the addresses of a base path, compression, a line in the access log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from areabox.gateway import base_path, compression, cors
from areabox.gateway.parts import Parts
from areabox.gateway.peers import Peer, headers_of, in_networks, peer_of, prefix_of
from areabox.gateway.problems import MEDIA_TYPE, RefusedError, refusal
from areabox.gateway.security import HEADERS
from areabox.gateway.visits import VISIT, Visit, begin

log = logging.getLogger("areabox.access")

Send = Callable[[Any], Awaitable[None]]
HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_AGENT_MAX: Final = 120
_SECRET: Final = ("/hooks/", "/answer/", "/invite/", "/reset/")  # whoever knows what follows may do something


class Doors:
    """All requests but deliveries pass here; those, too, where the settings ask for it."""

    def __init__(self, parts: Parts, app: Any) -> None:
        self._parts, self._app, self._site, self._clock = parts, app, parts.site, parts.clock
        self._maintenance = parts.maintenance
        site = parts.site
        self.watches_hooks = bool(site.hooks_allow_from or site.access_log)

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Let one request in and its answer out, or refuse it here."""
        headers = headers_of(scope)
        visit, peer = begin(headers, self._clock), peer_of(scope, headers, self._site)
        visit.address = peer.address
        prefix = prefix_of(scope, headers, self._site)
        send = self._out(scope, headers, peer, visit, prefix, send)
        try:
            await self._refuse(scope, peer)
        except RefusedError as error:
            await problem(send, error)
            return
        if self._site.cors_origins and cors.allowed(scope["path"], headers, self._site.cors_origins):
            if cors.is_preflight(scope["method"], headers):
                await _preflight(send, headers["origin"])
                return
            visit.headers += cors.shown(headers["origin"])
        scope = {**scope, VISIT: visit}
        if prefix:  # what is compressed already could not be written to
            scope["headers"] = [pair for pair in scope["headers"] if pair[0].lower() != b"accept-encoding"]
        await self._app(scope, receive, send)

    async def _refuse(self, scope: Any, peer: Peer) -> None:
        if peer.local:
            return
        if self._site.allow_from and not in_networks(peer.address, self._site.allow_from):
            raise RefusedError(403, f"areabox does not answer {peer.address}; allow_from says whom it does")
        await self._maintenance.refuse(scope["path"])

    async def let_in_hook(self, scope: Any, send: Send) -> bool:
        """Return whether a delivery may come from where it does; it is told if not."""
        allowed = self._site.hooks_allow_from
        if not allowed:
            return True
        headers = headers_of(scope)
        peer = peer_of(scope, headers, self._site)
        if peer.local or in_networks(peer.address, allowed):
            return True
        await problem(send, RefusedError(403, "no deliveries are taken from this address"))
        return False

    def heard(self, scope: Any, send: Send) -> Send:
        """Return a `send` that writes the access log, where this request is in it."""
        if not self._is_logged():
            return send
        headers = headers_of(scope)
        visit = begin(headers, self._clock)
        visit.address = peer_of(scope, headers, self._site).address
        return self._logged(scope, headers, visit, send)

    # --- out --------------------------------------------------------------------------------------------------------

    def _out(self, scope: Any, headers: dict[str, str], peer: Peer, visit: Visit, prefix: str, send: Send) -> Send:
        if self._is_logged():
            send = self._logged(scope, headers, visit, send)
        if compression.wanted(headers):
            send = compression.compressed(send)
        if prefix:
            send = base_path.prefixed(send, prefix)
        return _secured(send, visit, secure=peer.secure)

    def _is_logged(self) -> bool:
        share = self._site.access_log
        return share > 0.0 and (share >= 1.0 or self._clock.uniform(0.0, 1.0) < share)

    def _logged(self, scope: Any, headers: dict[str, str], visit: Visit, send: Send) -> Send:
        path = scope["path"]
        shown = next((f"{place}…" for place in _SECRET if path.startswith(place)), path)
        status, sent = 0, 0

        async def sending(message: Any) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                took_ms = round((self._clock.monotonic_s() - visit.began_s) * 1000, 1)
                fields = {
                    "request": visit.id, "method": scope["method"], "path": shown, "status": status, "bytes": sent,
                    "took_ms": took_ms, "address": visit.address, "actor": visit.who,
                    "agent": headers.get("user-agent", "")[:_AGENT_MAX],
                }  # fmt: skip
                log.info("%s %s %d", scope["method"], shown, status, extra=fields)

        return sending


def _secured(send: Send, visit: Visit, *, secure: bool) -> Send:
    async def secured(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            names = {name.lower() for name, _ in headers}
            headers += [pair for pair in HEADERS if pair[0] not in names]
            if b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            if secure:
                headers.append(HSTS)
            headers += [pair for pair in visit.headers if pair[0] not in names]
            message = {**message, "headers": headers}
        await send(message)

    return secured


async def _preflight(send: Send, origin: str) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": cors.preflight(origin)})
    await send({"type": "http.response.body", "body": b""})


async def problem(send: Send, error: RefusedError) -> None:
    """Send a refusal that no route made."""
    told = refusal(error)
    content = msgspec.json.encode(told.body)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(content)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in told.headers.items()]
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
