"""G18: whoever does not know the secret gets nothing in, and whoever recorded a delivery gets it in no second time."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from areabox.app import App
from areabox.sdk import Delivery, github_webhook, slack_webhook, standard_webhook
from tests.gateway.conftest import Connect
from tests.security.figures import figure
from tests.support import FakeClock

SECRET, OTHER = "a long random text", "another long random text"
WHSEC = "whsec_" + base64.b64encode(b"twenty-four random bytes").decode()
BODY = b'{"door": "open", "n": 12}'
Headers = list[tuple[str, str]]
Sent = tuple[Headers, bytes]

REFUSED: dict[str, int] = {}


class Scheme:
    """How a sender signs: the parameters of the trigger, and the headers that a genuine delivery has."""

    def __init__(self, params: dict[str, Any], name: str, prefix: str, digest: Callable[[bytes], str] | None) -> None:
        self.params, self.name, self.prefix, self.digest = params, name, prefix, digest

    def sign(self, body: bytes, clock: FakeClock, *, secret: str = SECRET, id: str = "msg_1", age_s: int = 0) -> Headers:
        if self.params["verify"] == "standard":
            return standard(body, clock, self.params["secret"] if secret == SECRET else secret, id, age_s)
        if self.params["verify"] == "token":
            return [(self.name, self.prefix + secret)]
        stamp = str(clock.now // 1000 - age_s)
        if self.params["verify"] == "stripe":
            return [("Stripe-Signature", f"t={stamp},v1={_hmac(secret.encode(), stamp.encode() + b'.' + body)}")]
        if self.params["verify"] == "slack":
            return [("X-Slack-Request-Timestamp", stamp), ("X-Slack-Signature", "v0=" + _hmac(secret.encode(), b"v0:" + stamp.encode() + b":" + body))]
        raw = hmac.new(secret.encode(), body, hashlib.sha256)
        made = raw.hexdigest() if self.params.get("encoding") != "base64" else base64.b64encode(raw.digest()).decode()
        return [(self.name, self.prefix + made)]


def standard(body: bytes, clock: FakeClock, secret: str, id: str = "msg_1", age_s: int = 0, stamp: str = "") -> Headers:
    stamp = stamp or str(clock.now // 1000 - age_s)
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    made = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return [("webhook-id", id), ("webhook-timestamp", stamp), ("webhook-signature", f"v1,{base64.b64encode(made).decode()}")]


SCHEMES = {
    "token": Scheme({"verify": "token", "secret": SECRET}, "Authorization", "Bearer ", None),
    "token-header": Scheme({"verify": "token", "secret": SECRET, "header": "X-Gitlab-Token"}, "X-Gitlab-Token", "", None),
    "hmac": Scheme({"verify": "hmac", "secret": SECRET}, "X-Hub-Signature-256", "sha256=", None),
    "hmac-base64": Scheme({"verify": "hmac", "secret": SECRET, "header": "X-Sign", "encoding": "base64"}, "X-Sign", "", None),
    "standard": Scheme({"verify": "standard", "secret": WHSEC}, "webhook-signature", "v1,", None),
    "github": Scheme({"verify": "github", "secret": SECRET}, "X-Hub-Signature-256", "sha256=", None),
    "stripe": Scheme({"verify": "stripe", "secret": SECRET}, "Stripe-Signature", "t=", None),
    "slack": Scheme({"verify": "slack", "secret": SECRET}, "X-Slack-Signature", "v0=", None),
    "standard-text": Scheme({"verify": "standard", "secret": SECRET}, "webhook-signature", "v1,", None),
}


def mutations(scheme: Scheme, clock: FakeClock) -> Iterator[tuple[str, Sent]]:
    """Yield at least 40 forgeries: of the proof, of what it stands for, and of the time."""
    good, name, prefix = scheme.sign(BODY, clock), scheme.name, scheme.prefix
    proof = dict(good)[name]
    rest = [pair for pair in good if pair[0] != name]

    def proved(value: str) -> Sent:
        return [*rest, (name, value)], BODY

    yield "no headers", ([], BODY)
    yield "no proof", (rest, BODY)
    yield "an empty proof", proved("")
    yield "the prefix alone", proved(prefix)
    for place in range(len(prefix), len(proof), max(1, len(proof) // 12)):
        other = "1" if proof[place] != "1" else "2"
        yield f"character {place} changed", proved(proof[:place] + other + proof[place + 1 :])
    for cut in (1, 2, 5, len(proof) // 2, len(proof) - len(prefix) - 1):
        yield f"{cut} characters less", proved(proof[:-cut])
    yield "one more", proved(proof + "a")
    yield "a null byte more", proved(proof + "%00")
    if scheme.params["verify"] != "stripe":  # of whose several signatures one must be right
        yield "doubled", proved(proof + proof[len(prefix) :])
    yield "twice, as a list", proved(f"{proof},{proof}")
    yield "reversed", proved(prefix + proof[len(prefix) :][::-1])
    yield "swapped case", proved(prefix + proof[len(prefix) :].swapcase() + "A")
    yield "another prefix", proved("sha1=" + proof[len(prefix) :])
    yield "a doubled prefix", proved((prefix or "x") + proof)
    yield "the secret of another", (scheme.sign(BODY, clock, secret=OTHER), BODY)
    yield "an empty secret", ([*scheme.sign(BODY, clock, secret="\x00")[:-1], (name, prefix + _hmac(b""))], BODY)
    yield "a hash without a key", proved(prefix + hashlib.sha256(BODY).hexdigest())
    yield "the key before the body", proved(prefix + hashlib.sha256(b"" + BODY).hexdigest())
    yield "SHA-1", proved(prefix + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest())
    yield "SHA-512", proved(prefix + hmac.new(SECRET.encode(), BODY, hashlib.sha512).hexdigest())
    yield "the name of the secret", proved(prefix + "***")
    yield "null", proved(prefix + "null")
    yield "true", proved("true")
    yield "of an empty body", ([*scheme.sign(b"", clock)[:-1], (name, prefix + _hmac(SECRET.encode(), b""))], BODY)
    for label in ("X-Signature", "Signature", "X-Hub-Signature", "X-Forwarded-" + name, name + "-2", "Cookie", name.replace("-", "_") + "_"):
        yield f"in {label}", ([*rest, (label, proof)], BODY)
    if scheme.params["verify"] == "token":
        for guess in ("Basic " + proof, "bearer" + proof, f"{proof[:-1]}é", f"{proof}\u00a0", " ".join(proof), f'"{proof}"'):
            yield f"as {guess[:8]}", proved(guess.encode().decode("latin-1"))
        return
    if scheme.params["verify"] in ("hmac", "github", "slack"):  # Standard Webhooks allow several signatures, of which one must be right
        yield "sent twice", ([*good, (name, proof)], BODY)
        yield "a wrong one first", ([*rest, (name, prefix + "x"), (name, proof)], BODY)
    for what, body in (("a byte", BODY.replace(b"12", b"13")), ("no byte", b""), ("a space", BODY + b" "), ("a line break", BODY + b"\n"),
                       ("a mark", b"\xef\xbb\xbf" + BODY), ("the first half", BODY[:10]), ("twice", BODY * 2), ("keys", b'{"n": 12, "door": "open"}'),
                       ("other white space", BODY.replace(b" ", b"")), ("another door", BODY.replace(b"open", b"shut"))):  # fmt: skip
        yield f"body: {what}", (good, body)
    if scheme.params["verify"] == "standard":
        yield from times(scheme, clock)
    if scheme.params["verify"] in ("stripe", "slack"):
        yield from stamped(scheme, clock)


def times(scheme: Scheme, clock: FakeClock) -> Iterator[tuple[str, Sent]]:
    secret, now = scheme.params["secret"], clock.now // 1000
    for age_s in (301, 302, 3600, 86_400, -301, -3600, now):
        yield f"{age_s} s old", (standard(BODY, clock, secret, "msg_old", age_s), BODY)
    good = standard(BODY, clock, secret)
    for stamp in (f"{now + 1}", f"-{now}", f"+{now}", f"{now}.0", f" {now} 1", f"{now}0", f"0x{now:x}", "", "now", "9" * 400, "٣" * 10):
        yield f"time {stamp[:12]!r} over a genuine proof", ([good[0], ("webhook-timestamp", stamp.encode().decode("latin-1")), good[2]], BODY)
        if stamp and not stamp.isdigit():
            yield f"a signed time {stamp[:12]!r}", (standard(BODY, clock, secret, stamp=stamp), BODY)
    for id in ("msg_2", "", "msg_1.", "MSG_1", "msg_1\t"):
        yield f"another id {id!r}", ([("webhook-id", id), *good[1:]], BODY)
    signature = good[2][1]
    for version in ("v0,", "v1a,", "V1,", "v1", "v1=", "v11,", ",", ""):
        yield f"version {version!r}", ([*good[:2], ("webhook-signature", version + signature.removeprefix("v1,"))], BODY)
    yield "behind ten wrong ones", ([*good[:2], ("webhook-signature", "v1,x " * 10 + signature)], BODY)
    for less in good:
        yield f"without {less[0]}", ([pair for pair in good if pair != less], BODY)


def stamped(scheme: Scheme, clock: FakeClock) -> Iterator[tuple[str, Sent]]:
    """Yield forgeries of the time in Stripe's and Slack's signatures."""
    now = clock.now // 1000
    for age_s in (301, 302, 3600, 86_400, -301, -3600, now):
        yield f"{age_s} s old", (scheme.sign(BODY, clock, age_s=age_s), BODY)
    for stamp in (str(now + 1), f"-{now}", f"+{now}", f"{now}.0", "", "now", "9" * 400, f"0x{now:x}"):
        good = scheme.sign(BODY, clock)
        moved = [(name, value.replace(str(now), stamp)) for name, value in good]
        yield f"time {stamp[:12]!r} over a genuine proof", (moved, BODY)
    if scheme.params["verify"] == "slack":
        yield "without its time", (scheme.sign(BODY, clock)[1:], BODY)
        yield "of version 1", ([scheme.sign(BODY, clock)[0], ("X-Slack-Signature", scheme.sign(BODY, clock)[1][1].replace("v0", "v1"))], BODY)
        return
    value = scheme.sign(BODY, clock)[0][1]
    for name, other in (("v0 alone", value.replace("v1=", "v0=")), ("two times", f"t={now},{value}"), ("no time", value.partition(",")[2]), ("an old time first", f"t={now - 999},{value}"),
                        ("behind twenty others", "t=" + str(now) + ",v1=x" * 20 + "," + value.partition(",")[2])):  # fmt: skip
        yield name, ([("Stripe-Signature", other)], BODY)


def _hmac(key: bytes, body: bytes = BODY) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


async def events(app: App) -> int:
    return int((await app.backend.read("select count(*) from event"))[0][0])


async def send(client: httpx2.AsyncClient, url: str, sent: Sent) -> httpx2.Response:
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in sent[0]]
    return await client.post(url, content=sent[1], headers=headers)


@pytest.fixture
async def address(running: App, owner: httpx2.AsyncClient) -> Callable[[Scheme], Any]:
    async def make(scheme: Scheme) -> str:
        document = {"area": "hooked", "name": "Hooked", "when": [{"webhook.received": scheme.params}], "then": [{"return": 1}]}
        answer = await owner.put("/api/v1/areas/hooked", json=document)
        assert answer.status_code in (200, 201), answer.text
        assert SECRET not in answer.text
        return "/hooks/" + str(answer.json()["subscriptions"][0]["url"]).rpartition("/hooks/")[2]

    return make


@pytest.mark.parametrize("kind", SCHEMES)
async def test_no_forged_delivery_comes_in(kind: str, address: Any, app: App, connect: Connect, clock: FakeClock) -> None:
    scheme, client = SCHEMES[kind], connect()
    url, forged = await address(scheme), list(mutations(SCHEMES[kind], clock))
    believed = []
    for name, sent in forged:
        answer = await send(client, url, sent)
        if answer.status_code != 401:
            believed.append((name, answer.status_code))
    REFUSED[kind] = len(forged) - len(believed)
    if kind == list(SCHEMES)[-1]:
        figure("G18", f"{len(REFUSED)} schemes, {sum(REFUSED.values())} forgeries refused; the fewest of a scheme {min(REFUSED.values())}")
    assert len(forged) >= 40
    assert believed == []
    assert await events(app) == 0
    assert (await send(client, url, (scheme.sign(BODY, clock), BODY))).status_code == 202, "the genuine one is believed"
    assert await events(app) == 1


@pytest.mark.parametrize("kind", ["standard", "standard-text"])
async def test_a_recorded_delivery_comes_in_once(kind: str, address: Any, app: App, connect: Connect, clock: FakeClock) -> None:
    scheme, client = SCHEMES[kind], connect()
    url, sent = await address(scheme), (scheme.sign(BODY, clock), BODY)
    first = (await send(client, url, sent)).json()
    for wait_s in (0, 1, 100, 198):
        clock.advance(wait_s * 1000)
        assert (await send(client, url, sent)).json() == first, "the same answer, and nothing happens again"
        more = [*sent[0], ("Idempotency-Key", f"k{wait_s}"), ("X-GitHub-Delivery", f"d{wait_s}"), ("svix-id", f"s{wait_s}")]
        assert (await send(client, url, (more, BODY))).json() == first, "another name that nobody signed does not help"
    clock.advance(2_000)
    assert (await send(client, url, sent)).status_code == 401, "more than 300 s old"
    assert await events(app) == 1


async def test_a_named_delivery_of_any_scheme_comes_in_once(address: Any, app: App, connect: Connect, clock: FakeClock) -> None:
    scheme, client = SCHEMES["token"], connect()
    url = await address(scheme)
    for id in ("d1", "d2", "d1", "d1", "d2"):
        await send(client, url, ([*scheme.sign(BODY, clock), ("X-GitHub-Delivery", id)], BODY))
        clock.advance(86_400_000)
    assert await events(app) == 2


@pytest.mark.parametrize("kind", ["hmac", "hmac-base64", "github", "stripe", "slack", "standard"])
async def test_a_recorded_delivery_is_no_other_under_another_name(kind: str, address: Any, app: App, connect: Connect, clock: FakeClock) -> None:
    """The headers by which senders name deliveries are not signed: a new one, or none, does not make it a new delivery."""
    scheme, client = SCHEMES[kind], connect()
    url = await address(scheme)
    signed = scheme.sign(BODY, clock)
    first = (await send(client, url, ([*signed, ("X-GitHub-Delivery", "d1")], BODY))).json()
    for wait_s, more in ((0, [("X-GitHub-Delivery", "d2")]), (1, []), (200, [("Idempotency-Key", "k")]), (90, [("svix-id", "s"), ("x-gitea-delivery", "g")])):
        clock.advance(wait_s * 1000)
        assert (await send(client, url, ([*signed, *more], BODY))).json() == first, more
    clock.advance(86_400_000)
    later = await send(client, url, ([*signed, ("X-GitHub-Delivery", "d3")], BODY))
    assert later.json() == first if kind in ("hmac", "hmac-base64", "github") else later.status_code == 401
    assert await events(app) == 1


async def test_the_same_words_later_are_news_where_the_sender_names_nothing(address: Any, app: App, connect: Connect, clock: FakeClock) -> None:
    scheme, client = SCHEMES["hmac"], connect()
    url = await address(scheme)
    for wait_s in (0, 10, 86_400, 1, 86_400):
        clock.advance(wait_s * 1000)
        assert (await send(client, url, (scheme.sign(BODY, clock), BODY))).status_code == 202
    assert await events(app) == 3


@pytest.mark.parametrize(("kind", "field"), [("stripe", "id"), ("slack", "event_id")])
async def test_a_sender_that_tries_again_signs_anew_and_is_taken_once(kind: str, field: str, address: Any, app: App, connect: Connect, clock: FakeClock) -> None:
    scheme, client = SCHEMES[kind], connect()
    url, secret = await address(scheme), SCHEMES[kind].params["secret"]
    for id in ("evt_1", "evt_1", "evt_2"):
        body = b'{"%s": "%s"}' % (field.encode(), id.encode())
        clock.advance(3_600_000)
        assert (await send(client, url, (scheme.sign(body, clock, secret=secret), body))).status_code == 202
    assert await events(app) == 2


async def test_one_of_several_signatures_is_enough_while_a_secret_is_changed(address: Any, app: App, connect: Connect, clock: FakeClock) -> None:
    scheme, client = SCHEMES["stripe"], connect()
    url = await address(scheme)
    now = clock.now // 1000
    value = f"t={now},v1={_hmac(b'old', b'%d.' % now + BODY)},v1={_hmac(SECRET.encode(), b'%d.' % now + BODY)},v0=x"
    assert (await send(client, url, ([("Stripe-Signature", value)], BODY))).status_code == 202


async def test_slacks_question_is_answered_and_nothing_else_is(address: Any, app: App, connect: Connect, clock: FakeClock) -> None:
    scheme, client = SCHEMES["slack"], connect()
    url = await address(scheme)
    asked = b'{"type": "url_verification", "challenge": "3eZbrw1aB10-x_y"}'
    answer = await send(client, url, (scheme.sign(asked, clock), asked))
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "3eZbrw1aB10-x_y", "text/plain; charset=utf-8")
    for body in (asked.replace(b"3eZ", b"<b>"), asked.replace(b"url_verification", b"other")):
        assert (await send(client, url, ([("X-Slack-Signature", "v0=x")], body))).status_code == 401
    assert await events(app) == 0


@pytest.mark.parametrize(
    ("name", "headers", "body", "secret", "now"),
    [  # the examples in GitHub's, Slack's and Standard Webhooks' own documents
        ("github", {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}, b"Hello, World!", "It's a Secret to Everybody", 0),
        ("slack", {"x-slack-request-timestamp": "1531420618", "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
         b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
         "8f742231b10e8888abcd99yyyzzz85a5", 1531420618),
        ("standard", {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330", "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
         b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330),
    ],
)  # fmt: skip
def test_the_examples_of_the_services_own_documents_are_genuine(name: str, headers: dict[str, str], body: bytes, secret: str, now: int) -> None:
    verify = {"github": github_webhook, "slack": slack_webhook, "standard": standard_webhook}[name]()
    assert verify(Delivery(method="POST", headers=headers, body=body), secret, now)
    assert not verify(Delivery(method="POST", headers=headers, body=body + b" "), secret, now)


def test_the_dot_between_id_and_time_cannot_be_moved() -> None:
    """`id.time.body` is one text: a body that begins like a time must not let an old delivery pass as a new one."""
    verify, now = standard_webhook(), 1_767_225_600
    body = f"{now + 10_000}.5".encode()
    signed = hmac.new(SECRET.encode(), f"msg_1.{now}.".encode() + body, hashlib.sha256).digest()
    headers = {"webhook-id": f"msg_1.{now}", "webhook-timestamp": str(now + 10_000), "webhook-signature": f"v1,{base64.b64encode(signed).decode()}"}
    moved = Delivery(method="POST", path="/", query={}, headers=headers, body=b"5", json=5)
    assert not verify(moved, SECRET, now + 10_000)


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_an_empty_key_proves_nothing(secret: str) -> None:
    verify, now = standard_webhook(), 1_767_225_600
    signed = hmac.new(b"", f"msg_1.{now}.".encode() + BODY, hashlib.sha256).digest()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": f"v1,{base64.b64encode(signed).decode()}"}
    assert not verify(Delivery(method="POST", path="/", query={}, headers=headers, body=BODY), secret, now)


def test_a_secret_that_is_no_base64_is_a_text() -> None:
    verify, now, secret = standard_webhook(), 1_767_225_600, "pässword with ümlauts"
    signed = hmac.new(secret.encode(), f"msg_1.{now}.".encode() + BODY, hashlib.sha256).digest()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": f"v1,{base64.b64encode(signed).decode()}"}
    assert verify(Delivery(method="POST", path="/", query={}, headers=headers, body=BODY), secret, now)
