"""What does every call of a connector need? Its account, its context, its session, and a judgement of its errors."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from areabox.clock import Clock
from areabox.errors import AuthExpired, ConnectorError, InputError, Permanent, StorageFullError, Transient, Uncertain
from areabox.sdk import Connector, Host
from areabox.services.accounts import Account, Route, literal_hosts, route_of, typed_hosts
from areabox.services.catalogue import Catalogue
from areabox.services.connections import OnState, Tester
from areabox.services.context import CallContext
from areabox.services.deadlines import Deadlines
from areabox.services.http import Client, Egress
from areabox.services.operations import Operation
from areabox.services.pace import Pace
from areabox.services.secrets import Scrubber
from areabox.services.sessions import Sessions, Taps

log = logging.getLogger(__name__)

SAFE_EFFECTS = frozenset({"read", "idempotent", "keyed"})
NOWHERE: frozenset[str] = frozenset()
_NOTHING = Scrubber()


class ConnectorBug(Permanent):
    """The connector failed, not the service and not the person; the traceback is in the log."""


class Accounts(Protocol):
    """Whoever opens connections up."""

    tester: Tester | None
    scrubber: Scrubber  # knows every secret that was opened, for logs
    on_state: list[OnState]

    async def account(self, id: str) -> Account:
        """Open a connection up; raises AuthExpired if it is gone."""
        ...

    async def dead(self, id: str, why: str, *, version: int | None = None) -> None:
        """Note that a service refused a connection."""
        ...

    async def usable(self, owner: str, id: str) -> bool:
        """Tell whether an owner's areas may use this connection of somebody else."""
        ...

    def forget(self) -> None:
        """Read everything again when it is next needed."""
        ...

    async def trusted(self, owner: str) -> bool:
        """Tell whether addresses that an owner typed may be addresses at home."""
        ...


class Houses(Protocol):
    """Whoever does what the house does for its own services."""

    def of(self, owner: str) -> Host:
        """Return the host as one owner's areas see it."""
        ...


class Calling:
    """The calls of one process: what they share."""

    def __init__(
        self,
        clock: Clock,
        catalogue: Catalogue,
        connections: Accounts,
        egress: Egress,
        house: Houses | None,
    ) -> None:
        self._clock, self._catalogue, self._connections = clock, catalogue, connections
        self._egress, self._house = egress, house
        self._sessions, self._taps, self._deadlines = Sessions(), Taps(), Deadlines()
        self._routes: dict[str, tuple[Connector, Route]] = {}
        self._logs: dict[str, logging.Logger] = {}
        self._paces: dict[tuple[str, str], Pace] = {}
        connections.on_state.append(self._forget)

    async def close(self) -> None:
        """Close the sessions that are open."""
        await self._sessions.close()

    async def _source(
        self, action_id: str, params: dict[str, Any], owner: str, connection: str | None, cursor: dict[str, Any],
        timeout_s: float,
    ) -> tuple[Operation, Account | None, CallContext, dict[str, Any]]:  # fmt: skip
        operation = self._catalogue.action(action_id)
        if operation is None:
            raise Permanent(f"there is no action {action_id} any more; is its connector still installed?")
        arguments = operation.convert(params)
        account = None if connection is None else await self._account(connection, operation, owner)
        typed = literal_hosts(params) | typed_hosts(operation.fields, params)
        if typed and not await self._connections.trusted(owner):
            typed = NOWHERE
        _, context = self._context(operation.connector, account, owner, timeout_s, cursor, typed)
        return operation, account, context, arguments

    def _context(
        self,
        connector: Connector,
        account: Account | None,
        owner: str,
        timeout_s: float,
        cursor: dict[str, Any],
        hosts_literal: frozenset[str],
        key: str = "",
        attempt: int = 1,
    ) -> tuple[Client, CallContext]:
        route = account.route if account is not None else self._route(connector)
        client = Client(
            self._egress,
            self._clock,
            route,
            timeout_s=timeout_s,
            cursor=cursor,
            literal_hosts=hosts_literal,
            pace=None if connector.limits is None else self._pace(connector, account),
        )
        context = CallContext(
            self._clock,
            client,
            self._log(connector.id),
            auth=account.view if account is not None else None,
            cursor=cursor,
            key=key,
            attempt=attempt,
            host=self._host(connector, owner) if connector.builtin else None,
            client_id=f"areabox-{account.id}" if account is not None else "areabox",
            taps=self._taps,
        )
        return client, context

    async def _account(self, connection: str, operation: Operation, owner: str) -> Account:
        account = await self._connections.account(connection)
        mine = account.owner == owner or await self._connections.usable(owner, connection)
        if not mine or account.service != operation.service:
            raise Permanent(f"this is no connection to {operation.service} of the area's owner")
        if account.dead is not None:
            raise AuthExpired(account.dead)
        return account

    def _route(self, connector: Connector) -> Route:
        known = self._routes.get(connector.id)
        if known is None or known[0] is not connector:
            known = self._routes[connector.id] = (connector, route_of(connector))
        return known[1]

    def _pace(self, connector: Connector, account: Account | None) -> Pace:
        key = (connector.id, account.id if account is not None else "")
        known = self._paces.get(key)
        if known is None:
            assert connector.limits is not None
            known = self._paces[key] = Pace(self._clock, connector.name, connector.limits)
        return known

    def _host(self, connector: Connector, owner: str) -> Host | None:
        own = self._catalogue.service(connector.id).origin == "builtin"
        return self._house.of(owner) if own and self._house is not None else None

    def _log(self, service: str) -> logging.Logger:
        found = self._logs.get(service)
        if found is None:
            found = self._logs[service] = logging.getLogger(f"areabox.connectors.{service}")
        return found

    def _session(
        self, connector: Connector, account: Account | None, context: CallContext
    ) -> AbstractAsyncContextManager[Any]:
        if connector.open_session is None:
            return nullcontext()
        key = account.id if account is not None else f"service:{connector.id}"
        return self._sessions.use(key, lambda: connector.open_session(context.auth, context.lasting()))  # type: ignore[misc]

    async def _in_session(
        self, operation: Operation, account: Account | None, context: CallContext, arguments: dict[str, Any]
    ) -> Any:
        async with self._session(operation.connector, account, context) as context.session:
            return await operation.run(context, **arguments)

    def _scrubber(self, operation: Operation, account: Account | None, params: dict[str, Any]) -> Scrubber:
        """Return who takes out of a call's results what it was told in confidence; the log learns it, too."""
        own = operation.secrets_in(params)
        if not own:
            return _NOTHING if account is None else account.scrubber
        self._connections.scrubber.learn(own)
        return Scrubber([*own, *(() if account is None else account.scrubber.known)])

    def _event(self, operation: Operation, scrubber: Scrubber, event: Any) -> dict[str, Any]:
        plain = operation.output.plain(event)
        if not isinstance(plain, dict):
            raise TypeError(f"{operation.id} yielded {type(event).__name__}, which is no event")
        found: dict[str, Any] = scrubber.json(plain)
        return found

    async def _refuse(
        self,
        error: Exception,
        operation: Operation,
        account: Account | None,
        params: dict[str, Any],
        scrubber: Scrubber | None = None,
    ) -> None:
        """Raise what an error means if it means another one, and note a connection that was refused."""
        if isinstance(error, InputError):
            return
        if isinstance(error, StorageFullError):  # of a reaction that writes here; the disk may have room later
            raise Transient(str(error)) from error
        if not isinstance(error, ConnectorError):
            log.error("the connector %s failed", operation.id, exc_info=error, extra={"operation": operation.id})
            raise ConnectorBug(f"the connector {operation.id} failed, not you: {type(error).__name__}") from error
        scrub(error, scrubber or self._scrubber(operation, account, params))
        if account is not None and isinstance(error, AuthExpired):
            await self._connections.dead(account.id, str(error), version=account.version)
        if isinstance(error, Uncertain) and operation.effect_of(params) in SAFE_EFFECTS:
            raise Transient(str(error)) from error

    async def _forget(self, connection: str, state: str) -> None:
        if state != "ok":
            self._sessions.forget(connection)


def scrub(error: ConnectorError, scrubber: Scrubber) -> None:
    """Take secrets out of an error's message."""
    error.args = tuple(scrubber.json(argument) for argument in error.args)
