"""Docker: containers and images of a machine, by the Engine API (docs.docker.com/reference/api/engine); Podman, too.

The engine listens at a socket of the machine, which an admin must name by `sockets_allow`; whoever speaks to
it rules the machine. Over TCP it is best behind a proxy that lets through only what is needed.

Tested against a replay of its documented API, on a Unix socket.
"""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec

from areabox.connectors._engine import name_of, rows
from areabox.sdk import Connector, Context, Event, Field, Fields, Option, Permanent, Transient, Url

IMAGES_MAX = 50  # that one poll asks the registries for
QUIET = 304  # nothing to do: it runs, or stands still, already
NS = 1_000_000_000

docker = Connector(
    "docker",
    "Docker",
    about="Containers and images of a machine.",
    icon="docker",
    docs="https://docs.docker.com/reference/api/engine/",
    base=lambda auth: getattr(auth, "socket", "") or auth.url,
    auth=[
        Fields(
            "A socket of this machine",
            id="socket",
            help="An admin has to name it by the setting sockets_allow.",
            socket=(Annotated[str, Field("Socket", format="path", pattern=r"^/.{1,106}$")], "/var/run/docker.sock"),
        ),
        Fields("Over TCP", id="tcp", url=Annotated[Url, Field("Address", placeholder="http://docker.home:2375")]),
    ],
)


async def _containers(ctx: Context, q: str) -> Sequence[Option]:
    found = rows((await ctx.http.get("/containers/json", params={"all": True})).json())
    options = [Option(name_of(one), f"{name_of(one)} ({one.get('Image')}, {one.get('State')})") for one in found]
    return [one for one in options if q.lower() in one.label.lower()]


Watched = Annotated[str, Field("Container", "Its name, with * for several; empty: any.", options=_containers)]
One = Annotated[
    str,
    Field(
        "Container", "Its name or id.", options=_containers, pattern=r"^[a-zA-Z0-9][\w.-]{0,127}$", placeholder="web"
    ),
]
Wait = Annotated[int, Field("Seconds", "How long it may take to stop before it is killed.", ge=0, le=600)]


class Happened(Event):
    """Something that happened to a container."""

    container: str  # its name
    image: str
    exit_code: int | None = None
    labels: dict[str, str] = {}  # noqa: RUF012 -- msgspec copies it
    number: str = ""  # the container's id
    time: int = 0  # milliseconds since 1970


class Updated(Event):
    """An image whose registry has another one under the same name."""

    image: str
    digest: str  # the registry's
    old: str = ""
    containers: tuple[str, ...] = ()  # that run the old one


class Container(msgspec.Struct):
    """A container. `status` is Docker's sentence, `health` is empty without a health check."""

    name: str
    image: str
    state: str
    status: str = ""
    health: str = ""
    number: str = ""
    labels: dict[str, str] = {}


class Listed(msgspec.Struct):
    """The containers of a machine."""

    containers: tuple[Container, ...]


class Done(msgspec.Struct):
    """Whether there was something to do."""

    changed: bool


HAPPENED: dict[str, Any] = {"container": "web", "image": "nginx:1", "number": "4c01db0b339c", "time": 1_767_268_800_000}


@docker.test
async def test(ctx: Context) -> str:
    """Return the name of the machine and the engine's version."""
    found = (await ctx.http.get("/info")).json()
    return f"{found.get('Name', '')} ({found.get('ServerVersion', '')})"


@docker.action(
    "Container died", stream=True, dedupe="key", sentence="the container {container} ends",
    sample=Happened(id="1767268800000000000 4c01db0b339c die", exit_code=137, **HAPPENED),
)  # fmt: skip
async def container_died(
    ctx: Context,
    container: Watched = "",
    *,
    failures: Annotated[bool, Field("Failures only", "Not where it ended well, with the exit code 0.")] = True,
) -> AsyncIterator[Happened | None]:
    """Fires when a container ends, by itself or by somebody."""
    async for one in _events(ctx, "die", container):
        if one is None or not failures or one.exit_code != 0:
            yield one


@docker.action(
    "Container unhealthy", stream=True, dedupe="key", sentence="the container {container} is unhealthy",
    sample=Happened(id="1767268800000000000 4c01db0b339c health_status: unhealthy", **HAPPENED),
)  # fmt: skip
async def container_unhealthy(ctx: Context, container: Watched = "") -> AsyncIterator[Happened | None]:
    """Fires when the health check of a container begins to fail."""
    async for one in _events(ctx, "health_status: unhealthy", container):
        yield one


@docker.action(
    "Container started", stream=True, dedupe="key", sentence="the container {container} starts",
    sample=Happened(id="1767268800000000000 4c01db0b339c start", **HAPPENED),
)  # fmt: skip
async def container_started(ctx: Context, container: Watched = "") -> AsyncIterator[Happened | None]:
    """Fires when a container starts."""
    async for one in _events(ctx, "start", container):
        yield one


@docker.action(
    "Image updated", poll="6h", dedupe="key", sentence="there is a new image of {container}",
    sample=Updated(id="nginx:1 sha256:c0ffee", image="nginx:1", digest="sha256:c0ffee", old="sha256:bad",
                   containers=("web",)),
)  # fmt: skip
async def image_updated(ctx: Context, container: Watched = "") -> AsyncIterator[Updated]:
    """Fires when the registry has a newer image under the name by which a container was made. Nothing is pulled.

    The engine asks the registry, with its own rights. Images that were built here, and that are named by a digest, are
    left alone.
    """
    used: dict[str, set[str]] = {}
    for one in rows((await ctx.http.get("/containers/json")).json()):
        image = str(one.get("Image", ""))
        if (
            fnmatch.fnmatchcase(name_of(one), container or "*")
            and image
            and "@" not in image
            and "sha256:" not in image
        ):
            used.setdefault(image, set()).add(name_of(one))
    for image, names in sorted(used.items())[:IMAGES_MAX]:
        if (found := await _newer(ctx, image)) is not None:
            old, new = found
            yield Updated(id=f"{image} {new}", image=image, digest=new, old=old, containers=tuple(sorted(names)))


@docker.reaction("Start a container", sentence="start {container}", effect="idempotent", sample=Done(changed=True))
async def start(ctx: Context, container: One) -> Done:
    """Start a container; one that runs is left alone."""
    return await _change(ctx, container, "start")


@docker.reaction("Stop a container", sentence="stop {container}", effect="idempotent", sample=Done(changed=True))
async def stop(ctx: Context, container: One, wait: Wait = 10) -> Done:
    """Stop a container; one that stands still is left alone."""
    return await _change(ctx, container, "stop", t=wait)


@docker.reaction("Restart a container", sentence="restart {container}", sample=Done(changed=True))
async def restart(ctx: Context, container: One, wait: Wait = 10) -> Done:
    """Stop a container and start it again."""
    return await _change(ctx, container, "restart", t=wait)


@docker.reaction(
    "List the containers", sentence="list the containers", effect="read",
    sample=Listed((Container("web", "nginx:1", "running", "Up 2 hours (healthy)", "healthy", "4c01db0b339c"),)),
)  # fmt: skip
async def list(
    ctx: Context,
    container: Annotated[str, Field("Container", "Its name, with * for several; empty: all.")] = "",
    state: Literal["any", "running", "paused", "restarting", "exited", "created", "dead"] = "any",
) -> Listed:
    """List the containers of the machine, whether they run or not."""
    found = rows((await ctx.http.get("/containers/json", params={"all": True})).json())
    fitting = (one for one in found if fnmatch.fnmatchcase(name_of(one), container or "*"))
    return Listed(tuple(_container(one) for one in fitting if state in ("any", one.get("State"))))


async def _events(ctx: Context, action: str, container: str) -> AsyncIterator[Happened | None]:
    """Yield what happens from the cursor on: the engine remembers its last 256 events."""
    since = ctx.cursor.setdefault("since", int(ctx.now.timestamp()) * NS)
    filters = msgspec.json.encode({"type": ["container"], "event": [action.partition(":")[0]]}).decode()
    params = {"since": f"{since // NS}.{since % NS:09}", "filters": filters}
    async with ctx.http.stream("/events", params=params) as answer:
        yield None
        async with aclosing(answer.lines()) as lines:
            async for line in lines:
                found = _event(line) if line.strip() else {}
                actor = found.get("Actor") or {}
                attributes = dict(actor.get("Attributes") or {})
                name = str(attributes.get("name", ""))
                if found.get("Action") != action or not fnmatch.fnmatchcase(name, container or "*"):
                    continue
                ctx.cursor["since"] = max(ctx.cursor["since"], int(found.get("timeNano") or 0))
                yield _happened(found, str(actor.get("ID", "")), name, attributes)
    raise Transient("the engine ended its list of events")


def _event(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        raise Transient(f"the engine sent what is no event: {line[:100]}") from None
    return found


def _happened(found: dict[str, Any], number: str, name: str, attributes: dict[str, Any]) -> Happened:
    code, nano = str(attributes.pop("exitCode", "")), int(found.get("timeNano") or 0)
    attributes = {key: str(value) for key, value in attributes.items()}
    return Happened(
        id=f"{nano} {number[:12]} {found.get('Action')}", container=name, image=attributes.pop("image", ""),
        exit_code=int(code) if code.isdecimal() else None, number=number[:12], time=nano // 1_000_000,
        labels={key: value for key, value in attributes.items() if key not in ("name", "execDuration")},
    )  # fmt: skip


async def _newer(ctx: Context, image: str) -> tuple[str, str] | None:
    """Return the digest that is here and the registry's, None where they are the same or cannot be compared."""
    here = (await ctx.http.get(f"/images/{quote(image, safe='')}/json", ok=(404,))).json() or {}
    digests = [str(one).partition("@")[2] for one in here.get("RepoDigests") or ()]
    if not digests:
        return None  # built here
    answer = await ctx.http.get(f"/distribution/{quote(image, safe='')}/json", ok=(401, 403, 404))
    found = answer.json() if answer.status < 300 else {}
    digest = str((found.get("Descriptor") or {}).get("digest") or "")
    if not digest:
        ctx.log.info("the registry does not tell of %s: %s", image, answer.status)
    return (digests[0], digest) if digest and digest not in digests else None


async def _change(ctx: Context, container: str, what: str, **params: Any) -> Done:
    path = f"/containers/{quote(container, safe='')}/{what}"
    answer = await ctx.http.post(path, params=params, ok=(QUIET, 404))
    if answer.status == 404:
        raise Permanent(f"there is no container {container}")
    return Done(changed=answer.status != QUIET)


def _container(one: dict[str, Any]) -> Container:
    status = str(one.get("Status") or "")
    health = status.rpartition("(")[2].rstrip(")").removeprefix("health: ") if status.endswith(")") else ""
    return Container(
        name=name_of(one), image=str(one.get("Image", "")), state=str(one.get("State", "")), status=status,
        health=health if health in ("healthy", "unhealthy", "starting") else "", number=str(one.get("Id", ""))[:12],
        labels={str(key): str(value) for key, value in (one.get("Labels") or {}).items()},
    )  # fmt: skip
