"""Which ready job goes next? Lanes first, then owners in turn, so that a flood of one holds up nobody else.

The queue holds pointers only, at most `WINDOW` for an owner and lane; of what is over, only the fact is remembered
(the owner is *spilled*), and the rest is fetched from the rows when there is room again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from areabox.database import Lane, Pointer

WINDOW = 5_000
SHARE = 8  # of so many jobs, one comes from a lower lane that waits
_LANES = (Lane.NOW, Lane.RUN, Lane.BULK)


class HotQueue:
    """Pointers to ready jobs; one that is queued or executing is not taken in a second time."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._lanes: dict[int, OrderedDict[str, deque[str]]] = {lane: OrderedDict() for lane in _LANES}
        self._known: set[str] = set()
        self._again: set[str] = set()
        self._executing: set[str] = set()
        self._taken = 0
        self.spilled: set[tuple[str, int]] = set()

    def __len__(self) -> int:
        return len(self._known) - len(self._executing)

    @property
    def executing(self) -> int:
        """Return how many jobs hold a slot."""
        return len(self._executing)

    def offer(self, pointers: Iterable[Pointer]) -> None:
        """Take pointers in."""
        for pointer in pointers:
            if pointer.job in self._executing:
                self._again.add(pointer.job)
            elif pointer.job not in self._known:
                self._put(pointer)

    def _put(self, pointer: Pointer) -> None:
        lane = pointer.lane if pointer.lane in self._lanes else Lane.RUN
        owners = self._lanes[lane]
        queue = owners.get(pointer.owner)
        if queue is None:
            queue = owners[pointer.owner] = deque()
        if len(queue) >= self._window or (pointer.owner, lane) in self.spilled:
            self.spilled.add((pointer.owner, lane))
            return
        self._known.add(pointer.job)
        queue.append(pointer.job)

    def take(self) -> Pointer | None:
        """Return the next pointer, which now holds a slot, or None."""
        self._taken += 1
        lanes = _LANES if self._taken % SHARE else (*_LANES[1:], _LANES[0])
        for lane in lanes:
            owners = self._lanes[lane]
            while owners:
                owner, queue = next(iter(owners.items()))
                if not queue:
                    del owners[owner]
                    continue
                job = queue.popleft()
                owners.move_to_end(owner)
                self._executing.add(job)
                return Pointer(job, owner, lane)
        return None

    def done(self, pointer: Pointer) -> None:
        """Give the slot back; a job that was offered again meanwhile goes to the end."""
        self._executing.discard(pointer.job)
        self._known.discard(pointer.job)
        if pointer.job in self._again:
            self._again.discard(pointer.job)
            self._put(pointer)

    def thirsty(self) -> tuple[str, int] | None:
        """Return a spilled owner and lane with room for more, or None."""
        for owner, lane in self.spilled:
            if len(self._lanes[lane].get(owner, ())) <= self._window // 2:
                return owner, lane
        return None

    def refill(self, owner: str, lane: int, pointers: list[Pointer]) -> None:
        """Take in what the rows hold of a spilled owner; fewer than a window means that this was all."""
        self.spilled.discard((owner, lane))
        for pointer in pointers:
            if pointer.job not in self._known and pointer.job not in self._executing:
                self._put(pointer)
        if len(pointers) >= self._window:
            self.spilled.add((owner, lane))
