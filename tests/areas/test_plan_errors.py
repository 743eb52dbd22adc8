"""Where a run goes next when branches come together, when it is told to end, and when something fails."""

from __future__ import annotations

import pytest

from areabox.reactions.outcome import Failed
from tests.areas.play import Play

FAIL = Failed("it broke")


# --- branches ---------------------------------------------------------------------------------------------------------


def test_join_all_waits_for_every_branch() -> None:
    play = Play("""
        - parallel:
            - [{probe.do: {}, id: a}]
            - [{probe.do: {}, id: b}, {probe.do: {}, id: c}]
            - []
          id: par
        - probe.do: {}
          id: after
    """)
    play.end("par.0.a")
    assert list(play.jobs) == ["par.1.b"]
    play.end("par.1.b")
    assert list(play.jobs) == ["par.1.c"]
    play.end("par.1.c")
    assert list(play.jobs) == ["after"]
    assert play.run.scopes == {}


def test_join_any_goes_on_with_the_first_that_ends_well_and_cancels_the_others() -> None:
    play = Play("""
        - parallel:
            - [{probe.do: {}, id: a}]
            - [{each: "[1, 2]", id: loop, at_once: 2, then: [{probe.do: {}, id: b}]}]
          id: par
          join: any
        - probe.do: {}
          id: after
    """)
    change = play.end("par.0.a")
    assert change.cancelled == ["par."]
    assert list(play.jobs) == ["after"]
    assert play.run.scopes == {}
    assert play.run.layers == {}
    play.drive().clean()


def test_join_any_bears_with_failures_while_one_is_left() -> None:
    play = Play("""
        - parallel: [[{probe.do: {}, id: a}], [{probe.do: {}, id: b}], [{probe.do: {}, id: c}]]
          id: par
          join: any
        - return: "{{ 'well' }}"
    """)
    play.end("par.0.a", FAIL)
    play.end("par.2.c", FAIL)
    assert list(play.jobs) == ["par.1.b"]
    play.end("par.1.b")
    assert (play.state, play.result) == ("done", "well")
    play.clean()


def test_join_any_fails_with_the_last_error_when_all_have_failed() -> None:
    play = Play("""
        - parallel: [[{probe.do: {}, id: a}], [{probe.do: {}, id: b}]]
          id: par
          join: any
          on_error:
            - return: "{{ error.message }} at {{ error.step }}"
    """)
    play.end("par.1.b", Failed("first"))
    play.end("par.0.a", Failed("second"))
    assert play.result == "second at a"
    assert play.states() == {"par.1.b": "failed", "par.0.a": "failed", "par": "failed", "s1": "done"}


def test_join_any_with_an_empty_branch_is_over_at_once() -> None:
    play = Play("""
        - parallel: [[{probe.do: {}, id: a}], []]
          id: par
          join: any
        - probe.do: {}
          id: after
    """)
    assert list(play.jobs) == ["after"]
    play.drive().clean()


def test_join_any_in_join_any_cancels_all_that_is_inside() -> None:
    play = Play("""
        - parallel:
            - - parallel: [[{probe.do: {}, id: a}], [{probe.do: {}, id: b}]]
                id: inner
                join: any
              - probe.do: {}
                id: then_
            - [{probe.do: {}, id: c}]
          id: outer
          join: any
        - probe.do: {}
          id: after
    """)
    play.end("outer.0.inner.1.b")
    assert sorted(play.jobs) == ["outer.0.then_", "outer.1.c"]
    play.end("outer.1.c")
    assert list(play.jobs) == ["after"]
    play.drive().clean()


# --- return and stop --------------------------------------------------------------------------------------------------


DEEP = """
- parallel:
    - - each: "[1, 2]"
        id: loop
        at_once: 2
        then:
          - probe.do: {}
            id: do
          - LAST
    - [{probe.do: {}, id: other}]
  id: par
"""


def test_return_from_the_depth_ends_the_run_and_all_that_is_under_way() -> None:
    play = Play(DEEP.replace("LAST", 'return: "{{ item }}"'))
    assert sorted(play.jobs) == ["par.0.loop.0.do", "par.0.loop.1.do", "par.1.other"]
    play.end("par.0.loop.1.do")
    assert (play.state, play.result) == ("done", 2)
    assert play.jobs == {}


@pytest.mark.parametrize("state", ["done", "skipped", "failed"])
def test_stop_from_the_depth_ends_the_run_in_its_state(state: str) -> None:
    play = Play(DEEP.replace("LAST", f"{{stop: {state}, because: 'it is {{{{ item }}}}'}}"))
    play.end("par.0.loop.0.do")
    assert (play.state, play.reason) == (state, "it is 1")
    assert play.jobs == {}


def test_what_would_still_come_is_not_begun_after_the_end() -> None:
    play = Play("""
        - parallel:
            - [{return: 1, id: first}]
            - [{probe.do: {}, id: never}, {set: {x: 1}}]
          id: par
    """)
    assert (play.state, play.result) == ("done", 1)
    assert play.ways == [("par.0.first", "done")]
    assert play.changes[0].jobs == []


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_nobody_handles_fails_the_run_and_every_block_on_its_way() -> None:
    play = Play("""
        - each: "[1]"
          id: loop
          then:
            - parallel: [[{probe.do: {}, id: a}], [{probe.do: {}, id: b}]]
              id: par
        - probe.do: {}
          id: never
    """)
    play.end("loop.0.par.0.a", FAIL)
    assert play.state == "failed"
    assert play.reason == "a: it broke"
    assert play.ways == [("loop.0.par.0.a", "failed"), ("loop.0.par", "failed"), ("loop", "failed")]


@pytest.mark.parametrize("block", [
    'if: "true"\n  then: [{probe.do: {}, id: a}]',
    'choose: [{if: "true", then: [{probe.do: {}, id: a}]}]',
    'each: "[1, 2]"\n  then: [{probe.do: {}, id: a}]',
    'each: "[1, 2]"\n  at_once: 2\n  then: [{probe.do: {}, id: a}]',
    'repeat: {until: "true"}\n  then: [{probe.do: {}, id: a}]',
    "parallel: [[{probe.do: {}, id: a}], [{probe.do: {}, id: b}]]",
])  # fmt: skip
@pytest.mark.parametrize("handler", ["continue", '[{set: {seen: "{{ error.message }}"}}]'])
def test_every_block_can_handle_what_fails_inside_it(block: str, handler: str) -> None:
    play = Play(f"""
- {block}
  id: block
  on_error: {handler}
- probe.do: {{}}
  id: after
- return: "{{{{ vars.seen | default('went on') }}}}"
""")
    path = next(path for path in play.jobs if path.endswith(".a") or path == "a")
    play.end(path, FAIL)
    assert list(play.jobs) == ["after"]
    assert play.run.scopes == {}
    play.drive()
    assert play.result == ("went on" if handler == "continue" else "it broke")
    play.clean()


def test_a_handler_inside_handles_first_and_the_loop_goes_on() -> None:
    play = Play("""
        - each: "[1, 2, 3]"
          id: loop
          then:
            - probe.do: {}
              id: do
              on_error: [{probe.do: {a: "{{ error.message }} {{ item }}"}, id: fix}]
            - set: {last: "{{ steps.do | default('broken') }}"}
        - return: "{{ vars.last }}"
    """)
    play.end("loop.0.do")
    play.end("loop.1.do", FAIL)
    assert list(play.jobs) == ["loop.1.fix"]
    assert play.run.scopes["loop.1.do"].kind == "handler"
    play.end("loop.1.fix")
    play.end("loop.2.do", FAIL)
    play.end("loop.2.fix")
    assert (play.state, play.result) == ("done", "broken")
    play.clean()


def test_an_error_inside_a_handler_goes_up_and_not_into_the_same_handler_again() -> None:
    play = Play("""
        - if: "true"
          id: outer
          then:
            - probe.do: {}
              id: a
              on_error:
                - probe.do: {}
                  id: fix
          on_error:
            - return: "{{ error.step }}: {{ error.message }}"
    """)
    play.end("a", Failed("one"))
    play.end("fix", Failed("two"))
    assert (play.state, play.result) == ("done", "fix: two")


def test_an_error_inside_a_handler_of_nobody_else_fails_the_run() -> None:
    play = Play("""
        - probe.do: {}
          id: a
          on_error: [{probe.do: {}, id: fix}]
    """)
    play.end("a", Failed("one"))
    play.end("fix", Failed("two"))
    assert (play.state, play.reason) == ("failed", "fix: two")


def test_handlers_inside_handlers_each_see_their_own_error() -> None:
    play = Play("""
        - probe.do: {}
          id: a
          on_error:
            - probe.do: {}
              id: b
              on_error:
                - set: {inner: "{{ error.message }}"}
            - each: "[1]"
              id: loop
              then: [{set: {outer: "{{ error.message }}{{ item }}"}}]
        - return: "{{ vars.inner }} {{ vars.outer }}"
    """)
    play.end("a", Failed("one"))
    play.end("b", Failed("two"))
    assert (play.state, play.result) == ("done", "two one1")
    play.clean()


def test_loops_and_branches_inside_a_handler_work_as_elsewhere() -> None:
    play = Play("""
        - each: "[1, 2]"
          id: loop
          at_once: 2
          then:
            - probe.do: {}
              id: a
              on_error:
                - parallel: [[{probe.do: {}, id: b}, {set: {x: "{{ error.message }}{{ index }}"}}], [{set: {y: 1}}]]
                  id: par
        - return: "{{ vars }}"
    """)
    play.end("loop.0.a", FAIL)
    play.end("loop.1.a", FAIL)
    play.end("loop.1.par.0.b")
    play.end("loop.0.par.0.b")
    assert play.result == {"x": "it broke1", "y": 1}
    play.clean()


def test_a_failed_branch_takes_the_others_with_it() -> None:
    play = Play("""
        - parallel:
            - [{probe.do: {}, id: a}]
            - [{each: "[1, 2, 3]", id: loop, at_once: 3, then: [{set: {x: 1}}, {probe.do: {}, id: b}]}]
          id: par
          on_error: continue
        - probe.do: {}
          id: after
    """)
    assert play.run.layers != {}
    change = play.end("par.0.a", FAIL)
    assert change.cancelled == ["par."]
    assert list(play.jobs) == ["after"]
    assert play.run.scopes == {}
    assert play.run.layers == {}


def test_a_failed_round_of_many_at_once_takes_the_others_with_it() -> None:
    play = Play("""
        - each: "range(5)"
          id: loop
          at_once: 3
          then: [{probe.do: {}, id: a}]
          on_error: [{probe.do: {}, id: fix}]
    """)
    play.end("loop.1.a", FAIL)
    assert list(play.jobs) == ["fix"]
    play.end("fix")
    assert play.state == "done"
    play.clean()


def test_an_expression_that_cannot_be_evaluated_is_an_error_of_its_step() -> None:
    play = Play("""
        - set: {x: "{{ trigger.nothing }}"}
          id: a
          on_error: [{return: "{{ error.kind }} at {{ error.step }}"}]
    """)
    assert play.result == "expression at a"
    guard = Play("""
        - probe.do: {}
          id: a
          if: "trigger.nothing"
          on_error: continue
        - return: fine
    """)
    assert (guard.states()["a"], guard.result) == ("failed", "fine")


def test_a_condition_that_cannot_be_evaluated_is_an_error_of_its_branch() -> None:
    play = Play("""
        - if: "trigger.nothing"
          id: fork
          on_error: [{return: "{{ error.step }}"}]
          then: []
    """)
    assert play.result == "fork"
