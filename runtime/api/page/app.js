// The page: which view is shown, when it is shown anew, and whether it is live.

import { alerts, condition } from "./alerts.js";
import { caller, listen, setToken } from "./api.js";
import { el } from "./dom.js";
import { fleet, heard } from "./fleet.js";
import { pipeline } from "./pipeline.js";
import { procedure, procedures } from "./procedures.js";
import { report, reports } from "./reports.js";
import * as views from "./views.js";

const main = document.getElementById("main");
const link = document.getElementById("link");

/// A view is asked anew this often even when no event came, and at most so often.
const EVERY_MS = 5000;
const AT_MOST_MS = 1000;

const ROUTES = [
  [/^fleet$/, fleet, "fleet"],
  [/^robots\/(.+)$/, views.robot, "fleet"],
  [/^alerts$/, alerts, "alerts"],
  [/^alerts\/(.+)$/, condition, "alerts"],
  [/^procedures$/, procedures, "procedures"],
  [/^procedures\/(.+)$/, procedure, "procedures"],
  [/^reports$/, reports, "reports"],
  [/^reports\/(.+)$/, report, "reports"],
  [/^pipeline$/, pipeline, "pipeline"],
  [/^rules$/, views.rules, "rules"],
];

/// A part of the address; one that is written wrongly stays as it is, and names nothing.
function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

function here() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  for (const [pattern, view, section] of ROUTES) {
    const match = pattern.exec(path || "fleet");
    if (match) return { view, section, id: match[1] && decoded(match[1]), query: new URLSearchParams(query) };
  }
  return { view: fleet, section: "fleet", query: new URLSearchParams() };
}

/// Whether the address before was of the same robot: closer, earlier or of another signal.
let stays = false;
let path = location.hash.split("?")[0];

let shown = 0;
let asking = false;
let again = false;

/// Shows the view of the address. What a person is just using is not taken away.
async function show(moved) {
  if (asking) { again = true; return; }
  asking = true;
  const place = here();
  const address = location.hash;
  try {
    // A view that can draw itself anew takes nothing away.
    const isDrawn = !moved && place.view.refresh && await place.view.refresh();
    const content = isDrawn ? null : await place.view.show(place.id, place.query);
    if (content && address === location.hash && (moved || !isBusy())) {
      const put = () => main.replaceChildren(...content.filter(Boolean));
      if (moved && !stays) put();
      else keepingPlace(put);
      document.title = `${place.id || place.view.title} – Theatre`;
    }
    shown = Date.now();
    // What was drawn anew of what is there may not have been asked for.
    if (!isDrawn) state("live");
  } catch (problem) {
    if (problem.status === 401) askForToken(problem.message);
    else if (problem.status) {
      main.replaceChildren(el("h1", {}, "That did not work"), el("p", { role: "alert" }, problem.message));
      document.title = "That did not work – Theatre";
    }
    else state("lost");
    // Not asked anew at once: what is refused costs, too.
    shown = Date.now();
  }
  for (const item of document.querySelectorAll("nav a")) {
    if (item.getAttribute("href") === `#/${place.section}`) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
  asking = false;
  if (again) { again = false; show(address !== location.hash); }
}

/// Draws the same view anew: what was open, scrolled to the side or had the focus is so again.
function keepingPlace(put) {
  const open = [...main.querySelectorAll("details")].map((details) => details.open);
  const scrolled = [...main.querySelectorAll(".scroll")].map((region) => [region.getAttribute("aria-label"), region.scrollLeft]);
  const at = document.activeElement;
  const had = main.contains(at) && at !== main ? at : null;
  const like = (name) => had && [...main.querySelectorAll(had.tagName)].filter((element) => nameOf(element) === name);
  const name = had && nameOf(had);
  const index = had ? like(name).indexOf(had) : 0;
  put();
  main.querySelectorAll("details").forEach((details, number) => { details.open = open[number] || false; });
  for (const region of main.querySelectorAll(".scroll")) {
    const before = scrolled.find(([label]) => label === region.getAttribute("aria-label"));
    if (before) region.scrollLeft = before[1];
  }
  if (!had) return;
  const now = like(name);
  const next = now[Math.min(index, now.length - 1)] || main;
  next.focus({ preventScroll: true });
}

/// What an element is called, whichever time it was drawn.
function nameOf(element) {
  return element.id || element.getAttribute("aria-label") || element.getAttribute("href") || element.textContent;
}

function isBusy() {
  const at = document.activeElement;
  return main.contains(at) && ["INPUT", "SELECT"].includes(at.tagName) || main.querySelector(".brush") !== null;
}

let lostSince = null;

/// Says whether what is shown is live; if not, since when.
function state(now) {
  if (now === "live") {
    lostSince = null;
    delete document.body.dataset.old;
    set("live", "live");
    return;
  }
  lostSince = lostSince || new Date();
  document.body.dataset.old = "";
  set("lost", `connection lost at ${lostSince.toLocaleTimeString()}: what is shown is old`);
}

function set(name, text) {
  if (link.textContent !== text) link.textContent = text;
  link.dataset.state = name;
}

function askForToken(why) {
  const dialog = document.getElementById("login");
  document.getElementById("login-why").textContent = sessionStorage.getItem("token") ? why : "";
  if (!dialog.open) dialog.showModal();
}

document.getElementById("login").addEventListener("close", () => {
  const token = document.getElementById("token").value.trim();
  if (token) { setToken(token); location.reload(); }
});

document.getElementById("help").addEventListener("click", () => document.getElementById("keys").showModal());

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
}
theme(localStorage.getItem("theme"));
document.getElementById("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  localStorage.setItem("theme", dark ? "light" : "dark");
  theme(dark ? "light" : "dark");
});

const GO = { f: "fleet", a: "alerts", p: "procedures", t: "reports", l: "pipeline", r: "rules" };
let going = false;
document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement.tagName);
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (going && GO[event.key]) { location.hash = `#/${GO[event.key]}`; event.preventDefault(); }
  else if (event.key === "?") document.getElementById("keys").showModal();
  else if (event.key === "/" && document.getElementById("filter")) { document.getElementById("filter").focus(); event.preventDefault(); }
  going = event.key === "g";
});

/// How far each address was scrolled, for who comes back to it.
const scrolled = new Map();
let isComingBack = false;
if ("navigation" in window) {
  navigation.addEventListener("navigate", (event) => {
    scrolled.set(location.hash, scrollY);
    isComingBack = event.navigationType === "traverse";
  });
}
history.scrollRestoration = "manual";

addEventListener("hashchange", async () => {
  const before = path;
  path = location.hash.split("?")[0];
  stays = path === before && path.startsWith("#/robots/") && !isComingBack;
  if (stays) {
    // The button that was used stays at hand; a choice that has the focus would hold up what comes.
    if (isBusy()) main.focus({ preventScroll: true });
    await show(true);
    return;
  }
  const top = isComingBack ? scrolled.get(location.hash) || 0 : 0;
  // The heading stays in sight: to scroll to what has the focus would put it below the header.
  main.focus({ preventScroll: true });
  scrollTo({ top: 0 });
  await show(true);
  if (top > 0) scrollTo({ top });
});
setInterval(() => { if (!document.hidden && Date.now() - shown >= EVERY_MS) show(false); }, 1000);

// What a person did here is looked for when the server may have read it.
addEventListener("acted", () => { setTimeout(() => show(false), 1500); setTimeout(() => show(false), 3500); });

let pending = null;
function refreshSoon() {
  // A burst of events is one look.
  if (pending === null) pending = setTimeout(() => { pending = null; if (!document.hidden) show(false); }, AT_MOST_MS);
}

caller().then(() => listen((kind, said) => {
  heard(kind, said);
  // Other views show what has changed a robot, of which they hear as well.
  if (kind !== "robot" || here().view === fleet) refreshSoon();
}, state), () => {});
show(true);
