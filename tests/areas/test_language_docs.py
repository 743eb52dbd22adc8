"""The pages on the area language say what is true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from areabox.areas.document import KEYS, TRIGGER_KEYS
from areabox.areas.filters import FILTERS
from areabox.areas.methods import FUNCTIONS, METHODS
from areabox.areas.moments import Moment
from areabox.areas.questions import QUESTIONS
from areabox.areas.step_reader import BESIDE, COMMON, KINDS
from areabox.areas.template import expression

ROOT = Path(__file__).parent.parent.parent
LANGUAGE = (ROOT / "docs" / "area-language.md").read_text()
EXPRESSIONS = (ROOT / "docs" / "expressions.md").read_text()
FLOWS = sorted((ROOT / "tests" / "flow").glob("*.yaml"))
SHOWN = dict(re.findall(r"<!-- tests/flow/(\w+\.yaml) -->\n```yaml\n(.*?)```", LANGUAGE, re.DOTALL))
_ROW = re.compile(r"^\|(?: [^|]*\|)? `((?:[^`]|\\\|)+)` \| `([^`]+)` \|$", re.MULTILINE)
EXAMPLES = [(source.replace("\\|", "|"), json.loads(result)) for source, result in _ROW.findall(EXPRESSIONS)]
MANY = re.findall(r"```json\n(.*?)\n```", EXPRESSIONS, re.DOTALL)


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_an_example_of_the_page_is_the_document_that_is_tested(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    if path.name not in SHOWN:
        pytest.skip("it is not on the page")
    assert SHOWN[path.name] == "---\n".join(case["documents"])


def test_every_example_of_the_page_is_tested() -> None:
    assert set(SHOWN) <= {path.name for path in FLOWS}
    assert len(SHOWN) >= 27


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "if"])
def test_every_kind_of_step_has_a_section_with_an_example(kind: str) -> None:
    assert f"### {kind}\n" in LANGUAGE
    assert any(re.search(rf"^ *(- )+{kind}:", document, re.MULTILINE) for document in SHOWN.values())


@pytest.mark.parametrize(
    "key", sorted({*KEYS, *TRIGGER_KEYS, *COMMON, *(key for keys in BESIDE.values() for key in keys)})
)
def test_every_key_stands_on_the_page(key: str) -> None:
    assert f"`{key}`" in LANGUAGE or re.search(rf"^[ -]*{key}:", LANGUAGE, re.MULTILINE)


@pytest.mark.parametrize("name", sorted({*FILTERS, *QUESTIONS, *FUNCTIONS, *METHODS}))
def test_every_filter_test_function_and_method_stands_on_the_page(name: str) -> None:
    assert f"`{name}`" in EXPRESSIONS


def test_there_are_examples_of_expressions() -> None:
    assert len(EXAMPLES) > 60
    assert len(MANY) == 1


@pytest.mark.parametrize(("source", "result"), EXAMPLES, ids=[source for source, _ in EXAMPLES])
def test_an_expression_gives_what_the_page_says(source: str, result: Any) -> None:
    names = {**json.loads(MANY[0]), "now": Moment(1_767_225_600_000), "vars": {}, "steps": {}}
    assert expression(source).evaluate(names) == result
