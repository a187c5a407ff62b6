// Steps on the export status page.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import * as words from "../words.js";

/** The status page has the badge of a state, by its name among the words. */
export async function seesTheBadge(visitor, { badge }) {
  await visitor.goto(words.pages.status.path);
  await visitor.sees(visitor.heading(words.badges[badge]));
  await visitor.inspect();
}

/** Each object is listed once, and its address can be copied. */
export async function seesTheExports(visitor, { keys }) {
  const { page } = visitor;
  await visitor.sees(visitor.heading(words.badges.exporting));
  const rows = page.getByRole("table").filter({ has: page.getByRole("columnheader", { name: "SHA-256" }) });
  for (const key of keys) {
    const file = key.slice(key.lastIndexOf("/") + 1);
    const row = rows.getByRole("row").filter({ hasText: file });
    assert.equal(await row.count(), 1, file);
    const address = await row.locator("[title^='s3://']").getAttribute("title");
    assert.ok(address.endsWith(`/${key}`), address);
  }
  const last = await visitor.fact(words.status.lastExport).innerText();
  assert.ok(!last.includes(words.status.none), last);
  await visitor.inspect();
}

/** All windows are signed, the commands name folder, key and head, and the key is a file. */
export async function seesHowToVerify(visitor, { folder, head }) {
  const { page } = visitor;
  const box = page.getByRole("region", { name: words.status.verify });
  const commands = await box.locator("pre").innerText();
  assert.ok(commands.includes(folder) && commands.includes(`--head ${head}`), commands);
  const download = page.waitForEvent("download");
  await box.getByRole("link", { name: words.status.pem }).click();
  const file = await download;
  assert.ok(commands.includes(`--key ${file.suggestedFilename()}`), commands);
  assert.match(await readFile(await file.path(), "utf8"), /^-----BEGIN PUBLIC KEY-----\n/);
  const exports = page.getByRole("region", { name: words.status.exports });
  assert.ok((await exports.getByRole("cell").getByText(words.status.signed, { exact: true }).count()) > 0);
  await box.getByRole("link", { name: words.status.proves }).click();
  await visitor.sees(visitor.heading(words.status.proof));
  await visitor.inspect();
  await page.goBack();
}

/** Exports fail: the page names the cause, and has an incident that goes on. */
export async function seesTheFailure(visitor, { code }) {
  const { page } = visitor;
  await visitor.sees(visitor.heading(words.badges.failing));
  const next = page.getByRole("region", { name: words.status.nextStep });
  await visitor.sees(next.getByText(words.status.fixThenRetry));
  await visitor.sees(next.getByRole("button", { name: words.status.retry }));
  const incidents = page.getByRole("region", { name: words.status.incidents });
  await visitor.sees(incidents.getByText(words.status.ongoing));
  await visitor.sees(incidents.getByText(code));
  await visitor.inspect();
  await incidents.getByRole("link", { name: words.status.firstEvent }).click();
  await visitor.sees(page.getByText("Export Failed").first());
  await page.goBack();
}

/** After a repair that passed a verification, asks for an export, and waits until exports work. */
export async function retriesNow(visitor) {
  const { page } = visitor;
  const next = page.getByRole("region", { name: words.status.nextStep });
  await visitor.sees(next.getByText(words.status.repaired));
  await visitor.sees(visitor.heading(words.badges.retrying));
  await visitor.inspect();
  await next.getByRole("button", { name: words.status.retry }).click();
  await visitor.sees(page.getByText(words.status.requested));
  for (let tries = 0; tries < 30; tries++) {
    await visitor.goto(words.pages.status.path);
    if ((await visitor.heading(words.badges.exporting).count()) > 0) break;
    await page.waitForTimeout(1_000);
  }
  await visitor.sees(visitor.heading(words.badges.exporting));
  const incidents = page.getByRole("region", { name: words.status.incidents });
  await visitor.sees(incidents.getByText(words.status.resolved));
  await visitor.inspect();
}

/** Delivers the newest window again: reads the preview, starts it, and waits for the result. */
export async function deliversAgain(visitor) {
  const { page } = visitor;
  const { again } = words.status;
  const exports = page.getByRole("region", { name: words.status.exports, exact: true });
  await exports.getByRole("link", { name: words.status.deliverAgain }).first().click();
  await visitor.sees(page.getByRole("heading", { level: 2, name: words.status.preview }));
  await visitor.sees(page.getByText(words.status.duplicates));
  await visitor.inspect();
  await page.getByRole("button", { name: again.start }).click();
  await visitor.sees(page.getByText(again.requested));
  const done = page.getByRole("heading", { level: 2, name: again.done });
  if (visitor.scripts) {
    // The part of the page is loaded again by itself.
    await done.waitFor({ timeout: 60_000 });
  } else {
    for (let tries = 0; tries < 60 && (await done.count()) === 0; tries++) {
      await page.waitForTimeout(1_000);
      await page.getByRole("link", { name: again.refresh }).click();
    }
  }
  await visitor.sees(done);
  await visitor.goto(words.pages.status.path);
  await visitor.sees(page.getByText("Delivered again on").first());
  await visitor.inspect();
}
