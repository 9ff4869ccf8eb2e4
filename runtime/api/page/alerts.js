// Conditions: how they stand, what became of them, and what one may do about them.

import { caller, change, get } from "./api.js";
import { ago, badge, el, lead, number, procedureLink, robotLink, table, time } from "./dom.js";

const ROLES = ["viewer", "operator", "engineer", "admin"];
export const may = (me, role) => ROLES.indexOf(me.role) >= ROLES.indexOf(role);
const conditionLink = (id, text) => (id ? el("a", { href: `#/alerts/${encodeURIComponent(id)}` }, text) : text);

/// Says what became of something that was done.
export function notice(text, kind) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.dataset.kind = kind;
  setTimeout(() => { if (place.textContent === text) place.textContent = ""; }, 6000);
}

async function act(method, path, body, done) {
  try {
    await change(method, path, body);
    notice(`${done}: it is in the log and shows as soon as it is read.`, "done");
    dispatchEvent(new Event("acted"));
  } catch (problem) {
    notice(problem.message, "wrong");
  }
}

/// When work begins tomorrow, by the clock of who looks.
function tomorrow() {
  const at = new Date();
  at.setDate(at.getDate() + 1);
  at.setHours(8, 0, 0, 0);
  return at;
}

/// Asks why and for how long, and silences a condition.
function silence(row, me) {
  const dialog = document.getElementById("silence");
  const reason = document.getElementById("silence-reason");
  const high = document.getElementById("silence-high");
  const box = el("input", { type: "checkbox", id: "silence-hides" });
  document.getElementById("silence-what").textContent = `${row.rule_id} on ${row.robot_id}: no one is notified of it meanwhile. It stays on this page.`;
  high.replaceChildren();
  if (may(me, "engineer")) high.append(box, el("label", { for: "silence-hides" }, row.priority === "high" ? " also while its priority is high, as it is now" : " also while its priority is high"));
  else if (row.priority === "high") high.append("Its priority is high: that needs the role engineer. This silence will count if it falls.");
  const minutes = Math.max(1, Math.round((tomorrow().getTime() - Date.now()) / 60000));
  document.getElementById("silence-tomorrow").value = `${minutes}m`;
  reason.value = "";
  dialog.returnValue = "";
  dialog.addEventListener("close", () => {
    if (!dialog.returnValue) return;
    const body = { robot: row.robot_id, condition: row.condition_id, for: dialog.returnValue, reason: reason.value, hides_high: box.checked };
    act("POST", "silences", body, "Silenced");
  }, { once: true });
  dialog.showModal();
}

/// What a caller may do about an open condition; nothing where it may only look.
function buttons(row, me) {
  if (!may(me, "operator") || !row.condition_id) return null;
  const on = `alerts/${encodeURIComponent(row.condition_id)}`;
  const button = (name, run) => el("button", {
    type: "button", "aria-label": `${name} ${row.rule_id} on ${row.robot_id}`,
    onclick: (event) => { event.target.disabled = true; run(); setTimeout(() => { event.target.disabled = false; }, 3000); },
  }, name);
  return el("div", { class: "tools" },
    row.acknowledged_by
      ? button("Take back", () => act("POST", `${on}/unacknowledge`, {}, "Acknowledgement taken back"))
      : button("Acknowledge", () => act("POST", `${on}/acknowledge`, {}, "Acknowledged")),
    button("Silence", () => silence(row, me)),
    row.is_latched ? button("Close", () => act("POST", `${on}/close`, {}, "Closed")) : null);
}

/// How a condition stands, a line for each thing that is so.
function stands(row) {
  const lines = [];
  if (row.is_stale) lines.push(el("span", {}, el("span", { class: "old" }, "? old: the robot is silent, no person knows whether it is still so")));
  if (row.is_latched) lines.push(el("span", {}, "⚿ latched: its cause is over, a person has to close it"));
  if (row.is_flapping) lines.push(el("span", {}, "⇅ flapping: it comes and goes"));
  if (row.acknowledged_by) lines.push(el("span", {}, `✓ acknowledged by ${row.acknowledged_by}`, row.acknowledged_at ? ` ${ago(row.acknowledged_at)}` : ""));
  if (row.assignee) lines.push(el("span", {}, `assigned to ${row.assignee}`));
  if (row.silenced_until) lines.push(el("span", {}, "silenced until ", time(row.silenced_until)));
  if (row.escalation > 0) lines.push(el("span", {}, `passed on ${row.escalation} times`));
  if (lines.length === 0) lines.push(el("span", {}, "not acknowledged"));
  return el("div", { class: "stands" }, lines);
}

/// Open conditions in a table: silenced ones too, and old ones as old.
export function openConditions(rows, me, withRobot = true) {
  const columns = [
    { name: "priority", cell: (row) => badge(row.priority) },
    withRobot ? { name: "robot", cell: (row) => robotLink(row.robot_id) } : null,
    { name: "rule", cell: (row) => conditionLink(row.condition_id, row.rule_id) },
    { name: "since", cell: (row) => time(row.raised_at) },
    { name: "how it stands", cell: stands },
    may(me, "operator") ? { name: "actions", cell: (row) => buttons(row, me) || "" } : null,
  ];
  return table("Open conditions", columns.filter(Boolean), rows, (row) => (row.is_stale ? "is-old" : null));
}

/// Transitions in a table.
export function transitions(rows, withRobot = true) {
  const columns = [
    { name: "when", cell: (row) => time(row.event_time) },
    { name: "what", cell: (row) => conditionLink(row.condition_id, row.transition) },
    { name: "priority", cell: (row) => badge(row.priority) },
    withRobot ? { name: "robot", cell: (row) => robotLink(row.robot_id) } : null,
    { name: "message", cell: (row) => (row.comment ? `${row.message} – “${row.comment}”` : row.message) },
    { name: "value", number: true, cell: (row) => number(row.value, row.unit) },
    { name: "limit", number: true, cell: (row) => number(row.limit, row.unit) },
    { name: "procedure", cell: (row) => procedureLink(row.procedure_id) },
  ];
  return table("Transitions", columns.filter(Boolean), rows);
}

function silences(rows, me) {
  const about = (row) => [["robot", row.robot_id], ["rule", row.rule_id], ["condition", row.condition_id], ["facility", row.facility_id], ["model", row.robot_model]]
    .filter(([, id]) => id).map(([name, id]) => `${name} ${id}`).join(", ");
  const undo = (row) => el("button", {
    type: "button", "aria-label": `Take back the silence of ${about(row)}`,
    onclick: () => act("DELETE", `silences/${encodeURIComponent(row.silence_id)}`, null, "Silence taken back"),
  }, "Take back");
  const columns = [
    { name: "about", cell: about },
    { name: "until", cell: (row) => time(row.until) },
    { name: "high priority", cell: (row) => (row.hides_high ? "silenced too" : "not silenced") },
    { name: "by", cell: (row) => row.actor },
    { name: "why", cell: (row) => row.comment || "–" },
    may(me, "operator") ? { name: "actions", cell: undo } : null,
  ];
  return table("Silences", columns.filter(Boolean), rows);
}

/// What is open, and what moved?
export const alerts = {
  title: "Alerts",
  async show() {
    const [open, moved, quiet, me] = await Promise.all([
      get("alerts", { limit: 200 }), get("alerts/transitions", { limit: 100 }), get("silences"), caller(),
    ]);
    const count = (is) => open.items.filter(is).length;
    const marks = [
      [count((row) => row.acknowledged_by), "acknowledged"], [count((row) => row.silenced_until), "silenced"],
      [count((row) => row.is_latched), "latched"], [count((row) => row.is_flapping), "flapping"], [count((row) => row.is_stale), "old"],
    ].filter(([many]) => many > 0).map(([many, name]) => `${many} ${name}`);
    return [
      el("h1", {}, "Alerts"),
      lead(`Open conditions: ${open.items.length}${marks.length > 0 ? `; of these ${marks.join(", ")}` : ""}.`),
      openConditions(open.items, me),
      quiet.items.length > 0 ? el("h2", {}, "Silences") : null,
      quiet.items.length > 0 ? silences(quiet.items, me) : null,
      el("h2", {}, "What moved"),
      transitions(moved.items),
    ];
  },
};

/// What became of this condition, and who said what?
export const condition = {
  title: "Condition",
  async show(id) {
    const [found, me] = await Promise.all([get(`alerts/${encodeURIComponent(id)}`), caller()]);
    const first = found.transitions[0];
    return [
      el("h1", {}, first.rule_id, " on ", robotLink(first.robot_id)),
      found.condition ? openConditions([found.condition], me, false) : lead("It has ended."),
      el("h2", {}, "What became of it"),
      transitions(found.transitions),
    ];
  },
};
