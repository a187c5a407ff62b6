// Signing in and out, permissions, and the menu.

import assert from "node:assert/strict";
import { PLATFORM_ORIGIN } from "../browser.js";
import * as words from "../words.js";

async function asksToSignIn(visitor, address) {
  const answer = await visitor.refused([401], () => visitor.goto(address));
  assert.equal(answer.status(), 401, address);
  await visitor.sees(visitor.heading(words.signedOut));
}

async function eachPageAsksToSignIn(visitor) {
  for (const { path } of Object.values(words.pages)) await asksToSignIn(visitor, path);
}

/** Visits every page without being signed in. */
export async function isAStranger(visitor) {
  await eachPageAsksToSignIn(visitor);
  await visitor.inspect({ everyScreen: true });
  // It is the same for everybody.
  await visitor.goto(words.obstacles.path);
  await visitor.sees(visitor.heading(words.obstacles.heading));
  assert.equal(await visitor.page.getByRole("navigation").count(), 0);
  await visitor.inspect({ everyScreen: true });
}

/** Returns the path and the status of every page, and of that of an event. */
export async function listsEveryPage(visitor) {
  await visitor.goto("");
  const event = await visitor.page.locator("a[href*='event?at=']").first().getAttribute("href");
  return [...words.everyPage, { path: event.replace("./", "") }];
}

/** Checks accessibility on the page as it is. */
export async function inspects(visitor) {
  await visitor.inspect();
}

/** Checks accessibility on a page, on every screen. */
export async function inspectsThePage(visitor, { path, status = 200 }) {
  const answer = await visitor.refused([status], () => visitor.goto(path));
  assert.equal(answer.status(), status, path);
  // Until a script has loaded the counts.
  await visitor.page.locator(".waiting").waitFor({ state: "detached" });
  await visitor.inspect({ everyScreen: true });
}

/** Signs in by a link to a page, and comes back to it. */
export async function returnsToThePage(visitor, { token, to }) {
  const { path, heading } = words.pages[to];
  const query = `${path}?x=%C3%BC`;
  await visitor.context.clearCookies();
  await visitor.refused([401], async () => {
    await visitor.goto(`${query}#token=${token}`);
    await visitor.sees(visitor.heading(heading));
  });
  await visitor.sees(visitor.page.getByText(words.isSignedIn));
  await visitor.page.waitForURL(`${visitor.base}/${query}`);
}

/** Signs in by a form, as a page of the platform does, which is another site. A script sends the form again. */
async function sendsTheForm(visitor, page, token) {
  const body = `<link rel="icon" href="data:,"><form method="post" action="${visitor.base}/session">
    <input type="hidden" name="token" value="${token}"><button>Open</button></form>`;
  await page.route(`${PLATFORM_ORIGIN}/*`, (route) => route.fulfill({ contentType: "text/html", body }));
  await page.goto(`${PLATFORM_ORIGIN}/open`);
  await page.getByRole("button").click();
  if (!visitor.scripts) await page.getByRole("button", { name: words.session.continue, exact: true }).click();
  await page.getByRole("heading", { level: 1, name: words.landing }).waitFor();
}

/** Signs in by a link, in a tab that shows a page already or not. */
async function followsTheLink(visitor, token, already) {
  const { page } = visitor;
  if (already) await asksToSignIn(visitor, "");
  // Check the address when the token is sent: the answer leads to another one.
  let address;
  await page.route("**/session", (route) => {
    address = page.url();
    return route.continue();
  });
  await visitor.refused([401], async () => {
    await visitor.goto(`#token=${token}`);
    await visitor.sees(visitor.heading(words.landing));
  });
  await page.unroute("**/session");
  assert.equal(address, `${visitor.base}/`, "the token stays out of the address");
  // The script removes the notice from the address.
  await page.waitForURL(({ href }) => [`${visitor.base}/`, `${visitor.base}/${words.setup.path}`].includes(href));
}

/** Signs in by a link, or without scripts by a form. */
export async function signsIn(visitor, { token, already = false }) {
  if (visitor.scripts) await followsTheLink(visitor, token, already);
  else await sendsTheForm(visitor, visitor.page, token);
  assert.ok(!visitor.page.url().includes(token), "the token stays out of the address");
  await visitor.sees(visitor.page.getByText(words.isSignedIn));
  const [cookie, ...others] = await visitor.context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, others.length], [true, "Lax", 0]);
}

/** Opens a link with another tenant's token, and stays signed in. */
export async function declinesAnotherSession(visitor, { token }) {
  const { page } = visitor;
  const own = await page.getByText(words.tenant).innerText();
  await visitor.refused([409], async () => {
    await visitor.goto(`#token=${token}`);
    await visitor.sees(visitor.heading(words.session.another));
  });
  await visitor.inspect();
  await page.getByRole("link", { name: words.session.stay }).click();
  await visitor.sees(visitor.heading(words.pages.logs.heading));
  assert.equal(await page.getByText(words.tenant).innerText(), own);
}

/** The session ends before a save. After signing in in another tab, the form is resubmitted. */
export async function losesTheSession(visitor, { token, saved }) {
  const { page, context } = visitor;
  await context.clearCookies();
  await visitor.refused([401, 403], async () => {
    await page.getByRole("button", { name: words.settings.save, exact: true }).click();
    await visitor.sees(visitor.heading(words.session.ended));
    await visitor.inspect();
    const tab = await context.newPage();
    await sendsTheForm(visitor, tab, token);
    await tab.close();
    await page.getByRole("button", { name: words.session.goOn }).click();
    await visitor.sees(visitor.heading(words.session.reallyAgain));
    await visitor.sees(page.locator("dd").getByText(saved, { exact: true }));
    await visitor.inspect();
  });
  await page.getByRole("button", { name: words.session.again }).click();
  await visitor.sees(page.getByText(words.settings.saved));
}

/** Opens a page from the menu. */
export async function goes(visitor, { to }) {
  const { path, entry, heading } = words.pages[to];
  const menu = visitor.page.getByRole("navigation", { name: "Main" });
  await menu.getByRole("link", { name: entry, exact: true }).click();
  await visitor.sees(visitor.heading(heading));
  assert.equal(visitor.page.url(), `${visitor.base}/${path}`);
  assert.equal(await menu.locator("[aria-current=page]").innerText(), entry);
  // Until then, a button does what it does without scripts.
  await visitor.page.waitForLoadState();
}

/** Visits every page with the read permission. */
export async function isAReader(visitor) {
  // A phone shows the tenant, too.
  const desktop = visitor.page.viewportSize();
  await visitor.page.setViewportSize({ width: 390, height: 844 });
  await visitor.sees(visitor.page.getByText(words.tenant));
  await visitor.page.setViewportSize(desktop);
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
  for (const path of words.pathsOnlyForAdmins) {
    const answer = await visitor.refused([403], () => visitor.goto(path));
    assert.equal(answer.status(), 403, path);
    await visitor.sees(visitor.page.getByText(words.refusedToReaders));
  }
}

/** Returns the bytes of each page at the first visit. */
export async function weighsThePages(visitor) {
  const weights = {};
  for (const { path } of [...Object.values(words.pages), words.obstacles]) weights[`/${path}`] = await visitor.weigh(path);
  return weights;
}

/** Signs out, and then sees no page. */
export async function signsOut(visitor) {
  await visitor.refused([401], async () => {
    await visitor.page.getByRole("button", { name: words.signOut }).click();
    await visitor.sees(visitor.heading(words.hasLeft));
  });
  assert.deepEqual(await visitor.context.cookies(), []);
  await eachPageAsksToSignIn(visitor);
}
