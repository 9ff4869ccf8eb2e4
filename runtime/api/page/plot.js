// A signal over time: mean as a line, least to greatest as a band, limits, alerts, procedures and services.

import { draw, el, number, table, time } from "./dom.js";

const HEIGHT = 320;
const EDGE = { left: 64, right: 14, top: 12, bottom: 28 };

function ticks(from, to, wanted) {
  const rough = (to - from) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

/// Moments whose texts fit into a width, and how such a text reads.
function timeTicks(from, to, width) {
  const wanted = (seconds) => Math.max(2, Math.floor(width / (seconds < 60 ? 104 : 72)));
  const step = (TIME_STEPS.find((seconds) => (to - from) / 1000 / seconds <= wanted(seconds)) || 604800) * 1000;
  // Whole hours and days by the clock of who looks.
  const zone = new Date(from).getTimezoneOffset() * 60000;
  const found = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) found.push(at);
  const clock = { hour: "numeric", minute: "2-digit", ...(step < 60000 ? { second: "2-digit" } : {}) };
  const day = { month: "short", day: "numeric" };
  const shown = step >= 86400000 ? day : to - from > 86400000 ? { ...day, ...clock } : clock;
  return { found, text: (at) => new Date(at).toLocaleString(undefined, shown) };
}


/// Draws `series`; `limits` are numbers, `marks` are `{at, text}`, `shades` are `{kind, from, until, text}`.
/// `zoom(from, until)` is called with milliseconds when a stretch is chosen.
export function plot(series, limits, marks, shades, zoom) {
  // The drawing is as wide as the page, so that its text keeps its shape.
  const WIDTH = Math.max(280, document.getElementById("main").clientWidth - 42);
  const points = series.points.map((point) => ({ ...point, at: new Date(point.start).getTime() }));
  if (points.length === 0) {
    return el("p", { class: "empty" }, "The store keeps no windows of this signal for this stretch.");
  }
  const step = series.resolution_s * 1000;
  const from = points[0].at;
  const until = points[points.length - 1].at + step;
  const values = points.flatMap((point) => [point.min, point.max]).concat(limits);
  let low = Math.min(...values);
  let high = Math.max(...values);
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  low -= margin;
  high += margin;
  const x = (at) => EDGE.left + ((at - from) / (until - from)) * (WIDTH - EDGE.left - EDGE.right);
  const y = (value) => HEIGHT - EDGE.bottom - ((value - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const unit = series.unit && series.unit !== "1" ? ` in ${series.unit}` : "";
  const title = `${series.signal}${unit} of ${series.robot_id}, a point for each ${series.resolution_s} s`;
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title });
  for (const stretch of shades) {
    const [start, end] = [Math.max(stretch.from, from), Math.min(stretch.until, until)];
    if (end <= start) continue;
    svg.append(draw("rect", { class: stretch.kind, x: x(start), y: EDGE.top, width: x(end) - x(start), height: HEIGHT - EDGE.top - EDGE.bottom },
      draw("title", {}, stretch.text)));
  }
  for (const value of ticks(low, high, 5)) {
    svg.append(draw("line", { class: "axis", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value) }));
    svg.append(draw("text", { x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end" }, number(Math.abs(value) < (high - low) * 1e-9 ? 0 : value)));
  }
  const times = timeTicks(from, until, WIDTH - EDGE.left);
  for (const at of times.found) {
    svg.append(draw("line", { class: "axis", x1: x(at), x2: x(at), y1: HEIGHT - EDGE.bottom, y2: HEIGHT - EDGE.bottom + 5 }));
    // At the right edge there is no room for a text.
    if (x(at) > WIDTH - 44) continue;
    svg.append(draw("text", { x: x(at), y: HEIGHT - 8, "text-anchor": "middle" }, times.text(at)));
  }
  for (const stretch of stretches(points, step)) {
    const middle = (point) => x(point.at + step / 2);
    const upper = stretch.map((point) => `${middle(point)},${y(point.max)}`);
    const lower = stretch.map((point) => `${middle(point)},${y(point.min)}`).reverse();
    svg.append(draw("polygon", { class: "band", points: upper.concat(lower).join(" ") }));
    svg.append(draw("polyline", { class: "mean", points: stretch.map((point) => `${middle(point)},${y(point.mean)}`).join(" ") }));
  }
  for (const mark of marks.filter((mark) => mark.at >= from && mark.at <= until)) {
    svg.append(draw("line", { class: "mark", x1: x(mark.at), x2: x(mark.at), y1: EDGE.top, y2: HEIGHT - EDGE.bottom },
      draw("title", {}, mark.text)));
  }
  for (const limit of limits) {
    svg.append(draw("line", { class: "limit", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(limit), y2: y(limit) },
      draw("title", {}, `limit ${number(limit, series.unit)}`)));
    svg.append(draw("text", { class: "on-plot", x: EDGE.left + 6, y: y(limit) - 5 }, `limit ${number(limit, series.unit)}`));
  }
  brush(svg, WIDTH, (at) => from + ((at - EDGE.left) / (WIDTH - EDGE.left - EDGE.right)) * (until - from), zoom);
  return el("figure", { class: "plot" }, svg,
    el("figcaption", { class: "lead" }, `${title}. Line: mean; band: least to greatest; dashed: limits; upright lines: alerts; shaded: procedures; in a dashed frame: services. Drag over a stretch to look closer.`),
    el("details", {}, el("summary", {}, "As a table"), asTable(series)));
}

/// Parts without a gap.
function stretches(points, step) {
  const found = [];
  for (const point of points) {
    const last = found[found.length - 1];
    if (last && point.at - last[last.length - 1].at <= step * 1.5) last.push(point);
    else found.push([point]);
  }
  return found;
}

function asTable(series) {
  const value = (name, pick) => ({ name, number: true, cell: (point) => number(pick(point), series.unit) });
  return table(`${series.signal} over time`, [
    { name: "from", cell: (point) => time(point.start) },
    value("mean", (point) => point.mean),
    value("least", (point) => point.min),
    value("greatest", (point) => point.max),
    { name: "values", number: true, cell: (point) => number(point.count) },
  ], series.points);
}

function brush(svg, width, moment, zoom) {
  const place = (event) => {
    const box = svg.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * width;
  };
  let start = null;
  let shade = null;
  svg.addEventListener("pointerdown", (event) => {
    start = place(event);
    shade = draw("rect", { class: "brush", x: start, y: EDGE.top, width: 0, height: HEIGHT - EDGE.top - EDGE.bottom });
    svg.append(shade);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const now = place(event);
    shade.setAttribute("x", Math.min(start, now));
    shade.setAttribute("width", Math.abs(now - start));
  });
  svg.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [left, right] = [start, place(event)].sort((a, b) => a - b);
    start = null;
    shade.remove();
    if (right - left > 8) zoom(moment(left), moment(right));
  });
}
