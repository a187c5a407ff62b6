// A browser that reaches only the pages, and visitors in it who report errors, foreign requests and accessibility problems.

import { chromium } from "playwright-core";
import axe from "axe-core/axe.min.js";
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, statfsSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");
const folder = path.join(root, ".tools/browser");

/** Of the platform's page that signs in; as in tests/src/fixture.rs. No server has it: routes answer. */
export const PLATFORM_ORIGIN = "http://localhost:5173";

/** Of a page with all that it loads, as it is transferred. */
const MAX_PAGE_BYTES = 60_000;

/** Of each wait for an element or an address. */
const WAIT_TIMEOUT_MS = 10_000;

/** With less, Chromium's pages may crash. */
const MIN_SHARED_MEMORY_BYTES = 512 << 20;

/** The rules of axe-core whose findings depend on the color scheme. */
const COLOR_RULES = ["color-contrast", "link-in-text-block"];

/** In CSS pixels. */
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
/** To which a page must reflow, by WCAG 2.2, success criterion 1.4.10. */
const NARROWEST = { width: 320, height: 640 };

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
  // No other host has an address.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
  "--no-proxy-server",
];

export function launch() {
  return chromium.launch({
    executablePath: path.join(folder, "chromium"),
    args: FLAGS,
    // With this default, each bitmap that is painted becomes a file on the disk. A container with little shared memory
    // needs it.
    ignoreDefaultArgs: hasSharedMemory() ? ["--disable-dev-shm-usage"] : [],
    env: {
      ...process.env,
      LD_LIBRARY_PATH: path.join(folder, "lib"),
      FONTCONFIG_FILE: path.join(folder, "fonts.conf"),
    },
  });
}

function hasSharedMemory() {
  try {
    const { bavail, bsize } = statfsSync("/dev/shm");
    return bavail * bsize > MIN_SHARED_MEMORY_BYTES;
  } catch {
    return false;
  }
}

/** A person with cookies of their own. */
export class Visitor {
  static async arrive(browser, base, { scripts = true } = {}) {
    const context = await browser.newContext({
      javaScriptEnabled: scripts,
      viewport: DESKTOP,
      reducedMotion: "reduce",
      locale: "en-GB",
      timezoneId: "UTC",
      // To read what a copy button copied.
      permissions: ["clipboard-read", "clipboard-write"],
    });
    context.setDefaultTimeout(WAIT_TIMEOUT_MS);
    const visitor = new Visitor();
    Object.assign(visitor, { browser, base, scripts, context, complaints: [], refusals: new Set() });
    context.on("console", (message) => visitor.#checkMessage(message));
    context.on("weberror", (error) => visitor.complaints.push(`a script failed: ${error.error().stack}`));
    context.on("request", (request) => visitor.#checkRequest(request));
    context.on("response", (response) => visitor.#checkResponse(response));
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

  #checkMessage(message) {
    // #checkResponse reports answers with an error status.
    if (message.text().startsWith("Failed to load resource: the server responded with")) return;
    if (["error", "warning"].includes(message.type())) this.complaints.push(`on the console: ${message.text()}`);
  }

  #checkRequest(request) {
    const url = request.url();
    if ([`${this.base}/`, "data:", `${PLATFORM_ORIGIN}/`].every((known) => !url.startsWith(known))) this.complaints.push(`a request to ${url}`);
  }

  #checkResponse(response) {
    if (response.status() < 400 || this.refusals.has(response.status())) return;
    this.complaints.push(`${response.status()} for ${response.request().method()} ${response.url()}`);
  }

  /** Opens an address below the base. */
  goto(address) {
    return this.page.goto(`${this.base}/${address}`);
  }

  /** Runs an action whose answers may have these error statuses. */
  async refused(statuses, action) {
    this.refusals = new Set(statuses);
    const result = await action();
    this.refusals = new Set();
    return result;
  }

  /** Waits until an element is visible. */
  async sees(locator) {
    await locator.filter({ visible: true }).first().waitFor();
    return locator;
  }

  heading(name) {
    return this.page.getByRole("heading", { level: 1, name });
  }

  /** The description of a term. */
  fact(term) {
    const terms = this.page.getByRole("term").filter({ hasText: term });
    return terms.locator("xpath=following-sibling::dd");
  }

  /**
   * Checks accessibility in light and dark colors, and the width on phones. With `everyScreen`, checks accessibility on
   * phones as well.
   */
  async inspect({ everyScreen = false } = {}) {
    // Without scripts, axe-core can't run. The page is the same.
    if (!this.scripts) return;
    await this.page.evaluate(axe.source);
    const before = this.page.viewportSize();
    for (const screen of [DESKTOP, PHONE, NARROWEST]) {
      await this.page.setViewportSize(screen);
      if (everyScreen || screen === DESKTOP) await this.#runAxe(screen);
      const width = await this.page.evaluate(() => document.documentElement.scrollWidth);
      if (width > screen.width) this.complaints.push(`${this.page.url()} is ${width} pixels wide on a screen of ${screen.width}`);
    }
    await this.page.setViewportSize(before);
  }

  async #runAxe({ width }) {
    for (const [colorScheme, options] of [["light", {}], ["dark", { runOnly: COLOR_RULES }]]) {
      await this.page.emulateMedia({ colorScheme });
      // Describing each element that passes, and sending that, would take longer than the checks.
      const [passed, violations] = await this.page.evaluate(async (options) => {
        const { passes, violations } = await axe.run({ ...options, resultTypes: ["violations"] });
        return [passes.length, violations];
      }, options);
      assert.ok(passed > 0, "axe-core checked nothing");
      for (const { id, impact, help, nodes } of violations) {
        const where = nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join("\n    ");
        const what = `${id}, ${impact}: ${help}\n    ${where}`;
        this.complaints.push(`axe-core in ${colorScheme} at ${this.page.url()}, ${width} pixels wide: ${what}`);
      }
    }
    await this.page.emulateMedia({ colorScheme: "light" });
  }

  /** Loads an address with an empty cache, and returns the bytes of all answers. */
  async weigh(address) {
    const context = await this.browser.newContext({ storageState: await this.context.storageState() });
    const page = await context.newPage();
    const loaded = [];
    page.on("requestfinished", (request) => loaded.push(request));
    await page.goto(`${this.base}/${address}`, { waitUntil: "load" });
    const sizes = await Promise.all(loaded.map((request) => request.sizes()));
    await context.close();
    const bytes = sizes.reduce((sum, it) => sum + it.responseBodySize + it.responseHeadersSize, 0);
    assert.ok(bytes < MAX_PAGE_BYTES, `/${address} takes ${bytes} bytes, not less than ${MAX_PAGE_BYTES}`);
    return bytes;
  }

  /** Describes the page after a failed step, with a screenshot. */
  async describe() {
    const pictures = path.join(root, "target/browser");
    mkdirSync(pictures, { recursive: true });
    const picture = path.join(mkdtempSync(path.join(pictures, "failure-")), "page.png");
    await this.page.screenshot({ path: picture, fullPage: true });
    const outline = await this.page.locator("body").ariaSnapshot({ timeout: 2_000 });
    return `at ${this.page.url()}, see ${picture}\n${outline.slice(0, 6_000)}`;
  }
}
