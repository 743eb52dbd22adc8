"""How is a connector called? With converted parameters, a context of its own, and errors that carry a decision.

`Services` is the face of this module towards areas and actions. Whatever a connector raises that is no `ConnectorError`
is a bug of the connector: it becomes `Permanent`, with the traceback in the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, Protocol

from areabox.clock import Clock
from areabox.errors import (
    AuthExpired,
    ConnectorError,
    InputError,
    NotAllowedError,
    Permanent,
    Transient,
    Uncertain,
)
from areabox.sdk import Connector, Delivery, Hook, Host, Option
from areabox.services.accounts import Account, Route, literal_hosts, route_of
from areabox.services.catalogue import Catalogue
from areabox.services.connections import OnState, Tester
from areabox.services.context import CallContext
from areabox.services.http import Client, Egress
from areabox.services.operations import Operation
from areabox.services.pace import Pace
from areabox.services.sessions import Sessions, Taps

log = logging.getLogger(__name__)

GRACE_S = 0.5  # the HTTP client's own deadline says more, so it comes first
POLL_S = 120.0
STREAM_S = 30 * 86_400.0
ASK_S = 30.0
OPTIONS_MAX = 500
REFRESH_S = 5.0
SAFE_EFFECTS = frozenset({"read", "idempotent", "keyed"})
_NOWHERE: frozenset[str] = frozenset()


class ConnectorBug(Permanent):
    """The connector failed, not the service and not the person; the traceback is in the log."""


class Accounts(Protocol):
    """Whoever opens connections up."""

    tester: Tester | None
    on_state: list[OnState]

    async def account(self, id: str) -> Account:
        """Open a connection up; raises AuthExpired if it is gone."""
        ...

    async def dead(self, id: str, why: str, *, version: int | None = None) -> None:
        """Note that a service refused a connection."""
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


class Services:
    """All third parties."""

    def __init__(
        self,
        clock: Clock,
        catalogue: Catalogue,
        connections: Accounts,
        egress: Egress,
        *,
        house: Houses | None = None,
    ) -> None:
        self._clock, self._catalogue, self._connections = clock, catalogue, connections
        self._egress, self._house = egress, house
        self._sessions, self._taps = Sessions(), Taps()
        self._routes: dict[str, tuple[Connector, Route]] = {}
        self._logs: dict[str, logging.Logger] = {}
        self._paces: dict[tuple[str, str], Pace] = {}
        connections.tester = self.label
        connections.on_state.append(self._forget)

    # -- reactions -------------------------------------------------------------------------------------------------

    async def react(
        self,
        reaction_id: str,
        params: dict[str, Any],
        *,
        owner: str,
        connection: str | None,
        key: str,
        attempt: int,
        timeout_s: float,
        hosts_literal: frozenset[str] = _NOWHERE,
    ) -> Any:
        """Do it, and return its result as JSON values; raises InputError for parameters, else ConnectorError."""
        operation = self._catalogue.reaction(reaction_id)
        if operation is None:
            raise Permanent(f"there is no reaction {reaction_id} any more; is its connector still installed?")
        arguments = operation.convert(params)
        account = None if connection is None else await self._account(connection, operation, owner)
        client, context = self._context(operation.connector, account, owner, timeout_s, {}, hosts_literal, key, attempt)
        try:
            async with asyncio.timeout(timeout_s + GRACE_S):
                if operation.connector.open_session is not None:
                    result = await self._in_session(operation, account, context, arguments)
                else:
                    result = await operation.run(context, **arguments)
                result = operation.output.plain(result)
        except TimeoutError:
            raise self._late(operation, params, client, timeout_s) from None
        except Exception as error:
            await self._refuse(error, operation, account, params)
            raise
        return result if account is None else account.scrubber.json(result)

    def _late(self, operation: Operation, params: dict[str, Any], client: Client, timeout_s: float) -> ConnectorError:
        message = f"no end within {timeout_s:.0f} s"
        untouched = client.used and not client.changed
        if untouched or operation.effect_of(params) in SAFE_EFFECTS:
            return Transient(message)
        return Uncertain(message)

    # -- actions ---------------------------------------------------------------------------------------------------

    async def poll(
        self,
        action_id: str,
        params: dict[str, Any],
        *,
        owner: str,
        connection: str | None,
        cursor: dict[str, Any],
        timeout_s: float = POLL_S,
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield what a source lists, oldest first; changes `cursor` in place. Raises InputError or ConnectorError."""
        operation, account, context, arguments = await self._source(
            action_id, params, owner, connection, cursor, timeout_s
        )
        try:
            async with self._session(operation.connector, account, context) as context.session:
                async with aclosing(operation.run(context, **arguments)) as events:
                    async for event in events:
                        yield self._event(operation, account, event)
        except Exception as error:
            await self._refuse(error, operation, account, params)
            raise

    def listen(
        self,
        action_id: str,
        params: dict[str, Any],
        *,
        owner: str,
        connection: str | None,
        cursor: dict[str, Any],
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens for as long as the source lives. Raises InputError or ConnectorError."""
        return self.poll(action_id, params, owner=owner, connection=connection, cursor=cursor, timeout_s=STREAM_S)

    def delivery(
        self, action_id: str, params: dict[str, Any], delivery: Any, secret: str | None
    ) -> list[dict[str, Any]]:
        """Verify what came in at a hook, and return the events in it, often one.

        Raises NotAllowedError for a wrong signature and InputError for parameters; a bug of the connector is Permanent.
        """
        operation = self._catalogue.action(action_id)
        if operation is None:
            raise Permanent(f"there is no action {action_id} any more; is its connector still installed?")
        self._verify(operation, params, delivery, secret)
        run = getattr(operation.declared, "parse", None) or operation.run
        try:
            return [operation.output.plain(event) for event in run(delivery, **operation.convert(params))]
        except (ConnectorError, InputError, NotAllowedError):
            raise
        except Exception as error:
            log.exception("the connector %s failed", operation.id, extra={"operation": operation.id})
            raise ConnectorBug(f"the connector {operation.id} failed on this: {type(error).__name__}") from error

    def handshake(self, action_id: str, delivery: Delivery) -> str | None:
        """Return what a service's first question is answered with; None for a delivery like any other."""
        operation = self._catalogue.action(action_id)
        declared: Any = operation.declared if operation is not None else None
        answer = getattr(declared, "handshake", None) or getattr(getattr(declared, "hook", None), "handshake", None)
        return answer(delivery) if answer is not None else None

    async def subscribe(
        self,
        action_id: str,
        params: dict[str, Any],
        *,
        owner: str,
        connection: str | None,
        url: str,
        secret: str,
    ) -> Any:
        """Ask a service to deliver to `url`, and return what `unsubscribe` wants to know, in JSON."""
        operation, account, context, arguments = await self._source(action_id, params, owner, connection, {}, ASK_S)
        hook, context.url, context.secret = _hook(operation), url, secret
        context.events = list(getattr(operation.declared, "hook_events", ()))
        try:
            return await hook.subscribe(context, **arguments)
        except Exception as error:
            await self._refuse(error, operation, account, params)
            raise

    async def unsubscribe(
        self, action_id: str, params: dict[str, Any], *, owner: str, connection: str | None, state: Any
    ) -> None:
        """Ask a service to deliver no more; `state` is what `subscribe` returned."""
        operation, account, context, arguments = await self._source(action_id, params, owner, connection, {}, ASK_S)
        hook, context.state = _hook(operation), state
        if hook.end is None:
            return
        try:
            await hook.end(context, **arguments)
        except Exception as error:
            await self._refuse(error, operation, account, params)
            raise

    def _verify(self, operation: Operation, params: dict[str, Any], delivery: Any, secret: str | None) -> None:
        hook = getattr(operation.declared, "hook", None)
        verifier = hook.verify if hook is not None else operation.verifier(params)
        if verifier is not None and not verifier(delivery, secret or "", self._clock.now_ms() / 1000):
            raise NotAllowedError("the signature of this delivery is wrong")

    # -- connecting ------------------------------------------------------------------------------------------------

    async def label(self, account: Account) -> str:
        """Ask a service whether a connection works, and return the account's name; raises ConnectorError."""
        connector = self._catalogue.service(account.service).connector
        if connector.tester is None:
            return ""
        _, context = self._context(connector, account, account.owner, ASK_S, {}, _NOWHERE)
        try:
            async with asyncio.timeout(ASK_S), self._session(connector, account, context) as context.session:
                return str(await connector.tester(context))
        except TimeoutError:
            raise Transient(f"no answer within {ASK_S:.0f} s") from None
        except ConnectorError as error:
            _scrub(error, account)
            raise
        except Exception as error:
            log.exception("the test of the connector %s failed", connector.id)
            raise ConnectorBug(f"the connector {connector.id} failed, not you: {type(error).__name__}") from error

    async def options(
        self,
        kind: str,
        operation_id: str,
        field: str,
        values: Mapping[str, Any],
        *,
        owner: str,
        connection: str | None = None,
        q: str = "",
    ) -> list[Option]:
        """Return the choices of a field, given the fields that it depends on; raises InputError or ConnectorError."""
        operation = (self._catalogue.action if kind == "action" else self._catalogue.reaction)(operation_id)
        found = operation.fields.get(field) if operation is not None else None
        if operation is None or found is None or found.spec.options is None:
            raise InputError(f"{operation_id} has no choices for {field}")
        account = None if connection is None else await self._account(connection, operation, owner)
        _, context = self._context(operation.connector, account, owner, ASK_S, {}, _NOWHERE)
        needed = {name: values.get(name, "") for name in found.depends}
        try:
            async with asyncio.timeout(ASK_S), self._session(operation.connector, account, context) as context.session:
                options: list[Option] = await found.spec.options(context, **needed, q=q)
        except TimeoutError:
            raise Transient(f"no answer within {ASK_S:.0f} s") from None
        except Exception as error:
            await self._refuse(error, operation, account, {})
            raise
        return options[:OPTIONS_MAX]

    async def tick(self) -> float:
        """Load the connectors in the data directory that came or changed, and return when to look again."""
        if changed := self._catalogue.refresh():
            log.info("connectors were loaded: %s", ", ".join(changed), extra={"services": changed})
            self._connections.forget()
        return REFRESH_S

    async def close(self) -> None:
        """Close the sessions that are open."""
        await self._sessions.close()

    # -- what a call needs -----------------------------------------------------------------------------------------

    async def _source(
        self, action_id: str, params: dict[str, Any], owner: str, connection: str | None, cursor: dict[str, Any],
        timeout_s: float,
    ) -> tuple[Operation, Account | None, CallContext, dict[str, Any]]:  # fmt: skip
        operation = self._catalogue.action(action_id)
        if operation is None:
            raise Permanent(f"there is no action {action_id} any more; is its connector still installed?")
        arguments = operation.convert(params)
        account = None if connection is None else await self._account(connection, operation, owner)
        typed = literal_hosts(params)
        if typed and not await self._connections.trusted(owner):
            typed = _NOWHERE
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
        if account.owner != owner or account.service != operation.service:
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
        return self._sessions.use(key, lambda: connector.open_session(context.auth, context))  # type: ignore[misc]

    async def _in_session(
        self, operation: Operation, account: Account | None, context: CallContext, arguments: dict[str, Any]
    ) -> Any:
        async with self._session(operation.connector, account, context) as context.session:
            return await operation.run(context, **arguments)

    def _event(self, operation: Operation, account: Account | None, event: Any) -> dict[str, Any]:
        plain = operation.output.plain(event)
        if not isinstance(plain, dict):
            raise TypeError(f"{operation.id} yielded {type(event).__name__}, which is no event")
        return plain if account is None else account.scrubber.json(plain)

    async def _refuse(
        self, error: Exception, operation: Operation, account: Account | None, params: dict[str, Any]
    ) -> None:
        """Raise what an error means if it means another one, and note a connection that was refused."""
        if isinstance(error, InputError):
            return
        if not isinstance(error, ConnectorError):
            log.error("the connector %s failed", operation.id, exc_info=error, extra={"operation": operation.id})
            raise ConnectorBug(f"the connector {operation.id} failed, not you: {type(error).__name__}") from error
        if account is not None:
            _scrub(error, account)
            if isinstance(error, AuthExpired):
                await self._connections.dead(account.id, str(error), version=account.version)
        if isinstance(error, Uncertain) and operation.effect_of(params) in SAFE_EFFECTS:
            raise Transient(str(error)) from error

    async def _forget(self, connection: str, state: str) -> None:
        if state != "ok":
            self._sessions.forget(connection)


def _hook(operation: Operation) -> Hook:
    hook: Hook | None = getattr(operation.declared, "hook", None)
    if hook is None:
        raise Permanent(f"{operation.id} is not delivered by its service")
    return hook


def _scrub(error: ConnectorError, account: Account) -> None:
    """Take secrets out of an error's message."""
    error.args = tuple(account.scrubber.json(argument) for argument in error.args)
