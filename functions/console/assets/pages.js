// What htmx doesn't do: sign-in links, local times, copying, focus, and messages. Only sign-in links need it.
"use strict";
const root = document.currentScript.dataset.root;
document.documentElement.classList.add("js");
const byId = (id) => document.getElementById(id);
// The address of the first page. Other scripts may change the query later, but never how deep the page is.
const first = new URL(root, location).href;

// Signs in by a link to any page with #token=…, and comes back to that page. The token stays out of the address bar, the
// history and the servers' logs. In a tab that already shows the page, such a link only changes the address, and loads
// nothing.
function signIn() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  const form = document.createElement("form");
  form.method = "post";
  form.action = root + "session";
  for (const [name, value] of [["token", token], ["path", location.href.split("#")[0].slice(first.length)]]) {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = name;
    field.value = value;
    form.append(field);
  }
  document.body.append(form);
  form.submit();
}
signIn();
// The server asks a page of this site to send another site's sign-in again, so that the browser adds the session's cookie.
document.querySelector("form[data-submit]")?.submit();
addEventListener("hashchange", signIn);

// A reload doesn't repeat a message about what was just done.
const address = new URL(location);
for (const name of ["signedIn", "signedOut", "saved", "connected", "tested", "disconnected", "retry", "replay"]) {
  if (address.searchParams.has(name)) address.searchParams.delete(name);
}
if (address.href !== location.href) history.replaceState(history.state, "", address);

// Adds the reader's own times, and shows buttons that need a script.
function enhance(part) {
  for (const it of part.querySelectorAll("[data-local]")) {
    const at = new Date(it.dataset.local);
    if (isNaN(at)) continue;
    const zone = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
    it.textContent = at.toLocaleString(undefined, zone) + ", your time";
  }
  for (const it of part.querySelectorAll("time[datetime]")) {
    it.title = new Date(it.dateTime).toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
  }
  for (const it of part.querySelectorAll("button[data-copy], .seek")) it.hidden = false;
}
enhance(document);

// Announces a text to screen readers, even twice in a row.
function announce(text) {
  const announcer = byId("announcer");
  announcer.textContent = "";
  setTimeout(() => { announcer.textContent = text; }, 50);
}

// Shows an error at the top of the page, until a request succeeds.
function showError(title, detail) {
  const alert = document.createElement("div");
  alert.className = "alert bad";
  const text = alert.appendChild(document.createElement("div"));
  for (const [content, name] of [[title, "alert-title"], [detail, ""]]) {
    const line = text.appendChild(document.createElement("p"));
    line.className = name;
    line.textContent = content;
  }
  byId("notice").replaceChildren(alert);
}

const timers = new WeakMap();
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  // The button names its source, or follows it. If the source's text is cut, its title has the whole text.
  const source = byId(button.dataset.copy) ?? button.previousElementSibling;
  const label = button.querySelector("span");
  button.dataset.label ??= label.textContent;
  try {
    await navigator.clipboard.writeText(source.title || source.textContent);
    if (!button.classList.contains("bare")) label.textContent = "Copied";
    announce("Copied");
  } catch {
    // Show the whole text, selected, for copying by hand.
    source.textContent = source.title || source.textContent;
    source.classList.remove("command");
    getSelection().selectAllChildren(source);
    showError("This browser blocks copying", "Copy the selected text by hand.");
  }
  clearTimeout(timers.get(button));
  timers.set(button, setTimeout(() => { label.textContent = button.dataset.label; }, 1500));
});

// A click anywhere in a row opens it, unless text is being selected.
document.addEventListener("click", (event) => {
  const row = event.target.closest(".events tbody tr");
  if (!row || event.target.closest(".whole, button") || !getSelection().isCollapsed) return;
  const details = row.querySelector("details");
  details.open = !details.open;
});

// A slow form shows that it is busy, and is not sent twice unless it was stopped or got no answer for 30 seconds.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-busy]") || event.defaultPrevented) return;
  if (form.classList.contains("sending")) return event.preventDefault();
  form.classList.add("sending");
  const busy = form.querySelector(".busy.saving") ?? form.querySelector(".busy");
  if (busy) announce(busy.textContent);
  clearTimeout(timers.get(form));
  timers.set(form, setTimeout(() => form.classList.remove("sending"), 30_000));
});
function endSending() {
  for (const form of document.querySelectorAll(".sending")) form.classList.remove("sending");
}
addEventListener("pageshow", endSending);
addEventListener("pagehide", endSending);

// One filter is open at a time. A click elsewhere or Escape closes it.
function closeFacets(except) {
  for (const it of document.querySelectorAll(".facet[open]")) if (it !== except) it.open = false;
}
document.addEventListener("click", (event) => closeFacets(event.target.closest(".facet")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  document.querySelector(".facet[open] summary")?.focus();
  closeFacets();
  // Escape also stops loading.
  endSending();
});

// Errors and reports are about what was sent. An edit removes the error of its field, and says that a report is older.
document.addEventListener("input", ({ target }) => {
  const { form } = target;
  if (!form || form.method !== "post") return;
  if (target.getAttribute("aria-invalid") === "true") {
    const error = target.id + "-error";
    target.removeAttribute("aria-invalid");
    byId(error)?.remove();
    const described = (target.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id !== error).join(" ");
    if (described) target.setAttribute("aria-describedby", described);
    else target.removeAttribute("aria-describedby");
  }
  for (const it of form.querySelectorAll(".stale")) it.hidden = false;
  // What was refused can be saved anyway only as it was sent.
  for (const it of form.querySelectorAll("[data-as-sent]")) it.hidden = true;
  if (form.matches("[data-guard]")) form.dataset.unsaved = "";
});

// Leaving the page with unsaved edits asks first.
addEventListener("beforeunload", (event) => {
  if (document.querySelector("[data-unsaved]:not(.sending)")) event.preventDefault();
});

// A choice comes with counts of its own. Those of before bring the filters as they were, and would take the choice back.
document.addEventListener("change", ({ target }) => {
  if (target.form?.id === "filters" && byId("timeline")) byId("timeline").dataset.outdated = "";
});

// Shows the values of a filter that have the text.
function seek(field) {
  const text = field.value.trim().toLowerCase();
  for (const it of field.closest(".pop").querySelectorAll(".option")) {
    it.hidden = !it.querySelector("label").textContent.toLowerCase().includes(text);
  }
}
document.addEventListener("input", ({ target }) => {
  if (target.matches(".seek")) seek(target);
});
// It is no part of the query.
document.addEventListener("change", (event) => {
  if (event.target.matches(".seek")) event.stopPropagation();
}, true);

// Entering a date chooses the option with a date.
document.addEventListener("input", (event) => {
  if (event.target.id === "historyFrom") document.querySelector("[name=history][value=date]").checked = true;
});

// Leave empty fields, and the dates of a period that is not custom, out of the address.
document.addEventListener("htmx:configRequest", (event) => {
  if (event.target.id !== "filters") return;
  const { formData } = event.detail;
  for (const name of ["from", "to", "q"]) {
    const isUnused = name !== "q" && formData.get("period") !== "custom";
    if (isUnused || formData.get(name) === "") formData.delete(name);
  }
});

// A button that waits for its answer keeps the focus, and ignores clicks.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt } = event.detail;
  if ("ended" in elt.dataset) return event.preventDefault();
  if (elt.id !== "verify") return;
  if (elt.getAttribute("aria-disabled") === "true") return event.preventDefault();
  elt.setAttribute("aria-disabled", "true");
  announce(byId("verifying").textContent);
});
document.addEventListener("htmx:afterRequest", (event) => {
  const { elt, successful, xhr } = event.detail;
  if (elt.id === "verify") elt.removeAttribute("aria-disabled");
  // After the session has ended, a replay is not asked about again and again.
  if (elt.id === "replay" && xhr.status === 401) elt.dataset.ended = "";
  // Without counts, there is a link to try again.
  if (elt.id === "timeline" && !successful) elt.classList.add("failed");
});

const TRY_AGAIN = "Your input is still here. Try again in a moment.";
document.addEventListener("htmx:sendError", () => showError("The server can’t be reached", TRY_AGAIN));
document.addEventListener("htmx:timeout", () => showError("The server doesn’t answer", TRY_AGAIN));

// The text of a part of the page, without what this script has added.
const textOf = (part) => [...part.querySelectorAll("code, time, .hint")].map((it) => it.textContent).join(" ");

let open = [];
let sought = [];
let rows = 0;
// How far the open list of a replay's refused windows is scrolled.
let scrolled = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = event;
  if (!detail.shouldSwap) return;
  // Counts of a query that was changed meanwhile.
  const { elt } = detail.requestConfig;
  if (elt.id === "timeline" && (!elt.isConnected || "outdated" in elt.dataset)) {
    detail.shouldSwap = false;
    return;
  }
  // A gateway in front of the pages may answer with something else. Keep the page then.
  if (!(detail.xhr.getResponseHeader("content-type") ?? "").startsWith("text/html")) {
    detail.shouldSwap = false;
    showError("The server is unavailable", TRY_AGAIN);
    return;
  }
  // Don't announce an unchanged preview again.
  if (detail.target.id === "preview") {
    const fresh = new DOMParser().parseFromString(detail.serverResponse, "text/html").body;
    if (textOf(fresh) === textOf(detail.target)) {
      detail.shouldSwap = false;
      byId("notice").replaceChildren();
    }
  }
  // Open filters stay open when they are replaced, and keep what was typed.
  open = [...document.querySelectorAll("#facets .facet[open]")].map((it) => it.id);
  sought = [...document.querySelectorAll(".seek")].map((it) => [it.id, it.value]);
  rows = detail.target.rows?.length ?? 0;
  scrolled = document.querySelector("#refused[open] .refused")?.scrollTop ?? null;
});
document.addEventListener("htmx:oobAfterSwap", () => {
  for (const id of open) byId(id)?.setAttribute("open", "");
  for (const [id, text] of sought) {
    const field = byId(id);
    if (!field || !text) continue;
    field.value = text;
    seek(field);
  }
});

// This event comes once per new element.
let settled;
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.xhr === settled) return;
  settled = detail.xhr;
  enhance(document);
  const sender = detail.requestConfig.elt.id;
  const part = byId(detail.target.id);
  if (detail.xhr.status < 400 && part?.id !== "notice") byId("notice").replaceChildren();
  if (sender === "filters") showFiltered();
  else if (sender === "timeline") showCounts();
  else if (sender === "load-more" && part?.rows) showMore(part);
  else if (part?.id === "settings-form") showWrong(part);
  else if (part?.id === "replay") showReplay(part);
  else if (part?.id === "verification") showReport(part.firstElementChild);
});

// Marks wrong dates, and has a custom period begin with the dates that are shown. The counts come later.
let filtered = false;
function showFiltered() {
  const results = byId("results");
  const wrong = results.dataset.wrong?.split(" ") ?? [];
  for (const id of ["from", "to"]) {
    if (wrong.includes(id)) byId(id).setAttribute("aria-invalid", "true");
    else byId(id).removeAttribute("aria-invalid");
  }
  if (!wrong.length && document.querySelector("[name=period]:checked")?.value !== "custom") {
    for (const id of ["from", "to"]) byId(id).value = results.dataset[id];
  }
  filtered = true;
  const none = results.querySelector(".empty strong");
  if (none) announce(none.textContent);
}

// Announces the number of events of a changed query.
function showCounts() {
  if (filtered) announce(byId("total").textContent);
  filtered = false;
}

// Moves the focus to the first new row, for the keyboard.
function showMore(part) {
  const fresh = [...part.rows].slice(rows);
  const heads = fresh.filter((row) => row.matches(":has(summary, th)")).length;
  announce(`${heads} more ${part.dataset.kind}`);
  const next = fresh[0]?.querySelector("summary, th") ?? byId("load-more");
  if (next?.matches("th")) next.tabIndex = -1;
  next?.focus();
}

// Announces the end of a replay. While it runs, its part of the page is loaded again and again: what is open stays so.
function showReplay(part) {
  const refused = byId("refused");
  if (refused && scrolled !== null) {
    refused.open = true;
    refused.querySelector(".refused").scrollTop = scrolled;
  }
  if (!part.hasAttribute("hx-get")) announce(part.querySelector("h2").textContent);
}

// The first wrong field may be far above the button.
function showWrong(form) {
  const wrong = form.querySelector("[aria-invalid=true]") ?? form.querySelector(".alert");
  if (!wrong) return;
  if (wrong.matches(".alert")) wrong.tabIndex = -1;
  wrong.focus({ preventScroll: true });
  wrong.scrollIntoView({ block: "center" });
}

// Moves the focus to the report, unless the user has moved on.
function showReport(report) {
  if ([byId("verify"), document.body].includes(document.activeElement)) report.focus({ preventScroll: true });
  else announce(report.querySelector(".verdict").textContent);
}
