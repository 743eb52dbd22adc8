"""The program as a map: for each step its neighbours, the blocks it holds, and the loops and branches around it.

A *block* is a list of steps; a *frame* is a loop or a parallel around a step, which puts its id and a number into the
step's path; a question is one around the ways that carry it outside. `if` and `choose` add no frame, since only one of
their branches is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from areabox.areas.model import AnyStep, Ask, Choose, Each, If, Parallel, Program, Repeat, WaitFor
from areabox.reactions.queue import Job

Role = Literal["root", "branch", "each", "repeat", "parallel", "handler", "via"]


_FRAMED = frozenset(("each", "repeat", "parallel", "via"))


class Block:
    """A list of steps, and the step that holds it."""

    __slots__ = ("index", "nodes", "parent", "role")

    def __init__(self, parent: Node | None, role: Role, index: int = 0) -> None:
        self.parent, self.role, self.index = parent, role, index
        self.nodes: list[Node] = []

    @property
    def last(self) -> Node | None:
        """Return the last step, or None of an empty block."""
        return self.nodes[-1] if self.nodes else None


class Node:
    """One step in its place."""

    __slots__ = ("block", "blocks", "frames", "handler", "next", "order", "step")

    def __init__(self, step: AnyStep, block: Block, frames: tuple[Node, ...], order: int) -> None:
        self.step, self.block, self.frames, self.order = step, block, frames, order
        self.next: Node | None = None
        self.blocks: list[Block] = []
        self.handler: Block | None = None

    @property
    def kind(self) -> str:
        """Return what kind of step it is, as the journal says it."""
        return str(self.step.__struct_config__.tag)

    @property
    def parts(self) -> bool:
        """Tell whether its iterations or branches run side by side, each with `vars` of its own."""
        return isinstance(self.step, Parallel) or (isinstance(self.step, Each) and self.step.at_once > 1)


class Outline:
    """The map of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: dict[str, Node] = {}
        self._facts: dict[str, frozenset[str]] = {}
        self.root = self._block(program.then, None, "root", ())

    def remember(self, step_id: str, make: Callable[[], frozenset[str]]) -> frozenset[str]:
        """Return what is true of a step as long as its program lives, made once."""
        found = self._facts.get(step_id)
        if found is None:
            found = self._facts[step_id] = make()
        return found

    def locate(self, path: str) -> tuple[Node, str]:
        """Return the step of a path, and the part of the path before its id; KeyError if there is none."""
        prefix, dot, id = path.rpartition(".")
        return self.nodes[id], prefix + dot

    def kind_of(self, job: Job) -> str:
        """Return the kind of step that a job stands at; a walk that was cut may stand at any."""
        node = self.nodes.get(job.node)
        return job.kind if job.kind != "go" else node.kind if node is not None else "do"

    def order(self, path: str) -> tuple[int, ...]:
        """Return a key that sorts paths as the document and its iterations go; unknown steps come last."""
        parts = path.split(".")
        return tuple(
            int(part) if part.isdecimal() else self.nodes[part].order if part in self.nodes else len(self.nodes)
            for part in parts
        )

    def _block(
        self, steps: tuple[AnyStep, ...], parent: Node | None, role: Role, frames: tuple[Node, ...], index: int = 0
    ) -> Block:
        block = Block(parent, role, index)
        for step in steps:
            node = self.nodes[step.id] = Node(step, block, frames, len(self.nodes))
            if block.nodes:
                block.nodes[-1].next = node
            block.nodes.append(node)
            for i, (kind, steps_) in enumerate(branches(step)):
                inner = (*frames, node) if kind in _FRAMED else frames
                node.blocks.append(self._block(steps_, node, kind, inner, i))
            if step.on_error:
                node.handler = self._block(step.on_error, node, "handler", frames)
        return block


def branches(step: AnyStep) -> Iterator[tuple[Role, tuple[AnyStep, ...]]]:
    """Return the lists of steps that a step holds, each with its role."""
    match step:
        case If():
            yield "branch", step.then
            yield "branch", step.otherwise
        case Choose():
            for option in step.options:
                yield "branch", option.then
            yield "branch", step.otherwise
        case Each():
            yield "each", step.then
        case Repeat():
            yield "repeat", step.then
        case Parallel():
            for branch in step.branches:
                yield "parallel", branch
        case WaitFor() | Ask():
            yield from _of_a_wait(step)
        case _:
            return


def _of_a_wait(step: WaitFor | Ask) -> Iterator[tuple[Role, tuple[AnyStep, ...]]]:
    for way in step.via if isinstance(step, Ask) else ():
        yield "via", (way,)
    if step.otherwise is not None:
        yield "branch", step.otherwise
