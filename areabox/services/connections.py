"""Whose accounts are there at services? Rows of `connection`, their secrets sealed, and what is known of their health.

A connection belongs to one owner. Secrets go in and never come out, except opened up as an `Account` for a call. A dead
connection is one that a service refused; it wakes when a person gives it new values or a test succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one
from areabox.errors import (
    AuthExpired,
    ConfigurationError,
    ConflictError,
    ConnectorError,
    InputError,
    NotFoundError,
    Permanent,
    Problem,
)
from areabox.services.accounts import Account, route_of
from areabox.services.catalogue import Catalogue, Service
from areabox.services.secrets import Scrubber
from areabox.services.typed import checked_name, place, plain
from areabox.services.vault import Vault
from areabox.services.ways import Way

ERROR_LENGTH_MAX = 500
_INSERT = """
insert into connection (id, owner, name, service, auth, config, secret, state, created)
values (?, ?, ?, ?, ?, ?, ?, 'new', ?)
"""
_LIST = """
select * from connection where owner = ? and id > ? and (? = '' or service = ?) order by id limit ?
"""
_USABLE = """
select * from connection where (owner = ? or id in (select object from share where kind = 'connection' and account = ?))
   and service = ? order by owner <> ?, id limit 200
"""
_SHARED = "select 1 from share where kind = 'connection' and account = ? and object = ?"
_UPDATE = """
update connection set name = ?, auth = ?, config = ?, secret = ?, state = 'new', error = null, version = version + 1
where id = ? and version = ?
"""
_STATE = """
update connection set state = ?, error = ?, account = coalesce(?, account), checked = ?
where id = ? and version = ? and (state <> ? or ? = 1)
"""
_RESEAL = "update connection set secret = ? where id = ? and secret = ?"
_BY_NAME = (
    "select * from connection where owner = ? and (id = ? or name = ?) order by case when id = ? then 0 else 1 end"
)

OnState = Callable[[str, str], Awaitable[None]]
Tester = Callable[[Account], Awaitable[str]]
Trusts = Callable[[str], Awaitable[bool]]


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One account at a service, without its secrets; `secrets` names those that are set. Times are milliseconds."""

    id: str
    owner: str
    name: str
    service: str
    auth: str
    config: dict[str, Any]
    secrets: tuple[str, ...]
    state: str
    account: str
    error: str | None
    checked: int | None
    version: int
    created: int


class Connections:
    """The connections of everybody."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        catalogue: Catalogue,
        vault: Vault,
        *,
        scrubber: Scrubber | None = None,
        trusts: Trusts | None = None,
    ) -> None:
        self._backend, self._clock, self._catalogue, self._vault = backend, clock, catalogue, vault
        self.scrubber = scrubber or Scrubber()  # knows every secret that was ever opened, for logs
        self._trusts = trusts  # whether what an owner types may be an address at home
        self.tester: Tester | None = None  # whoever calls connectors
        self.on_state: list[OnState] = []
        self._accounts: dict[str, Account] = {}
        self._resolved: dict[tuple[str, str, str | None], str | None] = {}
        self._usable: dict[tuple[str, str], bool] = {}

    # -- for people ------------------------------------------------------------------------------------------------

    async def list(self, owner: str, *, service: str = "", limit: int = 100, after: str = "") -> list[Connection]:
        """Return an owner's connections, oldest first, those after the id `after`."""
        rows = await self._backend.read(_LIST, owner, after, service, service, limit)
        return [self._read(row) for row in rows]

    async def get(self, owner: str, name: str) -> Connection:
        """Return a connection by its id or name; raises NotFoundError."""
        return self._read(await self._row(owner, name))

    async def create(
        self, owner: str, service: str, values: Mapping[str, Any], *, name: str | None = None, auth: str | None = None
    ) -> Connection:
        """Store a new connection; raises InputError for values that do not fit, ConflictError for a name that is taken.

        `auth` is one of the service's ways in; its only or first one if left out.
        """
        way = self._way(service, auth)
        values = plain(way, way.form.convert(values))
        id, name = self._clock.new_id(), await self._free_name(owner, service, name)
        config, secret = self._split(id, way, values)
        unit = Unit().do(_INSERT, id, owner, name, service, way.id, config, secret, self._clock.now_ms(), expect=1)
        await self._commit(unit, id, owner, name)
        return await self.get(owner, id)

    async def update(
        self,
        owner: str,
        name: str,
        *,
        values: Mapping[str, Any] | None = None,
        rename: str | None = None,
        version: int | None = None,
    ) -> Connection:
        """Change a connection; secrets that are not given stay. Raises ConflictError if it is not at `version`.

        A new address asks for the secrets again: else whoever may edit, but not read them, could have them sent away.
        """
        row = await self._row(owner, name)
        if version is not None and version != row["version"]:
            raise ConflictError(f"the connection {row['name']} was changed since it was read")
        way = self._way(row["service"], row["auth"])
        before = self._values(row)
        given = {key: value for key, value in (values or {}).items() if not (value is None and key in before)}
        after = plain(way, way.form.convert({**before, **given}))
        self._refuse_redirection(way, row["service"], before, after, given)
        config, secret = self._split(row["id"], way, after)
        unit = Unit().do(
            _UPDATE, checked_name(rename or row["name"]), way.id, config, secret, row["id"], row["version"], expect=1
        )  # fmt: skip
        await self._commit(unit, row["id"], owner, rename or row["name"])
        if values:
            await self._tell(row["id"], "new")
        return await self.get(owner, row["id"])

    async def delete(self, owner: str, name: str) -> None:
        """Forget a connection and its secrets; raises NotFoundError."""
        row = await self._row(owner, name)
        unit = Unit().do("delete from connection where id = ?", row["id"])
        await self._backend.commit(unit.publish("connection", id=row["id"], owner=owner, state="gone"))
        self._changed(row["id"])
        await self._tell(row["id"], "gone")

    async def test(self, owner: str, name: str) -> Connection:
        """Ask the service whether the connection works, note the answer, and return the connection."""
        row = await self._row(owner, name)
        assert self.tester is not None, "nobody can call connectors"
        account = msgspec.structs.replace(await self._open(row), dead=None)
        try:
            label = await self.tester(account)
        except ConnectorError as error:
            await self._note(account.id, account.version, "dead", str(error) or type(error).__name__, always=True)
        else:
            await self._note(account.id, account.version, "ok", None, label=label[:200], always=True)
        return await self.get(owner, account.id)

    # -- for calls -------------------------------------------------------------------------------------------------

    async def resolve(self, owner: str, service: str, name: str | None) -> str | None:
        """Return the id of the connection that is meant; raises InputError if none or several fit.

        None for a service that works without one, if no name was given and none or several exist.
        """
        known = self._resolved.get((owner, service, name), "")
        if known != "":
            return known
        found = [self._read(row) for row in await self._backend.read(_USABLE, owner, owner, service, owner)]
        if name is None:  # what others share is only meant where there is no own
            found = [connection for connection in found if connection.owner == owner] or found
        self._resolved[owner, service, name] = id = self._choose(service, name, found)
        return id

    async def account(self, id: str) -> Account:
        """Open a connection up for a call; raises AuthExpired if it is gone."""
        account = self._accounts.get(id)
        if account is None:
            row = await one(self._backend, "select * from connection where id = ?", id)
            if row is None:
                raise AuthExpired("its connection was removed")
            account = self._accounts[id] = await self._open(row)
        return account

    async def usable(self, owner: str, id: str) -> bool:
        """Tell whether an owner's areas may use this connection of somebody else, who shares it."""
        known = self._usable.get((owner, id))
        if known is None:
            known = self._usable[owner, id] = await one(self._backend, _SHARED, owner, id) is not None
        return known

    async def dead(self, id: str, why: str, *, version: int | None = None) -> None:
        """Note that a service refused a connection, unless it was changed since."""
        if version is None:
            row = await one(self._backend, "select version from connection where id = ?", id)
            version = row["version"] if row is not None else 0
        await self._note(id, version, "dead", why)

    async def trusted(self, owner: str) -> bool:
        """Tell whether addresses that an owner typed may be addresses at home."""
        return self._trusts is not None and await self._trusts(owner)

    def forget(self) -> None:
        """Read everything again when it is next needed, since rights or connectors have changed."""
        self._accounts.clear()
        self._resolved.clear()
        self._usable.clear()

    async def reseal(self, limit: int = 200) -> int:
        """Seal anew what an old key sealed, at most `limit` rows, and return how many; 0 when all is done."""
        units: list[Unit] = []
        for row in await self._backend.read("select id, secret from connection where secret is not null"):
            if len(units) < limit and self._vault.is_old(old := row["secret"]):
                sealed = self._vault.seal(_purpose(row["id"]), self._vault.open(_purpose(row["id"]), old))
                units.append(Unit().do(_RESEAL, sealed, row["id"], old))
        return sum(await asyncio.gather(*map(self._backend.commit, units)))  # each alone, but on disk together

    # -- rows ------------------------------------------------------------------------------------------------------

    async def _row(self, owner: str, name: str) -> Row:
        row = await one(self._backend, _BY_NAME, owner, name, name, name)
        if row is None:
            raise NotFoundError(f"there is no connection {name}")
        return row

    def _read(self, row: Row) -> Connection:
        state, error = row["state"], row["error"]
        try:
            names = self._values(row) if row["secret"] is not None else {}
        except ConfigurationError as lost:  # another key: one connection is dead, the others are shown
            names, state, error = {}, "dead", str(lost)
        config = msgspec.json.decode(row["config"])
        return Connection(
            id=row["id"],
            owner=row["owner"],
            name=row["name"],
            service=row["service"],
            auth=row["auth"],
            config=config,
            secrets=tuple(key for key, value in names.items() if key not in config and value),
            state=state,
            account=row["account"],
            error=error,
            checked=row["checked"],
            version=row["version"],
            created=row["created"],
        )

    def _values(self, row: Row) -> dict[str, Any]:
        values: dict[str, Any] = msgspec.json.decode(row["config"])
        if row["secret"] is not None:
            values |= msgspec.json.decode(self._vault.open(_purpose(row["id"]), row["secret"]))
        return values

    def _split(self, id: str, way: Way, values: Mapping[str, Any]) -> tuple[str, bytes | None]:
        """Return the columns of values: what may lie open as JSON, and the rest sealed."""
        hidden = {name: values[name] for name in way.form.secrets if name in values}
        self.scrubber.learn(str(value) for value in hidden.values())
        open_ = {name: value for name, value in values.items() if name not in hidden}
        sealed = self._vault.seal(_purpose(id), msgspec.json.encode(hidden)) if hidden else None
        return msgspec.json.encode(open_).decode(), sealed

    async def _open(self, row: Row) -> Account:
        service = self._service(row["service"])
        way = service.ways.get(row["auth"])
        if way is None:
            raise AuthExpired(f"{service.name} no longer has the way in {row['auth']}")
        values = self._values(row)
        try:
            view = way.view(values)
        except InputError as error:
            raise AuthExpired(f"{service.name} asks for more now: {error}") from None
        typed = await self.trusted(row["owner"])
        route = route_of(service.connector, way, view, typed=typed)
        secrets = [str(values[name]) for name in way.form.secrets if values.get(name)]
        if route.credentials is not None:
            secrets += [text.partition(" ")[2] or text for _, text in route.credentials.headers]
        self.scrubber.learn(secrets)
        return Account(
            id=row["id"],
            owner=row["owner"],
            service=row["service"],
            version=row["version"],
            dead=(row["error"] or "the connection does not work") if row["state"] == "dead" else None,
            view=view,
            route=route,
            scrubber=Scrubber(secrets),
        )

    def _service(self, id: str) -> Service:
        try:
            return self._catalogue.service(id)
        except NotFoundError as error:
            raise Permanent(f"{error}; is its connector still installed?") from error

    def _way(self, service: str, auth: str | None) -> Way:
        ways = self._catalogue.service(service).ways
        usable = {id: way for id, way in ways.items() if way.form.fields}
        if not usable:
            raise InputError(f"{service} works without a connection")
        if auth is not None and auth not in usable:
            raise InputError(f"{service} has no way in called {auth}; there is {', '.join(usable)}",
                             [Problem("/auth", f"choose one of {', '.join(usable)}")])  # fmt: skip
        return usable[auth] if auth is not None else next(iter(usable.values()))

    def _refuse_redirection(
        self, way: Way, service: str, before: Mapping[str, Any], after: Mapping[str, Any], given: Mapping[str, Any]
    ) -> None:
        kept = [name for name in way.form.secrets if after.get(name) and name not in given]
        if kept and place(self._service(service), way, before) != place(self._service(service), way, after):
            raise InputError(
                "the address is another one, so the secrets must be given again",
                [Problem(f"/values/{name}", "give it again, since the address changed") for name in kept],
            )

    async def _free_name(self, owner: str, service: str, name: str | None) -> str:
        if name is not None:
            return checked_name(name)
        taken = {row["name"] for row in await self._backend.read("select name from connection where owner = ?", owner)}
        names = (service if n == 1 else f"{service}-{n}" for n in range(1, len(taken) + 2))
        return next(candidate for candidate in names if candidate not in taken)

    def _choose(self, service: str, name: str | None, found: Sequence[Connection]) -> str | None:
        if name is not None:
            fitting = [connection for connection in found if name in (connection.name, connection.id)]
            if not fitting:
                raise InputError(f"there is no connection {name} for {service}; {_existing(service, found)}")
            return fitting[0].id
        if len(found) == 1:
            return found[0].id
        if not self._service(service).needs_connection:
            return None
        if found:
            raise InputError(f"say which connection is meant: {', '.join(c.name for c in found)}")
        raise InputError(f"{service} needs a connection; {_existing(service, found)}")

    # -- health ----------------------------------------------------------------------------------------------------

    async def _note(
        self, id: str, version: int, state: str, error: str | None, *, label: str | None = None, always: bool = False
    ) -> None:
        text = None if error is None else self.scrubber.text(error)[:ERROR_LENGTH_MAX]
        unit = Unit().do(
            _STATE, state, text, label, self._clock.now_ms(), id, version, state, int(always), expect=1
        ).publish("connection", id=id, state=state)  # fmt: skip
        if await self._backend.commit(unit):
            self._changed(id)
            await self._tell(id, state)

    async def _tell(self, id: str, state: str) -> None:
        for listener in self.on_state:
            await listener(id, state)

    async def _commit(self, unit: Unit, id: str, owner: str, name: str) -> None:
        unit.publish("connection", id=id, owner=owner)
        try:
            written = await self._backend.commit(unit)
        except ConflictError:
            raise ConflictError(f"there is a connection {name} already") from None
        if not written:
            raise ConflictError(f"the connection {name} was changed since it was read")
        self._changed(id)

    def _changed(self, id: str) -> None:
        self._accounts.pop(id, None)
        self._resolved.clear()


def _purpose(id: str) -> str:
    return f"connection|secret|{id}"


def _existing(service: str, found: Sequence[Connection]) -> str:
    if not found:
        return f"you have none for {service} yet"
    return f"there is {', '.join(connection.name for connection in found)}"
