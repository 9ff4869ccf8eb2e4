// The fleet: is anything wrong with it, and with which robots? All robots are here in short; those
// that are on the screen have elements. Events keep them up to date between two looks.

import { get } from "./api.js";
import { ago, badge, el, lead } from "./dom.js";

/// All robots are asked for anew this often; between, events tell what has changed.
const LOOK_MS = 30000;
/// How old robots may be in an answer.
const TOLD_MS = 5000;
/// Height of a card with the gap below it, in the size of the text around it, and the least width.
const ROW_EM = 10;
const WIDTH_EM = 15;
/// Rows above and below the screen that have elements, too.
const SPARE = 3;
const PRIORITIES = ["high", "medium", "low"];

let robots = new Map();
let askedAt = null;
let asking = null;

/// Asks for all robots, unless that was done a moment ago.
async function look() {
  if (askedAt !== null && Date.now() - askedAt < LOOK_MS) return;
  asking = asking || get("fleet").then(take).finally(() => { asking = null; });
  await asking;
}

function take(board) {
  const before = robots;
  const asOf = new Date(board.as_of).getTime();
  const named = (names, column, at) => (column[at] === null ? null : names[column[at]]);
  robots = new Map(board.robot_id.map((id, at) => [id, {
    id,
    facility: named(board.facilities, board.facility, at),
    model: named(board.models, board.model, at),
    status: named(board.statuses, board.status, at),
    rule: named(board.rules, board.rule, at),
    open: { high: board.high[at], medium: board.medium[at], low: board.low[at] },
    acknowledged: board.acknowledged[at], silenced: board.silenced[at], stale: board.stale[at],
    isSilent: board.is_silent[at],
    procedure: board.procedure_id[at],
    heardAt: board.heard_before_s[at] === null ? null : asOf - board.heard_before_s[at] * 1000,
  }]));
  // What an event has told a moment ago may be newer than what the store was read for.
  for (const [id, robot] of before) {
    if (robot.toldAt !== undefined && Date.now() - robot.toldAt < TOLD_MS) robots.set(id, robot);
  }
  askedAt = Date.now();
}

/// Takes over what an event says of a robot.
export function heard(kind, said) {
  if (kind !== "robot" || askedAt === null) return;
  robots.set(said.robot_id, {
    id: said.robot_id, facility: said.facility_id, model: said.robot_model, status: said.status, rule: said.rule_id,
    open: said.open, acknowledged: said.acknowledged, silenced: said.silenced, stale: said.stale, isSilent: said.is_silent,
    procedure: said.procedure_id, heardAt: said.heard_at ? new Date(said.heard_at).getTime() : null, toldAt: Date.now(),
  });
}

const openOf = (robot) => robot.open.high + robot.open.medium + robot.open.low;
const rank = (robot) => {
  const at = PRIORITIES.findIndex((priority) => robot.open[priority] > 0);
  return at < 0 ? PRIORITIES.length : at;
};
const priorityOf = (robot) => PRIORITIES[rank(robot)] || "";
const statusOf = (robot) => (robot.isSilent ? "silent" : robot.status || "unknown");

/// What the boxes above the list say; also in the address, so that it can be passed on.
const FILTERS = {
  text: (robot, text) => robot.id.toLowerCase().includes(text.toLowerCase()),
  facility: (robot, name) => robot.facility === name,
  model: (robot, name) => robot.model === name,
  status: (robot, name) => statusOf(robot) === name,
  priority: (robot, name) => (name === "none" ? openOf(robot) === 0 : robot.open[name] > 0),
};
let wanted = {};

/// The robots that are wanted, those with the gravest conditions first.
function chosen() {
  const filters = Object.entries(wanted).filter(([, value]) => value);
  const found = [...robots.values()].filter((robot) => filters.every(([name, value]) => FILTERS[name](robot, value)));
  const order = (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
  return found.sort((a, b) => rank(a) - rank(b) || order(a, b));
}

function want(name, value) {
  wanted[name] = value;
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  history.replaceState(null, "", `#/fleet${query.size > 0 ? `?${query}` : ""}`);
  scrollTo({ top: 0 });
  list.active = 0;
  draw();
}

function choice(name, label) {
  const box = el("select", { id: `fleet-${name}`, "aria-label": label });
  box.addEventListener("change", () => want(name, box.value));
  return box;
}

/// The entries of a box: of what there is now.
function fill(box, label, values) {
  const now = wanted[box.id.slice("fleet-".length)] || "";
  const all = [...new Set([...values, now].filter(Boolean))].sort();
  if (box.dataset.has === JSON.stringify([all, now])) return;
  box.dataset.has = JSON.stringify([all, now]);
  box.replaceChildren(el("option", { value: "" }, label), ...all.map((value) => el("option", { value, selected: value === now }, value)));
  box.value = now;
}

/// The list: only what is on the screen has elements. One of them is in the order of the tabulator;
/// arrows go to the others.
const list = { element: null, rows: [], drawn: new Map(), active: 0 };
let parts = null;

/// The element of a robot: a new one, or the one that it has, so that this keeps the focus.
function card(robot, index, before) {
  const many = openOf(robot);
  const worst = priorityOf(robot);
  const marks = [[robot.stale, "old: the robot is silent"], [robot.acknowledged, "acknowledged"], [robot.silenced, "silenced"]]
    .filter(([count]) => count > 0).map(([count, name]) => `${count} ${name}`).join(", ");
  const rules = `${robot.rule || ""}${many > 1 ? ` and ${many - 1} more` : ""}`;
  const place = [robot.facility, robot.status === "operational" ? null : robot.status].filter(Boolean).join(", ");
  const latest = robot.procedure ? "in a procedure" : robot.heardAt !== null ? `latest record ${ago(robot.heardAt)}` : "";
  const is = JSON.stringify([index, list.rows.length, index === list.active, robot, latest]);
  if (before && before.is === is) return before;
  const node = before ? before.node : el("li", {}, el("a", { href: `#/robots/${encodeURIComponent(robot.id)}` }));
  node.setAttribute("aria-setsize", list.rows.length);
  node.setAttribute("aria-posinset", index + 1);
  const link = node.firstElementChild;
  link.className = `card ${worst}`;
  link.tabIndex = index === list.active ? 0 : -1;
  link.replaceChildren(...[
    el("b", { title: robot.id }, robot.id),
    worst ? el("span", { title: rules }, badge(worst), ` ${rules}`) : el("span", {}, "✓ nothing open"),
    marks ? el("span", { title: marks }, marks) : null,
    place ? el("span", { title: place }, place) : null,
    latest ? el("span", { title: robot.procedure }, latest) : null,
  ].filter(Boolean));
  return { is, node };
}

/// Columns of the list, and the height of a row.
function measures() {
  const em = parseFloat(getComputedStyle(parts.main).fontSize);
  const style = getComputedStyle(parts.main);
  const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
  const width = list.element.clientWidth || parts.main.clientWidth - padding;
  return { columns: Math.max(1, Math.floor(width / (WIDTH_EM * em))), height: ROW_EM * em };
}

/// Gives elements to what is on the screen, and takes them from what is not.
function render() {
  if (!list.element) return;
  const { columns, height } = measures();
  const top = list.element.isConnected ? -list.element.getBoundingClientRect().top : 0;
  const rows = Math.ceil(list.rows.length / columns);
  const first = Math.max(0, Math.min(Math.floor(top / height) - SPARE, rows));
  const last = Math.min(rows, Math.max(first, Math.ceil((top + innerHeight) / height) + SPARE));
  const end = Math.min(last * columns, list.rows.length);
  // The tabulator comes to what is on the screen.
  const hasFocus = list.element.contains(document.activeElement);
  if (!hasFocus && (list.active < first * columns || list.active >= end)) list.active = Math.min((first + SPARE) * columns, Math.max(0, end - 1));
  const drawn = new Map();
  for (let index = first * columns; index < end; index += 1) {
    const robot = list.rows[index];
    drawn.set(robot.id, card(robot, index, list.drawn.get(robot.id)));
  }
  place(drawn);
  list.element.style.setProperty("--columns", columns);
  list.element.style.paddingTop = `${first * height}px`;
  list.element.style.height = `${rows * height}px`;
}

/// Puts elements in their places, and leaves those where they are that are there already: one that is
/// moved loses the focus.
function place(drawn) {
  const focused = list.element.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const nodes = [...drawn.values()].map((of) => of.node);
  const stay = new Set(nodes);
  for (const node of [...list.element.children]) if (!stay.has(node)) node.remove();
  let at = list.element.firstElementChild;
  for (const node of nodes) {
    if (node === at) at = at.nextElementSibling;
    else list.element.insertBefore(node, at);
  }
  list.drawn = drawn;
  if (focused && !list.element.contains(document.activeElement)) {
    const again = [...list.element.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
    (again || list.element).focus({ preventScroll: true });
  }
}

/// Goes to a robot of the list, which comes on the screen.
function goTo(index) {
  const { columns, height } = measures();
  list.active = Math.max(0, Math.min(index, list.rows.length - 1));
  const top = list.element.getBoundingClientRect().top + scrollY + Math.floor(list.active / columns) * height;
  const head = document.querySelector("header").offsetHeight;
  if (top - head < scrollY) scrollTo({ top: top - head - 8 });
  else if (top + height > scrollY + innerHeight) scrollTo({ top: top + height - innerHeight });
  render();
  const robot = list.rows[list.active];
  const drawn = robot && list.drawn.get(robot.id);
  if (drawn) drawn.node.firstElementChild.focus({ preventScroll: true });
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { columns, height } = measures();
  const page = Math.max(1, Math.floor(innerHeight / height) - 1) * columns;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page };
  const at = list.rows.findIndex((robot) => list.drawn.get(robot.id)?.node.contains(event.target));
  const from = at < 0 ? list.active : at;
  if (event.key in steps) {
    const to = from + steps[event.key];
    // Beyond the ends a step leaves one where one is.
    if (Math.abs(steps[event.key]) === page || (to >= 0 && to < list.rows.length)) goTo(to);
  } else if (event.key === "Home") goTo(0);
  else if (event.key === "End") goTo(list.rows.length - 1);
  else return;
  event.preventDefault();
}

/// Draws all of the view from what is known.
function draw() {
  const all = [...robots.values()];
  list.rows = chosen();
  list.active = Math.max(0, Math.min(list.active, list.rows.length - 1));
  const sum = (priority) => all.reduce((total, robot) => total + robot.open[priority], 0);
  const summary = PRIORITIES.map((priority) => [priority, sum(priority)]).filter(([, count]) => count > 0)
    .map(([priority, count]) => el("span", {}, badge(priority), ` ${count}  `));
  parts.lead.replaceChildren(`${all.length} robots; `, ...(summary.length > 0 ? summary : [el("span", { class: "badge good" }, "✓ nothing open")]));
  const shown = list.rows.length === all.length ? "" : `${list.rows.length} of ${all.length} robots are shown`;
  if (parts.count.textContent !== shown) parts.count.textContent = shown;
  fill(parts.facility, "Every facility", all.map((robot) => robot.facility));
  fill(parts.model, "Every model", all.map((robot) => robot.model));
  fill(parts.status, "Every status", all.map(statusOf));
  fill(parts.priority, "Any priority", [...PRIORITIES, "none"]);
  render();
}

function build() {
  const text = el("input", { type: "search", id: "filter", value: wanted.text || "", placeholder: "Filter robots", "aria-label": "Filter robots", "aria-keyshortcuts": "/" });
  text.addEventListener("input", () => want("text", text.value));
  list.element = el("ul", { class: "fleet", "aria-label": "Robots", tabindex: "-1", onkeydown: keys });
  list.drawn = new Map();
  list.active = 0;
  parts = {
    main: document.getElementById("main"),
    lead: lead(), count: el("p", { role: "status", class: "lead" }),
    facility: choice("facility", "Facility"), model: choice("model", "Model"), status: choice("status", "Status"), priority: choice("priority", "Priority"),
  };
  new ResizeObserver(() => render()).observe(list.element);
  return [
    el("h1", {}, "Fleet"), parts.lead,
    el("div", { class: "tools" }, text, parts.facility, parts.model, parts.status, parts.priority),
    parts.count, list.element,
  ];
}

let due = false;
addEventListener("scroll", () => {
  if (due || !list.element || !list.element.isConnected) return;
  due = true;
  requestAnimationFrame(() => { due = false; render(); });
}, { passive: true });

export const fleet = {
  title: "Fleet",
  async show(_id, query) {
    askedAt = null;
    await look();
    wanted = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, query.get(name) || ""]));
    const elements = build();
    draw();
    return elements;
  },
  /// Draws what is there anew, without taking anything away; false where it is not there.
  async refresh() {
    if (!list.element || !list.element.isConnected) return false;
    await look();
    draw();
    return true;
  },
};
