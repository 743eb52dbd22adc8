"""`postal`, against a replay of its documented API and of the webhooks that it signs with RSA."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from areabox.errors import AuthExpired, InputError, NotAllowedError, Permanent
from areabox.services.calls import Services
from areabox.services.connections import Connections
from tests.connectors.calls import label, react
from tests.connectors.deliveries import receiver
from tests.services.web import Request, Server, reply

__all__ = ["receiver"]

PRIVATE = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
DER = PRIVATE.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
PEM = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
DKIM = f"v=DKIM1; t=s; h=sha256; p={base64.b64encode(DER).decode()};"


def success(data: Any) -> bytes:
    return reply(200, {"status": "success", "time": 0.02, "flags": {}, "data": data})


def refused(code: str, message: str = "No.", status: str = "error") -> bytes:
    return reply(200, {"status": status, "time": 0.02, "flags": {}, "data": {"code": code, "message": message}})


@pytest.fixture
async def account(connections: Connections, server: Server) -> str:
    server.answer = success({"message_id": "<a@rp.postal.example.org>", "messages": {"ann@example.org": {"id": 42, "token": "abc"}}})
    return (await connections.create("ann", "postal", {"url": server.url, "key": "s3cret"})).id


async def test_a_mail_is_sent_whole(services: Services, server: Server, account: str) -> None:
    assert await react(
        services, "postal.send", account, to=["ann@example.org"], sender="box@example.org", subject="Hi", text="t", html="<b>t</b>", cc=["bob@example.org"],
        reply_to="office@example.org", tag="welcome", headers={"X-A": "1"}, attachments=[{"name": "a.txt", "text": "hello"}, {"name": "b.pdf", "type": "application/pdf", "base64": "JVBERg=="}],
    ) == {"message_id": "<a@rp.postal.example.org>", "messages": {"ann@example.org": 42}}  # fmt: skip
    request = server.requests[0]
    assert (request.method, request.path, request.headers["x-server-api-key"]) == ("POST", "/api/v1/send/message", "s3cret")
    assert request.json == {
        "to": ["ann@example.org"], "from": "box@example.org", "subject": "Hi", "plain_body": "t", "html_body": "<b>t</b>", "cc": ["bob@example.org"],
        "reply_to": "office@example.org", "tag": "welcome", "headers": {"X-A": "1"}, "attachments": [
            {"name": "a.txt", "content_type": "application/octet-stream", "data": "aGVsbG8="}, {"name": "b.pdf", "content_type": "application/pdf", "data": "JVBERg=="},
        ],
    }  # fmt: skip


async def test_what_postal_refuses_with_status_200_is_an_error(services: Services, server: Server, account: str) -> None:
    server.answer = refused("UnauthenticatedFromAddress", "The From address is not authorised to send mail from this server")
    with pytest.raises(Permanent, match="not authorised to send mail"):
        await react(services, "postal.send", account, to=["ann@example.org"], sender="x@example.org", text="t")
    for params in ({"text": ""}, {"text": "t", "attachments": [{"name": "a"}]}):
        with pytest.raises(Permanent):
            await react(services, "postal.send", account, to=["ann@example.org"], sender="x@example.org", **params)
    server.answer = refused("InvalidServerAPIKey")
    with pytest.raises(AuthExpired):
        await label(services, account)


async def test_a_connection_is_tested_by_a_message_that_cannot_exist(services: Services, server: Server, account: str) -> None:
    server.answer = refused("MessageNotFound")
    assert await label(services, account) == server.url
    assert (server.requests[0].path, server.requests[0].json) == ("/api/v1/messages/message", {"id": 0})
    server.answer = refused("Odd", status="parameter-error")
    with pytest.raises(Permanent):
        await label(services, account)


async def test_how_far_a_mail_got_is_looked_at(services: Services, server: Server, account: str) -> None:
    def answer(request: Request) -> bytes:
        if request.path.endswith("/deliveries"):
            return success([{"id": 1, "status": "SoftFail", "details": "x"}, {"id": 2, "status": "Sent", "details": "Accepted by mx", "output": "250 OK", "sent_with_ssl": True}])
        return success({"id": 42, "token": "abc", "status": {"status": "Sent", "held": False, "hold_expiry": None}})

    server.answer = answer
    assert await react(services, "postal.status", account, message=42) == {"id": 42, "state": "Sent", "last": "Accepted by mx 250 OK", "held": False}
    assert server.requests[0].json == {"id": 42, "_expansions": ["status"]}


def event(kind: str = "MessageDeliveryFailed", uuid: str = "u1", **payload: Any) -> bytes:
    mail = {
        "id": 42, "token": "abc", "direction": "outgoing", "message_id": "a@rp.postal.example.org", "to": "ann@example.org", "from": "box@example.org",
        "subject": "Hi", "timestamp": 1767268799.1, "spam_status": "NotChecked", "tag": "welcome",
    }  # fmt: skip
    body = {"status": "HardFail", "details": "No such mailbox", "output": "550 5.1.1", "sent_with_ssl": True, "timestamp": 1767268800.5, "time": 0.2, "message": mail}
    return msgspec.json.encode({"event": kind, "timestamp": 1767268801.0, "uuid": uuid, "payload": body | payload})


def signed(body: bytes, key: rsa.RSAPrivateKey = PRIVATE, *, old: bool = False) -> dict[str, str]:
    made = key.sign(body, padding.PKCS1v15(), hashes.SHA1() if old else hashes.SHA256())
    return {"x_postal_signature" if old else "x_postal_signature_256": base64.b64encode(made).decode()}


async def listening(receiver: SimpleNamespace, public_key: str = PEM, **params: Any) -> str:
    values = {"url": "https://postal.example.org", "key": "s3cret", "public_key": public_key}
    connection = (await receiver.house.connections.create("u1", "postal", values)).id
    return str(await receiver.at("postal.delivery_event", connection, **params))


@pytest.mark.parametrize("public_key", [PEM, DKIM, base64.b64encode(DER).decode(), f'"{DKIM[:100]}" "{DKIM[100:]}"'])
@pytest.mark.parametrize("old", [True, False])
async def test_what_postal_signed_comes_in_once(receiver: SimpleNamespace, public_key: str, old: bool) -> None:
    key = await listening(receiver, public_key)
    assert await receiver.deliver(key, event(), **signed(event(), old=old))
    await receiver.deliver(key, event(), **signed(event(), old=old))
    assert await receiver.payloads() == [
        {
            "id": "u1", "kind": "failed", "message": 42, "message_id": "a@rp.postal.example.org", "to": "ann@example.org", "sender": "box@example.org", "subject": "Hi",
            "tag": "welcome", "direction": "outgoing", "details": "No such mailbox", "output": "550 5.1.1", "url": "", "time": 1767268800.5,
        }
    ]  # fmt: skip


async def test_what_postal_did_not_sign_is_refused(receiver: SimpleNamespace) -> None:
    key, body = await listening(receiver), event()
    bad: list[dict[str, str]] = [{}, signed(body, OTHER), signed(b"x"), {"x_postal_signature_256": "é"}, {"x_postal_signature": "AAAA"}]
    bad.append(signed(body, old=True) | {"x_postal_signature_256": "AAAA"})  # the stronger one decides
    for headers in bad:
        with pytest.raises(NotAllowedError):
            await receiver.deliver(key, body, **headers)
    assert await receiver.payloads() == []


async def test_without_a_public_key_nothing_is_believed(receiver: SimpleNamespace) -> None:
    with pytest.raises(NotAllowedError):
        await receiver.deliver(await listening(receiver, ""), event(), **signed(event()))


async def test_what_is_no_public_rsa_key_is_refused_where_it_is_typed(connections: Connections) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    wrong = curve.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    for text in ("x", "p=AAAA", wrong, "-----BEGIN PUBLIC KEY-----"):
        with pytest.raises(InputError, match="key"):
            await connections.create("ann", "postal", {"url": "https://postal.example.org", "key": "k", "public_key": text})


async def test_only_what_an_area_asks_for_fires(receiver: SimpleNamespace) -> None:
    key = await listening(receiver, kinds=["clicked", "bounced"], tag="welcome")
    bodies = [
        event("MessageSent", "u1"), event("MessageLinkClicked", "u2", url="https://example.org/a"), event("DomainDNSError", "u3"),
        event("MessageBounced", "u4", message=None, original_message={"id": 7, "to": "bob@example.org", "tag": "welcome"}, bounce={"id": 8}),
        event("MessageBounced", "u5", message={"tag": "other"}), b"[]", b'{"event": "MessageBounced", "payload": 1}',
    ]  # fmt: skip
    for body in bodies:
        await receiver.deliver(key, body, **signed(body))
    assert [(one["kind"], one["message"], one["url"]) for one in await receiver.payloads()] == [("clicked", 42, "https://example.org/a"), ("bounced", 7, "")]
