// What was done to a robot, and what has run on it: services, components and instruments.

import { el, number, table, time } from "./dom.js";

/// Services as a table.
export function services(rows) {
  return table("Services", [
    { name: "reported", cell: (row) => time(row.reported_at) },
    { name: "kind", cell: (row) => row.maintenance_type.replaceAll("_", " ") },
    { name: "status", cell: (row) => row.status.replaceAll("_", " ") },
    { name: "issue", cell: (row) => row.issue_code || row.issues_found || "–" },
    { name: "parts", cell: (row) => (row.parts || []).map((part) => [part.part, part.component].filter(Boolean).join(" of ")).join(", ") || "–" },
    { name: "hours", number: true, cell: (row) => number(row.downtime_hours) },
    { name: "for", cell: (row) => (row.condition_id ? el("a", { href: `#/alerts/${encodeURIComponent(row.condition_id)}` }, "the alert") : "–") },
  ], rows);
}

/// When services were at work, as a plot has it.
export function serviceStretches(rows) {
  return rows.filter((row) => row.started_at)
    .map((row) => ({ kind: "service", from: new Date(row.started_at).getTime(), until: new Date(row.ended_at || row.reported_at).getTime(), text: `${row.maintenance_type} ${row.maintenance_id}` }));
}

/// Components that are in the robot, the hardest used first.
export function components(rows) {
  const there = rows.filter((row) => !row.removed_at).sort((a, b) => b.operating_hours - a.operating_hours);
  return table("Components", [
    { name: "component", cell: (row) => row.component },
    { name: "serial number", cell: (row) => row.serial || "–" },
    { name: "since", cell: (row) => time(row.since) },
    { name: "hours", number: true, cell: (row) => number(row.operating_hours) },
    { name: "greatest load", number: true, cell: (row) => number(row.load_peak, row.load_unit) },
  ], there);
}

/// Instruments that were on the robot, those used last first.
export function instruments(rows) {
  return table("Instruments", [
    { name: "instrument", cell: (row) => row.tool_serial },
    { name: "kind", cell: (row) => row.tool_type || "–" },
    { name: "lives used", number: true, cell: (row) => number(row.lives_used) },
    { name: "lives left", number: true, cell: (row) => number(row.lives_left) },
    { name: "hours", number: true, cell: (row) => number(row.attached_hours) },
    { name: "cases", number: true, cell: (row) => number(row.cases) },
    { name: "seen", cell: (row) => time(row.last_seen) },
  ], rows);
}
