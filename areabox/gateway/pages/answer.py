"""A question's own page: whoever has its link reads it and answers. Looking changes nothing: links may be fetched."""

from __future__ import annotations

from areabox.areas.asking import Question
from areabox.errors import NotFoundError
from areabox.gateway.pages.entrance import FORM, FORM_MAX
from areabox.gateway.pages.rendering import render
from areabox.gateway.routes import Answer, Ask, Handle, Route, get
from areabox.users.policy import PUBLIC

# A button of a push notification in a browser calls from the page of its push service, which need not read the answer.
_FROM_ANYWHERE = {"access-control-allow-origin": "*"}
_BODIES = FORM | {"application/json", "text/plain"}  # of what nobody reads: the address says everything


async def show(ask: Ask, token: str) -> Answer:
    """Show a question with a button for each choice."""
    return _page(ask, token, await ask.parts.asking.find(token))


async def show_choice(ask: Ask, token: str, number: str) -> Answer:
    """Show a question with the button of one choice."""
    question = await ask.parts.asking.find(token)
    if not 1 <= _number(number) <= len(question.choices):
        raise NotFoundError("the link is not whole")
    return _page(ask, token, question, only=_number(number))


async def answer(ask: Ask, token: str, number: str) -> Answer:
    """Answer a question, once."""
    question, choice = await ask.parts.asking.answer(token, _number(number), "link")
    page = render(ask, "answer", headers=_FROM_ANYWHERE, question=question, choices=[], token=token, chosen=choice)
    return Answer(
        value=page.value, status=200, media_type=page.media_type, headers=page.headers,
        object=f"{question.run}/{question.path}",
    )  # fmt: skip


def _page(ask: Ask, token: str, question: Question, only: int = 0) -> Answer:
    choices = [(number, text) for number, text in enumerate(question.choices, 1) if only in (0, number)]
    return render(ask, "answer", question=question, choices=choices, token=token, chosen="")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 3 else 0


def _post(path: str, handle: Handle) -> Route:
    return Route("POST", path, handle, PUBLIC, audit="run.answer", accepts=_BODIES, body_max=FORM_MAX, by_link=True)


ROUTES: tuple[Route, ...] = (
    get("/answer/{token}", show, PUBLIC),
    get("/answer/{token}/{number}", show_choice, PUBLIC),
    _post("/answer/{token}/{number}", answer),
)
