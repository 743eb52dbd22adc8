"""ntfy: push notifications to phones and desktops, by ntfy.sh or a server of your own (docs.ntfy.sh).

Tested against a replay of its documented API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from areabox.connectors import _questions
from areabox.sdk import Basic, Connector, Context, Event, Field, Fields, Secret, Text, Url

BUTTONS_MAX = 3  # of a notification
QUIET_S = 150.0  # a server says that it is alive every 45 s
Server = (Annotated[Url, Field("Server")], "https://ntfy.sh")

ntfy = Connector(
    "ntfy",
    "ntfy",
    about="Push notifications to phones and desktops.",
    icon="ntfy",
    docs="https://docs.ntfy.sh/publish/",
    base=lambda auth: auth.url,
    auth=[
        Fields(
            "Access token, or none",
            url=Server,
            token=(Annotated[Secret, Field("Access token", "tk_…; empty where topics are open to all.")], ""),
            bearer="token",
        ),
        Basic(url=Server),
    ],
)

Topic = Annotated[str, Field("Topic", pattern=r"^[-_A-Za-z0-9]{1,64}$", placeholder="alerts")]
Topics = Annotated[
    str, Field("Topics", "Several with commas.", pattern=r"^[-_A-Za-z0-9]{1,64}(,[-_A-Za-z0-9]{1,64})*$", example="a,b")
]
Priority = Literal[1, 2, 3, 4, 5]
Sequence = Annotated[str, Field("Sequence", pattern=r"^[-_A-Za-z0-9]{0,64}$", example="door")]


class Attachment(msgspec.Struct):
    """A file that came with a message."""

    name: str = ""
    url: str = ""
    type: str = ""
    size: int | None = None


class Message(Event):
    """A message on a topic."""

    topic: str
    message: str = ""
    title: str = ""
    priority: int = 3
    tags: tuple[str, ...] = ()
    click: str = ""
    attachment: Attachment | None = None
    time: str = ""  # RFC 3339


class Published(msgspec.Struct):
    """A message as the server took it."""

    id: str
    topic: str
    time: str = ""
    expires: str = ""  # until when it can be asked for


def _check_buttons(buttons: list[dict[str, Any]] | None) -> None:
    for button in buttons or ():
        if button.get("action") not in ("view", "http", "broadcast", "copy") or not button.get("label"):
            raise ValueError("each button has a label and an action: view, http, broadcast or copy")


@ntfy.test
async def account(ctx: Context) -> str:
    """Return the name of the account, or of the server where there is none."""
    found = (await ctx.http.get("/v1/account", ok=(404,))).json()
    name = str(found.get("username") or "*") if isinstance(found, dict) else "*"
    return str(ctx.auth.url) if name == "*" else name


@ntfy.reaction(
    "Send a notification",
    sentence="push {message} to {topic}",
    effect=lambda params: "idempotent" if params.get("sequence") else "once",
    sample=Published(id="sPs71M8A2T", topic="alerts", time="2026-01-01T12:00:00Z", expires="2026-01-02T00:00:00Z"),
)
async def publish(
    ctx: Context,
    topic: Topic,
    message: Annotated[Text, Field("Message")] = "",
    *,
    title: str = "",
    priority: Annotated[Priority, Field("Priority", "5 is loudest, 1 makes no sound.")] = 3,
    tags: Annotated[list[str] | None, Field("Tags", "Names of emojis become emojis.", example=["warning"])] = None,
    click: Annotated[str, Field("Opened by a tap", format="url")] = "",
    attach: Annotated[str, Field("Attachment", "Its address.", format="url")] = "",
    filename: str = "",
    icon: Annotated[str, Field("Icon", "Its address; JPEG or PNG.", format="url")] = "",
    markdown: bool = False,
    actions: Annotated[
        list[dict[str, Any]] | None,
        Field("Buttons", "Up to three, as {action: view, label: Open, url: …}.", check=_check_buttons,
              example=[{"action": "view", "label": "Open", "url": "https://example.org"}]),
    ] = None,
    delay: Annotated[str, Field("Deliver later", "30m, 9am, tomorrow, or a Unix time.")] = "",
    email: Annotated[str, Field("E-mail", "Is sent there, too.", format="email")] = "",
    call: Annotated[str, Field("Phone", "Is read out there, too; yes: your first number.")] = "",
    sequence: Annotated[Sequence, Field("Replaces", "A notification with the same name is replaced, not added.")] = "",
    cache: Annotated[bool, Field("Keep on the server")] = True,
    firebase: Annotated[bool, Field("Pass on to Firebase")] = True,
) -> Published:  # fmt: skip
    """Push a message to everybody who listens to a topic."""
    body = {
        "topic": topic, "message": message, "title": title, "priority": priority, "tags": tags, "click": click,
        "attach": attach, "filename": filename, "icon": icon, "markdown": markdown, "actions": actions, "delay": delay,
        "email": email, "call": call, "sequence_id": sequence,
    }  # fmt: skip
    headers = ({} if cache else {"X-Cache": "no"}) | ({} if firebase else {"X-Firebase": "no"})
    answer = await ctx.http.post("/", json={name: value for name, value in body.items() if value}, headers=headers)
    found = _object(answer.json())
    return Published(str(found.get("id", "")), topic, _time(found.get("time")), _time(found.get("expires")))


@ntfy.reaction(
    "Ask", sentence="ask {question} on {topic}", effect="idempotent",
    sample=Published(id="sPs71M8A2T", topic="alerts", time="2026-01-01T12:00:00Z", expires="2026-01-02T00:00:00Z"),
)  # fmt: skip
async def ask(
    ctx: Context,
    topic: Topic,
    question: _questions.Question = "",
    choices: _questions.Choices = None,
    *,
    title: str = "",
    priority: Annotated[Priority, Field("Priority", "5 is loudest, 1 makes no sound.")] = 4,
    tags: Annotated[list[str] | None, Field("Tags", "Names of emojis become emojis.", example=["question"])] = None,
) -> Published:
    """Ask everybody who listens to a topic: for the `via` of an `ask` step. The choices are buttons that answer.

    With more than three choices, ntfy's limit, one button opens the page of the question. Phones must reach areabox.
    """
    made = _questions.buttons(choices)
    page = _questions.page(made)
    actions = [{"action": "http", "label": text, "url": url, "method": "POST", "clear": True} for text, url, _ in made]
    if len(made) > BUTTONS_MAX:
        actions = [{"action": "view", "label": "Answer", "url": page, "clear": True}]
    body = {
        "topic": topic, "message": question, "title": title, "priority": priority, "tags": tags, "click": page,
        "actions": actions, "sequence_id": ctx.key[:32],
    }  # fmt: skip
    answer = await ctx.http.post("/", json={name: value for name, value in body.items() if value})
    found = _object(answer.json())
    return Published(str(found.get("id", "")), topic, _time(found.get("time")), _time(found.get("expires")))


@ntfy.reaction("Take a notification back", sentence="take {sequence} on {topic} back", effect="idempotent")
async def delete(ctx: Context, topic: Topic, sequence: Annotated[Sequence, Field(min_length=1)]) -> None:
    """Remove a notification that was sent with a sequence name from all phones; ntfy 2.16 and newer."""
    await ctx.http.delete(f"/{topic}/{sequence}")


@ntfy.action(
    "Message",
    stream=True,
    dedupe="key",
    sentence="a message arrives on {topic}",
    sample=Message(
        id="sPs71M8A2T", topic="alerts", message="The door is open", title="Door", priority=4, tags=("door",),
        click="https://example.org/door", time="2026-01-01T12:00:00Z",
        attachment=Attachment("door.jpg", "https://example.org/door.jpg", "image/jpeg", 9),
    ),
)  # fmt: skip
async def message(
    ctx: Context,
    topic: Topics,
    priority: Annotated[list[Priority] | None, Field("Priorities", "Only these.", example=[4, 5])] = None,
    tags: Annotated[list[str] | None, Field("Tags", "Only messages with all of these.", example=["door"])] = None,
) -> AsyncIterator[Message | None]:
    """Fires for each message on a topic. What came while the line was down is asked for, if the server kept it."""
    wanted = {"priority": ",".join(map(str, priority or ())), "tags": ",".join(tags or ())}
    params = {name: value for name, value in wanted.items() if value} | {"since": ctx.cursor.get("since")}
    async with ctx.http.stream(f"/{topic}/json", params=params, quiet_s=QUIET_S) as answer:
        async for line in answer.lines():
            found = _object(_decoded(line))
            if found.get("event") == "open":
                ctx.cursor.setdefault("since", str(found.get("time", "")))
                yield None  # all is well, and so far it got
            elif found.get("event") == "message":
                ctx.cursor["since"] = str(found.get("id", ""))
                yield _message(found)


def _message(found: dict[str, Any]) -> Message:
    file = found.get("attachment")
    names = Attachment.__struct_fields__
    return Message(
        id=str(found.get("id", "")),
        topic=str(found.get("topic", "")),
        message=str(found.get("message", "")),
        title=str(found.get("title", "")),
        priority=found.get("priority") or 3,
        tags=tuple(map(str, found.get("tags") or ())),
        click=str(found.get("click", "")),
        attachment=Attachment(**{name: file[name] for name in names if name in file}) if file else None,
        time=_time(found.get("time")),
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _decoded(line: str) -> Any:
    return msgspec.json.decode(line) if line.startswith("{") and line.endswith("}") else None


def _time(seconds: Any) -> str:
    if not isinstance(seconds, int):
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
