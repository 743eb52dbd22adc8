"""`webpush`, against a replay of a push service; what comes is decrypted by the RFC, by other means than the connector's."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from areabox.connectors import _push
from areabox.errors import AuthExpired, InputError, Permanent, RateLimited
from areabox.services.calls import Services
from areabox.services.connections import Connections
from areabox.services.host import House
from areabox.services.push import public_key, push_key
from tests.connectors.calls import label, react
from tests.services.web import Request, Server, reply

# RFC 8291, section 5 and appendix A
PLAIN = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RECEIVER_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SALT, AUTH = "DGv6ra1nlYgDCS1FRnbzlw", "BTBZMqHH6r4Tts7J_aSIgg"
SEALED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuw"
    "XPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)  # fmt: skip


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return hmac.new(hmac.new(salt, secret, hashlib.sha256).digest(), info + b"\x01", hashlib.sha256).digest()[:length]


def opened(body: bytes) -> bytes:
    """Decrypt a message as the browser of the RFC's example does, without the connector's helpers."""
    salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
    sender, sealed = body[21 : 21 + length], body[21 + length :]
    assert size >= len(sealed)
    own = ec.derive_private_key(int.from_bytes(raw(RECEIVER), "big"), ec.SECP256R1())
    shared = own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
    secret = hkdf(raw(AUTH), shared, b"WebPush: info\x00" + raw(RECEIVER_PUBLIC) + sender, 32)
    key, nonce = hkdf(salt, secret, b"Content-Encoding: aes128gcm\x00", 16), hkdf(salt, secret, b"Content-Encoding: nonce\x00", 12)
    cipher = Cipher(algorithms.AES(key), modes.GCM(nonce, sealed[-16:])).decryptor()
    plain = cipher.update(sealed[:-16]) + cipher.finalize()
    assert plain[-1:] == b"\x02"
    return plain[:-1]


def claims(request: Request) -> tuple[dict[str, Any], str]:
    """Verify who sends, as a push service does, and return what is claimed, and the public key."""
    scheme, _, rest = request.headers["authorization"].partition(" ")
    assert scheme == "vapid"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    text, _, signature = parts["t"].rpartition(".")
    made = raw(signature)
    signed = utils.encode_dss_signature(int.from_bytes(made[:32], "big"), int.from_bytes(made[32:], "big"))
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw(parts["k"])).verify(signed, text.encode(), ec.ECDSA(hashes.SHA256()))
    head, body = text.split(".")
    assert msgspec.json.decode(raw(head)) == {"typ": "JWT", "alg": "ES256"}
    return msgspec.json.decode(raw(body)), parts["k"]


@pytest.fixture
def key(services: Services, backend: Any, clock: Any, vault: Any) -> bytes:
    made = push_key(vault)
    services._house = House(backend, clock, push_key=made)
    return made


@pytest.fixture
async def browser(connections: Connections, server: Server, key: bytes) -> str:
    server.answer = reply(201, location="https://push.example.org/m/1")
    values = {"endpoint": f"{server.url}/wpush/v2/abc", "p256dh": RECEIVER_PUBLIC, "auth": AUTH, "contact": "ann@example.org"}
    return (await connections.create("ann", "webpush", values)).id


def test_the_example_of_the_rfc_comes_out_byte_for_byte() -> None:
    made = _push.encrypted(PLAIN, RECEIVER_PUBLIC, AUTH, sender=_push.private(raw(SENDER)), salt=raw(SALT))
    assert made == raw(SEALED)
    assert opened(made) == PLAIN


def test_no_two_messages_are_sealed_alike() -> None:
    one, other = (_push.encrypted(PLAIN, RECEIVER_PUBLIC, AUTH) for _ in range(2))
    assert one[:86] != other[:86]
    assert opened(one) == opened(other) == PLAIN


async def test_a_notification_is_read_by_the_browser_alone(services: Services, server: Server, browser: str, key: bytes, clock: Any) -> None:
    found = await react(
        services, "webpush.send", browser, message="Open é", title="Door", click="https://box.example.org/", tag="door", urgency="high", keep=60, data={"a": [1]}
    )  # fmt: skip
    assert found == {"url": "https://push.example.org/m/1"}
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/wpush/v2/abc")
    assert msgspec.json.decode(opened(request.body)) == {"title": "Door", "body": "Open é", "url": "https://box.example.org/", "tag": "door", "data": {"a": [1]}}
    assert b"Door" not in request.body
    shown = {name: request.headers[name] for name in ("ttl", "urgency", "content-encoding", "topic")}
    assert shown == {"ttl": "60", "urgency": "high", "content-encoding": "aes128gcm", "topic": hashlib.sha256(b"door").hexdigest()[:32]}
    said, public = claims(request)
    assert said == {"aud": server.url, "exp": clock.now_ms() // 1000 + 43_200, "sub": "mailto:ann@example.org"}
    assert public == public_key(key)


@pytest.mark.parametrize(("status", "said"), [(404, "register it anew"), (410, "register it anew"), (403, "push key"), (401, "push key")])
async def test_a_browser_that_is_gone_makes_its_connection_dead(
    services: Services, server: Server, browser: str, connections: Connections, status: int, said: str
) -> None:
    server.answer = reply(status)
    with pytest.raises(AuthExpired, match=said):
        await react(services, "webpush.send", browser, message="x")
    (found,) = await connections.list("ann")
    assert found.state == "dead"


async def test_what_is_too_long_or_too_often_is_refused(services: Services, server: Server, browser: str) -> None:
    longest = "x" * (_push.PLAIN_MAX - len('{"title":"areabox","body":""}'))
    await react(services, "webpush.send", browser, message=longest)
    assert len(server.requests[0].body) == 4096
    with pytest.raises(Permanent, match="at most"):
        await react(services, "webpush.send", browser, message=longest + "x")
    server.answer = reply(429, retry_after="7")
    with pytest.raises(RateLimited):
        await react(services, "webpush.send", browser, message="x")


async def test_a_test_shows_nothing(services: Services, server: Server, browser: str) -> None:
    assert await label(services, browser) == server.url.removeprefix("http://")
    assert (server.requests[0].body, server.requests[0].headers["ttl"]) == (b"", "0")


async def test_keys_that_are_none_are_refused(connections: Connections) -> None:
    for wrong in ({"p256dh": "AAAA"}, {"p256dh": "!"}, {"auth": "="}):
        with pytest.raises(InputError):
            await connections.create("ann", "webpush", {"endpoint": "https://push.example.org/a", "p256dh": RECEIVER_PUBLIC, "auth": AUTH} | wrong)


def test_the_push_key_is_the_installations_own(vault: Any) -> None:
    assert push_key(vault) == push_key(vault)
    assert push_key(vault) != push_key(vault.rotated())
    assert len(raw(public_key(push_key(vault)))) == 65


def test_a_replaced_notification_may_be_repeated(catalogue: Any) -> None:
    operation = catalogue.reaction("webpush.send")
    assert [operation.effect_of({"message": "x"} | more) for more in ({}, {"tag": "a"})] == ["once", "idempotent"]


