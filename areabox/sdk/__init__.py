"""All that a connector may import: how a service is described.

One module describes one service. Its actions and reactions are plain async functions: the signature is the form, the
docstring is the help, and the struct that is yielded or returned is what later steps can use. What the runtime does,
so that a connector need not, stands in docs/connectors.md. This package is public and follows semantic versioning.

    wled = Connector("wled", "WLED", base=lambda auth: auth.url, auth=Fields(url=Annotated[Url, Field("Address")]))

    @wled.reaction("Set brightness", sentence="set the brightness to {percent} %", effect="idempotent")
    async def brightness(ctx: Context, percent: Annotated[int, Field("Percent", ge=0, le=100)]) -> None:
        \"\"\"Dim or brighten the light.\"\"\"
        await ctx.http.post("/json/state", json={"bri": percent * 255 // 100})
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType, convert

from areabox.errors import (
    AuthExpired,
    ConnectorError,
    MissingScope,
    Permanent,
    RateLimited,
    Skip,
    Transient,
    Uncertain,
)
from areabox.sdk.auth import Auth, Basic, Fields, Key, NoAuth
from areabox.sdk.commands import Command
from areabox.sdk.connector import Action, Connector, Hook, Limits, Reaction
from areabox.sdk.context import Answer, Context, Folders, Host, Http
from areabox.sdk.drivers import driver, tls_for
from areabox.sdk.durations import duration_ms
from areabox.sdk.events import Delivery, Event
from areabox.sdk.fields import Field, Option, Secret, Text, Url
from areabox.sdk.signing import (
    Verifier,
    echo_json,
    echo_query,
    github_webhook,
    hmac_sha256,
    shared_token,
    slack_webhook,
    standard_webhook,
    stripe_webhook,
)

__all__ = [
    "UNSET",
    "Action",
    "Answer",
    "Auth",
    "AuthExpired",
    "Basic",
    "Command",
    "Connector",
    "ConnectorError",
    "Context",
    "Delivery",
    "Event",
    "Field",
    "Fields",
    "Folders",
    "Hook",
    "Host",
    "Http",
    "Key",
    "Limits",
    "MissingScope",
    "NoAuth",
    "Option",
    "Permanent",
    "RateLimited",
    "Reaction",
    "Secret",
    "Skip",
    "Text",
    "Transient",
    "Uncertain",
    "UnsetType",
    "Url",
    "Verifier",
    "convert",
    "driver",
    "duration_ms",
    "echo_json",
    "echo_query",
    "github_webhook",
    "hmac_sha256",
    "shared_token",
    "slack_webhook",
    "standard_webhook",
    "stripe_webhook",
    "tls_for",
]
