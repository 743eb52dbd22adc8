"""Postal: mails out by a mail server of your own, and what becomes of them (docs.postalserver.io, Developer).

Tested against a replay of its documented API and of its signed webhooks.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from areabox.sdk import (
    AuthExpired,
    Connector,
    Context,
    Delivery,
    Event,
    Field,
    Fields,
    Permanent,
    Secret,
    Text,
    Transient,
    Url,
    Verifier,
)

RECIPIENTS_MAX = 50
_KEY = "-----BEGIN PUBLIC KEY-----"


def _key(text: str) -> Any:
    """Return a public RSA key of a PEM, a DKIM record (`…p=MIG…`), or bare base64; raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        if _KEY in text:
            key = load_pem_public_key(text.strip().encode())
        else:
            plain = "".join(text.replace('"', "").split()).rpartition("p=")[2].rstrip(";")
            key = load_der_public_key(base64.b64decode(plain, validate=True))
    except (ValueError, TypeError, binascii.Error) as error:
        raise ValueError("it is no public key, as PEM or as a DKIM record has it") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("it is no RSA key")  # noqa: TRY004 -- a check of a field raises ValueError
    return key


postal = Connector(
    "postal",
    "Postal",
    about="Mails by a mail server of your own, and what becomes of them.",
    icon="postal",
    docs="https://docs.postalserver.io/developer/api",
    base=lambda auth: f"{auth.url}/api/v1",
    auth=Fields(
        "A mail server",
        help="Make a credential of the type API at your mail server in Postal.",
        url=Annotated[Url, Field("Postal", placeholder="https://postal.example.org")],
        key=Annotated[Secret, Field("API key")],
        public_key=(Annotated[Text, Field(
            "Public key", "To receive: what `postal default-dkim-record` prints, or the key as PEM.",
            check=lambda text: text and _key(text))], ""),
        headers={"X-Server-API-Key": "{key}"},
    ),
)  # fmt: skip

Addresses = Annotated[list[str], Field("To", "Each address by itself, also as Ann <ann@example.org>.", min_length=1,
                                       max_length=RECIPIENTS_MAX, example=["ann@example.org"])]  # fmt: skip
More = Annotated[list[str] | None, Field("Copies", example=["bob@example.org"])]
Id = Annotated[int, Field("Message", "Its number, as sending gave it.", ge=1)]


class Sent(msgspec.Struct):
    """A mail as Postal took it: its Message-ID, and the number of the copy for each recipient."""

    message_id: str
    messages: dict[str, int]


class Seen(msgspec.Struct):
    """How far a copy of a mail got; `state` is Pending, Sent, SoftFail, HardFail, Held or Bounced."""

    id: int
    state: str
    last: str = ""  # what the other server said
    held: bool = False


class Told(Event):
    """Something that became of a mail."""

    kind: str  # sent, delayed, failed, held, bounced, clicked, opened
    message: int
    message_id: str
    to: str
    sender: str
    subject: str
    tag: str = ""
    direction: str = ""  # outgoing or incoming
    details: str = ""
    output: str = ""  # the other server's own words
    url: str = ""  # of clicks
    time: float = 0.0  # seconds since 1970


KINDS = {
    "MessageSent": "sent", "MessageDelayed": "delayed", "MessageDeliveryFailed": "failed", "MessageHeld": "held",
    "MessageBounced": "bounced", "MessageLinkClicked": "clicked", "MessageLoaded": "opened",
}  # fmt: skip


def _check_kinds(given: list[str] | None) -> None:
    if wrong := set(given or ()) - set(KINDS.values()):
        raise ValueError(f"there is no {', '.join(sorted(wrong))}; there are {', '.join(KINDS.values())}")


@postal.test
async def server(ctx: Context) -> str:
    """Return the server's address, once it has taken the key: a message that cannot exist is asked for."""
    try:
        await _call(ctx, "/messages/message", {"id": 0})
    except _Refused as error:
        if error.code != "MessageNotFound":
            raise
    return str(ctx.auth.url)


@postal.reaction(
    "Send a mail", sentence="send {subject} to {to}",
    sample=Sent("<a@rp.postal.example.org>", {"ann@example.org": 42}),
)  # fmt: skip
async def send(
    ctx: Context,
    to: Addresses,
    sender: Annotated[str, Field("From", "An address of a domain of the server.", placeholder="box@example.org",
                                 min_length=3)],
    subject: Annotated[str, Field("Subject", max_length=998)] = "",
    text: Annotated[Text, Field("Text")] = "",
    html: Annotated[Text, Field("HTML", "Beside the text, or instead of it.")] = "",
    *,
    cc: More = None,
    bcc: More = None,
    reply_to: Annotated[str, Field("Answers to")] = "",
    tag: Annotated[str, Field("Tag", "Comes back with what becomes of it.", max_length=100)] = "",
    headers: Annotated[dict[str, str] | None, Field("Further headers")] = None,
    attachments: Annotated[list[dict[str, Any]] | None, Field(
        "Attachments", "Each with name, type, and text or base64.",
        example=[{"name": "a.txt", "text": "hello"}])] = None,
) -> Sent:  # fmt: skip
    """Send a mail. Done when Postal has it in its queue.

    Postal recognises no repetition, so a lost answer makes the step *uncertain*.
    """
    if not (text or html):
        raise Permanent("a mail has a text, or HTML")
    body = {
        "to": to, "cc": cc, "bcc": bcc, "from": sender, "reply_to": reply_to, "subject": subject, "tag": tag,
        "plain_body": text, "html_body": html, "headers": headers,
        "attachments": [_attachment(one) for one in attachments or ()],
    }  # fmt: skip
    found = await _call(ctx, "/send/message", {name: value for name, value in body.items() if value})
    copies = found.get("messages")
    numbers = {str(to): int(one.get("id") or 0) for to, one in (copies or {}).items() if isinstance(one, dict)}
    return Sent(str(found.get("message_id", "")), numbers)


@postal.reaction(
    "Look at a mail", sentence="look how far {message} got", effect="read", sample=Seen(42, "Sent", "250 OK", held=True)
)
async def status(ctx: Context, message: Id) -> Seen:
    """Tell how far a copy of a mail got, and what the other server said last."""
    found = await _call(ctx, "/messages/message", {"id": message, "_expansions": ["status"]})
    known = found["status"] if isinstance(found.get("status"), dict) else {}
    tries = await _call(ctx, "/messages/deliveries", {"id": message})
    last = tries.get("items", [])[-1:]
    said = " ".join(str(one.get(name) or "") for one in last if isinstance(one, dict) for name in ("details", "output"))
    return Seen(message, str(known.get("status", "")), said.strip(), held=bool(known.get("held")))


def _is_genuine(delivery: Delivery, secret: str, _now_s: float) -> bool:
    """Verify RSA (PKCS#1 v1.5) over the body: by SHA-256, or by SHA-1 as Postal 2 does."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    signed = {"x-postal-signature-256": hashes.SHA256(), "x-postal-signature": hashes.SHA1()}  # noqa: S303 -- Postal 2's
    for header, algorithm in signed.items():
        if given := delivery.headers.get(header):
            try:
                _key(secret).verify(base64.b64decode(given, validate=True), delivery.body, PKCS1v15(), algorithm)
            except (InvalidSignature, ValueError):
                return False
            return True
    return False


@postal.action(
    "Something becomes of a mail", hook=Verifier(_is_genuine), signed_by="public_key", dedupe="key",
    sentence="something becomes of a mail",
    sample=Told(
        id="b1c6b5a4", kind="failed", message=42, message_id="<a@rp.postal.example.org>", to="ann@example.org",
        sender="box@example.org", subject="Hello", tag="welcome", direction="outgoing", details="No such mailbox",
        output="550 5.1.1", url="https://example.org/", time=1767268800.5,
    ),
)  # fmt: skip
def delivery_event(
    delivery: Delivery,
    kinds: Annotated[list[str] | None, Field(
        "Only", "sent, delayed, failed, held, bounced, clicked, opened; empty: all.", example=["failed", "bounced"],
        check=_check_kinds)] = None,
    tag: Annotated[str, Field("Only with the tag", max_length=100)] = "",
) -> Iterator[Told]:  # fmt: skip
    """Fires when a mail is delivered, delayed, held, lost, bounced, opened or clicked.

    In Postal: your mail server, Webhooks, the area's address. Postal signs; the connection needs its public key.
    """
    found = delivery.json if isinstance(delivery.json, dict) else {}
    told = _told(found, found.get("payload"))
    if told is not None and told.kind in (kinds or KINDS.values()) and tag in ("", told.tag):
        yield told


def _told(found: dict[str, Any], payload: Any) -> Told | None:
    kind = KINDS.get(str(found.get("event")))
    if kind is None or not isinstance(payload, dict):
        return None
    mail = payload.get("message") or payload.get("original_message")
    mail = mail if isinstance(mail, dict) else {}
    words = {name: str(payload.get(name) or "") for name in ("details", "output", "url")}
    time = payload.get("timestamp") or found.get("timestamp")
    return Told(
        id=str(found.get("uuid") or f"{kind} {mail.get('id')} {time}"), kind=kind, message=_whole(mail.get("id")),
        message_id=str(mail.get("message_id", "")), to=str(mail.get("to", "")), sender=str(mail.get("from", "")),
        subject=str(mail.get("subject", "")), tag=str(mail.get("tag") or ""), direction=str(mail.get("direction", "")),
        time=float(time) if isinstance(time, (int, float)) else 0.0, **words,
    )  # fmt: skip


class _Refused(Permanent):
    """Postal said no, with a code."""

    code = ""


async def _call(ctx: Context, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call the API, which says by `status` in its answer what went wrong; raises what that means."""
    found = (await ctx.http.post(path, json=body)).json()
    if not isinstance(found, dict) or "status" not in found:
        raise Transient("the answer is none of Postal's")
    data = found.get("data") if isinstance(found.get("data"), (dict, list)) else {}
    if found["status"] == "success":
        return data if isinstance(data, dict) else {"items": data}
    told = data if isinstance(data, dict) else {}
    code = str(told.get("code", found["status"]))
    text = f"Postal says: {told.get('message') or code}"
    if code in ("AccessDenied", "InvalidServerAPIKey", "ServerSuspended"):
        raise AuthExpired(text)
    refused = _Refused(text)
    refused.code = code
    raise refused


def _attachment(one: dict[str, Any]) -> dict[str, str]:
    name, kind = str(one.get("name") or ""), str(one.get("type") or "application/octet-stream")
    if not name or not ("text" in one or one.get("base64")):
        raise Permanent("an attachment has a name, and text or base64")
    data = str(one["base64"]) if one.get("base64") else base64.b64encode(str(one["text"]).encode()).decode()
    return {"name": name, "content_type": kind, "data": data}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
