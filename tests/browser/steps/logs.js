// The page on which audit logs are read.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import * as words from "../words.js";

const { logs } = words;

const rows = ({ page }) => page.getByRole("table", { name: logs.table }).locator("tbody").getByRole("row");
const escaped = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Changes something about what is asked for, and waits until the address says so and the rows have followed. */
async function ask(visitor, isAsked, change) {
  const { page } = visitor;
  await change();
  if (!visitor.scripts) await page.getByRole("button", { name: logs.apply }).click();
  await page.waitForURL((url) => isAsked(url.searchParams), { waitUntil: "commit" });
  await page.waitForLoadState();
}

async function clear(visitor) {
  await visitor.page.getByRole("link", { name: logs.clear }).first().click();
  const isAsked = (query) => ["action", "user", "logType", "q"].some((name) => query.get(name));
  await visitor.page.waitForURL((url) => !isAsked(url.searchParams));
}

async function choosePeriod(visitor, label, name) {
  const change = () => visitor.page.getByRole("radio", { name: label, exact: true }).check();
  await ask(visitor, (query) => query.get("period") === name, change);
}

/** From the day before yesterday to three hours ago. */
async function chooseDates(visitor) {
  const { page } = visitor;
  const [from, to] = [48, 3].map((hours) => new Date(Date.now() - hours * 3_600_000).toISOString().slice(0, 16));
  const before = await rows(visitor).allInnerTexts();
  const isAsked = (query) => query.get("from") === from && query.get("to") === to;
  await ask(visitor, isAsked, async () => {
    await page.getByRole("radio", { name: logs.periods.custom, exact: true }).check();
    await page.getByLabel(logs.from).fill(from);
    await page.getByLabel(logs.to).fill(to);
  });
  await changed(visitor, before);
}

/** Takes a value of a filter that matches, and tells which that is. */
async function choose(visitor, facet, text) {
  const { page } = visitor;
  let value;
  const change = async () => {
    await page.locator("summary").filter({ hasText: logs.facets[facet] }).click();
    // Behind the value stands how often it occurs.
    const option = page.getByRole("checkbox", { name: new RegExp(`^(${text})\\s*[\\d,. ]*$`) });
    value = await option.getAttribute("value");
    await option.check();
  };
  await ask(visitor, (query) => query.has(facet) && query.getAll(facet).includes(value), change);
  await visitor.page.keyboard.press("Escape");
}

/** The event is there, and so is nothing that the filter should have kept away. */
async function finds(visitor, { user }, isMeant = () => true) {
  await visitor.sees(rows(visitor).filter({ hasText: user.name }));
  const texts = await rows(visitor).allInnerTexts();
  assert.equal(texts.filter((text) => text.includes(user.name)).length, 1, texts.join("\n"));
  assert.deepEqual(texts.filter((text) => !isMeant(text)), []);
}

/** By each filter alone; and nothing that it should keep away. */
export async function findsByEachFilter(visitor, { event }) {
  const { page } = visitor;
  await finds(visitor, event);
  const all = await rows(visitor).count();

  await choosePeriod(visitor, logs.periods.hour, "1h");
  await page.getByRole("row").nth(all).waitFor({ state: "detached" });
  await finds(visitor, event);
  await choosePeriod(visitor, logs.periods.day, "24h");
  await page.getByRole("row").nth(all).waitFor();
  await finds(visitor, event);
  await chooseDates(visitor);
  assert.equal(await rows(visitor).filter({ hasText: event.user.name }).count(), 0);
  await choosePeriod(visitor, logs.periods.month, "30d");
  await finds(visitor, event);

  const filters = {
    action: [escaped(event.action), (text) => text.includes(event.action)],
    user: [Object.values(event.user).map(escaped).join("|"), (text) => text.includes(event.user.name)],
    logType: [escaped(event.logType), (text) => text.includes(event.logType)],
  };
  for (const [facet, [text, isMeant]] of Object.entries(filters)) {
    const before = await rows(visitor).allInnerTexts();
    await choose(visitor, facet, text);
    await changed(visitor, before);
    await finds(visitor, event, isMeant);
    // The address alone finds the same.
    const found = await rows(visitor).allInnerTexts();
    await page.reload();
    assert.deepEqual(await rows(visitor).allInnerTexts(), found);
    await clear(visitor);
    await changed(visitor, found);
  }

  const before = await rows(visitor).allInnerTexts();
  await ask(visitor, (query) => query.get("q") === "haystack", () => page.getByLabel(logs.search).fill("haystack"));
  await changed(visitor, before);
  assert.equal(await rows(visitor).count(), 1);
  await finds(visitor, event);
  const found = await rows(visitor).allInnerTexts();
  await ask(visitor, (query) => query.get("q") === "unheard-of", () => page.getByLabel(logs.search).fill("unheard-of"));
  await visitor.sees(page.getByText(logs.nothing));
  await visitor.inspect();
  // Back leads to what was asked for before.
  await page.goBack();
  await changed(visitor, []);
  assert.deepEqual(await rows(visitor).allInnerTexts(), found);
  await clear(visitor);
  await changed(visitor, found);
}

/** A period that ends before it begins is refused at its dates, and without dates it says which it is. */
export async function asksForWrongDates(visitor) {
  const { page } = visitor;
  await visitor.goto(`${words.pages.logs.path}?period=custom`);
  await visitor.sees(page.getByText(logs.undated));
  await visitor.refused([400], async () => {
    await page.getByLabel(logs.to).fill("2026-01-01T00:00");
    await page.getByLabel(logs.from).fill("2026-01-02T00:00");
    if (!visitor.scripts) await page.getByRole("button", { name: logs.apply }).click();
    await visitor.sees(page.getByText(logs.wrongDates));
  });
  await page.locator("#from[aria-invalid=true]").waitFor();
  await visitor.inspect();
  await visitor.goto(words.pages.logs.path);
}

/** By the keyboard: where the list is another after each choice, the focus is still at what was chosen. */
export async function choosesByTheKeyboard(visitor) {
  const { page } = visitor;
  await visitor.goto(words.pages.logs.path);
  await page.locator("summary").filter({ hasText: logs.facets.action }).focus();
  await page.keyboard.press("Enter");
  const chosen = [];
  for (const steps of [3, 2]) {
    for (let step = 0; step < steps; step += 1) await page.keyboard.press("Tab");
    const value = await page.evaluate(() => document.activeElement.value);
    await page.keyboard.press("Space");
    chosen.push(value);
    await page.waitForURL((url) => chosen.every((it) => url.searchParams.getAll("action").includes(it)));
    await page.locator("#results:not(.htmx-request)").waitFor();
    const [focused, checked] = await page.evaluate(() => [document.activeElement.value, document.activeElement.checked]);
    assert.deepEqual([focused, checked], [value, true]);
  }
  await page.keyboard.press("Escape");
  await visitor.goto(words.pages.logs.path);
}

/** Waits for other rows than before. */
async function changed(visitor, before) {
  for (const until = Date.now() + 10_000; Date.now() < until; ) {
    // There is nothing to be read while one page gives way to another.
    const now = await rows(visitor).allInnerTexts().catch(() => []);
    if (now.length > 0 && JSON.stringify(now) !== JSON.stringify(before)) return;
    await visitor.page.waitForTimeout(50);
  }
  throw new Error("the rows stay as they were");
}

/** The whole event, as it was sent. */
export async function opensAnEvent(visitor, { event }) {
  const { page } = visitor;
  const row = rows(visitor).filter({ hasText: event.user.name });
  // What the icon and the time say to a mouse can be reached by it.
  for (const part of [row.locator(".type svg"), row.locator("time")]) await part.hover({ trial: true });
  if (visitor.scripts) await row.getByRole("cell").filter({ hasText: event.action }).first().click();
  else await row.locator("summary").click();
  if (!visitor.scripts) await row.getByRole("link", { name: logs.openPlainly }).click();
  const document = page.locator("pre");
  await visitor.sees(document);
  const { date, ...shown } = JSON.parse(await document.innerText());
  assert.deepEqual(shown, event);
  assert.ok(Math.abs(new Date(date) - Date.now()) < 600_000, date);
  await visitor.inspect();
  if (!visitor.scripts) await page.goBack();
}

export async function loadsMore(visitor) {
  const first = await rows(visitor).allInnerTexts();
  await visitor.page.getByRole("link", { name: logs.more }).click();
  await changed(visitor, first);
  const more = await rows(visitor).allInnerTexts();
  // With scripts they are appended; without, there is a page of them.
  const fresh = visitor.scripts ? more.slice(first.length) : more;
  if (visitor.scripts) assert.deepEqual(more.slice(0, first.length), first);
  assert.ok(fresh.length > 0 && fresh.every((text) => !first.includes(text)));
  if (visitor.scripts) {
    await rows(visitor).nth(first.length).locator("summary:focus").waitFor();
    await visitor.page.locator("#said").getByText(`${fresh.length} more events`).waitFor({ state: "attached" });
  }
  await visitor.inspect();
  await visitor.goto(words.pages.logs.path);
}

/** The file has what the page is filtered by, and a line for each. */
export async function downloads(visitor, { event }) {
  const { page } = visitor;
  await ask(visitor, (query) => query.get("q") === "haystack", () => page.getByLabel(logs.search).fill("haystack"));
  await visitor.sees(page.getByText(/^1 event$/));
  const coming = page.waitForEvent("download");
  await page.getByRole("link", { name: logs.file }).click();
  const download = await coming;
  assert.match(download.suggestedFilename(), /^audit-logs.*\.csv$/);
  const lines = (await readFile(await download.path(), "utf8")).trim().split(/\r?\n/);
  assert.equal(lines.length, 2, lines.join("\n"));
  for (const text of [event.id, event.action, ...Object.values(event.user), "haystack"]) {
    assert.ok(lines[1].includes(text), lines[1]);
  }
}
