// A browser that talks to the pages and to nothing else, and visitors in it who notice what goes wrong on the way.

import { chromium } from "playwright-core";
import axe from "axe-core";
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");
const folder = path.join(root, ".tools/browser");

/** What a page and all that it loads may weigh, in bytes. */
const HEAVIEST = 150 * 1024;

/** How long to wait for something, in milliseconds: a verification takes up to 20 seconds. */
const PATIENCE = 10_000;

/** The rules of axe-core whose findings a colour scheme can change. */
const COLOURS = ["color-contrast", "link-in-text-block"];

/** In CSS pixels. */
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--font-render-hinting=none",
  // Whatever else a page names has no address.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
  "--no-proxy-server",
];

export function launch() {
  return chromium.launch({
    executablePath: path.join(folder, "chromium"),
    args: FLAGS,
    env: {
      ...process.env,
      LD_LIBRARY_PATH: path.join(folder, "lib"),
      FONTCONFIG_FILE: path.join(folder, "fonts.conf"),
    },
  });
}

/** Somebody with a browser of their own: no cookie is shared with another visitor. */
export class Visitor {
  static async arrive(browser, base, { scripts = true } = {}) {
    const context = await browser.newContext({
      javaScriptEnabled: scripts,
      viewport: DESK,
      reducedMotion: "reduce",
      locale: "en-GB",
      timezoneId: "UTC",
      // To read what the copy buttons have copied.
      permissions: ["clipboard-read", "clipboard-write"],
    });
    context.setDefaultTimeout(PATIENCE);
    const visitor = new Visitor();
    Object.assign(visitor, { browser, base, scripts, context, complaints: [], refusals: new Set() });
    context.on("console", (message) => visitor.#listen(message));
    context.on("weberror", (error) => visitor.complaints.push(`a script failed: ${error.error().stack}`));
    context.on("request", (request) => visitor.#follow(request));
    context.on("response", (response) => visitor.#judge(response));
    if (scripts) {
      await context.addInitScript(() =>
        addEventListener("securitypolicyviolation", (event) =>
          console.error(`the policy forbids ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`),
        ),
      );
    }
    visitor.page = await context.newPage();
    return visitor;
  }

  #listen(message) {
    // Of answers with an error's status it is known what they are about: #judge looks at them.
    if (message.text().startsWith("Failed to load resource: the server responded with")) return;
    if (["error", "warning"].includes(message.type())) this.complaints.push(`on the console: ${message.text()}`);
  }

  #follow(request) {
    const url = request.url();
    if (!url.startsWith(`${this.base}/`) && !url.startsWith("data:")) this.complaints.push(`a request to ${url}`);
  }

  #judge(response) {
    if (response.status() < 400 || this.refusals.has(response.status())) return;
    this.complaints.push(`${response.status()} for ${response.request().method()} ${response.url()}`);
  }

  /** Opens an address below the base. */
  goto(address) {
    return this.page.goto(`${this.base}/${address}`);
  }

  /** Does something that is answered with one of these statuses, which would be a complaint otherwise. */
  async refused(statuses, action) {
    this.refusals = new Set(statuses);
    const result = await action();
    this.refusals = new Set();
    return result;
  }

  /** Waits until something is there to be seen. */
  async sees(locator) {
    await locator.filter({ visible: true }).first().waitFor();
    return locator;
  }

  heading(name) {
    return this.page.getByRole("heading", { level: 1, name });
  }

  /** What a page says about a term. */
  fact(term) {
    const said = this.page.getByRole("term").filter({ hasText: term });
    return said.locator("xpath=following-sibling::dd");
  }

  /** What axe-core finds on the page as it is, in light and in dark; and whether it is too wide for a phone. */
  async inspect() {
    // Without scripts the page is the same, and axe-core could not run in it.
    if (!this.scripts) return;
    await this.page.evaluate(axe.source);
    // In the dark only the colours are others.
    for (const [colorScheme, options] of [["light", {}], ["dark", { runOnly: COLOURS }]]) {
      await this.page.emulateMedia({ colorScheme });
      const { passes, violations } = await this.page.evaluate((options) => axe.run(options), options);
      assert.ok(passes.length > 0, "axe-core has looked at nothing");
      for (const { id, impact, help, nodes } of violations) {
        if (!["serious", "critical"].includes(impact)) continue;
        const where = nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join("\n    ");
        const what = `${id}, ${impact}: ${help}\n    ${where}`;
        this.complaints.push(`axe-core in ${colorScheme} at ${this.page.url()}: ${what}`);
      }
    }
    await this.page.emulateMedia({ colorScheme: "light" });
    const desk = this.page.viewportSize();
    await this.page.setViewportSize(PHONE);
    const width = await this.page.evaluate(() => document.documentElement.scrollWidth);
    if (width > PHONE.width) this.complaints.push(`${this.page.url()} is ${width} pixels wide on a phone`);
    await this.page.setViewportSize(desk);
  }

  /** Loads an address as a browser that has kept nothing, and weighs all that comes. */
  async weigh(address) {
    const context = await this.browser.newContext({ storageState: await this.context.storageState() });
    const page = await context.newPage();
    const loaded = [];
    page.on("requestfinished", (request) => loaded.push(request));
    await page.goto(`${this.base}/${address}`, { waitUntil: "load" });
    const sizes = await Promise.all(loaded.map((request) => request.sizes()));
    await context.close();
    const bytes = sizes.reduce((sum, it) => sum + it.responseBodySize + it.responseHeadersSize, 0);
    assert.ok(bytes < HEAVIEST, `/${address} weighs ${bytes} bytes, which is not below ${HEAVIEST}`);
    return bytes;
  }

  /** What a person needs to see why a step has failed. */
  async describe() {
    const pictures = path.join(root, "target/browser");
    mkdirSync(pictures, { recursive: true });
    const picture = path.join(mkdtempSync(path.join(pictures, "failure-")), "page.png");
    await this.page.screenshot({ path: picture, fullPage: true });
    const outline = await this.page.locator("body").ariaSnapshot({ timeout: 2_000 });
    return `at ${this.page.url()}, see ${picture}\n${outline.slice(0, 6_000)}`;
  }
}
