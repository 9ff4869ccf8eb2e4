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
  const day = date.toDateString() === new Date().toDateString() ? {} : { month: "short", day: "numeric" };
  if (date.getFullYear() !== new Date().getFullYear()) day.year = "numeric";
  const shown = date.toLocaleString(undefined, { ...day, hour: "numeric", minute: "2-digit", second: "2-digit" });
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

/// Bytes in the unit that fits.
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = value > 0 ? Math.min(units.length - 1, Math.floor(Math.log2(value) / 10)) : 0;
  return `${(value / 1024 ** at).toLocaleString(undefined, { maximumFractionDigits: at > 0 ? 1 : 0 })} ${units[at]}`;
}

/// A name as words.
export const words = (name) => name.replaceAll("_", " ");

const SHAPES = { high: "▲", medium: "◆", low: "●" };

/// A priority as a shape and a word; colour is only added.
export function badge(priority) {
  return el("span", { class: `badge ${priority}` }, `${SHAPES[priority] || ""} ${priority}`);
}

/// A table: columns are `{name, cell, number}`; `mark` gives a row's class. On a narrow screen each row
/// is a list of its cells, which have their columns' names; the roles say that it is a table there, too.
export function table(caption, columns, rows, mark = () => null) {
  if (rows.length === 0) return el("p", { class: "empty" }, `${caption}: none`);
  const kind = (column) => (column.number ? { class: "number" } : {});
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { role: "table" },
      el("caption", { class: "hidden" }, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, columns.map((column) => el("th", { scope: "col", role: "columnheader", ...kind(column) }, column.name)))),
      el("tbody", { role: "rowgroup" }, rows.map((row) => el("tr", { class: mark(row), role: "row" }, columns.map((column) => cell(column, column.cell(row))))))));
}

/// A cell; one that says nothing takes no room where cells are below each other.
function cell(column, value) {
  const kind = [column.number ? "number" : "", value === "–" || value === "" ? "nothing" : ""].join(" ").trim();
  return el("td", { role: "cell", "data-name": column.name, class: kind || null }, value);
}

export const robotLink = (id) => el("a", { href: `#/robots/${encodeURIComponent(id)}` }, id);
export const procedureLink = (id) => (id ? el("a", { href: `#/procedures/${encodeURIComponent(id)}` }, id) : "–");
export const lead = (...text) => el("p", { class: "lead" }, ...text);
