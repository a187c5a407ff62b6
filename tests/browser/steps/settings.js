// Steps on the settings page.

import assert from "node:assert/strict";
import * as words from "../words.js";

const { settings, badges, obstacles, outage } = words;

/** Follows the link to what can refuse deliveries, and from there to a section. */
export async function looksUpObstacles(visitor) {
  const { page } = visitor;
  await page.getByRole("link", { name: obstacles.link, exact: true }).click();
  await visitor.sees(visitor.heading(obstacles.heading));
  await page.getByRole("row", { name: obstacles.section }).first().getByRole("link").click();
  await page.locator("h2:target").waitFor();
  await visitor.inspect();
}

/** Fills in the given fields. */
export async function fillsIn(visitor, { historyFrom, ...given }) {
  const { page } = visitor;
  for (const [field, value] of Object.entries(given)) {
    if (settings.fields[field]) await page.getByLabel(settings.fields[field]).fill(value);
    else await page.getByLabel(settings.choices[field]).selectOption(value);
  }
  if (historyFrom) {
    await page.getByLabel(settings.fromADate).check();
    await page.getByLabel(settings.date).fill(historyFrom);
  }
}

/** The key of the next file follows the input, without a click. */
export async function seesThePreview(visitor, { key }) {
  await visitor.sees(visitor.page.getByRole("complementary", { name: settings.preview }).getByText(key));
  await visitor.inspect();
}

/** Before a save, the page says what still goes to the old bucket. With scripts it names the new one as it is typed. */
export async function readsWhereEventsGo(visitor, { bucket, another }) {
  const { page } = visitor;
  const preview = page.getByRole("complementary", { name: settings.preview });
  await visitor.sees(preview.getByText(settings.ifMoved));
  await visitor.sees(preview.getByText(`s3://${bucket}/`).first());
  if (!visitor.scripts) return;
  await fillsIn(visitor, { bucket: another });
  await visitor.sees(preview.getByText(`s3://${another}/`).first());
  await visitor.sees(preview.getByText(settings.moves));
  await visitor.inspect();
  await fillsIn(visitor, { bucket });
  await visitor.sees(preview.getByText(settings.ifMoved));
}

async function verify(visitor, verdict) {
  await visitor.page.getByRole("button", { name: settings.verify }).click();
  await visitor.sees(visitor.page.getByText(verdict));
  // The focus moves to the report, for the keyboard.
  if (visitor.scripts) await visitor.page.locator(".report:focus").waitFor();
  const finding = visitor.page.getByRole("listitem").filter({ hasNot: visitor.page.getByRole("link") });
  const found = (await finding.allInnerTexts()).map((text) => text.replaceAll(/\s+/g, " "));
  await visitor.inspect();
  return found;
}

export async function verifies(visitor) {
  const found = await verify(visitor, settings.works);
  assert.equal(found.filter((text) => text.includes(settings.passed)).length, settings.steps, found.join("\n"));
}

/** A verification in which one step fails. */
export async function verifiesInVain(visitor, { because }) {
  const found = await verify(visitor, settings.wouldFail);
  const failed = found.filter((text) => text.includes(settings.failed));
  assert.equal(failed.length, 1, found.join("\n"));
  assert.ok(failed[0].includes(because), failed[0]);
}

/** With scripts, an edit removes the error of its field, and says that the report is older. */
async function editsAfterwards(visitor, field, value) {
  const { page } = visitor;
  const input = page.getByLabel(settings.fields[field]);
  // Browsers ask before leaving only a page that was touched.
  await input.click();
  await input.fill(value);
  await visitor.sees(page.getByText(settings.stale));
  assert.equal(await page.getByRole("button", { name: settings.anyway }).count(), 0, "it was not what was tested");
  await visitor.inspect();
}

/** A verification before a save fails: nothing is saved. */
export async function savesWhatFails(visitor, { bucket, because }) {
  const { page } = visitor;
  await fillsIn(visitor, { bucket });
  await page.getByRole("button", { name: settings.save, exact: true }).click();
  await visitor.sees(page.getByText(settings.wouldFail));
  await visitor.sees(page.getByText(because).first());
  await visitor.sees(page.getByRole("button", { name: settings.anyway }));
  await page.locator(".report:focus").waitFor();
  await visitor.inspect();
  if (visitor.scripts) await editsAfterwards(visitor, "prefix", "typed-later");
  let asked = null;
  page.once("dialog", (dialog) => {
    asked = dialog.type();
    return dialog.accept();
  });
  await visitor.goto(words.pages.settings.path);
  if (visitor.scripts) assert.equal(asked, "beforeunload", "unsaved edits are lost silently");
  assert.notEqual(await page.getByLabel(settings.fields.bucket).inputValue(), bucket);
}

/** A save is refused: the wrong field keeps its value and shows the reason. */
export async function savesInVain(visitor, { field, value, because }) {
  await fillsIn(visitor, { [field]: value });
  await visitor.refused([422], async () => {
    await visitor.page.getByRole("button", { name: settings.save, exact: true }).click();
    await visitor.sees(visitor.page.getByText(settings.wrong));
  });
  const input = visitor.page.getByLabel(settings.fields[field]);
  assert.deepEqual([await input.inputValue(), await input.getAttribute("aria-invalid")], [value, "true"]);
  await visitor.sees(visitor.page.getByText(because));
  await input.and(visitor.page.locator(":focus")).waitFor();
  await visitor.inspect();
}

/** A gateway's answer that is no page leaves the page as it is. The error goes with the next answer. */
export async function verifiesThroughAnOutage(visitor) {
  const { page } = visitor;
  const answer = { status: 503, contentType: "application/json", body: '{"message":"Service Unavailable"}' };
  await page.route("**/settings/verify", (route) => route.fulfill(answer));
  const button = page.getByRole("button", { name: settings.verify });
  await visitor.refused([503], async () => {
    await button.click();
    await visitor.sees(page.getByText(outage));
  });
  assert.equal(await page.getByText("Service Unavailable").count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), "verify", "the button has lost the focus");
  await visitor.inspect();
  await page.unroute("**/settings/verify");
  await verifies(visitor);
  assert.equal(await page.getByText(outage).count(), 0);
}

/** A save that was stopped can be sent again. */
export async function stopsASave(visitor) {
  const { page } = visitor;
  // An answer without content keeps the page, like a stopped request.
  await page.route("**/settings", (route) => route.fulfill({ status: 204 }));
  await page.getByRole("button", { name: settings.save, exact: true }).click();
  await page.locator("#settings-form.sending").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#settings-form:not(.sending)").waitFor();
  await page.unroute("**/settings");
}

export async function saves(visitor, { bucket }) {
  await visitor.page.getByRole("button", { name: settings.save, exact: true }).click();
  await visitor.sees(visitor.page.getByText(settings.saved));
  await visitor.sees(visitor.heading(badges.waiting));
  await visitor.goto(words.pages.settings.path);
  assert.equal(await visitor.page.getByLabel(settings.fields.bucket).inputValue(), bucket);
  await visitor.inspect();
}
