"""G12: no template costs much, and none reads an attribute of a Python object, whatever somebody generates."""

from __future__ import annotations

import ast
import contextlib
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from areabox.areas import template as template_module
from areabox.areas.moments import Moment
from areabox.areas.template import EvaluationError, TemplateError, value
from tests.areas import hostile
from tests.security.figures import amount, cpu_ms, figure
from tests.support import any_machine

TEMPLATES = amount(300, 10_000)
WEIGHED = amount(100, 10_000)  # counting every byte takes ten times as long
FIRST_SEED = 1_000_000  # tests/areas takes the low ones
CPU_MS = any_machine(100.0)
MEMORY_BYTES = 10 << 20

READ: set[str] = set()  # names of attributes that anybody read of a Watched


class Watched(Mapping[str, Any]):
    """A value as the house hands it in, which notes every attribute that is read of it, and by which name."""

    leak = "the attribute was read"

    def __init__(self) -> None:
        object.__setattr__(self, "inner", {"title": "Hello", "n": 7, "list": [1, 2, 3]})

    def __getattribute__(self, name: str) -> Any:
        READ.add(name)
        return object.__getattribute__(self, name)

    def __getitem__(self, key: str) -> Any:
        return object.__getattribute__(self, "inner")[key]

    def __iter__(self) -> Iterator[str]:
        return iter(object.__getattribute__(self, "inner"))

    def __len__(self) -> int:
        return len(object.__getattribute__(self, "inner"))


WATCHED = Watched()
NAMES = {**hostile.NAMES, "now": Moment(1_767_225_600_000), "watched": WATCHED, "steps": WATCHED}
OWN = {"__class__", "items", "keys", "values", "get"}  # what the evaluator itself asks a Mapping for

ATTRIBUTES = [
    "__class__", "__init__", "__globals__", "__dict__", "__mro__", "__subclasses__", "__base__", "__bases__", "__self__",
    "__func__", "__code__", "__builtins__", "__import__", "__getattribute__", "__reduce__", "__reduce_ex__", "__module__",
    "__doc__", "__call__", "__wrapped__", "__slots__", "leak", "inner", "_abc_impl", "_ms", "mro", "gi_frame", "gi_code",
    "cr_frame", "f_globals", "f_builtins", "tb_frame", "func_globals", "format", "format_map", "environment", "_module",
]  # fmt: skip
HOLDERS = ["watched", "steps", "trigger", "now", "trigger.title", "trigger.n", "trigger.list", "''", "[]", "{}", "1.5",
           "range(3)", "namespace(a=1)", "trigger.title.upper", "self", "loop", "cycler", "lipsum", "joiner", "none"]  # fmt: skip
FORMS = [
    "{{{{ {0}.{1} }}}}", "{{{{ {0}['{1}'] }}}}", "{{{{ {0} | attr('{1}') }}}}", "{{{{ [{0}] | map(attribute='{1}') | list }}}}",
    "{{{{ [{0}] | map('attr', '{1}') | list }}}}", "{{{{ [{0}] | sort(attribute='{1}') }}}}", "{{{{ [{0}] | selectattr('{1}') | list }}}}",
    "{{{{ [{0}] | groupby('{1}') }}}}", "{{{{ [{0}] | sum(attribute='{1}') }}}}", "{{{{ {0}.get('{1}') }}}}", "{{{{ {0}.{1}() }}}}",
    "{{{{ {0}.{1}.{2} }}}}", "{{{{ {0}.{1}.{2}.{1}['{2}']() }}}}", "{{{{ [{0}] | map(attribute='{1}.{2}') | list }}}}",
    "{{{{ '{{0.{1}}}'.format({0}) }}}}", "{{{{ '{{0.{1}.{2}}}' | format({0}) }}}}", "{{{{ '%({1})s' | format({0}) }}}}",
    "{{{{ {0}[('{1}'[:3] ~ '{1}'[3:])] }}}}", "{{% set x = {0} %}}{{{{ x.{1} }}}}", "{{% for x in [{0}] %}}{{{{ x.{1} }}}}{{% endfor %}}",
    "{{% set ns = namespace(a={0}) %}}{{% set ns.{1} = 1 %}}{{{{ ns.a.{1} }}}}", "{{{{ [{0}] | unique(attribute='{1}') | list }}}}",
    "{{{{ [{0}] | min(attribute='{1}') }}}}", "{{{{ [{0}] | rejectattr('{1}', 'none') | list }}}}", "{{{{ [{0}] | join(',', attribute='{1}') }}}}",
]  # fmt: skip


def probe(random: Random) -> str:
    """Return a template that asks an object for an attribute, one way or another."""
    return random.choice(FORMS).format(random.choice(HOLDERS), random.choice(ATTRIBUTES), random.choice(ATTRIBUTES))


def made(number: int) -> str:
    """Return the template of this number: a costly one, or every third time one that wants an attribute."""
    random = Random(FIRST_SEED + number)
    return probe(random) if number % 3 == 0 else hostile.template(random)


def render(source: str) -> Any:
    with contextlib.suppress(TemplateError, EvaluationError):
        return value(source).render(NAMES)


def strangers(found: Any) -> Iterator[str]:
    """Yield the types in a result that JSON has not."""
    if type(found) is dict:
        for key, inner in found.items():
            yield from strangers(key)
            yield from strangers(inner)
    elif type(found) in (list, tuple):
        for inner in found:
            yield from strangers(inner)
    elif found is not None and type(found) not in (str, int, float, bool):
        yield type(found).__name__


def test_generated_templates_cost_little_and_read_no_attribute() -> None:
    READ.clear()
    worst_ms, costly, leaks = 0.0, [], []
    for number in range(TEMPLATES):
        source, found = made(number), None
        best = CPU_MS + 1
        for _ in range(3):
            start = cpu_ms()
            found = render(source)
            best = min(best, cpu_ms() - start)
            if best <= CPU_MS:
                break
        worst_ms = max(worst_ms, best)
        if best > CPU_MS:
            costly.append(source)
        if found is not None and list(strangers(found)):
            leaks.append(source)
        if type(found) is str and ("the attribute was read" in found or " object at 0x" in found or "<class '" in found):
            leaks.append(source)
    figure("G12", f"{TEMPLATES:,} templates: worst {worst_ms:.0f} ms CPU; attributes read: {len(READ - OWN)}")
    assert costly == []
    assert leaks == []
    assert READ <= OWN


def test_generated_templates_take_little_memory() -> None:
    worst, greedy = 0, []
    tracemalloc.start()
    try:
        for number in range(WEIGHED):
            source = made(number)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            render(source)
            peak = tracemalloc.get_traced_memory()[1] - before
            worst = max(worst, peak)
            if peak > MEMORY_BYTES:
                greedy.append((peak, source))
    finally:
        tracemalloc.stop()
    figure("G12", f"{WEIGHED:,} templates: worst {worst / 2**20:.1f} MiB")
    assert greedy == []


def test_the_evaluator_has_no_way_to_an_attribute_of_a_name_that_it_is_given() -> None:
    """Nothing in the language's own files looks an attribute up by a name in a variable, nor compiles anything."""
    folder = Path(template_module.__file__).parent
    names = ("template", "compiler", "statements", "operators", "methods", "values", "scope", "questions", "moments")
    files = [folder / f"{name}.py" for name in names] + sorted(folder.glob("filters*.py"))
    fixed = {  # of a node's own type, of lists that are written there, of an int's name in `math`
        "getattr(self, f'_{type(node).__name__.lower()}', None)", "getattr(math, method)", "getattr(str, name)", "getattr(when, name)",
    }  # fmt: skip
    forbidden = {"eval", "exec", "compile", "__import__", "vars", "setattr", "delattr", "globals", "locals", "attrgetter", "methodcaller"}
    found = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in forbidden and not (name == "compile" and isinstance(node.func, ast.Attribute)):
                found.append(f"{path.name}:{node.lineno} {name}")
            if name in ("getattr", "hasattr") and not isinstance(node.args[1], ast.Constant) and ast.unparse(node) not in fixed:
                found.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
    assert found == []
