"""Which filters work on text.

Those of Jinja, with Jinja's meaning, and `slug`, `split`. Each takes the value, the budget and its own arguments.
"""

# ruff: noqa: FBT002 -- the arguments, and their order, are those of Jinja's filters
from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable
from typing import Any

from jinja2 import filters as jinja
from markupsafe import escape as html_escape

from areabox.areas.budget import MAX_TEXT, Budget, EvaluationError
from areabox.areas.html import strip
from areabox.areas.values import describe, number, text, whole

_WIDEST = 10_000
_FORMAT = re.compile(r"%(?:\((\w{1,100})\))?([-+ 0#]{0,5})(\d{0,4})(?:\.(\d{1,3}))?([sdifgGeExXoc%])", re.ASCII)


def read(value: Any, budget: Budget) -> str:
    """Return the value as text, paid for by its length."""
    found = text(value, budget)
    if len(found) > MAX_TEXT:
        raise EvaluationError(f"the text is longer than {MAX_TEXT:,} characters")
    return budget.scan(found)


def _simple(change: Callable[[str], str], price: int = 8) -> Callable[[Any, Budget], str]:
    """Return a filter of a function of text; `price` is how many bits fewer steps than characters it costs."""

    def apply(value: Any, budget: Budget) -> str:
        found = read(value, budget)
        budget.take(len(found) >> price)
        return budget.made(change(found))

    return apply


def center(value: Any, budget: Budget, width: Any = 80) -> str:
    """Put spaces around a text."""
    return budget.made(read(value, budget).center(whole(width, 0, _WIDEST)))


def trim(value: Any, budget: Budget, chars: Any = None) -> str:
    """Take white space, or the given characters, off both ends."""
    return budget.made(read(value, budget).strip(None if chars is None else text(chars, budget)[:100]))


def replace(value: Any, budget: Budget, old: Any, new: Any, count: Any = None) -> str:
    """Put one text in the place of another, everywhere or `count` times."""
    found, old, new = read(value, budget), text(old, budget), text(new, budget)
    limit = -1 if count is None else whole(count, 0, MAX_TEXT)
    times = found.count(old) if limit < 0 else min(limit, found.count(old))
    budget.room(len(found) + times * max(0, len(new) - len(old)))
    return found.replace(old, new, limit)


def truncate(  # the names and order are Jinja's
    value: Any, budget: Budget, length: Any = 255, killwords: Any = False, end: Any = "...", leeway: Any = 5
) -> str:
    """Shorten a text to so many characters, at a word's end."""
    found, end = read(value, budget), text(end, budget)
    length = whole(length, len(end), MAX_TEXT)
    if len(found) <= length + whole(leeway, 0, MAX_TEXT):
        return found
    if killwords:
        return budget.made(found[: length - len(end)] + end)
    return budget.made(found[: length - len(end)].rsplit(" ", 1)[0] + end)


def indent(value: Any, budget: Budget, width: Any = 4, first: Any = False, blank: Any = False) -> str:
    """Begin every line but the first with spaces, or with a text."""
    space = text(width, budget)[:100] if isinstance(width, str) else " " * whole(width, 0, 100)
    lines = read(value, budget).splitlines()
    budget.take(len(lines))
    budget.room(sum(map(len, lines)) + len(lines) * (len(space) + 1))
    body = [f"{space}{line}" if (line or blank) and (index or first) else line for index, line in enumerate(lines)]
    return "\n".join(body)


def wordwrap(  # the names and order are Jinja's
    value: Any,
    budget: Budget,
    width: Any = 79,
    break_long_words: Any = True,
    wrapstring: Any = "\n",
    break_on_hyphens: Any = True,
) -> str:
    """Break lines that are longer than `width`, at words."""
    found = read(value, budget)
    budget.take(len(found))
    wrapper = textwrap.TextWrapper(
        width=whole(width, 1, _WIDEST),
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=bool(break_long_words),
        break_on_hyphens=bool(break_on_hyphens),
    )
    glue = text(wrapstring, budget)[:100]
    lines = [glue.join(wrapper.wrap(line)) for line in found.splitlines()]
    return budget.made(glue.join(lines))


def format_text(value: Any, budget: Budget, *args: Any, **named: Any) -> str:
    """Fill `%s %d %.2f %(name)s` in a text."""
    rest = iter(args)

    def fill(found: re.Match[str]) -> str:
        name, flags, width, digits, kind = found.groups()
        if kind == "%":
            return "%"
        given = named[name] if name else next(rest, None)
        if len(width) == 4 or (given is None and kind != "s"):
            raise EvaluationError(f"{found[0]} has no value, or is too wide")
        given = text(given, budget) if kind in "sc" else number(given)
        precision = f".{digits}" if digits else ""
        return budget.made(f"%{flags}{width}{precision}{kind}" % given)

    return _FORMAT.sub(fill, read(value, budget)[:10_000])


def file_size(value: Any, budget: Budget, binary: Any = False) -> str:
    """Say a number of bytes as `13 kB`, or `13 KiB` where binary."""
    return str(jinja.do_filesizeformat(_float(value, budget), bool(binary)))


def to_int(value: Any, _budget: Budget, default: Any = 0, base: Any = 10) -> Any:
    """Return the whole number that a text or number means, else the default."""
    try:
        if isinstance(value, str):
            return int(value[:300], whole(base, 2, 36)) if base != 10 else _decimal(value[:300])
        found = int(number(value))
    except (ValueError, OverflowError, EvaluationError):
        return default
    return found


def _decimal(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        found = float(value)
        if abs(found) > 1e70:
            raise
        return int(found)


def to_float(value: Any, budget: Budget, default: Any = 0.0) -> Any:
    """Return the number that a text or number means, else the default."""
    try:
        return _float(value, budget)
    except (ValueError, OverflowError, EvaluationError):
        return default


def _float(value: Any, _budget: Budget) -> float:
    found = float(value[:300] if isinstance(value, str) else number(value))
    if found - found != 0:
        raise EvaluationError("infinity and not-a-number are not numbers here")
    return found


def slug(value: Any, budget: Budget, separator: Any = "-") -> str:
    """Return lower-case ASCII words joined by `-`: `Ärger im Büro!` becomes `arger-im-buro`."""
    found = unicodedata.normalize("NFKD", read(value, budget)[:2000].lower())
    ascii_only = found.encode("ascii", "ignore").decode()
    return budget.made(text(separator, budget)[:10].join(re.findall(r"[a-z0-9]+", ascii_only)))


def split(value: Any, budget: Budget, separator: Any = None, count: Any = -1) -> list[str]:
    """Return the parts between separators, or the words."""
    found = read(value, budget)
    by = None if separator is None else text(separator, budget)
    parts = found.count(by) if by else len(found) >> 1
    limit = whole(count, -1, MAX_TEXT)
    budget.take(2 * (min(parts, limit) if limit >= 0 else parts) if by else 0)
    budget.room(len(found))
    made = found.split(by, limit)
    budget.take(0 if by else 2 * len(made))
    return made


def word_count(value: Any, budget: Budget) -> int:
    """Return how many words there are."""
    found = read(value, budget)
    budget.take(len(found) >> 4)
    return int(jinja.do_wordcount(found))


def attributes(value: Any, budget: Budget) -> str:
    """Return an object as attributes of an XML element, without null ones: Jinja's xmlattr."""
    if not isinstance(value, dict):
        raise EvaluationError(f"{describe(value)} where an object belongs")
    budget.take(4 * len(value))
    for key in value:
        if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z_:][\w:.-]*", key, re.ASCII):
            raise EvaluationError("a key is not the name of an attribute")
    pairs = [f'{key}="{html_escape(read(item, budget))}"' for key, item in value.items() if item is not None]
    return budget.made(" ".join(pairs))


def link(value: Any, budget: Budget) -> str:
    """Return HTML in which web addresses are links: Jinja's urlize."""
    found = read(value, budget)
    budget.take(len(found) >> 1)
    words = re.split(r"(\s+)", str(html_escape(found)))

    def one(word: str) -> str:
        return f'<a href="{word}" rel="noopener">{word}</a>' if re.match(r"https?://[^\s]{3,2000}$", word) else word

    return budget.made("".join([one(word) for word in words]))


FILTERS: dict[str, Callable[..., Any]] = {
    "capitalize": _simple(str.capitalize),
    "center": center,
    "e": _simple(lambda found: str(html_escape(found))),
    "escape": _simple(lambda found: str(html_escape(found))),
    "filesizeformat": file_size,
    "float": to_float,
    "forceescape": _simple(lambda found: str(html_escape(found))),
    "format": format_text,
    "indent": indent,
    "int": to_int,
    "lower": _simple(str.lower),
    "replace": replace,
    "safe": _simple(str),
    "slug": slug,
    "split": split,
    "string": _simple(str),
    "striptags": _simple(strip, 3),
    "title": _simple(jinja.do_title, 1),
    "trim": trim,
    "truncate": truncate,
    "upper": _simple(str.upper),
    "urlize": link,
    "wordcount": word_count,
    "wordwrap": wordwrap,
    "xmlattr": attributes,
}
