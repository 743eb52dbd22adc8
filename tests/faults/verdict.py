"""Was everything as promised? Looks at what a simulation left on its disk and in its internet."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

from areabox.areas.durations import parse_duration
from areabox.areas.reacting import key_of
from tests.faults.simulation import Simulation

NAPS_AN_HOUR = 6_000
LEFT = ("job", "scope", "layer", "slot", "collected")


def judge(sim: Simulation) -> list[str]:
    """Return what was not as promised."""
    found = list(sim.wrongs)
    for check in CHECKS:
        found += check(sim)
    return found


def _rest(sim: Simulation) -> list[str]:
    """Nobody polls: the machine sleeps until something is due."""
    hours = sim.loop.now / 3600
    return [f"it woke up {sim.loop.naps / hours:.0f} times an hour"] if sim.loop.naps > NAPS_AN_HOUR * hours else []


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
        if sub["baseline"]:
            found.append(f"feed {feed} still takes its baseline")
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
        steps = [after - before for before, after in pairwise(times)]
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


def _newest(sim: Simulation) -> list[str]:
    """In mode `restart` only a newer run takes the place of one, and no two hold it."""
    rows = sim.disk.rows(
        """
        select r.id from run r where r.reason like 'a newer run took its place%'
           and not exists (select 1 from run n where n.key = r.key and n.id > r.id)
        """
    )
    return [f"run {row['id']} made room for a newer one that is not there" for row in rows]


def _bugs(sim: Simulation) -> list[str]:
    rows = sim.disk.rows("select run, path, error from step where error like '%which is a bug%' or error like '%\"expression\"%' or error like '%\"internal\"%'")
    return [f"{row['run']} {row['path']}: {row['error']}" for row in rows[:5]]


def _digests(sim: Simulation) -> list[str]:
    """Every event that was collected is in one digest, unless that digest's own run was cut off."""
    found = []
    steps = sim.disk.rows("select run, output from step where kind = 'collect' and state = 'done' and output is not null")
    digests = {step["run"]: [_plain(event) for event in json.loads(step["output"])["events"]] for step in steps}
    rows = sim.disk.rows(
        """
        select e.payload, h.id, h.state, h.reason from run r join event e on e.id = r.event
          join run h on h.id = substr(r.reason, length('joined run ') + 1) where r.state = 'collected'
        """
    )
    for row in rows:
        count = digests.get(row["id"], []).count(_plain(json.loads(row["payload"])))
        if count != 1 and not (row["id"] not in digests and row["state"] == "cancelled"):
            found.append(f"{row['payload']} is in its digest {row['id']} {count} times ({row['state']} {row['reason']})")
    return found


def _plain(event: dict[str, Any]) -> Any:
    return event.get("json") or event


CHECKS = (
    _ended, _nothing_left, _one_run, _acknowledged, _feeds, _schedules, _done_is_done, _keys, _calls, _order, _newest,
    _digests, _bugs, _rest,
)  # fmt: skip
