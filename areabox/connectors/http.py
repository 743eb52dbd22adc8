"""HTTP: ask or tell anything that has an address.

Tested against real HTTP servers on the loopback.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from areabox.sdk import UNSET, Basic, Connector, Context, Field, Fields, Key, NoAuth, Secret, Url

http = Connector(
    "http",
    "HTTP",
    about="Requests to any address.",
    icon="globe",
    base=lambda auth: getattr(auth, "site", ""),
    auth=[
        NoAuth(),
        Key("Token", help="It is sent to this site only.", site=Annotated[Url, Field("Site")], id="token"),
        Basic(site=Annotated[Url, Field("Site")], help="It is sent to this site only."),
        Fields(
            "A header",
            id="header",
            help="It is sent to this site only.",
            headers={"{header}": "{value}"},
            site=Annotated[Url, Field("Site")],
            header=Annotated[str, Field("Header", pattern=r"^[A-Za-z0-9-]{1,64}$", placeholder="X-Api-Key")],
            value=Annotated[Secret, Field("Value")],
        ),
    ],
)

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_REPEATABLE = frozenset({"PUT", "DELETE"})  # RFC 9110, 9.2.2
_BODIES = ("json", "body", "form")
_JSON_STARTS = frozenset(bytes([byte]) for byte in b'{["-0123456789tfn')


def _effect(params: dict[str, Any]) -> Literal["read", "idempotent", "keyed", "once"]:
    method = str(params.get("method", "POST")).upper()
    if method in _READS:
        return "read"
    if method in _REPEATABLE:
        return "idempotent"
    return "keyed" if params.get("keyed") is True else "once"


def _check(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    given = [name for name in _BODIES if params.get(name, UNSET) not in (UNSET, None)]
    for name in given[1:]:
        yield name, f"a request has one body, and {given[0]} is given, too"


@http.reaction(
    "Send a request",
    sentence="{method} {url}",
    effect=_effect,
    check=_check,
    sample={
        "status": 200,
        "headers": {"content-type": "application/json"},
        "body": '{"ok": true}',
        "json": {"ok": True},
    },
)
async def request(
    ctx: Context,
    url: Annotated[Url, Field("Address", placeholder="https://example.org/api/light")],
    *,
    method: Method = "POST",
    json: Annotated[Any, Field("JSON body", "Any value; it is sent as application/json.")] = UNSET,
    body: Annotated[str | None, Field("Text body", multiline=True)] = None,
    form: Annotated[dict[str, Any] | None, Field("Form body", "Fields, as a browser sends them.")] = None,
    headers: Annotated[dict[str, str] | None, Field("Headers")] = None,
    query: Annotated[dict[str, Any] | None, Field("Query", "Is added to the address.")] = None,
    keyed: Annotated[bool, Field("Repeatable", "The server knows the header Idempotency-Key.")] = False,
    fail: Annotated[bool, Field("Fail on errors", "Else any answer is a result, whatever its status.")] = True,
    ok: Annotated[list[int] | None, Field("Statuses that are fine, too", "Beside 2xx.", example=[404])] = None,
) -> dict[str, Any]:
    """Send a request and give its answer: `status`, `headers`, `body` as text and `json`, null if it is none.

    A status other than 2xx is an error: 401 needs a person, 408, 425, 429 and 5xx are tried again, others fail. `ok`
    lists more that are fine, `fail: false` makes every answer a result. `Idempotency-Key` is the same on every attempt.
    GET and HEAD may be repeated freely, PUT and DELETE too; others only with `keyed: true`.
    """
    del keyed  # it says what a repeat means, see _effect
    answer = await ctx.http.request(
        method,
        url,
        params=query,
        json=json,
        data=form,
        content=body,
        headers={"Idempotency-Key": ctx.key, **(headers or {})},
        ok=(ok or ()) if fail else "all",
    )
    return {
        "status": answer.status,
        "headers": dict(answer.headers.items()),
        "body": answer.text,
        "json": _json(answer.content),
    }


def _json(content: bytes) -> Any:
    """Return what a body says in JSON, None if it is something else."""
    if content.lstrip()[:1] not in _JSON_STARTS:
        return None
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
