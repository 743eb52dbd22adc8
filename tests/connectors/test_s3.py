"""`s3`, against `rclone serve s3`: signatures that a server accepts, objects that come, go and change."""

from __future__ import annotations

import base64
import time
from types import SimpleNamespace

import httpx2
import pytest

from areabox.connectors import _listing, _sigv4, s3
from areabox.errors import AuthExpired, Permanent
from tests.connectors.calls import label
from tests.connectors.peers import rclone

KEYS = {"access_key": "AKAREABOX", "secret_key": "wJalrXUtnFEMI"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    made = rclone("s3", folder, "--auth-key", ",".join(KEYS.values()), "--dir-cache-time", "0s")
    made.start()
    yield SimpleNamespace(port=made.port, folder=folder)
    made.stop()


@pytest.fixture
async def home(house, shared, tmp_path):
    """A house with a connection, and an empty bucket."""
    bucket = tmp_path.name.lower().replace("_", "-")[:40].strip("-")
    (shared.folder / bucket).mkdir()
    url = f"http://127.0.0.1:{shared.port}"
    connection = await house.connections.create("u1", "s3", {"endpoint": url, **KEYS})
    house.world.clock.now = time.time_ns() // 1_000_000  # a server refuses what was signed long ago
    await house.awake()

    async def react(name, **params):
        params["bucket"] = bucket
        return await house.services.react(
            f"s3.{name}", params, owner="u1", connection=connection.id, key="k", attempt=1, timeout_s=30
        )

    async def poll(name, cursor, **params):
        found = house.services.poll(
            f"s3.{name}", {"bucket": bucket, **params}, owner="u1", connection=connection.id, cursor=cursor
        )
        return [event async for event in found]

    return SimpleNamespace(house=house, connection=connection, react=react, poll=poll, bucket=bucket, url=url)


async def test_an_object_is_stored_got_listed_and_deleted(home):
    name = "a folder/ünï +%&=?#.txt"
    assert (await home.react("put", key=name, text="Hello ü"))["size"] == 8
    found = await home.react("get", key=name)
    assert (found["text"], found["size"], found["path"]) == ("Hello ü", 8, name)
    await home.react("put", key="b.bin", text=base64.b64encode(b"\xff\x00").decode(), encoding="base64")
    assert base64.b64decode((await home.react("get", key="b.bin", encoding="base64"))["base64"]) == b"\xff\x00"
    assert [one["key"] for one in (await home.react("list"))["objects"]] == [name, "b.bin"]
    assert [one["name"] for one in (await home.react("list", prefix="a folder/"))["objects"]] == ["ünï +%&=?#.txt"]
    for _ in range(2):
        await home.react("delete", key=name)
    with pytest.raises(Permanent, match="404"):
        await home.react("get", key=name)
    with pytest.raises(Permanent, match="no base64"):
        await home.react("put", key="x", text="%", encoding="base64")


async def test_new_and_changed_objects_fire_and_what_comes_again_does_too(home):
    await home.react("put", key="old.txt", text="1")
    new, changed = {}, {}
    assert [one["key"] for one in await home.poll("new_object", new)] == ["old.txt"], "the baseline"
    assert await home.poll("changed_object", changed) == []
    await home.react("put", key="new.txt", text="1")
    await home.react("put", key="old.txt", text="22")
    assert [one["key"] for one in await home.poll("new_object", new)] == ["new.txt"]
    assert [(one["key"], one["size"]) for one in await home.poll("changed_object", changed)] == [("old.txt", 2)]
    await home.react("delete", key="old.txt")
    assert await home.poll("new_object", new) == []
    await home.react("put", key="old.txt", text="333")
    assert [one["key"] for one in await home.poll("new_object", new)] == ["old.txt"]


async def test_more_than_a_page_is_listed(home, shared, monkeypatch):
    for number in range(1_005):
        (shared.folder / home.bucket / f"{number:04}").write_bytes(b"")
    assert len((await home.react("list"))["objects"]) == 1_005
    monkeypatch.setattr(s3, "PAGES_MAX", 1)
    with pytest.raises(Permanent, match="more than 10000 objects"):
        await home.react("list")
    monkeypatch.setattr(s3, "PAGES_MAX", 11)
    monkeypatch.setattr(_listing, "LISTED_MAX", 1_000)
    with pytest.raises(Permanent, match="fewer"):
        await home.poll("new_object", {})


async def test_a_link_lets_anybody_fetch_or_store_one_object(home):
    await home.react("put", key="a b.txt", text="Hello")
    link = await home.react("presign", key="a b.txt", lasts="1h")
    store = await home.react("presign", key="c.txt", lasts="1h", method="PUT")
    async with httpx2.AsyncClient() as anybody:
        assert (await anybody.get(link["url"])).text == "Hello"
        assert (await anybody.put(store["url"], content=b"by a link")).is_success
        assert (await anybody.get(store["url"])).status_code == 403
    assert (await home.react("get", key="c.txt"))["text"] == "by a link"


async def test_the_account_is_named_and_wrong_keys_wait_for_a_person(home):
    assert await label(home.house.services, home.connection.id) == f"AKAREABOX at {home.url}"
    wrong = await home.house.connections.create("u1", "s3", {"endpoint": home.url, **KEYS, "secret_key": "wrong"})
    with pytest.raises(AuthExpired, match="refused the keys"):
        await home.house.react("s3.list", wrong, bucket=home.bucket)


def test_a_signature_is_the_one_of_the_documentation():
    """docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, its example."""
    from datetime import UTC, datetime

    auth = SimpleNamespace(
        access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region="us-east-1"
    )
    url = _sigv4.address(
        auth, datetime(2013, 5, 24, tzinfo=UTC), "GET", "https://examplebucket.s3.amazonaws.com/test.txt", 86_400
    )
    assert url.endswith("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
