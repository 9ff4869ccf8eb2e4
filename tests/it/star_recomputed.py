"""Recomputes the warehouse's dimensions, facts, views, roll-ups and reports from the files of the lake.

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


PAST, FUTURE = -62_135_596_800_000_000, 253_370_764_800_000_000


def key(name, time):
    return f"{name}/{moment(time):%Y%m%d%H%M%S%f}"


def timeline(histories, attributes, heard):
    """For each key, the versions that differ from the one before; one without attributes for what is only heard of."""
    lines = {name: [{"key": f"{name}/unregistered", "row": dict.fromkeys(attributes), "begin": PAST, "end": FUTURE, "from": PAST, "registered": False}]
             for name in heard if name is not None and name not in histories}
    for name, history in histories.items():
        line = []
        for begin, row in history:
            said = {attribute: row[attribute] for attribute in attributes}
            if not line or line[-1]["row"] != said:
                if line:
                    line[-1]["end"] = begin
                line.append({"key": key(name, begin), "row": said, "begin": begin, "end": FUTURE, "from": begin if line else PAST, "registered": True})
        lines[name] = line
    return lines


def valid(lines, name, time):
    return next((version for version in lines.get(name, []) if version["from"] <= time < version["end"]), None)


def of_version(version, attribute=None):
    return version and (version["row"][attribute] if attribute else version["key"])


def newest_of(table, name):
    found = {}
    for row in read(table):
        if row[name] not in found or found[row[name]]["revision"] < row["revision"]:
            found[row[name]] = row
    return found


robots = versions("robot_registry", "robot_id")
surgeons = versions("surgeon_registry", "surgeon_id")
facilities = versions("facility_registry", "facility_id")
models = versions("model_registry", "robot_model")
events = read("procedure_events")
newest = newest_of("procedure_outcomes", "outcome_id")
states = newest_of("procedures", "leg_id")
works = newest_of("maintenance_records", "maintenance_id")
alerts = read("maintenance_alerts")
telemetry = read("robot_telemetry")

ROBOT = ["serial_number", "robot_model", "manufacturer", "facility_id", "installation_date", "hardware_revision", "software_version", "firmware_version",
         "status", "decommission_date"]
FACILITY = ["facility_name", "city", "state", "country", "facility_type", "bed_count", "time_zone", "is_closed"]
SURGEON = ["surgeon_name", "specialization", "practising_since", "certification_level", "facility_id", "is_retired"]
MODEL = ["manufacturer", "arms", "joints_per_arm", "categories", "service_interval_hours", "instrument_lives", "is_discontinued"]
for history in models.values():
    for _, row in history:
        row["categories"] = ", ".join(row[f"categories_{at}"] for at in range(12) if row[f"categories_{at}"])
robot_lines = timeline(robots, ROBOT, {row["robot_id"] for rows in (newest.values(), states.values(), works.values(), alerts) for row in rows})
entries = [row for history in robots.values() for _, row in history]
facility_lines = timeline(facilities, FACILITY, {row["facility_id"] for row in entries})
model_lines = timeline(models, MODEL, {row["robot_model"] for row in entries})
surgeon_lines = timeline(surgeons, SURGEON, {row["surgeon_id"] for rows in (newest.values(), states.values()) for row in rows})

first_case = {}
for row in newest.values():
    begun = row["ended_at"] if row["started_at"] is None else row["started_at"]
    first_case[row["surgeon_id"]] = min(begun, first_case.get(row["surgeon_id"], begun))


def first_of(*values):
    return next((value for value in values if value is not None), None)


went_on = defaultdict(list)
for row in events:
    if row["step"] in ("resumed", "phase_started"):
        went_on[f"{row['procedure_id']}/{row['robot_id']}"].append(row["event_time"])
legs = []
for name in {**states, **newest}:
    state, outcome = states.get(name, {}), newest.get(name, {})
    one = {column: first_of(outcome.get(column), state.get(column)) for column in ("procedure_id", "robot_id", "surgeon_id", "category", "procedure_type",
                                                                                   "started_at", "ended_at", "revision", "paused_s")}
    changed = first_of(state.get("changed_at"), one["ended_at"])
    one["started_at"] = first_of(one["started_at"], min([time for time in went_on[name] if time <= changed], default=None))
    begun = first_of(one["started_at"], one["ended_at"], state.get("scheduled_at"), state.get("changed_at"))
    legs.append({**one, "leg_id": name, "outcome": outcome, "state": state, "begun": begun, "changed": changed,
                 "status": first_of(outcome.get("status"), state.get("status"))})
by_number = defaultdict(list)
for leg in sorted(legs, key=lambda leg: (leg["begun"], leg["leg_id"])):
    cases_of = by_number[leg["procedure_id"]]
    under_way = cases_of[-1] if cases_of else []
    has_ended = any(other["ended_at"] is not None and other["ended_at"] <= leg["begun"] for other in under_way)
    if not under_way or under_way[-1]["robot_id"] == leg["robot_id"] or has_ended:
        cases_of.append([])
    cases_of[-1].append(leg)

cases = []
for number, cases_of in by_number.items():
    known_until = {}
    for at_place, its in enumerate(cases_of):
        last_leg = max(its, key=lambda leg: (leg["changed"], leg["begun"], leg["leg_id"]))
        its_events = [event for event in events for leg in its if event["procedure_id"] == number and event["robot_id"] == leg["robot_id"]
                      and known_until.get(leg["robot_id"], PAST) < event["event_time"] <= leg["changed"]]
        for leg in its:
            known_until[leg["robot_id"]] = leg["changed"]
        starts = [leg["started_at"] for leg in its if leg["started_at"] is not None]
        start, ended, began = min(starts, default=None), last_leg["ended_at"], min(leg["begun"] for leg in its)
        paused = sum(leg["paused_s"] for leg in its)
        for leg, later in zip(its, its[1:]):
            if leg is not last_leg and leg["ended_at"] is None and leg["status"] == "paused":
                paused += max(0, later["begun"] - leg["changed"]) / 1e6
        result = json.loads(last_leg["outcome"].get("result") or "{}")
        robot = valid(robot_lines, last_leg["robot_id"], last_leg["begun"])
        surgeon = valid(surgeon_lines, last_leg["surgeon_id"], began)
        since = of_version(surgeon, "practising_since")
        if since is not None:
            years = (began // DAY - since) / 365.25
        else:
            years = (began - first_case[last_leg["surgeon_id"]]) / 31_557_600e6
        severities = [complication["severity"] for complication in result.get("complications", [])]
        level = next((one for one in ["severe", "moderate", "minor"] if one in severities), "none") if result else None
        age = max((event["patient_age"] for event in its_events if event["patient_age"] is not None), default=None)
        counted = [leg["outcome"] for leg in its if leg["outcome"]]
        rows_of, missing = [sum(row[name] for row in counted) if counted else None for name in ("telemetry_rows", "telemetry_missing")]
        cases.append({
            **last_leg, "legs": its, "key": number if at_place == 0 else f"{number}/{at_place}", "started_at": start, "began": began, "robot": robot, "surgeon": surgeon,
            "minutes": None if start is None or ended is None else max(0, ended - start) / 60e6, "paused": paused / 60, "site": of_version(robot, "facility_id"),
            "model": of_version(robot, "robot_model"), "complexity": last_leg["state"]["complexity"], "patient": last_leg["state"]["patient_id"], "years_old": age,
            "age": "unknown" if age is None else "<30" if age < 30 else "30-49" if age < 50 else "50-64" if age < 65 else "65+",
            "gender": max((event["patient_gender"] for event in its_events if event["patient_gender"] not in (None, "unknown")), default=None), "said": result,
            "rows": rows_of, "completeness": rows_of / (rows_of + missing) if rows_of is not None and rows_of + missing else None,
            "alerts": [sum(row[f"alerts_{rank}"] for row in counted) if counted else None for rank in ("high", "medium", "low")],
            "success": None if not result else result["success_status"] == "successful", "level": level,
            "complicated": None if level is None else level in ("moderate", "severe"), "readmitted": result.get("readmission_30day"),
            "result": None if not result or result["success_status"] == "unknown" else result["success_status"], "loss": result.get("blood_loss_ml"),
            "satisfaction": result.get("patient_satisfaction_score"), "stay": result.get("hospital_stay_days"), "years": years,
            "begun_on": None if start is None else moment(start), "updated": max(leg["changed"] for leg in its), "last_began": last_leg["begun"],
        })
completed = [case for case in cases if case["status"] == "completed"]
ended_cases = [case for case in cases if case["ended_at"] is not None and case["started_at"] is not None]
last = max(row["ended_at"] for row in newest.values())


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

busiest, utilization = [], []
for robot, rows in grouped(completed, lambda case: case["robot_id"]).items():
    today = robots[robot][-1][1] if robot in robots else None
    days = max(of(rows, "started_at")) // DAY - min(of(rows, "started_at")) // DAY + 1
    busiest.append([robot, today and today["robot_model"], today and today["facility_id"], len(rows), rounded(sum(of(rows, "minutes")) / 60, 1),
                    rounded(mean(of(rows, "minutes")), 1), rounded(len(rows) / days, 3)])
    utilization.append([robot, today and today["serial_number"], today and today["robot_model"], today and today["facility_id"], len(rows),
                        rounded(sum(of(rows, "minutes")) / 60, 1), rounded(mean(of(rows, "minutes")), 1), rounded(mean(of(rows, "complexity")), 2), rounded(len(rows) / days, 3)])
out["robot_utilization"] = sorted(utilization, key=lambda row: (-row[4], row[0]))[:500]
out["busiest_robots"] = sorted(busiest, key=lambda row: (-row[3], row[0]))[:10]

months = grouped(ended_cases, lambda case: case["begun_on"].year * 12 + case["begun_on"].month - 1)
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

out["outcomes_summary"] = [[result, len(rows), rounded(mean(of(rows, "loss")), 1), rounded(mean(of(rows, "stay")), 2), rounded(mean(of(rows, "satisfaction")), 2)]
                           for result, rows in sorted(grouped([case for case in cases if case["result"]], lambda case: case["result"]).items())]

lately = [[category, len(rows), rounded(mean(of(rows, "minutes")), 1), rounded(mean(of(rows, "complexity")), 2)]
          for category, rows in grouped(recent, lambda case: case["category"]).items()]
out["procedures_by_category"] = sorted(lately, key=lambda row: (-row[1], row[0]))

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
for robot, rows in grouped(telemetry, lambda row: row["robot_id"]).items():
    if len(set(of(rows, "procedure_id"))) >= 5:
        current = max(row[f"joints_{joint}_current"] for row in rows for joint in range(6))
        warnings = sum(row["system_temperature"] > 75 or row["network_latency_ms"] > 100 or row["video_fps"] < 25 for row in rows)
        health.append([robot, len(set(of(rows, "procedure_id"))), len(rows), rounded(mean(of(rows, "system_temperature")), 2), max(of(rows, "system_temperature")),
                       current, max(of(rows, "network_latency_ms")), min(of(rows, "video_fps")), warnings])
out["system_health"] = sorted(health, key=lambda row: (-row[8], row[0]))

week = grouped([case for case in ended_cases if case["started_at"] >= last - 90 * DAY], lambda case: case["begun_on"].isoweekday() % 7)
out["weekdays"] = [[rows[0]["begun_on"].strftime("%A"), len(rows), sum(case["status"] == "completed" for case in rows), rounded(mean(of(rows, "minutes")), 1)]
                   for _, rows in sorted(week.items())]


def part(case):
    hour = case["begun_on"].hour
    return "Morning" if 5 <= hour < 12 else "Afternoon" if 12 <= hour < 17 else "Evening" if 17 <= hour < 21 else "Night"


parts = grouped(completed, part)
out["time_of_day"] = [[name, len(parts[name]), rounded(mean(of(parts[name], "minutes")), 1), *rates(parts[name])]
                      for name in ("Morning", "Afternoon", "Evening", "Night") if name in parts]

quarters = grouped(completed, lambda case: case["begun_on"].year * 4 + (case["begun_on"].month - 1) // 3)
out["quarterly_growth"] = []
for number, rows in sorted(quarters.items()):
    before = len(quarters[number - 1]) if number - 1 in quarters else None
    growth = rounded((len(rows) - before) / before, 4) if before else None
    out["quarterly_growth"].append([f"{number // 4} Q{number % 4 + 1}", len(rows), before, growth])

ages = grouped(completed, lambda case: (case["category"], case["age"]))
out["age_by_category"] = [[*whom, len(rows), *rates(rows)] for whom, rows in sorted(ages.items())]

windows = [row for row in read("robot_windows") if HOUR % row["window_size_us"] == 0 and row["window_start"] % row["window_size_us"] == 0]


def subjects(what, row):
    robot = at(robots.get(row["robot_id"]), row["window_start"])
    if what == "facility":
        return [(robot and robot["facility_id"],)]
    if what == "model":
        return [(robot and robot["robot_model"],)]
    return [()]


for what in ("facility", "model", "fleet"):
    for span, length in (("hour", HOUR), ("day", DAY)):
        sums = defaultdict(list)
        for row in windows:
            for subject in subjects(what, row):
                sums[(*subject, row["window_start"] // length * length, row["dataset"], row["window_name"], row["signal"])].append(row)
        rows = []
        for subject, parts_of in sorted(sums.items(), key=lambda item: tuple((part is not None, part) for part in item[0])):
            count, total = sum(of(parts_of, "value_count")), sum(of(parts_of, "value_sum"))
            rows.append([*subject, len(set(of(parts_of, "robot_id"))), count, total, total / count, min(of(parts_of, "min")), max(of(parts_of, "max")),
                         max(of(parts_of, "revision")), len(parts_of)])
        out[f"rollup_{what}_{span}"] = rows

# Of a surgeon's cases the samples themselves: no aggregate of a case is looked at.
samples_of = grouped(telemetry, lambda row: (row["procedure_id"], row["robot_id"]))
for span, length in (("hour", HOUR), ("day", DAY)):
    sums = defaultdict(list)
    for case in cases:
        for leg in case["legs"]:
            if leg["outcome"]:
                begun = first_of(leg["outcome"]["started_at"], PAST)
                taken = [row for row in samples_of[leg["procedure_id"], leg["robot_id"]] if begun <= row["event_time"] < leg["ended_at"]]
                for signal in ("system_temperature", "video_fps"):
                    sums[leg["surgeon_id"], first_of(leg["outcome"]["started_at"], leg["begun"]) // length * length, signal] += [(row[signal], leg, case["key"]) for row in taken]
    out[f"rollup_surgeon_{span}"] = [
        [*subject, len({leg["robot_id"] for _, leg, _ in parts_of}), len(parts_of), sum(value for value, _, _ in parts_of), mean([value for value, _, _ in parts_of]),
         min(value for value, _, _ in parts_of), max(value for value, _, _ in parts_of), 1, len({case for _, _, case in parts_of}), 1]
        for subject, parts_of in sorted(sums.items()) if parts_of]


def ordered(rows):
    return sorted(rows, key=lambda row: [(value is not None, value) for value in row[:8]])


def date_key(time):
    return None if time is None else int(f"{moment(time):%Y%m%d}")


def time_key(time):
    return None if time is None else int(f"{moment(time):%H%M}") * 100


def validity(version):
    return [version["begin"], version["end"], version["end"] == FUTURE, version["registered"]]


def described(version, attributes):
    return [version["row"][attribute] for attribute in attributes]


done = [row for row in newest.values() if row["status"] == "completed"]
seen = defaultdict(list)
for rows, column in ((newest.values(), "started_at"), (alerts, "event_time"), (read("robot_windows"), "window_start")):
    for row in rows:
        if row[column] is not None:
            seen[row["robot_id"]].append(row[column])
out["dim_robots"] = []
for robot, line in robot_lines.items():
    of_robot = [row for row in done if row["robot_id"] == robot]
    served = [first_of(row["ended_at"], row["reported_at"]) for row in works.values() if row["robot_id"] == robot and row["status"] == "completed"]
    for version in line:
        row = version["row"]
        out["dim_robots"].append([
            version["key"], robot, *described(version, ROBOT[:4]), of_version(valid(facility_lines, row["facility_id"], version["begin"])),
            *described(version, ROBOT[4:]), max(served, default=None), len(of_robot), sum(row["duration_s"] or 0 for row in of_robot) / 3600, *validity(version),
            min(seen[robot], default=None), max(seen[robot], default=None)])
for view, lines, attributes in (("dim_facilities", facility_lines, FACILITY), ("dim_models", model_lines, MODEL)):
    out[view] = [[version["key"], name, *described(version, attributes), *validity(version), version["from"]] for name, line in lines.items() for version in line]
out["dim_surgeons"] = []
for surgeon, line in surgeon_lines.items():
    of_surgeon = [row for row in newest.values() if row["surgeon_id"] == surgeon]
    starts = [row["started_at"] for row in of_surgeon if row["started_at"] is not None]
    first, latest = min(starts, default=None), max(starts, default=None)
    for version in line:
        row, since = version["row"], version["row"]["practising_since"]
        years = (latest // DAY - since) / 365.25 if since is not None else (latest - first) / 31_557_600e6
        out["dim_surgeons"].append([version["key"], surgeon, *described(version, SURGEON[:3]), years, *described(version, SURGEON[3:]), *validity(version), first, latest,
                                    len({row["procedure_id"] for row in of_surgeon}), len(of_surgeon)])
out["dim_components"] = []
for robot, history in robots.items():
    sat = [(begin, row["components_0_component"], row["components_0_part"], row["components_0_serial"]) for begin, row in history]
    sat = [one for before, one in zip([None, *sat], sat) if before is None or before[1:] != one[1:]]
    for one, after in zip(sat, [*sat[1:], None]):
        out["dim_components"].append([f"{robot}/{key(one[1], one[0])}", robot, *one[1:], one[0], after[0] if after else FUTURE, after is None])
out["dim_rules"] = [[rule, max(of(rows, "rule_version")), min(of(rows, "raised_at")), max(of(rows, "raised_at"))]
                    for rule, rows in grouped(alerts, lambda row: row["rule_id"]).items()]
lives = defaultdict(list)
for row in newest_of("instruments", "instrument_id").values():
    robot = valid(robot_lines, row["robot_id"], row["last_seen"])
    model = valid(model_lines, of_version(robot, "robot_model"), row["last_seen"])
    if of_version(model, "instrument_lives") is not None:
        lives[row["tool_serial"]].append(model["row"]["instrument_lives"])
allowed = {serial: min(of_models) for serial, of_models in lives.items()}
out["dim_instruments"] = [[serial, serial, max(of(rows, "tool_type")), min(of(rows, "event_time")), max(of(rows, "event_time")), max(of(rows, "tool_use_count")),
                           len(set(of(rows, "robot_id"))), len(set(of(rows, "procedure_id"))), len(rows), allowed.get(serial), max(allowed[serial] - max(of(rows, "tool_use_count")), 0) if serial in allowed else None]
                          for serial, rows in grouped(telemetry, lambda row: row["tool_serial"]).items()]

out["fact_procedures"] = [[
    case["key"], case["procedure_id"], case["outcome"].get("outcome_id"), case["robot_id"], of_version(case["robot"]), case["surgeon_id"], of_version(case["surgeon"]),
    case["site"], of_version(valid(facility_lines, case["site"], case["last_began"])), case["model"], of_version(valid(model_lines, case["model"], case["last_began"])),
    case["procedure_type"], case["category"], case["status"], False, len(case["legs"]), case["revision"], case["started_at"], case["ended_at"],
    date_key(case["started_at"]), time_key(case["started_at"]), date_key(case["ended_at"]), time_key(case["ended_at"]), case["minutes"], case["paused"], *case["alerts"],
    case["rows"], case["completeness"], case["outcome"].get("result"), case["patient"], case["years_old"], case["gender"], case["age"], case["complexity"],
    case["said"].get("success_status"), case["said"].get("blood_loss_ml"), case["level"], case["stay"], case["satisfaction"], case["readmitted"],
    case["said"].get("recovery_score"), case["said"].get("follow_up_required"), case["years"], case["began"], case["updated"]] for case in cases]
out["fact_procedure_legs"] = []
for case in cases:
    for place, leg in enumerate(case["legs"]):
        is_last = leg["leg_id"] == case["leg_id"]
        robot, left = valid(robot_lines, leg["robot_id"], leg["begun"]), leg["ended_at"] if is_last else first_of(leg["ended_at"], leg["changed"])
        out["fact_procedure_legs"].append([
            leg["leg_id"], case["key"], leg["procedure_id"], place + 1, is_last, leg["robot_id"], of_version(robot), of_version(robot, "facility_id"),
            of_version(robot, "robot_model"), leg["surgeon_id"], leg["status"] if is_last or leg["ended_at"] is not None else "moved", leg["revision"], leg["started_at"],
            left, date_key(leg["started_at"]), time_key(leg["started_at"]), None if left is None or leg["started_at"] is None else max(0, left - leg["started_at"]) / 60e6,
            leg["paused_s"] / 60, leg["outcome"].get("telemetry_rows")])

by_procedure = grouped(cases, lambda case: case["procedure_id"])
SAMPLE = ["arm_id", "arm_position_x", "arm_position_y", "arm_position_z", "arm_rotation_x", "arm_rotation_y", "arm_rotation_z"]
MORE = ["force_feedback_x", "force_feedback_y", "force_feedback_z", "tool_type", "tool_serial", "tool_active", "tool_use_count", "grip_pressure",
        "tremor_compensation", "camera_zoom", "camera_angle", "lighting_level", "system_temperature", "power_consumption"]
LAST = ["network_latency_ms", "packet_loss", "video_fps", "operating_state", "error_code", "warning_code", "sequence", "boot_id"]
out["fact_procedure_telemetry"] = []
health = defaultdict(list)
for row in telemetry:
    time = row["event_time"]
    begun = [case for case in by_procedure[row["procedure_id"]] if case["began"] <= time]
    case = max(begun, key=lambda case: (case["began"], case["key"]), default=None)
    case = case and (case if time <= first_of(case["ended_at"], FUTURE) else None)
    robot, surgeon = valid(robot_lines, row["robot_id"], time), case and case["surgeon_id"]
    site, model = of_version(robot, "facility_id"), of_version(robot, "robot_model")
    force = sum(row[f"force_feedback_{axis}"] ** 2 for axis in "xyz") ** 0.5
    row["motor"] = max(row[f"joints_{joint}_current"] for joint in range(6))
    out["fact_procedure_telemetry"].append([
        f"{row['_topic']}/{row['_partition']}/{row['_offset']}", case and case["key"], row["procedure_id"], row["robot_id"], of_version(robot), site,
        of_version(valid(facility_lines, site, time)), of_version(valid(model_lines, model, time)), surgeon, of_version(valid(surgeon_lines, surgeon, time)), time,
        date_key(time), time_key(time), *[row[name] for name in SAMPLE], force, *[row[name] for name in MORE], row["motor"], *[row[name] for name in LAST]])
    health[row["procedure_id"], row["robot_id"]].append(row)

conditions = {}
for condition, rows in grouped(alerts, lambda row: row["condition_id"]).items():
    cleared = [row["event_time"] for row in rows if row["transition"] == "cleared"]
    conditions[condition] = [condition, rows[0]["robot_id"], rows[0]["rule_id"], min(of(rows, "raised_at")), max(of(rows, "event_time")), max(cleared, default=None), len(rows)]
out["fact_conditions"] = list(conditions.values())
out["fact_alerts"] = []
for row in alerts:
    robot, time = valid(robot_lines, row["robot_id"], row["event_time"]), row["event_time"]
    out["fact_alerts"].append([
        row["alert_id"], row["condition_id"], row["robot_id"], of_version(robot), of_version(robot, "facility_id"), row["procedure_id"], row["rule_id"], row["rule_version"],
        row["transition"], row["revision"], row["priority"], time, row["raised_at"], date_key(time), time_key(time), row["value"], row["limit"], row["signal"], row["unit"],
        row["message"]])
out["fact_maintenance"] = []
for row in works.values():
    begun = first_of(row["started_at"], row["reported_at"])
    robot = valid(robot_lines, row["robot_id"], begun)
    condition = conditions.get(row["condition_id"], [None] * 7)
    raised = first_of(row["first_alert_at"], condition[3])
    out["fact_maintenance"].append([
        row["maintenance_id"], row["maintenance_id"], row["robot_id"], of_version(robot), of_version(robot, "facility_id"), date_key(begun), time_key(begun),
        row["maintenance_type"], row["status"], row["maintenance_type"] != "emergency", row["started_at"], row["ended_at"], row["technician_id"], row["technician_name"],
        row["issue_code"], row["issues_found"], "; ".join(json.loads(row["actions"])), row["actions_taken"], "; ".join(part["part"] for part in json.loads(row["parts"])),
        row["downtime_hours"], float(row["cost"]), row["currency"], row["next_maintenance_date"], row["condition_id"], row["is_condition_reported"], condition[2], raised,
        *condition[4:], None if raised is None else (begun - raised) / HOUR])
WINDOW = ["robot_id", "dataset", "window_name", "window_start", "window_size_us", "revision", "window_rows", "signal", "value_count", "value_sum", "mean", "m2", "min", "max",
          "first", "first_time", "last", "last_time", "p50", "p95", "p99"]
out["fact_robot_window"] = []
for row in read("robot_windows"):
    robot, time = valid(robot_lines, row["robot_id"], row["window_start"]), row["window_start"]
    out["fact_robot_window"].append([*[row[name] for name in WINDOW], of_version(robot), of_version(robot, "facility_id"), of_version(robot, "robot_model"), date_key(time),
                                     time_key(time)])


def exact(rows):
    return [share(of(rows, name)) for name in ("success", "complicated", "readmitted")]


def hours(rows):
    return sum(of(rows, "minutes")) / 60


def means(rows, *names):
    return [mean(of(rows, name)) for name in names]


def now(lines, name, attribute):
    return lines[name][-1]["row"][attribute] if name in lines else None


def loss(rows):
    return mean([row["said"].get("blood_loss_ml") for row in rows])


def many(rows, name):
    return len({row[name] for row in rows if row[name] is not None})


out["vw_robot_utilization"] = []
for robot, rows in grouped(completed, lambda case: case["robot_id"]).items():
    starts = of(rows, "started_at")
    out["vw_robot_utilization"].append([
        robot, *[now(robot_lines, robot, name) for name in ("serial_number", "robot_model", "facility_id")], len(rows), hours(rows), *means(rows, "minutes", "complexity"),
        date_key(min(starts)), date_key(max(starts)), len(rows) / (max(starts) // DAY - min(starts) // DAY + 1)])
out["vw_robot_utilization_monthly"] = [
    [*month, len(rows), hours(rows), *means(rows, "minutes", "complexity")]
    for month, rows in grouped(completed, lambda case: (case["robot_id"], case["begun_on"].year, case["begun_on"].month)).items()]
out["vw_procedure_outcomes"] = [[*kind, len(rows), *exact(rows), loss(rows), *means(rows, "stay", "satisfaction", "minutes")]
                                for kind, rows in grouped(completed, lambda case: (case["category"], case["procedure_type"])).items()]
out["vw_outcomes_by_robot_model"] = [[model, many(rows, "robot_id"), len(rows), *exact(rows), *means(rows, "minutes", "satisfaction")]
                                     for model, rows in grouped(completed, lambda case: case["model"]).items()]
by_surgeon = grouped(completed, lambda case: case["surgeon_id"])
out["vw_surgeon_performance"] = [
    [surgeon, *[now(surgeon_lines, surgeon, name) for name in ("surgeon_name", "specialization")], max(of(rows, "years")), len(rows), *exact(rows),
     *means(rows, "minutes", "complexity", "satisfaction")] for surgeon, rows in by_surgeon.items()]
out["vw_surgeon_procedure_categories"] = [[*subject, len(rows), *exact(rows), *means(rows, "minutes")]
                                          for subject, rows in grouped(completed, lambda case: (case["surgeon_id"], case["category"])).items()]
out["vw_facility_performance"] = [
    [site, *[now(facility_lines, site, name) for name in ("facility_name", "facility_type")], many(rows, "robot_id"), len(rows), many(rows, "surgeon_id"), hours(rows),
     *exact(rows), *means(rows, "minutes", "satisfaction")] for site, rows in grouped(completed, lambda case: case["site"]).items()]


def is_holiday(day):
    thanksgiving = day.month == 11 and day.isoweekday() == 4 and 22 <= day.day <= 28
    return (day.month, day.day) in ((1, 1), (7, 4), (12, 25)) or thanksgiving


out["vw_daily_procedure_volume"] = []
for day, rows in grouped(ended_cases, lambda case: case["started_at"] // DAY).items():
    date = moment(day * DAY)
    out["vw_daily_procedure_volume"].append([
        date_key(day * DAY), day, f"{date:%A}", date.isoweekday() > 5, is_holiday(date), len(rows), *[of(rows, "status").count(one) for one in ("completed", "aborted", "cancelled")],
        many(rows, "robot_id"), many(rows, "surgeon_id"), mean(of(rows, "minutes"))])
out["vw_procedures_by_time_of_day"] = [[part(rows[0]), hour, len(rows), *means(rows, "minutes", "complexity"), *exact(rows)]
                                       for hour, rows in grouped(completed, lambda case: case["begun_on"].hour).items()]
out["vw_outcomes_by_demographics"] = [[*whom, len(rows), *exact(rows), *means(rows, "stay", "satisfaction")]
                                      for whom, rows in grouped(completed, lambda case: (case["gender"] or "unknown", case["age"])).items()]
out["vw_telemetry_system_health"] = [
    [*subject, min(of(rows, "event_time")), max(of(rows, "event_time")), len(rows), mean(of(rows, "system_temperature")), max(of(rows, "system_temperature")),
     mean(of(rows, "motor")), max(of(rows, "motor")), mean(of(rows, "network_latency_ms")), max(of(rows, "network_latency_ms")), mean(of(rows, "video_fps")),
     min(of(rows, "video_fps")), sum(row["system_temperature"] > 75 or row["network_latency_ms"] > 100 or row["video_fps"] < 25 for row in rows)]
    for subject, rows in health.items()]
for name in out:
    if name.startswith(("dim_", "fact_", "vw_")):
        out[name] = ordered(out[name])

json.dump(out, sys.stdout)
