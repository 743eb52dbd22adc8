"""Runs that wait for others: events, digests, things done once, called areas and areas that hear of each other's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from areabox.areas import starting, store
from areabox.database import Unit
from tests.areas.outside import Outside, counts, shake, states
from tests.flow.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        yield made


def area(then: str, slug: str = "one", when: str = "webhook.received: {}", more: str = "") -> str:
    return f"area: {slug}\nwhen: [{{{when}}}]\n{more}\nthen:\n{then}"


async def runs_of(house: House, slug: str) -> list[dict[str, Any]]:
    found = await house.app.runs.list(house.actor, area=slug, limit=200)
    return [await house.run(line["id"]) for line in reversed(found)]


# --- wait_for -----------------------------------------------------------------------------------------------------

WAIT = area("""
  - wait_for: {probe.happened: {topic: x}, if: "event.n == trigger.n"}
    id: w
    timeout: 1d
  - return: "{{ steps.w.n }}"
""")


@pytest.mark.parametrize("seed", range(6))
async def test_no_event_is_missed_between_looking_and_lying_down(house: House, seed: int) -> None:
    await house.apply(WAIT)
    shake(house, seed)
    ids = [await house.app.runs.start(house.actor, "one", {"n": n}) for n in range(10)]
    rows: list[Any] = []
    while len(rows) < 10:
        rows = await house.app.backend.read("select id from job where wait_key is not null")
        await asyncio.sleep(0)
    subscription = await house.app.subscriptions.load(
        (await house.app.backend.read("select id from subscription where action = 'probe.happened'"))[0][0]
    )
    assert subscription is not None
    events = [house.app.inbox.event(subscription, {"n": n, "what": ""}) for n in [*range(100, 140), *range(10)]]
    await asyncio.gather(*(house.app.inbox.receive(event) for event in events))
    await house.idle()
    assert await states(house, *ids) == ["done"] * 10
    assert await counts(house) == {}


async def test_a_wait_sees_what_happens_after_it_began_and_not_before(house: House) -> None:
    await house.apply(WAIT)
    await house.happen("probe.happened", {"n": 1, "what": ""})
    house.clock.advance(1)
    run_id = await house.send("one", {"n": 1})
    assert await states(house, run_id) == ["waiting"]
    await house.happen("probe.happened", {"n": 1, "what": ""})
    assert await states(house, run_id) == ["done"]


async def test_many_runs_that_wait_for_the_same_all_hear_it_once(house: House) -> None:
    await house.apply(WAIT)
    ids = [await house.app.runs.start(house.actor, "one", {"n": n % 2}) for n in range(60)]
    await house.idle()
    await house.happen("probe.happened", {"n": 1, "what": ""})
    assert (await states(house, *ids)).count("done") == 30
    await house.happen("probe.happened", {"n": 0, "what": ""})
    assert await states(house, *ids) == ["done"] * 60


async def test_a_wait_in_an_area_that_was_switched_off_meanwhile_still_hears(house: House) -> None:
    await house.apply(
        area("""
  - wait: 1h
  - wait_for: {probe.happened: {topic: x}}
    id: w
    timeout: 1d
  - return: 1
""")
    )
    run_id = await house.send("one")
    await house.app.areas.enable(house.actor, "one", False)
    await house.advance("1h")
    assert await states(house, run_id) == ["waiting"]
    await house.happen("probe.happened", {"what": ""})
    assert await states(house, run_id) == ["done"]


async def test_a_wait_for_the_end_of_an_area_that_only_the_run_knows(house: House) -> None:
    await house.apply(
        area("  - return: 5", "other"),
        area("""
  - wait_for: {area.ended: {area: "{{ trigger.which }}"}}
    id: w
    timeout: 1d
  - return: "{{ steps.w.result }}"
"""),
    )
    run_id = await house.send("one", {"which": "other"})
    assert await states(house, run_id) == ["waiting"]
    await house.send("other")
    assert (await house.run(run_id))["result"] == 5


# --- collect ------------------------------------------------------------------------------------------------------


def digest(more: str = "") -> str:
    return area(f"""
  - collect: {{window: 1h{more}}}
    id: batch
  - return: "{{{{ steps.batch.events | map(attribute='n') | list }}}}"
""")


@pytest.mark.parametrize("seed", range(6))
async def test_events_at_the_same_moment_come_into_one_digest(house: House, seed: int) -> None:
    await house.apply(digest())
    shake(house, seed)
    await asyncio.gather(*(house.app.runs.start(house.actor, "one", {"n": n}) for n in range(40)))
    await house.idle()
    found = await states(house)
    assert sorted(set(found)) == ["collected", "waiting"]
    assert found.count("waiting") == 1
    await house.advance("1h")
    runs = await runs_of(house, "one")
    [result] = [run["result"] for run in runs if run["state"] == "done"]
    assert sorted(result) == list(range(40))
    assert await counts(house) == {}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("at_most", [1, 2, 7, 100])
async def test_a_digest_that_is_full_goes_on_at_once_with_just_as_many(house: House, seed: int, at_most: int) -> None:
    await house.apply(digest(f", at_most: {at_most}"))
    shake(house, seed)
    await asyncio.gather(*(house.app.runs.start(house.actor, "one", {"n": n}) for n in range(40)))
    await house.idle()
    await house.advance("1h")
    runs = await runs_of(house, "one")
    results = [run["result"] for run in runs if run["state"] == "done"]
    assert sorted(n for result in results for n in result) == list(range(40))
    assert sorted((len(result) for result in results), reverse=True) == [at_most] * (40 // at_most) + [40 % at_most] * (
        40 % at_most > 0
    )
    assert await counts(house) == {}


async def test_digests_of_each_key_are_their_own(house: House) -> None:
    await house.apply(digest(', key: "{{ trigger.n % 3 }}"'))
    for n in range(9):
        await house.app.runs.start(house.actor, "one", {"n": n})
    await house.idle()
    await house.advance("1h")
    results = [run["result"] for run in await runs_of(house, "one") if run["state"] == "done"]
    assert sorted(results) == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


async def test_a_large_event_in_a_digest_survives_the_pruning_of_the_run_that_brought_it(house: House) -> None:
    await house.apply(
        area("""
  - collect: {window: 30d}
    id: batch
  - return: "{{ steps.batch.events | map(attribute='text') | map('length') | list }}"
""")
    )
    holder = await house.send("one", {"text": "a" * 50_000})
    await house.send("one", {"text": "b" * 60_000})
    await house.advance("1d")
    assert await store.prune(house.app.backend, house.clock.now) == 1
    await house.advance("30d")
    assert (await house.run(holder))["result"] == [50_000, 60_000]
    assert await counts(house) == {}
    await store.prune(house.app.backend, house.clock.now + 1)
    assert await counts(house, "run", "step", "blob", "job") == {}


async def test_a_digest_that_is_cancelled_leaves_nothing_behind(house: House) -> None:
    await house.apply(digest())
    holder = await house.send("one", {"n": 1, "text": "a" * 50_000})
    await house.send("one", {"n": 2, "text": "b" * 50_000})
    await house.app.runs.cancel(house.actor, holder)
    await store.prune(house.app.backend, house.clock.now + 1)
    assert await counts(house, "run", "step", "blob", "job", "collected") == {}


# --- once ---------------------------------------------------------------------------------------------------------

ONCE = area("""
  - once: {key: "{{ trigger.id }}", within: 1d}
    id: o
  - probe.do: {value: "{{ trigger.id }}"}
    id: a
  - return: 1
""")


@pytest.mark.parametrize("seed", range(6))
async def test_of_many_at_the_same_moment_one_does_it(house: House, seed: int) -> None:
    outside = Outside(house)
    await house.apply(ONCE)
    shake(house, seed)
    await asyncio.gather(*(house.app.runs.start(house.actor, "one", {"id": n % 4}) for n in range(40)))
    await house.idle()
    found = await states(house)
    assert (found.count("done"), found.count("skipped")) == (4, 36)
    assert sorted(outside.begun) == [0, 1, 2, 3]
    await house.advance("25h")
    run_id = await house.send("one", {"id": 0})
    assert await states(house, run_id) == ["done"]


async def test_a_run_that_failed_behind_once_can_be_retried(house: House) -> None:
    await house.apply(ONCE.replace("probe.do: {value:", 'probe.do: {fail: "{{ trigger.fail }}", value:'))
    run_id = await house.send("one", {"id": 1, "fail": "permanent"})
    assert await states(house, run_id) == ["failed"]
    again = await house.app.runs.retry(house.actor, run_id)
    await house.idle()
    assert await states(house, again) == ["failed"]  # as the reaction fails again, and not "seen already"
    assert (await house.run(again))["steps"][1]["state"] == "failed"
    other = await house.send("one", {"id": 1, "fail": ""})
    assert await states(house, other) == ["skipped"]


# --- call ---------------------------------------------------------------------------------------------------------


async def test_a_chain_of_calls_without_end_is_cut(house: House) -> None:
    await house.apply(area("  - call: one\n    id: c"))
    run_id = await house.send("one")
    run = await house.run(run_id)
    assert run["state"] == "failed"
    assert "call each other" in run["reason"]
    assert len(await states(house)) == 17
    assert await counts(house) == {}


async def test_a_called_area_that_ends_at_once_or_is_gone_answers(house: House) -> None:
    await house.apply(
        area("  - return: [1, 2]", "now"),
        area("""
  - call: now
    id: a
  - call: nowhere
    id: b
    on_error: [{return: "{{ [steps.a, error.message] }}"}]
"""),
    )
    run = await house.run(await house.send("one"))
    assert run["result"] == [[1, 2], "there is no area nowhere"]


@pytest.mark.parametrize(
    ("child", "state"), [("stop: failed", "failed"), ("stop: skipped", "done"), ("stop: done", "done")]
)
async def test_how_a_called_area_ends_is_how_the_step_ends(house: House, child: str, state: str) -> None:
    await house.apply(area(f"  - wait: 1m\n  - {child}", "child"), area("  - call: child\n    id: c"))
    run_id = await house.send("one")
    await house.advance("1m")
    run = await house.run(run_id)
    assert run["steps"][0]["state"] == state


async def test_a_timeout_of_the_caller_does_not_count_the_time_of_the_called(house: House) -> None:
    await house.apply(
        area("  - wait: 9h", "child"), area("  - call: child\n  - probe.do: {value: 1}", more="timeout: 1m")
    )
    run_id = await house.send("one")
    await house.advance("9h")
    assert await states(house, run_id) == ["done"]


# --- area.ended ---------------------------------------------------------------------------------------------------


async def test_areas_that_start_each_other_without_end_are_stopped(house: House) -> None:
    await house.apply(
        area("  - return: 1", "a", "area.ended: {area: b}"),
        area("  - return: 1", "b", "area.ended: {area: a}"),
    )
    await house.send("a")
    found = await states(house)
    assert found == ["done"] * 17
    ignored = await house.app.events.list(house.actor, ignored=True)
    assert len(ignored) == 1
    assert "without end" in ignored[0]["reason"]


@pytest.mark.parametrize("then", ["  - return: 1", "  - wait: 1s\n  - return: 1"])
async def test_areas_that_hear_of_every_end_do_not_multiply_without_bound(house: House, then: str) -> None:
    await house.apply(
        area("  - return: 1", "root"),
        *(
            area(then, f"ear{n}", f"area.ended: {{{key}}}")
            for n, key in enumerate(["state: done", "", "area: ear0", "area: ear1"])
        ),
    )
    await house.send("root")
    await house.advance("1m")
    found = await states(house)
    assert 5 <= len(found) <= 1_100
    assert set(found) == {"done"}
    ignored = await house.app.events.list(house.actor, ignored=True)
    assert any("1,000 runs" in line["reason"] for line in ignored)


async def test_one_event_starts_every_area_that_asks_for_the_same(house: House) -> None:
    await house.apply(
        *(area('  - return: "{{ trigger.what }}"', f"a{n}", "probe.happened: {topic: t}") for n in range(50))
    )
    await house.happen("probe.happened", {"what": "it"})
    assert await states(house) == ["done"] * 50
    rows = await house.app.backend.read("select count(*) from subscription where action = 'probe.happened'")
    assert rows[0][0] == 1
    assert (await house.app.backend.read("select count(*) from event"))[0][0] == 1


async def test_one_area_that_cannot_start_does_not_keep_the_others_from_it(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await house.apply(*(area(f"  - return: {n}", f"a{n}", "probe.happened: {topic: t}") for n in range(5)))
    insert = store.insert

    def broken(unit: Unit, run: Any, *args: Any, **more: Any) -> None:
        if run.slug == "a2":
            unit.do("insert into nothing values (1)")
            raise ZeroDivisionError("oh")
        insert(unit, run, *args, **more)

    monkeypatch.setattr(store, "insert", broken)
    await house.happen("probe.happened", {"what": "it"})
    assert await states(house) == ["done"] * 4


async def test_areas_that_call_ever_more_of_themselves_are_stopped(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "CALLED_MAX", 200)
    await house.apply(area('  - each: "range(20)"\n    at_once: 20\n    on_error: continue\n    then: [{call: one}]'))
    await house.send("one")
    assert len(await states(house)) <= 250
    assert await counts(house) == {}


async def test_many_calls_of_one_run_are_as_many_as_it_likes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "CALLED_MAX", 5)
    await house.apply(area("  - return: 1", "child"), area('  - each: "range(50)"\n    then: [{call: child}]'))
    run_id = await house.send("one")
    assert await states(house, run_id) == ["done"]
