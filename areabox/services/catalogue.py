"""Which services are there? areabox's own connectors, those of installed packages, and files in the data directory.

A connector that cannot be loaded is kept out with its error, and everything else lives on. A file that changes is
loaded again; if its new version is broken, the old one keeps running. areabox's own connectors are loaded when somebody
first asks for them: one file is one service, named by its id, so nothing needs to be loaded to know which there are.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import logging
import pkgutil
import re
import stat
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal

import msgspec

from areabox.errors import NotFoundError
from areabox.sdk import Connector
from areabox.services import operations
from areabox.services.operations import Operation
from areabox.services.ways import Way, way_of

log = logging.getLogger(__name__)

BUILTIN = "areabox.connectors"
GROUP = "areabox.connectors"
_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
Origin = Literal["builtin", "package", "file"]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service with all its operations, and the ways in."""

    id: str
    name: str
    about: str
    origin: Origin
    source: str  # the module or file
    connector: Connector
    actions: dict[str, Operation]  # by their name without the service's
    reactions: dict[str, Operation]
    ways: dict[str, Way]

    @property
    def needs_connection(self) -> bool:
        """Whether nothing works without a connection."""
        return bool(self.ways) and not any(way.optional for way in self.ways.values())


class LoadError(msgspec.Struct, frozen=True):
    """A connector that could not be loaded."""

    source: str
    message: str


class Catalogue:
    """The services that there are, by name."""

    def __init__(self, data_dir: Path | None = None) -> None:
        self._folder = data_dir / "connectors" if data_dir is not None else None
        self._services: dict[str, Service] = {}
        self._waiting: dict[str, str] = {}  # the modules of services that nobody has asked for yet, by the service's id
        self._actions: dict[str, Operation] = {}
        self._reactions: dict[str, Operation] = {}
        self._errors: dict[str, LoadError] = {}
        self._stamps: dict[Path, tuple[int, int, int]] = {}
        self._count = 0

    @classmethod
    def discover(cls, data_dir: Path | None = None) -> Catalogue:
        """Return a catalogue of everything that is installed or lies in `data_dir`/connectors."""
        found = cls(data_dir)
        found._waiting = {name.rpartition(".")[2]: name for name in _builtin_modules()}
        for point in importlib.metadata.entry_points(group=GROUP):
            found._load_module(point.value, "package")
        found.refresh()
        return found

    # -- asking ----------------------------------------------------------------------------------------------------

    def services(self) -> list[Service]:
        """Return all services, by name."""
        self._load_all()
        return sorted(self._services.values(), key=lambda service: service.name.lower())

    def service(self, id: str) -> Service:
        """Return a service; raises NotFoundError."""
        self._load(id)
        if id not in self._services:
            raise NotFoundError(f"there is no service {id}")
        return self._services[id]

    def action(self, name: str) -> Operation | None:
        """Return the action of that id, or of that id in former times."""
        if self._waiting:
            self._load(name.partition(".")[0])
        return self._actions.get(name)

    def reaction(self, name: str) -> Operation | None:
        """Return the reaction of that id, or of that id in former times."""
        if self._waiting:
            self._load(name.partition(".")[0])
        return self._reactions.get(name)

    def names(self, kind: str) -> list[str]:
        """Return the ids of all operations of a kind: `action` or `reaction`."""
        self._load_all()
        found = self._actions if kind == "action" else self._reactions
        return sorted(id for id, operation in found.items() if operation.id == id)

    def errors(self) -> list[LoadError]:
        """Return what could not be loaded, and why."""
        self._load_all()
        return list(self._errors.values())

    # -- loading ---------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Load what nobody has asked for yet, one after the other, so that nothing else stands still meanwhile."""
        for id in list(self._waiting):
            self._load(id)
            await asyncio.sleep(0)

    def add(self, connector: Connector, *, origin: Origin = "builtin", source: str = "") -> Service:
        """Add a connector, or replace the one that came from the same source; raises TypeError or ValueError."""
        service = build(connector, origin, source)
        present = self._services.get(service.id)
        holder = present.source if present is not None else self._waiting.get(service.id, source)
        if holder != source:
            raise ValueError(f"the service {service.id} is there already, from {holder}")
        self._services[service.id] = service
        self._index()
        return service

    def refresh(self) -> list[str]:
        """Load the files that came or changed, forget those that went, and return the ids of the services concerned."""
        if self._folder is None:
            return []
        stamps = {path: _stamp(path) for path in sorted(self._folder.glob("*.py")) if not path.name.startswith("_")}
        changed: list[str] = []
        for path in self._stamps.keys() - stamps.keys():
            changed += self._forget(path)
        for path, stamp in stamps.items():
            if self._stamps.get(path) != stamp:
                changed += self._load_file(path)
        self._stamps = stamps
        return changed

    def _load_all(self) -> None:
        for id in list(self._waiting):
            self._load(id)

    def _load(self, id: str) -> None:
        if (name := self._waiting.pop(id, None)) is not None:
            self._load_module(name, "builtin")

    def _load_module(self, name: str, origin: Origin) -> None:
        try:
            module = importlib.import_module(name)
            for connector in connectors_of(module):
                self.add(connector, origin=origin, source=name)
        except Exception as error:  # noqa: BLE001 -- whatever a connector's module does, the others must live on
            self._note(name, error)

    def _load_file(self, path: Path) -> list[str]:
        source = str(path)
        try:
            _refuse_writable(path)
            self._count += 1
            module = _executed(path, f"areabox_connectors_{self._count}_{path.stem}")
            services = [self.add(found, origin="file", source=source) for found in _some(connectors_of(module))]
        except Exception as error:  # noqa: BLE001 -- the same
            self._note(source, error)
            return []
        kept = [service.id for service in services]
        return kept + self._forget(path, kept)

    def _forget(self, path: Path, kept: Sequence[str] = ()) -> list[str]:
        """Drop what came from a file, but for what it still holds."""
        source = str(path)
        gone = [id for id, service in self._services.items() if service.source == source and id not in kept]
        for id in gone:
            del self._services[id]
        self._errors.pop(source, None)
        self._index()
        return gone

    def _note(self, source: str, error: Exception) -> None:
        log.warning("the connector %s cannot be used: %s", source, error, exc_info=error, extra={"source": source})
        self._errors[source] = LoadError(source, f"{type(error).__name__}: {error}{_place(error, source)}")

    def _index(self) -> None:
        services = self._services.values()
        self._actions = _by_id([operation for service in services for operation in service.actions.values()])
        self._reactions = _by_id([operation for service in services for operation in service.reactions.values()])


def build(connector: Connector, origin: Origin = "builtin", source: str = "") -> Service:
    """Return the service that a connector describes; raises TypeError or ValueError where it describes none."""
    if not _ID.fullmatch(connector.id):
        raise ValueError(f"{connector.id!r} is not an id: small letters, digits and _")
    return Service(
        id=connector.id,
        name=connector.name,
        about=connector.about,
        origin=origin,
        source=source,
        connector=connector,
        actions={name: operations.of_action(action) for name, action in connector.actions.items()},
        reactions={name: operations.of_reaction(reaction) for name, reaction in connector.reactions.items()},
        ways={way.id: way_of(connector, way) for way in connector.auth},
    )


def connectors_of(module: ModuleType) -> list[Connector]:
    """Return the connectors that a module holds."""
    found = [value for value in vars(module).values() if isinstance(value, Connector)]
    return list({id(connector): connector for connector in found}.values())


def _some(connectors: list[Connector]) -> list[Connector]:
    if not connectors:
        raise ValueError("it holds no Connector")
    return connectors


def _by_id(operations: list[Operation]) -> dict[str, Operation]:
    """Return operations by their ids and former ids, whichever was loaded first: an id of today wins over a former one.

    A bare former name is of the same service.
    """
    former = {old if "." in old else f"{one.service}.{old}": one for one in operations for old in one.was}
    return former | {one.id: one for one in operations}


def _builtin_modules() -> Iterator[str]:
    package = importlib.import_module(BUILTIN)
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            yield f"{BUILTIN}.{module.name}"


class _Fresh(SourceFileLoader):
    """Compiles the text each time: cached code is told apart by size and second only, which is too coarse for edits."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the file as it is now."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _executed(path: Path, name: str) -> ModuleType:
    """Run a file as a module of its own; a new name for each version, so that the old one stays whole."""
    loader = _Fresh(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader, origin=str(path))
    assert spec is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # typing looks names up there
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module  # type: ignore[no-any-return]


def _place(error: Exception, source: str) -> str:
    """Return the line of a file where its error came up, unless the error says so itself."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == source), None)
    return "" if line is None or isinstance(error, SyntaxError) else f" (line {line})"


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_mode


def _refuse_writable(path: Path) -> None:
    """Raise PermissionError for code that anybody on the machine may change."""
    for place in (path, path.parent):
        if place.stat().st_mode & stat.S_IWOTH:
            raise PermissionError(f"{place} may be changed by anybody; take the right to write from others")
