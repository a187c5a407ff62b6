// Steps on the connector page.

import assert from "node:assert/strict";
import * as words from "../words.js";

const { connector, badges } = words;

export async function looksAtTheConnector(visitor) {
  const { page } = visitor;
  await visitor.sees(visitor.heading(badges.notConnected));
  await visitor.inspect();
  const externalId = await visitor.fact(connector.externalId).getByRole("code").innerText();
  assert.match(externalId, /^[\w+=,.@:/-]{16,}$/);
  const copy = page.getByRole("button", { name: connector.copy });
  if (visitor.scripts) {
    await copy.click();
    await visitor.sees(page.getByText("Copied"));
    await page.getByRole("button", { name: connector.copied }).click();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), externalId);
  } else {
    assert.equal(await copy.count(), 0, "a button that needs a script");
  }
  await looksAtEachWay(visitor, externalId);
  // A while after the click, the button offers it again.
  if (visitor.scripts) await copy.waitFor();
  const quickCreateUrl = await page.getByRole("link", { name: connector.quickCreate }).getAttribute("href");
  const { hostname, hash } = new URL(quickCreateUrl);
  assert.match(hostname, /^([a-z0-9-]+\.)?console\.aws\.amazon\.com$/);
  const [way, query] = hash.split("?");
  assert.match(way, /^#\/stacks\/(quickcreate|create\/review)$/);
  const parameters = new URLSearchParams(query);
  assert.equal(parameters.get("param_ExternalId"), externalId);
  for (const name of ["templateURL", "stackName", "param_ProviderAccountId"]) assert.ok(parameters.get(name), name);
  return { externalId, quickCreateUrl };
}

/** Moves from way to way by keyboard, and checks that each is filled in. */
async function looksAtEachWay({ page }, externalId) {
  const { first, ...others } = connector.ways;
  await page.getByRole("radio", { name: first }).focus();
  for (const way of Object.values(others)) {
    await page.keyboard.press("ArrowRight");
    assert.ok(await page.getByRole("radio", { name: way }).isChecked(), way);
    const code = page.getByRole("region", { name: way }).locator("pre");
    await code.waitFor();
    assert.ok((await code.innerText()).includes(externalId), way);
    assert.equal(await page.locator("pre:visible").count(), 1, "several ways are shown");
  }
  await page.getByRole("radio", { name: first }).check();
}

/** Connects a role that is refused: the field keeps its value and shows the reason. */
export async function isRefused(visitor, { roleArn, because }) {
  const role = visitor.page.getByLabel(connector.role);
  await role.fill(roleArn);
  await visitor.refused([422], async () => {
    await visitor.page.getByRole("button", { name: connector.connect }).click();
    await visitor.sees(visitor.page.getByText(because));
  });
  assert.equal(await role.inputValue(), roleArn);
  assert.equal(await role.getAttribute("aria-invalid"), "true");
  const error = visitor.page.locator(`[id="${await role.getAttribute("aria-describedby")}"]`);
  await visitor.sees(error.getByText(because));
  await visitor.sees(visitor.heading(badges.notConnected));
  await visitor.inspect();
}

export async function connects(visitor, { roleArn }) {
  await visitor.page.getByLabel(connector.role).fill(roleArn);
  await visitor.page.getByRole("button", { name: connector.connect }).click();
  await visitor.sees(visitor.heading(badges.notConnected));
  await visitor.sees(visitor.fact(connector.connected).getByText(roleArn));
  await visitor.inspect();
  await visitor.page.getByRole("button", { name: connector.again }).click();
  await visitor.sees(visitor.page.getByText(connector.works));
}

export async function disconnects(visitor) {
  await visitor.page.getByRole("link", { name: connector.disconnect, exact: true }).click();
  await visitor.sees(visitor.heading(connector.reallyDisconnect));
  await visitor.inspect();
  await visitor.page.getByRole("button", { name: connector.disconnect, exact: true }).click();
  await visitor.sees(visitor.heading(badges.disconnected));
  await visitor.sees(visitor.page.getByText(connector.isDisconnected));
  await visitor.inspect();
}
