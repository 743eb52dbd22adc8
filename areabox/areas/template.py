"""What an expression is, and what a value with templates in it is.

`expression("trigger.n > 10")` and `value({"text": "Hello {{ trigger.name }}"})` are made once for a version of an area
and evaluated often. The syntax is Jinja's; the evaluator is areabox's own and bounded (see `budget`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import Environment, TemplateSyntaxError
from jinja2 import nodes as jinja
from jinja2.lexer import Lexer, Token
from jinja2.parser import Parser

from areabox.areas.attempts import TemplateError
from areabox.areas.budget import Budget, EvaluationError
from areabox.areas.compiler import Closure, Compiler
from areabox.areas.moments import Moment
from areabox.areas.statements import block, run
from areabox.areas.values import plain, text, truth
from areabox.errors import Problem

__all__ = ["EvaluationError", "Expression", "Moment", "TemplateError", "Value", "expression", "has_template", "value"]

MAX_SOURCE = 65_536
MAX_EXPRESSION = 8_192
MAX_CODE = 16_384
Names = Mapping[str, Any]
_CODE = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)
_ENDS = ("}}", "%}", "#}")
_UNKNOWN_ESCAPE = re.compile(r"\\([\\'\"nrtxuUN\n])|\\")


class _Lexer(Lexer):
    r"""Jinja's, but a backslash that begins no usual escape stays: `'\b\d+'` is a pattern, `'\1'` a group of it."""

    def wrap(
        self, stream: Iterable[tuple[int, str, str]], name: str | None = None, filename: str | None = None
    ) -> Iterator[Token]:
        kept = (
            (line, kind, _UNKNOWN_ESCAPE.sub(lambda found: found[0] if found[1] else "\\\\", text))
            if kind == "string"
            else (line, kind, text)
            for line, kind, text in stream
        )
        return super().wrap(kept, name, filename)


class _Syntax(Environment):
    """Jinja's syntax; only the parser is used."""

    lexer = property(lambda self: self.own_lexer)

    def __init__(self) -> None:
        super().__init__(keep_trailing_newline=True, autoescape=False)
        self.own_lexer = _Lexer(self)


_parser = _Syntax()


class Expression:
    """A bare expression, as `if` and `each` hold it.

    `names` are the root names that it needs, `asked` those that may be missing, `steps` the ids used as `steps.x`.
    """

    __slots__ = ("_closure", "asked", "names", "source", "steps")

    def __init__(self, source: str, closure: Closure, compiler: Compiler) -> None:
        self.source = source
        self.names = frozenset(compiler.needed)
        self.asked = frozenset(compiler.asked) - self.names
        self.steps = frozenset(compiler.steps)
        self._closure = closure

    def evaluate(self, names: Names) -> Any:
        """Return its value, of JSON types; raises EvaluationError."""
        return _evaluated(self._closure, names)

    def true(self, names: Names) -> bool:
        """Return whether its value counts as true; raises EvaluationError."""
        return truth(self.evaluate(names))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"


class Value:
    """A JSON value, compiled, with templates in its strings at any depth.

    `literal` says that there is none, `source` is the JSON; `names`, `asked` and `steps` are as in `Expression`.
    """

    __slots__ = ("_closure", "asked", "literal", "names", "source", "steps")

    def __init__(self, source: Any, closure: Closure | None, compiler: Compiler) -> None:
        self.source = source
        self.literal = closure is None
        self.names = frozenset(compiler.needed)
        self.asked = frozenset(compiler.asked) - self.names
        self.steps = frozenset(compiler.steps)
        self._closure = closure

    def render(self, names: Names) -> Any:
        """Return the value with its templates filled in, of JSON types; raises EvaluationError with the path."""
        return self.source if self._closure is None else _evaluated(self._closure, names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and other.source == self.source

    def __hash__(self) -> int:
        return hash(repr(self.source))

    def __repr__(self) -> str:
        return f"Value({self.source!r})"


def expression(source: str) -> Expression:
    """Compile a bare expression; raises TemplateError."""
    if len(source) > MAX_EXPRESSION:
        raise TemplateError(f"an expression has at most {MAX_EXPRESSION:,} characters")
    if source.strip().startswith("{{") and source.strip().endswith("}}"):
        raise TemplateError(f"this is an expression already: write {source.strip()[2:-2].strip()} without {{{{ }}}}")
    compiler = Compiler()
    return Expression(source, _compiled(lambda: _typed(_parse_expression(source), compiler)), compiler)


def value(source: Any) -> Value:
    """Compile a JSON value with templates in its strings; raises TemplateError, whose problems have pointers."""
    compiler, problems = Compiler(), list[Problem]()
    closure = _value(source, "", compiler, problems)
    if problems:
        raise TemplateError("; ".join(str(problem) for problem in problems), problems=problems)
    return Value(source, closure, compiler)


def has_template(source: Any) -> bool:
    """Return whether a text holds `{{`, `{%` or `{#`."""
    return isinstance(source, str) and "{" in source and ("{{" in source or "{%" in source or "{#" in source)


def _evaluated(closure: Closure, names: Names) -> Any:
    budget = Budget(names)
    try:
        return closure(names, budget)
    except RecursionError:
        raise EvaluationError("the value is nested too deeply") from None


def _value(source: Any, pointer: str, compiler: Compiler, problems: list[Problem]) -> Closure | None:
    """Return the closure of a value; None where it is literal."""
    if isinstance(source, str):
        if not has_template(source):
            return None
        try:
            return _compiled(lambda: _text(source, compiler))
        except TemplateError as error:
            problems.append(Problem(pointer, str(error)))
            return None
    if isinstance(source, dict):
        parts = {key: _value(item, f"{pointer}/{escaped(key)}", compiler, problems) for key, item in source.items()}
        return _object(source, parts) if any(parts.values()) else None
    if isinstance(source, list):
        items = [_value(item, f"{pointer}/{index}", compiler, problems) for index, item in enumerate(source)]
        return _array(source, items) if any(items) else None
    return None


def escaped(key: object) -> str:
    """Return a key as it stands in a JSON Pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


def _object(source: dict[str, Any], parts: dict[str, Closure | None]) -> Closure:
    live = [(key, part) for key, part in parts.items() if part is not None]

    def render(names: Names, budget: Budget) -> Any:
        made = dict(source)
        for key, part in live:
            try:
                made[key] = part(names, budget)
            except EvaluationError as error:
                raise error.inside(key) from None
        return made

    return render


def _array(source: list[Any], items: list[Closure | None]) -> Closure:
    live = [(index, part) for index, part in enumerate(items) if part is not None]

    def render(names: Names, budget: Budget) -> Any:
        made = list(source)
        for index, part in live:
            try:
                made[index] = part(names, budget)
            except EvaluationError as error:
                raise error.inside(index) from None
        return made

    return render


def _text(source: str, compiler: Compiler) -> Closure:
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"a text with {{{{ }}}} has at most {MAX_SOURCE:,} characters")
    last = max(map(source.rfind, _ENDS)) + 2  # without an end behind it a brace would be read for over and over again
    if sum(map(len, _CODE.findall(source, 0, last))) > MAX_CODE:
        raise TemplateError(f"there are more than {MAX_CODE:,} characters inside {{{{ }}}} and {{% %}}")
    body = _parser.parse(source).body
    outputs = [node for part in body for node in (part.nodes if isinstance(part, jinja.Output) else (None,))]
    if len(outputs) == 1 and outputs[0] is not None and source.startswith("{{") and source.endswith("}}"):
        return _typed(outputs[0], compiler)
    if None not in outputs:
        return _joined([_piece(node, compiler) for node in outputs if node is not None])
    compiler.bound, outside = set(), compiler.bound
    statements, compiler.bound = block(compiler, body), outside

    def render(names: Names, budget: Budget) -> str:
        out: list[str] = []
        run(statements, dict(names), budget, out.append)
        return "".join(out)

    return render


def _typed(node: jinja.Expr, compiler: Compiler) -> Closure:
    """Return the closure of a value of JSON types; what was handed in and is not touched is not walked through."""
    closure, untouched = compiler.compile(node), _is_path(node)

    def get(names: Names, budget: Budget) -> Any:
        found = closure(names, budget)
        kind = found.__class__
        if kind is str or kind is bool or kind is int or (untouched and (kind is dict or kind is list)):
            return found
        return plain(found, budget)

    return get


def _is_path(node: jinja.Node) -> bool:
    while isinstance(node, (jinja.Getattr, jinja.Getitem)):
        node = node.node
    return isinstance(node, jinja.Name)


def _piece(node: jinja.Expr, compiler: Compiler) -> str | Closure:
    return node.data if isinstance(node, jinja.TemplateData) else compiler.compile(node)


def _joined(pieces: list[str | Closure]) -> Closure:
    """Return the closure of a text that only has `{{ }}` in it."""

    def render(names: Names, budget: Budget) -> str:
        out = []
        for piece in pieces:
            found = piece if piece.__class__ is str else piece(names, budget)  # type: ignore[operator]
            out.append(found if found.__class__ is str else text(found, budget))
            budget.room(len(out[-1]))
        return "".join(out)

    return render


def _parse_expression(source: str) -> jinja.Expr:
    parser = Parser(_parser, source, state="variable")
    node = parser.parse_expression()
    if not parser.stream.eos:
        found = str(parser.stream.current)[:40]
        hint = "; to compare, write ==" if found == "=" else ""
        raise TemplateError(f"the expression ends before {found!r}{hint}")
    return node


_SAYINGS = {
    r"(?s)unexpected end of template.*to be closed is '(\w+)'.*": r"{% \1 %} is not closed: {% end\1 %} is missing",
    r"(?s)unexpected end of template, expected '(.*)'\.": r"it ends where \1 belongs",
    r"unexpected 'end of (template|print statement)'": "it ends too early",
    r"expected token 'end of print statement', got '(.*)'": r"}} belongs before '\1'",
    r"unexpected '\}'": "a }} is missing",
    r"unexpected char '[&!]' at \d+|expected token 'name', got '\|'": "write and, or and not as words",
    r"unexpected char '\?' at \d+": "a choice is written x if test else y",
    r"""unexpected char "'" at \d+|unexpected char '"' at \d+""": "a quote is not closed",
    r"unexpected '='": "to compare, write ==",
    r"(?s)encountered unknown tag '(\w+)'.*": r"there is no {% \1 %}; if, for, set and with are there",
}


def _said(message: str) -> str:
    """Return what Jinja's parser says in our words."""
    for pattern, words in _SAYINGS.items():
        found = re.fullmatch(pattern, message, re.IGNORECASE)
        if found:
            return found.expand(words)
    return message


def _compiled(make: Callable[[], Closure]) -> Closure:
    try:
        return make()
    except TemplateSyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno > 1 else ""
        raise TemplateError(f"{line}{_said(str(error.message))}", line=error.lineno) from None
    except RecursionError:
        raise TemplateError("it is nested too deeply") from None
    except ValueError as error:  # a number with too many digits
        raise TemplateError(str(error)) from None
