"""Expressions and templates: Jinja's syntax over JSON values."""

from __future__ import annotations

import contextlib
from types import MappingProxyType
from typing import Any

import jinja2
import pytest

from areabox.areas.moments import Moment
from areabox.areas.template import EvaluationError, TemplateError, expression, value
from areabox.errors import InputError

NAMES: dict[str, Any] = {
    "trigger": {
        "title": "New Kernel",
        "n": 5,
        "f": 1.5,
        "none": None,
        "yes": True,
        "items": [{"a": 1, "b": "x"}, {"a": 2, "b": "Y"}],
        "rows": [{"a": 1, "b": "x"}, {"a": 2, "b": "Y"}],
        "tags": ["b", "A", "c"],
        "o": {"k": "v", "x": {"y": 1}},
        "odd key": 1,
        "empty": [],
    },
    "steps": MappingProxyType({"push": {"id": 7}}),
    "vars": {},
    "run": {"id": "01", "url": "", "started": ""},
    "now": Moment(1_767_225_600_000),
}


def evaluate(source: str, **names: Any) -> Any:
    return expression(source).evaluate(NAMES | names)


def render(source: Any, **names: Any) -> Any:
    return value(source).render(NAMES | names)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("trigger.n > 3 and trigger.n < 10", True),
        ("1 < trigger.n <= 5", True),
        ("'kernel' in trigger.title | lower", True),
        ("trigger.n in [1, 5]", True),
        ("'k' in trigger.o", True),
        ("'z' not in trigger.o", True),
        ("trigger.items[0].a + trigger['items'][1]['a']", 3),
        ("trigger.items[-1].b", "Y"),
        ("trigger['odd key']", 1),
        ("trigger.title[0:3]", "New"),
        ("trigger.title[::-1][:2]", "le"),
        ("trigger.tags[1:]", ["A", "c"]),
        ("'a' ~ 1 ~ none", "a1None"),
        ("7 // 2 + 7 % 4 - 2 ** 3 * -1", 14),
        ("7 / 2", 3.5),
        ("'ab' * 2 + 'c'", "ababc"),
        ("[1] + [2]", [1, 2]),
        ("(1, 2)", [1, 2]),
        ("{'a': (1, now)}", {"a": [1, "2026-01-01T00:00:00.000Z"]}),
        ("{1: 2}", {"1": 2}),
        ("not trigger.none", True),
        ("trigger.none or 'x'", "x"),
        ("trigger.title if trigger.yes else 'no'", "New Kernel"),
        ("steps.push.id", 7),
        ("steps", {"push": {"id": 7}}),
        ("'push' in steps", True),
        ("trigger.title.upper()", "NEW KERNEL"),
        ("trigger.title.split(' ')[1].startswith('K')", True),
        ("trigger.o.items()", [["k", "v"], ["x", {"y": 1}]]),
        ("trigger.o.get('nope', 3)", 3),
        ("trigger.o.keys()", ["k", "x"]),
        ("range(3)", [0, 1, 2]),
        ("range(1, 6, 2)", [1, 3, 5]),
        ("dict(a=1)", {"a": 1}),
        ("trigger.n is odd and trigger.n is not none", True),
        ("trigger.n is divisibleby 5", True),
        ("trigger.o is mapping and trigger.tags is sequence", True),
        ("trigger.n is number and trigger.title is string", True),
        ("trigger.yes is true and trigger.yes is boolean", True),
        ("trigger.n is in [5]", True),
        ("trigger.n is gt 3", True),
        ("trigger.title is match('New') and trigger.title is search('Ker+')", True),
        ("true and True", True),
        ("none", None),
    ],
)
def test_an_expression_has_the_value_that_jinja_users_expect(source: str, result: Any) -> None:
    found = evaluate(source)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    "source",
    [
        "a {{ none }} b {{ true }} {{ false }} {{ 1.0 }} {{ trigger.f }} {{ 10 ** 3 }}",
        "{{ trigger.rows }}{{ trigger.o }} {{ (1, 2) }} {{ (1,) }} {{ [] }} {{ {} }}",
        "{{ ['a\"b', \"it's\", 'ü', '\\n'] }}!",
        "{% for i in trigger.tags %}{{ loop.index }}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{% for i in trigger.tags %}{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.length }}{{ loop.first }}{% endfor %}",
        "{% for i in trigger.tags %}{{ loop.cycle('x', 'y') }}{{ loop.previtem | default('-') }}{% endfor %}",
        "{% for k, v in trigger.o.items() %}{{ k }}={{ v }};{% endfor %}",
        "{% for i in [] %}x{% else %}none{% endfor %}",
        "{% for i in [1, 2, 3, 4] if i is even %}{{ i }}{{ loop.length }}{% endfor %}",
        "{% for i in [1, 2] %}{% for j in [3, 4] %}{{ i }}{{ j }}{{ loop.index }} {% endfor %}{{ loop.index }}{% endfor %}",
        "{% if trigger.n > 10 %}a{% elif trigger.n > 3 %}b{% else %}c{% endif %} d",
        "{% set x = 3 %}{% set y, z = (1, 2) %}{{ x + y + z }}",
        "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
        "{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
        "{% set ns = namespace(t=0) %}{% for i in range(5) %}{% set ns.t = ns.t + i %}{% endfor %}{{ ns.t }}",
        "{% set x %}a{{ 1 }}{% endset %}[{{ x }}]",
        "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}.",
        "{# a comment #}x{% raw %}{{ raw }}{% endraw %}",
        "  {%- if true -%}  x  {%- endif -%}  y",
        "{{ 'x' if trigger.n == 5 }}{{ 'y' if trigger.n == 6 }}!",
        "{{ trigger.title | replace('e', 'E') | upper | length }}.",
        "{{ trigger.rows | map(attribute='b') | join(', ') }}.",
        "{{ trigger.rows | selectattr('a', 'gt', 1) | map(attribute='a') | list }}.",
        "{{ trigger.rows | rejectattr('a', 'eq', 1) | list | length }}.",
        "{{ trigger.tags | sort | join }} {{ trigger.tags | sort(case_sensitive=true, reverse=true) | join }}",
        "{{ trigger.rows | sort(attribute='b', reverse=true) | map(attribute='a') | list }}!",
        "{{ trigger.rows | groupby('a') | map('first') | list }}!",
        "{{ trigger.rows | sum(attribute='a') }} {{ [1.5, 2] | sum }} {{ [] | sum(start=3) }}",
        "{{ [3, 1, 2] | min }} {{ [3, 1, 2] | max }} {{ trigger.rows | max(attribute='a') }}",
        "{{ [1, 2, 3, 4, 5] | batch(2, 0) | list }} {{ [1, 2, 3, 4, 5] | slice(3, 9) | list }}",
        "{{ ['a', 'A', 'b'] | unique | list }} {{ [1, 1, 2] | unique | list }}",
        "{{ trigger.o | dictsort | list }} {{ {'b': 1, 'a': 2} | dictsort(by='value') }}",
        "{{ {'b': 1} | items | list }} {{ 'abc' | list }} {{ 'abc' | reverse }} {{ [1, 2] | reverse | list }}",
        "{{ 42.55 | round }} {{ 42.55 | round(1, 'floor') }} {{ 42.51 | round(1, 'ceil') }} {{ 42 | round }} {{ -3 | abs }}",
        "{{ '12' | int + 1 }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ '12.7' | int }} {{ 'ff' | int(0, 16) }} {{ '1.5' | float }}",
        "{{ 'a b c' | wordcount }} {{ 'hello world' | title }} {{ 'hELLO' | capitalize }} {{ ' x ' | trim }}|",
        "{{ 'xxaxx' | trim('x') }} {{ 'a' | center(5) }}|",
        "{{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'foo bar baz qux' | truncate(11, false, '…', 0) }}",
        "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(1, false, true) }}",
        "{{ 'the quick brown fox' | wordwrap(9) }}",
        "{{ '%s is %d and %.2f%%' | format('a', 5, 1.234) }} {{ '%(a)s' | format(a=1) }}",
        "{{ 1000 | filesizeformat }} {{ 1024 | filesizeformat(true) }}",
        "{{ 'a b&c/d' | urlencode }} {{ {'a': 'b c', 'd': 1} | urlencode }}",
        "{{ '<a href=\"x\">&</a>' | escape }} {{ '<p>a &amp; b</p> c' | striptags }}",
        "{{ [1, 2] | first }}{{ [1, 2] | last }}{{ 'abc' | first }}{{ [1, 2] | count }}",
        "{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2, 3] | reject('odd') | list }}{{ [0, 1] | select | list }}",
        "{{ ['a', 'b'] | map('upper') | join('-') }} {{ ['1', '2'] | map('int') | sum }}",
        "{{ x | default('d') }}{{ trigger.q | default('e') }}{{ '' | default('f', true) }}{{ none | d('g') }}",
        "{{ x is defined }}{{ trigger.title is defined }}{{ trigger.q is undefined }}",
        "{{ 'b' ~ (1 + 2) }} {{ 2 * 3 ~ 'x' }} {{ 'a' 'b' }} {{ not false == true }}",
        "{{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' != 'b' }} {{ [1] == [1] }} {{ {'a': 1} == {'a': 1} }} {{ 'a' < 'b' }}",
        "{{ 'abc'.replace('b', 'x') }} {{ ' a '.strip() }} {{ 'a,b'.split(',') }} {{ '-'.join(['a', 'b']) }} {{ 'a'.isdigit() }}",
        "{{ 'Ab'.swapcase() }} {{ 'ab'.endswith('b') }} {{ 'abab'.count('a') }} {{ 'ab'.find('b') }} {{ '5'.zfill(3) }}",
        "{{ trigger.o.get('k') }} {{ trigger.o.get('q') }} {{ {'a': 1}.values() | list }}",
        "{{ 1 if false else 2 if false else 3 }} {{ (1 or 0) and 'x' }}",
        "{{ '{{' }} {{ \"}}\" }}",
        "line\n{{ 1 }}\n  {% if true %}\n  x\n  {% endif %}\nend\n",
    ],
)
def test_a_text_prints_as_jinja_prints_it(source: str) -> None:
    names = {key: part for key, part in NAMES.items() if key != "steps"}
    expected = jinja2.Environment(keep_trailing_newline=True).from_string(source).render(names)
    assert value(source).render(names) == expected


def test_a_text_that_is_exactly_one_expression_keeps_its_type() -> None:
    assert render("{{ trigger.n }}") == 5
    assert render("{{- trigger.items -}}") == NAMES["trigger"]["items"]
    assert render("{{ none }}") is None
    assert render("{{ trigger.n }} ") == "5 "
    assert render(" {{ trigger.n }}") == " 5"
    assert render("{{ trigger.n }}{{ trigger.n }}") == "55"
    assert render("{{ 'a' }}\n") == "a\n"


def test_templates_are_filled_in_at_any_depth() -> None:
    source = {"a": [1, {"b": "{{ trigger.n }}"}], "c": "x{{ trigger.n }}", "d": "plain"}
    assert render(source) == {"a": [1, {"b": 5}], "c": "x5", "d": "plain"}
    assert source["a"] == [1, {"b": "{{ trigger.n }}"}]


def test_a_value_knows_whether_it_is_literal_and_what_it_uses() -> None:
    literal = value({"a": ["b", 1, None]})
    assert literal.literal
    assert literal.names == frozenset()
    used = value({"a": "{{ steps.push.id }} {{ steps['other'].x | default(1) }}", "b": "{{ item.x }}"})
    assert not used.literal
    assert used.names == {"steps", "item"}
    assert used.steps == {"push", "other"}
    assert expression("x | default(trigger.y)").names == {"trigger"}
    assert expression("x | default(trigger.y)").asked == {"x"}
    assert value(
        "{% set a = 1 %}{% for b in trigger.items %}{{ a }}{{ b }}{{ loop.index }}{{ c }}{% endfor %}"
    ).names == {
        "trigger",
        "c",
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("trigger.titel", "trigger.titel is undefined; did you mean trigger.title?"),
        ("trigger.items[0].q", "trigger.items[0].q is undefined"),
        ("trigger.items[7]", "trigger.items[7] is undefined"),
        ("trigger.nope.deeper", "trigger.nope is undefined"),
        ("trigger.none.x", "trigger.none.x is undefined because what it is asked of is null"),
        ("triger.title", "triger is undefined; did you mean trigger?"),
        ("not trigger.q", "trigger.q is undefined"),
        ("trigger.q == 1", "trigger.q is undefined"),
        ("trigger.q or 1", "trigger.q is undefined"),
        ("[trigger.q]", "trigger.q is undefined"),
        ("trigger.q | upper", "trigger.q is undefined"),
        ("trigger.empty | first", "first of an empty list is undefined"),
        ("1 + 'a'", "+ between a number and text has no meaning; use ~ to join texts"),
        ("trigger.o + 1", "+ between an object and a number has no meaning"),
        ("1 < 'a'", "a number and text have no order"),
        ("none < 1", "null and a number have no order"),
        ("1 / 0", "/: division by zero"),
        ("1 in 'abc'", "is never part of a text"),
        ("5 | join", "filter join: a number where a list belongs"),
        ("trigger.n.upper()", "upper(): it is a method of text, not of a number"),
        ("'{' | from_json", "filter from_json"),
        ("'%q' | format(1) | int | date('%q')", "%q is not a date directive"),
        ("'x' | to_time", "'x' is not a time"),
        ("'%s' % 1", "use the format filter"),
        ("10 ** 1000", "the number is too large"),
        ("1e308 * 10", "the number is too large"),
    ],
)
def test_what_cannot_be_evaluated_says_why(source: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(source)
    assert message in str(caught.value)


def test_an_error_inside_a_value_says_where() -> None:
    with pytest.raises(EvaluationError, match=r"^json\.list\.1: trigger\.titel is undefined"):
        render({"json": {"list": ["a", "{{ trigger.titel }}"]}})


@pytest.mark.parametrize(
    "source",
    [
        "trigger.q is defined",
        "trigger.q.r.s is defined",
        "trigger.items[9].a is defined",
        "q is defined",
        "q.r is defined",
        "trigger.title.nope is defined",
        "trigger.none.x is defined",
        "(trigger.empty | first) is defined",
        "('x' if false) is defined",
        "steps.never.id is defined",
        "trigger[trigger.title] is defined",
    ],
)
def test_undefined_can_be_asked_for_at_any_depth(source: str) -> None:
    assert evaluate(source) is False
    assert evaluate(source.replace(" is defined", " | default('x')")) == "x"


def test_a_default_reaches_through_a_filter() -> None:
    assert evaluate("trigger.q | lower | default('x')") == "x"
    assert evaluate("(trigger.q.r | int) | d(3)") == 3


def test_a_default_is_looked_at_only_where_it_is_needed() -> None:
    assert evaluate("trigger.title | default(trigger.q)") == "New Kernel"
    assert evaluate("trigger.q | default(trigger.title)") == "New Kernel"
    assert evaluate("trigger.q | default(trigger.r) | default('x')") == "x"
    assert evaluate("trigger.none | default(default_value='x', boolean=true)") == "x"
    with pytest.raises(EvaluationError, match=r"trigger\.r is undefined"):
        evaluate("trigger.q | default(trigger.r)")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("trigger.title | uper", "there is no filter uper; did you mean upper?"),
        ("trigger.n is evn", "there is no test evn; did you mean even?"),
        ("trigger.items | map('uper')", "filter map: there is no filter uper; did you mean upper?"),
        ("trigger.items | select('od')", "filter select: there is no test od; did you mean odd?"),
        ("trigger.title.uper()", "there is no method uper(); did you mean upper?"),
        ("rnge(3)", "there is no function rnge; did you mean range?"),
        ("upper(trigger.title)", "there is no function upper; write x | upper"),
        ("trigger.title | round(1, 2, 3)", "filter round: too many positional arguments"),
        ("trigger.title | default(valu=1)", "filter default"),
        ("trigger.title |", "it ends where name belongs"),
        ("trigger.", "expected name or number"),
        ("a b", "the expression ends before"),
        ("'abc", "a quote is not closed"),
        ("", "it ends too early"),
        ("{{ trigger.n }}", "this is an expression already: write trigger.n without {{ }}"),
        ("trigger.title()()", "only functions and methods can be called"),
        ("f(*trigger.items)", "there is no function f"),
        ("range(*trigger.items)", "* and ** are not supported"),
        ("1 | attr('x')", "there is no filter attr"),
        ("9" * 5000, "limit"),
        ("(" * 500 + "1" + ")" * 500, "nested too deeply"),
        ("x" * 10_000, "at most 8,192"),
    ],
)
def test_a_bad_expression_is_refused_when_it_is_compiled(source: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        expression(source)
    assert message in str(caught.value)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% macro x() %}{% endmacro %}", "{% macro %} is not supported"),
        ("{% include 'x' %}", "is not supported"),
        ("{% import 'x' as y %}", "is not supported"),
        ("{% extends 'x' %}", "is not supported"),
        ("{% block a %}{% endblock %}", "is not supported"),
        ("{% for i in x recursive %}{% endfor %}", "recursive loops are not supported"),
        ("{% if x %}", "{% if %} is not closed: {% endif %} is missing"),
        ("{% iff x %}", "there is no {% iff %}"),
        ("a\nb\n{{ x | uper }}", "line 3: there is no filter uper"),
        ("a\nb {{ x y }}", "line 2: }} belongs before 'y'"),
        ("{% set a.b = 1 %}", "is not a namespace"),
        ("{% set a['b'] = 1 %}", "expected"),
        ("{{ x", "it ends where end of print statement belongs"),
    ],
)
def test_a_bad_template_is_refused_when_it_is_compiled(source: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        value(source)
    assert message in str(caught.value)


def test_all_bad_templates_of_a_value_are_found_at_once() -> None:
    with pytest.raises(TemplateError) as caught:
        value({"a": "{{ x | uper }}", "b/c": ["ok {{ x }}", "{{ ( }}"]})
    assert [problem.pointer for problem in caught.value.problems] == ["/a", "/b~1c/1"]


def test_a_lazy_mapping_is_asked_only_for_what_is_used() -> None:
    asked = []

    class Lazy(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            asked.append(key)
            return super().__getitem__(key)

    lazy = MappingProxyType(Lazy(push={"id": 1}, other={"id": 2}))
    assert evaluate("steps.push.id", steps=lazy) == 1
    assert asked == ["push"]


class Trap:
    """Something that tells on whoever looks at it."""

    touched = False

    def __getattribute__(self, name: str) -> Any:
        if name != "__class__":
            type(self).touched = True
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    "source",
    ["trap.x", "trap.__class__", "trap['x']", "trap.x is defined", "trap.upper()", "trap | length", "trap == 1"],
)
def test_no_attribute_of_a_python_object_is_read(source: str) -> None:
    Trap.touched = False
    with contextlib.suppress(EvaluationError):
        evaluate(source, trap=Trap())
    assert not Trap.touched


def test_equal_sources_are_equal() -> None:
    assert expression("a") == expression("a") != expression("b")
    assert value({"a": 1}) == value({"a": 1}) != value("{{ a }}")
    assert len({expression("a"), expression("a")}) == 1
