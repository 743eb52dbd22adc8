"""How a text with `{{ }}` and `{% %}` becomes something that can be rendered quickly.

Each statement becomes a closure that appends to a list of texts. A `for` pays for every iteration by the number of
nodes in its body, so that the nodes themselves need not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jinja2 import nodes as jinja

from areabox.areas.attempts import fail
from areabox.areas.budget import Budget, EvaluationError
from areabox.areas.compiler import Closure, Compiler
from areabox.areas.values import Namespace, sequence, text, truth

MAX_BLOCKS = 20
Scope = dict[str, Any]
Writer = Callable[[str], None]
Statement = Callable[[Scope, Budget, Writer], None]


class _Loop(NamedTuple):
    target: tuple[str, ...]
    items: Closure
    test: Closure | None
    body: list[Statement]
    otherwise: list[Statement]
    weight: int
    counts: bool  # whether the body looks at `loop`


def block(compiler: Compiler, nodes: list[jinja.Node]) -> list[Statement]:
    """Return the statements of a body."""
    made: list[Statement] = []
    compiler.blocks += 1
    if compiler.blocks > MAX_BLOCKS and nodes:
        fail(nodes[0], f"{{% %}} is nested more than {MAX_BLOCKS} deep")
    for node in nodes:
        compiler.weight += 1
        made.extend(_statement(compiler, node))
    compiler.blocks -= 1
    return made


def run(statements: list[Statement], names: Scope, budget: Budget, write: Writer) -> None:
    """Do the statements one after the other."""
    for statement in statements:
        statement(names, budget, write)


def _statement(compiler: Compiler, node: jinja.Node) -> list[Statement]:
    if isinstance(node, jinja.Output):
        return [_output(compiler, part) for part in node.nodes]
    make = _MAKERS.get(type(node))
    if make is None:
        fail(node, f"{{% {type(node).__name__.lower()} %}} is not supported; if, for, set and with are")
    return [make(compiler, node)]


def _output(compiler: Compiler, node: jinja.Node) -> Statement:
    if isinstance(node, jinja.TemplateData):
        data = node.data

        def copy(_names: Scope, budget: Budget, write: Writer) -> None:
            budget.room(len(data))
            write(data)

        return copy
    value = compiler.compile(node)

    def show(names: Scope, budget: Budget, write: Writer) -> None:
        found = value(names, budget)
        write(budget.made(found if found.__class__ is str else text(found, budget)))

    return show


def _if(compiler: Compiler, node: jinja.If) -> Statement:
    branches = [(compiler.truth(one.test), block(compiler, one.body)) for one in (node, *node.elif_)]
    otherwise = block(compiler, node.else_)

    def choose(names: Scope, budget: Budget, write: Writer) -> None:
        for test, body in branches:
            if test(names, budget):
                run(body, names, budget, write)
                return
        run(otherwise, names, budget, write)

    return choose


def _for(compiler: Compiler, node: jinja.For) -> Statement:
    if node.recursive:
        fail(node, "recursive loops are not supported")
    target = _targets(node.target)
    items = compiler.compile(node.iter)
    outside, before = set(compiler.bound), compiler.weight
    compiler.bound |= {*target, "loop"}
    test = compiler.truth(node.test) if node.test else None
    body = block(compiler, node.body)
    weight, compiler.bound = compiler.weight - before, outside
    otherwise = block(compiler, node.else_)
    counts = any(name.name == "loop" for part in node.body for name in _names(part))
    return _repeat(_Loop(target, items, test, body, otherwise, weight, counts))


def _names(node: jinja.Node) -> list[jinja.Name]:
    return [node] if isinstance(node, jinja.Name) else list(node.find_all(jinja.Name))


def _repeat(loop: _Loop) -> Statement:
    def repeat(names: Scope, budget: Budget, write: Writer) -> None:
        items = sequence(loop.items(names, budget), budget)
        if loop.test is not None:
            items = [item for item in items if _passes(loop, item, names, budget)]
        for index, item in enumerate(items):
            budget.take(loop.weight + 5 + (len(names) >> 2))
            inside = {**names, **_unpack(loop.target, item)}
            if loop.counts:
                inside["loop"] = _counters(index, items)
            run(loop.body, inside, budget, write)
        if not items:
            run(loop.otherwise, names, budget, write)

    return repeat


def _passes(loop: _Loop, item: Any, names: Scope, budget: Budget) -> bool:
    budget.take(loop.weight)
    return loop.test is None or truth(loop.test({**names, **_unpack(loop.target, item)}, budget))


def _counters(index: int, items: list[Any]) -> dict[str, Any]:
    count = len(items)
    counters = {
        "index": index + 1,
        "index0": index,
        "revindex": count - index,
        "revindex0": count - index - 1,
        "first": index == 0,
        "last": index == count - 1,
        "length": count,
    }
    if index:
        counters["previtem"] = items[index - 1]
    if index + 1 < count:
        counters["nextitem"] = items[index + 1]
    return counters


def _targets(node: jinja.Node) -> tuple[str, ...]:
    if isinstance(node, jinja.Name):
        return (node.name,)
    names = [part.name for part in node.items if isinstance(part, jinja.Name)] if isinstance(node, jinja.Tuple) else []
    if not isinstance(node, jinja.Tuple) or len(names) != len(node.items):
        fail(node, "only a name, or names with commas, can be assigned to")
    return tuple(names)


def _unpack(target: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(target) == 1:
        return {target[0]: value}
    if not isinstance(value, (list, tuple)) or len(value) != len(target):
        raise EvaluationError(f"{', '.join(target)} take a list of {len(target)} values")
    return dict(zip(target, value, strict=True))


def _set(compiler: Compiler, node: jinja.Assign) -> Statement:
    value = compiler.compile(node.node)
    if isinstance(node.target, jinja.NSRef):
        return _change(compiler, node.target, value)
    target = _targets(node.target)
    compiler.bound.update(target)

    def assign(names: Scope, budget: Budget, _write: Writer) -> None:
        names.update(_unpack(target, value(names, budget)))

    return assign


def _change(compiler: Compiler, target: jinja.NSRef, value: Closure) -> Statement:
    if target.name not in compiler.bound:
        fail(target, f"{target.name} is not a namespace; begin with {{% set {target.name} = namespace() %}}")

    def change(names: Scope, budget: Budget, _write: Writer) -> None:
        space = names.get(target.name)
        if not isinstance(space, Namespace):
            raise EvaluationError(f"{target.name} is not a namespace")
        if len(space.values) > 1000:
            raise EvaluationError("a namespace has at most 1,000 values")
        space.values[target.attr] = value(names, budget)

    return change


def _set_block(compiler: Compiler, node: jinja.AssignBlock) -> Statement:
    if not isinstance(node.target, jinja.Name) or node.filter is not None:
        fail(node, "a set block takes one name and no filter")
    name, body = node.target.name, block(compiler, node.body)
    compiler.bound.add(name)

    def assign(names: Scope, budget: Budget, _write: Writer) -> None:
        out: list[str] = []
        run(body, dict(names), budget, out.append)
        names[name] = "".join(out)

    return assign


def _with(compiler: Compiler, node: jinja.With) -> Statement:
    values = [compiler.compile(value) for value in node.values]
    targets = [_targets(target) for target in node.targets]
    outside = set(compiler.bound)
    compiler.bound.update(name for target in targets for name in target)
    body, compiler.bound = block(compiler, node.body), outside

    def inside(names: Scope, budget: Budget, write: Writer) -> None:
        scope = dict(names)
        for target, value in zip(targets, values, strict=True):
            scope.update(_unpack(target, value(names, budget)))
        run(body, scope, budget, write)

    return inside


_MAKERS: dict[type[jinja.Node], Callable[[Compiler, Any], Statement]] = {
    jinja.If: _if,
    jinja.For: _for,
    jinja.Assign: _set,
    jinja.AssignBlock: _set_block,
    jinja.With: _with,
}
