"""What do answers look like? The types that the OpenAPI document shows; tests hold what is sent against them.

Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class SubscriptionView(TypedDict):
    """What an area listens to; `url` is a webhook's address, `next` when it is looked at again."""

    id: str
    action: str
    url: NotRequired[str]
    next: str | None
    last: str | None
    error: NotRequired[str]


class AreaView(TypedDict):
    """An area: its document, and what areabox says of it."""

    area: str
    name: NotRequired[str]
    about: NotRequired[str]
    tags: NotRequired[list[str]]
    enabled: bool
    mode: NotRequired[Any]
    key: NotRequired[str]
    timeout: NotRequired[Any]
    when: list[dict[str, Any]]
    then: list[dict[str, Any]]
    version: int
    state: str
    subscriptions: list[SubscriptionView]
    created: str | None
    updated: str | None


class VersionView(TypedDict):
    """One version of an area."""

    version: int
    created: str | None
    author: str | None


class VersionDocument(TypedDict):
    """A version of an area with its document."""

    version: int
    created: str | None
    document: dict[str, Any]


class ChangeView(TypedDict):
    """What `apply` did to one area: created, changed, unchanged or removed."""

    area: str
    change: str
    version: int | None
    subscriptions: list[SubscriptionView]
    diff: NotRequired[str]


class AttemptView(TypedDict):
    """One try of a step."""

    started: str | None
    ended: str | None
    error: NotRequired[str | None]


class StepView(TypedDict):
    """One step of a run, at its place; `due` is when a waiting one goes on at the latest."""

    id: str
    path: str
    kind: str
    state: str
    input: Any
    output: Any
    error: Any
    note: str | None
    started: str | None
    ended: str | None
    attempts: list[AttemptView]
    name: NotRequired[str | None]
    due: NotRequired[str | None]


class RunLine(TypedDict):
    """A run in a list."""

    id: str
    area: str
    version: int
    state: str
    reason: str | None
    dry: bool
    started: str | None
    ended: str | None


class RunView(RunLine):
    """A run with every step."""

    trigger: Any
    event: str | None
    result: Any
    parent: str | None
    retry_of: str | None
    vars: dict[str, Any]
    steps: list[StepView]


class EventLine(TypedDict):
    """An event in a list; `reason` says why no area took it."""

    id: str
    action: str
    at: str | None
    taken: bool
    reason: str | None


class RunOfEvent(TypedDict):
    """A run that an event started."""

    id: str
    area: str
    state: str


class EventView(EventLine):
    """An event with its fields, and the runs that it started."""

    payload: Any
    runs: list[RunOfEvent]


class Replayed(TypedDict):
    """The runs that an event started anew."""

    event: str
    runs: list[str]


class OperationView(TypedDict):
    """An action or a reaction, with its form and what it yields as JSON Schema."""

    id: str
    title: str
    help: str
    kind: str
    sentence: str
    needs_connection: bool
    schema: dict[str, Any]
    output: dict[str, Any]
    sample: Any
    effect: str
    poll_ms: int | None


class WayView(TypedDict):
    """A way in: how a connection to a service proves who it is; secret fields are marked `writeOnly`."""

    id: str
    label: str
    help: str
    optional: bool
    schema: dict[str, Any]


class ServiceView(TypedDict):
    """A service, with its forms; `error` where its connector could not be loaded."""

    id: str
    name: str
    about: str
    origin: str
    needs_connection: bool
    actions: list[OperationView]
    reactions: list[OperationView]
    auth: list[WayView]
    error: NotRequired[str]


class ConnectionView(TypedDict):
    """A connection; `secrets` names those that are set, `account` is the name at the service."""

    id: str
    name: str
    service: str
    auth: str
    state: str
    account: str
    values: dict[str, Any]
    secrets: list[str]
    error: str | None
    checked: str | None
    version: int
    created: str | None


class AccountView(TypedDict):
    """An account; `kind` is `person`, or `service` for a program's, which has tokens and no password."""

    id: str
    email: str
    name: str
    kind: str
    role: str
    disabled: bool
    created: str | None
    seen: str | None


class MeView(TypedDict):
    """Who asks, by which way, and what it may do."""

    id: str
    email: str
    name: str
    language: str
    timezone: str
    role: str
    via: str
    scopes: list[str]
    permissions: list[str]
    csrf: NotRequired[str]


class FactorsView(TypedDict):
    """What is asked for beside the password; `recovery` counts the codes that are left."""

    totp: bool
    recovery: int


class Authenticator(TypedDict):
    """What an authenticator needs: the secret as it is typed, and the address that its picture says."""

    secret: str
    uri: str


class RecoveryCodes(TypedDict):
    """Codes for when the authenticator is gone, each taken once."""

    codes: list[str]


class SessionView(TypedDict):
    """A browser that is logged in."""

    id: str
    agent: str
    address: str
    how: str
    current: bool
    created: str | None
    seen: str | None
    expires: str | None


class InvitationView(TypedDict):
    """An invitation that waits; `email` is empty where whoever has the link says its own."""

    id: str
    email: str
    role: str
    created: str | None
    expires: str | None


class NewInvitationView(InvitationView):
    """An invitation with its link, which is shown this once; `mailed` tells whether it went out by mail."""

    link: str
    mailed: bool


class ShareView(TypedDict):
    """An area or connection that its owner lets somebody see, run, edit or use."""

    id: str
    kind: str
    name: str
    object: str
    owner: str
    account: str
    level: str
    mine: bool
    created: str | None


class TokenView(TypedDict):
    """An API token, without its text."""

    id: str
    name: str
    user: str
    scopes: list[str]
    created: str | None
    expires: str | None
    used: str | None


class NewTokenView(TokenView):
    """An API token with its text, which is shown this once."""

    token: str


class AuditView(TypedDict):
    """One line of the audit log; `chain` is a hash over it and the one before."""

    seq: int
    id: str
    at: str | None
    actor: str
    address: str
    verb: str
    object: str
    detail: dict[str, Any]
    chain: str


class AuditCheck(TypedDict):
    """Whether every entry of the audit log follows from the one before; `head` is `seq:chain` of the last."""

    ok: bool
    entries: int
    head: str
    broken: str | None
    because: str | None


class NoticeView(TypedDict):
    """Something that areabox tells its user."""

    id: str
    kind: str
    title: str
    body: str
    link: str
    at: str | None
    seen: str | None


class SummaryView(TypedDict):
    """A few numbers for dashboards."""

    areas: int
    on: int
    runs_24h: int
    failed_24h: int
    attention: int
    queue: int


class ProbeView(TypedDict):
    """Whether one part works."""

    ok: bool
    detail: str


class SystemView(TypedDict):
    """How areabox itself does."""

    version: str
    ready: bool
    maintenance: bool
    probes: dict[str, ProbeView]
    queue: dict[str, int]
    connector_errors: list[dict[str, str]]
    facts: NotRequired[dict[str, Any]]


class ReadyView(TypedDict):
    """Whether areabox can take work."""

    status: str
    probes: NotRequired[dict[str, ProbeView]]
