// What htmx doesn't do. Every page works without it, but for the sign-in link.
"use strict";
const root = document.currentScript.dataset.root;
document.documentElement.classList.add("js");

// A link /#token=… signs in. The token stays out of the address bar, the history and every server's log.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  history.replaceState(null, "", location.pathname + location.search);
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

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  // What is copied is named, or stands right before the button; where it is cut, its title has all of it.
  const source = document.getElementById(button.dataset.copy) ?? button.previousElementSibling;
  const label = button.querySelector("span");
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(source.title || source.textContent);
    if (!button.classList.contains("bare")) label.textContent = "Copied";
    say("Copied");
  } catch {
    // Then all of it is shown, to be copied by hand.
    source.textContent = source.title || source.textContent;
    source.classList.remove("command");
    getSelection().selectAllChildren(source);
    say("This browser does not let a page copy. Copy the selected text by hand.");
  }
  setTimeout(() => { label.textContent = before; }, 1500);
});

// Said once to whoever listens, without a trace on the page.
function say(text) {
  const word = document.createElement("p");
  word.className = "unseen";
  word.textContent = text;
  document.getElementById("notice").replaceChildren(word);
}

// A form that takes its time says so, and is not sent twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-busy]") || event.defaultPrevented) return;
  if (form.classList.contains("sending")) event.preventDefault();
  form.classList.add("sending");
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll(".sending")) form.classList.remove("sending");
});

// One filter is open at a time; a click elsewhere or Escape closes it.
function closeFacets(but) {
  for (const it of document.querySelectorAll(".facet[open]")) if (it !== but) it.open = false;
}
document.addEventListener("click", (event) => closeFacets(event.target.closest(".facet")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  document.querySelector(".facet[open] summary")?.focus();
  closeFacets();
});

// Which filters are open survives that they are replaced.
let open = [];
document.addEventListener("htmx:beforeSwap", () => {
  open = [...document.querySelectorAll(".facet[open]")].map((it) => it.id);
});
document.addEventListener("htmx:oobAfterSwap", () => {
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
});
document.addEventListener("htmx:afterSettle", (event) => {
  enliven(document);
  // What was filtered anew is told to whoever can't see it.
  if (event.target.id === "results") say(document.getElementById("total").textContent);
});

// Whoever gives a date means it.
document.addEventListener("input", (event) => {
  if (event.target.id === "historyFrom") document.querySelector("[name=history][value=date]").checked = true;
});
document.addEventListener("htmx:sendError", () => {
  const word = document.createElement("p");
  word.className = "alert bad";
  word.textContent = "The server can't be reached. What you typed is still here; try again in a moment.";
  document.getElementById("notice").replaceChildren(word);
});

// Addresses name only what was chosen.
document.addEventListener("htmx:configRequest", (event) => {
  if (event.target.id !== "filters") return;
  for (const name of ["from", "to", "q"]) {
    if (event.detail.formData.get(name) === "") event.detail.formData.delete(name);
  }
});
