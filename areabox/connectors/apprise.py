"""Apprise: more than a hundred notification services by one address each (github.com/caronc/apprise).

Apprise opens its own connections, to wherever an address leads: areabox cannot judge them. So it is off unless an admin
switches it on by the setting `apprise`.

Tested against Apprise 2 itself and its json:// service at a server on the loopback.
"""

from __future__ import annotations

import importlib.util
from typing import Annotated, Any, Literal

import msgspec

from areabox.sdk import Connector, Context, Field, Fields, Permanent, Secret, Text, Transient, driver

CHECK_S = 25.0

apprise = Connector(
    "apprise",
    "Apprise",
    about="More than a hundred further services for notifications, by one address each.",
    icon="apprise",
    docs="https://appriseit.com/services/",
    builtin=True,
    auth=Fields(
        "A service",
        url=Annotated[Secret, Field("Apprise URL", "With its secrets, as Apprise documents it for each service.",
                                    placeholder="matrixs://user:password@matrix.example.org/#room")],
    ),
)  # fmt: skip


class Notified(msgspec.Struct):
    """A notification that a service took."""

    service: str


@apprise.test
async def service(ctx: Context) -> str:
    """Look whether Apprise understands the address, and return the service's name; nothing is sent."""
    found = await _ask(ctx, {"check": True}, CHECK_S)
    if not found.get("ok"):
        raise Permanent(str(found.get("said")))
    return str(found.get("service") or "Apprise")


@apprise.reaction("Send a notification", sentence="notify {message}", sample=Notified("Matrix"))
async def notify(
    ctx: Context,
    message: Annotated[Text, Field("Message", min_length=1, max_length=100_000)],
    title: Annotated[str, Field("Title", max_length=1_000)] = "",
    *,
    kind: Annotated[Literal["info", "success", "warning", "failure"], Field("Kind", "Its sign or color.")] = "info",
    markup: Annotated[Literal["text", "markdown", "html"], Field("Markup")] = "text",
    attach: Annotated[list[str] | None, Field("Attachments", "Addresses; files of this machine are refused.",
                                              example=["https://example.org/a.png"])] = None,
) -> Notified:  # fmt: skip
    """Send a notification by the service of the connection. What it cannot show, Apprise leaves out.

    Apprise says whether it worked, and little of why not: a failure is tried again, so that what was sent and not
    confirmed may come twice.
    """
    if any(not one.startswith(("http://", "https://")) for one in attach or ()):
        raise Permanent("attachments are http or https addresses")
    request = {"title": title, "body": message, "type": kind, "format": markup, "attach": attach or []}
    found = await _ask(ctx, request, CHECK_S)
    if not found.get("ok"):
        raise Transient(f"Apprise could not deliver it{': ' if found.get('said') else ''}{found.get('said', '')}")
    return Notified(str(found.get("service", "")))


async def _ask(ctx: Context, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    assert ctx.host is not None
    if importlib.util.find_spec("apprise") is None:
        driver("apprise", extra="apprise")  # says how to install it
    return await ctx.host.apprise({**request, "url": ctx.auth.url}, timeout_s)
