"""The webhook service itself: what it shows of a delivery, and whom it believes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random

import pytest

from areabox.actions.hooks import Hooks
from areabox.actions.inbox import Inbox
from areabox.actions.subscriptions import Subscriptions, Wanted
from areabox.clock import SystemClock
from areabox.errors import NotAllowedError
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from areabox.services.egress import Egress
from areabox.services.vault import Vault

SECRET, BODY = "a long random text", b'{"door": "open"}'


@pytest.fixture
async def hooks(world, tmp_path):
    """Hooks over the real catalogue, vault and services."""
    catalogue, vault = Catalogue.discover(), Vault.load(SystemClock(), tmp_path / "areabox.key", create=True)
    connections = Connections(world.backend, world.clock, catalogue, vault)
    services = Services(world.clock, catalogue, connections, Egress(world.clock))
    world.subscriptions = Subscriptions(world.backend, world.clock, catalogue, vault)
    world.inbox = Inbox(world.backend, world.clock, world.runs, world.subscriptions)
    yield Hooks(world.backend, world.clock, world.subscriptions, world.inbox, services)
    await services.close()


async def address(world, **params):
    (sub,) = await world.area("a", Wanted(place="hook", action="webhook.received", params=params))
    return sub.hook


def signed(body=BODY, secret=SECRET):
    return hmac.new(secret.encode(), body, hashlib.sha256)


def standard(world, body=BODY, *, id="msg_1", age_s=0, secret=SECRET):
    stamp = str(world.clock.now // 1000 - age_s)
    made = hmac.new(secret.encode(), f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": f"v1,{base64.b64encode(made).decode()}"}


async def test_the_event_has_exactly_the_fields_that_scripts_rely_on(world, hooks):
    key = await address(world)
    await hooks.receive(key, "POST", "", b"a=1", [(b"content-type", b"application/json")], BODY)
    assert await world.payloads() == [
        {
            "method": "POST",
            "path": "/",
            "query": {"a": "1"},
            "headers": {"content-type": "application/json"},
            "body": BODY.decode(),
            "json": {"door": "open"},
        }
    ]


@pytest.mark.parametrize(("body", "text"), [(b"", ""), (b"a=1&b=2", "a=1&b=2"), (b"\xff\x00", "\ufffd\x00")])
async def test_a_body_that_is_not_json_is_text(world, hooks, body, text):
    key = await address(world)
    await hooks.receive(key, "PUT", "x/y", b"", [], body)
    ((payload),) = await world.payloads()
    assert (payload["method"], payload["path"], payload["body"], payload["json"]) == ("PUT", "/x/y", text, None)


async def test_a_token_is_believed_and_not_kept(world, hooks):
    key = await address(world, verify="token", secret=SECRET)
    assert (await hooks.receive(key, "POST", "", b"", {"Authorization": f"Bearer {SECRET}"}, BODY)).event
    assert SECRET not in str(await world.payloads())


async def test_a_token_in_a_header_of_its_own(world, hooks):
    key = await address(world, verify="token", secret=SECRET, header="X-Gitlab-Token")
    assert (await hooks.receive(key, "POST", "", b"", {"X-Gitlab-Token": SECRET}, BODY)).event
    with pytest.raises(NotAllowedError):
        await hooks.receive(key, "POST", "", b"", {"Authorization": f"Bearer {SECRET}"}, BODY)


async def test_a_signature_is_believed(world, hooks):
    key = await address(world, verify="hmac", secret=SECRET)
    headers = {"X-Hub-Signature-256": f"sha256={signed().hexdigest()}"}
    assert (await hooks.receive(key, "POST", "", b"", headers, BODY)).event


async def test_a_signature_in_base64_in_another_header(world, hooks):
    key = await address(world, verify="hmac", secret=SECRET, header="X-Shopify-Hmac-Sha256", encoding="base64")
    headers = {"X-Shopify-Hmac-Sha256": base64.b64encode(signed().digest()).decode()}
    assert (await hooks.receive(key, "POST", "", b"", headers, BODY)).event


async def test_a_standard_webhook_is_believed_once(world, hooks):
    key = await address(world, verify="standard", secret=SECRET)
    first = await hooks.receive(key, "POST", "", b"", standard(world), BODY)
    assert first.event == (await hooks.receive(key, "POST", "", b"", standard(world), BODY)).event
    assert await world.count("event") == 1


@pytest.mark.parametrize("age_s", [301, -301, 86_400])
async def test_a_standard_webhook_of_another_time_is_refused(world, hooks, age_s):
    key = await address(world, verify="standard", secret=SECRET)
    with pytest.raises(NotAllowedError):
        await hooks.receive(key, "POST", "", b"", standard(world, age_s=age_s), BODY)


@pytest.mark.parametrize("scheme", ["token", "hmac", "standard"])
async def test_forty_forgeries_of_each_kind_are_refused(world, hooks, scheme):
    key = await address(world, verify=scheme, secret=SECRET)
    right = {
        "token": {"authorization": f"Bearer {SECRET}"},
        "hmac": {"x-hub-signature-256": f"sha256={signed().hexdigest()}"},
        "standard": standard(world),
    }[scheme]
    chance = random.Random(scheme)
    for n in range(40):
        headers, body = dict(right), BODY
        name = chance.choice(sorted(headers))
        value = headers[name]
        place = chance.randrange(len(value))
        match n % 5:
            case 0:
                headers[name] = value[:place] + chr((ord(value[place]) - 33 + 1) % 90 + 33) + value[place + 1 :]
            case 1:
                del headers[name]
            case 2:
                headers[name] = value[:-1]
            case 3:
                headers[name] = ""
            case 4 if scheme != "token":
                body = BODY + b" "
            case 4:
                headers[name] = value + "x"
        if headers == right and body == BODY:
            continue
        with pytest.raises(NotAllowedError):
            await hooks.receive(key, "POST", "", b"", headers, body)
    assert await world.count("event") == 0


async def test_thousands_of_deliveries_a_third_of_them_twice_start_one_run_for_each_name(world, hooks):
    import asyncio

    key, chance = await address(world), random.Random(5)
    names = [f"d{n}" for n in range(2_000)]
    sent = names + chance.sample(names, 600)
    chance.shuffle(sent)
    for start in range(0, len(sent), 64):
        await asyncio.gather(
            *(
                hooks.receive(key, "POST", "", b"", {"x-github-delivery": name}, BODY)
                for name in sent[start : start + 64]
            )
        )
    assert await world.count("event") == await world.count("run") == 2_000


async def test_a_secret_lies_encrypted(world, hooks):
    await address(world, verify="hmac", secret=SECRET)
    assert SECRET not in "\n".join(world.backend.db.iterdump())


@pytest.mark.parametrize(
    ("params", "pointer"),
    [({"verify": "hmac"}, "/secret"), ({"secret": "x"}, "/verify"), ({"verify": "nope"}, "/verify"),
     ({"verify": "token", "secret": "x", "header": "a b"}, "/header")],
)  # fmt: skip
def test_what_does_not_fit_together_is_a_problem(params, pointer):
    found = Catalogue.discover().action("webhook.received").check(params)
    assert [problem.pointer for problem in found] == [pointer]
