"""How is a connector called? With converted parameters, a context of its own, and errors that carry a decision.

`Services` is the face of this module towards areas and actions. Whatever a connector raises that is no `ConnectorError`
is a bug of the connector: it becomes `Permanent`, with the traceback in the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from areabox.clock import Clock
from areabox.errors import (
    ConnectorError,
    InputError,
    NotAllowedError,
    Permanent,
    Transient,
    Uncertain,
)
from areabox.sdk import Delivery, Hook, Option
from areabox.services.accounts import Account
from areabox.services.calling import NOWHERE, SAFE_EFFECTS, Accounts, Calling, ConnectorBug, Houses, scrub
from areabox.services.catalogue import Catalogue
from areabox.services.context import CallContext
from areabox.services.http import Client, Egress
from areabox.services.operations import Operation

log = logging.getLogger(__name__)

GRACE_S = 0.5  # the HTTP client's own deadline says more, so it comes first
POLL_S = 120.0
STREAM_S = 30 * 86_400.0
ASK_S = 30.0
OPTIONS_MAX = 500
REFRESH_S = 2.0


class Services(Calling):
    """All third parties."""

    def __init__(
        self, clock: Clock, catalogue: Catalogue, connections: Accounts, egress: Egress, *, house: Houses | None = None
    ) -> None:
        super().__init__(clock, catalogue, connections, egress, house)
        connections.tester = self.label

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
        hosts_literal: frozenset[str] = NOWHERE,
    ) -> Any:
        """Do it, and return its result as JSON values; raises InputError for parameters, else ConnectorError."""
        operation = self._catalogue.reaction(reaction_id)
        if operation is None:
            raise Permanent(f"there is no reaction {reaction_id} any more; is its connector still installed?")
        arguments = operation.convert(params)
        account = None if connection is None else await self._account(connection, operation, owner)
        client, context = self._context(operation.connector, account, owner, timeout_s, {}, hosts_literal, key, attempt)
        scrubber = self._scrubber(operation, account, params)
        limit = self._deadlines.begin(timeout_s + GRACE_S)
        try:
            if operation.connector.open_session is not None:
                result = await self._in_session(operation, account, context, arguments)
            else:
                result = await operation.run(context, **arguments)
            result = operation.output.plain(result)
        except asyncio.CancelledError:
            if limit.fired():
                raise self._late(operation, params, client, timeout_s) from None
            raise
        except Exception as error:
            await self._refuse(error, operation, account, params, scrubber)
            raise
        finally:
            self._deadlines.end(limit)
        return scrubber.json(result)

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
        scrubber = self._scrubber(operation, account, params)
        try:
            async with (
                self._session(operation.connector, account, context) as context.session,
                aclosing(operation.run(context, **arguments)) as events,
            ):
                async for event in events:
                    nothing = event is None and operation.kind == "stream"
                    yield {} if nothing else self._event(operation, scrubber, event)
        except Exception as error:
            await self._refuse(error, operation, account, params, scrubber)
            raise
        finally:
            if scrubber:  # it is stored as it is: an ETag, say, from a server that repeats what it was told
                cursor.update(scrubber.json(cursor))

    def listen(
        self,
        action_id: str,
        params: dict[str, Any],
        *,
        owner: str,
        connection: str | None,
        cursor: dict[str, Any],
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens for as long as the source lives. Raises InputError or ConnectorError.

        An empty mapping is no event: the source is well, and `cursor` says how far it got.
        """
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
        self._connections.scrubber.learn(operation.secrets_in(params))
        self._verify(operation, params, delivery, secret)
        run = getattr(operation.declared, "parse", None) or operation.run
        try:
            return [operation.output.plain(event) for event in run(delivery, **operation.convert(params))]
        except (ConnectorError, InputError, NotAllowedError):
            raise
        except Exception as error:
            log.exception("the connector %s failed", operation.id, extra={"operation": operation.id})
            raise ConnectorBug(f"the connector {operation.id} failed on this: {type(error).__name__}") from error

    async def secret(self, action_id: str, connection: str | None) -> str | None:
        """Return what deliveries are verified with, where that is a field of the connection; raises AuthExpired."""
        operation = self._catalogue.action(action_id)
        field = getattr(operation.declared, "signed_by", "") if operation is not None else ""
        if not field or connection is None:
            return None
        return str(getattr((await self._connections.account(connection)).view, field))

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
        state: Any = None,
    ) -> Any:
        """Ask a service to deliver to `url`, and return what `unsubscribe` wants to know, in JSON.

        With the `state` that it returned before, the service is asked to go on.
        """
        operation, account, context, arguments = await self._source(action_id, params, owner, connection, {}, ASK_S)
        hook = _told(operation, context, url, secret, state)
        try:
            async with asyncio.timeout(ASK_S + GRACE_S):
                return msgspec.to_builtins(await hook.subscribe(context, **arguments))
        except TimeoutError:
            raise Uncertain(f"no end within {ASK_S:.0f} s") from None
        except Exception as error:
            await self._refuse(error, operation, account, params)
            raise

    async def unsubscribe(
        self,
        action_id: str,
        params: dict[str, Any],
        *,
        owner: str,
        connection: str | None,
        state: Any,
        url: str = "",
        secret: str = "",
    ) -> None:
        """Ask a service to deliver no more; `state` is what `subscribe` returned."""
        operation, account, context, arguments = await self._source(action_id, params, owner, connection, {}, ASK_S)
        hook = _told(operation, context, url, secret, state)
        if hook.end is None:
            return
        try:
            async with asyncio.timeout(ASK_S + GRACE_S):
                await hook.end(context, **arguments)
        except TimeoutError:
            raise Uncertain(f"no end within {ASK_S:.0f} s") from None
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
        _, context = self._context(connector, account, account.owner, ASK_S, {}, NOWHERE)
        try:
            async with asyncio.timeout(ASK_S), self._session(connector, account, context) as context.session:
                return account.scrubber.text(str(await connector.tester(context)))
        except TimeoutError:
            raise Transient(f"no answer within {ASK_S:.0f} s") from None
        except ConnectorError as error:
            scrub(error, account.scrubber)
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
        _, context = self._context(operation.connector, account, owner, ASK_S, {}, NOWHERE)
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


def _told(operation: Operation, context: CallContext, url: str, secret: str, state: Any) -> Hook:
    """Return how a service is asked to deliver, and put into the context what it wants to know."""
    hook: Hook | None = getattr(operation.declared, "hook", None)
    if hook is None:
        raise Permanent(f"{operation.id} is not delivered by its service")
    context.url, context.secret, context.state = url, secret, state
    context.events = list(getattr(operation.declared, "hook_events", ()))
    return hook
