"""`webdav`, against `rclone serve webdav`: files that come, go and change, and folders that are made on the way."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest

from areabox.connectors import webdav
from areabox.errors import AuthExpired, InputError, Permanent
from tests.connectors.calls import label
from tests.connectors.peers import rclone


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dav")
    made = rclone(
        "webdav", folder, "--baseurl", "/dav/files", "--user", "ann", "--pass", "right",
        "--dir-cache-time", "0s",
    )  # fmt: skip
    made.start()
    yield SimpleNamespace(port=made.port, folder=folder)
    made.stop()


@pytest.fixture
async def home(house, shared, tmp_path):
    """A house with a connection to an empty folder of the server."""
    folder = shared.folder / tmp_path.name
    folder.mkdir()
    url = f"http://127.0.0.1:{shared.port}/dav/files/{tmp_path.name}"
    connection = await house.connections.create("u1", "webdav", {"url": url, "username": "ann", "password": "right"})
    await house.awake()

    async def react(name, **params):
        return await house.react(f"webdav.{name}", connection, **params)

    async def poll(name, cursor, **params):
        found = house.services.poll(f"webdav.{name}", params, owner="u1", connection=connection.id, cursor=cursor)
        return [event async for event in found]

    return SimpleNamespace(house=house, connection=connection, react=react, poll=poll, folder=folder, url=url)


async def test_a_file_is_written_got_moved_and_deleted(home):
    name = "new/deeper/ünï +%&=#.txt"
    assert await home.react("put", path=name, text="Hello ü") == {"path": name}
    assert (home.folder / name).read_text() == "Hello ü"
    found = await home.react("get", path=name)
    assert (found["text"], found["size"]) == ("Hello ü", 8)
    await home.react("put", path="b", text=base64.b64encode(b"\xff").decode(), encoding="base64")
    assert base64.b64decode((await home.react("get", path="b", encoding="base64"))["base64"]) == b"\xff"
    assert await home.react("move", path=name, to="archive/a b.txt") == {"path": "archive/a b.txt"}
    with pytest.raises(Permanent, match="already"):
        await home.react("move", path="b", to="archive/a b.txt")
    await home.react("move", path="b", to="archive/a b.txt", overwrite=True)
    assert (home.folder / "archive/a b.txt").read_bytes() == b"\xff"
    for _ in range(2):
        await home.react("delete", path="archive")
    assert not (home.folder / "archive").exists()
    with pytest.raises(Permanent, match="404"):
        await home.react("get", path="archive/a b.txt")


async def test_a_folder_is_made_with_those_above_it(home):
    for _ in range(2):
        assert await home.react("make_folder", folder="a/b c/d") == {"path": "a/b c/d"}
    assert (home.folder / "a/b c/d").is_dir()
    assert await home.react("list", deep=True) == {"files": []}


async def test_new_and_changed_files_fire_and_those_in_folders_if_it_is_asked(home):
    await home.react("put", path="old.txt", text="1")
    await home.react("put", path="in/deep ü.txt", text="1")
    new, deep, changed = {}, {}, {}
    (found,) = await home.poll("new_file", new)
    assert (found["path"], found["name"], found["folder"], found["size"]) == ("old.txt", "old.txt", "", 1)
    assert {one["path"] for one in await home.poll("new_file", deep, deep=True)} == {"old.txt", "in/deep ü.txt"}
    assert await home.poll("changed_file", changed, deep=True) == []
    await home.react("put", path="in/new.txt", text="1")
    await home.react("put", path="in/deep ü.txt", text="22")
    assert await home.poll("new_file", new) == []
    assert [one["path"] for one in await home.poll("new_file", deep, deep=True)] == ["in/new.txt"]
    assert [one["path"] for one in await home.poll("changed_file", changed, deep=True)] == ["in/deep ü.txt"]
    assert [one["folder"] for one in (await home.react("list", folder="in"))["files"]] == ["in", "in"]


async def test_what_leads_out_and_what_holds_too_much_is_refused(home, monkeypatch):
    with pytest.raises(InputError):
        await home.react("get", path="../other")
    monkeypatch.setattr(webdav, "FOLDERS_MAX", 1)
    await home.react("make_folder", folder="a/b")
    with pytest.raises(Permanent, match="more than 1 folders"):
        await home.react("list", deep=True)


async def test_the_account_is_named_and_a_wrong_password_waits_for_a_person(home):
    assert await label(home.house.services, home.connection.id) == "ann at 127.0.0.1"
    wrong = {"url": home.url, "username": "ann", "password": "wrong"}
    other = await home.house.connections.create("u1", "webdav", wrong)
    with pytest.raises(AuthExpired):
        await home.house.react("webdav.list", other)
