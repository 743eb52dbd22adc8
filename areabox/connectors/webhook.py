"""Webhooks: whatever is sent to an address of its own, signed or not.

Tested against real HTTP requests, and signatures by Standard Webhooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from areabox.sdk import (
    Connector,
    Delivery,
    Event,
    Field,
    Secret,
    Verifier,
    echo_json,
    github_webhook,
    hmac_sha256,
    shared_token,
    slack_webhook,
    standard_webhook,
    stripe_webhook,
)

webhook = Connector("webhook", "Webhook", about="Anything that can send an HTTP request.", icon="webhook")

_SCHEMES = {
    "standard": standard_webhook, "github": github_webhook, "stripe": stripe_webhook, "slack": slack_webhook,
}  # fmt: skip
_challenge = echo_json("challenge")
TOKEN_HEADER, TOKEN_PREFIX = "Authorization", "Bearer "
SIGNATURE_HEADER, SIGNATURE_PREFIX = "X-Hub-Signature-256", "sha256="


class Received(Event):
    """A request that came in."""

    method: str
    path: str  # behind the address, / if nothing is
    query: dict[str, Any]  # a name that comes more than once has a list
    headers: dict[str, str]  # names in lower case
    body: str
    json: Any = None  # the parsed body, null if it is not JSON


Scheme = Annotated[
    Literal["none", "token", "hmac", "standard", "github", "stripe", "slack"],
    Field(
        "Verify",
        "token: a header holds the secret. hmac: it signs the body. standard: Standard Webhooks. The others: as these "
        "services sign.",
    ),
]
Header = Annotated[
    str,
    Field(
        "Header",
        "Of the token (else Authorization) or the signature (else X-Hub-Signature-256).",
        pattern=r"^[A-Za-z0-9-]{0,64}$",
    ),
]
Prefix = Annotated[str, Field("Prefix", "What stands before it in the header, such as sha256=.", max_length=32)]


def _verifier(params: dict[str, Any]) -> Verifier | None:
    """Return how a delivery is verified; None: its address is secret enough."""
    scheme, header, prefix = params.get("verify", "none"), params.get("header") or "", params.get("prefix") or ""
    if scheme == "token":
        return shared_token(header or TOKEN_HEADER, prefix if header else prefix or TOKEN_PREFIX)
    if scheme == "hmac":
        usual = prefix if header else prefix or SIGNATURE_PREFIX
        return hmac_sha256(header or SIGNATURE_HEADER, usual, params.get("encoding", "hex"))
    made = _SCHEMES.get(scheme)
    return made() if made is not None else None


def _handshake(delivery: Delivery) -> str | None:
    """Answer the question by which Slack tells whether an address is wanted."""
    asked = isinstance(delivery.json, dict) and delivery.json.get("type") == "url_verification"
    return _challenge(delivery) if asked and "x-slack-signature" in delivery.headers else None


def _check(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    verified, secret = params.get("verify", "none") != "none", params.get("secret")
    if verified and not secret:
        yield "secret", "is needed to verify deliveries"
    if secret and not verified:
        yield "verify", "says how the secret is used: token, hmac, standard, github, stripe or slack"


@webhook.action(
    "Request received",
    hook=_verifier,
    shared=False,
    sentence="a request comes in",
    check=_check,
    handshake=_handshake,
    sample=Received(
        method="POST",
        path="/",
        query={"door": "front"},
        headers={"content-type": "application/json"},
        body='{"state": "open"}',
        json={"state": "open"},
    ),
)
def received(
    delivery: Delivery,
    verify: Scheme = "none",
    secret: Annotated[Secret, Field("Secret", "Shared with the sender.")] = "",
    header: Header = "",
    prefix: Prefix = "",
    encoding: Annotated[Literal["hex", "base64"], Field("Encoding", "Of the signature.")] = "hex",
) -> Iterator[Received]:
    """Fires for each request to the area's own address, which is shown once the area is stored.

    Any method, JSON, a form or plain text. The sender gets 202 when the event is on disk. A delivery that names itself
    (`webhook-id`, `X-GitHub-Delivery`, `Idempotency-Key`, …) fires once, however often it is sent, and a signed one
    under whatever name.
    """
    del secret, prefix, encoding
    hidden = (header or TOKEN_HEADER).lower() if verify == "token" else ""
    headers = {name: value for name, value in delivery.headers.items() if name != hidden}
    yield Received(
        method=delivery.method,
        path=delivery.path or "/",
        query=delivery.query,
        headers=headers,
        body=delivery.text,
        json=delivery.json,
    )
