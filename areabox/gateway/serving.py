"""How is a route served? Host, caller, permission, body, repeat, call, log, answer: the same way for every one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import msgspec

from areabox.errors import ConflictError, NotFoundError
from areabox.gateway import bodies, security
from areabox.gateway.bodies import Receive
from areabox.gateway.idempotency import Repeats
from areabox.gateway.live import Live
from areabox.gateway.parts import Parts
from areabox.gateway.peers import Scope, headers_of, peer_of
from areabox.gateway.problems import RefusedError
from areabox.gateway.routes import Answer, Ask, Page, Route
from areabox.gateway.security import Caller
from areabox.users.policy import PUBLIC


class Served(msgspec.Struct, frozen=True):
    """What goes out: status, headers and the whole body, or something that streams it."""

    status: int
    headers: dict[str, str]
    media_type: str
    content: Any


async def serve(route: Route, parts: Parts, live: Live, scope: Scope, receive: Receive) -> Served:
    """Answer one request; raises whatever refuses it."""
    ask = await admit(route, parts, live, scope)
    if route.method != "GET":
        ask = replace(ask, body=await _body(route, ask, receive))
        given = bodies.form(ask.body).get("csrf", "") if route.page else ""
        security.check_origin(ask.method, ask.peer, ask.headers, ask.caller, given)
    if route.method == "POST" and "idempotency-key" in ask.headers and ask.caller.actor is not None:
        return await Repeats(parts.backend, parts.clock).once(
            ask, lambda: _answer(route, ask), keep=not route.secret, seal=Served
        )
    return await _answer(route, ask)


async def admit(route: Route, parts: Parts, live: Live, scope: Scope) -> Ask:
    """Return the request once it is known that it may be asked."""
    headers, method = headers_of(scope), str(scope["method"])
    peer = peer_of(scope, headers, parts.site)
    if not (route.permission == PUBLIC and not route.page):
        security.check_host(peer, headers, parts)
    caller = Caller()
    if route.permission != PUBLIC or route.page:
        caller = await security.identify(parts, peer, headers)
    if route.permission != PUBLIC and not (route.loopback and peer.loopback and caller.actor is None):
        security.authorise(caller, route.permission)
    return Ask(
        parts,
        live,
        peer,
        caller,
        method,
        str(scope["path"]),
        headers,
        scope["query_string"],
        params=scope["path_params"],
    )


async def _body(route: Route, ask: Ask, receive: Receive) -> bytes:
    if ask.headers.get("content-encoding", "identity") != "identity":
        raise RefusedError(415, "send the body as it is, without Content-Encoding")
    body = await bodies.read(receive, ask.headers.get("content-length"), route.body_max)
    if body and ask.media_type not in route.accepts:
        wanted = ", ".join(sorted(route.accepts - {""}))
        raise RefusedError(415, f"Content-Type {ask.media_type[:80]} is not taken here, only {wanted}")
    return body


async def _answer(route: Route, ask: Ask) -> Served:
    try:
        result = await route.handle(ask, **_arguments(route, ask))
    except ConflictError as error:
        if "if-match" in ask.headers:
            raise RefusedError(412, str(error)) from error
        raise
    answer = result if isinstance(result, Answer) else Answer(value=result)
    if route.audit:
        await _record(route, ask, answer)
    return _rendered(route, ask, answer)


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


async def _record(route: Route, ask: Ask, answer: Answer) -> None:
    subject = answer.object or "/".join(ask.params.values())
    actor = ask.actor.email if ask.caller.actor else ""
    await ask.parts.audit.record(actor, ask.peer.address, route.audit, subject, via=ask.caller.via)


def _rendered(route: Route, ask: Ask, answer: Answer) -> Served:
    status = answer.status or route.status
    headers = dict(answer.headers)
    if answer.value is None or isinstance(answer.value, bytes) or hasattr(answer.value, "__aiter__"):
        return Served(
            204 if answer.value is None and status == 200 else status, headers, answer.media_type, answer.value
        )
    content = msgspec.json.encode(answer.value)
    if route.method == "GET":
        tag = _tag(answer, content)
        headers["etag"] = tag
        if tag in [part.strip().removeprefix("W/") for part in ask.headers.get("if-none-match", "").split(",")]:
            return Served(304, headers, answer.media_type, None)
        if isinstance(answer.value, Page) and answer.value.next is not None:
            headers["link"] = f'<{_next(ask, answer.value.next)}>; rel="next"'
    elif answer.etag is not None:
        headers["etag"] = _tag(answer, content)
    return Served(status, headers, answer.media_type, content)


def _tag(answer: Answer, content: bytes) -> str:
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    return f'"{answer.etag}-{digest}"' if answer.etag is not None else f'"{digest}"'


def _next(ask: Ask, after: str) -> str:
    from urllib.parse import parse_qsl, urlencode

    given = dict(parse_qsl(ask.query_string.decode()))
    return f"{ask.path}?{urlencode(given | {'after': after})}"
