"""G13: no regular expression holds the house up, however it is written and however long the text is."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import pkgutil
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import areabox
from areabox.areas.template import EvaluationError, TemplateError, value
from areabox.gateway.pages.sentences import readable
from areabox.sdk import duration_ms
from tests.security.figures import amount, cpu_ms, figure
from tests.support import any_machine

PAIRS = amount(40, 500)
TEXT_CHARS = 1_000_000
LIMIT_MS = any_machine(100.0)

_PARTS = ["a", "ab", "[a-z]", r"\w", r"\d", ".", "(a|aa)", "(a|b|ab)", "(a?)", r"(\w+\s?)", "[^!]", "(?:a{1,30})", "(aa?)", r"\X", "(?i:a)"]
_TIMES = ["+", "*", "{1,50}", "{2,}", "+?", "*?", "{0,200}"]
_SHAPES = [
    "({0}{2})+$", "({0}{2})*{1}$", "^({0}|{1})+$", "(({0}{2}){3})+!!", "({0}{2}{1}{3})+y", "{0}{2}{1}{3}{0}{2}!$", "(?=({0}{2}))\\1{3}$",
    "({0}{2})\\1+$", "(?<!({0}{2}))x", "({0}{2}|{1}{3})+\\d$", "(?s)(.{2}){3}\\1$", "(?:{0}{2}){{e<=3}}!", "(?r)({0}{2})+$", "({0}(?1)?)*$",
    "((({0}{2})+)+)+$", "(?b)({0}{2}x){{i<=2}}", "({0}{2})(?:\\1)*?$", "(?:(?:{0}{2}){3})+?z", "{0}{2}" * 12 + "!", "(?|({0}{2})|({1}{3}))+$",
]  # fmt: skip
_USES = [
    "{{ trigger.text | regex_find(trigger.pattern) }}",
    "{{ trigger.text | regex_find(trigger.pattern, all=true) | length }}",
    "{{ trigger.text | regex_replace(trigger.pattern, 'xx') | length }}",
    "{{ trigger.text | regex_replace(trigger.pattern, '\\\\1\\\\1') | length }}",
    "{{ trigger.text is match(trigger.pattern) }}",
    "{{ [trigger.text, trigger.text] | select('search', trigger.pattern) | list | length }}",
    "{% for i in range(50) %}{{ trigger.text is search(trigger.pattern) }}{% endfor %}",
]
_UNITS = ["a", "ab", "a ", "aA", "1", "aaaaaaaaab", "word ", "é", "a\n", "aa1", "\u0300a"]


def pair(number: int) -> tuple[str, str, str]:
    """Return a use, a pattern and a text of a million characters on which it nearly matches."""
    random = Random(number)
    pattern = random.choice(_SHAPES).format(
        random.choice(_PARTS), random.choice(_PARTS), random.choice(_TIMES), random.choice(_TIMES)
    )
    unit = random.choice(_UNITS)
    text = (unit * (TEXT_CHARS // len(unit) + 1))[: TEXT_CHARS - 1] + random.choice("!z\n ")
    return random.choice(_USES), pattern, text


async def test_hostile_patterns_on_long_texts_do_not_hold_the_loop_up() -> None:
    """The loop's other work is a task that notes how long it was kept waiting."""
    longest = 0.0
    stop = False

    async def other_work() -> None:
        nonlocal longest
        before = cpu_ms()
        while not stop:
            await asyncio.sleep(0)
            now = cpu_ms()
            longest, before = max(longest, now - before), now

    worst, slow, waited = 0.0, [], 0.0
    for number in range(PAIRS):
        use, pattern, text = pair(number)
        best = best_wait = LIMIT_MS + 1
        for _ in range(3):
            stop, longest = False, 0.0
            beside = asyncio.create_task(other_work())
            await asyncio.sleep(0)
            start = cpu_ms()
            with contextlib.suppress(TemplateError, EvaluationError):
                value(use).render({"trigger": {"text": text, "pattern": pattern}})
            best = min(best, cpu_ms() - start)
            await asyncio.sleep(0)
            stop = True
            await beside
            best_wait = min(best_wait, longest)
            if max(best, best_wait) <= LIMIT_MS:
                break
        worst, waited = max(worst, best), max(waited, best_wait)
        if max(best, best_wait) > LIMIT_MS:
            slow.append((round(best), use, pattern))
    figure("G13", f"{PAIRS} patterns × {TEXT_CHARS:,} characters: worst {worst:.0f} ms, the loop waited {waited:.0f} ms")
    assert slow == []


# --- the house's own patterns ----------------------------------------------------------------------------------------


BOUNDED = {  # they search, but within bounds: only up to the last end (below), or where a whole match came before
    "areabox.areas.template._CODE", "areabox.gateway.pages.sentences._TEMPLATE", "areabox.sdk.durations._PART",
}  # fmt: skip


def own_patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for found in pkgutil.walk_packages(areabox.__path__, "areabox."):
        if found.name != "areabox.__main__":
            module = importlib.import_module(found.name)
            for name, held in vars(module).items():
                if isinstance(held, re.Pattern) and isinstance(held.pattern, str):
                    yield f"{found.name}.{name}", held


_ALPHABETS = ["a", " ", "\n", "-", ".", "0", "{{", "*", "a-", "a.", "0s", "$[", "://", "[0]", "<a ", "&#", "`", " - at `", "a@", "%41", "\\", "1h", "é", "/", "h://a:", "0:"]


@pytest.mark.parametrize(("name", "pattern"), list(own_patterns()), ids=lambda found: found if isinstance(found, str) else "")
def test_the_houses_own_patterns_are_linear(name: str, pattern: re.Pattern[str]) -> None:
    """Each is used as its module uses it: one that is only held against a whole text is not searched with."""
    module, _, own = name.rpartition(".")
    source = Path(importlib.import_module(module).__file__ or "").read_text(encoding="utf-8")
    searched = re.search(rf"\b{own}\.(search|findall|finditer|sub|split)\(", source) and name not in BOUNDED

    def give_up(*_: object) -> None:
        raise TimeoutError(f"{name} does not end on {unit!r}")

    before = signal.signal(signal.SIGALRM, give_up)
    try:
        for unit in _ALPHABETS if amount(0, 1) else _ALPHABETS[::3]:
            for head in ("", "a", "h://"):
                text = head + unit * (100_000 // len(unit)) + "\x00"
                signal.setitimer(signal.ITIMER_REAL, 20)
                start = time.thread_time()
                pattern.match(text)
                pattern.fullmatch(text)
                if searched:
                    pattern.search(text)
                assert time.thread_time() - start < any_machine(0.3), f"{name} on {head!r} + {unit!r} × {len(text) // len(unit):,}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_BRACES = ["{{", "{%", "{#", "{% raw %}", "{{'", "{{(", "{%-", "-%}", "\n{{", "{{ a ", "{% if a %}", "{{-\n", "{{ '\\", "{% raw %}{{ ", "#}{#",
           "{{ a|", "{{ 1.", "}}", "{ ", "{{\\u{", '{{ "', "{% raw -%} ", "{% endraw %}"]  # fmt: skip


@pytest.mark.parametrize("unit", _BRACES)
def test_a_template_that_does_not_end_is_refused_quickly(unit: str) -> None:
    """65,536 characters of `{{` once took 20 s of a search that began anew at every brace."""
    for head, length in (("", 65_536), ("{{ a }}", 65_000), ("{{ a ", 16_000)):
        source = head + unit * (length // len(unit))
        start = cpu_ms()
        with contextlib.suppress(TemplateError):
            value(source)
        readable(source)
        assert cpu_ms() - start <= LIMIT_MS, source[:20]


def test_templates_are_shown_without_their_braces() -> None:
    assert readable("{{ a }} and {{\n b }}, {{ not") == "‹a› and ‹b›, {{ not"
    assert readable("plain") == "plain"


@pytest.mark.parametrize("text", ["9" * 400 + "s", "1" * 100_000, "P" + "9" * 400 + "D", "1h" * 50_000 + "x", "9" * 16 + "w"])
def test_a_duration_without_end_is_none(text: str) -> None:
    start = cpu_ms()
    with pytest.raises(ValueError):
        duration_ms(text)
    assert cpu_ms() - start <= LIMIT_MS
