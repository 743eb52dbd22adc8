"""The JSON Schema of the document: what is valid passes, and what a schema can refuse is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from areabox.areas.document import parse_many
from areabox.areas.schema import DIALECT, schema
from areabox.areas.source import read
from areabox.errors import InputError
from tests.areas.fake_catalogue import FakeCatalogue
from tests.areas.test_emit import DOCUMENT

HERE = Path(__file__).parent
FLOWS = sorted((HERE.parent / "flow").glob("*.yaml"))
PLAIN, KNOWING = schema(), schema(FakeCatalogue())
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
# what a schema cannot say: it knows no names, no other documents, and not which keys fit which operation
BEYOND = {
    "area-twice", "comparison", "connection-not-needed", "error-outside-a-handler", "every-of-a-webhook",
    "expression-syntax", "filter-unknown", "if-without-then", "item-outside-a-loop", "missed-of-a-poll",
    "name-null", "name-unknown", "secret-missing", "step-id-twice", "step-in-another-branch", "step-inside-a-loop",
    "step-runs-later", "step-unknown", "step-uses-itself", "template-not-closed", "template-syntax",
    "timeout-no-duration", "trigger-id-twice", "trigger-with-template", "wait-for-else-without-timeout",
    "wait-no-duration", "wait-until-no-time",
}  # fmt: skip


def valid(rule: Any, data: Any, root: dict[str, Any]) -> bool:
    """Return whether data is valid; of JSON Schema as much as this one uses."""
    if "$ref" in rule and not valid(root["$defs"][rule["$ref"].rpartition("/")[2]], data, root):
        return False
    kinds = rule.get("type", [])
    if kinds and not any(_is(data, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if "enum" in rule and data not in rule["enum"]:
        return False
    if "anyOf" in rule and not any(valid(one, data, root) for one in rule["anyOf"]):
        return False
    if "oneOf" in rule and sum(valid(one, data, root) for one in rule["oneOf"]) != 1:
        return False
    if "not" in rule and valid(rule["not"], data, root):
        return False
    if isinstance(data, str):
        fits = rule.get("minLength", 0) <= len(data) <= rule.get("maxLength", 10**9)
        return fits and ("pattern" not in rule or re.search(rule["pattern"], data) is not None)
    if isinstance(data, (int, float)):
        return rule.get("minimum", data) <= data <= rule.get("maximum", data)
    if isinstance(data, list):
        fits = rule.get("minItems", 0) <= len(data) <= rule.get("maxItems", 10**9)
        return fits and all(valid(rule.get("items", {}), item, root) for item in data)
    return not isinstance(data, dict) or _valid_object(rule, data, root)


def _is(data: Any, kind: str) -> bool:
    return isinstance(data, _TYPES[kind]) and not (isinstance(data, bool) and kind in ("integer", "number"))


def _valid_object(rule: dict[str, Any], data: dict[str, Any], root: dict[str, Any]) -> bool:
    if any(key not in data for key in rule.get("required", ())) or len(data) < rule.get("minProperties", 0):
        return False
    if "propertyNames" in rule and not all(valid(rule["propertyNames"], key, root) for key in data):
        return False
    for key, item in data.items():
        rules = [rule["properties"][key]] if key in rule.get("properties", {}) else []
        rules += [one for pattern, one in rule.get("patternProperties", {}).items() if re.search(pattern, key)]
        if not rules and rule.get("additionalProperties") is False:
            return False
        if not all(valid(one, item, root) for one in rules):
            return False
    return True


def test_the_schema_is_of_the_current_dialect_and_names_every_key_in_order() -> None:
    assert PLAIN["$schema"] == DIALECT
    assert list(PLAIN["properties"])[:3] == ["area", "name", "about"]
    assert "ntfy.publish" in KNOWING["$defs"]["step"]["oneOf"][0]["properties"]


@pytest.mark.parametrize("rule", [PLAIN, KNOWING], ids=["plain", "knowing"])
def test_a_valid_document_passes(rule: dict[str, Any]) -> None:
    assert valid(rule, read(DOCUMENT)[0].data, rule)


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_the_documents_that_run_pass(path: Path) -> None:
    for text in yaml.safe_load(path.read_text())["documents"]:
        assert valid(PLAIN, read(text)[0].data, PLAIN)


@pytest.mark.parametrize("path", sorted((HERE / "broken").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_broken_document_is_refused_where_a_schema_can(path: Path) -> None:
    try:
        documents = read(path.read_text())
    except InputError:
        return
    assert all(valid(KNOWING, one.data, KNOWING) for one in documents) is (path.stem in BEYOND)


def test_a_parameter_may_be_a_template_and_a_trigger_may_not() -> None:
    text = "area: x\nwhen:\n  - rss.new_entry: {feed: a}\nthen:\n  - ntfy.publish: {topic: a, message: b, priority: PRIORITY}\n"
    fits = lambda priority: valid(KNOWING, read(text.replace("PRIORITY", priority))[0].data, KNOWING)
    assert [fits(one) for one in ("3", '"{{ trigger.n }}"', "high")] == [True, True, False]
    parse_many(text.replace("PRIORITY", "3"), catalogue=FakeCatalogue())
