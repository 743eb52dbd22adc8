"""What a run remembers as it goes: `vars` in their layers, and what an earlier run did."""

from __future__ import annotations

import pytest

from areabox.areas.state import StepRow
from areabox.reactions.outcome import Done, Failed, TimedOut
from tests.areas.play import Play, echo

FAIL = Failed("it broke")


# --- vars -------------------------------------------------------------------------------------------------------------


def test_vars_of_branches_are_merged_in_the_order_of_the_document_and_not_of_time() -> None:
    play = Play("""
        - set: {x: 0, y: 0}
        - parallel:
            - [{probe.do: {}, id: a}, {set: {x: 1, from_a: true}}]
            - [{set: {x: 2}}, {set: {y: "{{ vars.x }}"}}]
            - [{probe.do: {}, id: c}, {set: {z: "{{ vars.x }}"}}]
          id: par
        - return: "{{ vars }}"
    """)
    play.end("par.2.c")
    play.end("par.0.a")
    assert play.result == {"x": 2, "y": 2, "from_a": True, "z": 0}
    play.clean()


def test_a_branch_sees_its_own_vars_and_not_its_neighbours() -> None:
    play = Play("""
        - parallel:
            - [{set: {x: left}}, {probe.do: {}, id: a}, {set: {seen_a: "{{ vars.x }}"}}]
            - [{probe.do: {}, id: b}, {set: {seen_b: "{{ vars.x | default('none') }}"}}]
          id: par
        - return: "{{ vars }}"
    """)
    play.end("par.1.b")
    play.end("par.0.a")
    assert play.result == {"x": "left", "seen_a": "left", "seen_b": "none"}


def test_rounds_one_by_one_see_the_vars_of_the_rounds_before() -> None:
    play = Play("""
        - set: {total: 0}
        - each: "[1, 2, 3]"
          id: loop
          then: [{set: {total: "{{ vars.total + item }}"}}]
        - return: "{{ vars.total }}"
    """)
    assert play.result == 6


def test_rounds_side_by_side_start_from_the_same_vars_and_the_last_one_wins() -> None:
    play = Play("""
        - set: {total: 0}
        - each: "[1, 2, 3]"
          id: loop
          at_once: 3
          then: [{probe.do: {}, id: do}, {set: {total: "{{ vars.total + item }}"}}]
        - return: "{{ vars.total }}"
    """)
    for index in (2, 0, 1):
        play.end(f"loop.{index}.do")
    assert play.result == 3
    play.clean()


def test_layers_lie_over_layers() -> None:
    play = Play("""
        - set: {deep: 0}
        - parallel:
            - - set: {deep: 1}
              - each: "[1, 2]"
                id: loop
                at_once: 2
                then:
                  - set: {deep: "{{ vars.deep + item }}", mine: "{{ item }}"}
                  - parallel: [[{set: {deep: "{{ vars.deep * 10 }}"}}], [{set: {right: "{{ vars.deep }}"}}]]
                    id: inner
                  - probe.do: {}
                    id: do
              - set: {after: "{{ vars.deep }}"}
            - [{probe.do: {}, id: other}, {set: {outside: "{{ vars.deep }}"}}]
          id: par
        - return: "{{ vars }}"
    """)
    assert set(play.run.layers) == {"par.0", "par.0.loop.0", "par.0.loop.1"}
    play.drive()
    assert play.result == {"deep": 30, "mine": 2, "right": 3, "after": 30, "outside": 0}
    play.clean()


def test_of_join_any_only_the_winner_leaves_its_vars() -> None:
    play = Play("""
        - parallel:
            - [{set: {a: 1}}, {probe.do: {}, id: a}]
            - [{set: {b: 1}}, {probe.do: {}, id: b}]
          id: par
          join: any
        - return: "{{ vars }}"
    """)
    play.end("par.1.b")
    assert play.result == {"b": 1}


# --- again from a step ------------------------------------------------------------------------------------------------


def memo_of(play: Play, from_: str) -> dict[str, StepRow]:
    """Return what `retry` remembers of an earlier run."""
    order = play.run.outline.order
    return {row.path: row for row in play.journal if order(row.path) < order(from_)}


LOOPS = """
- probe.do: {}
  id: first
- each: "[1, 2, 3]"
  id: loop
  then:
    - probe.do: {}
      id: a
    - set: {seen: "{{ vars.seen | default([]) + [steps.a] }}"}
    - probe.do: {}
      id: b
- parallel: [[{probe.do: {}, id: left}], [{probe.do: {}, id: right}]]
  id: par
- return: "{{ [steps.first, steps.loop, vars.seen] }}"
"""


@pytest.mark.parametrize(("from_", "again"), [
    ("loop", ["loop.0.a", "loop.0.b", "loop.1.a", "loop.1.b", "loop.2.a", "loop.2.b", "par.0.left", "par.1.right"]),
    ("loop.1.b", ["loop.1.b", "loop.2.a", "loop.2.b", "par.0.left", "par.1.right"]),
    ("par", ["par.0.left", "par.1.right"]),
    ("par.1.right", ["par.1.right"]),
])  # fmt: skip
def test_again_from_a_step_takes_what_was_before_from_the_earlier_run(from_: str, again: list[str]) -> None:
    earlier = Play(LOOPS).drive()
    later = Play(LOOPS, memo=memo_of(earlier, from_))
    performed = []

    def answer(job: object) -> Done:
        performed.append(job.path)  # type: ignore[attr-defined]
        return Done(job.path)  # type: ignore[attr-defined]

    later.drive(answer)
    assert sorted(performed) == sorted(again)
    assert later.result == earlier.result
    later.clean()


def test_again_from_a_step_behind_one_that_failed_takes_its_handler_again() -> None:
    document = """
        - probe.do: {}
          id: a
          on_error: [{probe.do: {}, id: fix}]
        - probe.do: {}
          id: b
        - return: "{{ [steps.a | default('broken'), steps.fix, steps.b] }}"
    """
    earlier = Play(document)
    earlier.end("a", FAIL)
    earlier.end("fix")
    earlier.end("b", FAIL)
    assert earlier.state == "failed"
    later = Play(document, memo=memo_of(earlier, "b"))
    assert list(later.jobs) == ["b"]
    later.end("b")
    assert later.result == ["broken", "fix", "b"]


def test_again_from_a_step_behind_a_question_nobody_answered_goes_through_its_else_again() -> None:
    document = """
        - ask: {question: "Well?", choices: [Sure]}
          id: q
          timeout: 1h
          else: [{probe.do: {}, id: late}, {set: {late: true}}]
        - probe.do: {}
          id: b
        - return: "{{ [vars.late, steps.late] }}"
    """
    earlier = Play(document)
    earlier.end("q", TimedOut())
    earlier.end("late")
    earlier.end("b", FAIL)
    later = Play(document, memo=memo_of(earlier, "b"))
    assert list(later.jobs) == ["b"]
    later.end("b")
    assert later.result == [True, "late"]


def test_again_from_a_step_does_again_what_was_cancelled_before_it() -> None:
    document = """
        - parallel: [[{probe.do: {}, id: a}], [{probe.do: {}, id: b}]]
          id: par
          join: any
        - probe.do: {}
          id: c
    """
    earlier = Play(document)
    earlier.end("par.1.b")
    earlier.journal.append(StepRow("par.0.a", "do", "cancelled", 0, 0))
    earlier.end("c", FAIL)
    later = Play(document, memo=memo_of(earlier, "c"))
    assert sorted(later.jobs) == ["c"]
    later.drive().clean()


def test_again_over_rounds_without_number_is_cut_as_any_walk() -> None:
    document = """
        - each: "range(1500)"
          id: loop
          then: [{probe.do: {}, id: a}]
        - probe.do: {}
          id: b
        - return: "{{ steps.loop | length }}"
    """
    earlier = Play(document).drive()
    later = Play(document, memo=memo_of(earlier, "b"))
    later.drive()
    assert later.result == 1500
    assert len([job for change in later.changes for job in change.jobs if job.kind == "do"]) == 1
    later.clean()


def test_echo_is_what_the_tests_above_rely_on() -> None:
    assert Play("[{probe.do: {}, id: a}]").drive(echo).states() == {"a": "done"}
