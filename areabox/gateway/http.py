"""The application: hooks and health without any framework, everything else by Litestar from the tables of routes.

gateway = build_app(parts)          an ASGI callable; `await gateway.drain()` ends its streams
gateway.hooks_only                  the same for a listener at which nothing but hooks and health is
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from litestar.routes import HTTPRoute

from areabox.errors import ConfigurationError
from areabox.gateway import api, pages
from areabox.gateway.answering import Served
from areabox.gateway.bodies import GoneError
from areabox.gateway.doors import Doors, Send, problem
from areabox.gateway.hooks import HookEntrance
from areabox.gateway.live import Live
from areabox.gateway.parts import Parts
from areabox.gateway.peers import headers_of
from areabox.gateway.problems import MEDIA_TYPE, RefusedError, refusal
from areabox.gateway.routes import Route
from areabox.gateway.serving import Server
from areabox.gateway.visits import visit_of

_ALIVE: Final = b'{"status":"alive"}'
_MODULES: Final = (*api.MODULES, *pages.MODULES)


class Gateway:
    """The whole HTTP side as one ASGI callable."""

    def __init__(self, parts: Parts) -> None:
        self.live = Live(parts.backend, parts.clock)
        self.routes = routes()
        self._hooks = HookEntrance(parts)
        self._doors = Doors(parts, _litestar(parts, self.live, self.routes))
        self._watched = self._doors.watches_hooks
        # what a server may ask without ASGI, once a small body is there
        self.straight = {} if self._watched else {"/hooks/": self._hooks.answer}
        self._base = parts.site.base_path
        self.hooks_only = HooksOnly(self, self._base)

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/hooks/"):
            if self._watched and not await self._doors.let_in_hook(scope, send):
                return
            await self._hooks(scope, receive, self._doors.heard(scope, send) if self._watched else send)
        elif path == "/health":
            await _plain(send, _ALIVE)
        elif self._base and path.startswith(f"{self._base}/"):
            await self(_below(scope, self._base), receive, send)
        else:
            await self._doors(scope, receive, send)

    async def drain(self) -> None:
        """End the open streams; whoever watches comes back to the next process."""
        await self.live.close()


class HooksOnly:
    """The HTTP side of a listener at which nothing but hooks and health is."""

    def __init__(self, gateway: Gateway, base: str) -> None:
        self._gateway, self._base = gateway, base
        self.straight = gateway.straight

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"].removeprefix(self._base) if self._base else scope["path"]
        if path.startswith("/hooks/") or path == "/health":
            await self._gateway(scope, receive, send)
        else:
            await problem(send, RefusedError(404, "there are only webhooks here"))


def build_app(parts: Parts) -> Gateway:
    """Return the application; raises ConfigurationError where a route has no permission."""
    return Gateway(parts)


def routes() -> list[Route]:
    """Return the routes of all tables."""
    return [route for module in _MODULES for route in module.ROUTES]


def _below(scope: Any, base: str) -> Any:
    """Return a request as if it had come without the base path."""
    raw = scope.get("raw_path")
    return {
        **scope,
        "path": scope["path"][len(base) :],
        "raw_path": raw[len(base) :] if raw and raw.startswith(base.encode()) else raw,
    }


def _litestar(parts: Parts, live: Live, table: Iterable[Route]) -> Litestar:
    server = Server(parts, live, table)

    def refused(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        return _refused(request, error, parts)

    app = Litestar(
        [_handler(route, server) for route in table],
        openapi_config=None,
        logging_config=None,
        exception_handlers={Exception: refused},
    )
    refuse_unguarded(app)
    return app


def refuse_unguarded(app: Litestar) -> None:
    """Raise ConfigurationError if any handler, wherever it comes from, does not say who may call it."""
    for route in app.routes:
        handlers: list[Any] = route.route_handlers if isinstance(route, HTTPRoute) else [route]
        for handler in handlers:
            if not _guarded(handler):
                raise ConfigurationError(f"{route.path} does not say who may call it")


def _guarded(handler: Any) -> bool:
    """Return whether a handler serves a row of our tables; Litestar's own answer to OPTIONS only names methods."""
    return isinstance(getattr(handler, "opt", {}).get("route"), Route) or handler.http_methods == {"OPTIONS"}


def _handler(route: Route, server: Server) -> HTTPRouteHandler:
    async def endpoint(request: Request[Any, Any, Any]) -> Response[Any]:
        return _response(await server.serve(route, request.scope, request.receive))

    path = route.path.replace("}", ":str}")
    methods: Any = ["GET", "HEAD"] if route.method == "GET" else [route.method]
    return HTTPRouteHandler(path, http_method=methods, opt={"route": route}, status_code=200, media_type="text/plain")(
        endpoint
    )


def _response(served: Served) -> Response[Any]:
    if hasattr(served.content, "__aiter__"):
        headers = {**served.headers, "content-type": served.media_type}
        return Stream(served.content, headers=headers, status_code=served.status)
    content = b"" if served.content is None else served.content
    return Response(content, media_type=served.media_type, headers=served.headers, status_code=served.status)


def _refused(request: Request[Any, Any, Any], error: Exception, parts: Parts) -> Response[Any]:
    if isinstance(error, GoneError):
        return Response(b"", status_code=400, media_type="text/plain")
    told = refusal(error, error_id=visit_of(request.scope, parts.clock).id)
    if not wants_page(request.scope):
        return Response(told.content, media_type=MEDIA_TYPE, status_code=told.status, headers=told.headers)
    from areabox.gateway.pages import entrance, rendering

    if told.status == 401:
        return Response(b"", status_code=303, headers={"location": entrance.entrance(request.scope["path"])})
    html = rendering.refused(told, request.scope["path"])
    return Response(html, media_type=rendering.HTML, status_code=told.status, headers=told.headers)


def wants_page(scope: Any) -> bool:
    """Return whether a refusal is read by a person in a browser."""
    path, headers = scope["path"], headers_of(scope)
    return not path.startswith(("/api/", "/metrics", "/ready")) and "text/html" in headers.get("accept", "")


async def _plain(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": status, "headers": [*headers, (b"cache-control", b"no-store")]}
    )
    await send({"type": "http.response.body", "body": body})
