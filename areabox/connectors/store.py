"""Store: values that areas keep from run to run.

Tested against areabox itself.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from areabox.sdk import Connector, Context, Field

store = Connector("store", "Store", about="Values that your areas keep and share.", icon="database", builtin=True)

Key = Annotated[str, Field("Key", min_length=1, max_length=256, placeholder="visitors")]


class Stored(msgspec.Struct):
    """What is stored."""

    value: Any


@store.reaction("Get a value", sentence="get {key}", effect="read", sample=Stored(42))
async def get(
    ctx: Context, key: Key, value: Annotated[Any, Field("Default", "If nothing is stored.")] = None
) -> Stored:
    """Give what is stored under a key."""
    assert ctx.host is not None
    found = await ctx.host.store_get(key)
    return Stored(value if found is None else found)


@store.reaction("Set a value", sentence="set {key} to {value}", effect="keyed", sample=Stored(42))
async def set(ctx: Context, key: Key, value: Annotated[Any, Field("Value")]) -> Stored:
    """Store a value, any JSON up to 256 KiB, under a key."""
    assert ctx.host is not None
    return Stored(await ctx.host.store_set(key, value, ctx.key))


@store.reaction("Add to a number", sentence="add {value} to {key}", effect="keyed", sample=Stored(43))
async def increment(ctx: Context, key: Key, value: Annotated[int | float, Field("By")] = 1) -> Stored:
    """Add to a stored number, which is 0 at first, and give the sum; two at once both count."""
    assert ctx.host is not None
    return Stored(await ctx.host.store_increment(key, value, ctx.key))
