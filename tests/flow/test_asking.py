"""Questions whose buttons come back as events: the step hears its own, however it was woken before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from areabox.errors import InputError, NotFoundError
from tests.flow.house import House, open_house

AREA = """
area: approve
when: [{webhook.received: {}}]
then:
  - each: "trigger.names"
    id: all
    at_once: 9
    then:
      - ask:
          question: "Delete {{ item }}?"
          choices: [Delete, Keep]
          via: [{probe.ask: {}}]
        id: sure
        timeout: 1h
        else: [{set: {late: true}}]
  - return: "{{ steps.all }}"
"""


def sent(house: House) -> list[dict[str, Any]]:
    """Return what the probe was given, in this test's own copy of it."""
    operation = house.app.catalogue.reaction("probe.ask")
    assert operation is not None
    return operation.run.__globals__["ASKED"]  # type: ignore[no-any-return, attr-defined]


async def refused(house: House, document: str) -> str:
    with pytest.raises(InputError) as raised:
        await house.apply(document)
    return " ".join(problem.detail for problem in raised.value.problems)


async def test_each_question_takes_the_button_that_is_its_own(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(AREA)
        run = await house.send("approve", {"names": ["a", "b", "c"]})
        data = {one["question"]: [choice["data"] for choice in one["choices"]] for one in sent(house)}
        await house.happen("probe.pressed", {"data": "of/1", "by": "eve"})
        await house.happen("probe.pressed", {"data": data["Delete b?"][1], "by": "@ann"})
        await house.happen("probe.pressed", {"data": data["Delete b?"][0], "by": "too late"})
        await house.app.runs.answer(house.actor, run, "all.0.sure", "Keep")
        await house.advance("2h")
        found = await house.run(run)
    assert found["state"] == "done"
    answers = [one and (one["choice"], one["by"]) for one in found["result"]]
    assert answers == [("Keep", "owner@example.org"), ("Keep", "@ann"), None]
    steps = {step["path"]: step for step in found["steps"]}
    assert steps["all.1.sure"]["input"] == {"question": "Delete b?", "choices": ["Delete", "Keep"]}
    assert steps["all.1.sure.0.s1"]["input"] == {"question": "Delete b?", "choices": "***"}


async def test_a_button_that_was_pressed_while_areabox_was_away_counts_afterwards(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(AREA)
        run = await house.send("approve", {"names": ["a"]})
        data, clock = sent(house)[0]["choices"][0]["data"], house.clock
    async with open_house(tmp_path, clock) as house:
        await house.happen("probe.pressed", {"data": data, "by": "@ann"})
        found = await house.run(run)
    assert [one["choice"] for one in found["result"]] == ["Delete"]


async def test_a_link_of_another_run_or_iteration_is_another_link(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(AREA)
        for _ in range(2):
            await house.send("approve", {"names": ["a", "b"]})
        tokens = [one["choices"][0]["data"].rpartition("/")[0] for one in sent(house)]
        assert len(set(tokens)) == 4
        asking = house.app.asking
        first = await asking.find(tokens[0])
        assert (first.question, first.choices, first.area) == ("Delete a?", ("Delete", "Keep"), "approve")
        await asking.answer(tokens[0], 1, "link")
        with pytest.raises(NotFoundError, match="answered already"):
            await asking.answer(tokens[0], 2, "link")
        await asking.find(tokens[1])


async def test_a_dry_run_asks_nobody(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(AREA)
        run = await house.send("approve", {"names": ["a"]}, dry=True)
        found = await house.run(run)
        assert sent(house) == []
    (step,) = [step for step in found["steps"] if step["kind"] == "ask"]
    assert (step["state"], step["note"]) == ("done", "would ask by probe.ask")


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("{wait: 5m}", "only operations that carry the question belong here"),
        ("{probe.do: {value: '{{ answer }}'}}", "there is no name answer here"),
        ("{probe.do: {valeu: 1}}", "value"),
    ],
)
async def test_what_carries_no_question_is_refused(tmp_path: Path, way: str, said: str) -> None:
    async with open_house(tmp_path) as house:
        assert said in await refused(house, AREA.replace("{probe.ask: {}}", way))


async def test_the_question_is_known_in_its_ways_only(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        said = await refused(house, AREA.replace('"{{ steps.all }}"', '"{{ ask.url }}"'))
        assert "it exists only in the via of an ask step" in said
