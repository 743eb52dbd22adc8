"""What came in, and what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from areabox.errors import InputError, NotFoundError
from tests.areas.outside import states
from tests.flow.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        yield made


def area(slug: str, topic: str = "a", test: str = "true", then: str = '  - return: "{{ trigger.what }}"') -> str:
    return f'area: {slug}\nwhen: [{{probe.happened: {{topic: {topic}}}, if: "{test}"}}]\nthen:\n{then}\n'


async def test_events_are_listed_newest_first_with_what_became_of_them(house: House) -> None:
    await house.apply(area("one", test="trigger.what == 'yes'"), area("two", topic="b", test="trigger.nothing"))
    await house.happen("probe.happened", {"what": "yes"})
    lines = await house.app.events.list(house.actor)
    assert len(lines) == 2
    taken = [line for line in lines if line["taken"]]
    ignored = await house.app.events.list(house.actor, ignored=True)
    assert len(taken) == 1
    assert taken[0]["action"] == "probe.happened"
    assert [line["id"] for line in ignored] == [line["id"] for line in lines if not line["taken"]]
    assert "the trigger's condition failed" in ignored[0]["reason"]
    assert await house.app.events.list(house.actor, action="nothing.else") == []
    first = await house.app.events.list(house.actor, limit=1)
    assert await house.app.events.list(house.actor, after=first[0]["id"]) == lines[1:]


async def test_a_false_condition_is_told(house: House) -> None:
    await house.apply(area("one", test="trigger.what == 'yes'"))
    await house.happen("probe.happened", {"what": "no"})
    [line] = await house.app.events.list(house.actor)
    assert line["reason"] == "one: the trigger's condition is false: trigger.what == 'yes'"
    assert await states(house) == []


async def test_an_event_shows_its_fields_and_its_runs(house: House) -> None:
    await house.apply(area("one"), area("two"))
    await house.happen("probe.happened", {"what": "x" * 50_000})
    [line] = await house.app.events.list(house.actor)
    event = await house.app.events.get(house.actor, line["id"])
    assert event["payload"] == {"what": "x" * 50_000}
    assert sorted((run["area"], run["state"]) for run in event["runs"]) == [("one", "done"), ("two", "done")]


async def test_an_event_can_be_given_again_to_all_or_to_one(house: House) -> None:
    await house.apply(area("one"), area("two"), area("three", topic="other"))
    await house.happen("probe.happened", {"what": "x"})
    event = next(line for line in await house.app.events.list(house.actor) if line["taken"])
    found = {
        line["id"]: len((await house.app.events.get(house.actor, line["id"]))["runs"])
        for line in await house.app.events.list(house.actor)
    }
    event_id = next(id for id, count in found.items() if count == 2)
    assert event
    again = await house.app.events.replay(house.actor, event_id)
    await house.idle()
    assert [(await house.run(id))["result"] for id in again] == ["x", "x"]
    one = await house.app.events.replay(house.actor, event_id, "three")
    await house.idle()
    assert [(await house.run(id))["area"] for id in one] == ["three"]
    assert (await house.run(one[0]))["trigger"] == {"what": "x"}
    with pytest.raises(NotFoundError):
        await house.app.events.replay(house.actor, event_id, "nowhere")
    await house.app.areas.enable(house.actor, "one", False)
    await house.app.areas.enable(house.actor, "two", False)
    with pytest.raises(InputError):
        await house.app.events.replay(house.actor, event_id)


async def test_an_event_sent_by_hand_reaches_all_who_listen_to_its_action(house: House) -> None:
    await house.apply(area("one"), area("two", topic="b"), area("off", topic="c"))
    await house.app.areas.enable(house.actor, "off", False)
    event_id = await house.app.events.send(house.actor, "probe.happened", {"what": "hand"})
    await house.idle()
    event = await house.app.events.get(house.actor, event_id)
    assert sorted(run["area"] for run in event["runs"]) == ["one", "two"]
    for slug in ("one", "two"):
        await house.app.areas.delete(house.actor, slug)
    lonely = await house.app.events.send(house.actor, "schedule.at", {})
    assert (await house.app.events.get(house.actor, lonely))["reason"] == "no area listens to it"


async def test_an_area_that_cannot_run_any_more_keeps_no_event_from_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.apply(area("one"), area("two"))
    broken, outline = house.app.registry.find(house.actor.owner, "one"), house.app.registry.outline

    def gone(head: object) -> object:
        if head == broken:
            raise InputError("its connector is gone")
        return outline(head)  # type: ignore[arg-type]

    monkeypatch.setattr(house.app.registry, "outline", gone)
    await house.happen("probe.happened", {"what": "x"})
    await house.app.events.send(house.actor, "probe.happened", {"what": "x"})
    await house.idle()
    assert await states(house) == ["done", "done"]


async def test_nobody_sees_or_replays_the_events_of_others(house: House) -> None:
    other = (await house.app.accounts.create("stranger@example.org", None, "editor")).actor()
    await house.apply(area("one"))
    await house.happen("probe.happened", {"what": "x"})
    [line] = await house.app.events.list(house.actor)
    assert await house.app.events.list(other) == []
    for attempt in (house.app.events.get(other, line["id"]), house.app.events.replay(other, line["id"])):
        with pytest.raises(NotFoundError):
            await attempt
    await house.app.events.send(other, "probe.happened", {"what": "theirs"})
    await house.idle()
    assert len(await states(house)) == 1
