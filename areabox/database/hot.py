"""Which ready job goes next? Lanes first, then owners in turn, so that a flood of one holds up nobody else.

The queue holds pointers only, at most a window of them for an owner in a lane. Of what is over, only the fact is
remembered (the owner is *spilled* there); the rest stays in the rows and is fetched when there is room again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from areabox.database import Lane, Pointer

WINDOW = 5_000
RUN_SHARE, BULK_SHARE = 8, 32  # every so manieth job comes from that lane, if it has any
_NOW_FIRST = (Lane.NOW, Lane.RUN, Lane.BULK)
_RUN_FIRST = (Lane.RUN, Lane.BULK, Lane.NOW)
_BULK_FIRST = (Lane.BULK, Lane.RUN, Lane.NOW)

Place = tuple[str, int]  # an owner in a lane


class HotQueue:
    """Pointers to ready jobs; one that is queued or executing is not taken in a second time."""

    def __init__(self, window: int = WINDOW) -> None:
        self.window = window
        self._lanes: dict[int, OrderedDict[str, deque[str]]] = {lane: OrderedDict() for lane in _NOW_FIRST}
        self._queued: set[str] = set()
        self._executing: set[str] = set()
        self._again: set[str] = set()
        self._spilled: set[Place] = set()
        self._taken = 0

    def __len__(self) -> int:
        """Return how many wait for a slot."""
        return len(self._queued)

    @property
    def executing(self) -> int:
        """Return how many hold a slot."""
        return len(self._executing)

    def offer(self, pointers: Iterable[Pointer]) -> None:
        """Take pointers in; one that is executing goes to the end when it is done."""
        for pointer in pointers:
            if pointer.job in self._executing:
                self._again.add(pointer.job)
            elif pointer.job not in self._queued:
                self._put(pointer)

    def take(self) -> Pointer | None:
        """Return the next pointer, which holds a slot from now on, or None."""
        if not self._queued:
            return None
        self._taken += 1
        owners, lane = next((self._lanes[lane], lane) for lane in self._order() if self._lanes[lane])
        owner, queue = next(iter(owners.items()))
        job = queue.popleft()
        if queue:
            owners.move_to_end(owner)
        else:
            del owners[owner]
        self._queued.discard(job)
        self._executing.add(job)
        return Pointer(job, owner, lane)

    def done(self, pointer: Pointer) -> None:
        """Give the slot back; a job that was offered again meanwhile goes to the end."""
        self._executing.discard(pointer.job)
        if pointer.job in self._again:
            self._again.discard(pointer.job)
            self._put(pointer)

    def _order(self) -> tuple[int, int, int]:
        if self._taken % BULK_SHARE == 0:
            return _BULK_FIRST
        return _RUN_FIRST if self._taken % RUN_SHARE == 0 else _NOW_FIRST

    def _put(self, pointer: Pointer) -> None:
        lane = pointer.lane if pointer.lane in self._lanes else Lane.RUN
        owners, place = self._lanes[lane], (pointer.owner, lane)
        if place in self._spilled or len(owners.get(pointer.owner, ())) >= self.window:
            self._spilled.add(place)
            return
        self._queued.add(pointer.job)
        owners.setdefault(pointer.owner, deque()).append(pointer.job)

    # --- what lies in the rows only -----------------------------------------------------------------------------------

    def thirsty(self) -> Place | None:
        """Return a spilled place with room for half a window, or None."""
        for owner, lane in self._spilled:
            if len(self._lanes[lane].get(owner, ())) <= self.window // 2:
                return owner, lane
        return None

    def drink(self, owner: str, lane: int) -> None:
        """Begin to refill a place: what is offered from now on is taken in, since it may not be in the rows yet."""
        self._spilled.discard((owner, lane))

    def refill(self, owner: str, lane: int, pointers: list[Pointer], limit: int) -> None:
        """Take in what the rows hold; as many as the `limit` of that query means that there are more."""
        for pointer in pointers:
            if pointer.job not in self._queued and pointer.job not in self._executing:
                self._put(pointer)
        if len(pointers) >= limit:
            self._spilled.add((owner, lane))
