"""Who sent this delivery? Verifiers over the raw body, in constant time, and the handshakes that services ask for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Literal

import msgspec

from areabox.sdk.events import Delivery

WINDOW_S = 300  # how far a delivery's own time may be off
_SLACK = "x-slack-signature"
_ECHO = re.compile(r"[A-Za-z0-9_.-]{1,128}")

Handshake = Callable[[Delivery], str | None]


class Verifier(msgspec.Struct, frozen=True):
    """A check of a delivery with the hook's secret at a time (seconds since 1970), and where the delivery's id is.

    `proof` returns what a genuine delivery is known by, out of what is signed: whoever recorded one cannot send it as
    another. `lasting` says that no two of a sender's deliveries have the same.
    """

    check: Callable[[Delivery, str, float], bool]
    delivery_id: str | None = None
    sign: Callable[[bytes, str, float], dict[str, str]] | None = None  # headers of a genuine one, for the contract kit
    proof: Callable[[Delivery], str] | None = None
    lasting: bool = False

    def __call__(self, delivery: Delivery, secret: str, now_s: float) -> bool:
        """Tell whether the delivery is genuine; without a secret nothing is."""
        return bool(secret) and self.check(delivery, secret, now_s)


def hmac_sha256(
    header: str, prefix: str = "", encoding: Literal["hex", "base64"] = "hex", *, delivery_id: str | None = None
) -> Verifier:
    """Verify an HMAC-SHA-256 of the body: GitHub's `X-Hub-Signature-256` with the prefix `sha256=`, and many more."""
    name = header.lower()

    def sign(body: bytes, secret: str, now_s: float) -> dict[str, str]:
        del now_s
        digest = hmac.digest(secret.encode(), body, "sha256")
        return {name: prefix + (digest.hex() if encoding == "hex" else base64.b64encode(digest).decode())}

    def check(delivery: Delivery, secret: str, now_s: float) -> bool:
        given = delivery.headers.get(name, "")
        return _same(given.lower() if encoding == "hex" else given, sign(delivery.body, secret, now_s)[name])

    def proof(delivery: Delivery) -> str:
        given = delivery.headers.get(name, "")
        return given.lower() if encoding == "hex" else given

    return Verifier(check, delivery_id, sign, proof)


def github_webhook() -> Verifier:
    """Verify as GitHub signs, the body alone; its id is not signed, so that a delivery is known by its signature.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    """
    return msgspec.structs.replace(
        hmac_sha256("X-Hub-Signature-256", "sha256=", delivery_id="X-GitHub-Delivery"), lasting=True
    )


def stripe_webhook() -> Verifier:
    """Verify as Stripe signs, `time.body` in `Stripe-Signature: t=…,v1=…`, several signatures, 5 minutes.

    The secret is used as it is shown, `whsec_` and all. https://docs.stripe.com/webhooks/signature
    """
    return Verifier(_stripe, None, _stripe_headers, lambda delivery: _field(delivery, "id", "stripe-signature"), True)


def slack_webhook() -> Verifier:
    """Verify as Slack signs, `v0:time:body` in `X-Slack-Signature`, 5 minutes.

    https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    return Verifier(_slack, None, _slack_headers, lambda delivery: _field(delivery, "event_id", _SLACK), True)


def standard_webhook() -> Verifier:
    """Verify by Standard Webhooks (standardwebhooks.com): `id.timestamp.body`, several signatures, 5 minutes."""
    return Verifier(
        _standard, "webhook-id", _standard_headers, lambda delivery: delivery.headers.get("webhook-id", ""), True
    )


def shared_token(header: str = "Authorization", prefix: str = "") -> Verifier:
    """Verify that a header holds the secret itself: GitLab's `X-Gitlab-Token`, a bearer token."""
    name = header.lower()
    return Verifier(
        lambda delivery, secret, _: _same(delivery.headers.get(name, ""), prefix + secret),
        sign=lambda body, secret, now_s: {name: prefix + secret},  # noqa: ARG005
    )


def echo_query(name: str) -> Handshake:
    """Answer a handshake with a field of its query: `hub.challenge` (Strava, WebSub), `validationToken` (Graph)."""
    return lambda delivery: _safe(delivery.query.get(name))


def echo_json(name: str) -> Handshake:
    """Answer a handshake with a field of its JSON body: Slack's `challenge`."""
    return lambda delivery: _safe(delivery.json.get(name)) if isinstance(delivery.json, dict) else None


def _standard(delivery: Delivery, secret: str, now_s: float) -> bool:
    headers = delivery.headers
    id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = _standard_key(secret)
    if not key or not id or "." in id:  # a dot in it would let id, time and body be parted anew
        return False
    if not _in_window(stamp, now_s):
        return False
    made = _standard_signature(key, id, stamp, delivery.body)
    given = headers.get("webhook-signature", "").split(" ")
    return any(_same(signature, made) for signature in given[:10])


def _in_window(stamp: str, now_s: float) -> bool:
    return stamp.isascii() and stamp.isdigit() and abs(now_s - int(stamp[:12])) <= WINDOW_S


def _field(delivery: Delivery, name: str, header: str) -> str:
    """Return a field of the signed body; without it the signature is as good, but another at each try."""
    value = delivery.json.get(name) if isinstance(delivery.json, dict) else None
    return value if isinstance(value, str) and value else delivery.headers.get(header, "")


def _stripe(delivery: Delivery, secret: str, now_s: float) -> bool:
    pairs = [part.strip().partition("=") for part in delivery.headers.get("stripe-signature", "").split(",")[:20]]
    stamps = [value for name, _, value in pairs if name == "t"]
    if len(stamps) != 1 or not _in_window(stamps[0], now_s):
        return False
    made = _stripe_signature(secret, stamps[0], delivery.body)
    return any(_same(value, made) for name, _, value in pairs if name == "v1")


def _stripe_headers(body: bytes, secret: str, now_s: float) -> dict[str, str]:
    stamp = str(int(now_s))
    return {"stripe-signature": f"t={stamp},v1={_stripe_signature(secret, stamp, body)}"}


def _stripe_signature(secret: str, stamp: str, body: bytes) -> str:
    return hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex()


def _slack(delivery: Delivery, secret: str, now_s: float) -> bool:
    stamp = delivery.headers.get("x-slack-request-timestamp", "")
    given = delivery.headers.get(_SLACK, "")
    return _in_window(stamp, now_s) and _same(given, _slack_signature(secret, stamp, delivery.body))


def _slack_headers(body: bytes, secret: str, now_s: float) -> dict[str, str]:
    stamp = str(int(now_s))
    return {"x-slack-request-timestamp": stamp, _SLACK: _slack_signature(secret, stamp, body)}


def _slack_signature(secret: str, stamp: str, body: bytes) -> str:
    return "v0=" + hmac.digest(secret.encode(), b"v0:" + stamp.encode() + b":" + body, "sha256").hex()


def _standard_headers(body: bytes, secret: str, now_s: float) -> dict[str, str]:
    id, stamp = "msg_1", str(int(now_s))
    signature = _standard_signature(_standard_key(secret), id, stamp, body)
    return {"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": signature}


def _standard_key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return secret.encode()


def _standard_signature(key: bytes, id: str, stamp: str, body: bytes) -> str:
    signed = f"{id}.{stamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"


def _same(given: str, made: str) -> bool:
    return hmac.compare_digest(given.encode(), made.encode())


def _safe(value: object) -> str | None:
    """Return a challenge as it may be sent back: nothing that a browser could take for a page."""
    return value if isinstance(value, str) and _ECHO.fullmatch(value) else None
