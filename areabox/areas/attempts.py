"""What a person is told where a template cannot be compiled, or something that it calls fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from jinja2 import nodes as jinja

from areabox.areas.budget import EvaluationError
from areabox.errors import InputError, Problem

_TROUBLE = (ValueError, TypeError, ArithmeticError, LookupError, InputError)


class TemplateError(InputError):
    """An expression or template cannot be used as it is written; `line` counts from 1 inside it."""

    def __init__(self, message: str, *, line: int = 1, problems: list[Problem] | None = None) -> None:
        super().__init__(message, problems)
        self.line = line


def fail(node: jinja.Node, message: str) -> NoReturn:
    """Raise a TemplateError that knows the node's line."""
    where = f"line {node.lineno}: " if node.lineno > 1 else ""
    raise TemplateError(where + message, line=node.lineno)


def spell(node: jinja.Node) -> str:
    """Return a path as it is written: `trigger.items[0].x`."""
    if isinstance(node, jinja.Name):
        return str(node.name)
    if isinstance(node, jinja.Getattr):
        return f"{spell(node.node)}.{node.attr}"
    if isinstance(node, jinja.Getitem):
        if isinstance(node.arg, jinja.Const):
            value = node.arg.value
            plain = isinstance(value, str) and value.isidentifier()
            shown = value[:40] if isinstance(value, str) else value
            return f"{spell(node.node)}.{value}" if plain else f"{spell(node.node)}[{shown!r}]"
        return f"{spell(node.node)}[…]"
    return "(…)"


def attempt(what: str, operate: Callable[..., Any], *given: Any) -> Any:
    """Return what an operator makes of its values; raises EvaluationError."""
    try:
        return operate(*given)
    except ZeroDivisionError:
        raise EvaluationError(f"{what}: division by zero") from None
    except _TROUBLE as error:
        raise EvaluationError(f"{what}: {error}") from None


def called(what: str, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Return what a filter, test, function or method gives; raises EvaluationError that names it."""
    try:
        return function(*given, **named)
    except (EvaluationError, *_TROUBLE) as error:
        raise EvaluationError(f"{what}: {error}") from None
