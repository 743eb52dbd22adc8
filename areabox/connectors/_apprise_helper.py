"""The process in which Apprise lives: requests come in as lines of JSON, answers go out as such, and it ends when idle.

It is run by its path, apart from areabox, of which it imports nothing. A request is `{id, url, title, body, type,
format, attach}`, or with `check: true` only looked at. It is answered by `{id, begun: true}` when it begins, and then
by `{id, ok, service, said}`.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

THREADS, LINE_MAX, SAID_MAX = 4, 1_000_000, 500


class _Said(logging.Handler):
    """What Apprise logs of one request, which is all that it tells of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """Send one notification, or look at its address, and return what came of it."""
    import apprise

    said = _Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    try:
        service = apprise.Apprise.instantiate(str(request["url"]), suppress_exceptions=True)
        if service is None:
            return {"ok": False, "service": "", "said": "Apprise does not understand this address"}
        name = str(getattr(service, "service_name", "") or "")
        if request.get("check"):
            return {"ok": True, "service": name, "said": ""}
        sender = apprise.Apprise()
        sender.add(service)
        ok = sender.notify(
            body=str(request.get("body", "")), title=str(request.get("title", "")),
            notify_type=str(request.get("type", "info")), body_format=request.get("format") or None,
            attach=list(request.get("attach") or []) or None,
        )  # fmt: skip
        return {"ok": bool(ok), "service": name, "said": " ".join(said.lines)[:SAID_MAX]}
    finally:
        logger.removeHandler(said)


def main(idle_s: float) -> None:
    """Answer the lines of stdin until it ends, or until there was nothing to do for a while."""
    logging.getLogger("apprise").propagate = False
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    writing = threading.Lock()
    ended = threading.Semaphore(0)

    def tell(answer: dict[str, Any]) -> None:
        with writing:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def serve(request: dict[str, Any]) -> None:
        tell({"id": request["id"], "begun": True})
        try:
            found = answered(request)
        except Exception as error:  # noqa: BLE001 -- told to whoever asked
            found = {"ok": False, "service": "", "said": f"{type(error).__name__}: {error}"[:SAID_MAX]}
        tell({"id": request["id"], **found})
        ended.release()

    with ThreadPoolExecutor(THREADS) as pool:
        under_way = 0
        while True:
            while under_way and ended.acquire(blocking=False):
                under_way -= 1
            try:
                line = lines.get(timeout=idle_s)
            except queue.Empty:
                if under_way:
                    continue
                return
            if line is None:
                return
            pool.submit(serve, json.loads(line))
            under_way += 1


def _read(lines: queue.Queue[str | None]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put(None)


if __name__ == "__main__":
    main(float(sys.argv[1]))
