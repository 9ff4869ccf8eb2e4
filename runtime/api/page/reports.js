// Reports of the warehouse: the list of them, and one as a picture and as a table.

import { notice } from "./alerts.js";
import { get, text } from "./api.js";
import { el, lead, number, table, time } from "./dom.js";

/// What can be asked of the warehouse?
export const reports = {
  title: "Reports",
  async show() {
    const found = await get("reports");
    const link = (row) => el("a", { href: `#/reports/${row.report}` }, row.title);
    return [
      el("h1", {}, "Reports"),
      lead("What the warehouse answers, about the whole deployment."),
      table("Reports", [
        { name: "report", cell: link },
        { name: "what it is about", cell: (row) => row.description },
      ], found.items),
    ];
  },
};

/// What does this report say?
export const report = {
  title: "Report",
  async show(id) {
    const found = await get(`reports/${encodeURIComponent(id)}`);
    const isNumber = (column) => found.rows.every((row) => row[column.name] === null || typeof row[column.name] === "number");
    const cell = (column) => (row) => {
      const value = row[column.name];
      return typeof value === "number" ? number(value) : value === null ? "–" : String(value);
    };
    const columns = found.columns.map((column) => ({ name: column.name.replaceAll("_", " "), number: isNumber(column), cell: cell(column) }));
    return [
      el("h1", {}, found.title),
      lead(`${found.description} As of `, time(found.as_of), "."),
      el("div", { class: "tools" }, el("button", { type: "button", onclick: () => download(id).catch((problem) => notice(problem.message, "wrong")) }, "Download as CSV"), el("a", { href: "#/reports" }, "All reports")),
      found.has_picture && found.rows.length > 0 ? await picture(id, found.title) : null,
      table(found.title, columns, found.rows),
      el("h2", {}, "What columns mean"),
      el("dl", {}, found.columns.flatMap((column) => [el("dt", {}, column.name.replaceAll("_", " ")), el("dd", {}, column.means)])),
    ];
  },
};

async function picture(id, title) {
  const drawn = await text(`reports/${encodeURIComponent(id)}/picture`);
  return el("figure", { class: "plot" }, el("img", { alt: `${title}, as in the table below`, src: `data:image/svg+xml,${encodeURIComponent(drawn)}` }));
}

async function download(id) {
  const rows = await text(`reports/${encodeURIComponent(id)}/csv`);
  const address = URL.createObjectURL(new Blob([rows], { type: "text/csv" }));
  el("a", { href: address, download: `${id}.csv` }).click();
  // Some browsers begin to read it only after this.
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
