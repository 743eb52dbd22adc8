"""Which filters turn text into data and back: JSON, times, hashes, patterns, HTML, URLs, base 64."""

# ruff: noqa: FBT002 -- the arguments, and their order, are those of Jinja's filters
from __future__ import annotations

import base64
import hashlib
import hmac as hmac_module
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from jinja2 import filters as jinja

from areabox.areas import durations, html
from areabox.areas.budget import Budget, EvaluationError
from areabox.areas.filters_text import read
from areabox.areas.moments import Moment, moment
from areabox.areas.values import describe, number, plain, text, whole

_LONGEST_JSON = 262_144
_LONGEST_PATTERN = 1_000
_LONGEST_REPEATED = 50_000  # a repeated group costs 160 bytes for every character that it takes
_REPEATED = re.compile(r"\)[*+?{]|\\X")
_RECURSIVE = re.compile(r"\(\?(R|[+-]?\d|&|P>|\(DEFINE)")
_LONGEST_MARKDOWN, _MOST_BRACKETS = 12_000, 1_500  # up to 7 µs for each character, and 15 for each [
_HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b")


def to_json(value: Any, budget: Budget, indent: Any = None) -> str:
    """Return the value as JSON text."""
    before = budget.steps
    ready = plain(value, budget, budget.room)
    if indent is None:
        made = json.dumps(ready, ensure_ascii=False, separators=(",", ":"))
    else:
        budget.take(2 * (before - budget.steps))  # this way of writing is slower
        made = json.dumps(ready, ensure_ascii=False, indent=whole(indent, 0, 8))
    budget.take(len(made) >> 5)
    return budget.made(made)


def from_json(value: Any, budget: Budget) -> Any:
    """Return the value that a JSON text means."""
    if not isinstance(value, str):
        raise EvaluationError(f"{describe(value)} where a text belongs")
    if len(value) > _LONGEST_JSON:
        raise EvaluationError(f"the text is longer than {_LONGEST_JSON:,} characters")
    budget.room(2 * len(value))
    budget.take(len(value) >> 4)
    try:
        return json.loads(value, parse_constant=_no_constant)
    except RecursionError:
        raise EvaluationError("the value is nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _zone(budget: Budget, name: Any) -> tzinfo:
    if name is not None:
        return durations.zone(text(name, budget))
    now = budget.names.get("now")
    return now.zone if isinstance(now, Moment) else UTC


def to_time(value: Any, budget: Budget, format: Any = None, zone: Any = None) -> Moment:
    """Return the moment that a text means: RFC 3339, or in strptime's format; numbers are seconds since 1970."""
    local = _zone(budget, zone)
    if format is None:
        found = moment(value, local)
        return found if zone is None else Moment(found.ms, local)
    try:
        when = datetime.strptime(read(value, budget)[:200], text(format, budget)[:100])  # noqa: DTZ007 -- placed below
    except re.error:
        raise EvaluationError("the format names a part of the time twice") from None
    return Moment(durations.parse_time(when.isoformat(), local), local)


def date(value: Any, budget: Budget, format: Any = "%Y-%m-%d %H:%M", zone: Any = None) -> str:
    """Return a time in words of strftime, in a zone or in that of `now`."""
    local = _zone(budget, zone)
    found = moment(value, local)
    keeps = zone is None and isinstance(value, Moment)
    return budget.made((found if keeps else Moment(found.ms, local)).format(text(format, budget)))


def duration(value: Any, _budget: Budget) -> Any:
    """Return the seconds that `1h30m` means, or for a number of seconds the text."""
    if isinstance(value, str):
        ms = durations.parse_duration(value)
        return ms // 1000 if ms % 1000 == 0 else ms / 1000
    return durations.format_duration(round(number(value) * 1000))


def _bytes(value: Any, budget: Budget) -> bytes:
    found = read(value, budget)
    budget.take(len(found) >> 7)
    return found.encode("utf-8", "surrogatepass")


def _algorithm(name: Any) -> str:
    if name not in _HASHES:
        raise EvaluationError(f"there is no hash {str(name)[:40]}; there are {', '.join(_HASHES)}")
    return str(name)


def _encoded(digest: bytes, encoding: Any) -> str:
    if encoding == "hex":
        return digest.hex()
    if encoding == "base64":
        return base64.b64encode(digest).decode()
    raise EvaluationError("the encoding is hex or base64")


def digest(value: Any, budget: Budget, algorithm: Any = "sha256", encoding: Any = "hex") -> str:
    """Return a hash of the text: sha256 unless another is named; hex or base64."""
    name = _algorithm(algorithm)
    return _encoded(hashlib.new(name, _bytes(value, budget), usedforsecurity=False).digest(), encoding)


def hmac(value: Any, budget: Budget, key: Any, algorithm: Any = "sha256", encoding: Any = "hex") -> str:
    """Return the text's HMAC under a key: sha256 unless another is named; hex or base64."""
    made = hmac_module.new(_bytes(key, budget), _bytes(value, budget), _algorithm(algorithm))
    return _encoded(made.digest(), encoding)


def b64encode(value: Any, budget: Budget, urlsafe: Any = False) -> str:
    """Return the text's UTF-8 bytes in base 64."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return budget.made(encode(_bytes(value, budget)).decode())


def b64decode(value: Any, budget: Budget) -> str:
    """Return the UTF-8 text whose base 64 it is; both alphabets, with or without padding."""
    found = read(value, budget).strip().replace("-", "+").replace("_", "/")
    padded = found + "=" * (-len(found) % 4)
    return budget.made(base64.b64decode(padded, validate=True).decode())


def url_encode(value: Any, budget: Budget) -> str:
    """Return a text for use in a URL, or an object as its query."""
    if isinstance(value, Mapping):
        value = {key: read(value[key], budget) for key in value}
    elif isinstance(value, (list, tuple)):
        value = [tuple(read(part, budget) for part in pair) for pair in value if len(pair) == 2]
    else:
        value = read(value, budget)
        budget.take(len(value) >> 4)
    return budget.made(jinja.do_urlencode(value))


def html_text(value: Any, budget: Budget) -> str:
    """Return what a piece of HTML says, as lines of text."""
    found = read(value, budget)
    budget.take((len(found) >> 3) + 16 * found.count("&"))
    return budget.made(html.to_text(found))


def markdown(value: Any, budget: Budget) -> str:
    """Return Markdown as HTML; HTML inside it is shown, not used."""
    from markdown_it import MarkdownIt

    found = read(value, budget)
    if len(found) > _LONGEST_MARKDOWN:
        raise EvaluationError(f"the text is longer than {_LONGEST_MARKDOWN:,} characters; truncate it")
    if found.count("[") > _MOST_BRACKETS:
        raise EvaluationError(f"the text has more than {_MOST_BRACKETS:,} brackets")
    budget.take(6 * len(found))
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    return budget.made(parser.render(found))


def _timed(pattern: Any, length: int, budget: Budget, use: Callable[[Any, float], Any]) -> Any:
    """Compile a pattern and use it within what is left of the evaluation's time for patterns."""
    import regex

    source = text(pattern, budget)
    if len(source) > _LONGEST_PATTERN:
        raise EvaluationError(f"a pattern has at most {_LONGEST_PATTERN:,} characters")
    if _RECURSIVE.search(source):
        raise EvaluationError("a pattern that calls itself is not supported")
    if length > _LONGEST_REPEATED and _REPEATED.search(source):
        raise EvaluationError(f"a pattern that repeats a group reads at most {_LONGEST_REPEATED:,} characters")
    budget.take(50)
    if budget.regex_s <= 0:
        raise EvaluationError("the regular expressions take too long together")
    started = time.perf_counter()
    try:
        compiled = regex.compile(source)
        left_s = budget.regex_s - (time.perf_counter() - started)
        return use(compiled, max(left_s, 0.001))
    except TimeoutError:
        raise EvaluationError("the regular expression takes too long") from None
    except (regex.error, RecursionError) as error:
        raise EvaluationError(f"not a regular expression: {error}") from None
    finally:
        budget.regex_s -= time.perf_counter() - started


def regex_find(value: Any, budget: Budget, pattern: Any, group: Any = None, all: Any = False) -> Any:
    """Return what a pattern matches first, or null; its group if it has one, a list of its groups if it has several.

    `group` picks one by number or name; `all` returns a list of every match.
    """
    found = read(value, budget)

    def use(compiled: Any, left_s: float) -> Any:
        if not all:
            match = compiled.search(found, timeout=left_s)
            return None if match is None else _groups(match, group, budget)
        return [_groups(match, group, budget) for match in compiled.finditer(found, timeout=left_s)]

    return _timed(pattern, len(found), budget, use)


def _groups(match: Any, group: Any, budget: Budget) -> Any:
    budget.take(2)
    if group is not None:
        return _paid(match[group], budget)
    parts = match.groups()
    if len(parts) > 1:
        budget.take(len(parts))
        return [_paid(part, budget) for part in parts]
    return _paid(match[len(parts)], budget)


def _paid(part: str | None, budget: Budget) -> str | None:
    return None if part is None else budget.made(part)


def regex_replace(value: Any, budget: Budget, pattern: Any, replacement: Any = "", count: Any = 0) -> str:
    r"""Return the text with every match replaced; `\1` and `\g<name>` in the replacement are groups of the match."""
    found, new = read(value, budget), text(replacement, budget)[:_LONGEST_PATTERN]
    references, limit = new.count("\\"), whole(count, 0, len(found) + 1)

    def use(compiled: Any, left_s: float) -> str:
        parts, position = [], 0
        for times, match in enumerate(compiled.finditer(found, timeout=left_s)):
            if limit and times >= limit:
                break
            budget.take(2)
            budget.room(len(new) + references * (match.end() - match.start()) + match.start() - position)
            parts += [found[position : match.start()], match.expand(new) if references else new]
            position = match.end()
        budget.room(len(found) - position)
        return "".join([*parts, found[position:]])

    return str(_timed(pattern, len(found), budget, use))


def matches(value: Any, budget: Budget, pattern: Any, *, whole_text: bool = False) -> bool:
    """Return whether a pattern is found in a text, or at its beginning."""
    found = read(value, budget)

    def use(compiled: Any, left_s: float) -> bool:
        return (compiled.match if whole_text else compiled.search)(found, timeout=left_s) is not None

    return bool(_timed(pattern, len(found), budget, use))


def pretty(value: Any, budget: Budget) -> str:
    """Return the value as it prints, texts in quotes: Jinja's pprint."""
    return text([value], budget)[1:-1]


FILTERS: dict[str, Callable[..., Any]] = {
    "b64decode": b64decode,
    "b64encode": b64encode,
    "date": date,
    "duration": duration,
    "from_json": from_json,
    "hash": digest,
    "hmac": hmac,
    "html_text": html_text,
    "json": to_json,
    "markdown": markdown,
    "pprint": pretty,
    "regex_find": regex_find,
    "regex_replace": regex_replace,
    "to_time": to_time,
    "tojson": to_json,
    "urlencode": url_encode,
}
