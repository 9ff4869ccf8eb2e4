// The pipeline: what flows, what waits, and what could not be applied.

import { may, notice } from "./alerts.js";
import { caller, change, get } from "./api.js";
import { bytes, el, lead, number, robotLink, table, time, words } from "./dom.js";

const sum = (list) => (list || []).reduce((total, value) => total + value, 0);

/// What a file of the lake waits for.
const STAGES = {
  registered: "waits for its upload to end",
  completed: "is in the lake, waits to be loaded",
  loaded: "is in the lake and the warehouse",
  quarantined: "was refused by the warehouse: theatre lake list says why",
  lost: "is neither in the lake nor on its way: its rows are missing",
};

/// What waits, of all partitions.
function waits(partitions, files) {
  const of = (pick) => partitions.reduce((total, row) => total + Math.max(0, pick(row)), 0);
  const stage = (name) => sum(files.filter((row) => row.stage === name).map((row) => row.files));
  return [
    ["records not saved yet", of((row) => sum(row.log_end) - sum(row.saved_to)), false],
    ["records not in the lake yet", of((row) => sum(row.log_end) - sum(row.lake_to)), false],
    ["results to publish", of((row) => row.outputs - row.relayed), false],
    ["results to export", of((row) => row.outputs - row.exported), false],
    ["files to load", stage("completed"), false],
    ["dead letters so far", of((row) => row.dead), true],
    ["files set aside", stage("quarantined"), true],
    ["files lost", stage("lost"), true],
  ];
}

function tiles(found) {
  const tile = ([name, count, isWrong]) => {
    const bad = isWrong && count > 0;
    return el("li", { class: `tile ${bad ? "medium" : ""}` }, el("span", { class: "value" }, bad ? `◆ ${number(count)}` : number(count)), el("span", {}, name));
  };
  return el("ul", { class: "tiles", "aria-label": "What waits" }, waits(found.partitions, found.lake_files).map(tile));
}

/// Topics that have records which no save covers, of all partitions.
function behind(found) {
  const rows = found.topics.map((topic, at) => {
    const of = (pick) => sum(found.partitions.map((row) => pick(row)[at] || 0));
    const end = of((row) => row.log_end || []);
    return { topic, end, saved: end - of((row) => row.saved_to), lake: end - of((row) => row.lake_to) };
  });
  return table("Topics", [
    { name: "topic", cell: (row) => row.topic },
    { name: "records in the log", number: true, cell: (row) => number(row.end) },
    { name: "not saved yet", number: true, cell: (row) => number(row.saved) },
    { name: "not in the lake yet", number: true, cell: (row) => number(row.lake) },
  ], rows);
}

/// Says what would become of a record that is sent again, and sends it if that is wanted.
async function sendAgain(row) {
  const letters = [{ partition: row.partition, number: row.number }];
  const replays = (dry_run) => change("POST", "dead-letters/replays", { letters, dry_run });
  const name = `Dead letter ${row.partition}/${row.number}`;
  try {
    const tried = await replays(true);
    const [fate] = tried.letters;
    if (tried.sent === 0) return notice(`${name} is not sent: ${fate ? fate.detail : "it is not there any more"}.`, "wrong");
    const dies = fate && !["applies", "duplicate", "unknown"].includes(fate.fate);
    const outlook = fate ? `${dies ? "It would die again: " : ""}${fate.detail}.` : "";
    if (!confirm(`Send the record of ${name.toLowerCase()} again? ${outlook}`)) return null;
    const done = await replays(false);
    notice(done.sent > 0 ? `${name} is in the log again, and shows as soon as it is read.` : `${name} was not sent: ${words(Object.keys(done.refused).join(", "))}.`, done.sent > 0 ? "done" : "wrong");
    dispatchEvent(new Event("acted"));
  } catch (problem) {
    notice(problem.message, "wrong");
  }
  return null;
}

async function deadLetters(me) {
  if (!may(me, "engineer") || me.is_limited) return [];
  const found = await get("dead-letters", { limit: 20 });
  return [
    el("h2", {}, "Dead letters"),
    table("Dead letters", [
      { name: "letter", cell: (row) => `${row.partition}/${row.number}` },
      { name: "reason", cell: (row) => words(row.reason) },
      { name: "robot", cell: (row) => (row.robot_id ? robotLink(row.robot_id) : "–") },
      { name: "topic and offset", cell: (row) => `${row.topic || "–"} ${row.offset}` },
      { name: "appended", cell: (row) => time(row.appended_at) },
      { name: "why", cell: (row) => row.detail || "–" },
      { name: "actions", cell: (row) => el("button", { type: "button", "aria-label": `Send dead letter ${row.partition}/${row.number} again`, onclick: () => sendAgain(row) }, "Send again") },
    ], found.items),
  ];
}

/// Does everything flow, and where does it wait?
export const pipeline = {
  title: "Pipeline",
  async show() {
    const [found, me] = await Promise.all([get("pipeline"), caller()]);
    return [
      el("h1", {}, "Pipeline"),
      lead(`${found.partitions.length} partitions of ${found.topics.length} topics; as of `, time(found.as_of), "."),
      tiles(found),
      ...await deadLetters(me),
      el("h2", {}, "Partitions"),
      table("Partitions", [
        { name: "partition", number: true, cell: (row) => row.partition },
        { name: "owners so far", number: true, cell: (row) => row.epoch },
        { name: "records in the log", number: true, cell: (row) => number(sum(row.log_end)) },
        { name: "not saved yet", number: true, cell: (row) => number(sum(row.log_end) - sum(row.saved_to)) },
        { name: "not in the lake yet", number: true, cell: (row) => number(sum(row.log_end) - sum(row.lake_to)) },
        { name: "results", number: true, cell: (row) => number(row.outputs) },
        { name: "to publish", number: true, cell: (row) => number(row.outputs - row.relayed) },
        { name: "to export", number: true, cell: (row) => number(row.outputs - row.exported) },
        { name: "dead letters", number: true, cell: (row) => number(row.dead) },
      ], found.partitions),
      el("h2", {}, "Topics"),
      behind(found),
      el("h2", {}, "Files of the lake"),
      table("Files of the lake", [
        { name: "stage", cell: (row) => row.stage },
        { name: "which means that it", cell: (row) => STAGES[row.stage] || "–" },
        { name: "files", number: true, cell: (row) => number(row.files) },
        { name: "rows", number: true, cell: (row) => number(row.rows) },
        { name: "size", number: true, cell: (row) => bytes(row.bytes) },
      ], found.lake_files),
    ];
  },
};
