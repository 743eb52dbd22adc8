"""Was everything as promised? Looks at what a simulation left on its disk and in its internet."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from areabox.areas.durations import parse_duration
from areabox.areas.reacting import key_of
from areabox.clock import encode_id
from tests.faults.simulation import Simulation

LEFT = ("job", "scope", "layer", "slot", "collected")


def judge(sim: Simulation) -> list[str]:
    """Return what was not as promised."""
    found = list(sim.wrongs)
    for check in (_ended, _nothing_left, _one_run, _acknowledged, _feeds, _schedules, _done_is_done, _keys, _calls, _order, _bugs, _digests):
        found += check(sim)
    return found


def _ended(sim: Simulation) -> list[str]:
    rows = sim.disk.rows("select id, state, reason from run where ended is null")
    return [f"run {row['id']} is stuck: {row['state']} {row['reason']}" for row in rows]


def _nothing_left(sim: Simulation) -> list[str]:
    found = []
    for table in LEFT:
        rows = sim.disk.rows(f"select * from {table}")
        found += [f"left in {table}: {tuple(row)}" for row in rows[:3]]
    return found


def _one_run(sim: Simulation) -> list[str]:
    """Every event has one run for each place that listens to it."""
    rows = sim.disk.rows(
        """
        select e.id, x.area, x.place, count(r.id) as n from event e
          join area_subscription x on x.subscription = e.subscription and x.role = 'trigger'
          left join run r on r.event = e.id and r.area = x.area and r.place = x.place
         where e.at < ? group by e.id, x.area, x.place having count(r.id) <> 1
        """,
        sim.ended_ms,
    )
    return [f"event {row['id']} has {row['n']} runs at {row['area']} {row['place']}" for row in rows]


def _acknowledged(sim: Simulation) -> list[str]:
    found = []
    stored = {row["id"]: row["payload"] for row in sim.disk.rows("select id, payload from event where action = 'webhook.received'")}
    for (slug, number), event in sim.acknowledged.items():
        if event not in stored:
            found.append(f"delivery {number} to {slug} was acknowledged, and is lost")
    numbers = Counter(_delivery(sim, event) for event in sim.disk.rows("select * from event where action = 'webhook.received'"))
    return found + [f"delivery {key} is {count} events" for key, count in numbers.items() if count > 1]


def _delivery(sim: Simulation, row: Any) -> tuple[str, int]:
    return row["subscription"], json.loads(row["payload"])["json"]["n"]


def _feeds(sim: Simulation) -> list[str]:
    """From the first item that was news, every item is one event, up to the last that had its poll."""
    found = []
    for sub in sim.disk.rows("select * from subscription where action = 'world.listed'"):
        feed = json.loads(sub["params"])["feed"]
        numbers = sorted(
            json.loads(row["payload"])["n"]
            for row in sim.disk.rows("select payload from event where subscription = ?", sub["id"])
        )
        seen = {int(row["key"][1:]) for row in sim.disk.rows("select key from seen where subscription = ?", sub["id"])}
        cursor = json.loads(sub["cursor"]).get("since", 0)
        baseline = seen - set(numbers)
        wanted = list(range(max(baseline, default=-1) + 1, cursor)) if baseline or numbers else []
        if not baseline and numbers:
            wanted = list(range(numbers[0], cursor))
        if [n for n in numbers if n < cursor] != wanted:
            found.append(f"feed {feed}: the items {Counter(wanted) - Counter(numbers)} are lost, {Counter(numbers) - Counter(wanted)} too many")
    return found


def _schedules(sim: Simulation) -> list[str]:
    """No time fires twice; with `missed: each` none is left out."""
    found = []
    for sub in sim.disk.rows("select * from subscription where action = 'schedule.every'"):
        every_ms = parse_duration(json.loads(sub["params"])["every"])
        times = [
            row["due"]
            for row in sim.disk.rows(
                """
                select cast(round((julianday(json_extract(payload, '$.due')) - 2440587.5) * 86400000) as integer) as due
                  from event where subscription = ? order by due
                """,
                sub["id"],
            )
        ]
        steps = [after - before for before, after in zip(times, times[1:], strict=False)]
        if any(step <= 0 or step % every_ms for step in steps):
            found.append(f"schedule {sub['id']} fired at other times than it should, or twice: {steps}")
        if sub["missed"] == "each" and any(step != every_ms for step in steps):
            found.append(f"schedule {sub['id']} left times out: {steps}")
    return found


def _done_is_done(sim: Simulation) -> list[str]:
    """What the journal calls done took effect, unless a person said so."""
    rows = sim.disk.rows("select * from step where kind = 'do' and state = 'done' and note is null")
    return [
        f"{row['run']} {row['path']} is done, and nothing happened"
        for row in rows
        if not sim.internet.effects[key_of(row["run"], row["path"])]
    ]


def _keys(sim: Simulation) -> list[str]:
    """An effect comes again only with its own key."""
    return [f"{mark} came with {len(keys)} keys" for mark, keys in sim.internet.marks.items() if len(keys) > 1]


def _calls(sim: Simulation) -> list[str]:
    rows = sim.disk.rows("select parent_job, count(*) as n from run where parent_job is not null group by parent_job having n > 1")
    return [f"the call {row['parent_job']} made {row['n']} runs" for row in rows]


def _order(sim: Simulation) -> list[str]:
    """Runs of a `queued` area go one after the other, in the order in which they came."""
    found = []
    queued = [area["area"] for area in sim.areas if area.get("mode") == "queued"]
    for slug in queued:
        last: dict[str, Any] = {}
        rows = sim.disk.rows(
            """
            select r.id, r.key, r.ended, min(s.started) as begun from run r
              join step s on s.run = r.id join area a on a.id = r.area
             where a.slug = ? and r.key is not null group by r.id order by r.id
            """,
            slug,
        )
        for row in rows:
            before = last.get(row["key"])
            if before is not None and row["ended"] is not None and row["begun"] < before["ended"]:
                found.append(f"{slug}: run {row['id']} began {before['ended'] - row['begun']} ms before {before['id']} ended")
            last[row["key"]] = row
    return found


def _bugs(sim: Simulation) -> list[str]:
    rows = sim.disk.rows("select run, path, error from step where error like '%which is a bug%' or error like '%\"expression\"%' or error like '%\"internal\"%'")
    return [f"{row['run']} {row['path']}: {row['error']}" for row in rows[:5]]


def _digests(sim: Simulation) -> list[str]:
    """Every event that was collected is in one digest."""
    found = []
    collecting = "select distinct area from run where state = 'collected'"
    for row in sim.disk.rows(collecting):
        digested: Counter[str] = Counter()
        for step in sim.disk.rows(
            "select s.output from step s join run r on r.id = s.run where r.area = ? and s.path = 'digest' and s.state = 'done' and s.output is not null",
            row["area"],
        ):
            digested.update(json.dumps(_plain(event), sort_keys=True) for event in json.loads(step["output"])["events"])
        found += [f"{event} is in {count} digests" for event, count in digested.items() if count > 1]
        for run in sim.disk.rows(
            "select e.payload from run r join event e on e.id = r.event where r.area = ? and r.state = 'collected'", row["area"]
        ):
            event = json.dumps(_plain(json.loads(run["payload"])), sort_keys=True)
            if not digested[event]:
                found.append(f"{event} was collected, and is in no digest")
    return found


def _plain(event: dict[str, Any]) -> Any:
    return event.get("json") or event


__all__ = ["encode_id", "judge"]
