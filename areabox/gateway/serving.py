"""How is a route served? Host, caller, limit, permission, body, repeat, call, log, answer: the same for every one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from areabox.errors import ConflictError, NotAllowedError, NotFoundError
from areabox.gateway import bodies, changes, conditions, reach, security
from areabox.gateway.answering import Served, rendered
from areabox.gateway.bodies import Receive
from areabox.gateway.idempotency import Repeats
from areabox.gateway.limits import REFUSALS, Buckets, Limiter
from areabox.gateway.live import Live
from areabox.gateway.parts import Parts
from areabox.gateway.peers import Peer, Scope, headers_of, peer_of
from areabox.gateway.problems import RefusedError
from areabox.gateway.routes import Answer, Ask, Route
from areabox.gateway.security import Caller
from areabox.gateway.visits import Visit, visit_of
from areabox.users.policy import PUBLIC
from areabox.users.throttle import network_of


class Server:
    """Serves the routes of all tables."""

    def __init__(self, parts: Parts, live: Live, table: Iterable[Route]) -> None:
        self._parts, self._live = parts, live
        self._limiter = Limiter(parts.clock, on=parts.site.rate_limits)
        self._refusals = Buckets(parts.clock, REFUSALS)
        self._repeats = Repeats(parts.backend, parts.clock)
        routes = list(table)
        self._readers = {(route.method, route.path): changes.reader_of(route, routes) for route in routes}

    async def serve(self, route: Route, scope: Scope, receive: Receive) -> Served:
        """Answer one request; raises whatever refuses it."""
        visit = visit_of(scope, self._parts.clock)
        ask = await self._meet(route, scope, visit)
        try:
            if route.permission != PUBLIC and not (route.loopback and ask.peer.loopback and ask.caller.actor is None):
                security.authorise(ask.caller, route.permission)
            return await self._admitted(route, await reach.reached(route, ask), receive)
        except NotAllowedError:
            if route.method != "GET" and changes.verb(route):
                await self._refused(route, ask)
            raise

    async def _refused(self, route: Route, ask: Ask) -> None:
        """Record what somebody was not allowed to do, but not so often that the log is full of nothing else."""
        actor = ask.caller.actor
        if actor is not None and self._refusals.take(actor.account_id) is None:
            await changes.record(route, ask, None, {})

    async def _meet(self, route: Route, scope: Scope, visit: Visit) -> Ask:
        """Return the request once it is known who asks, and that it is not too much."""
        headers, parts = headers_of(scope), self._parts
        peer = peer_of(scope, headers, parts.site)
        visit.address = peer.address
        if not (route.permission == PUBLIC and not route.page):
            security.check_host(peer, headers, parts)
        caller = await self._identified(route, peer, headers, visit)
        return Ask(
            parts, self._live, peer, caller, str(scope["method"]), str(scope["path"]), headers, scope["query_string"],
            params=scope["path_params"], request_id=visit.id,
        )  # fmt: skip

    async def _identified(self, route: Route, peer: Peer, headers: dict[str, str], visit: Visit) -> Caller:
        caller = Caller()
        if route.permission != PUBLIC or route.page:
            try:
                caller = await security.identify(self._parts, peer, headers)
            except RefusedError:
                self._limiter.take("address", network_of(peer.address))  # guessing is not for nothing
                raise
        if caller.via == "local" or (not route.page and route.permission == PUBLIC):
            return caller
        if caller.via == "token":
            told = self._limiter.take("token", caller.token_id)
        elif caller.actor is not None:
            told = self._limiter.take("user", caller.actor.account_id)
        else:
            told = self._limiter.take("address", network_of(peer.address))
        visit.headers += [(name.encode(), value.encode()) for name, value in told.items()]
        visit.who = caller.actor.email if caller.actor else ""
        return caller

    async def _admitted(self, route: Route, ask: Ask, receive: Receive) -> Served:
        if route.method != "GET":
            ask = replace(ask, body=await _body(route, ask, receive))
            given = bodies.form(ask.body).get("csrf", "") if route.page else ""
            if not route.by_link:
                security.check_origin(ask.method, ask.peer, ask.headers, ask.caller, given)
        if route.method == "POST" and "idempotency-key" in ask.headers and ask.caller.actor is not None:
            return await self._repeats.once(ask, lambda: self._answer(route, ask), keep=not route.secret, seal=Served)
        return await self._answer(route, ask)

    async def _answer(self, route: Route, ask: Ask) -> Served:
        verb, reader = changes.verb(route), self._readers[route.method, route.path]
        before = await changes.snapshot(reader, ask) if verb else None
        if route.method != "GET":
            required = self._parts.site.preconditions and ask.caller.via != "local"
            conditions.check(route, ask, reader, before, required=required)
        try:
            result = await route.handle(ask, **_arguments(route, ask))
        except ConflictError as error:
            if "if-match" in ask.headers:
                raise RefusedError(412, str(error)) from error
            raise
        answer = result if isinstance(result, Answer) else Answer(value=result)
        if verb:
            await self._record(route, ask, answer, reader, before)
        return rendered(route, ask, answer)

    async def _record(
        self, route: Route, ask: Ask, answer: Answer, reader: Route | None, before: Answer | None
    ) -> None:
        old = None if before is None else before.value
        if reader is None or route.method == "DELETE":
            made = (answer.status or route.status) == 201 and not route.secret and not changes.is_story(route)
            new = answer.value if made else None
        else:
            after = await changes.snapshot(reader, ask)
            new = None if after is None else after.value
        await changes.record(route, ask, answer, changes.difference(old, new))


async def _body(route: Route, ask: Ask, receive: Receive) -> bytes:
    if ask.headers.get("content-encoding", "identity") != "identity":
        raise RefusedError(415, "send the body as it is, without Content-Encoding")
    body = await bodies.read(receive, ask.headers.get("content-length"), route.body_max)
    if body and ask.media_type not in route.accepts:
        wanted = ", ".join(sorted(route.accepts - {""}))
        raise RefusedError(415, f"Content-Type {ask.media_type[:80]} is not taken here, only {wanted}")
    return body


def _arguments(route: Route, ask: Ask) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, type_ in route.annotations.items():
        if name == "body":
            found[name] = bodies.json_value(ask.body, type_)
        elif name == "query":
            found[name] = bodies.query(ask.query_string, type_)
        else:
            found[name] = _param(ask.params[name], type_)
    return found


def _param(given: str, type_: Any) -> Any:
    try:
        return msgspec.convert(given, type_, strict=False)
    except msgspec.ValidationError:
        raise NotFoundError(f"there is no {given}") from None
