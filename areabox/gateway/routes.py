"""What is a route? One row of a table: method, address, permission, and a function that parses, calls and answers.

    async def show(ask: Ask, area: str) -> Answer: ...
    async def start(ask: Ask, area: str, body: StartRun, query: Wait) -> Answer: ...

    ROUTES = (
        get("/areas/{area}", show, "areas:read", answer=AreaView),
        post("/areas/{area}/runs", start, "runs:write", answer=RunView, status=202),
    )

`body` and `query` are decoded by their types, other parameters are parts of the address. What a route does not say it
does not get: one without a permission cannot be made.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from areabox.errors import NotAllowedError
from areabox.gateway import bodies
from areabox.gateway.live import Live
from areabox.gateway.parts import Parts
from areabox.gateway.peers import Peer
from areabox.gateway.problems import RefusedError
from areabox.gateway.security import Caller
from areabox.users.policy import PERMISSIONS, PUBLIC, Actor

LIMIT, LIMIT_MAX = 50, 200

T = TypeVar("T")


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list: at most `limit` entries behind the one that `next` named."""

    limit: int = LIMIT
    after: str | None = None

    @property
    def count(self) -> int:
        """Return how many entries to read."""
        return min(max(self.limit, 1), LIMIT_MAX)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list; `next` goes into `after` of the next request, null at the end."""

    items: list[T]
    next: str | None


def page(items: list[Any], listing: Listing, key: str = "id") -> Page[Any]:
    """Return entries as a page, of which `key` names the place."""
    more = len(items) >= listing.count
    return Page(items, items[-1][key] if more else None)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent back; `value` is JSON unless it is bytes. `etag` is a version without its quotes."""

    value: Any = None
    status: int | None = None
    media_type: str = "application/json"
    etag: str | None = None
    headers: dict[str, str] = {}
    object: str = ""  # what the audit log names, if the address does not


@dataclass(frozen=True)
class Ask:
    """A request, authorised: who asks, by which way, and the parts to call."""

    parts: Parts
    live: Live
    peer: Peer
    caller: Caller
    method: str
    path: str
    headers: dict[str, str]
    query_string: bytes
    body: bytes = b""
    params: dict[str, str] = field(default_factory=dict)
    request_id: str = ""

    @property
    def actor(self) -> Actor:
        """Return who asks; a route that is not public has one."""
        if self.caller.actor is None:
            raise NotAllowedError("nobody is logged in")
        return self.caller.actor

    @property
    def media_type(self) -> str:
        """Return what the body is, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def if_match(self) -> int | None:
        """Return the version that If-Match asks for; None without it, or where it is `*`."""
        given = self.headers.get("if-match", "").strip()
        if given in ("", "*"):
            return None
        version = given.removeprefix("W/").strip('"').partition("-")[0]
        if not version.isdecimal():
            raise RefusedError(412, f"If-Match: {given[:80]} is no version of this; read it again")
        return int(version)

    def accepts(self, *media_types: str) -> bool:
        """Return whether the first thing that the client wants is one of these."""
        first = self.headers.get("accept", "").partition(",")[0].partition(";")[0].strip().lower()
        return first in media_types


Handle = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    """One row: what is asked, who may, and who answers.

    `audit` is the verb under which it stands in the audit log, where it is to be another than the one made of its
    name; `loopback` lets this machine in without a name; the answer of a `secret` one is not kept for repeats.
    """

    method: str
    path: str
    handle: Handle
    permission: str
    answer: Any = None
    status: int = 200
    audit: str = ""
    recorded: bool = True  # False: what nobody asks the audit log about, and everybody may do all day
    loopback: bool = False
    secret: bool = False
    body_max: int = bodies.BODY_MAX
    accepts: frozenset[str] = bodies.JSON
    media_types: tuple[str, ...] = ("application/json",)  # what its answers are
    page: bool = False  # an HTML page: it sends whoever is unknown to the login
    by_link: bool = False  # its address is the permission, so a page elsewhere may call it, too

    def __post_init__(self) -> None:
        if self.permission != PUBLIC and self.permission not in PERMISSIONS:
            raise ValueError(f"{self.method} {self.path} has no permission that exists: {self.permission!r}")

    @property
    def name(self) -> str:
        """Return its name, unique among all routes: `areas_show`."""
        return f"{self.handle.__module__.rpartition('.')[2]}_{self.handle.__name__}".rstrip("_")

    @functools.cached_property
    def annotations(self) -> dict[str, Any]:
        """Return the types of the handler's parameters."""
        found = inspect.get_annotations(self.handle, eval_str=True)
        found.pop("return", None)
        found.pop("ask", None)
        return found


def get(path: str, handle: Handle, permission: str, **more: Any) -> Route:
    """Return a route that reads."""
    return Route("GET", path, handle, permission, **more)


def post(path: str, handle: Handle, permission: str, **more: Any) -> Route:
    """Return a route that makes or does something."""
    return Route("POST", path, handle, permission, **more)


def put(path: str, handle: Handle, permission: str, **more: Any) -> Route:
    """Return a route that replaces."""
    return Route("PUT", path, handle, permission, **more)


def patch(path: str, handle: Handle, permission: str, **more: Any) -> Route:
    """Return a route that changes some of it."""
    return Route("PATCH", path, handle, permission, **more)


def delete(path: str, handle: Handle, permission: str, **more: Any) -> Route:
    """Return a route that removes."""
    return Route("DELETE", path, handle, permission, status=204, **more)


def rfc3339(ms: int | None) -> str | None:
    """Return UTC milliseconds as the API writes times."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
