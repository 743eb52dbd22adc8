"""The recipes of the documents: each is applied as it stands, tried as its page says, and does what it promises.

areabox is whole here but for the outside: a call to another service is checked, kept, and answered with the sample that
its connector declares.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from areabox.sdk import Transient
from areabox.services.calls import Services
from areabox.services.stage import parameters
from tests.flow.house import House, open_house

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
PAGES = sorted(path for path in RECIPES.glob("*.md") if path.stem != "README")
_BLOCK = re.compile(r"^```(yaml|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INSIDE = frozenset({"notify", "store"})
HEADINGS = ["What you need", "The area", "Try it", "What to change"]


def blocks(slug: str, kind: str) -> list[str]:
    text = (RECIPES / f"{slug}.md").read_text(encoding="utf-8")
    return [block for found, block in _BLOCK.findall(text) if found == kind]


def document(slug: str) -> str:
    return blocks(slug, "yaml")[0]


def tried(slug: str) -> tuple[str, dict[str, Any]]:
    """Return the area that the page tells to run, and the trigger it gives."""
    line = next(line for line in blocks(slug, "console")[0].splitlines() if " area run " in line)
    words = shlex.split(line)
    trigger = json.loads(words[words.index("--trigger") + 1]) if "--trigger" in words else {}
    assert "--dry" in words
    return words[words.index("run") + 1], trigger


class Outside:
    """The other services: every call is checked, kept, and answered with the sample, or as a test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}

    def answer(self, reaction_id: str, params: dict[str, Any], sample: Any) -> Any:
        self.calls.append((reaction_id, params))
        found = self.answers.get(reaction_id, sample)
        if isinstance(found, Exception):
            raise found
        return found

    def asked(self) -> list[str]:
        return [id for id, _ in self.calls]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    """Put what is not there in the place of the network; nothing is polled."""
    found, inside = Outside(), Services.react

    async def react(self: Services, reaction_id: str, params: dict[str, Any], **rest: Any) -> Any:
        operation = self._catalogue.reaction(reaction_id)
        assert operation is not None
        if operation.service in INSIDE:
            return await inside(self, reaction_id, params, **rest)
        operation.convert(params)
        return found.answer(reaction_id, params, operation.sample)

    async def poll(self: Services, *_: Any, **__: Any) -> AsyncIterator[dict[str, Any]]:
        return
        yield {}

    monkeypatch.setattr(Services, "react", react)
    monkeypatch.setattr(Services, "poll", poll)
    return found


async def move_in(house: House, slug: str) -> None:
    """Connect every service that the document names, and apply the document."""
    for id in sorted(set(re.findall(r"\b([a-z]+)\.[a-z_]+:", document(slug)))):
        service = house.app.catalogue.service(id)
        if service.needs_connection:
            way = next(iter(service.ways.values()))
            await house.app.connections.create(house.actor.owner, id, parameters(way.form), auth=way.id)
    await house.apply(document(slug))


async def tell(house: House, slug: str, dry: bool = False, **changed: Any) -> str:
    """Run what the page says to run, with some of what a webhook brings changed, and return the run's id."""
    area, trigger = tried(slug)
    if changed:
        trigger = {**trigger, "json": {**trigger["json"], **changed}}
    return await house.send(area, trigger, dry=dry)


async def notices(house: House) -> list[str]:
    return [row[0] for row in await house.app.backend.read("select title from notice order by id")]


def test_there_are_twenty_recipes_and_the_list_names_each() -> None:
    listed = re.findall(r"\]\(([a-z0-9-]+)\.md\)", (RECIPES / "README.md").read_text(encoding="utf-8"))
    assert len(PAGES) >= 20
    assert sorted(listed) == [path.stem for path in PAGES]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
async def test_a_recipe_is_applied_and_tried_as_its_page_says(path: Path, tmp_path: Path, outside: Outside) -> None:
    assert re.findall(r"^## (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE) == HEADINGS
    async with open_house(tmp_path) as house:
        await move_in(house, path.stem)
        run = await house.run(await tell(house, path.stem, dry=True))
        made = [(house.app.catalogue.reaction(id), params) for id, params in outside.calls]
        assert await notices(house) == []
    assert run["state"] in ("done", "skipped", "waiting"), run
    assert [step for step in run["steps"] if step["state"] == "failed"] == []
    assert {operation.effect_of(params) for operation, params in made if operation} <= {"read"}


@pytest.mark.parametrize(
    ("slug", "reaction", "expected"),
    [
        ("feeds-to-phone", "ntfy.publish", {"title": "Hello", "message": "First post", "click": "https://example.org/1"}),
        ("price-drop", "telegram.send", {"text": "The kettle is 39.5, it was 49.0.\nhttps://shop.example.org/kettle"}),
        ("release-to-issue", "gitea.create_issue", {"title": "Update to 2.0", "body": "https://example.org/v2.0\n\nFaster.\n"}),
        ("invoices-to-folder", "mail.save", {"message": "1767225600/42/INBOX", "folder": "/srv/invoices", "name": "*.pdf"}),
        ("database-row-to-mail", "mail.send", {"subject": "Order 7 of Ann"}),
        ("fallback-channel", "ntfy.publish", {"message": "Water in the cellar"}),
    ],
)
async def test_a_recipe_does_what_it_is_for(
    slug: str, reaction: str, expected: dict[str, Any], tmp_path: Path, outside: Outside
) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, slug)
        run = await house.run(await tell(house, slug))
    assert run["state"] == "done", (run["reason"], run["steps"])
    id, params = outside.calls[0]
    assert (id, {name: params[name] for name in expected}) == (reaction, expected)


async def test_an_entry_that_stands_in_two_feeds_comes_once(tmp_path: Path, outside: Outside) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "feeds-to-phone")
        for _ in range(2):
            await tell(house, "feeds-to-phone")
    assert outside.asked() == ["ntfy.publish"]


async def test_a_backup_is_heard_of_only_when_it_failed(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "backup-failed")
        fine = await house.run(await tell(house, "backup-failed", exit_code=0))
        await tell(house, "backup-failed")
        assert await notices(house) == ["The backup of nas failed"]
    assert fine["state"] == "skipped"


async def test_a_certificate_is_announced_with_its_days(tmp_path: Path, outside: Outside) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "certificate-expires")
        await tell(house, "certificate-expires")
        assert await notices(house) == ["The certificate of https://www.example.org ends in 13 days"]


@pytest.mark.parametrize("shut", [True, False])
async def test_a_door_wakes_somebody_only_if_it_stays_open(shut: bool, tmp_path: Path, outside: Outside) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "door-open-at-night")
        await tell(house, "door-open-at-night")
        if shut:
            await house.happen("mqtt.message", {"topic": "zigbee2mqtt/front_door", "json": {"contact": True}})
        await house.advance("6m")
    assert outside.asked() == ([] if shut else ["ntfy.publish"])


@pytest.mark.parametrize("back", [True, False])
async def test_a_monitor_that_comes_back_soon_is_not_talked_about(back: bool, tmp_path: Path, outside: Outside) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "uptime-kuma-to-telegram")
        await tell(house, "uptime-kuma-to-telegram")
        if back:
            await house.happen("uptimekuma.up", {"monitor": "Blog", "state": "up"})
        await house.advance("3m")
    assert outside.asked() == ([] if back else ["telegram.send"])


async def test_a_day_is_one_mail(tmp_path: Path, outside: Outside) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "daily-digest")
        for _ in range(2):
            await tell(house, "daily-digest")
        await house.advance("25h")
    assert [params["subject"] for _, params in outside.calls] == ["2 new entries"]
    assert outside.calls[0][1]["text"].split() == ["Hello", "https://example.org/1"] * 2


async def test_a_full_disk_is_told_once_in_six_hours_and_each_for_itself(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "disk-full")
        for used_percent, mount in ((50, "/srv"), (93, "/srv"), (94, "/srv"), (99, "/home")):
            await tell(house, "disk-full", used_percent=used_percent, mount=mount)
        await house.advance("7h")
        await tell(house, "disk-full", used_percent=97)
        found = await notices(house)
    assert found == ["nas: /srv is 93 % full", "nas: /home is 99 % full", "nas: /srv is 97 % full"]


@pytest.mark.parametrize(("choice", "made"), [("Deploy", ["ntfy.ask", "http.request"]), ("Leave it", ["ntfy.ask"])])
async def test_nothing_is_deployed_that_nobody_approved(
    choice: str, made: list[str], tmp_path: Path, outside: Outside
) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "approve-by-phone")
        run_id = await tell(house, "approve-by-phone")
        await house.app.runs.answer(house.actor, run_id, "answer", choice)
        await house.idle()
        assert (await house.run(run_id))["state"] == "done"
    assert outside.asked() == made


@pytest.mark.parametrize("somebody", [True, False])
async def test_lights_come_on_for_somebody(somebody: bool, tmp_path: Path, outside: Outside) -> None:
    outside.answers["homeassistant.state"] = {"state": "home" if somebody else "not_home"}
    async with open_house(tmp_path) as house:
        await move_in(house, "sunset-lights")
        await tell(house, "sunset-lights")
        await house.send("lights-out")
    services = [params["service"] for id, params in outside.calls if id == "homeassistant.call"]
    assert services == (["light.turn_on"] if somebody else []) + ["light.turn_off"]


async def test_the_bins_are_asked_for_until_they_are_out(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "bin-day")
        run_id = await tell(house, "bin-day")
        await house.advance("61m")
        await house.app.runs.answer(house.actor, run_id, "reminders.1.asked", "They are out")
        await house.advance("3h")
        run = await house.run(run_id)
        assert len(await notices(house)) == 2
    assert run["state"] == "done"


@pytest.mark.parametrize(("chance", "told"), [(80, ["Take an umbrella"]), (20, [])])
async def test_an_umbrella_is_for_rain(chance: int, told: list[str], tmp_path: Path, outside: Outside) -> None:
    outside.answers["weather.forecast"] = {"days": [{"rain_chance": chance, "text": "rain", "rain": 4.2}]}
    async with open_house(tmp_path) as house:
        await move_in(house, "rain-before-leaving")
        await tell(house, "rain-before-leaving")
        assert await notices(house) == told


async def test_a_container_is_restarted_three_times_a_day(tmp_path: Path, outside: Outside) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "docker-unhealthy")
        for _ in range(4):
            await tell(house, "docker-unhealthy")
        assert await notices(house) == ["web stays unhealthy"]
        await house.advance("1d")
        await tell(house, "docker-unhealthy")
    assert outside.asked() == ["docker.restart"] * 4


async def test_a_day_has_its_own_count(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "counter-per-day")
        counts = [(await house.run(await tell(house, "counter-per-day")))["result"] for _ in range(2)]
        await house.send("count-of-the-day")
        assert await notices(house) == ["2 coffees today"]
        await house.advance("1d")
        counts.append((await house.run(await tell(house, "counter-per-day")))["result"])
    assert counts == [1, 2, 1]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"llm.summarise": {"text": "It waits."}}, "It waits."),
        ({"llm.summarise": Transient("it is down")}, "long " * 60),
        ({"http.request": {"body": "<p>short</p>"}}, "short"),
    ],
)
async def test_what_is_long_comes_in_short(
    answers: dict[str, Any], message: str, tmp_path: Path, outside: Outside
) -> None:
    outside.answers = {"http.request": {"body": f"<p>{'long ' * 1000}</p>"}, **answers}
    async with open_house(tmp_path) as house:
        await move_in(house, "summaries")
        await tell(house, "summaries")
        await house.advance("3h")
    id, params = outside.calls[-1]
    assert (id, params["message"]) == ("ntfy.publish", message)


async def test_only_silence_is_told(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await move_in(house, "dead-mans-switch")
        for _ in range(3):
            await tell(house, "dead-mans-switch")
            await house.advance("24h")
        assert await notices(house) == []
        await house.advance("3h")
        assert await notices(house) == ["The nightly backup has not called"]


async def test_an_alarm_finds_another_way(tmp_path: Path, outside: Outside) -> None:
    outside.answers = {"ntfy.publish": Transient("it is down"), "mail.send": Transient("it is down, too")}
    async with open_house(tmp_path) as house:
        await move_in(house, "fallback-channel")
        run_id = await tell(house, "fallback-channel")
        await house.advance("1d")
        assert (await house.run(run_id))["state"] == "done"
        assert await notices(house) == ["Alarm"]
    assert outside.asked() == ["ntfy.publish"] * 3 + ["mail.send"] * 5
