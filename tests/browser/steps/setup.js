// Steps of the guided setup.

import assert from "node:assert/strict";
import * as words from "../words.js";
import { fillsIn } from "./settings.js";

const { setup, settings, badges, connector } = words;

/** How many steps of the setup are done. */
async function doneSteps({ page }) {
  return page.getByRole("heading", { level: 2, name: setup.done }).count();
}

/** An admin whose exports are not set up lands here, and the menu begins with it. */
export async function landsInTheSetup(visitor) {
  const { page } = visitor;
  // The local API removes it before the request reaches the console, as a gateway with a path mapping does.
  assert.notEqual(new URL(visitor.base).pathname, "/", "the walk is below no base path");
  await visitor.goto("");
  await visitor.sees(visitor.heading(setup.heading));
  await visitor.sees(visitor.heading(badges.notConnected));
  const menu = page.getByRole("navigation", { name: "Main" });
  assert.equal(await menu.getByRole("link").first().innerText(), setup.entry);
  assert.equal(await doneSteps(visitor), 0);
  await visitor.inspect({ everyScreen: true });
  await menu.getByRole("link", { name: words.pages.logs.entry, exact: true }).click();
  await visitor.sees(visitor.heading(words.pages.logs.heading));
  await menu.getByRole("link", { name: setup.entry, exact: true }).click();
  await visitor.sees(visitor.heading(setup.heading));
}

/** Types the destination, with a wrong region first. */
export async function choosesTheDestination(visitor, { fields, create }) {
  const { page } = visitor;
  await fillsIn(visitor, { ...fields, region: "moon-1" });
  if (create) await page.getByLabel(setup.create).check();
  await visitor.refused([422], async () => {
    await page.getByRole("button", { name: setup.keep }).click();
    await visitor.sees(page.getByText(settings.wrong));
  });
  const region = page.getByLabel(settings.fields.region);
  assert.equal(await region.getAttribute("aria-invalid"), "true");
  await visitor.inspect();
  await region.fill(fields.region);
  if (visitor.scripts) {
    await region.blur();
    assert.equal(await region.getAttribute("aria-invalid"), null, "the error stays");
  }
  assert.equal(await page.getByLabel(setup.create).isChecked(), create);
  await page.getByRole("button", { name: setup.keep }).click();
  await visitor.sees(page.getByRole("link", { name: setup.change, exact: true }));
  assert.equal(await doneSteps(visitor), 1);
  await visitor.inspect({ everyScreen: true });
}

/** Reads the text for an AWS administrator. Returns the link to the role. */
export async function readsTheSteps(visitor, { values }) {
  const { page } = visitor;
  const quickCreateUrl = await page.getByRole("link", { name: connector.quickCreate }).getAttribute("href");
  await page.getByRole("link", { name: setup.send }).click();
  await visitor.sees(visitor.heading(setup.steps));
  const text = await page.locator("#steps").textContent();
  for (const value of [...values, quickCreateUrl, setup.sendBack]) assert.ok(text.includes(value), value);
  if (visitor.scripts) {
    await page.getByRole("button", { name: setup.copySteps }).click();
    await visitor.sees(page.getByText("Copied"));
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
  }
  await visitor.inspect({ everyScreen: true });
  await visitor.goto(setup.path);
  return { quickCreateUrl };
}

async function activate(visitor, roleArn) {
  await visitor.page.getByLabel(connector.role).fill(roleArn);
  await visitor.page.getByRole("button", { name: setup.activate, exact: true }).click();
}

/** A role that can't be used is refused at its field. */
export async function isRefusedInTheSetup(visitor, { roleArn, because }) {
  await visitor.refused([422], async () => {
    await activate(visitor, roleArn);
    await visitor.sees(visitor.page.getByText(because));
  });
  assert.equal(await visitor.page.getByLabel(connector.role).inputValue(), roleArn);
  await visitor.inspect();
}

/** Activates the exports, and then waits for the first one. */
export async function activates(visitor, { roleArn, key }) {
  const { page } = visitor;
  await activate(visitor, roleArn);
  await visitor.sees(visitor.heading(badges.waiting));
  assert.equal(await doneSteps(visitor), 3);
  await visitor.sees(page.getByText(key).first());
  await visitor.sees(visitor.fact(setup.firstExport).getByRole("time").first());
  await visitor.inspect({ everyScreen: true });
  await page.getByRole("link", { name: setup.toStatus }).click();
  await visitor.sees(visitor.heading(words.pages.status.heading));
}

/** After the first export, the setup leads to the status, and the first page has the audit logs. */
export async function hasLeftTheSetup(visitor) {
  await visitor.goto(setup.path);
  await visitor.sees(visitor.heading(words.pages.status.heading));
  await visitor.goto("");
  await visitor.sees(visitor.heading(words.pages.logs.heading));
  assert.equal(await visitor.page.getByRole("link", { name: setup.entry, exact: true }).count(), 0);
}
