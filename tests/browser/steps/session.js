// Signing in and out, and what is kept from whom.

import assert from "node:assert/strict";
import * as words from "../words.js";

async function asksToSignIn(visitor, address) {
  const answer = await visitor.refused([401], () => visitor.goto(address));
  assert.equal(answer.status(), 401, address);
  await visitor.sees(visitor.heading(words.signedOut));
}

/** Nobody is signed in yet. */
export async function isAStranger(visitor) {
  for (const { path } of Object.values(words.pages)) await asksToSignIn(visitor, path);
  await visitor.inspect();
}

/** With scripts by the platform's link, without by a form as a page of the platform would send it. */
export async function signsIn(visitor, { token }) {
  if (visitor.scripts) {
    await visitor.refused([401], async () => {
      await visitor.goto(`#token=${token}`);
      await visitor.sees(visitor.heading(words.pages.logs.heading));
    });
  } else {
    await visitor.page.setContent(`<form method="post" action="${visitor.base}/session">
      <input type="hidden" name="token" value="${token}"><button>Open</button></form>`);
    await visitor.page.getByRole("button").click();
    await visitor.sees(visitor.heading(words.pages.logs.heading));
  }
  assert.equal(visitor.page.url(), `${visitor.base}/`, "the token stays out of the address");
  const [cookie, ...others] = await visitor.context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, others.length], [true, "Lax", 0]);
}

/** Goes to a page by the menu. */
export async function goes(visitor, { to }) {
  const { path, entry, heading } = words.pages[to];
  const menu = visitor.page.getByRole("navigation", { name: "Main" });
  await menu.getByRole("link", { name: entry, exact: true }).click();
  await visitor.sees(visitor.heading(heading));
  assert.equal(visitor.page.url(), `${visitor.base}/${path}`);
  assert.equal(await menu.locator("[aria-current=page]").innerText(), entry);
  await visitor.inspect();
}

/** May look, and change nothing. */
export async function isAReader(visitor) {
  const menu = visitor.page.getByRole("navigation", { name: "Main" });
  for (const [name, { path, entry, heading }] of Object.entries(words.pages)) {
    const link = menu.getByRole("link", { name: entry, exact: true });
    if (words.onlyForAdmins.includes(name)) {
      assert.equal(await link.count(), 0, `the menu offers ${entry}`);
      const answer = await visitor.refused([403], () => visitor.goto(path));
      assert.equal(answer.status(), 403);
      await visitor.sees(visitor.page.getByText(words.refusedToReaders));
      assert.equal(await visitor.page.getByRole("textbox").count(), 0);
    } else {
      await visitor.goto(path);
      await visitor.sees(visitor.heading(heading));
      assert.equal(await link.count(), 1);
    }
    await visitor.inspect();
  }
}

/** What every page costs a browser that comes for the first time, in bytes. */
export async function weighsThePages(visitor) {
  const weights = {};
  for (const [name, { path }] of Object.entries(words.pages)) weights[name] = await visitor.weigh(path);
  return weights;
}

/** And is a stranger again. */
export async function signsOut(visitor) {
  await visitor.refused([401], async () => {
    await visitor.page.getByRole("button", { name: words.signOut }).click();
    await visitor.sees(visitor.heading(words.signedOut));
  });
  assert.deepEqual(await visitor.context.cookies(), []);
  await isAStranger(visitor);
}
