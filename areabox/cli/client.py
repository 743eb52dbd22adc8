"""The way to the API, three times the same: at `--url`, at the daemon of this data directory, or in this process.

A running daemon is found by its unix socket. Without one, this process opens the data directory itself and calls the
same HTTP application without a network, so every way gives the same answers and the same refusals.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import quote

import httpx2

from areabox.deployment.local import answers, in_use, local
from areabox.deployment.settings import Settings
from areabox.deployment.sockets import unix_path
from areabox.errors import (
    AreaboxError,
    ConfigurationError,
    ConflictError,
    InputError,
    NotAllowedError,
    NotFoundError,
    Problem,
    StorageFullError,
)

TIMEOUT_S = 60.0
_STARTING_TRIES, _STARTING_PAUSE_S = 40, 0.25
_BY_STATUS: dict[int, Callable[[str], AreaboxError]] = {
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    507: StorageFullError,
}


class UnreachableError(AreaboxError):
    """No areabox answers there."""


class Api:
    """The HTTP API, with JSON in, JSON out, and its refusals as errors of areabox."""

    def __init__(self, http: httpx2.AsyncClient, work: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        self._http, self._work = http, work
        self.daemon = work is None  # else this process, so that nothing runs after the command has ended

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Do the jobs that the command makes, as long as it waits for them, where no daemon does."""
        task = asyncio.create_task(self._work()) if self._work else None
        try:
            yield
        finally:
            if task:
                task.cancel()
                await asyncio.wait([task])

    async def get(self, *path: str, **params: Any) -> Any:
        """Read one thing or a page."""
        return await self.send("GET", *path, params=params)

    async def post(self, *path: str, body: Any = None, **params: Any) -> Any:
        """Make or do something."""
        return await self.send("POST", *path, body=body, params=params)

    async def send(self, method: str, *path: str, body: Any = None, params: Any = None, timeout_s: float = 0) -> Any:
        """Send a request and return the JSON of its answer."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content else {}
        answer = await self._request(method, path, params, content, headers, TIMEOUT_S + timeout_s)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise _stranger(answer) from None

    async def text(self, *path: str, accept: str) -> str:
        """Read a representation that is not JSON."""
        answer = await self._request("GET", path, None, None, {"Accept": accept}, TIMEOUT_S)
        return answer.text

    async def all(self, *path: str, **params: Any) -> AsyncIterator[dict[str, Any]]:
        """Yield every item of a list, page after page."""
        after: str | None = ""
        while after is not None:
            page = await self.get(*path, **params, **({"after": after} if after else {}))
            for item in page["items"]:
                yield item
            after = page.get("next")

    async def lines(self, *path: str, **params: Any) -> AsyncIterator[str]:
        """Yield the lines of a stream until the other side ends it."""
        try:
            async with self._http.stream("GET", _join(path), params=params or None, timeout=None) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise refusal(answer)
                async for line in answer.aiter_lines():
                    yield line
        except httpx2.TransportError as error:
            raise _unreachable(self._http, error) from error

    async def _request(
        self, method: str, path: tuple[str, ...], params: Any, content: bytes | None, headers: Any, timeout_s: float
    ) -> httpx2.Response:
        try:
            answer = await self._http.request(
                method, _join(path), params=params, content=content, headers=headers, timeout=timeout_s
            )
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise _unreachable(self._http, error) from error
        if not answer.is_success:
            raise refusal(answer)
        return answer


def refusal(answer: httpx2.Response) -> AreaboxError:
    """Return what a problem+json answer says, as the error that it stands for."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "title" not in problem:
        return _stranger(answer)
    message = str(problem.get("detail") or problem["title"])
    if answer.status_code in _BY_STATUS:
        return _BY_STATUS[answer.status_code](message)
    if answer.status_code in {400, 413, 415, 422}:
        return InputError(message, [_problem(entry) for entry in problem.get("errors", [])])
    return AreaboxError(message)


def _problem(entry: dict[str, Any]) -> Problem:
    fields = ("line", "column")
    places = {name: entry[name] for name in fields if isinstance(entry.get(name), int)}
    pointer, detail, document = (str(entry.get(name, "")) for name in ("pointer", "detail", "document"))
    return Problem(pointer, detail, **places, document=document)


def _join(path: tuple[str, ...]) -> str:
    """Return the path of segments; the first may hold slashes, the others are ids."""
    return "/".join([path[0], *(quote(segment, safe="") for segment in path[1:])])


def _stranger(answer: httpx2.Response) -> UnreachableError:
    """Return that something else than an areabox answers there: another server, or a proxy on its behalf."""
    address = str(answer.request.url).partition("/api/v1/")[0]
    return UnreachableError(f"no areabox answers at {address}: it says {answer.status_code} {answer.reason_phrase}")


def _unreachable(http: httpx2.AsyncClient, error: Exception) -> UnreachableError:
    address = str(http.base_url).removesuffix("/").removesuffix("/api/v1")
    return UnreachableError(f"{address} does not answer: {error or type(error).__name__}")


@contextlib.asynccontextmanager
async def open_api(settings: Settings, *, acting_as: str | None = None) -> AsyncIterator[Api]:
    """Open the way to the API.

    Raises `UnreachableError`, or `ConfigurationError` if the data directory is held by a process that does not answer.
    """
    headers = {"X-Areabox-As": acting_as} if acting_as else {}
    if settings.url:
        if settings.token:
            headers["Authorization"] = f"Bearer {settings.token}"
        async with _client(settings.url, headers, httpx2.AsyncHTTPTransport()) as http, _asked_for_token(settings):
            yield Api(http)
    elif await _daemon_runs(settings):
        socket = httpx2.AsyncHTTPTransport(uds=str(unix_path(settings.data_dir)))
        async with _client("http://localhost", headers, socket) as http:
            yield Api(http)
    else:
        from areabox.app import open_app

        async with (
            open_app(settings, role="cli") as app,
            _client("http://localhost", headers, httpx2.ASGITransport(app=local(app.asgi))) as http,
        ):
            yield Api(http, lambda: app.worker.run(slots=settings.slots))


@contextlib.asynccontextmanager
async def _asked_for_token(settings: Settings) -> AsyncIterator[None]:
    """Say what to do where another machine refuses because it was given no token."""
    try:
        yield
    except NotAllowedError:
        if settings.token:
            raise
        advice = "give one by --token or AREABOX_TOKEN; `areabox token add` makes one there"
        raise NotAllowedError(f"{settings.url} wants a token: {advice}") from None


def _client(url: str, headers: dict[str, str], transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=f"{url}/api/v1/",
        headers={"Accept": "application/json", "User-Agent": "areabox-cli", **headers},
        transport=transport,
        trust_env=False,
    )


async def _daemon_runs(settings: Settings) -> bool:
    """Return whether a daemon answers for this data directory; wait for one that is just starting."""
    path = unix_path(settings.data_dir)
    for _ in range(_STARTING_TRIES):
        if answers(path):
            return True
        if not in_use(settings.database_path):
            return False
        await asyncio.sleep(_STARTING_PAUSE_S)
    raise ConfigurationError(f"{settings.data_dir} is in use by an areabox that does not answer at {path}")
