"""Recomputes every report and roll-up of the warehouse from the files of the lake.

It reads the files with DuckDB and does all else itself, row by row. Prints a JSON object: the rows of each by its name.
"""

import json
import sys
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb

DAY = 86_400_000_000
HOUR = 3_600_000_000
lake = Path(sys.argv[1])


def read(table):
    files = f"{lake}/data/{table}/**/*.parquet"
    found = duckdb.sql(f"SELECT * FROM read_parquet('{files}', hive_partitioning = false)")
    names = [column for column in found.columns]
    times = {n for n, t in zip(names, found.types) if "TIMESTAMP" in str(t)}
    dates = {n for n, t in zip(names, found.types) if str(t) == "DATE"}
    wanted = ", ".join(
        f'epoch_us("{n}") AS "{n}"' if n in times else f"date_diff('day', DATE '1970-01-01', \"{n}\") AS \"{n}\"" if n in dates else f'"{n}"'
        for n in names
    )
    rows = duckdb.sql(f"SELECT {wanted} FROM read_parquet('{files}', hive_partitioning = false)").fetchall()
    return [dict(zip(names, row)) for row in rows]


def versions(table, key):
    """For each key, its states by time: of entries of the same time the one that was appended last."""
    states = defaultdict(dict)
    for row in sorted(read(table), key=lambda row: (row["_append_time"], row["_offset"])):
        states[row[key]][row["event_time"]] = row
    return {name: sorted(by_time.items()) for name, by_time in states.items()}


def at(history, time):
    """The state that holds at a time; before the first one that is the first."""
    if not history:
        return None
    held = [row for begun, row in history if begun <= time]
    return held[-1] if held else history[0][1]


def rounded(value, digits):
    if value is None:
        return None
    return float(Decimal(repr(float(value) + 1e-9)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP))


def mean(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None


def share(flags):
    return mean([None if flag is None else float(flag) for flag in flags])


def moment(time):
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=time)


robots = versions("robot_registry", "robot_id")
surgeons = versions("surgeon_registry", "surgeon_id")
facilities = versions("facility_registry", "facility_id")
described = {row["procedure_id"]: row for row in read("procedure_events")}
newest = {}
for row in read("procedure_outcomes"):
    known = newest.get(row["outcome_id"])
    if known is None or known["revision"] < row["revision"]:
        newest[row["outcome_id"]] = row
first_case = {}
for row in newest.values():
    first_case[row["surgeon_id"]] = min(row["started_at"], first_case.get(row["surgeon_id"], row["started_at"]))

cases = []
for row in newest.values():
    result = json.loads(row["result"]) if row["result"] else {}
    robot = at(robots.get(row["robot_id"]), row["started_at"])
    surgeon = at(surgeons.get(row["surgeon_id"]), row["started_at"])
    event = described[row["procedure_id"]]
    severities = [complication["severity"] for complication in result.get("complications", [])]
    level = None
    if result:
        level = next((one for one in ["severe", "moderate", "minor"] if one in severities), "none")
    years = (row["started_at"] // DAY - surgeon["practising_since"]) / 365.25 if surgeon else (row["started_at"] - first_case[row["surgeon_id"]]) / 31_557_600e6
    age = event["patient_age"]
    cases.append({
        **row, "minutes": row["duration_s"] / 60, "site": robot["facility_id"] if robot else None, "model": robot["robot_model"] if robot else None,
        "complexity": event["complexity"], "age": "<30" if age < 30 else "30-49" if age < 50 else "50-64" if age < 65 else "65+",
        "success": None if not result else result["success_status"] == "successful", "level": level,
        "complicated": None if level is None else level in ("moderate", "severe"), "readmitted": result.get("readmission_30day"),
        "satisfaction": result.get("patient_satisfaction_score"), "stay": result.get("hospital_stay_days"), "years": years, "begun": moment(row["started_at"]),
    })
completed = [case for case in cases if case["status"] == "completed"]
last = max(case["ended_at"] for case in cases)


def grouped(rows, key):
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def of(rows, name):
    return [row[name] for row in rows]


def rates(rows):
    return [rounded(share(of(rows, name)), 4) for name in ("success", "complicated", "readmitted")]


out = {}
recent = [case for case in completed if case["started_at"] >= last - 30 * DAY]
out["kpis_30_days"] = [[len(recent), len(set(of(recent, "robot_id"))), len(set(of(recent, "surgeon_id"))), rounded(sum(of(recent, "minutes")) / 60, 1),
                        rounded(mean(of(recent, "minutes")), 1), *rates(recent), rounded(mean(of(recent, "satisfaction")), 2)]]

busiest = []
for robot, rows in grouped(completed, lambda case: case["robot_id"]).items():
    today = robots[robot][-1][1] if robot in robots else None
    days = max(of(rows, "started_at")) // DAY - min(of(rows, "started_at")) // DAY + 1
    busiest.append([robot, today and today["robot_model"], today and today["facility_id"], len(rows), rounded(sum(of(rows, "minutes")) / 60, 1),
                    rounded(mean(of(rows, "minutes")), 1), rounded(len(rows) / days, 3)])
out["busiest_robots"] = sorted(busiest, key=lambda row: (-row[3], row[0]))[:10]

months = grouped(cases, lambda case: case["begun"].year * 12 + case["begun"].month - 1)
out["monthly_volume"] = [[f"{number // 12}-{number % 12 + 1:02}", len(months[number]), sum(case["status"] == "completed" for case in months[number]),
                          rounded(mean(of(months[number], "minutes")), 1)] for number in sorted(months) if number > max(months) - 12]

out["complications_by_type"] = [[kind, len(rows), *[of(rows, "level").count(level) for level in ("none", "minor", "moderate", "severe")],
                                 rounded(share(of(rows, "complicated")), 4)]
                                for kind, rows in sorted(grouped([case for case in completed if case["level"]], lambda case: case["procedure_type"]).items())]

models = [[model, len(set(of(rows, "robot_id"))), len(rows), *rates(rows), rounded(mean(of(rows, "minutes")), 1)]
          for model, rows in grouped(completed, lambda case: case["model"]).items() if len(rows) >= 10]
out["outcomes_by_model"] = sorted(models, key=lambda row: (-row[2], row[0] or ""))

out["readmission_by_category"] = [[category, len(rows), sum(case["readmitted"] is not None for case in rows), sum(bool(case["readmitted"]) for case in rows),
                                   rounded(share(of(rows, "readmitted")), 4), rounded(mean(of(rows, "stay")), 2)]
                                  for category, rows in sorted(grouped(completed, lambda case: case["category"]).items())]

best = []
for surgeon, rows in grouped(completed, lambda case: case["surgeon_id"]).items():
    if len(rows) >= 20:
        best.append((share(of(rows, "success")), surgeon, rows))
best.sort(key=lambda row: (-row[0], row[1]))
out["best_surgeons"] = [[surgeon, len(rows), rounded(max(of(rows, "years")), 1), *rates(rows)[:2], rounded(mean(of(rows, "complexity")), 2)]
                        for _, surgeon, rows in best[:20]]

bands = grouped(completed, lambda case: "0-4" if case["years"] < 5 else "5-9" if case["years"] < 10 else "10-14" if case["years"] < 15 else "15+")
out["outcomes_by_experience"] = [[band, len(set(of(bands[band], "surgeon_id"))), len(bands[band]), *rates(bands[band]), rounded(mean(of(bands[band], "minutes")), 1)]
                                 for band in ("0-4", "5-9", "10-14", "15+") if band in bands]

sites = []
for site, rows in grouped(completed, lambda case: case["site"]).items():
    name = facilities[site][-1][1]["facility_name"] if site in facilities else None
    sites.append([site, name, len(set(of(rows, "robot_id"))), len(rows), len(set(of(rows, "surgeon_id"))), *rates(rows)[:2], rounded(mean(of(rows, "minutes")), 1),
                  rounded(mean(of(rows, "satisfaction")), 2)])
out["facility_comparison"] = sorted(sites, key=lambda row: (-row[3], row[0] or ""))

standing = grouped([history[-1][1] for history in robots.values() if history[-1][1]["status"] != "retired"], lambda row: row["facility_id"])
used = grouped([case for case in completed if case["started_at"] >= last - 90 * DAY], lambda case: case["site"])
use = [[site, len(rows), rounded(sum(of(used[site], "minutes")) / 60, 1), len(rows) * 720, rounded(sum(of(used[site], "minutes")) / 60 / (len(rows) * 720), 4)]
       for site, rows in standing.items()]
out["facility_utilisation"] = sorted(use, key=lambda row: (-row[4], row[0]))

health = []
for robot, rows in grouped(read("robot_telemetry"), lambda row: row["robot_id"]).items():
    if len(set(of(rows, "procedure_id"))) >= 5:
        current = max(row[f"joints_{joint}_current"] for row in rows for joint in range(6))
        warnings = sum(row["system_temperature"] > 75 or row["network_latency_ms"] > 100 or row["video_fps"] < 25 for row in rows)
        health.append([robot, len(set(of(rows, "procedure_id"))), len(rows), rounded(mean(of(rows, "system_temperature")), 2), max(of(rows, "system_temperature")),
                       current, max(of(rows, "network_latency_ms")), min(of(rows, "video_fps")), warnings])
out["system_health"] = sorted(health, key=lambda row: (-row[8], row[0]))

week = grouped([case for case in cases if case["started_at"] >= last - 90 * DAY], lambda case: case["begun"].isoweekday() % 7)
out["weekdays"] = [[rows[0]["begun"].strftime("%A"), len(rows), sum(case["status"] == "completed" for case in rows), rounded(mean(of(rows, "minutes")), 1)]
                   for _, rows in sorted(week.items())]


def part(case):
    hour = case["begun"].hour
    return "Morning" if 5 <= hour < 12 else "Afternoon" if 12 <= hour < 17 else "Evening" if 17 <= hour < 21 else "Night"


parts = grouped(completed, part)
out["time_of_day"] = [[name, len(parts[name]), rounded(mean(of(parts[name], "minutes")), 1), *rates(parts[name])]
                      for name in ("Morning", "Afternoon", "Evening", "Night") if name in parts]

quarters = grouped(completed, lambda case: case["begun"].year * 4 + (case["begun"].month - 1) // 3)
out["quarterly_growth"] = []
for number, rows in sorted(quarters.items()):
    before = len(quarters[number - 1]) if number - 1 in quarters else None
    growth = rounded((len(rows) - before) / before, 4) if before else None
    out["quarterly_growth"].append([f"{number // 4} Q{number % 4 + 1}", len(rows), before, growth])

ages = grouped(completed, lambda case: (case["category"], case["age"]))
out["age_by_category"] = [[*key, len(rows), *rates(rows)] for key, rows in sorted(ages.items())]

windows = [row for row in read("robot_windows") if HOUR % row["window_size_us"] == 0 and row["window_start"] % row["window_size_us"] == 0]
legs = grouped(newest.values(), lambda row: row["robot_id"])


def subjects(what, row):
    robot = at(robots.get(row["robot_id"]), row["window_start"])
    if what == "facility":
        return [(robot and robot["facility_id"],)]
    if what == "model":
        return [(robot and robot["robot_model"],)]
    if what == "surgeon":
        return [(leg["surgeon_id"],) for leg in legs[row["robot_id"]] if leg["started_at"] <= row["window_start"] < leg["ended_at"]]
    return [()]


for what in ("facility", "model", "surgeon", "fleet"):
    for span, length in (("hour", HOUR), ("day", DAY)):
        sums = defaultdict(list)
        for row in windows:
            for subject in subjects(what, row):
                sums[(*subject, row["window_start"] // length * length, row["dataset"], row["window_name"], row["signal"])].append(row)
        rows = []
        for key, parts_of in sorted(sums.items(), key=lambda item: tuple((part is not None, part) for part in item[0])):
            count, total = sum(of(parts_of, "value_count")), sum(of(parts_of, "value_sum"))
            rows.append([*key, len(set(of(parts_of, "robot_id"))), count, total, total / count, min(of(parts_of, "min")), max(of(parts_of, "max")),
                         max(of(parts_of, "revision")), len(parts_of)])
        out[f"rollup_{what}_{span}"] = rows

json.dump(out, sys.stdout)
