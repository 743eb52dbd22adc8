"""How does a service put a question with buttons? What the `ask` step gives it, and where each choice leads.

A reaction with the parameters `question` and `choices` in the `via` of an `ask` step is given both.
"""

from __future__ import annotations

from typing import Annotated, Any

from areabox.sdk import Field, Permanent, Text

Question = Annotated[Text, Field("Question", "Left out: that of the ask step.", max_length=4_000)]
Choices = Annotated[
    list[dict[str, Any]] | None,
    Field("Choices", "Left out: those of the ask step.", secret=True,  # whoever has the links may answer
          example=[{"choice": "Yes", "url": "https://example.org/answer/1.x/1", "data": "1.x/1"}]),
]  # fmt: skip


def buttons(choices: list[dict[str, Any]] | None) -> list[tuple[str, str, str]]:
    """Return the text, the link and the data of each button; raises `Permanent` where there are none."""
    made = [
        (str(one.get("choice", "")), str(one.get("url", "")), str(one.get("data", "")))
        for one in choices or ()
        if isinstance(one, dict)
    ]
    if not made or not all(text and url for text, url, _ in made):
        raise Permanent("this asks nothing by itself; write it into the via of an ask step")
    return made


def page(choices: list[tuple[str, str, str]]) -> str:
    """Return the address of the page that shows all choices."""
    return choices[0][1].rpartition("/")[0]


def texts(question: str, choices: list[tuple[str, str, str]]) -> tuple[str, str]:
    """Return a question as text and as HTML, with a link for each choice."""
    from html import escape

    plain = "\n\n".join([question, *(f"{text}: {url}" for text, url, _ in choices)])
    links = " &nbsp; ".join(f'<a href="{escape(url)}"><b>{escape(text)}</b></a>' for text, url, _ in choices)
    shown = escape(question).replace("\n", "<br>")
    return plain, f"<p>{shown}</p><p>{links}</p>"
