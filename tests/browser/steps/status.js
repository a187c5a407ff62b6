// Steps on the export status page.

import assert from "node:assert/strict";
import * as words from "../words.js";

/** Each object is listed once, with its whole key. */
export async function seesTheExports(visitor, { keys }) {
  const { page } = visitor;
  await visitor.sees(visitor.heading(words.badges.active));
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
