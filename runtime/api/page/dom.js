// Elements, and how values read. Text is always set as text, so nothing from a record is markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) element.append(child);
  }
  return element;
}

/// An element with attributes, listeners (`onclick`) and children.
export function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/// The same in a drawing.
export function draw(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/// A time as it is read here, with its zone in the title.
export function time(text) {
  if (!text) return el("span", {}, "–");
  const date = new Date(text);
  const shown = date.toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
  return el("time", { datetime: text, title: text }, shown);
}

/// How long ago, in words.
export function ago(text) {
  const seconds = Math.max(0, (Date.now() - new Date(text).getTime()) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} d ago`;
}

/// A number with as many digits as are worth reading.
export function number(value, unit) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(3)
    : value.toLocaleString(undefined, { maximumSignificantDigits: 6 });
  return unit && unit !== "1" ? `${text} ${unit}` : text;
}

const SHAPES = { high: "▲", medium: "◆", low: "●" };

/// A priority as a shape and a word; colour is only added.
export function badge(priority) {
  return el("span", { class: `badge ${priority}` }, `${SHAPES[priority] || ""} ${priority}`);
}

/// A table: columns are `{name, cell, number}`; `mark` gives a row's class.
export function table(caption, columns, rows, mark = () => null) {
  if (rows.length === 0) return el("p", { class: "empty" }, `${caption}: none`);
  const kind = (column) => (column.number ? { class: "number" } : {});
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("caption", { class: "hidden" }, caption),
      el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col", ...kind(column) }, column.name)))),
      el("tbody", {}, rows.map((row) => el("tr", { class: mark(row) }, columns.map((column) => el("td", kind(column), column.cell(row))))))));
}

export const robotLink = (id) => el("a", { href: `#/robots/${encodeURIComponent(id)}` }, id);
export const procedureLink = (id) => (id ? el("a", { href: `#/procedures/${encodeURIComponent(id)}` }, id) : "–");
export const lead = (...text) => el("p", { class: "lead" }, ...text);
