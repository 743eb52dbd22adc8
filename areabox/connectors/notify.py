"""Notify: tell yourself something, by areabox's own notices.

Tested against areabox itself.
"""

from __future__ import annotations

from typing import Annotated

from areabox.sdk import Connector, Context, Field, Text

notify = Connector("notify", "Notice", about="Notices in areabox itself.", icon="bell", builtin=True)


@notify.reaction("Tell me", sentence="tell me {title}", effect="keyed")
async def user(
    ctx: Context,
    title: Annotated[str, Field("Title", min_length=1, max_length=200)],
    message: Annotated[Text, Field("Message")] = "",
    link: Annotated[str, Field("Link", "Opened from the notice: an address, or a path of areabox.")] = "",
) -> None:
    """Show a notice to the owner of the area."""
    assert ctx.host is not None
    await ctx.host.notify(title, message, link, ctx.key)
