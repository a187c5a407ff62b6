// What htmx doesn't do. Every page works without it, but for the sign-in link.
"use strict";
const root = document.currentScript.dataset.root;
document.documentElement.classList.add("js");
const byId = (id) => document.getElementById(id);

// A link /#token=… signs in. The token stays out of the address bar, the history and every server's log. In a tab that is
// already here, such a link only changes the address.
function signIn() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  const form = document.createElement("form");
  form.method = "post";
  form.action = root + "session";
  const field = document.createElement("input");
  field.type = "hidden";
  field.name = "token";
  field.value = token;
  form.append(field);
  document.body.append(form);
  form.submit();
}
signIn();
addEventListener("hashchange", signIn);

// What is said once about what was just done is not said again by a reload.
const address = new URL(location);
for (const name of ["signedIn", "signedOut", "saved", "connected", "disconnected"]) {
  if (address.searchParams.has(name)) address.searchParams.delete(name);
}
if (address.href !== location.href) history.replaceState(history.state, "", address);

// On a narrow screen the menu may be wider than that.
const here = document.querySelector(".side nav [aria-current=page]");
if (here) {
  const menu = here.closest("nav");
  menu.scrollLeft = here.offsetLeft - (menu.clientWidth - here.offsetWidth) / 2;
}

// Instants in the reader's own time, and buttons that only work with a script.
function enliven(part) {
  for (const it of part.querySelectorAll("[data-local]")) {
    const at = new Date(it.dataset.local);
    if (isNaN(at)) continue;
    const zone = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
    it.textContent = at.toLocaleString(undefined, zone) + ", your time";
  }
  for (const it of part.querySelectorAll("time[datetime]")) {
    it.title = new Date(it.dateTime).toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
  }
  for (const it of part.querySelectorAll("button[data-copy]")) it.hidden = false;
}
enliven(document);

// Said once to whoever listens, without a trace on the page; also if it is what was said last.
function say(text) {
  const said = byId("said");
  said.textContent = "";
  setTimeout(() => { said.textContent = text; }, 50);
}

// Stays at the top of the page until something goes well.
function note(title, detail) {
  const alert = document.createElement("div");
  alert.className = "alert bad";
  const words = alert.appendChild(document.createElement("div"));
  for (const [text, name] of [[title, "alert-title"], [detail, ""]]) {
    const line = words.appendChild(document.createElement("p"));
    line.className = name;
    line.textContent = text;
  }
  byId("notice").replaceChildren(alert);
}

const timers = new WeakMap();
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  // What is copied is named, or stands right before the button; where it is cut, its title has all of it.
  const source = byId(button.dataset.copy) ?? button.previousElementSibling;
  const label = button.querySelector("span");
  button.dataset.label ??= label.textContent;
  try {
    await navigator.clipboard.writeText(source.title || source.textContent);
    if (!button.classList.contains("bare")) label.textContent = "Copied";
    say("Copied");
  } catch {
    // Then all of it is shown, to be copied by hand.
    source.textContent = source.title || source.textContent;
    source.classList.remove("command");
    getSelection().selectAllChildren(source);
    note("This browser does not let a page copy", "Copy the selected text by hand.");
  }
  clearTimeout(timers.get(button));
  timers.set(button, setTimeout(() => { label.textContent = button.dataset.label; }, 1500));
});

// All of a row opens it, unless its text is being selected.
document.addEventListener("click", (event) => {
  const row = event.target.closest(".events tbody tr");
  if (!row || event.target.closest(".whole") || !getSelection().isCollapsed) return;
  const details = row.querySelector("details");
  details.open = !details.open;
});

// A form that takes its time says so, and is not sent twice; unless it was stopped, or no answer has come for long.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-busy]") || event.defaultPrevented) return;
  if (form.classList.contains("sending")) return event.preventDefault();
  form.classList.add("sending");
  const busy = form.querySelector(".busy.saving") ?? form.querySelector(".busy");
  if (busy) say(busy.textContent);
  clearTimeout(timers.get(form));
  timers.set(form, setTimeout(() => form.classList.remove("sending"), 30_000));
});
function nothingIsSent() {
  for (const form of document.querySelectorAll(".sending")) form.classList.remove("sending");
}
addEventListener("pageshow", nothingIsSent);
addEventListener("pagehide", nothingIsSent);

// One filter is open at a time; a click elsewhere or Escape closes it.
function closeFacets(but) {
  for (const it of document.querySelectorAll(".facet[open]")) if (it !== but) it.open = false;
}
document.addEventListener("click", (event) => closeFacets(event.target.closest(".facet")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  document.querySelector(".facet[open] summary")?.focus();
  closeFacets();
  // In browsers it also stops what is being loaded.
  nothingIsSent();
});

// Whoever gives a date means it.
document.addEventListener("input", (event) => {
  if (event.target.id === "historyFrom") document.querySelector("[name=history][value=date]").checked = true;
});

// Addresses name only what was chosen.
document.addEventListener("htmx:configRequest", (event) => {
  if (event.target.id !== "filters") return;
  for (const name of ["from", "to", "q"]) {
    if (event.detail.formData.get(name) === "") event.detail.formData.delete(name);
  }
});

// A button that waits for its answer keeps the focus, and does nothing meanwhile.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt } = event.detail;
  if (elt.id !== "verify") return;
  if (elt.getAttribute("aria-disabled") === "true") return event.preventDefault();
  elt.setAttribute("aria-disabled", "true");
  say(byId("verifying").textContent);
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt.id === "verify") event.detail.elt.removeAttribute("aria-disabled");
});

const STILL_HERE = "What you see and what you typed is still here. Try again in a moment.";
document.addEventListener("htmx:sendError", () => note("The server can’t be reached", STILL_HERE));
document.addEventListener("htmx:timeout", () => note("The server does not answer", STILL_HERE));

// What a part of the page says, but for what this script has added to it.
const words = (part) => [...part.querySelectorAll("code, time, .hint")].map((it) => it.textContent).join(" ");

let open = [];
let rows = 0;
document.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = event;
  if (!detail.shouldSwap) return;
  // Whatever stands before the pages, such as a gateway, answers with something else: that replaces nothing.
  if (!(detail.xhr.getResponseHeader("content-type") ?? "").startsWith("text/html")) {
    detail.shouldSwap = false;
    note("The server can’t do this at the moment", STILL_HERE);
    return;
  }
  // What has not changed is not said again.
  if (detail.target.id === "preview") {
    const fresh = new DOMParser().parseFromString(detail.serverResponse, "text/html").body;
    if (words(fresh) === words(detail.target)) {
      detail.shouldSwap = false;
      byId("notice").replaceChildren();
    }
  }
  // Which filters are open survives that they are replaced.
  open = [...document.querySelectorAll(".facet[open]")].map((it) => it.id);
  rows = detail.target.rows?.length ?? 0;
});
document.addEventListener("htmx:oobAfterSwap", () => {
  for (const id of open) byId(id)?.setAttribute("open", "");
});

// This event comes for each element that is new.
let settled;
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.xhr === settled) return;
  settled = detail.xhr;
  enliven(document);
  const asked = detail.requestConfig.elt.id;
  const part = byId(detail.target.id);
  if (detail.xhr.status < 400 && part?.id !== "notice") byId("notice").replaceChildren();
  if (asked === "filters") showFiltered();
  else if (asked === "load-more" && part?.rows) showMore(part);
  else if (part?.id === "settings-form") showWrong(part);
  else if (part?.id === "verification") showFound(part.firstElementChild);
});

// What was filtered anew is told to whoever can't see it; and the dates that were wrong are marked, or no longer.
function showFiltered() {
  const wrong = byId("results").dataset.wrong?.split(" ") ?? [];
  for (const id of ["from", "to"]) {
    if (wrong.includes(id)) byId(id).setAttribute("aria-invalid", "true");
    else byId(id).removeAttribute("aria-invalid");
  }
  const total = byId("total");
  if (total) say(total.textContent);
}

// Whoever goes on by the keyboard goes on with the first row that is new.
function showMore(part) {
  const fresh = [...part.rows].slice(rows);
  const heads = fresh.filter((row) => row.matches(":has(summary, th)")).length;
  say(`${heads} more ${part.dataset.kind}`);
  const next = fresh[0]?.querySelector("summary, th") ?? byId("load-more");
  if (next?.matches("th")) next.tabIndex = -1;
  next?.focus();
}

// What is wrong may be far above the button that was pressed.
function showWrong(form) {
  const wrong = form.querySelector("[aria-invalid=true]") ?? form.querySelector(".alert");
  if (!wrong) return;
  if (wrong.matches(".alert")) wrong.tabIndex = -1;
  wrong.focus({ preventScroll: true });
  wrong.scrollIntoView({ block: "center" });
}

// The report begins where the button was.
function showFound(report) {
  if ([byId("verify"), document.body].includes(document.activeElement)) report.focus({ preventScroll: true });
  else say(report.querySelector(".verdict").textContent);
}
