// Procedures: which there were, and how one of them went.

import { get } from "./api.js";
import { el, lead, number, procedureLink, robotLink, table, time, words } from "./dom.js";

const minutes = (seconds) => (seconds === null || seconds === undefined ? "–" : number(Math.round(seconds / 6) / 10));
const millis = (text) => new Date(text).getTime();

/// What a procedure is called: its kind, with its id below it.
function named(row) {
  const type = row.procedure_type || (row.outcome && row.outcome.procedure_type);
  return el("span", { class: "lines" },
    el("a", { href: `#/procedures/${encodeURIComponent(row.procedure_id)}` }, type || row.procedure_id),
    type ? el("span", { class: "id" }, row.procedure_id) : null);
}

const standing = (row) => (row.status === "under way" && row.phase ? `${row.status}: ${words(row.phase)}` : row.status);

/// How long it took, or has taken so far; seconds.
function taken(row) {
  if (row.outcome && row.outcome.duration_s !== null) return row.outcome.duration_s;
  if (!row.started_at) return null;
  return (millis(row.ended_at || row.heard_at) - millis(row.started_at)) / 1000;
}

/// Procedures as a table, which names their robots where they are of several.
export function procedureTable(rows, withRobot = true) {
  const alerts = (outcome) => outcome.alerts_high + outcome.alerts_medium + outcome.alerts_low;
  const columns = [
    { name: "procedure", cell: named },
    withRobot ? { name: "robot", cell: (row) => robotLink(row.robot_id) } : null,
    withRobot ? { name: "facility", cell: (row) => row.facility_id || "–" } : null,
    { name: "status", cell: standing },
    { name: "began", cell: (row) => time(row.started_at || row.scheduled_at) },
    { name: "minutes", number: true, cell: (row) => minutes(taken(row)) },
    { name: "alerts", number: true, cell: (row) => (row.outcome ? number(alerts(row.outcome)) : "–") },
  ];
  return table("Procedures", columns.filter(Boolean), rows);
}

/// When procedures were under way, as a plot has it; one that has not ended is so until `end`.
export function procedureStretches(rows, end) {
  return rows.filter((row) => row.started_at).map((row) => ({
    kind: "case", from: millis(row.started_at), until: row.ended_at ? millis(row.ended_at) : end,
    text: `${row.procedure_type || "procedure"} ${row.procedure_id}`,
  }));
}

const STATUSES = ["under way", "paused", "scheduled", "completed", "aborted", "cancelled"];

/// Which procedures were there lately?
export const procedures = {
  title: "Procedures",
  async show(_id, query) {
    const status = query.get("status") || "";
    const after = query.get("after");
    const found = await get("procedures", { limit: 100, status, after });
    const go = (changes) => {
      const next = new URLSearchParams();
      for (const [name, value] of Object.entries({ status, ...changes })) if (value) next.set(name, value);
      location.hash = `#/procedures${next.size > 0 ? `?${next}` : ""}`;
    };
    const choice = el("select", { "aria-label": "Status", onchange: (event) => go({ status: event.target.value }) },
      el("option", { value: "" }, "Every status"),
      STATUSES.map((name) => el("option", { value: name, selected: name === status }, name)));
    return [
      el("h1", {}, "Procedures"), lead("Those of which a step was reported, the latest first."),
      el("div", { class: "tools" }, choice),
      procedureTable(found.items),
      el("p", { class: "tools" },
        after ? el("button", { type: "button", onclick: () => go({}) }, "The latest") : null,
        found.next ? el("button", { type: "button", onclick: () => go({ after: found.next }) }, "Earlier ones") : null),
    ];
  },
};

/// How did this procedure go?
export const procedure = {
  title: "Procedure",
  async show(id) {
    const found = await get(`procedures/${encodeURIComponent(id)}`);
    const type = found.items.map((item) => item.procedure_type).find(Boolean);
    return [el("h1", {}, type || id), type ? lead(el("span", { class: "id" }, id)) : null, ...found.items.flatMap(leg)];
  },
};

function facts(item) {
  const rows = [
    ["status", standing(item)], ["category", item.category && words(item.category)], ["facility", item.facility_id],
    ["surgeon", item.surgeon_id], ["complexity", item.complexity === null ? null : number(item.complexity)],
    ["scheduled", item.scheduled_at && time(item.scheduled_at)], ["began", item.started_at && time(item.started_at)],
    ["ended", item.ended_at && time(item.ended_at)], ["minutes", taken(item) === null ? null : minutes(taken(item))],
    ["of these paused", item.paused_s > 0 ? minutes(item.paused_s) : null],
    ["remarks", (item.remarks || []).map((remark) => (typeof remark === "string" ? remark : remark.text || remark.remark || JSON.stringify(remark))).join("; ")],
  ];
  return el("dl", { class: "facts" }, rows.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function leg(item) {
  const outcome = item.outcome;
  const phases = item.phases.length > 0
    ? item.phases.map((row) => ({ name: row.phase, duration_s: row.duration_s, began_at: row.began_at }))
    : (outcome && outcome.phases) || [];
  const parts = [el("h2", {}, "On ", robotLink(item.robot_id)), facts(item)];
  if (item.started_at) {
    const stretch = new URLSearchParams({ from: item.started_at, until: item.ended_at || item.heard_at });
    parts.push(el("p", {}, el("a", { href: `#/robots/${encodeURIComponent(item.robot_id)}?${stretch}` }, "Signals of the robot meanwhile")));
  }
  if (phases.length > 0) {
    parts.push(el("h2", {}, "Phases"), table("Phases", [
      { name: "phase", cell: (row) => words(row.name) },
      { name: "began", cell: (row) => time(row.began_at) },
      { name: "minutes", number: true, cell: (row) => minutes(row.duration_s) },
    ], phases));
  }
  if (!outcome) {
    parts.push(el("p", { class: "empty" }, item.ended_at ? "Its outcome is not there yet: it is made once the robot's data up to its end has come." : "Its outcome comes once it has ended."));
    return parts;
  }
  parts.push(
    el("h2", {}, "Indicators"),
    table("Indicators", [
      { name: "indicator", cell: (row) => words(row.name) },
      { name: "value", number: true, cell: (row) => number(row.value, row.unit) },
    ], outcome.indicators),
    lead(`${number(outcome.telemetry_rows)} samples, ${number(outcome.telemetry_missing)} missing; alerts: ${outcome.alerts_high} high, ${outcome.alerts_medium} medium, ${outcome.alerts_low} low.`));
  if (item.outcome_revisions.length > 1) {
    parts.push(el("h2", {}, "Revisions of the outcome"), table("Revisions", [
      { name: "revision", number: true, cell: (row) => row.revision },
      { name: "status", cell: (row) => words(row.status) },
      { name: "ended", cell: (row) => time(row.ended_at) },
      { name: "samples", number: true, cell: (row) => number(row.telemetry_rows) },
      { name: "missing", number: true, cell: (row) => number(row.telemetry_missing) },
    ], item.outcome_revisions));
  }
  return parts;
}
