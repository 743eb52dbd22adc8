"""A service as its connector declares it: who it is, what can happen there, and what can be done.

Declaring does no I/O and works nothing out; `areabox.services.operations` makes forms and schemas of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, ParamSpec, TypeVar

import msgspec

from areabox.sdk.auth import Auth
from areabox.sdk.context import Session
from areabox.sdk.durations import duration_ms
from areabox.sdk.signing import Handshake, Verifier

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

Kind = Literal["poll", "stream", "schedule", "hook", "internal"]
Dedupe = Literal["key", "change"] | None
Effect = Literal["read", "idempotent", "keyed", "once"]
Check = Callable[[dict[str, Any]], Iterable[tuple[str, str]]]
Change = Callable[[dict[str, Any]], dict[str, Any]]
C = TypeVar("C", bound=Change)


FIRST_UPGRADE = 2


class Limits(msgspec.Struct, frozen=True):
    """What a service puts up with: `Limits("5000/h", concurrency=4)`."""

    rate: str = ""
    concurrency: int | None = None


class Declared(Generic[P, R]):
    """An action or a reaction: still the function that was decorated, and what was said about it."""

    def __init__(self, connector: Connector, run: Callable[P, R], title: str, sentence: str) -> None:
        self.connector, self.run, self.title, self.sentence = connector, run, title, sentence
        self.name = run.__name__
        self.help = inspect.getdoc(run) or ""
        self.sample: Any = None
        self.scopes: tuple[str, ...] = ()
        self.was: tuple[str, ...] = ()
        self.check: Check | None = None
        self.upgrades: dict[int, Change] = {}
        self.former: dict[int, dict[str, Any]] = {}  # parameters as they were before an upgrade, for the contract kit

    def upgrade(self, version: int, *, former: dict[str, Any] | None = None) -> Callable[[C], C]:
        """Register how parameters become those of a version, from 2 on: a function of the parameters as stored.

        It is given parameters of any age, those that are new already included, and leaves alone what it does not know;
        values may be templates. `former` is an example from before, which the contract kit brings up to date.
        """
        if version < FIRST_UPGRADE or version in self.upgrades:
            raise TypeError(f"{self.name}: upgrades are numbered from 2, each once")

        def register(change: C) -> C:
            self.upgrades[version] = change
            if former is not None:
                self.former[version] = former
            return change

        return register

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.run(*args, **kwargs)


class Action(Declared[P, R]):
    """What can happen at a service."""

    kind: Kind = "internal"
    poll_ms: int | None = None
    dedupe: Dedupe = None
    shared: bool = True
    verify: Verifier | Callable[[dict[str, Any]], Verifier | None] | None = None
    signed_by: str = ""
    delivery_id: str | None = None
    handshake: Handshake | None = None
    hook: Hook | None = None
    hook_events: tuple[str, ...] = ()
    parse: Callable[..., Iterable[Any]] | None = None
    delivered: Any = None

    def webhook(self, hook: Hook, *events: str, sample: Any = None) -> Callable[[F], F]:
        """Register how a delivery at `hook` becomes events, where the service can push what is polled otherwise.

        The events have the ids that the poll gives them, so that nothing fires twice. `sample` is the JSON of a
        delivery with news in it, which the contract kit delivers.
        """

        def register(parse: F) -> F:
            self.hook, self.hook_events, self.parse, self.delivered = hook, events, parse, sample
            return parse

        return register


class Reaction(Declared[P, R]):
    """What can be done at a service."""

    effect: Effect | Callable[[dict[str, Any]], Effect] = "once"
    answers: str = ""


class Hook:
    """How deliveries are asked for at a service, known to be genuine, and no longer wanted.

    `renew` is how long a subscription lives unless it is asked for again, which is done in time.
    """

    def __init__(
        self, subscribe: Callable[..., Awaitable[Any]], verify: Verifier, handshake: Handshake | None, renew: str | None
    ) -> None:
        self.subscribe, self.verify, self.handshake = subscribe, verify, handshake
        self.renew_ms = duration_ms(renew) if renew else None
        self.end: Callable[..., Awaitable[None]] | None = None

    def unsubscribe(self, end: F) -> F:
        """Register how a subscription is ended; `ctx.state` is what subscribing returned."""
        self.end = end
        return end


class Connector:
    """One service.

    `base` is where paths are appended to, or a function of the connection's fields that gives it. The access headers go
    to its host and to `hosts` only. `auth` are the ways in; without one the service works without a connection.
    `builtin=True` asks for `ctx.host` and is honoured for areabox's own connectors only.
    """

    def __init__(
        self,
        id: str,
        name: str,
        *,
        about: str = "",
        base: str | Callable[[Any], str] = "",
        auth: Auth | Sequence[Auth] | None = None,
        hosts: Sequence[str] = (),
        limits: Limits | None = None,
        icon: str | None = None,
        docs: str | None = None,
        builtin: bool = False,
    ) -> None:
        self.id, self.name, self.about, self.base = id, name, about, base
        self.auth = (auth,) if isinstance(auth, Auth) else tuple(auth or ())
        self.hosts, self.limits, self.icon, self.docs, self.builtin = tuple(hosts), limits, icon, docs, builtin
        self.actions: dict[str, Action[..., Any]] = {}
        self.reactions: dict[str, Reaction[..., Any]] = {}
        self.tester: Callable[..., Awaitable[str]] | None = None
        self.open_session: Session | None = None

    def test(self, run: F) -> F:
        """Register `async (ctx) -> str`: raises if the connection does not work, else names its account."""
        self.tester = run
        return run

    def session(self, open: F) -> F:
        """Register an async context manager `(auth, ctx)`: one long-lived client for each connection."""
        self.open_session = open
        return open

    def action(
        self,
        name: str,
        *,
        sentence: str,
        sample: Any,
        poll: str | None = None,
        stream: bool = False,
        schedule: bool = False,
        hook: Verifier | Callable[[dict[str, Any]], Verifier | None] | bool = False,
        dedupe: Dedupe | Literal["auto"] = "auto",
        shared: bool = True,
        signed_by: str = "",
        delivery_id: str | None = None,
        handshake: Handshake | None = None,
        scopes: Sequence[str] = (),
        was: Sequence[str] = (),
        check: Check | None = None,
    ) -> Callable[[Callable[P, R]], Action[P, R]]:
        """Register what can happen. One of `poll`, `stream`, `schedule`, `hook`; with none the house itself fires it.

        A polled or streamed action is an async generator `(ctx, …)`. A hooked one is a generator `(delivery, …)`, and
        `hook` is how a delivery is verified, or a function of the parameters that says how. The others are never
        called. `dedupe`: by "key" an id is news once, by "change" whenever it differs, None is always news.
        `shared=False` makes one subscription for each trigger instead of one for all that ask for the same.
        Deliveries are verified with the parameter `secret`, or with the field of the connection that `signed_by` names.
        """

        def register(run: Callable[P, R]) -> Action[P, R]:
            action = Action(self, run, name, sentence)
            action.kind = _kind(poll=poll, stream=stream, schedule=schedule, hook=hook)
            action.poll_ms = duration_ms(poll) if poll else None
            action.dedupe = ("key" if poll else None) if dedupe == "auto" else dedupe
            action.shared, action.sample, action.check, action.signed_by = shared, sample, check, signed_by
            action.verify = None if isinstance(hook, bool) else hook
            action.delivery_id = delivery_id or (hook.delivery_id if isinstance(hook, Verifier) else None)
            action.handshake, action.scopes, action.was = handshake, tuple(scopes), tuple(was)
            self.actions[action.name] = action
            return action

        return register

    def reaction(
        self,
        name: str,
        *,
        sentence: str,
        effect: Effect | Callable[[dict[str, Any]], Effect] = "once",
        sample: Any = None,
        scopes: Sequence[str] = (),
        was: Sequence[str] = (),
        check: Check | None = None,
        answers: str = "",
    ) -> Callable[[Callable[P, R]], Reaction[P, R]]:
        """Register what can be done: an async function `(ctx, …)`; what it returns is the step's result.

        `effect` says what a repeat means: "read" and "idempotent" may be repeated, "keyed" with the same key, "once"
        never blindly. It may be a function of the parameters. `answers` names the action without parameters that tells
        which button under a question was pressed, by the fields `data` and `by`, of a reaction that asks with buttons.
        """

        def register(run: Callable[P, R]) -> Reaction[P, R]:
            reaction = Reaction(self, run, name, sentence)
            reaction.effect, reaction.sample, reaction.check = effect, sample, check
            reaction.scopes, reaction.was, reaction.answers = tuple(scopes), tuple(was), answers
            self.reactions[reaction.name] = reaction
            return reaction

        return register

    def webhook(
        self,
        *,
        verify: Verifier,
        delivery_id: str | None = None,
        handshake: Handshake | None = None,
        renew: str | None = None,
    ) -> Callable[[Callable[..., Awaitable[Any]]], Hook]:
        """Register how the service is asked to deliver: an async function `(ctx, …)` that returns what ends it.

        It is given `ctx.url`, `ctx.secret` and `ctx.events`; what it returns, in JSON, is `ctx.state` later. With
        `renew="3d"` it is called again before three days are over, with the `ctx.state` that it is to prolong.
        """
        known = msgspec.structs.replace(verify, delivery_id=delivery_id or verify.delivery_id)
        return lambda subscribe: Hook(subscribe, known, handshake, renew)


def _kind(*, poll: str | None, stream: bool, schedule: bool, hook: object) -> Kind:
    wanted: Mapping[Kind, object] = {"poll": poll, "stream": stream, "schedule": schedule, "hook": hook}
    kinds: list[Kind] = [kind for kind, value in wanted.items() if value]
    if len(kinds) > 1:
        raise TypeError(f"an action is only one of {', '.join(kinds)}")
    return kinds[0] if kinds else "internal"
