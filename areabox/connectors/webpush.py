"""Web Push: notifications of a browser, by its own push service, readable by that browser alone (RFC 8030, 8291, 8292).

Tested against a replay of a push service that decrypts what comes by the RFC, and against the RFC's own example.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec

from areabox.connectors import _push
from areabox.sdk import AuthExpired, Connector, Context, Field, Fields, Permanent, RateLimited, Secret, Text, Url

GONE = (401, 403, 404, 410)
POINT_BYTES = 65
EXAMPLE = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"  # of RFC 8291


def _check_point(text: str) -> None:
    if text and len(_push.unb64(text)) != POINT_BYTES:
        raise ValueError(f"the key of a browser is {POINT_BYTES} bytes in base64url")


def _check_auth(text: str) -> None:
    if text and not _push.unb64(text):
        raise ValueError("the secret of a browser is 16 bytes in base64url")


webpush = Connector(
    "webpush",
    "Web Push",
    about="Notifications of your browsers, encrypted for each.",
    icon="webpush",
    docs="https://developer.mozilla.org/docs/Web/API/Push_API",
    base=lambda auth: auth.endpoint,
    builtin=True,
    auth=Fields(
        "A browser",
        help="The fields of its PushSubscription, made with areabox's push key (`push_key` in GET /api/v1/system).",
        endpoint=Annotated[Url, Secret, Field("Endpoint", placeholder="https://updates.push.services.mozilla.com/…")],
        p256dh=Annotated[str, Field("Key p256dh", check=_check_point, example=EXAMPLE)],
        auth=Annotated[Secret, Field("Secret auth", check=_check_auth)],
        contact=(Annotated[str, Field("Contact", "Your e-mail address, told to the push service; Apple wants one.")],
                 ""),
    ),
)  # fmt: skip


Urgency = Literal["very-low", "low", "normal", "high"]


class Sent(msgspec.Struct):
    """A message that the push service took; `url` names it there."""

    url: str = ""


@webpush.test
async def browser(ctx: Context) -> str:
    """Send nothing that shows: an empty message that expires at once. Return the push service."""
    await _post(ctx, b"", {"TTL": "0", "Urgency": "very-low"})
    return str(ctx.auth.endpoint).split("/")[2]


@webpush.reaction(
    "Send a notification", sentence="push {message} to a browser",
    effect=lambda params: "idempotent" if params.get("tag") else "once", sample=Sent("https://push.example.org/m/1"),
)  # fmt: skip
async def send(
    ctx: Context,
    message: Annotated[Text, Field("Message")],
    title: str = "areabox",
    *,
    click: Annotated[str, Field("Opened by a click", format="url")] = "",
    icon: Annotated[str, Field("Picture", "Its address.", format="url")] = "",
    tag: Annotated[str, Field("Replaces", "One with the same name is replaced, not added.", max_length=64)] = "",
    urgency: Annotated[Urgency, Field("Urgency", "high wakes a phone.")] = "normal",
    keep: Annotated[int, Field("Seconds to keep it", "For a browser that is off now.", ge=0, le=2_419_200)] = 86_400,
    data: Annotated[dict[str, Any] | None, Field("Further data", "For a page of your own.", example={"a": 1})] = None,
) -> Sent:
    """Send a notification to the browser of the connection; nobody on the way can read it.

    What the browser's service worker gets is the JSON object `{title, body, url, icon, tag, data}`. A browser that has
    unsubscribed makes the connection dead, and it has to be registered anew.
    """
    shown = {"title": title, "body": message, "url": click, "icon": icon, "tag": tag, "data": data}
    plain = msgspec.json.encode({name: value for name, value in shown.items() if value})
    if len(plain) > _push.PLAIN_MAX:
        raise Permanent(f"a push message has at most {_push.PLAIN_MAX:,} bytes; this one has {len(plain):,}")
    headers = {"TTL": str(keep), "Urgency": urgency}
    if tag:
        headers["Topic"] = hashlib.sha256(tag.encode()).hexdigest()[:32]
    try:
        body = _push.encrypted(plain, ctx.auth.p256dh, ctx.auth.auth)
    except ValueError as error:
        raise Permanent(f"the keys of the browser are none: {error}") from None
    return Sent(await _post(ctx, body, {"Content-Encoding": "aes128gcm", **headers}))


async def _post(ctx: Context, body: bytes, headers: dict[str, str]) -> str:
    """Hand a message to the push service and return its address; raises AuthExpired where the browser is gone."""
    assert ctx.host is not None
    contact, endpoint = str(ctx.auth.contact), str(ctx.auth.endpoint)
    signed = _push.authorization(ctx.host.push_key, endpoint, contact, ctx.now.timestamp())
    headers = {"Authorization": signed, "Content-Type": "application/octet-stream", **headers}
    answer = await ctx.http.post(endpoint, content=body, headers=headers, ok=GONE)
    if answer.status in (404, 410):
        raise AuthExpired("the browser takes no notifications any more; register it anew")
    if answer.headers.get("x-ratelimit-remaining") == "0":
        raise RateLimited("the push service takes no more for now")
    if answer.status in GONE:
        raise AuthExpired(f"the push service refused areabox's push key ({answer.status}); register the browser anew")
    return str(answer.headers.get("location", ""))
