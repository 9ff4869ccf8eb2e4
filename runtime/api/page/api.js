// What is asked of the server, and the events that it sends.

let secret = sessionStorage.getItem("token");

/// Keeps a token until the tab is closed.
export function setToken(token) {
  secret = token;
  if (token) sessionStorage.setItem("token", token);
  else sessionStorage.removeItem("token");
}

function headers(more) {
  return secret ? { authorization: `Bearer ${secret}`, ...more } : { ...more };
}

/// An answer that says what is wrong.
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the server answers ${status}`);
    this.status = status;
    this.code = body.code;
  }
}

async function checked(response) {
  if (response.ok) return response;
  let body = {};
  try { body = await response.json(); } catch { /* a proxy may answer with something else */ }
  throw new Problem(response.status, body);
}

async function answer(path, query) {
  const url = new URL(`/api/v1/${path}`, location.origin);
  for (const [name, value] of Object.entries(query || {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return checked(await fetch(url, { headers: headers() }));
}

/// Asks for something below /api/v1.
export async function get(path, query) {
  return (await answer(path, query)).json();
}

/// The same as text: a table or a drawing.
export async function text(path) {
  return (await answer(path)).text();
}

/// Asks for a change below /api/v1.
export async function change(method, path, body) {
  const url = new URL(`/api/v1/${path}`, location.origin);
  const more = body ? { "content-type": "application/json" } : {};
  return (await checked(await fetch(url, { method, headers: headers(more), body: body && JSON.stringify(body) }))).json();
}

let known = null;

/// Who the caller is, asked once.
export function caller() {
  known = known || get("me").catch((problem) => { known = null; throw problem; });
  return known;
}

/// Calls `received` with each event, and `state` with "live" or "lost"; goes on after the last one
/// that was received when the connection comes back.
export async function listen(received, state) {
  let last = null;
  for (;;) {
    try {
      const more = last ? { "last-event-id": last } : {};
      const response = await checked(await fetch("/api/v1/events", { headers: headers(more) }));
      state("live");
      for await (const event of events(response.body)) {
        if (event.id) last = event.id;
        // The server says why it ends, and it is listened again.
        if (event.data && event.event !== "closed") received(event.event, JSON.parse(event.data));
      }
    } catch (problem) {
      if (problem.status === 401 || problem.status === 403) return;
    }
    state("lost");
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const event = {};
      for (const line of text.slice(0, end).split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 2);
      }
      text = text.slice(end + 2);
      yield event;
    }
  }
}
