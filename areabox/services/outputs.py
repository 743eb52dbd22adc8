"""What do later steps see of an event or a result? JSON values under the names of the struct's attributes.

A struct may rename its fields to read a provider's answer (`rename={"url": "html_url"}`); what it gives keeps its own
names.
"""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.sdk import Event
from areabox.services.forms import inline

_WRITTEN = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class Output(msgspec.Struct):
    """The values that one operation gives."""

    type: Any
    sample: Any = None
    renamed: bool | None = None

    def plain(self, value: Any) -> Any:
        """Return a value as JSON values: nothing that a writing and reading would change."""
        if value is None or (type(value) is dict and _is_json(value)):
            return value
        if self.renamed is None:
            self.renamed = any(_renames(found) for found in _structs(self.type))
        return _unpacked(value) if self.renamed else msgspec.json.decode(msgspec.json.encode(value))

    def schema(self) -> dict[str, Any]:
        """Return what they look like, as JSON Schema; of an untyped mapping what the sample shows."""
        if self.type is type(None):
            return {"type": "null"}
        if isinstance(self.type, type) and issubclass(self.type, msgspec.Struct):
            found = _own_names(inline(msgspec.json.schema(self.type), self.type), _structs(self.type))
            if self._is_nameless():
                del found["properties"]["id"]
            return found
        return _inferred(self.sample)

    def shown(self) -> Any:
        """Return the sample as later steps would see it; an empty id is not shown."""
        plain = self.plain(self.sample)
        return {name: value for name, value in plain.items() if name != "id"} if self._is_nameless() else plain

    def _is_nameless(self) -> bool:
        return isinstance(self.sample, Event) and not self.sample.id


def _is_json(value: Any) -> bool:
    """Tell whether a value is made of JSON's own types already, as the answer of a service is."""
    pending = [value]
    while pending:
        current = pending.pop()
        kind = type(current)
        if kind is dict:
            if not all(type(key) is str for key in current):
                return False
            pending.extend(current.values())
        elif kind is list:
            pending.extend(current)
        elif kind not in _WRITTEN:
            return False
    return True


def _unpacked(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _unpacked(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, (list, tuple)):
        return [_unpacked(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _unpacked(item) for key, item in value.items()}
    return msgspec.to_builtins(value, str_keys=True)


def _structs(type_: Any) -> list[type[msgspec.Struct]]:
    """Return every struct that a type is made of."""
    found: list[type[msgspec.Struct]] = []
    pending: list[Any] = [msgspec.inspect.type_info(type_)]
    while pending:
        current = pending.pop()
        if isinstance(current, msgspec.inspect.StructType):
            if current.cls in found:
                continue
            found.append(current.cls)
            pending += [field.type for field in current.fields]
        elif isinstance(current, msgspec.inspect.UnionType):
            pending += current.types
        else:
            parts = [getattr(current, name, None) for name in ("type", "item_type", "key_type", "value_type")]
            pending += [part for part in parts if isinstance(part, msgspec.inspect.Type)]
    return found


def _renames(struct: type[msgspec.Struct]) -> bool:
    return struct.__struct_fields__ != struct.__struct_encode_fields__


def _own_names(schema: dict[str, Any], structs: list[type[msgspec.Struct]]) -> dict[str, Any]:
    for struct in structs:
        definition = schema if schema.get("title") == struct.__name__ else schema.get("$defs", {}).get(struct.__name__)
        if definition is None or not _renames(struct):
            continue
        names = dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))
        definition["properties"] = {names[key]: value for key, value in definition.get("properties", {}).items()}
        definition["required"] = [names[key] for key in definition.get("required", [])]
    return schema


def _inferred(sample: Any) -> dict[str, Any]:
    if isinstance(sample, dict):
        return {"type": "object", "properties": {str(key): _inferred(value) for key, value in sample.items()}}
    if isinstance(sample, list):
        return {"type": "array", **({"items": _inferred(sample[0])} if sample else {})}
    if sample is None:
        return {}
    return {"type": _WRITTEN.get(type(sample), "string")}
