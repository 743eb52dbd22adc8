"""A network that is not there, and examples to call with: where the contract kit lets connectors play."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import urlsplit

import httpx2
import msgspec

from areabox.clock import Clock
from areabox.errors import InputError, Permanent
from areabox.sdk import UNSET
from areabox.services.accounts import Account, route_of
from areabox.services.bodies import TooLarge
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue, Service
from areabox.services.egress import MAX_BYTES, Credentials
from areabox.services.folders import Folders
from areabox.services.forms import Form, FormField
from areabox.services.operations import Operation
from areabox.services.secrets import Scrubber
from areabox.services.wire import NoAnswer, NotSent

CANARY = "canary-5ecret-4711"
KEY = "0123456789abcdef0123456789abcdef"
OWNER = "kit"
TIMEOUT_S = 5.0
OPEN_S, CLOSE_S = 0.2, 1.0  # how long a stream is left open, and may take to close
_BY_FORMAT = {
    "url": "https://example.org/feed",
    "host": "host.example.org",
    "target": "host.example.org:22",
    "email": "ann@example.org",
    "cron": "0 7 * * *",
    "duration": "15m",
    "datetime": "2026-01-01T08:00:00Z",
    "timezone": "Europe/Paris",
    "color": "#ff8800",
    "path": "/tmp/example",  # noqa: S108 -- never opened
    "template": "{{ trigger.title }}",
}
_BY_TYPE: dict[Any, Any] = {str: "abc", int: 1, float: 1.5, bool: True, list: [], tuple: [], set: [], dict: {}}


class Fault(msgspec.Struct, frozen=True):
    """What the network answers with: a status and body, or no answer at all ("refused", "silent")."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b"nothing of use"
    error: str = ""


class Asked(msgspec.Struct, frozen=True):
    """One request that went out. `is_own`: to one of the service's own hosts."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    is_own: bool


class Stage:
    """A service on its own: its connections are made up, and its requests are answered by the fault of the hour."""

    def __init__(self, catalogue: Catalogue, service: Service, clock: Clock) -> None:
        self._fault, self._asked, self._effects = Fault(), list[Asked](), list[str]()
        self._opened = 0
        self.events: list[dict[str, Any]] = []  # of the last call
        self._account = _made_up(service)
        base = urlsplit(self._account.route.base if self._account is not None else "").hostname
        self._base = frozenset({base} if base else ())  # whose address may be the secret itself
        self.tester: Any = None
        self.on_state: list[Any] = []
        self.scrubber = Scrubber()
        self.services = Services(clock, catalogue, self, self, house=self)
        self.connection = OWNER if self._account is not None else None
        self._log = _Lines(logging.getLogger(f"areabox.connectors.{service.id}"))

    async def call(
        self, operation: Operation, params: dict[str, Any], fault: Fault
    ) -> tuple[Exception | None, list[Asked]]:
        """Call an operation while the network has a fault; return how it ended and what was asked."""
        self._fault, self._asked, self.events, self._opened = fault, [], [], 0
        try:
            if operation.kind == "reaction":
                await self.services.react(
                    operation.id, params, owner=OWNER, connection=self.connection, key=KEY, attempt=1,
                    timeout_s=TIMEOUT_S,
                )  # fmt: skip
            else:
                await self._read(operation, params)
        except Exception as error:  # noqa: BLE001 -- it is the result
            return error, self._asked
        return None, self._asked

    def answer(self, fault: Fault) -> None:
        """Let the network answer so from now on."""
        self._fault, self._asked = fault, []

    async def listen(self, operation: Operation, params: dict[str, Any]) -> tuple[Exception | None, bool]:
        """Open a stream while nobody answers; return how it ended, and whether anybody was asked.

        One that stays open is closed after a moment; raises TimeoutError if it does not let itself be closed.
        """
        self._fault, self._asked, self._opened, self.events = Fault(error="refused"), [], 0, []
        reading = asyncio.create_task(self._read(operation, params))
        await asyncio.wait([reading], timeout=OPEN_S)
        reading.cancel()
        if not (await asyncio.wait([reading], timeout=CLOSE_S))[0]:
            raise TimeoutError
        error = None if reading.cancelled() else reading.exception()
        return error if isinstance(error, Exception) else None, bool(self._asked or self._opened)

    async def _read(self, operation: Operation, params: dict[str, Any]) -> None:
        source = self.services.poll(
            operation.id, params, owner=OWNER, connection=self.connection, cursor={}, timeout_s=TIMEOUT_S
        )
        async for event in source:
            self.events.append(event)

    def was_sent(self, text: str) -> bool:
        """Tell whether a text was in the last call's requests, or given to the house as an effect's key."""
        sent = (f"{asked.url} {asked.headers} {asked.content!r}" for asked in self._asked)
        return text in self._effects or any(text in one for one in sent)

    @property
    def has_dialled(self) -> bool:
        """Whether the last call asked for something else than an HTTP answer, of which nothing was heard or seen."""
        return self._opened > 0

    def has_logged(self, text: str) -> bool:
        """Tell whether the connector's log holds a text."""
        return any(text in line for line in self._log.lines)

    async def close(self) -> None:
        """Leave the stage."""
        self._log.close()
        await self.services.close()

    # -- in the place of egress ------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout_s: float,
        literal_hosts: frozenset[str],
        credentials: Credentials | None,
        max_bytes: int = MAX_BYTES,
    ) -> httpx2.Response:
        """Answer as the fault says."""
        del timeout_s, literal_hosts
        parts = urlsplit(url)
        own = (credentials.hosts if credentials is not None else frozenset()) | self._base
        port = parts.port or (443 if parts.scheme == "https" else 80)
        is_own = parts.hostname in own or f"{parts.hostname}:{port}" in own
        self._asked.append(Asked(method, url, dict(headers), content, is_own))
        if self._fault.error == "refused":
            raise NotSent(f"{parts.hostname} refused the connection")
        if self._fault.error == "silent":
            raise NoAnswer(f"{parts.hostname} was sent the request, and gave no answer")
        if len(self._fault.body) > max_bytes:
            raise TooLarge(f"{parts.hostname} sent an answer of more than {max_bytes} bytes")
        request = httpx2.Request(method, url)
        answer = self._fault
        return httpx2.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)

    def stream(self, url: str, **options: Any) -> AbstractAsyncContextManager[Any]:
        """Open nothing."""
        del options
        self._opened += 1
        raise NotSent(f"{url} cannot be opened on a stage")

    def websocket(self, url: str, **options: Any) -> AbstractAsyncContextManager[Any]:
        """Open nothing."""
        del options
        self._opened += 1
        raise NotSent(f"{url} cannot be opened on a stage")

    async def addresses(self, host: str, port: int, **options: Any) -> list[str]:
        """Know nobody."""
        del port, options
        self._opened += 1
        raise NotSent(f"{host} has no address on a stage")

    async def dial(self, host: str, port: int, **options: Any) -> socket.socket:
        """Reach nobody."""
        del options
        self._opened += 1
        raise NotSent(f"{host}:{port} refused the connection")

    async def tls(self, certificate: str = "") -> ssl.SSLContext:
        """Return what nobody is spoken to with."""
        del certificate
        return ssl.create_default_context()

    # -- in the place of connections -------------------------------------------------------------------------------

    async def account(self, id: str) -> Account:
        """Return the made-up account."""
        del id
        assert self._account is not None
        return self._account

    async def dead(self, id: str, why: str, *, version: int | None = None) -> None:
        """Note nothing."""

    def forget(self) -> None:
        """Forget nothing."""

    async def usable(self, owner: str, id: str) -> bool:
        """Share nothing."""
        del owner, id
        return False

    async def trusted(self, owner: str) -> bool:
        """Trust nobody."""
        del owner
        return False

    # -- in the place of the house ---------------------------------------------------------------------------------

    def of(self, owner: str) -> Stage:
        """Return the house of any owner."""
        del owner
        return self

    folders = Folders()  # none is allowed
    push_key = bytes(31) + b"\x01"

    async def apprise(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Refuse."""
        del request, timeout_s
        raise Permanent("there is no Apprise on a stage")

    async def commands(self) -> dict[str, Any]:
        """Return no command."""
        return {}

    async def store_get(self, key: str) -> Any:
        """Return nothing."""
        del key

    async def store_set(self, key: str, value: Any, effect_key: str) -> Any:
        """Store nothing."""
        del key
        self._effects.append(effect_key)
        return value

    async def store_increment(self, key: str, value: float, effect_key: str) -> Any:
        """Add nothing."""
        del key
        self._effects.append(effect_key)
        return value

    async def notify(self, title: str, message: str, link: str, effect_key: str) -> None:
        """Tell nobody."""
        del title, message, link
        self._effects.append(effect_key)


class _Lines(logging.Handler):
    """What a connector logged."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._logger = logger
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def close(self) -> None:
        self._logger.removeHandler(self)
        super().close()


def parameters(operation: Operation, *, all_fields: bool = False) -> dict[str, Any]:
    """Return parameters that are valid: the required ones, or one for every field."""
    return {name: _example(field) for name, field in operation.fields.items() if field.required or all_fields}


def _example(field: FormField) -> Any:
    """Return a valid value of a field; raises InputError where only its author can know one."""
    spec, kind = field.spec, _plain_type(field.type)
    candidates = [
        spec.example,
        field.choices[0] if field.choices else UNSET,
        spec.placeholder or UNSET,
        _BY_FORMAT.get(spec.format or "", UNSET),
        field.default if kind is bool else UNSET,
        spec.ge if spec.ge is not None and kind in (int, float) else UNSET,
        _BY_TYPE.get(kind, "abc"),
        field.default,
    ]
    for candidate in candidates:
        if candidate is not UNSET and field.complaint(candidate) is None:
            return candidate
    raise InputError(f"{field.name} has no example")


def _plain_type(type_: Any) -> Any:
    if get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    members = [part for part in get_args(type_) if part is not type(None)]
    if get_origin(type_) not in (None, list, dict, tuple, set) and members:
        type_ = members[0]
    return get_origin(type_) or type_


def _made_up(service: Service) -> Account | None:
    """Return an account at a service whose every secret is the canary; None where none is needed."""
    if not service.needs_connection:
        return None
    way = next(iter(service.ways.values()))
    view = way.view(_credentials(way.form))
    route = route_of(service.connector, way, view)
    return Account(
        id=OWNER, owner=OWNER, service=service.id, version=1, dead=None, view=view, route=route,
        scrubber=Scrubber([CANARY]),
    )  # fmt: skip


def _credentials(form: Form) -> dict[str, Any]:
    secret = {"url": f"https://hooks.example.org/{CANARY}"}
    return {
        name: secret.get(field.spec.format or "", CANARY) if field.secret else _example(field)
        for name, field in form.fields.items()
    }
