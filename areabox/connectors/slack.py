"""Slack: messages to a channel by its incoming webhook.

Tested against a replay of its documented webhooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from areabox.sdk import Connector, Context, Field, Fields, Secret, Text, Url

slack = Connector(
    "slack",
    "Slack",
    about="Messages to a channel.",
    icon="slack",
    docs="https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks",
    base=lambda auth: auth.url,
    auth=Fields(
        "A channel's incoming webhook",
        help="api.slack.com/apps, your app, Incoming Webhooks, Add New Webhook.",
        url=Annotated[Url, Secret, Field("Webhook URL", placeholder="https://hooks.slack.com/services/…")],
    ),
)


@slack.test
async def webhook(ctx: Context) -> str:
    """Return nothing, since Slack names nobody; an empty message is refused, a webhook that is gone otherwise."""
    await ctx.http.post(ctx.auth.url, json={}, ok=(400,))
    return ""


def _check(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not (params.get("text") or params.get("title") or params.get("blocks")):
        yield "text", "a message has a text, a title or blocks"


@slack.reaction("Send a message", sentence="send {text}", check=_check)
async def send(
    ctx: Context,
    text: Annotated[
        Text, Field("Text", "Slack's own markup: *bold*, <https://example.org|a link>.", max_length=40_000)
    ] = "",
    *,
    title: Annotated[str, Field("Title", max_length=150)] = "",
    color: Annotated[str, Field("Color at its side", format="color")] = "",
    image: Annotated[str, Field("Picture", "Its address.", format="url")] = "",
    buttons: Annotated[dict[str, str] | None, Field("Buttons", "Names and the addresses that they open.")] = None,
    blocks: Annotated[
        list[dict[str, Any]] | None, Field("Blocks", "As Slack's Block Kit has them.", example=[])
    ] = None,
    thread: Annotated[str, Field("Thread", "The ts of the message that it answers.", pattern=r"^[\d.]{0,20}$")] = "",
    escape: Annotated[bool, Field("Take & < > in the text as they are")] = False,
    previews: Annotated[bool, Field("Previews of links")] = True,
) -> None:
    """Post a message to the channel of the webhook."""
    text = _escaped(text) if escape else text
    made = [*_blocks(title, text, image, buttons or {}), *(blocks or [])] if title or image or buttons or blocks else []
    body: dict[str, Any] = {"text": text or title, "thread_ts": thread, "blocks": made}
    if color:
        body |= {"attachments": [{"color": color, "blocks": made} if made else {"color": color, "text": text}]}
        del body["blocks"], body["text"]
    if not previews:
        body |= {"unfurl_links": False, "unfurl_media": False}
    await ctx.http.post(ctx.auth.url, json={name: value for name, value in body.items() if value not in ("", [])})


def _blocks(title: str, text: str, image: str, buttons: dict[str, str]) -> Iterator[dict[str, Any]]:
    if title:
        yield {"type": "header", "text": {"type": "plain_text", "text": title}}
    if text:
        yield {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    if image:
        yield {"type": "image", "image_url": image, "alt_text": title or text[:100] or "picture"}
    if buttons:
        made = [
            {"type": "button", "text": {"type": "plain_text", "text": name}, "url": url}
            for name, url in buttons.items()
        ]
        yield {"type": "actions", "elements": made}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
