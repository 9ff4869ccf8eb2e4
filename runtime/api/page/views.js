// One view answers one question. Each takes the rest of the address and its query, and gives
// `{title, show}`: `show` asks the server and returns elements.

import { openConditions, transitions } from "./alerts.js";
import { caller, get } from "./api.js";
import { ago, badge, el, lead, number, procedureLink, table } from "./dom.js";
import { plot } from "./plot.js";
import { procedureStretches, procedureTable } from "./procedures.js";
import { components, instruments, serviceStretches, services } from "./maintenance.js";

/// What is the matter with this robot?
export const robot = {
  title: "Robot",
  async show(id, query) {
    const [found, moved, cases, work, parts, tools, rules, datasets, me] = await Promise.all([
      get(`robots/${encodeURIComponent(id)}`), get("alerts/transitions", { robot: id, limit: 200 }),
      get("procedures", { robot: id, limit: 50 }), get("maintenance", { robot: id, limit: 50 }),
      get("components", { robot: id, limit: 500 }), get("instruments", { robot: id, limit: 50 }), get("rules"), get("datasets"), caller(),
    ]);
    const judging = rules.items.filter((rule) => rule.is_enabled);
    const limited = judging.map((rule) => rule.kind.threshold).filter(Boolean).map((rule) => rule.signal);
    const known = datasets.items.filter((dataset) => dataset.topic && dataset.kind === "telemetry");
    const own = known.flatMap((dataset) => dataset.columns.filter((column) => column.is_signal)
      .map((column) => ({ dataset: dataset.dataset, signal: column.name, unit: column.unit })));
    const raised = moved.items.find((row) => row.signal);
    const signal = query.get("signal") || (raised && raised.signal) || limited[0] || (own[0] && own[0].signal);
    const dataset = query.get("dataset") || (own.find((item) => item.signal === signal) || {}).dataset;
    const go = (changes) => {
      const next = new URLSearchParams(query);
      for (const [name, value] of Object.entries(changes)) value === null ? next.delete(name) : next.set(name, value);
      location.hash = `#/robots/${encodeURIComponent(id)}?${next}`;
    };
    const choice = el("select", { "aria-label": "Signal", onchange: (event) => go(JSON.parse(event.target.value)) },
      own.map((item) => el("option", { value: JSON.stringify({ signal: item.signal, dataset: item.dataset }), selected: item.signal === signal && item.dataset === dataset },
        `${item.signal}${item.unit && item.unit !== "1" ? ` (${item.unit})` : ""}`)));
    return [
      el("h1", {}, id),
      lead(found.conditions.length > 0 ? `Open conditions: ${found.conditions.length}` : "Nothing is open", "; ",
        found.procedure_id ? el("span", {}, "in ", procedureLink(found.procedure_id), "; ") : "",
        `${number(found.records_applied)} records, ${number(found.records_missing)} missing; latest record `, found.heard_at ? ago(found.heard_at) : "never", "."),
      found.conditions.length > 0 ? openConditions(found.conditions, me, false) : null,
      el("h2", {}, "Signal"),
      el("div", { class: "tools" }, choice, ranges(query, go), found.clock ? moves(found, query, go) : null),
      await signalPlot(id, found, signal, dataset, query, moved.items, cases.items, work.items, judging, go),
      el("h2", {}, "What moved"),
      transitions(moved.items.slice(0, 20), false),
      el("h2", {}, "Procedures"),
      procedureTable(cases.items, false),
      el("h2", {}, "Services"),
      services(work.items),
      el("h2", {}, "Components"),
      components(parts.items),
      el("h2", {}, "Instruments"),
      instruments(tools.items),
    ];
  },
};

const RANGES = [["5 min", 300], ["15 min", 900], ["1 h", 3600], ["6 h", 21600], ["24 h", 86400], ["7 d", 604800]];

function ranges(query, go) {
  const chosen = query.get("from") ? null : Number(query.get("span") || 900);
  const buttons = RANGES.map(([name, seconds]) => el("button", {
    type: "button", "aria-pressed": chosen === seconds ? "true" : "false",
    onclick: () => go({ span: seconds, from: null, until: null }),
  }, name));
  return el("span", { role: "group", "aria-label": "Stretch of time" }, buttons);
}

/// The stretch of time that is shown, in milliseconds.
function stretch(found, query) {
  const until = Date.parse(query.get("until") || found.clock) + (query.get("until") ? 0 : 1);
  const from = query.get("from") ? Date.parse(query.get("from")) : until - Number(query.get("span") || 900) * 1000;
  return [from, until];
}

/// How far each button moves, in stretches, and how much longer the stretch is then.
const MOVES = [["Earlier", -0.5, 1], ["Later", 0.5, 1], ["Closer", 0, 0.5], ["Wider", 0, 2]];
const SHORTEST_MS = 2000;
const LONGEST_MS = 366 * 86400000;

/// What dragging does, and more, by click and key.
function moves(found, query, go) {
  const [from, until] = stretch(found, query);
  const now = Date.parse(found.clock) + 1;
  const to = (by, longer) => {
    const length = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, (until - from) * longer));
    const end = (from + until) / 2 + by * (until - from) + length / 2;
    // At the end it is live again.
    if (end >= now) go({ span: Math.round(length / 1000), from: null, until: null });
    else go({ from: new Date(end - length).toISOString(), until: new Date(end).toISOString() });
  };
  const buttons = MOVES.map(([name, by, longer]) => el("button", { type: "button", "data-move": name.toLowerCase(), onclick: () => to(by, longer) }, name));
  return el("span", { role: "group", "aria-label": "Through time" }, buttons);
}

async function signalPlot(id, found, signal, dataset, query, moved, cases, work, rules, go) {
  if (!signal || !found.clock) return el("p", { class: "empty" }, "There is no telemetry of this robot yet.");
  const [begin, end] = stretch(found, query).map((moment) => new Date(moment).toISOString());
  const series = await get(`robots/${encodeURIComponent(id)}/signals`, { signal, dataset, from: begin, until: end });
  const limits = rules.filter((rule) => (!rule.dataset || rule.dataset === series.dataset) && rule.kind.threshold && rule.kind.threshold.signal === signal)
    .flatMap((rule) => [rule.kind.threshold.raise_above, rule.kind.threshold.raise_below, ...(rule.kind.threshold.escalate || []).map((step) => step.at)])
    .filter((limit, at, all) => limit !== null && limit !== undefined && all.indexOf(limit) === at);
  const marks = moved.filter((row) => row.signal === signal).map((row) => ({ at: new Date(row.event_time).getTime(), text: row.message }));
  const stretches = procedureStretches(cases, new Date(end).getTime());
  return plot(series, limits, marks, stretches.concat(serviceStretches(work)), (from, until) => go({ from: new Date(from).toISOString(), until: new Date(until).toISOString() }));
}

/// What a rule's parts say, in words: those that say nothing are left out.
function said(value) {
  if (Array.isArray(value)) return value.map((part) => (typeof part === "object" ? `(${said(part)})` : part)).join(" and ");
  if (value === null || typeof value !== "object") return value;
  return Object.entries(value)
    .filter(([, part]) => part !== null && part !== "0us" && !(Array.isArray(part) && part.length === 0))
    .map(([name, part]) => `${name} ${part !== null && typeof part === "object" && !Array.isArray(part) ? `(${said(part)})` : said(part)}`)
    .join(", ");
}

/// What is watched for?
export const rules = {
  title: "Rules",
  async show() {
    const found = await get("rules");
    const details = (rule) => said(Object.values(rule.kind)[0] || {});
    return [el("h1", {}, "Rules"), lead("The rules that are in force, and those that are disabled."), table("Rules", [
      { name: "rule", cell: (rule) => rule.id },
      { name: "judges", cell: (rule) => (!rule.is_enabled ? "disabled" : rule.shadow ? "in the shadow" : "yes") },
      { name: "priority", cell: (rule) => badge(rule.priority) },
      { name: "dataset", cell: (rule) => rule.dataset || "every" },
      { name: "kind", cell: (rule) => Object.keys(rule.kind)[0] },
      { name: "when", cell: details },
      { name: "what it means", cell: (rule) => rule.description },
    ], found.items)];
  },
};
