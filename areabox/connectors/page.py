"""Pages: what stands at an address, a part of it, or a value in its JSON.

Tested against real HTTP servers on the loopback.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import msgspec

from areabox.sdk import Answer, Connector, Context, Event, Field, Permanent, Url

page = Connector("page", "Web page", about="Changes of a page, of a part of it, or of JSON.", icon="page")

BYTES_MAX = 5 * 1024 * 1024
TEXT_MAX = 64 * 1024
LINES_MAX = 2_000
REGEX_S = 1.0
_STEP = re.compile(r'\.?(?:"(?P<quoted>[^"]+)"|(?P<name>[^."\[\]]+))|\[(?P<index>-?\d+|\*)\]')
_ATTRIBUTE = re.compile(r"^(?P<css>.*?)\s*::attr\((?P<name>[\w:-]+)\)\s*$", re.DOTALL)
_CHARSET = re.compile(rb"<meta[^>]{1,200}charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)
_MINUS = "\u2212"
_NUMBER = re.compile(r"[-\u2212]?\d{1,15}(?:[.,'\u00a0\u202f ]\d{3})*(?:[.,]\d{1,9})?")
_SPACES = re.compile("['\u00a0\u202f ]")


class Changed(Event):
    """A page that differs from what it was when it was last asked for."""

    url: str
    text: str  # what is watched, as it is now
    old: str
    new: str  # the same as text
    difference: str  # line by line, - for what went and + for what came
    number: float | None = None  # the first number in the text, as of a price
    old_number: float | None = None


def _check_css(css: str) -> None:
    _elements("", css)


def _check_path(path: str) -> None:
    _steps(path)


def _check_regex(pattern: str) -> None:
    import regex

    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{pattern[:100]!r} is no regular expression: {error}") from None


def _check(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    given = [name for name in ("css", "json", "regex") if params.get(name)]
    for name in given[1:]:
        yield name, f"one thing is watched, and {given[0]} is given, too"


@page.action(
    "Page changed",
    poll="15m",
    sentence="{url} changes",
    check=_check,
    sample=Changed(
        id="2-5d41402abc4b2a76",
        url="https://example.org/lamp",
        text="19.90 €",
        old="24.90 €",
        new="19.90 €",
        difference="- 24.90 €\n+ 19.90 €",
        number=19.9,
        old_number=24.9,
    ),
)
async def changed(
    ctx: Context,
    url: Annotated[Url, Field("Address", placeholder="https://example.org/lamp")],
    *,
    css: Annotated[
        str,
        Field("CSS selector", "The text of all that match; a::attr(href) for an attribute.", check=_check_css,
              placeholder=".price"),
    ] = "",
    json: Annotated[
        str, Field("JSON path", "Such as items[0].price or items[*].name.", check=_check_path, placeholder="data.price")
    ] = "",
    regex: Annotated[
        str, Field("Regular expression", "Its groups, or all of it, of every match.", check=_check_regex,
                   placeholder=r"Version ([\d.]+)")
    ] = "",
    headers: Annotated[dict[str, str] | None, Field("Headers")] = None,
    absent: Annotated[
        Literal["error", "empty"], Field("If nothing matches", "error: it is shown. empty: that is a change, too.")
    ] = "error",
) -> AsyncIterator[Changed]:  # fmt: skip
    """Fires when what is watched differs from what it was: without a selector, path or pattern the text of the page.

    White space does not count, nor do scripts and styles. A page that cannot be read is an error, not a change.
    """
    answer = await ctx.http.get(url, conditional=True, max_bytes=BYTES_MAX, headers=headers)
    if answer.status == 304:
        return
    text = (await asyncio.to_thread(_watched, answer, css, json, regex))[:TEXT_MAX]
    if not text and absent == "error":
        raise Permanent(f"nothing at this address matches {css or json or regex}" if css or json or regex else
                        "there is no text at this address")  # fmt: skip
    old, ctx.cursor["text"] = ctx.cursor.get("text"), text
    if old is None or old == text:
        return
    count = ctx.cursor["count"] = ctx.cursor.get("count", 0) + 1
    print = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    yield Changed(
        id=f"{count}-{print}", url=url, text=text, old=old, new=text, difference=_difference(old, text),
        number=_number(text), old_number=_number(old),
    )  # fmt: skip


def _watched(answer: Answer, css: str, json: str, regex: str) -> str:
    """Return the part of an answer that is watched, as text."""
    if json:
        return "\n".join(_text(value) for value in _found(answer.json(), json))
    if css:
        return "\n".join(filter(None, (_clean(text) for text in _elements(_decoded(answer), css))))
    text = _decoded(answer)
    if regex:
        return "\n".join(_matches(text, regex))
    return _clean(_visible(text)) if "<" in text[:2000] else _clean(text)


def _decoded(answer: Answer) -> str:
    """Return the text of an answer; of a page whose header names no charset, by what the page itself says."""
    found = None if "charset" in answer.headers.get("content-type", "") else _CHARSET.search(answer.content[:4096])
    if found is not None:
        try:
            return answer.content.decode(found[1].decode(), "replace")
        except LookupError:
            pass
    return answer.text


def _elements(html: str, css: str) -> list[str]:
    """Return the texts, or one attribute, of the elements that match; raises ValueError for a wrong selector."""
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    attribute = _ATTRIBUTE.match(css)
    tree = LexborHTMLParser(html)
    try:
        nodes = tree.css(attribute["css"] if attribute else css)
    except SelectolaxError:
        raise ValueError(f"{css[:100]!r} is no CSS selector") from None
    if attribute:
        return [node.attributes.get(attribute["name"]) or "" for node in nodes]
    for node in nodes:
        node.strip_tags(["script", "style", "template"])
    return [node.text() for node in nodes]


def _visible(html: str) -> str:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html)
    tree.strip_tags(["script", "style", "template", "noscript", "head"])
    return tree.body.text(separator="\n") if tree.body is not None else ""


def _matches(text: str, pattern: str) -> list[str]:
    import regex

    try:
        found = regex.findall(pattern, text, timeout=REGEX_S, concurrent=True)
    except TimeoutError:
        raise Permanent("the regular expression takes too long on this page") from None
    return [one if isinstance(one, str) else " ".join(one) for one in found]


def _steps(path: str) -> list[str | int | None]:
    """Return the steps of a path, None for "each"; raises ValueError for what is no path."""
    rest, steps = path.strip().removeprefix("$"), list[str | int | None]()
    while rest:
        step = _STEP.match(rest)
        if step is None or not step[0]:
            raise ValueError(f'{path[:100]!r} is no path; write items[0].price, items[*].name or "a name".b')
        index, name = step["index"], step["quoted"] or step["name"]
        steps.append(None if index == "*" or name == "*" else int(index) if index else name)
        rest = rest[step.end() :]
    return steps


def _found(value: Any, path: str) -> list[Any]:
    found = [value]
    for step in _steps(path):
        found = [inner for outer in found for inner in _inside(outer, step)]
    return found


def _inside(value: Any, step: str | int | None) -> list[Any]:
    if step is None:
        return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if isinstance(value, dict):
        return [value[str(step)]] if str(step) in value else []
    if isinstance(value, list) and isinstance(step, int):
        return value[step : step + 1 or None]
    return []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def _clean(text: str) -> str:
    """Return a text whose white space says nothing: no empty lines, one blank between words."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _difference(old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines()[:LINES_MAX], new.splitlines()[:LINES_MAX], n=0, lineterm="")
    kept = (line for line in itertools.islice(lines, 2, None) if not line.startswith("@@"))
    return "\n".join(f"{line[0]} {line[1:]}" for line in kept)


def _number(text: str) -> float | None:
    """Return the first number of a text, whichever way it is written: 1,234.50 1.234,50 1 234,5."""
    found = _NUMBER.search(text)
    if found is None:
        return None
    digits = _SPACES.sub("", found[0]).replace(_MINUS, "-")
    whole, mark, part = digits.rpartition(max(",.", key=digits.rfind))
    other = "." if mark == "," else ","
    has_part = mark and mark not in whole and (len(part) != 3 or mark == "." or other in whole)
    return float(f"{_plain(whole)}.{part}" if has_part else _plain(digits))


def _plain(digits: str) -> str:
    return digits.replace(",", "").replace(".", "")
