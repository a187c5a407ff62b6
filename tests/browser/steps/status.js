// Steps on the export status page.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import * as words from "../words.js";

/** Each object is listed once, with its whole key. */
export async function seesTheExports(visitor, { keys }) {
  const { page } = visitor;
  await visitor.sees(visitor.heading(words.badges.exporting));
  const rows = page.getByRole("table").filter({ has: page.getByRole("columnheader", { name: "SHA-256" }) });
  for (const key of keys) {
    const file = key.slice(key.lastIndexOf("/") + 1);
    const row = rows.getByRole("row").filter({ hasText: file });
    assert.equal(await row.count(), 1, file);
    assert.ok((await row.innerText()).replaceAll(/\s+/g, "").includes(key), key);
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
  assert.ok((await exports.getByRole("cell", { name: words.status.signed, exact: true }).count()) > 0);
  await box.getByRole("link", { name: words.status.proves }).click();
  await visitor.sees(visitor.heading(words.status.proof));
  await visitor.inspect();
  await page.goBack();
}
