"""Which names and which steps an expression at a place in the document may use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from areabox.areas.nearest import did_you_mean
from areabox.areas.template import Expression, Value, escaped

ROOT_NAMES = frozenset(("trigger", "steps", "vars", "run", "area", "now"))
_ADVICE = {
    "item": "; it exists only inside an each step",
    "index": "; it exists only inside an each or repeat step",
    "error": "; it exists only in the steps under on_error",
    "event": "; it exists only in the if of a wait_for step, and is called trigger elsewhere",
    "null": "; write none",
    "loop": "; it exists only inside {% for %}",
    "ask": "; it exists only in the via of an ask step",
}
_LOOPS = ("each", "repeat")


class Scope:
    """A list of steps: the names it sees, the ids of the steps that have run before, and the scope around it."""

    def __init__(self, names: Iterable[str] = ROOT_NAMES, around: Scope | None = None) -> None:
        self.names: frozenset[str] = frozenset(names) | (around.names if around else frozenset())
        self.around = around
        self.ids: set[str] = set()

    def inside(self, *names: str, ids: Iterable[str] = ()) -> Scope:
        """Return the scope of a list of steps within this one."""
        made = Scope(names, self)
        made.ids.update(ids)
        return made

    def sees(self, step: str) -> bool:
        """Return whether the step has run before, or may have."""
        return step in self.ids or (self.around is not None and self.around.sees(step))


class Steps:
    """All steps of a document: their ids by pointer, the default ones filled in."""

    def __init__(self, steps: Any, pointer: str) -> None:
        self.pointers = [place for place, _ in walk(steps, pointer)]
        self._loops = {place for place, step in walk(steps, pointer) if any(key in step for key in _LOOPS)}
        given = {place: str(step["id"]) for place, step in walk(steps, pointer) if isinstance(step.get("id"), str)}
        self.ids: dict[str, str] = {}
        self.by_id: dict[str, str] = {}
        taken, number = set(given.values()), 0
        for place in self.pointers:
            if place not in given:
                number += 1
                while f"s{number}" in taken:
                    number += 1
            self.ids[place] = given.get(place, f"s{number}")
            self.by_id.setdefault(self.ids[place], place)
        self._order = {place: index for index, place in enumerate(self.pointers)}

    def under(self, pointer: str) -> list[str]:
        """Return the ids of all steps inside a step."""
        return [self.ids[place] for place in self.pointers if place.startswith(f"{pointer}/")]

    def missing(self, step: str, user: str) -> str:
        """Return why a step cannot be used at the place `user`."""
        place = self.by_id.get(step)
        if place is None:
            return f"steps.{step}: there is no such step{did_you_mean(step, self.by_id)}"
        for holder in self.pointers:
            inside = place.startswith(f"{holder}/") and not user.startswith(f"{holder}/")
            if inside and "/then/" in place[len(holder) :] and holder in self._loops:
                return f"steps.{step}: it is inside a loop; outside only steps.{self.ids[holder]} is seen"
        if user == place or user.startswith(f"{place}/"):
            return f"steps.{step}: the step has no result yet where this is used"
        if self._order[place] > self._order.get(self._step_of(user), -1):
            return f"steps.{step}: the step runs later than this"
        return f"steps.{step}: the step is in another branch, and never runs before this"

    def _step_of(self, user: str) -> str:
        while user and user not in self._order:
            user = user.rpartition("/")[0]
        return user


def walk(steps: Any, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every step with its pointer, in document order, of whatever shape the data is."""
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict):
            yield f"{pointer}/{index}", step
            for place, inner in branches(step, f"{pointer}/{index}"):
                yield from walk(inner, place)


def branches(step: dict[str, Any], pointer: str) -> Iterator[tuple[str, Any]]:
    """Yield the lists of steps that a step holds, in the order in which they are written."""
    for key, value in step.items():
        place = f"{pointer}/{escaped(key)}"
        if key in ("then", "else", "on_error"):
            yield place, value
        elif key == "choose" and isinstance(value, list):
            for index, option in enumerate(value):
                if isinstance(option, dict):
                    yield f"{place}/{index}/then", option.get("then")
        elif key == "ask" and isinstance(value, dict):
            yield f"{place}/via", value.get("via")
        elif key == "parallel" and isinstance(value, list):
            for index, branch in enumerate(value):
                yield f"{place}/{index}", branch


def problems_of(used: Expression | Value, scope: Scope, steps: Steps, pointer: str) -> list[str]:
    """Return what an expression uses that is not there at its place."""
    found = []
    for name in sorted(used.names | used.asked):
        if name not in scope.names:
            hint = _ADVICE.get(name) or did_you_mean(name, sorted(scope.names))
            found.append(f"there is no name {name} here{hint}")
    found += [steps.missing(step, pointer) for step in sorted(used.steps) if not scope.sees(step)]
    return found
