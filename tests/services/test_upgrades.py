"""A connector changes its parameters and names, and what was stored before goes on working."""

from __future__ import annotations

import json
import os

import pytest

from areabox.errors import InputError
from areabox.sdk import Connector, Context
from areabox.services.catalogue import build
from tests.flow.house import open_house

OLD = '''
"""A service of long ago."""

from collections.abc import AsyncIterator

from areabox.sdk import Connector, Context, Event

post = Connector("post", "Post", about="Letters.")


class Letter(Event):
    text: str


@post.action("New letter", poll="10m", sentence="a letter comes to {box}", sample=Letter(id="1", text="Hello"))
async def letter(ctx: Context, box: str) -> AsyncIterator[Letter]:
    """Fires for each letter."""
    yield Letter(id="1", text=box)


@post.reaction("Send", sentence="send {text} to {to}", effect="idempotent", sample={"sent": "Hello"})
async def send(ctx: Context, text: str, to: str = "") -> dict[str, str]:
    """Send a letter."""
    return {"sent": f"{text} to {to}"}
'''
NEW = '''
"""The same service, years later."""

from collections.abc import AsyncIterator

from areabox.sdk import Connector, Context, Event

post = Connector("post", "Post", about="Letters.")


class Letter(Event):
    text: str


@post.action("New letter", poll="10m", sentence="a letter comes to {mailbox}", sample=Letter(id="1", text="Hello"),
             was=("letter",))
async def new_letter(ctx: Context, mailbox: str, folder: str = "in") -> AsyncIterator[Letter]:
    """Fires for each letter."""
    for id in ("1", "2"):
        yield Letter(id=id, text=f"{mailbox} {folder}")


@new_letter.upgrade(2, former={"box": "home"})
def renamed(params: dict) -> dict:
    return {("mailbox" if name == "box" else name): value for name, value in params.items()}


@post.reaction("Deliver", sentence="deliver {message} to {recipients}", effect="idempotent",
               sample={"sent": "Hello"}, was=("send",))
async def deliver(ctx: Context, message: str, recipients: list[str]) -> dict[str, str]:
    """Send a letter."""
    return {"sent": f"{message} to {' and '.join(recipients)}"}


@deliver.upgrade(3, former={"message": "Hello", "to": "ann"})
def many(params: dict) -> dict:
    return {name: value for name, value in params.items() if name != "to"} | (
        {"recipients": [params["to"]]} if "to" in params else {})


@deliver.upgrade(2)
def text_is_the_message(params: dict) -> dict:
    return {("message" if name == "text" else name): value for name, value in params.items()}
'''
AREA = """
area: letters
when:
  - post.letter: {box: home}
then:
  - post.send: {text: "{{ trigger.text }}", to: ann}
"""


def connector():
    made = Connector("post", "Post")

    @made.reaction("Send", sentence="send {message}", sample=None)
    async def send(ctx: Context, message: str) -> None:
        """Send."""

    return made, send


def test_upgrades_are_numbered_and_applied_in_order():
    made, send = connector()
    send.upgrade(3)(lambda params: params | {"message": params["message"] + "c"})
    send.upgrade(2)(lambda params: params | {"message": params["message"] + "b"})
    operation = build(made).reactions["send"]
    assert operation.upgraded({"message": "a"}) == {"message": "abc"}
    assert operation.convert({"message": "a"}) == {"message": "abc"}
    for number in (1, 2):
        with pytest.raises(TypeError, match="numbered from 2"):
            send.upgrade(number)


def test_an_upgrade_that_breaks_says_whose_it_is():
    made, send = connector()
    send.upgrade(2)(lambda params: {"message": params["none"]})
    with pytest.raises(InputError, match=r"the parameters of post.send cannot be brought to version 2"):
        build(made).reactions["send"].check({"message": "a"})


async def test_an_area_of_before_goes_on_working_over_the_change_and_a_restart(tmp_path, clock):
    folder = tmp_path / "connectors"
    folder.mkdir()
    (folder / "post.py").write_text(OLD)
    async with open_house(tmp_path, clock) as house:
        await house.apply(AREA)
        await polled(house)
        (folder / "post.py").write_text(NEW)
        os.utime(folder / "post.py", (1, 1))
        await house.app.services.tick()
        clock.advance(660_000)
        await polled(house)  # without anything stored anew
        await house.idle()
        assert await sent(house) == ["home in to ann"]
        (before,) = await house.app.subscriptions.active("poll")
    async with open_house(tmp_path, clock) as house:
        await house.apply(AREA + "  - set: {more: 1}\n")
        (after,) = await house.app.subscriptions.active("poll")
        view = await house.app.areas.get(house.actor, "letters")
        assert view["then"][0]["post.send"] == {"message": "{{ trigger.text }}", "recipients": ["ann"]}
        assert (after.id, after.params, after.baseline) == (before.id, {"mailbox": "home"}, False)


async def test_a_document_of_before_is_stored_in_the_form_of_today(tmp_path, clock):
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "post.py").write_text(NEW)
    async with open_house(tmp_path, clock) as house:
        await house.apply(AREA)
        (sub,) = await house.app.subscriptions.active("poll")
        assert (sub.action, sub.params) == ("post.new_letter", {"mailbox": "home"})
        with pytest.raises(InputError):
            await house.apply(AREA.replace("to: ann", "too: ann"))


async def polled(house):
    await house.app.actions.poller.tick()
    await house.app.actions.poller.settle()


async def sent(house):
    rows = await house.app.backend.read("select output from step where output is not null")
    return [json.loads(row[0])["sent"] for row in rows]
