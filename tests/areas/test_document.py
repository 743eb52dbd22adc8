"""Documents: what a valid one means, and what is wrong with the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from areabox.areas import model
from areabox.areas.document import from_data, parse, parse_many
from areabox.errors import InputError
from tests.areas.fake_catalogue import FakeCatalogue

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.yaml"))
HEAD = "area: x\nwhen:\n  - webhook.received: {}\nthen:\n"


def program(text: str) -> model.Program:
    return parse(text, catalogue=FakeCatalogue())


def steps(text: str) -> tuple[Any, ...]:
    return program(HEAD + text).then


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        program(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_document_is_refused_with_every_problem_and_its_place(path: Path) -> None:
    text = path.read_text()
    expected = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    with pytest.raises(InputError) as caught:
        parse_many(text, catalogue=FakeCatalogue(), name=path.name)
    assert [str(problem) for problem in caught.value.problems] == expected
    assert path.name in str(caught.value)


def test_there_are_enough_broken_documents() -> None:
    assert len(BROKEN) >= 80


def test_the_defaults_are_filled_in() -> None:
    found = program("area: x\nwhen:\n  - rss.new_entry: {feed: a}\nthen:\n  - probe.do: {}\n")
    assert (found.slug, found.name, found.about, found.tags, found.enabled) == ("x", "x", "", (), True)
    assert (found.mode, found.at_most, found.key, found.timeout_ms, found.test) == (
        "parallel",
        None,
        None,
        3_600_000,
        None,
    )
    trigger = found.when[0]
    assert (trigger.id, trigger.action, trigger.params, trigger.missed) == (
        "new_entry",
        "rss.new_entry",
        {"feed": "a"},
        "latest",
    )
    assert (trigger.every_ms, trigger.connection, trigger.test, trigger.pointer) == (None, None, None, "/when/0")
    step = found.then[0]
    assert isinstance(step, model.Do)
    assert (step.id, step.pointer, step.reaction, step.params.source) == ("s1", "/then/0", "probe.do", {})
    assert (step.timeout_ms, step.retry, step.on_error, step.guard) == (30_000, model.Retry(), None, None)


def test_everything_can_be_said() -> None:
    found = program(
        """
area: kernel-news
name: Kernel news
about: "*Why*"
tags: [news, linux]
enabled: false
mode: queued
at_most: 3
key: "{{ trigger.repo }}"
timeout: 24h
when:
  - rss.new_entry: {feed: "https://example.org/feed"}
    id: feed
    every: 15m
    if: trigger.title
  - schedule.cron: {cron: "0 7 * * 1-5", timezone: Europe/Paris}
    missed: skip
if: "'kernel' in trigger.title"
then:
  - ntfy.publish: {topic: alerts, message: "{{ trigger.title }}"}
    id: push
    name: Push it
    disabled: true
    if: trigger.link is defined
    connection: home
    retry: {attempts: 3, first: 1s, max: 1m}
    timeout: 5s
    on_error: continue
"""
    )
    assert (found.name, found.tags, found.enabled, found.mode, found.at_most) == (
        "Kernel news",
        ("news", "linux"),
        False,
        "queued",
        3,
    )
    assert found.key is not None
    assert found.key.render({"trigger": {"repo": "r"}}) == "r"
    assert found.timeout_ms == 86_400_000
    assert [(one.id, one.every_ms, one.missed) for one in found.when] == [
        ("feed", 900_000, "latest"),
        ("cron", None, "skip"),
    ]
    step = found.then[0]
    assert isinstance(step, model.Do)
    assert (step.id, step.name, step.disabled, step.connection) == ("push", "Push it", True, "home")
    assert (step.retry, step.timeout_ms, step.on_error) == (model.Retry(3, 1_000, 60_000), 5_000, ())
    assert step.guard is not None
    assert step.guard.evaluate({"trigger": {"link": 1}}) is True


def test_every_kind_of_step_becomes_its_model() -> None:
    found = steps(
        """
  - if: trigger.a
    then: [{probe.do: {}}]
    else: [{stop: skipped}]
  - choose:
      - {if: trigger.b, then: [{probe.do: {}}]}
    else: [{probe.do: {}}]
  - {each: trigger.list, as: row, at_once: 4, then: [{probe.do: {a: "{{ row }}{{ index }}"}}]}
  - {repeat: {until: steps.check.ok, at_most: 20}, then: [{probe.do: {}, id: check}]}
  - {repeat: {while: "index < 3"}, then: []}
  - {parallel: [[{probe.do: {}}], []], join: any}
  - wait: 10m
  - wait: "{{ trigger.delay }}"
  - wait: {until: "{{ trigger.start }}"}
  - wait: {until: 2026-01-01 07:00}
  - wait_for:
      rss.new_entry: {feed: "{{ trigger.feed }}"}
      every: 5m
      if: event.title == trigger.title
    timeout: 1h
    else: []
  - ask: {question: "Delete {{ trigger.name }}?", choices: [Yes, No]}
    timeout: 1d
  - {call: other-area, with: {a: "{{ trigger.a }}"}}
  - call: other-area
  - set: {total: "{{ trigger.a + 1 }}"}
  - collect: {window: 1h, at_most: 50, key: "{{ trigger.feed }}"}
  - once: {key: "{{ trigger.id }}", within: 1d}
  - return: {x: "{{ vars.total }}"}
  - return:
  - {stop: failed, because: "too {{ trigger.a }}"}
"""
    )
    kinds = [type(step).__struct_config__.tag for step in found]
    assert kinds == [
        "if",
        "choose",
        "each",
        "repeat",
        "repeat",
        "parallel",
        "wait",
        "wait",
        "wait",
        "wait",
        "wait_for",
        "ask",
        "call",
        "call",
        "set",
        "collect",
        "once",
        "return",
        "return",
        "stop",
    ]
    branch, choice, each, until, while_, parallel, wait, late, until_time, _, listen, ask, call, bare, *_ = found
    assert isinstance(branch.otherwise[0], model.Stop)
    assert len(choice.options) == 1
    assert (each.name_of_item, each.at_once, each.then[0].id) == ("row", 4, "s8")
    assert (until.until, until.at_most, while_.until, while_.at_most) == (True, 20, False, 1_000)
    assert (len(parallel.branches), parallel.join) == (2, "any")
    assert (wait.for_.source, wait.until, late.for_.literal, until_time.for_) == ("10m", None, False, None)
    assert (listen.action, listen.every_ms, listen.timeout_ms, listen.otherwise) == (
        "rss.new_entry",
        300_000,
        3_600_000,
        (),
    )
    assert (ask.choices, ask.otherwise, ask.timeout_ms) == (("Yes", "No"), None, 86_400_000)
    assert (call.area, call.with_.source, bare.with_.source) == ("other-area", {"a": "{{ trigger.a }}"}, {})
    assert [type(step) for step in found[-2:]] == [model.Return, model.Stop]
    assert found[-2].value.source is None


def test_default_ids_count_in_document_order_and_leave_out_taken_ones() -> None:
    found = steps(
        "  - probe.do: {}\n  - if: trigger.a\n    then:\n      - probe.do: {}\n      - probe.do: {}\n        id: s2\n  - probe.do: {}\n"
    )
    assert [found[0].id, found[1].id, found[1].then[0].id, found[1].then[1].id, found[2].id] == [
        "s1",
        "s3",
        "s4",
        "s2",
        "s5",
    ]


def test_triggers_of_the_same_action_get_ids_of_their_own() -> None:
    found = program(
        "area: x\nwhen:\n  - webhook.received: {}\n  - webhook.received: {}\n  - webhook.received: {}\n    id: received\nthen: []\n"
    )
    assert [trigger.id for trigger in found.when] == ["received_2", "received_3", "received"]


def test_on_error_steps_see_the_error() -> None:
    found = steps('  - probe.do: {}\n    on_error:\n      - probe.do: {text: "{{ error.message }}"}\n')
    assert isinstance(found[0].on_error[0], model.Do)


def test_steps_of_branches_are_seen_afterwards() -> None:
    steps(
        '  - if: trigger.a\n    then: [{probe.do: {}, id: a}]\n    else: [{probe.do: {}, id: b}]\n  - probe.do: {text: "{{ steps.a.x }}{{ steps.b.x }}"}\n'
    )
    steps(
        '  - parallel: [[{probe.do: {}, id: a}], [{probe.do: {}, id: b}]]\n  - probe.do: {text: "{{ steps.a.x }}{{ steps.b.x }}"}\n'
    )


def test_steps_inside_a_loop_see_those_before_them_inside_and_outside() -> None:
    steps(
        '  - probe.do: {}\n    id: a\n  - each: trigger.l\n    id: l\n    then:\n      - probe.do: {}\n        id: b\n      - probe.do: {text: "{{ steps.a.x }}{{ steps.b.x }}{{ item }}"}\n  - probe.do: {text: "{{ steps.l }}"}\n'
    )


def test_loops_inside_loops_see_all_items() -> None:
    steps(
        '  - each: trigger.l\n    as: row\n    then:\n      - each: row\n        as: cell\n        then:\n          - probe.do: {text: "{{ row }}{{ cell }}{{ index }}"}\n'
    )


def test_plain_values_may_stand_for_an_expression() -> None:
    found = steps("  - if: true\n    then: []\n  - if: 0\n    then: []\n")
    assert [step.test.evaluate({}) for step in found] == [True, 0]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("yes", "yes"), ("On", "On"), ("no", "no"), ("12:30", "12:30"), ("1_000", "1_000"), ("010", 10), ("0o10", 8),
        ("0x1F", 31), ("1e3", 1000.0), ("-1.5", -1.5), (".5", 0.5), ("1.", 1.0), ("true", True), ("NULL", None), ("~", None),
        ("2026-01-01", "2026-01-01"), ("'1'", "1"), ('"true"', "true"), (".inf", ".inf"), ("=", "="), ("1h30m", "1h30m"),
        ("'a''b'", "a'b"), ('"\\u00e4"', "ä"), ("1e999", "1e999"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, result: Any) -> None:
    found = steps(f"  - probe.do:\n      a: {text}\n")[0].params.source["a"]
    assert found == result
    assert type(found) is type(result)


def test_aliases_stand_for_what_they_name() -> None:
    found = steps("  - probe.do: &p {a: 1}\n  - probe.do: *p\n")
    assert found[0].params == found[1].params


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert any("more than 100,000 values" in problem for problem in problems("\n".join(lines)))


def test_json_is_read_as_well() -> None:
    data = {"area": "x", "name": "\U0001f600", "when": [{"webhook.received": {}}], "then": [{"probe.do": {"a": 1.5}}]}
    found = program(json.dumps(data, indent="\t"))
    assert found.name == "\U0001f600"
    assert found == from_data(data, catalogue=FakeCatalogue())


def test_broken_json_says_where() -> None:
    text = '{"area": "x",\n "when": [{"webhook.received": {}}],\n "then": [{"probe.do": {"zz": 1}}]}'
    assert problems(text)[0].startswith("line 3, column 25: /then/0/probe.do/zz: probe.do takes no parameter zz")
    assert "line 2, column 2: /area: the key stands twice" in problems('{"area": "x",\n "area": "y"}')[0]
    assert "not YAML" in problems('{"area": "x"')[0]


def test_data_from_the_api_has_pointers_and_no_lines() -> None:
    with pytest.raises(InputError) as caught:
        from_data({"area": "x", "when": [], "then": [{"probe.d": {}}]}, catalogue=FakeCatalogue())
    assert [problem.pointer for problem in caught.value.problems] == ["/when", "/then/0/probe.d"]
    assert all(problem.line is None for problem in caught.value.problems)


@pytest.mark.parametrize("data", [None, [], "x", 5, {"area": {1, 2}}, {"area": b"x"}])
def test_data_that_is_no_document_is_refused(data: Any) -> None:
    with pytest.raises(InputError):
        from_data(data, catalogue=FakeCatalogue())


def test_data_that_is_too_deep_or_too_large_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InputError, match="nested more than 32 deep"):
        from_data({"area": deep}, catalogue=FakeCatalogue())
    with pytest.raises(InputError, match="more than 100,000 values"):
        from_data({"area": [0] * 200_000}, catalogue=FakeCatalogue())
    with pytest.raises(InputError, match="larger than 1 MiB"):
        program("area: x\nabout: " + "x" * 1_100_000)


def test_a_file_may_hold_many_documents() -> None:
    text = HEAD + "  []\n---\n" + HEAD.replace("area: x", "area: y") + "  []\n---\n"
    assert [one.slug for one in parse_many(text, catalogue=FakeCatalogue())] == ["x", "y"]
    with pytest.raises(InputError, match="one area belongs here, not 2"):
        program(text)
    with pytest.raises(InputError, match="not nothing"):
        program("# only a comment\n")
    assert parse_many("", catalogue=FakeCatalogue()) == []


def test_problems_of_all_documents_are_found_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_many("area: x\n---\narea: y\n", catalogue=FakeCatalogue(), name="f.yaml")
    assert [problem.line for problem in caught.value.problems] == [1, 1, 3, 3]
    assert "f.yaml, document 2: line 3" in str(caught.value)


def test_the_normal_form_leaves_out_what_is_a_default_and_fills_in_ids() -> None:
    found = program(
        "then:\n  - on_error: stop\n    timeout: 30s\n    retry: {attempts: 5, first: 10s}\n    probe.do:\n"
        "when:\n  - webhook.received:\n    missed: latest\nmode: parallel\nenabled: true\nname: x\ntimeout: 60m\narea: x\n".replace(
            "    missed: latest\n", ""
        )
    )
    assert found.document == {
        "area": "x",
        "name": "x",
        "when": [{"webhook.received": {}, "id": "received"}],
        "then": [{"probe.do": {}, "id": "s1"}],
    }
    assert list(found.document) == ["area", "name", "when", "then"]


def test_the_normal_form_of_the_normal_form_is_itself() -> None:
    text = (
        HEAD
        + "  - each: trigger.l\n    then:\n      - probe.do: {a: 1}\n  - wait: 90\n  - retry: {max: 10m}\n    probe.do: {b: [1, {c: d}]}\n"
    )
    first = program(text)
    again = from_data(first.document, catalogue=FakeCatalogue())
    assert again.document == first.document
    assert again == first


def test_the_condition_of_a_trigger_sees_what_is_there_before_a_run() -> None:
    head = "area: x\nwhen:\n  - webhook.received: {}\n    if: IF\nthen: []\n"
    program(head.replace("IF", "trigger.json.a and area.id and now.hour > 7"))
    assert "there is no name run here" in problems(head.replace("IF", "run.id"))[0]
    assert "there is no name vars here" in problems(head.replace("IF", "vars.a"))[0]


def test_more_than_a_thousand_steps_are_refused() -> None:
    assert "more than 1,000 steps" in problems(HEAD + "  - probe.do: {}\n" * 1001)[0]


def test_no_more_than_200_problems_are_told() -> None:
    assert len(problems(HEAD + "  - probe.d: {}\n" * 500)) == 200


def test_a_step_that_waits_for_an_action_sees_the_candidate_only_in_its_if() -> None:
    text = HEAD + "  - wait_for:\n      mqtt.message: {topic: \"{{ event.x }}\"}\n      if: event.payload == 'open'\n"
    assert len(problems(text)) == 1
    assert "/then/0/wait_for/mqtt.message/topic: there is no name event here; it exists only" in problems(text)[0]
