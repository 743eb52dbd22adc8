"""Twilio: text messages out and in (twilio.com/docs/messaging/api/message-resource, /docs/usage/webhooks).

Tested against a replay of its documented API and of its signed webhooks.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from areabox.sdk import Connector, Context, Delivery, Event, Field, Fields, Permanent, Secret, Text, Url, Verifier

SIGNATURE = "x-twilio-signature"
MEDIA_MAX = 10

twilio = Connector(
    "twilio",
    "Twilio",
    about="Text messages to and from phones.",
    icon="twilio",
    docs="https://www.twilio.com/docs/messaging",
    base=lambda auth: f"{auth.url}/2010-04-01/Accounts/{auth.account}",
    auth=Fields(
        "An account",
        help="Both stand on the first page of Twilio's console.",
        account=Annotated[str, Field("Account SID", pattern=r"^AC[0-9a-fA-F]{32}$", placeholder="AC" + "0" * 32)],
        token=Annotated[Secret, Field("Auth token", "Also signs what Twilio delivers.")],
        sender=(Annotated[str, Field("From", "A number of yours, a sender's name, or MG… of a messaging service.",
                                     placeholder="+15005550006", max_length=40)], ""),
        url=(Annotated[Url, Field("Server")], "https://api.twilio.com"),
        basic=("account", "token"),
    ),
)  # fmt: skip

Number = Annotated[str, Field("To", "With + and the country.", pattern=r"^(whatsapp:)?\+[1-9]\d{1,14}$",
                              placeholder="+33612345678")]  # fmt: skip
Sid = Annotated[str, Field("Message", "Its SID, as sending gave it.", pattern=r"^[SM]M[0-9a-fA-F]{32}$",
                           example="SM" + "0" * 32)]  # fmt: skip


class Sent(msgspec.Struct):
    """A message as Twilio has it. `state`: queued, sending, sent, delivered, undelivered, failed and others."""

    sid: str
    state: str
    to: str = ""
    sender: str = ""
    segments: int = 0
    error: str = ""


class Received(Event):
    """A message that came to a number."""

    text: str
    sender: str
    to: str
    media: tuple[str, ...] = ()  # addresses of pictures and the like
    media_types: tuple[str, ...] = ()
    country: str = ""
    city: str = ""
    name: str = ""  # of the sender, on WhatsApp


class Status(Event):
    """A message of ours that got on."""

    sid: str
    state: str
    to: str = ""
    sender: str = ""
    error: str = ""  # Twilio's number of it


SAMPLE = Sent("SM" + "0" * 32, "queued", "+33612345678", "+15005550006", 1)


@twilio.test
async def account(ctx: Context) -> str:
    """Return the account's name."""
    found = _object((await ctx.http.get(f"{ctx.auth.url}/2010-04-01/Accounts/{ctx.auth.account}.json")).json())
    if found.get("status") not in (None, "active"):
        raise Permanent(f"the account is {found['status']}")
    return str(found.get("friendly_name") or ctx.auth.account)


@twilio.reaction("Send a text message", sentence="text {to}: {text}", sample=SAMPLE)
async def send(
    ctx: Context,
    to: Number,
    text: Annotated[Text, Field("Text", max_length=1600)] = "",
    *,
    sender: Annotated[str, Field("From", "If it is not the connection's.", max_length=40)] = "",
    media: Annotated[list[str] | None, Field("Pictures", "Their public addresses; MMS and WhatsApp only.",
                                             example=["https://example.org/a.png"])] = None,
    status_url: Annotated[str, Field("Tell the status to", "The address of a trigger *Message gets on*.",
                                     format="url")] = "",
) -> Sent:  # fmt: skip
    """Send an SMS, or a WhatsApp message. Done when Twilio has taken it; look at the status for more.

    Twilio recognises no repetition. So a lost answer makes the step *uncertain* instead of sending, and paying, twice.
    """
    own = sender or ctx.auth.sender
    if not own:
        raise Permanent("who sends it? Write a number of yours into the connection or the step")
    if not (text or media):
        raise Permanent("a message has a text or a picture")
    if len(media or ()) > MEDIA_MAX:
        raise Permanent(f"a message has at most {MEDIA_MAX} pictures")
    way = "MessagingServiceSid" if own.startswith("MG") else "From"
    form = {"To": to, way: own, "Body": text, "MediaUrl": media, "StatusCallback": status_url}
    answer = await ctx.http.post("/Messages.json", data={name: value for name, value in form.items() if value})
    return _sent(_object(answer.json()))


@twilio.reaction("Look at a message", sentence="look how far {sid} got", effect="read", sample=SAMPLE)
async def status(ctx: Context, sid: Sid) -> Sent:
    """Tell whether a message was delivered."""
    return _sent(_object((await ctx.http.get(f"/Messages/{sid}.json")).json()))


@twilio.reaction("Cancel a message", sentence="cancel {sid}", effect="idempotent", sample=SAMPLE)
async def cancel(ctx: Context, sid: Sid) -> Sent:
    """Cancel a message that a messaging service is to send later."""
    return _sent(_object((await ctx.http.post(f"/Messages/{sid}.json", data={"Status": "canceled"})).json()))


def _signature(url: str, form: dict[str, str], secret: str) -> str:
    """Return what Twilio signs: the whole address, and each field of the form behind its name, in their order."""
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def _is_genuine(delivery: Delivery, secret: str, _now_s: float) -> bool:
    made = _signature(delivery.url, delivery.form, secret)
    return hmac.compare_digest(delivery.headers.get(SIGNATURE, "").encode(), made.encode())


def _signed(body: bytes, secret: str, _now_s: float) -> dict[str, str]:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return headers | {SIGNATURE: _signature("", Delivery(body=body, headers=headers).form, secret)}


SIGNED = Verifier(_is_genuine, None, _signed)


@twilio.action(
    "Message received", hook=SIGNED, signed_by="token", dedupe="key", sentence="a text message comes in",
    sample=Received(
        id="SM" + "0" * 32, text="Is the door closed?", sender="+33612345678", to="+15005550006",
        media=("https://api.twilio.com/a.png",), media_types=("image/png",), country="FR", city="Paris", name="Ann",
    ),
)  # fmt: skip
def message_received(
    delivery: Delivery,
    sender: Annotated[str, Field("Only from", "A number; empty: anybody.", max_length=40)] = "",
) -> Iterator[Received]:
    """Fires for each message to your number. Nothing is answered.

    Write the area's address into Twilio's console: your number, *A message comes in*, Webhook, HTTP POST. Set
    `public_url`: the signature covers the address as Twilio knows it.
    """
    form = delivery.form
    sid = form.get("MessageSid") or form.get("SmsSid")
    if not sid or "MessageStatus" in form or sender not in ("", form.get("From")):
        return
    count = form.get("NumMedia", "0")
    numbers = range(min(int(count), MEDIA_MAX) if count.isdecimal() else 0)
    yield Received(
        id=sid, text=form.get("Body", ""), sender=form.get("From", ""), to=form.get("To", ""),
        media=tuple(form.get(f"MediaUrl{n}", "") for n in numbers),
        media_types=tuple(form.get(f"MediaContentType{n}", "") for n in numbers),
        country=form.get("FromCountry", ""), city=form.get("FromCity", ""), name=form.get("ProfileName", ""),
    )  # fmt: skip


@twilio.action(
    "Message gets on", hook=SIGNED, signed_by="token", dedupe="key", sentence="a message of ours gets on",
    sample=Status(id=f"SM{'0' * 32} delivered", sid="SM" + "0" * 32, state="delivered", to="+33612345678",
                  sender="+15005550006", error="30003"),
)  # fmt: skip
def message_status(
    delivery: Delivery,
    only: Annotated[list[str] | None, Field("Only", "States such as delivered, undelivered, failed.",
                                            example=["failed"])] = None,
) -> Iterator[Status]:  # fmt: skip
    """Fires when a message is sent, delivered or lost. Its address is for *Tell the status to* of the sending step."""
    form = delivery.form
    sid, state = form.get("MessageSid", ""), form.get("MessageStatus", "")
    if sid and state and (not only or state in only):
        yield Status(id=f"{sid} {state}", sid=sid, state=state, to=form.get("To", ""), sender=form.get("From", ""),
                     error=form.get("ErrorCode", ""))  # fmt: skip


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sent(found: dict[str, Any]) -> Sent:
    segments, error = str(found.get("num_segments")), found.get("error_code")
    return Sent(
        str(found.get("sid", "")), str(found.get("status", "")), str(found.get("to", "")),
        str(found.get("from") or found.get("messaging_service_sid") or ""),
        int(segments) if segments.isdecimal() else 0,
        f"{error}: {found.get('error_message') or ''}".rstrip(": ") if error else "",
    )  # fmt: skip
