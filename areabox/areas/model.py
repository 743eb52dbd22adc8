"""The program: what a valid area document means, with every default filled in and every expression compiled.

`document.parse` makes it, `plan` walks it. Durations are milliseconds. Step ids are unique in a document and stable; a
step's *path* in a run is its id behind the loops and branches around it: `push`, `loop.3.push`, `par.0.push`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from areabox.areas.template import Expression, Value


class Retry(msgspec.Struct, frozen=True):
    """How often, and how far apart, a failed attempt is repeated: exponential with full jitter."""

    attempts: int = 5
    first_ms: int = 10_000
    max_ms: int = 3_600_000


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all steps have. `on_error`: None stops, () goes on, otherwise the steps that see `error`."""

    id: str
    pointer: str  # JSON Pointer into the document, for messages
    name: str = ""
    disabled: bool = False
    guard: Expression | None = None
    on_error: tuple[AnyStep, ...] | None = None


class Do(Step, frozen=True, kw_only=True, tag="do"):
    """Run one reaction."""

    reaction: str
    params: Value
    connection: str | None = None
    retry: Retry = Retry()
    timeout_ms: int = 30_000


class If(Step, frozen=True, kw_only=True, tag="if"):
    """Take one of two branches."""

    test: Expression
    then: tuple[AnyStep, ...]
    otherwise: tuple[AnyStep, ...] = ()


class Option(msgspec.Struct, frozen=True):
    """One branch of a choice."""

    test: Expression
    then: tuple[AnyStep, ...]


class Choose(Step, frozen=True, kw_only=True, tag="choose"):
    """Take the first branch whose test is true."""

    options: tuple[Option, ...]
    otherwise: tuple[AnyStep, ...] = ()


class Each(Step, frozen=True, kw_only=True, tag="each"):
    """Repeat for every item of a list; result: the results of each iteration's last step."""

    items: Expression
    name_of_item: str = "item"
    at_once: int = 1
    then: tuple[AnyStep, ...]


class Repeat(Step, frozen=True, kw_only=True, tag="repeat"):
    """Repeat while a test is true (asked before), or until one is (asked after); result: {count, exhausted}."""

    test: Expression
    until: bool
    at_most: int
    then: tuple[AnyStep, ...]


class Parallel(Step, frozen=True, kw_only=True, tag="parallel"):
    """Run branches side by side and join them: all of them, or the first that ends well."""

    branches: tuple[tuple[AnyStep, ...], ...]
    join: Literal["all", "any"] = "all"


class Wait(Step, frozen=True, kw_only=True, tag="wait"):
    """Wait for a while (`for_` renders to a duration) or until a time."""

    for_: Value | None = None
    until: Value | None = None


class WaitFor(Step, frozen=True, kw_only=True, tag="wait_for"):
    """Wait until something happens; result: the event. On timeout `otherwise`, or without it the run is skipped."""

    action: str
    params: Value
    connection: str | None = None
    every_ms: int | None = None
    test: Expression | None = None
    timeout_ms: int | None = None
    otherwise: tuple[AnyStep, ...] | None = None


class Ask(Step, frozen=True, kw_only=True, tag="ask"):
    """Ask a person; result: {choice, by, at}. On timeout as for `wait_for`. `via` are what carries it outside."""

    question: Value
    choices: tuple[str, ...]
    via: tuple[AnyStep, ...] = ()
    timeout_ms: int | None = None
    otherwise: tuple[AnyStep, ...] | None = None


class Call(Step, frozen=True, kw_only=True, tag="call"):
    """Run another area as a child and wait; result: what it returns."""

    area: str
    with_: Value


class Set(Step, frozen=True, kw_only=True, tag="set"):
    """Set variables."""

    vars: Value


class Collect(Step, frozen=True, kw_only=True, tag="collect"):
    """Gather the events of later runs until the window closes; result: {events}."""

    window_ms: int
    at_most: int | None = None
    key: Value


class Once(Step, frozen=True, kw_only=True, tag="once"):
    """End the run as skipped where the key was seen within the time (None: ever)."""

    key: Value
    within_ms: int | None = None


class Return(Step, frozen=True, kw_only=True, tag="return"):
    """End the run, or the called child, as done with a result."""

    value: Value


class Stop(Step, frozen=True, kw_only=True, tag="stop"):
    """End the run in a state."""

    state: Literal["done", "skipped", "failed"]
    because: Value


AnyStep = (
    Do | If | Choose | Each | Repeat | Parallel | Wait | WaitFor | Ask | Call | Set | Collect | Once | Return | Stop
)  # fmt: skip


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `when`."""

    id: str
    pointer: str
    action: str
    params: dict[str, Any]  # literal: triggers take no templates
    connection: str | None = None
    every_ms: int | None = None
    missed: Literal["skip", "latest", "each"] = "latest"
    test: Expression | None = None


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A whole area."""

    slug: str
    name: str
    about: str = ""
    tags: tuple[str, ...] = ()
    enabled: bool = True
    mode: Literal["parallel", "queued", "single", "restart"] = "parallel"
    at_most: int | None = None
    key: Value | None = None
    timeout_ms: int = 3_600_000
    when: tuple[Trigger, ...]
    test: Expression | None = None
    then: tuple[AnyStep, ...]
    document: dict[str, Any]  # normalised: what the API answers, exports write and versions keep
