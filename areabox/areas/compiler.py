"""How an expression becomes something that can be evaluated quickly.

Jinja's parser gives a tree; each node becomes a closure `(names, budget) -> value`. There is no Jinja environment, no
generated code, no attribute access and no call but those in the tables of `filters`, `questions` and `methods`.

A node is compiled *strictly*, where undefined is an error, or *leniently*, where it is a value that `default` and
`is defined` can look at.
"""

# ruff: noqa: FBT001 -- one signature for the handlers of all nodes

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes as jinja

from areabox.areas import filters, methods, operators, questions
from areabox.areas.attempts import attempt, called, fail, spell
from areabox.areas.budget import Budget, EvaluationError, Undefined
from areabox.areas.nearest import did_you_mean
from areabox.areas.values import bounded, number, truth

Names = Mapping[str, Any]
Closure = Callable[[Names, Budget], Any]
MAX_NESTING = 100
_CALL = 8  # nodes that a filter, test or call weighs besides its own
_BINARY: dict[type[jinja.Node], operators.Binary] = {
    jinja.Add: operators.add,
    jinja.Sub: operators.subtract,
    jinja.Mul: operators.multiply,
    jinja.Div: operators.divide,
    jinja.FloorDiv: operators.floor_divide,
    jinja.Mod: operators.modulo,
    jinja.Pow: operators.power,
}


class Compiler:
    """Turns the nodes of one template into closures, and notes which names they need."""

    def __init__(self) -> None:
        self.needed: dict[str, None] = {}  # root names that must be there, in order of their use
        self.asked: dict[str, None] = {}  # root names that may be missing
        self.steps: dict[str, None] = {}
        self.bound: set[str] = set()
        self.weight = 0
        self.blocks = 0  # how deep in statements it is
        self._depth = 0

    def compile(self, node: jinja.Node, *, lenient: bool = False) -> Closure:
        """Return the closure of an expression node."""
        make = getattr(self, f"_{type(node).__name__.lower()}", None)
        if make is None or not isinstance(node, jinja.Expr):
            fail(node, f"{type(node).__name__.lower()} cannot be used in an expression")
        self._depth += 1
        self.weight += 1
        if self._depth > MAX_NESTING:
            fail(node, "the expression is nested too deeply")
        made: Closure = make(node, lenient)
        self._depth -= 1
        return made

    def truth(self, node: jinja.Node) -> Closure:
        """Return the closure that says whether an expression is true."""
        value = self.compile(node)
        if isinstance(node, (jinja.Compare, jinja.Not, jinja.Test)):
            return value
        return lambda names, budget: truth(value(names, budget))

    # names and what is inside them

    def _const(self, node: jinja.Const, _lenient: bool) -> Closure:
        value = node.value
        try:
            bounded(value)
        except EvaluationError as error:
            fail(node, str(error))
        return lambda _names, _budget: value

    def _templatedata(self, node: jinja.TemplateData, _lenient: bool) -> Closure:
        value = node.data
        return lambda _names, _budget: value

    def _name(self, node: jinja.Name, lenient: bool) -> Closure:
        name = node.name
        if name not in self.bound:
            (self.asked if lenient else self.needed)[name] = None

        def get(names: Names, _budget: Budget) -> Any:
            try:
                return names[name]
            except KeyError:
                missing = Undefined(name, name, names)
                if lenient:
                    return missing
                raise missing.error() from None

        return get

    def _getattr(self, node: jinja.Getattr, lenient: bool) -> Closure:
        return self._member(node, node.attr, lenient=lenient)

    def _getitem(self, node: jinja.Getitem, lenient: bool) -> Closure:
        if isinstance(node.arg, jinja.Slice):
            return self._cut(node, node.arg)
        if isinstance(node.arg, jinja.Const) and isinstance(node.arg.value, (str, int)):
            return self._member(node, node.arg.value, lenient=lenient)
        holder, key, spelled = self.compile(node.node, lenient=lenient), self.compile(node.arg), spell(node)

        def get(names: Names, budget: Budget) -> Any:
            found = operators.pick(holder(names, budget), key(names, budget), spelled)
            if found.__class__ is Undefined and not lenient:
                raise found.error()
            return found

        return get

    def _member(self, node: jinja.Getattr | jinja.Getitem, key: str | int, *, lenient: bool) -> Closure:
        inner = node.node
        if isinstance(inner, jinja.Name) and inner.name == "steps" and "steps" not in self.bound:
            self.steps[str(key)] = None
        holder, spelled, pick = self.compile(inner, lenient=lenient), spell(node), operators.pick

        def get(names: Names, budget: Budget) -> Any:
            whole = holder(names, budget)
            if whole.__class__ is dict and key in whole:
                return whole[key]
            found = pick(whole, key, spelled)
            if found.__class__ is Undefined and not lenient:
                raise found.error()
            return found

        return get

    def _cut(self, node: jinja.Getitem, bounds: jinja.Slice) -> Closure:
        holder = self.compile(node.node)
        parts = [self.compile(part) if part is not None else None for part in (bounds.start, bounds.stop, bounds.step)]

        def get(names: Names, budget: Budget) -> Any:
            start, stop, step = (part and part(names, budget) for part in parts)
            return attempt("[:]", operators.cut, holder(names, budget), start, stop, step, budget)

        return get

    # literals

    def _list(self, node: jinja.List, _lenient: bool) -> Closure:
        items = [self.compile(item) for item in node.items]
        return lambda names, budget: [item(names, budget) for item in items]

    def _tuple(self, node: jinja.Tuple, _lenient: bool) -> Closure:
        items = [self.compile(item) for item in node.items]
        return lambda names, budget: tuple([item(names, budget) for item in items])

    def _dict(self, node: jinja.Dict, _lenient: bool) -> Closure:
        pairs = [(self.compile(pair.key), self.compile(pair.value)) for pair in node.items]

        def get(names: Names, budget: Budget) -> Any:
            return {_key(key(names, budget)): value(names, budget) for key, value in pairs}

        return get

    # operators

    def _binary(self, node: jinja.BinExpr, _lenient: bool) -> Closure:
        left, right, operate = self.compile(node.left), self.compile(node.right), _BINARY[type(node)]
        sign = node.operator

        def get(names: Names, budget: Budget) -> Any:
            return attempt(sign, operate, left(names, budget), right(names, budget), budget)

        return get

    _add = _sub = _mul = _div = _floordiv = _mod = _pow = _binary

    def _neg(self, node: jinja.Neg, _lenient: bool) -> Closure:
        value = self.compile(node.node)
        return lambda names, budget: operators.negative(value(names, budget))

    def _pos(self, node: jinja.Pos, _lenient: bool) -> Closure:
        value = self.compile(node.node)
        return lambda names, budget: number(value(names, budget))

    def _not(self, node: jinja.Not, _lenient: bool) -> Closure:
        value = self.truth(node.node)
        return lambda names, budget: not value(names, budget)

    def _and(self, node: jinja.And, lenient: bool) -> Closure:
        left, right = self.compile(node.left), self.compile(node.right, lenient=lenient)

        def get(names: Names, budget: Budget) -> Any:
            value = left(names, budget)
            return right(names, budget) if truth(value) else value

        return get

    def _or(self, node: jinja.Or, lenient: bool) -> Closure:
        left, right = self.compile(node.left), self.compile(node.right, lenient=lenient)

        def get(names: Names, budget: Budget) -> Any:
            value = left(names, budget)
            return value if truth(value) else right(names, budget)

        return get

    def _condexpr(self, node: jinja.CondExpr, lenient: bool) -> Closure:
        test, yes = self.truth(node.test), self.compile(node.expr1, lenient=lenient)
        if node.expr2 is None:  # prints nothing, as in Jinja; `is defined` and `default` see that it is not there
            nothing: Any = Undefined("the value of an if without else") if lenient else ""
            no: Closure = lambda _names, _budget: nothing
        else:
            no = self.compile(node.expr2, lenient=lenient)
        return lambda names, budget: yes(names, budget) if test(names, budget) else no(names, budget)

    def _concat(self, node: jinja.Concat, _lenient: bool) -> Closure:
        parts = [self.compile(part) for part in node.nodes]
        return lambda names, budget: operators.join([part(names, budget) for part in parts], budget)

    def _compare(self, node: jinja.Compare, _lenient: bool) -> Closure:
        first = self.compile(node.expr)
        rest = [(operators.COMPARE[part.op], self.compile(part.expr), part.op) for part in node.ops]

        def get(names: Names, budget: Budget) -> bool:
            left = first(names, budget)
            for compare, operand, sign in rest:
                right = operand(names, budget)
                if not attempt(sign, compare, left, right, budget):
                    return False
                left = right
            return True

        return get

    # filters, tests, calls

    def _filter(self, node: jinja.Filter, lenient: bool) -> Closure:
        self.weight += _CALL
        name, function = node.name, filters.FILTERS.get(node.name)
        if function is None:
            fail(node, f"there is no filter {name}{did_you_mean(name, filters.FILTERS)}")
        if node.node is None:
            fail(node, f"the filter {name} has nothing to work on")
        if name in filters.FORGIVING:
            return self._default(node, lenient)
        value = self.compile(node.node, lenient=lenient)
        call = self._arguments(node, f"filter {name}", function, 2)

        def get(names: Names, budget: Budget) -> Any:
            given = value(names, budget)
            if given.__class__ is Undefined:
                return given
            found = call(names, budget, given, budget)
            if found.__class__ is Undefined and not lenient:
                raise found.error()
            return found

        return get

    def _default(self, node: jinja.Filter, lenient: bool) -> Closure:
        """Compile `x | default(y)`, which looks at y only where there is no x."""
        self._arguments(node, f"filter {node.name}", filters.default, 2)
        assert node.node is not None
        value = self.compile(node.node, lenient=True)
        places = [self.compile(argument, lenient=lenient) for argument in node.args]
        words = {str(pair.key): self.compile(pair.value, lenient=lenient) for pair in node.kwargs}
        otherwise = words.get("default_value") or _at(places, 0, "")
        boolean = words.get("boolean") or _at(places, 1, False)

        def get(names: Names, budget: Budget) -> Any:
            found = value(names, budget)
            if found.__class__ is Undefined or (truth(boolean(names, budget)) and not truth(found)):
                return otherwise(names, budget)
            return found

        return get

    def _test(self, node: jinja.Test, _lenient: bool) -> Closure:
        self.weight += _CALL
        function = questions.QUESTIONS.get(node.name)
        if function is None:
            fail(node, f"there is no test {node.name}{did_you_mean(node.name, questions.QUESTIONS)}")
        value = self.compile(node.node, lenient=node.name in questions.FORGIVING)
        call = self._arguments(node, f"test {node.name}", function, 2)
        return lambda names, budget: call(names, budget, value(names, budget), budget)

    def _call(self, node: jinja.Call, lenient: bool) -> Closure:
        self.weight += _CALL
        if isinstance(node.node, jinja.Name) and node.node.name not in self.bound:
            name = node.node.name
            if name not in methods.FUNCTIONS:
                hint = did_you_mean(name, methods.FUNCTIONS)
                hint = hint or (f"; write x | {name}" if name in filters.FILTERS else "")
                fail(node, f"there is no function {name}{hint}")
            call = self._arguments(node, name, methods.FUNCTIONS[name], 1)
            return lambda names, budget: call(names, budget, budget)
        if not isinstance(node.node, jinja.Getattr):
            fail(node, "only functions and methods can be called")
        return self._method(node, node.node, lenient)

    def _method(self, node: jinja.Call, target: jinja.Getattr, lenient: bool) -> Closure:
        name = target.attr
        if name not in methods.METHODS:
            hint = did_you_mean(name, methods.METHODS) or (f"; write x | {name}" if name in filters.FILTERS else "")
            fail(node, f"there is no method {name}(){hint}")
        holder = self.compile(target.node, lenient=lenient)
        call = self._arguments(node, f"{name}()", methods.METHODS[name], 2)

        def get(names: Names, budget: Budget) -> Any:
            whole = holder(names, budget)
            if whole.__class__ is Undefined:
                return whole
            return call(names, budget, whole, budget)

        return get

    def _arguments(self, node: Any, what: str, function: Callable[..., Any], given: int) -> Callable[..., Any]:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            fail(node, f"{what}: * and ** are not supported")
        words = {pair.key: self.compile(pair.value) for pair in node.kwargs}
        try:
            inspect.signature(function).bind(*range(given + len(node.args)), **words)
        except TypeError as error:
            fail(node, f"{what}: {error}")
        problem = filters.misnamed(node)
        if problem:
            fail(node, f"{what}: {problem}")
        places = [self.compile(argument) for argument in node.args]
        if not places and not words:
            return lambda _names, _budget, *first: called(what, function, *first)

        def call(names: Names, budget: Budget, *first: Any) -> Any:
            rest = [place(names, budget) for place in places]
            if not words:
                return called(what, function, *first, *rest)
            named = {key: value(names, budget) for key, value in words.items()}
            return called(what, function, *first, *rest, **named)

        return call


def _at(places: list[Closure], index: int, otherwise: Any) -> Closure:
    """Return the closure of an argument, or of its default."""
    return places[index] if index < len(places) else lambda _names, _budget: otherwise


def _key(value: Any) -> Any:
    if isinstance(value, (str, int, float, type(None))):
        return value
    raise EvaluationError("a key of an object is text")
