"""Scores the alerts of a live run against the truth file of the simulation.

Takes the truth file, the lake's folder and a horizon in seconds. Conditions come from the lake's alerts, what was observed from its telemetry, and what happened from the truth alone. Prints a JSON object: figures by rule, and those of all rules that are not built in.
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import duckdb

DAY = 86_400_000_000
BUILT_IN = {"robot_silent", "clock_skew", "instrument_lives_ended"}
truth_file, lake, horizon = Path(sys.argv[1]), Path(sys.argv[2]), int(float(sys.argv[3]) * 1e6)


def read(folder, columns):
    return duckdb.sql(f"SELECT {columns} FROM read_parquet('{lake}/{folder}/**/*.parquet', hive_partitioning = false)")


happened = defaultdict(list)
planned = defaultdict(list)
for line in truth_file.read_text().splitlines():
    note = json.loads(line)
    robot, at = note.get("robot_id"), note.get("event_time")
    if note["what"] == "failure" or (note["what"] == "service" and note["cause"] == "failure"):
        happened[robot].append(at)
    elif note["what"] == "service":
        planned[robot].append(at)

# What breaks, and the technician who comes for it, are one thing.
incidents = {}
for robot, times in happened.items():
    kept = []
    for at in sorted(times):
        if not kept or at - kept[-1] > DAY:
            kept.append(at)
    incidents[robot] = kept

telemetry = read("data/robot_telemetry", "robot_id, epoch_us(event_time) AS moment")
spans = telemetry.aggregate("robot_id, min(moment), max(moment)", "robot_id").fetchall()
seen = {robot: (first, last) for robot, first, last in spans}
begin, end = min(first for first, _ in seen.values()), max(last for _, last in seen.values())

conditions = {}
alerts = read("facts/maintenance_alerts", "condition_id, robot_id, rule_id, transition, epoch_us(event_time), epoch_us(raised_at)")
for condition, robot, rule, transition, at, raised in alerts.fetchall():
    known = conditions.setdefault(condition, {"robot": robot, "rule": rule, "raised": raised, "cleared": None, "alerts": 0})
    known["alerts"] += 1
    if transition == "cleared":
        known["cleared"] = at


def figures(wanted):
    of = [condition for condition in conditions.values() if wanted(condition["rule"])]
    leads, followed_inside, inside = [], 0, 0
    counts = {"conditions": len(of), "robots": len({condition["robot"] for condition in of}), "not_followed": 0, "serviced": 0, "undecided": 0}
    for condition in of:
        raised = condition["raised"]
        after = [at - raised for at in incidents.get(condition["robot"], []) if 0 <= at - raised <= horizon]
        complete = raised + horizon <= end
        inside += complete
        if after:
            leads.append(min(after) / 1e6)
            followed_inside += complete
        elif complete:
            counts["not_followed"] += 1
            counts["serviced"] += any(0 <= at - raised <= horizon for at in planned[condition["robot"]])
        else:
            counts["undecided"] += 1
    counts["followed"] = len(leads)
    by_robot = defaultdict(list)
    for condition in of:
        by_robot[condition["robot"]].append(condition)
    announced, announced_inside, incidents_inside, unseen, early = 0, 0, 0, [], 0
    for robot, times in incidents.items():
        for at in times:
            was = any(0 <= at - condition["raised"] <= horizon for condition in by_robot[robot])
            complete = at - horizon >= begin
            announced += was
            announced_inside += was and complete
            incidents_inside += complete
            if not was and complete:
                unseen.append([robot, at])
            early += not was and not complete
    open_time = 0
    for robot, list_of in by_robot.items():
        first, last = seen[robot]
        until = first
        for start, stop in sorted((c["raised"], end if c["cleared"] is None else c["cleared"]) for c in list_of):
            start, stop = max(start, until), min(stop, last)
            if stop > start:
                open_time += stop - start
                until = stop
    observed = sum(last - first for first, last in seen.values())
    number = sum(condition["alerts"] for condition in of)
    quarters = None
    if leads:
        quarters = statistics.quantiles(leads, n=4, method="inclusive") if len(leads) > 1 else leads * 3
    return counts | {
        "precision": followed_inside / inside if inside else None,
        "recall": announced_inside / incidents_inside if incidents_inside else None,
        "lead_time_s": quarters,
        "incidents_seen": announced,
        "open_share": open_time / observed,
        "alerts": number,
        "alerts_per_robot_month": number / (observed / (30 * DAY)),
        "unseen": sorted(unseen),
        "too_early": early,
    }


rules = {condition["rule"] for condition in conditions.values()}
print(
    json.dumps(
        {
            "from": begin,
            "to": end,
            "incidents": sum(len(times) for times in incidents.values()),
            "rules": {rule: figures(lambda other, rule=rule: other == rule) for rule in rules},
            "all": figures(lambda rule: rule not in BUILT_IN),
            "conditions": sorted([name, c["robot"], c["rule"], c["raised"], c["cleared"], c["alerts"]] for name, c in conditions.items()),
        }
    )
)
