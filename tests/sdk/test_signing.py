"""Who sent this delivery?"""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from areabox.sdk import Delivery, Verifier, echo_json, echo_query, hmac_sha256, shared_token, standard_webhook

NOW_S = 1_767_225_600.0
KEY = base64.b64encode(b"k" * 24).decode()
STANDARD = standard_webhook()


def standard(body: bytes = b"{}", *, id: str = "msg_1", at: float = NOW_S, key: str = KEY) -> Delivery:
    signed = f"{id}.{int(at)}.".encode() + body
    signature = base64.b64encode(hmac.new(base64.b64decode(key), signed, hashlib.sha256).digest()).decode()
    return Delivery(
        body=body,
        headers={"webhook-id": id, "webhook-timestamp": str(int(at)), "webhook-signature": f"v1,old v1,{signature}"},
    )


def github(body: bytes, secret: str) -> Delivery:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return Delivery(body=body, headers={"x-hub-signature-256": f"sha256={digest}"})


def test_githubs_own_example_is_genuine() -> None:
    # docs.github.com, "Validating webhook deliveries": secret and payload of its test values
    delivery = Delivery(
        body=b"Hello, World!",
        headers={
            "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        },
    )
    assert hmac_sha256("X-Hub-Signature-256", prefix="sha256=")(delivery, "It's a Secret to Everybody", NOW_S)


def test_a_standard_webhook_is_genuine_with_several_signatures_and_with_the_usual_prefix_of_its_key() -> None:
    assert STANDARD(standard(), KEY, NOW_S)
    assert STANDARD(standard(), f"whsec_{KEY}", NOW_S)


@pytest.mark.parametrize("off_s", [301, -301])
def test_a_standard_webhook_from_another_time_is_refused(off_s: int) -> None:
    assert not STANDARD(standard(at=NOW_S + off_s), KEY, NOW_S)


@pytest.mark.parametrize("stamp", ["", "now", "-5", "1e9", "९९"])
def test_a_standard_webhook_without_a_readable_time_is_refused(stamp: str) -> None:
    delivery = standard()
    delivery.headers["webhook-timestamp"] = stamp
    assert not STANDARD(delivery, KEY, NOW_S)


def test_a_changed_body_is_refused() -> None:
    assert not STANDARD(Delivery(body=b"[]", headers=standard().headers), KEY, NOW_S)
    verify = hmac_sha256("X-Hub-Signature-256", prefix="sha256=")
    assert not verify(Delivery(body=b"other", headers=github(b"one", "s").headers), "s", NOW_S)


@pytest.mark.parametrize("verify", [hmac_sha256("X"), hmac_sha256("X", encoding="base64"), shared_token("X"), STANDARD])
@pytest.mark.parametrize("headers", [{}, {"x": ""}, {"x": "é"}, {"webhook-id": "1", "webhook-timestamp": "9" * 40}])
def test_without_a_secret_or_with_nonsense_nothing_is_genuine(verify: Verifier, headers: dict[str, str]) -> None:
    assert not verify(Delivery(headers=headers), "", NOW_S)
    assert not verify(Delivery(headers=headers), "secret", NOW_S)


def test_a_shared_token_may_have_a_prefix() -> None:
    delivery = Delivery(headers={"authorization": "Bearer abc"})
    assert shared_token(prefix="Bearer ")(delivery, "abc", NOW_S)
    assert not shared_token(prefix="Bearer ")(delivery, "abcd", NOW_S)


def test_a_handshake_echoes_a_challenge_and_nothing_that_could_be_a_page() -> None:
    assert echo_query("hub.challenge")(Delivery(query={"hub.challenge": "15f7d1a9"})) == "15f7d1a9"
    assert echo_query("hub.challenge")(Delivery(query={"hub.challenge": "<script>"})) is None
    assert echo_query("hub.challenge")(Delivery()) is None
    assert echo_json("challenge")(Delivery(json={"challenge": "3eZbrw1aB"})) == "3eZbrw1aB"
    assert echo_json("challenge")(Delivery(json=["challenge"])) is None
