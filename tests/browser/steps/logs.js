// Steps on the audit logs page.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import * as words from "../words.js";

const { logs } = words;

const rows = ({ page }) => page.getByRole("table", { name: logs.table }).locator("tbody").getByRole("row");
const escaped = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Changes the query, and waits until the address has it and the page is loaded. */
async function changeQuery(visitor, hasChanged, change) {
  const { page } = visitor;
  await change();
  if (!visitor.scripts) await page.getByRole("button", { name: logs.apply }).click();
  await page.waitForURL((url) => hasChanged(url.searchParams), { waitUntil: "commit" });
  await page.waitForLoadState();
}

async function clear(visitor) {
  await visitor.page.getByRole("link", { name: logs.clear }).first().click();
  const filters = ["action", "user", "logType", "notAction", "notUser", "notLogType", "q"];
  const isFiltered = (query) => filters.some((name) => query.get(name));
  await visitor.page.waitForURL((url) => !isFiltered(url.searchParams));
}

async function choosePeriod(visitor, label, name) {
  const change = () => visitor.page.getByRole("radio", { name: label, exact: true }).check();
  await changeQuery(visitor, (query) => query.get("period") === name, change);
}

/** From the day before yesterday to three hours ago. */
async function chooseDates(visitor) {
  const { page } = visitor;
  const [from, to] = [48, 3].map((hours) => new Date(Date.now() - hours * 3_600_000).toISOString().slice(0, 16));
  const before = await rows(visitor).allInnerTexts();
  const hasChanged = (query) => query.get("from") === from && query.get("to") === to;
  await changeQuery(visitor, hasChanged, async () => {
    await page.getByRole("radio", { name: logs.periods.custom, exact: true }).check();
    await page.getByLabel(logs.from).fill(from);
    await page.getByLabel(logs.to).fill(to);
  });
  await rowsChange(visitor, before);
}

/** Chooses the value of a filter that matches. */
async function choose(visitor, facet, text) {
  const { page } = visitor;
  let value;
  const change = async () => {
    await page.locator("summary").filter({ hasText: logs.facets[facet] }).click();
    // A user has a name and an address. The number of events follows the value.
    const option = page.getByRole("checkbox", { name: new RegExp(`^((${text})\\s*)+[\\d,. ]*$`) });
    value = await option.getAttribute("value");
    await option.check();
  };
  await changeQuery(visitor, (query) => query.has(facet) && query.getAll(facet).includes(value), change);
  await visitor.page.keyboard.press("Escape");
}

/** Checks that the rows contain the event, and only rows that match. */
async function finds(visitor, { user }, matches = () => true) {
  await visitor.sees(rows(visitor).filter({ hasText: user.name }));
  const texts = await rows(visitor).allInnerTexts();
  assert.equal(texts.filter((text) => text.includes(user.name)).length, 1, texts.join("\n"));
  assert.deepEqual(texts.filter((text) => !matches(text)), []);
}

/** Filters by period, dates, each filter and a word. */
export async function findsByEachFilter(visitor, { event }) {
  const { page } = visitor;
  await finds(visitor, event);
  const week = await rows(visitor).allInnerTexts();
  await choosePeriod(visitor, logs.periods.hour, "1h");
  await rowsChange(visitor, week);
  await finds(visitor, event);
  const hour = await rows(visitor).allInnerTexts();
  await choosePeriod(visitor, logs.periods.day, "24h");
  await rowsChange(visitor, hour);
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
  for (const [facet, [text, matches]] of Object.entries(filters)) {
    const before = await rows(visitor).allInnerTexts();
    await choose(visitor, facet, text);
    await rowsChange(visitor, before);
    await finds(visitor, event, matches);
    // The address alone shows the same rows.
    const found = await rows(visitor).allInnerTexts();
    await page.reload();
    assert.deepEqual(await rows(visitor).allInnerTexts(), found);
    await clear(visitor);
    await rowsChange(visitor, found);
  }

  const before = await rows(visitor).allInnerTexts();
  await changeQuery(visitor, (query) => query.get("q") === "haystack", () => page.getByLabel(logs.search).fill("haystack"));
  await rowsChange(visitor, before);
  assert.equal(await rows(visitor).count(), 1);
  await finds(visitor, event);
  const found = await rows(visitor).allInnerTexts();
  await changeQuery(visitor, (query) => query.get("q") === "unheard-of", () => page.getByLabel(logs.search).fill("unheard-of"));
  await visitor.sees(page.getByText(logs.nothing));
  await visitor.inspect();
  // Back shows the previous query.
  await page.goBack();
  await rowsChange(visitor, []);
  assert.deepEqual(await rows(visitor).allInnerTexts(), found);
  await clear(visitor);
  await rowsChange(visitor, found);
}

/** Without dates, the page says which period it shows. An end before the start is refused at the fields. */
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

/** By keyboard: the focus stays on the chosen value when the list changes. */
export async function choosesByTheKeyboard(visitor) {
  const { page } = visitor;
  await visitor.goto(words.pages.logs.path);
  await isCounted(visitor);
  await page.locator("summary").filter({ hasText: logs.facets.action }).focus();
  await page.keyboard.press("Enter");
  const isNext = () => document.activeElement.matches("#facet-action [type=checkbox]:not(:checked)");
  const chosen = [];
  for (let step = 0; step < 2; step += 1) {
    do await page.keyboard.press("Tab");
    while (!(await page.evaluate(isNext)));
    const value = await page.evaluate(() => document.activeElement.value);
    await page.keyboard.press("Space");
    chosen.push(value);
    await page.waitForURL((url) => chosen.every((it) => url.searchParams.getAll("action").includes(it)));
    await page.locator("#results:not(.htmx-request)").waitFor();
    await isCounted(visitor);
    const [focused, checked] = await page.evaluate(() => [document.activeElement.value, document.activeElement.checked]);
    assert.deepEqual([focused, checked], [value, true]);
  }
  await page.keyboard.press("Escape");
  await visitor.goto(words.pages.logs.path);
}

/** Waits for the counts, which a script loads after the rows. */
async function isCounted({ page, scripts }) {
  if (scripts) await page.locator("#timeline:not(.waiting)").waitFor({ state: "attached" });
}

/** A click on a value in a row filters by it, or excludes it. Bars narrow the period. */
export async function filtersByClicks(visitor, { event }) {
  const { page } = visitor;
  const { name } = event.user;
  await visitor.goto(`${words.pages.logs.path}?period=24h`);
  if (!visitor.scripts) await page.getByRole("link", { name: logs.countNow }).click();
  await isCounted(visitor);
  await visitor.inspect();
  const row = rows(visitor).filter({ hasText: name });
  await row.getByRole("button", { name: new RegExp(`^${escaped(name)}`) }).click();
  await page.waitForURL((url) => url.searchParams.get("user") === event.user.email);
  await finds(visitor, event, (text) => text.includes(name));
  await page.getByRole("link", { name: logs.chips.user }).click();
  await page.waitForURL((url) => !url.searchParams.has("user"));
  await row.hover();
  await row.getByRole("button", { name: logs.exclude(name) }).click();
  await page.waitForURL((url) => url.searchParams.get("notUser") === event.user.email);
  await visitor.sees(page.getByRole("link", { name: logs.chips.notUser }));
  await visitor.sees(rows(visitor));
  assert.equal(await row.count(), 0);
  await page.getByRole("link", { name: logs.chips.notUser }).click();
  await page.waitForURL((url) => !url.searchParams.has("notUser"));

  const bar = page.getByRole("list", { name: logs.histogram }).getByRole("link", { name: /: [\d,]*[1-9][\d,]* events?$/ }).last();
  const [, counted] = (await bar.getAttribute("title")).match(/: ([\d,]+) events?$/);
  await bar.click();
  await page.waitForURL((url) => url.searchParams.get("period") === "custom" && url.searchParams.has("to"));
  await visitor.sees(page.locator("#total").filter({ hasText: new RegExp(`^${counted} event`) }));

  await page.locator("summary").filter({ hasText: logs.presets }).click();
  await page.getByRole("link", { name: logs.preset }).click();
  await page.waitForURL((url) => url.searchParams.get("q") === "login fail");
  await visitor.goto(words.pages.logs.path);
}

/** A search in a filter hides the values that don't match, and changes nothing else. */
export async function searchesAFilter(visitor, { event }) {
  const { page } = visitor;
  await visitor.goto(words.pages.logs.path);
  await isCounted(visitor);
  const address = page.url();
  await page.locator("summary").filter({ hasText: logs.facets.action }).click();
  const options = page.locator("#facet-action .option");
  const seen = () => options.filter({ visible: true }).allInnerTexts();
  const before = await seen();
  const field = page.getByLabel(logs.find);
  await field.fill(event.action.toUpperCase());
  const found = await seen();
  assert.ok(found.length > 0 && found.length < before.length, found.join());
  assert.deepEqual(found.filter((text) => !text.includes(event.action)), []);
  await page.keyboard.press("Enter");
  await field.fill("");
  assert.deepEqual(await seen(), before);
  assert.equal(page.url(), address);
  await page.keyboard.press("Escape");
}

/** Each pop-up is within the screen. */
export async function keepsPopUpsOnTheScreen(visitor) {
  const { page } = visitor;
  const desktop = page.viewportSize();
  await visitor.goto(words.pages.logs.path);
  // The filters come again with the counts.
  await isCounted(visitor);
  const summaries = page.locator(".facet > summary");
  assert.equal(await summaries.count(), 4);
  for (const [width, height] of [[1280, 800], [1000, 800], [800, 800], [390, 844], [320, 640]]) {
    await page.setViewportSize({ width, height });
    for (const summary of await summaries.all()) {
      await summary.click();
      const popUp = page.locator(".facet[open] > .pop");
      const { x, width: wide } = await popUp.boundingBox();
      const text = await summary.innerText();
      assert.ok(x >= 0 && x + wide <= width, `${text} reaches from ${x} to ${x + wide} on a screen of ${width} pixels`);
      await summary.click();
    }
  }
  await page.setViewportSize(desktop);
}

/** Waits until the rows differ. */
async function rowsChange(visitor, before) {
  for (const until = Date.now() + 10_000; Date.now() < until; ) {
    // Rows can't be read while a page is replaced.
    const now = await rows(visitor).allInnerTexts().catch(() => []);
    if (now.length > 0 && JSON.stringify(now) !== JSON.stringify(before)) return;
    await visitor.page.waitForTimeout(50);
  }
  throw new Error("the rows did not change");
}

/** Opens the event, and compares it with what was sent. */
export async function opensAnEvent(visitor, { event }) {
  const { page } = visitor;
  const row = rows(visitor).filter({ hasText: event.user.name });
  // The mouse reaches the tooltips of the icon and the time.
  for (const part of [row.locator(".type svg"), row.locator("time")]) await part.hover({ trial: true });
  if (visitor.scripts) await row.getByRole("cell").filter({ has: page.locator("time") }).click();
  else await row.locator("summary").click();
  if (!visitor.scripts) await row.getByRole("link", { name: logs.openPlainly }).click();
  const document = page.locator("pre");
  await visitor.sees(document);
  const { date, ...shown } = JSON.parse(await document.innerText());
  assert.deepEqual(shown, event);
  assert.ok(Math.abs(new Date(date) - Date.now()) < 600_000, date);
  for (const fact of logs.facts) await visitor.sees(visitor.fact(fact));
  await visitor.sees(page.getByRole("link", { name: logs.moreByUser }));
  if (visitor.scripts) {
    await page.getByRole("button", { name: logs.copyJson }).click();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.deepEqual(JSON.parse(copied), { date, ...shown });
    await visitor.sees(page.getByRole("link", { name: logs.permalink }));
  }
  await visitor.inspect();
  if (!visitor.scripts) await page.goBack();
}

export async function loadsMore(visitor) {
  const first = await rows(visitor).allInnerTexts();
  await visitor.page.getByRole("link", { name: logs.more }).click();
  await rowsChange(visitor, first);
  const more = await rows(visitor).allInnerTexts();
  // Scripts append the rows. Without scripts, there is a new page.
  const fresh = visitor.scripts ? more.slice(first.length) : more;
  if (visitor.scripts) assert.deepEqual(more.slice(0, first.length), first);
  assert.ok(fresh.length > 0 && fresh.every((text) => !first.includes(text)));
  if (visitor.scripts) {
    await rows(visitor).nth(first.length).locator("summary:focus").waitFor();
    await visitor.page.locator("#announcer").getByText(`${fresh.length} more events`).waitFor({ state: "attached" });
  }
  await visitor.inspect();
  await visitor.goto(words.pages.logs.path);
}

/** Downloads the CSV, which has the filtered events only, and the one for Excel. */
export async function downloads(visitor, { event }) {
  const { page } = visitor;
  await changeQuery(visitor, (query) => query.get("q") === "haystack", () => page.getByLabel(logs.search).fill("haystack"));
  await visitor.sees(page.getByText(/^1 event$/));
  const file = await download(page, logs.file);
  const lines = file.toString("utf8").trim().split(/\r?\n/);
  assert.equal(lines.length, 2, lines.join("\n"));
  for (const text of [event.id, event.action, ...Object.values(event.user), "haystack"]) {
    assert.ok(lines[1].includes(text), lines[1]);
  }
  const forExcel = (await download(page, logs.fileForExcel)).toString("utf8").split("\r\n");
  // The first download is an event with the word, too.
  const others = forExcel.filter((line) => !line.includes("Audit Logs Downloaded"));
  assert.deepEqual([others.join("\r\n"), forExcel.length - others.length], [`\ufeff${file.toString("utf8")}`, 1]);
}

/** The bytes of the file behind a link. */
async function download(page, name) {
  const started = page.waitForEvent("download");
  await page.getByRole("link", { name, exact: true }).click();
  const file = await started;
  assert.match(file.suggestedFilename(), /^audit-logs-[\w-]+-\d{4}-\d\d-\d\d-\d{4}-\d\d-\d\d\.csv$/);
  return readFile(await file.path());
}
