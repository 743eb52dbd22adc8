"""What happens next, without an engine: steps, loops, waits and walks that are cut, one document each."""

from __future__ import annotations

import pytest

from areabox.areas import plan
from areabox.reactions.outcome import Done, Ended, Failed, Skipped, TimedOut
from tests.areas.play import Play

FAIL = Failed("it broke")


# --- straight on ------------------------------------------------------------------------------------------------------


def test_a_run_with_nothing_to_do_is_done_at_once() -> None:
    play = Play("[]")
    assert (play.state, play.result, play.ways) == ("done", None, [])


def test_steps_follow_each_other_and_see_what_was_before() -> None:
    play = Play("""
        - probe.do: {a: 1}
          id: one
        - set: {x: "{{ steps.one }}!"}
        - probe.do: {a: "{{ vars.x }}"}
          id: two
        - return: "{{ [steps.one, steps.two, vars.x] }}"
    """)
    assert list(play.jobs) == ["one"]
    play.end("one", Done("first"))
    assert list(play.jobs) == ["two"]
    play.end("two", Done("second"))
    assert play.result == ["first", "second", "first!"]
    play.clean()


def test_a_step_that_is_switched_off_or_whose_condition_is_false_is_passed_over() -> None:
    play = Play(
        """
        - probe.do: {}
          id: idle
          disabled: true
        - probe.do: {}
          id: guarded
          if: "trigger.n > 1"
        - probe.do: {}
          id: taken
          if: "trigger.n == 1"
        - return: "{{ steps.idle is defined or steps.guarded is defined }}"
    """,
        {"n": 1},
    ).drive()
    assert play.states() == {"idle": "skipped", "guarded": "skipped", "taken": "done", "s1": "done"}
    assert play.row("idle").note == "switched off"
    assert "trigger.n > 1" in (play.row("guarded").note or "")
    assert play.result is False


def test_a_block_that_is_switched_off_is_passed_over_whole() -> None:
    play = Play("""
        - each: "[1, 2]"
          id: loop
          disabled: true
          then: [{probe.do: {}, id: inner}]
        - parallel: [[{probe.do: {}, id: left}]]
          id: par
          if: "false"
    """)
    assert play.ways == [("loop", "skipped"), ("par", "skipped")]
    assert play.state == "done"
    play.clean()


def test_a_skipped_reaction_has_no_result_and_the_run_goes_on() -> None:
    play = Play("""
        - probe.do: {}
          id: one
        - return: "{{ steps.one | default('none') }}"
    """)
    play.end("one", Skipped("nothing to do"))
    assert (play.state, play.result) == ("done", "none")


@pytest.mark.parametrize(("n", "then", "branch"), [(1, "a", True), (2, "b", False)])
def test_if_takes_one_of_its_branches(n: int, then: str, branch: bool) -> None:
    play = Play(
        """
        - if: "trigger.n == 1"
          id: fork
          then: [{set: {x: a}}]
          else: [{set: {x: b}}]
        - return: "{{ vars.x }}"
    """,
        {"n": n},
    )
    assert play.result == then
    assert play.row("fork").input == {"if": branch}


@pytest.mark.parametrize(("n", "chosen"), [(1, 0), (2, 1), (3, "else")])
def test_choose_takes_the_first_that_is_true(n: int, chosen: object) -> None:
    play = Play(
        """
        - choose:
            - {if: "trigger.n == 1", then: [{set: {x: 0}}]}
            - {if: "trigger.n <= 2", then: [{set: {x: 1}}]}
          else: [{set: {x: else}}]
          id: fork
        - return: "{{ vars.x }}"
    """,
        {"n": n},
    )
    assert play.result == chosen
    assert play.row("fork").input == {"chosen": chosen}


def test_no_branch_that_fits_is_no_error() -> None:
    play = Play("""
        - choose: [{if: "false", then: [{stop: failed}]}]
        - if: "false"
          then: [{stop: failed}]
    """)
    assert play.state == "done"
    play.clean()


# --- loops ------------------------------------------------------------------------------------------------------------


def test_each_goes_one_by_one_and_gives_the_results_in_order() -> None:
    play = Play("""
        - each: "[10, 20, 30]"
          id: loop
          then:
            - probe.do: {a: "{{ item }}"}
              id: do
            - probe.do: {a: "{{ steps.do }}{{ index }}"}
              id: last
        - return: "{{ steps.loop }}"
    """)
    seen = []
    while play.jobs:
        assert len(play.jobs) == 1
        seen.append(next(iter(play.jobs)))
        play.end(seen[-1])
    assert seen == ["loop.0.do", "loop.0.last", "loop.1.do", "loop.1.last", "loop.2.do", "loop.2.last"]
    assert play.result == ["loop.0.last", "loop.1.last", "loop.2.last"]
    assert play.row("loop").input == {"items": 3}
    play.clean()


def test_each_keeps_as_many_going_as_it_may_and_its_results_in_order_however_they_end() -> None:
    play = Play("""
        - each: "range(5)"
          id: loop
          at_once: 2
          then: [{probe.do: {a: "{{ item }}"}, id: do}]
        - return: "{{ steps.loop }}"
    """)
    assert sorted(play.jobs) == ["loop.0.do", "loop.1.do"]
    play.end("loop.1.do", Done("b"))
    assert sorted(play.jobs) == ["loop.0.do", "loop.2.do"]
    play.end("loop.2.do", Done("c"))
    play.end("loop.3.do", Done("d"))
    assert sorted(play.jobs) == ["loop.0.do", "loop.4.do"]
    play.end("loop.0.do", Done("a"))
    play.end("loop.4.do", Done("e"))
    assert play.result == ["a", "b", "c", "d", "e"]
    play.clean()


@pytest.mark.parametrize("at_once", [1, 3])
def test_each_of_nothing_gives_an_empty_list(at_once: int) -> None:
    play = Play(f"""
        - each: "[]"
          id: loop
          at_once: {at_once}
          then: [{{probe.do: {{}}, id: do}}]
        - return: "{{{{ steps.loop }}}}"
    """)
    assert play.result == []
    play.clean()


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_loops_and_branches_without_steps_come_to_their_end(at_once: int) -> None:
    play = Play(f"""
        - each: "range(2000)"
          id: loop
          at_once: {at_once}
          then: []
        - repeat: {{until: "index >= 2", at_most: 10}}
          id: rep
          then: []
        - parallel: [[], []]
        - parallel: [[], []]
          join: any
        - return: "{{{{ [steps.loop | length, steps.loop[0], steps.rep.count] }}}}"
    """).drive()
    assert (play.state, play.reason) == ("done", None)
    assert play.result == [2000, None, 3]
    play.clean()


@pytest.mark.parametrize("value", ["1", "'text'", "{'a': 1}", "none", "true"])
def test_each_of_what_is_no_list_fails(value: str) -> None:
    play = Play(f"""
        - each: "{value}"
          id: loop
          then: []
    """)
    assert play.state == "failed"
    assert play.states() == {"loop": "failed"}
    assert "each needs a list" in (play.reason or "")


def test_each_of_too_many_fails() -> None:
    play = Play('[{each: "trigger.items", id: loop, then: []}]', {"items": list(range(10_001))})
    assert play.state == "failed"
    assert "10,000" in (play.reason or "")


def test_the_result_of_each_is_of_its_last_step_even_where_that_had_none() -> None:
    play = Play("""
        - each: "[1, 2, 3]"
          id: loop
          then:
            - probe.do: {}
              id: do
            - probe.do: {}
              id: last
              if: "item == 2"
        - return: "{{ steps.loop }}"
    """).drive()
    assert play.result == [None, "loop.1.last", None]


def test_repeat_until_asks_after_each_round() -> None:
    play = Play("""
        - repeat: {until: "steps.check.ok", at_most: 5}
          id: rep
          then: [{probe.do: {}, id: check}]
        - return: "{{ steps.rep }}"
    """)
    play.end("rep.0.check", Done({"ok": False}))
    play.end("rep.1.check", Done({"ok": True}))
    assert play.result == {"count": 2, "exhausted": False}
    play.clean()


def test_repeat_ends_and_does_not_fail_at_its_bound() -> None:
    play = Play("""
        - repeat: {until: "steps.check.ok", at_most: 3}
          id: rep
          then: [{probe.do: {}, id: check}]
        - return: "{{ steps.rep }}"
    """).drive(lambda _: Done({"ok": False}))
    assert play.result == {"count": 3, "exhausted": True}
    play.clean()


def test_repeat_that_comes_true_in_its_last_round_is_not_exhausted() -> None:
    play = Play("""
        - repeat: {until: "index == 2", at_most: 3}
          id: rep
          then: [{probe.do: {}, id: check}]
        - return: "{{ steps.rep }}"
    """).drive()
    assert play.result == {"count": 3, "exhausted": False}


def test_repeat_while_asks_before_each_round_with_the_number_of_the_round_to_come() -> None:
    play = Play("""
        - repeat: {while: "index < 3"}
          id: rep
          then: [{probe.do: {}, id: do}]
        - return: "{{ steps.rep }}"
    """).drive()
    assert (play.state, play.reason) == ("done", None)
    assert play.result == {"count": 3, "exhausted": False}
    play.clean()


def test_repeat_while_sees_what_the_round_before_did() -> None:
    play = Play("""
        - repeat: {while: "steps.check is not defined or steps.check.more"}
          id: rep
          then: [{probe.do: {}, id: check}]
        - return: "{{ steps.rep }}"
    """)
    play.end("rep.0.check", Done({"more": True}))
    play.end("rep.1.check", Done({"more": False}))
    assert play.result == {"count": 2, "exhausted": False}


def test_repeat_while_false_from_the_start_does_nothing() -> None:
    play = Play("""
        - repeat: {while: "false"}
          id: rep
          then: [{probe.do: {}, id: do}]
        - return: "{{ steps.rep }}"
    """)
    assert play.result == {"count": 0, "exhausted": False}
    play.clean()


@pytest.mark.parametrize("kind", ["while", "until"])
def test_a_test_of_repeat_that_fails_fails_the_step_and_leaves_nothing_open(kind: str) -> None:
    play = Play(f"""
        - repeat: {{{kind}: "vars.nothing"}}
          id: rep
          on_error: continue
          then: [{{probe.do: {{}}, id: do}}]
        - probe.do: {{}}
          id: after
    """)
    if kind == "until":
        play.end("rep.0.do")
    assert play.states()["rep"] == "failed"
    assert list(play.jobs) == ["after"]
    assert play.run.scopes == {}
    play.drive().clean()


def test_loops_in_branches_in_loops_see_their_own_names() -> None:
    play = Play("""
        - each: "['a', 'b']"
          id: outer
          as: letter
          then:
            - parallel:
                - - each: "[1, 2]"
                    id: inner
                    then: [{probe.do: {a: "{{ letter }}{{ item }}{{ index }}"}, id: do}]
                  - probe.do: {a: "{{ steps.inner | length }}"}
                    id: left
                - - probe.do: {a: "{{ index }}"}
                    id: right
              id: par
            - probe.do: {a: "{{ [steps.left, steps.right, steps.inner] }}"}
              id: last
        - return: "{{ steps.outer }}"
    """)
    assert sorted(play.jobs) == ["outer.0.par.0.inner.0.do", "outer.0.par.1.right"]
    play.drive()
    assert play.state == "done"
    assert play.result == ["outer.0.last", "outer.1.last"]
    assert len(play.journal) == 2 * (4 + 1 + 1 + 1) + 2
    play.clean()


def test_a_result_inside_a_loop_is_not_seen_by_the_next_round_before_its_step() -> None:
    play = Play("""
        - each: "[1, 2]"
          id: loop
          then:
            - probe.do: {}
              id: do
              if: "item == 1"
            - set: {seen: "{{ vars.seen | default([]) + [steps.do | default('none')] }}"}
        - return: "{{ vars.seen }}"
    """)
    play.drive()
    assert play.result == ["loop.0.do", "none"]


# --- waits and ends that jobs report ----------------------------------------------------------------------------------


def test_a_wait_is_a_job_that_is_due_and_one_of_no_time_is_none() -> None:
    play = Play(
        """
        - wait: 0s
          id: none
        - wait: {until: "2020-01-01T00:00:00Z"}
          id: past
        - wait: "{{ trigger.minutes }}m"
          id: real
    """,
        {"minutes": 5},
    )
    assert list(play.jobs) == ["real"]
    assert play.jobs["real"].due == play.now + 300_000


@pytest.mark.parametrize("value", ["never", "-5s", "[]", "{{ trigger }}"])
def test_a_wait_for_no_time_at_all_is_an_error_of_the_step(value: str) -> None:
    play = Play([{"wait": "{{ trigger.w }}", "id": "w", "on_error": "continue"}, {"return": 1}], {"w": value})
    assert (play.states()["w"], play.result) == ("failed", 1)


def test_a_wait_until_the_end_of_all_times_is_possible() -> None:
    play = Play([{"wait": "{{ trigger.w }}", "id": "w"}], {"w": "100w"})
    assert list(play.jobs) == ["w"]
    play = Play([{"wait": {"until": "9999-12-30T00:00:00Z"}, "id": "w"}])
    assert list(play.jobs) == ["w"]


@pytest.mark.parametrize("kind", ['ask: {question: "Well?", choices: [Sure]}', "wait_for: {probe.event: {}}"])
def test_what_nobody_answers_goes_into_its_else_or_ends_the_run_as_skipped(kind: str) -> None:
    play = Play(f"""
- {kind}
  id: q
  timeout: 1h
  else: [{{set: {{late: true}}}}]
- return: "{{{{ [vars.late, steps.q | default('none')] }}}}"
""")
    play.end("q", TimedOut())
    assert play.result == [True, "none"]
    play = Play(f"[{{{kind}, id: q, timeout: 1h}}]")
    play.end("q", TimedOut())
    assert play.state == "skipped"
    play = Play(f"[{{{kind}, id: q, timeout: 1h, else: []}}, {{return: 1}}]")
    play.end("q", TimedOut())
    assert play.result == 1


def test_a_job_can_end_the_whole_run() -> None:
    play = Play("""
        - parallel:
            - [{once: {key: a}, id: once}]
            - [{probe.do: {}, id: b}]
    """)
    play.end("s1.0.once", Ended("skipped", "seen already: a"))
    assert (play.state, play.reason) == ("skipped", "seen already: a")
    assert play.jobs == {}


# --- long walks -------------------------------------------------------------------------------------------------------


def test_a_long_walk_is_cut_into_jobs_and_goes_on_where_it_was() -> None:
    play = Play("""
        - each: "range(2000)"
          id: loop
          then: [{set: {n: "{{ index + 1 }}"}}]
        - return: "{{ vars.n }}"
    """)
    assert [job.kind for job in play.jobs.values()] == ["go"]
    play.drive()
    assert play.result == 2000
    assert max(len(change.steps) for change in play.changes) <= plan.MOVES_MAX + 1
    assert len([row for row in play.journal if row.path.startswith("loop.")]) == 2000
    play.clean()


def test_a_long_walk_inside_rounds_side_by_side_is_cut_into_jobs_for_each() -> None:
    play = Play("""
        - each: "range(4)"
          id: outer
          at_once: 4
          then:
            - each: "range(300)"
              id: inner
              then: [{set: {n: "{{ vars.n | default(0) + 1 }}"}}]
            - set: {mine: "{{ vars.n }}"}
        - return: "{{ [vars.mine, vars.n] }}"
    """)
    assert {job.kind for job in play.jobs.values()} == {"go"}
    assert len(play.jobs) == 4
    play.drive(pick=max)
    assert play.result == [300, 300]
    play.clean()


def test_a_walk_that_was_cut_can_be_cancelled() -> None:
    play = Play("""
        - parallel:
            - [{each: "range(2000)", id: loop, then: [{set: {n: 1}}]}]
            - [{probe.do: {}, id: b}]
          id: par
          join: any
        - return: 1
    """)
    assert sorted(job.kind for job in play.jobs.values()) == ["do", "go"]
    play.end("par.1.b")
    assert play.result == 1
    play.clean()
