"""Areas in words."""

from __future__ import annotations

import pytest

from areabox.gateway.pages.sentences import outline, sentence, triggers
from areabox.services.catalogue import Catalogue


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.discover(None)


def test_an_area_reads_as_a_sentence(catalogue: Catalogue) -> None:
    document = {
        "when": [{"webhook.received": {}, "id": "received"}],
        "if": "trigger.json.on",
        "then": [{"wait": "10m", "id": "s1"}, {"stop": "done", "id": "s2"}, {"return": 1, "id": "s3"}],
    }
    text = sentence(document, catalogue)
    assert text.startswith("When ")
    assert text.endswith(", if trigger.json.on: wait 10m, then stop as done, and 1 more")
    [trigger] = triggers(document, catalogue)
    assert trigger.id == "received"


def test_branches_stand_below_their_step(catalogue: Catalogue) -> None:
    steps = [
        {
            "choose": [{"if": "a", "then": [{"wait": "1s", "id": "s2"}]}],
            "else": [{"each": "trigger.items", "then": [{"set": {"x": 1}, "id": "s4"}], "id": "s3"}],
            "id": "s1",
        },
        {"parallel": [[{"wait": "1s", "id": "p1"}], []], "id": "s5", "if": "b"},
        {"probe.unknown": {"a": 1}, "id": "s6", "disabled": True, "on_error": [{"stop": "failed", "id": "s7"}]},
    ]
    choose, parallel, unknown = outline(steps, catalogue)
    assert [line.text for line in choose.below] == ["if a", "otherwise"]
    assert choose.below[1].below[0].text == "for each of trigger.items"
    assert choose.below[1].below[0].below[0].text == "set x: 1"
    assert parallel.guard == "b"
    assert len(parallel.below) == 2
    assert unknown.disabled
    assert unknown.text == "probe.unknown a: 1"
    assert unknown.below[0].text == "if it fails"


def test_long_values_are_cut(catalogue: Catalogue) -> None:
    [line] = outline([{"return": "x" * 1_000, "id": "s1"}], catalogue)
    assert len(line.text) < 120
