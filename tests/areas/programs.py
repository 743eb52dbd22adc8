"""Random programs for Hypothesis: every construct that the planner decides about, in any nesting."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Steps = list[dict[str, Any]]
FAILS = ["", "", "", "", "permanent", "skip"]
TRUTHS = ["true", "false", "vars.n is defined", "vars.n | default(0) > 1", "trigger.n > 1", "vars.missing.deep"]

names = st.sampled_from(["n", "m"])
numbers = st.sampled_from([1, 2, "{{ vars.n | default(1) + 1 }}", "{{ trigger.n }}"])


@st.composite
def reactions(draw: Any) -> dict[str, Any]:
    """A job that ends well, is skipped or fails."""
    return {"probe.do": {"value": draw(numbers), "fail": draw(st.sampled_from(FAILS))}}


@st.composite
def settings(draw: Any) -> dict[str, Any]:
    return {"set": {draw(names): draw(numbers)}}


def questions() -> st.SearchStrategy[dict[str, Any]]:
    ask = {"ask": {"question": "Well?", "choices": ["Sure"]}, "timeout": "1h"}
    return st.just(ask)


def ends() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from([{"return": "{{ vars }}"}, {"stop": "skipped"}, {"stop": "failed", "because": "so"}])


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    waits = st.sampled_from([{"wait": "10m"}, {"wait": "{{ trigger.n }}h"}, {"wait": "0s"}])
    rare = st.one_of(reactions(), reactions(), ends(), waits)
    return st.one_of(reactions(), reactions(), settings(), waits, rare)


def blocks(inner: st.SearchStrategy[Steps]) -> st.SearchStrategy[dict[str, Any]]:
    """A step that holds others."""
    truth = st.sampled_from(TRUTHS)
    return st.one_of(
        st.builds(lambda test, then, other: {"if": test, "then": then, "else": other}, truth, inner, inner),
        st.builds(
            lambda tests, then, other: {"choose": [{"if": test, "then": then} for test in tests], "else": other},
            st.lists(truth, min_size=1, max_size=2), inner, inner,
        ),
        st.builds(
            lambda items, at_once, then: {"each": items, "at_once": at_once, "then": then},
            st.sampled_from(["[]", "[1, 2, 3]", "range(trigger.n)", "vars.n"]), st.integers(1, 3), inner,
        ),
        st.builds(
            lambda kind, test, at_most, then: {"repeat": {kind: test, "at_most": at_most}, "then": then},
            st.sampled_from(["until", "while"]), st.sampled_from([*TRUTHS, "index >= 1", "index < 1"]),
            st.integers(1, 3), inner,
        ),
        st.builds(
            lambda branches, join: {"parallel": branches, "join": join},
            st.lists(inner, min_size=1, max_size=3), st.sampled_from(["all", "any"]),
        ),
        st.builds(lambda ask, other: {**ask, **other}, questions(), st.one_of(st.just({}), st.builds(lambda s: {"else": s}, inner))),
    )  # fmt: skip


@st.composite
def dressed(draw: Any, step: dict[str, Any], inner: st.SearchStrategy[Steps]) -> dict[str, Any]:
    """A step, now and then with a guard, switched off, or with something to do on an error."""
    step = dict(step)
    way = draw(st.integers(0, 9))
    if way == 0 and not {"if"} & set(step):
        step["if"] = draw(st.sampled_from(TRUTHS))
    elif way == 1:
        step["disabled"] = True
    elif way in (2, 3):
        step["on_error"] = "continue"
    elif way in (4, 5):
        step["on_error"] = draw(inner)
    return step


def lists(depth: int) -> st.SearchStrategy[Steps]:
    """Lists of steps that nest so deep."""
    if depth == 0:
        return st.lists(leaves(), max_size=2)
    inner = lists(depth - 1)
    step = st.one_of(leaves(), leaves(), blocks(inner)).flatmap(lambda made: dressed(made, inner))
    return st.lists(step, max_size=3)


programs = lists(3)
