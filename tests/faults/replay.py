"""What is on a disk when the power is cut: the log of `shim.c` replayed up to any moment."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
KEPT = ("areabox.db", "areabox.db-wal", "areabox.db-journal")
MODES = ("none", "all", "prefix", "subset", "torn")


class Op(NamedTuple):
    """One record: W, T, S, U of a file, or M."""

    op: str
    name: str
    offset: int
    data: bytes


def read(log: Path) -> list[Op]:
    """Return the records of the files that a database consists of, and what was said."""
    data, at, found = log.read_bytes(), 0, []
    while at + 21 <= len(data):
        op = chr(data[at])
        name_length, offset, length = struct.unpack_from("<IQQ", data, at + 1)
        at += 21
        name = Path(data[at : at + name_length].decode()).name
        at += name_length
        found.append(Op(op, name, offset, data[at : at + length]))
        at += length
    return [op for op in found if op.op == "M" or op.name in KEPT]


class Disk:
    """Files as they surely are, and for each what was written and not synced."""

    def __init__(self, files: dict[str, bytes], *, honest: bool = True) -> None:
        self.files = {name: bytearray(content) for name, content in files.items()}
        self.pending: dict[str, list[Op]] = {}
        self._honest = honest

    def take(self, op: Op) -> None:
        """Do what was done."""
        if op.op in "WT":
            self.pending.setdefault(op.name, []).append(op)
        elif op.op == "S" and (self._honest or not op.name.endswith("-wal")):
            content = self.files.setdefault(op.name, bytearray())
            for written in self.pending.pop(op.name, []):
                put(content, written)
        elif op.op == "U":
            self.files.pop(op.name, None)
            self.pending.pop(op.name, None)

    def cut(self, chance: random.Random, mode: str) -> dict[str, bytearray]:
        """Return what is left when the power fails now: of what was not synced none, all, or any part."""
        left = {name: bytearray(content) for name, content in self.files.items()}
        for name, writes in self.pending.items():
            for written in survivors(writes, chance, mode):
                put(left.setdefault(name, bytearray()), written)
        return left


def survivors(writes: list[Op], chance: random.Random, mode: str) -> Iterator[Op]:
    """Yield the writes, or the sectors of them, that reached the disk."""
    if mode == "prefix":
        yield from writes[: chance.randrange(len(writes) + 1)]
    elif mode == "torn":
        for op in writes:
            if op.op == "T":
                yield op
            for start in range(0, len(op.data), SECTOR):
                if chance.random() < 0.5:
                    yield op._replace(offset=op.offset + start, data=op.data[start : start + SECTOR])
    elif mode != "none":
        yield from (op for op in writes if mode == "all" or chance.random() < 0.5)


def put(content: bytearray, op: Op) -> None:
    """Write into a file, or cut it."""
    missing = op.offset + len(op.data) - len(content)
    if missing > 0:
        content.extend(bytes(missing))
    if op.op == "T":
        del content[op.offset :]
    else:
        content[op.offset : op.offset + len(op.data)] = op.data


def cuts(
    ops: list[Op], files: dict[str, bytes], number: int, folder: Path, *, seed: int, honest: bool = True
) -> Iterator[list[bytes]]:
    """Lay what each of `number` power cuts leaves into `folder`, and yield what had been said until then."""
    chance = random.Random(seed)
    moments = sorted(chance.randrange(1, len(ops) + 1) for _ in range(number))
    disk, said, done = Disk(files, honest=honest), list[bytes](), 0
    folder.mkdir(exist_ok=True)
    for moment in moments:
        for op in ops[done:moment]:
            if op.op == "M":
                said.append(op.data)
            else:
                disk.take(op)
        done = moment
        lay(disk.cut(chance, chance.choice(MODES)).items(), folder)
        yield said


def lay(files: Iterable[tuple[str, bytearray]], folder: Path) -> None:
    """Make a folder hold these files and nothing else."""
    for old in folder.iterdir():
        old.unlink()
    for name, content in files:
        (folder / name).write_bytes(content)
