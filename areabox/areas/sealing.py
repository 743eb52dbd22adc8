"""How do secrets lie in documents? Sealed where they are stored, open where they run, starred wherever they are shown.

A secret is what stands in a field that its operation declares so. In a stored document it is `{"$sealed": text}`. A
document that comes back with stars keeps the secrets that the area has already.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from areabox.areas.views import CatalogueView
from areabox.errors import ConfigurationError, InputError, Problem

STARS = "***"
_MARK = "$sealed"
Document = dict[str, Any]
Change = Callable[[Any, str, str], Any]  # value of a secret field, whose it is, its JSON Pointer → what is put there


class Seal(Protocol):
    """Encrypts and decrypts."""

    def seal(self, purpose: str, data: bytes) -> bytes:
        """Encrypt for one purpose."""
        ...

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Decrypt what was encrypted for that purpose."""
        ...


class Sealing:
    """Seals, opens and stars the secrets of documents."""

    def __init__(self, catalogue: CatalogueView, vault: Seal) -> None:
        self._catalogue, self._vault = catalogue, vault

    def seal(self, area: str, document: Document) -> Document:
        """Return a document as it is stored."""

        def sealed(value: Any, _place: str, _pointer: str) -> Any:
            if not isinstance(value, str) or not value:
                return value
            return {_MARK: b64encode(self._vault.seal(_purpose(area), value.encode())).decode()}

        return self._changed(document, sealed)

    def open(self, area: str, document: Document) -> Document:
        """Return a stored document as it runs; raises InputError where the key is another."""
        try:
            found: Document = _opened(document, lambda text: self._vault.open(_purpose(area), b64decode(text)).decode())
        except ConfigurationError as error:
            raise InputError(f"its secrets cannot be opened, give them again: {error}") from error
        return found

    def star(self, document: Document) -> Document:
        """Return a document, stored or open, as it is shown."""
        starred: Document = _opened(document, lambda _text: STARS)
        return self._changed(starred, lambda value, _place, _pointer: STARS if value else value)

    def restore(self, document: Document, before: Document | None) -> Document:
        """Return a document whose stars are replaced by the secrets of the same steps; raises InputError."""
        known: dict[str, Any] = {}
        problems = [Problem(pointer, f"{_MARK} is not for documents") for pointer in _sealed_at(document)]
        if before is not None:
            self._changed(before, lambda value, place, _pointer: known.setdefault(place, value))

        def restored(value: Any, place: str, pointer: str) -> Any:
            if value == STARS and place not in known:
                detail = "the stars stand for a secret that is not known here; write the secret itself"
                problems.append(Problem(pointer, detail))
            return known.get(place) if value == STARS else value

        result = self._changed(document, restored)
        if problems:
            raise InputError("; ".join(map(str, problems)), problems)
        return result

    def _changed(self, document: Document, change: Change) -> Document:
        return {name: self._walk(part, name, f"/{name}", change) for name, part in document.items()}

    def _walk(self, value: Any, place: str, pointer: str, change: Change) -> Any:
        """Go through a part of a document; `place` says which trigger or step it is of, wherever that stands."""
        if isinstance(value, list):
            return [self._walk(item, place, f"{pointer}/{index}", change) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("id"), str):
            place = f"{pointer[1:5]} {value['id']}"
        return {
            name: self._params(name, item, place, f"{pointer}/{name}", change)
            or self._walk(item, place, f"{pointer}/{name}", change)
            for name, item in value.items()
        }

    def _params(self, operation: str, params: Any, place: str, pointer: str, change: Change) -> Document | None:
        """Return the parameters of an operation with secret fields changed; None if it has no such fields."""
        if "." not in operation or not isinstance(params, dict):
            return None
        found = self._catalogue.action(operation) or self._catalogue.reaction(operation)
        fields: Mapping[str, Any] = found.fields if found is not None else {}
        secret = [name for name in params if name in fields and getattr(fields[name], "secret", False)]
        if not secret:
            return None
        return {
            name: change(value, f"{place} {operation} {name}", f"{pointer}/{name}") if name in secret else value
            for name, value in params.items()
        }


def _sealed_at(value: Any, pointer: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {_MARK}:
            yield pointer
        for name, item in value.items():
            yield from _sealed_at(item, f"{pointer}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _sealed_at(item, f"{pointer}/{index}")


def _opened(value: Any, open: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_opened(item, open) for item in value]
    if isinstance(value, dict):
        if set(value) == {_MARK}:
            return open(value[_MARK])
        return {name: _opened(item, open) for name, item in value.items()}
    return value


def _purpose(area: str) -> str:
    return f"area_version|document|{area}"
