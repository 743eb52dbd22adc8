"""What a piece of HTML says.

A scanner that reads every character once: tags go, text stays, so that neither a hostile page nor a broken one costs
more than its length. It does not make HTML safe to show; the pages escape for that.
"""

from __future__ import annotations

import html
import re

_LINES = frozenset(
    [
        "address",
        "body",
        "dd",
        "div",
        "dt",
        "fieldset",
        "figcaption",
        "footer",
        "form",
        "header",
        "html",
        "li",
        "main",
        "nav",
        "tr",
    ]
)
_PARAGRAPHS = frozenset(
    [
        "article",
        "aside",
        "blockquote",
        "dl",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "ul",
    ]
)
_LINE, _PARAGRAPH, _BREAK = "\x00\x01\x02"  # marks that stand for white space until the text is put in lines
_MARKS = {ord(mark): None for mark in (_LINE, _PARAGRAPH, _BREAK)}
_SILENT = frozenset(("script", "style", "template", "head"))
_NAME = re.compile(r"/?[a-zA-Z][a-zA-Z0-9]{0,20}")


def strip(source: str) -> str:
    """Return the text without tags and with entities resolved, in one line."""
    return " ".join(_scan(source).replace(_LINE, " ").replace(_PARAGRAPH, " ").replace(_BREAK, " ").split())


def to_text(source: str) -> str:
    """Return HTML as plain text in lines: paragraphs apart, list items with a dash."""
    spaced = re.sub(r"[\s\x00-\x02]+", _white, _scan(source))
    return spaced.strip()


def _white(found: re.Match[str]) -> str:
    run = found[0]
    if _PARAGRAPH in run or run.count(_BREAK) > 1:
        return "\n\n"
    return "\n" if _LINE in run or _BREAK in run else " "


def _scan(source: str) -> str:
    """Return the text with marks in the place of tags that break lines; comments, scripts and styles say nothing."""
    source = source.translate(_MARKS)
    parts: list[str] = []
    position, silent_until = 0, ""
    while (start := source.find("<", position)) >= 0:
        if not silent_until:
            parts.append(source[position:start])
        end = _end_of_tag(source, start)
        if end < 0:  # no tag ends from here on
            position = start
            break
        tag = _NAME.match(source, start + 1)
        name = tag[0].lower() if tag else ""
        if silent_until:
            silent_until = "" if name == silent_until else silent_until
        elif name in _SILENT:
            silent_until = f"/{name}"
        elif not name and source[start + 1] not in "!?/":  # `1 < 2`
            parts.append("<")
            end = start + 1
        else:
            parts.append(_mark(name))
        position = end
    parts.append("" if silent_until else source[position:])
    return html.unescape("".join(parts))


def _end_of_tag(source: str, start: int) -> int:
    if source.startswith("<!--", start):
        end = source.find("-->", start)
        return len(source) if end < 0 else end + 3
    return source.find(">", start) + 1 or -1


def _mark(name: str) -> str:
    bare = name.removeprefix("/")
    if name == "li":
        return f"{_LINE}- "
    if bare == "br":
        return _BREAK
    if bare in ("td", "th"):
        return " "
    return _PARAGRAPH if bare in _PARAGRAPHS else _LINE if bare in _LINES else ""
