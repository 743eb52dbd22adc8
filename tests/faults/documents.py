"""Random areas: every construct of the language that can end by itself, nested as chance will have it."""

from __future__ import annotations

import random
from typing import Any

MODES = ["parallel", "parallel", "at_most", "queued", "single", "restart"]
SOURCES = ["hook", "hook", "feed", "every"]
EVERY = ["7m", "15m", "40m"]


class Writer:
    """Writes one area."""

    def __init__(self, chance: random.Random, slug: str, mode: str, callees: list[str]) -> None:
        self.chance, self.slug, self.mode, self.callees = chance, slug, mode, callees
        self.short = mode not in ("parallel", "restart")  # others wait for it
        self.ids = 0

    def id(self, kind: str) -> str:
        self.ids += 1
        return f"{kind}{self.ids}"

    def write(self, source: str) -> dict[str, Any]:
        document: dict[str, Any] = {"area": self.slug, "name": self.slug, "when": [self.trigger(source)]}
        if self.mode == "at_most":
            document |= {"mode": "parallel", "at_most": 2}
        elif self.mode != "parallel":
            document["mode"] = self.mode
        if source == "hook" and self.mode != "parallel" and self.chance.random() < 0.4:
            document["key"] = "{{ trigger.json.k }}"
        document["then"] = [{"set": {"n": 0}, "id": self.id("set")}]
        if self.mode == "parallel" and source in ("hook", "feed") and self.chance.random() < 0.3:
            document["then"].append({"collect": {"window": "20m", "at_most": 5}, "id": "digest"})
        elif source == "hook" and self.chance.random() < 0.2:
            document["then"].append({"once": {"key": "{{ trigger.json.k }}", "within": "30m"}, "id": self.id("once")})
        document["then"] += self.block(2, [])
        if self.chance.random() < 0.3:
            document["then"].append({"return": "{{ vars.n }}", "id": self.id("return")})
        return document

    def trigger(self, source: str) -> dict[str, Any]:
        if source == "hook":
            return {"webhook.received": {}}
        if source == "feed":
            return {"world.listed": {"feed": self.chance.choice("ab")}, "every": self.chance.choice(["1m", "5m"])}
        if source == "every":
            missed = self.chance.choice(["each", "latest", "skip"])
            return {"schedule.every": {"every": self.chance.choice(EVERY)}, "missed": missed}
        if source == "ended":
            return {"area.ended": {"area": "a0"}}
        return {"area.called": {}}

    # --- steps ----------------------------------------------------------------------------------------------------

    def block(self, depth: int, loops: list[str]) -> list[dict[str, Any]]:
        return [self.step(depth, loops) for _ in range(self.chance.randint(1, 3))]

    def step(self, depth: int, loops: list[str]) -> dict[str, Any]:
        kinds = ["do"] * 4 + ["act", "act", "wait", "set", "ask", "wait_for"]
        if self.callees:
            kinds += ["call"]
        if depth > 0:
            kinds += ["branch", "choose", "parallel", "parallel"]
            if "index" not in loops:
                kinds += ["each", "each", "repeat"]
        return getattr(self, self.chance.choice(kinds))(depth, loops)

    def mark(self, id: str, loops: list[str]) -> str:
        return "|".join(["{{ run.id }}", id, *(f"{{{{ {name} }}}}" for name in loops)])

    def do(self, depth: int, loops: list[str]) -> dict[str, Any]:
        return self._react("do", depth, loops)

    def act(self, depth: int, loops: list[str]) -> dict[str, Any]:
        return self._react("act", depth, loops)

    def _react(self, what: str, depth: int, loops: list[str]) -> dict[str, Any]:
        id = self.id(what)
        step: dict[str, Any] = {f"world.{what}": {"mark": self.mark(id, loops), "value": "{{ vars.n }}"}, "id": id}
        if self.chance.random() < 0.5:
            step["timeout"] = self.chance.choice(["5s", "20s", "60s"])
        if self.chance.random() < 0.5:
            step["retry"] = {"attempts": self.chance.randint(1, 6), "first": "2s", "max": "1m"}
        handled = self.chance.random()
        if handled < 0.3:
            step["on_error"] = "continue"
        elif handled < 0.5 and depth > 0:
            step["on_error"] = self.block(0, loops)
        return step

    def wait(self, depth: int, loops: list[str]) -> dict[str, Any]:
        return {"wait": self.chance.choice(["1s", "20s"] if self.short else ["1s", "30s", "5m", "30m"]), "id": self.id("wait")}

    def set(self, depth: int, loops: list[str]) -> dict[str, Any]:
        return {"set": {"n": "{{ vars.n + 1 }}"}, "id": self.id("set")}

    def ask(self, depth: int, loops: list[str]) -> dict[str, Any]:
        step = {"ask": {"question": "Go on?", "choices": ["Yes", "No"]}, "id": self.id("ask")}
        return step | {"timeout": "1m" if self.short else "20m", "else": self.block(0, loops)}

    def wait_for(self, depth: int, loops: list[str]) -> dict[str, Any]:
        step: dict[str, Any] = {
            "wait_for": {"world.happened": {"topic": self.chance.choice("xy")}}, "id": self.id("until"),
            "timeout": "1m" if self.short else "15m",
        }  # fmt: skip
        return step | ({"else": self.block(0, loops)} if self.chance.random() < 0.7 else {})

    def call(self, depth: int, loops: list[str]) -> dict[str, Any]:
        step = {"call": self.chance.choice(self.callees), "with": {"n": 1}, "id": self.id("call")}
        return step | ({"on_error": "continue"} if self.chance.random() < 0.7 else {})

    def parallel(self, depth: int, loops: list[str]) -> dict[str, Any]:
        branches = [self.block(depth - 1, loops) for _ in range(self.chance.randint(1, 3))]
        return {"parallel": branches, "join": self.chance.choice(["all", "all", "any"]), "id": self.id("side")}

    def each(self, depth: int, loops: list[str]) -> dict[str, Any]:
        name = f"i{len(loops)}"
        items = list(range(self.chance.randint(0, 4)))
        step = {"each": str(items), "as": name, "at_once": self.chance.randint(1, 3), "id": self.id("each")}
        return step | {"then": self.block(depth - 1, [*loops, name])}

    def repeat(self, depth: int, loops: list[str]) -> dict[str, Any]:
        test = {"until": f"index >= {self.chance.randint(0, 2)}"} if self.chance.random() < 0.7 else {"while": "true"}
        step = {"repeat": test | {"at_most": self.chance.randint(1, 4)}, "id": self.id("again")}
        return step | {"then": self.block(depth - 1, [*loops, "index"])}

    def choose(self, depth: int, loops: list[str]) -> dict[str, Any]:
        options = [{"if": f"vars.n == {number}", "then": self.block(depth - 1, loops)} for number in range(2)]
        return {"choose": options, "else": self.block(depth - 1, loops), "id": self.id("choose")}
    def branch(self, depth: int, loops: list[str]) -> dict[str, Any]:
        then, other = self.block(depth - 1, loops), self.block(depth - 1, loops)
        return {"if": f"vars.n > {self.chance.randint(0, 1)}", "then": then, "else": other, "id": self.id("if")}


def random_areas(chance: random.Random) -> list[dict[str, Any]]:
    """Return areas of which the later ones may call the first two, and one that hears of others' ends."""
    called = [Writer(chance, f"c{n}", chance.choice(["parallel", "at_most", "queued"]), ["c0"][:n]).write("called") for n in range(2)]
    sources = ["hook", *(chance.choice(SOURCES) for _ in range(3))]
    areas = [
        Writer(chance, f"a{n}", chance.choice(MODES), ["c0", "c1"]).write(source) for n, source in enumerate(sources)
    ]
    return [*called, *areas, Writer(chance, "z", "parallel", []).write("ended")]
