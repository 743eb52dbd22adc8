"""Areas as people keep them: applied, changed, switched, exported, removed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from areabox.areas import library, store
from areabox.errors import ConflictError, InputError, NotFoundError
from areabox.users.policy import Actor
from tests.areas.outside import counts, states
from tests.flow.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        yield made


def area(then: str = "  - return: 1", slug: str = "one", when: str = "webhook.received: {}", more: str = "") -> str:
    return f"area: {slug}\nwhen: [{{{when}}}]\n{more}\nthen:\n{then}\n"


async def stranger(house: House) -> Actor:
    account = await house.app.accounts.create("stranger@example.org", None, "editor")
    return account.actor()


async def apply(house: House, *texts: str, **more: Any) -> dict[str, str]:
    found = await house.app.areas.apply(house.actor, [(f"{n}.yaml", text) for n, text in enumerate(texts)], **more)
    return {change.area: change.change for change in found}


async def rows(house: House, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await house.app.backend.read(sql, *args)]


# --- apply --------------------------------------------------------------------------------------------------------


async def test_applying_creates_changes_and_leaves_alone(house: House) -> None:
    assert await apply(house, area(), area(slug="two")) == {"one": "created", "two": "created"}
    assert await apply(house, area(), area("  - return: 2", slug="two")) == {"one": "unchanged", "two": "changed"}
    assert await apply(house, area()) == {"one": "unchanged"}
    assert [a["version"] for a in await house.app.areas.list(house.actor)] == [1, 2]


async def test_applying_is_all_or_nothing(house: House) -> None:
    await apply(house, area())
    with pytest.raises(InputError) as told:
        await apply(house, area("  - return: 2"), "area: BAD NAME", area("  - nothing.there: {}", slug="three"), "a: [")
    assert {problem.document for problem in told.value.problems} == {"1.yaml", "2.yaml", "3.yaml"}
    assert await rows(house, "select slug, head from area") == [("one", 1)]
    assert (await house.run(await house.send("one")))["result"] == 1


async def test_one_file_may_hold_many_areas_but_none_twice(house: House) -> None:
    assert await apply(house, area() + "---\n" + area(slug="two")) == {"one": "created", "two": "created"}
    with pytest.raises(InputError):
        await apply(house, area(slug="three"), area(slug="three"))
    assert len(await house.app.areas.list(house.actor)) == 2


async def test_a_plan_shows_what_would_change_and_writes_nothing(house: House) -> None:
    await apply(house, area(), area(slug="gone"))
    found = await house.app.areas.apply(
        house.actor, [("a", area("  - return: 2")), ("b", area(slug="new"))], plan=True, prune=True
    )
    assert {change.area: change.change for change in found} == {"one": "changed", "new": "created", "gone": "removed"}
    diff = next(change.diff for change in found if change.area == "one")
    assert "-  - return: 1" in diff
    assert "+  - return: 2" in diff
    assert sorted(a["area"] for a in await house.app.areas.list(house.actor)) == ["gone", "one"]
    assert (await house.run(await house.send("one")))["result"] == 1


async def test_pruning_removes_only_the_actors_own(house: House) -> None:
    other = await stranger(house)
    await apply(house, area(), area(slug="two"))
    await house.app.areas.apply(other, [("x", area(slug="theirs"))])
    assert await apply(house, area(), prune=True) == {"one": "unchanged", "two": "removed"}
    assert [a["area"] for a in await house.app.areas.list(other)] == ["theirs"]
    with pytest.raises(NotFoundError):
        await house.app.areas.get(house.actor, "two")


async def test_nothing_that_an_area_had_is_lost_when_it_is_applied_again(house: House) -> None:
    document = area("  - wait: 1h\n  - return: 1")
    await apply(house, document, area("  - return: 1", "poll", 'rss.new_entry: {feed: "https://example.org/feed"}'))
    before = await house.app.areas.get(house.actor, "one")
    run_id = await house.send("one")
    await house.app.backend.write(
        "update subscription set cursor = ?, baseline = 0, version = version + 1 where kind = 'poll' returning id",
        '{"etag":"x"}',
    )
    await apply(
        house, document.replace("return: 1", "return: 2"),
        area("  - return: 2", "poll", 'rss.new_entry: {feed: "https://example.org/feed"}'),
    )  # fmt: skip
    after = await house.app.areas.get(house.actor, "one")
    assert after["subscriptions"][0]["url"] == before["subscriptions"][0]["url"]
    assert await rows(house, "select cursor, baseline from subscription where kind = 'poll'") == [('{"etag":"x"}', 0)]
    await house.advance("1h")
    assert (await house.run(run_id))["result"] == 1  # on the version that it started with


async def test_a_trigger_that_gets_another_name_keeps_its_address(house: House) -> None:
    await apply(house, area(when="webhook.received: {}, id: old"))
    before = (await house.app.areas.get(house.actor, "one"))["subscriptions"]
    await apply(house, area(when="webhook.received: {}, id: new"))
    after = (await house.app.areas.get(house.actor, "one"))["subscriptions"]
    assert [line["id"] for line in (*before, *after)] == ["old", "new"]
    assert before[0]["url"] == after[0]["url"]
    found = await rows(house, "select id from subscription where kind = 'hook'")
    await house.happen("webhook.received", {"json": None})
    assert len(found) == 1
    assert await states(house) == ["done"]


async def test_an_event_of_a_trigger_that_is_gone_starts_nothing(house: House) -> None:
    await apply(house, area(when="probe.happened: {topic: a}"))
    [(old,)] = await rows(house, "select id from subscription")
    subscription = await house.app.subscriptions.load(old)
    await apply(house, area(when="probe.happened: {topic: b}"))
    assert subscription is not None
    await house.app.inbox.receive(house.app.inbox.event(subscription, {"what": "late"}))
    await house.idle()
    assert await states(house) == []


@pytest.mark.parametrize("count", [2, 8])
async def test_many_who_apply_the_same_at_once_all_get_through(house: House, count: int) -> None:
    texts = [area(f"  - return: {n}") for n in range(count)]
    applied = await asyncio.gather(*(apply(house, text, area(slug="two")) for text in texts), return_exceptions=True)
    assert [change for change in applied if isinstance(change, BaseException)] == []
    assert await rows(house, "select slug from area order by slug") == [("one",), ("two",)]
    versions = await house.app.areas.versions(house.actor, "one")
    assert [line["version"] for line in versions] == list(range(count, 0, -1))
    head = await rows(house, "select head from area where slug = 'one'")
    assert head == [(count,)]
    result = (await house.run(await house.send("one")))["result"]
    stored = json.loads(
        (
            await rows(
                house,
                "select document from area_version where area = (select id from area where slug = 'one') and version = ?",
                count,
            )
        )[0][0]
    )
    assert stored["then"][0]["return"] == result


async def test_applying_while_another_switches_it_off_does_not_fail(house: House) -> None:
    await apply(house, area())
    done = await asyncio.gather(
        apply(house, area("  - return: 2")), house.app.areas.enable(house.actor, "one", False), return_exceptions=True
    )
    assert not isinstance(done[0], BaseException)
    current = await house.app.areas.get(house.actor, "one")
    again = await library.load(house.app.backend, house.actor.owner, "one")
    assert again is not None
    assert current["version"] == again.version


# --- one area -----------------------------------------------------------------------------------------------------


async def test_putting_creates_and_replaces_and_refuses_what_is_stale(house: House) -> None:
    areas = house.app.areas
    made, new = await areas.put(house.actor, None, area())
    assert (made["version"], new) == (1, True)
    with pytest.raises(ConflictError):
        await areas.put(house.actor, None, area())
    with pytest.raises(InputError):
        await areas.put(house.actor, "two", area())
    changed, new = await areas.put(house.actor, "one", area("  - return: 2"), if_match=1)
    assert (changed["version"], new) == (2, False)
    with pytest.raises(ConflictError):
        await areas.put(house.actor, "one", area("  - return: 3"), if_match=1)
    with pytest.raises(ConflictError):
        await areas.put(house.actor, "other", area(slug="other"), if_match=1)
    with pytest.raises(ConflictError):
        await areas.delete(house.actor, "one", if_match=1)
    same, _ = await areas.put(house.actor, "one", area("  - return: 2"), if_match=2)
    assert same["version"] == 2


async def test_of_two_who_change_the_same_version_one_is_told(house: House) -> None:
    await apply(house, area())
    done = await asyncio.gather(
        *(house.app.areas.put(house.actor, "one", area(f"  - return: {n}"), if_match=1) for n in range(10, 16)),
        return_exceptions=True,
    )
    assert len([one for one in done if isinstance(one, tuple)]) == 1
    assert len([one for one in done if isinstance(one, ConflictError)]) == 5
    assert (await house.app.areas.get(house.actor, "one"))["version"] == 2


async def test_a_document_as_data_is_the_same_as_its_text(house: House) -> None:
    await apply(house, area())
    document = await house.app.areas.get(house.actor, "one")
    for name in ("version", "state", "subscriptions", "created", "updated", "enabled"):
        document.pop(name)
    again, _ = await house.app.areas.put(house.actor, "one", document)
    assert again["version"] == 1


async def test_an_area_that_is_off_hears_nothing_and_what_is_under_way_goes_on(house: House) -> None:
    await apply(house, area("  - wait: 1h\n  - return: 1", when="probe.happened: {topic: a}"))
    await house.happen("probe.happened", {"what": "x"})
    shown = await house.app.areas.enable(house.actor, "one", False)
    assert (shown["enabled"], shown["state"]) == (False, "off")
    [(subscription, active)] = await rows(house, "select id, active from subscription")
    assert active == 0
    found = await house.app.subscriptions.load(subscription)
    assert found is not None
    await house.app.inbox.receive(house.app.inbox.event(found, {"what": "y"}))
    await house.advance("1h")
    assert await states(house) == ["done"]
    [line] = await house.app.events.list(house.actor, ignored=True)
    assert "switched off" in line["reason"]
    shown = await house.app.areas.enable(house.actor, "one", True)
    assert (shown["enabled"], shown["version"]) == (True, 3)
    await house.happen("probe.happened", {"what": "z"})
    assert len(await states(house)) == 2


async def test_versions_are_kept_and_shown(house: House) -> None:
    await apply(house, area())
    await apply(house, area("  - return: 2"))
    areas = house.app.areas
    found = await areas.versions(house.actor, "one")
    assert [(line["version"], line["author"]) for line in found] == [(2, "owner@example.org"), (1, "owner@example.org")]
    assert (await areas.version(house.actor, "one", 1))["document"]["then"][0]["return"] == 1
    with pytest.raises(NotFoundError):
        await areas.version(house.actor, "one", 3)


async def test_a_removed_area_lets_its_runs_end_and_leaves_nothing(house: House) -> None:
    await apply(
        house,
        area(
            '  - once: {key: a}\n  - wait: 1h\n  - probe.do: {value: 5}\n    id: a\n  - return: "{{ steps.a.value }}"'
        ),
    )
    run_id = await house.send("one")
    await house.app.areas.delete(house.actor, "one")
    house.app.live._resting.clear()
    house.app.registry._compiled.clear()
    await house.advance("1h")
    assert (await house.run(run_id))["result"] == 5
    await store.prune(house.app.backend, house.clock.now + 1)
    await library.prune(house.app.backend, house.clock.now + 1)
    assert await counts(house, "area", "area_version", "area_subscription", "once", "run", "step", "job") == {}


async def test_nobody_sees_or_changes_the_areas_of_others(house: House) -> None:
    other, areas = await stranger(house), house.app.areas
    await apply(house, area())
    assert await areas.list(other) == []
    assert await areas.export(other) == []
    for attempt in (
        areas.get(other, "one"), areas.delete(other, "one"), areas.enable(other, "one", False),
        areas.versions(other, "one"), areas.version(other, "one", 1), areas.export(other, ["one"]),
    ):  # fmt: skip
        with pytest.raises(NotFoundError):
            await attempt
    made, new = await areas.put(other, "one", area("  - return: theirs"))
    assert new
    assert made["version"] == 1
    assert (await areas.get(house.actor, "one"))["then"][0]["return"] == 1


async def test_lists_are_paged_and_searched(house: House) -> None:
    texts = [area(slug=f"a{n}", more=f"name: Name {n}\ntags: [{'even' if n % 2 == 0 else 'odd'}]") for n in range(6)]
    await apply(house, *texts)
    areas = house.app.areas
    first = await areas.list(house.actor, limit=4)
    rest = await areas.list(house.actor, limit=4, after=first[-1]["area"])
    assert [a["area"] for a in (*first, *rest)] == [f"a{n}" for n in range(6)]
    assert len(await areas.list(house.actor, query="even")) == 3
    assert [a["area"] for a in await areas.list(house.actor, query="NAME 3")] == ["a3"]


async def test_what_is_exported_can_be_applied_and_changes_nothing(house: House) -> None:
    await apply(house, area('  - if: "trigger.x"\n    then: [{probe.do: {value: 1}}]\n  - return: 2'), area(slug="two"))
    exported = await house.app.areas.export(house.actor)
    assert [slug for slug, _ in exported] == ["one", "two"]
    found = await house.app.areas.apply(house.actor, exported)
    assert {change.change for change in found} == {"unchanged"}


# --- secrets ------------------------------------------------------------------------------------------------------

SECRET = '''
"""A service whose parameters are secret."""

from typing import Annotated, Any

from areabox.sdk import Connector, Context, Event, Field, Secret

safe = Connector("safe", "Safe", about="For tests.")


class Opened(Event):
    """It was opened."""

    id: str = ""


@safe.reaction("Tell", sentence="tell", effect="keyed", sample={})
async def tell(ctx: Context, to: str, code: SECRET = "") -> dict[str, Any]:
    """Answer with the length of the code and its first letter."""
    return {"to": to, "length": len(code), "first": code[:1]}
'''


def secret_of() -> str:
    return SECRET.replace("code: SECRET", 'code: Annotated[str, Field("Code", secret=True)]').replace(
        ", Secret\n", "\n"
    )


@pytest.fixture
async def safe_house(tmp_path: Path) -> AsyncIterator[House]:
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "safe.py").write_text(secret_of())
    async with open_house(tmp_path) as made:
        yield made


SAFE = area("""
  - safe.tell: {to: a, code: alpha-secret}
    id: first
  - safe.tell: {to: b, code: beta-secret}
    id: second
  - return: "{{ steps.first.first ~ steps.second.first }}"
""")


async def test_secrets_are_stars_wherever_an_area_is_shown_and_sealed_where_it_is_stored(safe_house: House) -> None:
    house = safe_house
    await apply(house, SAFE)
    areas = house.app.areas
    shown = [
        json.dumps(await areas.get(house.actor, "one")), json.dumps(await areas.list(house.actor)),
        json.dumps(await areas.version(house.actor, "one", 1)), (await areas.export(house.actor))[0][1],
        (await areas.apply(house.actor, [("x", SAFE.replace("alpha-", "new-"))], plan=True))[0].diff,
    ]  # fmt: skip
    assert all("secret" not in text for text in shown)
    assert all("***" in text for text in shown[:4])
    stored = await rows(house, "select document, source from area_version")
    assert "secret" not in str(stored)
    assert (await house.run(await house.send("one")))["result"] == "ab"


async def test_stars_that_come_back_keep_the_secrets(safe_house: House) -> None:
    house = safe_house
    await apply(house, SAFE)
    [(_, exported)] = await house.app.areas.export(house.actor)
    assert await apply(house, exported) == {"one": "unchanged"}
    assert await apply(house, exported.replace("to: a", "to: c")) == {"one": "changed"}
    run = await house.run(await house.send("one"))
    assert run["result"] == "ab"
    assert run["steps"][0]["output"]["to"] == "c"


async def test_stars_stand_for_the_secret_of_their_step_wherever_it_moved(safe_house: House) -> None:
    house = safe_house
    await apply(house, SAFE)
    [(_, exported)] = await house.app.areas.export(house.actor)
    document = yaml.safe_load(exported)
    first, second, rest = document["then"]
    document["then"] = [second, {"if": "true", "then": [first]}, rest]
    assert await apply(house, yaml.safe_dump(document, sort_keys=False)) == {"one": "changed"}
    run = await house.run(await house.send("one"))
    assert run["result"] == "ab"
    document["then"] = [second]
    assert await apply(house, yaml.safe_dump(document, sort_keys=False)) == {"one": "changed"}
    assert (await house.run(await house.send("one")))["steps"][0]["output"]["first"] == "b"


async def test_stars_that_stand_for_nothing_are_refused(safe_house: House) -> None:
    house = safe_house
    with pytest.raises(InputError):
        await apply(house, SAFE.replace("alpha-secret", "'***'"))
    await apply(house, SAFE)
    with pytest.raises(InputError):
        await apply(
            house,
            SAFE.replace("alpha-secret", "'***'")
            .replace("id: first", "id: third")
            .replace("steps.first", "steps.third"),
        )
    with pytest.raises(InputError):
        await apply(house, area("  - safe.tell: {to: a, code: '***'}\n    id: first", slug="two"))


async def test_switching_an_area_with_secrets_keeps_them(safe_house: House) -> None:
    house = safe_house
    await apply(house, SAFE)
    await house.app.areas.enable(house.actor, "one", False)
    await house.app.areas.enable(house.actor, "one", True)
    house.app.registry._compiled.clear()
    assert (await house.run(await house.send("one")))["result"] == "ab"


async def test_an_area_whose_connector_is_gone_can_be_switched_off_and_removed(tmp_path: Path) -> None:
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "safe.py").write_text(secret_of())
    async with open_house(tmp_path) as house:
        await apply(house, SAFE, SAFE.replace("area: one", "area: two"))
        clock, url = house.clock, (await house.app.areas.get(house.actor, "one"))["subscriptions"][0]["url"]
    (tmp_path / "connectors" / "safe.py").unlink()
    async with open_house(tmp_path, clock) as house:
        shown = await house.app.areas.enable(house.actor, "one", False)
        assert (shown["enabled"], shown["version"]) == (False, 2)
        assert "secret" not in json.dumps(shown["then"])
        assert await rows(house, "select active from subscription order by id") == [(0,), (1,)]
        with pytest.raises(InputError):
            await house.app.areas.enable(house.actor, "one", True)
        await house.app.areas.delete(house.actor, "two")
    (tmp_path / "connectors" / "safe.py").write_text(secret_of())
    async with open_house(tmp_path, clock) as house:
        shown = await house.app.areas.enable(house.actor, "one", True)
        assert shown["subscriptions"][0]["url"] == url
        assert (await house.run(await house.send("one")))["result"] == "ab"
