"""`twilio`, against a replay of its documented API and of the webhooks that it signs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from areabox.errors import AuthExpired, NotAllowedError, Permanent, Uncertain
from areabox.services.calls import Services
from areabox.services.connections import Connections
from tests.connectors.calls import label, react
from tests.connectors.deliveries import BASE, receiver
from tests.services.web import Request, Server, reply

__all__ = ["receiver"]

ACCOUNT, TOKEN, SID = "AC" + "1" * 32, "12345678901234567890123456789012", "SM" + "a" * 32
VALUES = {"account": ACCOUNT, "token": TOKEN, "sender": "+15005550006"}
MESSAGE = {
    "sid": SID, "status": "queued", "to": "+33612345678", "from": "+15005550006", "num_segments": "1", "error_code": None, "error_message": None,
    "body": "Hi", "direction": "outbound-api", "date_created": "Thu, 01 Jan 2026 12:00:00 +0000", "messaging_service_sid": None,
}  # fmt: skip
SENT = {"sid": SID, "state": "queued", "to": "+33612345678", "sender": "+15005550006", "segments": 1, "error": ""}
IN = {
    "ToCountry": "US", "SmsMessageSid": SID, "NumMedia": "1", "SmsSid": SID, "SmsStatus": "received", "FromCity": "PARIS", "Body": "Is it closed? é+&", "FromCountry": "FR",
    "To": "+15005550006", "MessageSid": SID, "AccountSid": ACCOUNT, "From": "+33612345678", "ApiVersion": "2010-04-01", "MediaUrl0": "https://api.twilio.com/m", "MediaContentType0": "image/png",
}  # fmt: skip


@pytest.fixture
async def phone(connections: Connections, server: Server) -> str:
    server.answer = reply(201, MESSAGE)
    return (await connections.create("ann", "twilio", VALUES | {"url": server.url})).id


def sent(request: Request) -> list[tuple[str, str]]:
    return parse_qsl(request.body.decode())


async def test_a_message_is_sent_from_the_connections_number(services: Services, server: Server, phone: str) -> None:
    assert await react(services, "twilio.send", phone, to="+33612345678", text="Hi é") == SENT
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert request.headers["authorization"] == "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    assert sent(request) == [("To", "+33612345678"), ("From", "+15005550006"), ("Body", "Hi é")]


async def test_pictures_services_and_where_the_status_goes(services: Services, server: Server, phone: str) -> None:
    await react(
        services, "twilio.send", phone, to="whatsapp:+33612345678", sender="MG" + "b" * 32, media=["https://example.org/a.png", "https://example.org/b.png"],
        status_url="https://box.example.org/hooks/x",
    )  # fmt: skip
    assert sent(server.requests[0]) == [
        ("To", "whatsapp:+33612345678"), ("MessagingServiceSid", "MG" + "b" * 32), ("MediaUrl", "https://example.org/a.png"),
        ("MediaUrl", "https://example.org/b.png"), ("StatusCallback", "https://box.example.org/hooks/x"),
    ]  # fmt: skip


async def test_a_lost_answer_is_uncertain_since_nobody_wants_to_pay_twice(services: Services, server: Server, phone: str) -> None:
    def gone(request: Request) -> bytes:
        raise ConnectionError

    server.answer = gone
    with pytest.raises(Uncertain):
        await react(services, "twilio.send", phone, to="+33612345678", text="Hi")


async def test_what_twilio_refuses_is_said(services: Services, server: Server, phone: str, connections: Connections) -> None:
    server.answer = reply(400, {"code": 21211, "message": "The 'To' number is not a valid phone number.", "more_info": "https://www.twilio.com/docs/errors/21211", "status": 400})
    with pytest.raises(Permanent, match="not a valid phone number"):
        await react(services, "twilio.send", phone, to="+33612345678", text="Hi")
    server.answer = reply(401, {"code": 20003, "message": "Authenticate", "status": 401})
    with pytest.raises(AuthExpired):
        await label(services, phone)
    for params in ({"text": ""}, {"text": "x", "media": ["https://example.org/a"] * 11}):
        with pytest.raises((Permanent, AuthExpired)):
            await react(services, "twilio.send", phone, to="+33612345678", **params)
    nobody = (await connections.create("ann", "twilio", VALUES | {"url": server.url, "sender": ""}, name="n")).id
    with pytest.raises(Permanent, match="who sends it"):
        await react(services, "twilio.send", nobody, to="+33612345678", text="x")


async def test_a_message_is_looked_at_and_cancelled(services: Services, server: Server, phone: str) -> None:
    server.answer = reply(200, MESSAGE | {"status": "undelivered", "error_code": 30003, "error_message": "Unreachable"})
    found = await react(services, "twilio.status", phone, sid=SID)
    assert (found["state"], found["error"]) == ("undelivered", "30003: Unreachable")
    server.answer = reply(200, MESSAGE | {"status": "canceled"})
    assert (await react(services, "twilio.cancel", phone, sid=SID))["state"] == "canceled"
    look, cancel = server.requests
    assert (look.method, look.path, cancel.path) == ("GET", cancel.path, f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}.json")
    assert sent(cancel) == [("Status", "canceled")]


async def test_a_connection_is_named_after_its_account(services: Services, server: Server, phone: str) -> None:
    server.answer = reply(200, {"sid": ACCOUNT, "friendly_name": "Home", "status": "active"})
    assert await label(services, phone) == "Home"
    assert server.requests[0].path == f"/2010-04-01/Accounts/{ACCOUNT}.json"
    server.answer = reply(200, {"sid": ACCOUNT, "friendly_name": "Home", "status": "suspended"})
    with pytest.raises(Permanent, match="suspended"):
        await label(services, phone)


class Sender:
    """Twilio, that delivers to an address and signs as its documentation says."""

    def __init__(self, receiver: SimpleNamespace, key: str, token: str = TOKEN) -> None:
        self.receiver, self.key, self.token = receiver, key, token

    async def __call__(self, form: dict[str, str], *, url: str = "", token: str = "", body: bytes | None = None) -> Any:
        text = (url or f"{BASE}/hooks/{self.key}") + "".join(f"{name}{form[name]}" for name in sorted(form))
        signature = base64.b64encode(hmac.new((token or self.token).encode(), text.encode(), hashlib.sha1).digest()).decode()
        content = urlencode(form).encode() if body is None else body
        return await self.receiver.deliver(self.key, content, x_twilio_signature=signature, content_type="application/x-www-form-urlencoded; charset=UTF-8")


async def account_of(receiver: SimpleNamespace) -> str:
    return (await receiver.house.connections.create("u1", "twilio", VALUES)).id


async def test_a_message_that_twilio_signed_comes_in_once(receiver: SimpleNamespace) -> None:
    twilio = Sender(receiver, await receiver.at("twilio.message_received", await account_of(receiver)))
    assert await twilio(IN)
    await twilio(IN)
    assert await receiver.payloads() == [
        {
            "id": SID, "text": "Is it closed? é+&", "sender": "+33612345678", "to": "+15005550006", "media": ["https://api.twilio.com/m"],
            "media_types": ["image/png"], "country": "FR", "city": "PARIS", "name": "",
        }
    ]  # fmt: skip


async def test_what_twilio_did_not_sign_is_refused(receiver: SimpleNamespace) -> None:
    twilio = Sender(receiver, await receiver.at("twilio.message_received", await account_of(receiver)))
    for wrong in ({"token": "another"}, {"url": "https://elsewhere.example.org/hooks/x"}, {"body": urlencode(IN | {"Body": "Open it"}).encode()}, {"body": b""}):
        with pytest.raises(NotAllowedError):
            await twilio(IN, **wrong)
    with pytest.raises(NotAllowedError):
        await receiver.deliver(twilio.key, urlencode(IN).encode(), content_type="application/x-www-form-urlencoded")
    assert await receiver.payloads() == []


async def test_with_a_new_token_the_old_one_is_no_longer_believed(receiver: SimpleNamespace) -> None:
    connection = await account_of(receiver)
    twilio = Sender(receiver, await receiver.at("twilio.message_received", connection))
    assert await twilio(IN)
    await receiver.house.connections.update("u1", connection, values={"token": "n" * 32})
    receiver.hooks.reconnected(connection)
    with pytest.raises(NotAllowedError):
        await twilio(IN | {"MessageSid": "SM" + "b" * 32})
    assert await twilio(IN | {"MessageSid": "SM" + "b" * 32}, token="n" * 32)


async def test_only_one_sender_is_listened_to_if_an_area_says_so(receiver: SimpleNamespace) -> None:
    twilio = Sender(receiver, await receiver.at("twilio.message_received", await account_of(receiver), sender="+33699999999"))
    assert await twilio(IN) is None
    assert await twilio(IN | {"From": "+33699999999", "NumMedia": "x"})
    assert await twilio({"MessageSid": SID, "MessageStatus": "sent", "From": "+33699999999"}) is None


async def test_how_a_message_gets_on_is_told(receiver: SimpleNamespace) -> None:
    twilio = Sender(receiver, await receiver.at("twilio.message_status", await account_of(receiver), only=["delivered", "failed"]))
    for state in ("sent", "delivered", "delivered"):
        await twilio({"MessageSid": SID, "MessageStatus": state, "To": "+33612345678", "From": "+15005550006"})
    await twilio({"MessageSid": SID, "MessageStatus": "failed", "ErrorCode": "30003"})
    await twilio(IN)
    events = await receiver.payloads()
    assert [(event["sid"], event["state"], event["error"]) for event in events] == [(SID, "delivered", ""), (SID, "failed", "30003")]
