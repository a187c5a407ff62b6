// Screenshots of the pages for the documentation.

import path from "node:path";
import * as words from "../words.js";

/** In CSS pixels. A screenshot ends at the greatest height. */
const SCREENS = [
  { width: 1280, minHeight: 800, maxHeight: 1_200 },
  { width: 390, minHeight: 844, maxHeight: 1_600 },
];

/**
 * Takes screenshots in light and dark colors, for desktop and phone. `pages` has the page of each screenshot by its name;
 * null is the page as it is.
 */
export async function pictures(visitor, { folder, pages }) {
  const { page } = visitor;
  for (const [picture, name] of Object.entries(pages)) {
    if (name) await visitor.refused([401], () => visitor.goto(words.pages[name].path));
    for (const { width, minHeight, maxHeight } of SCREENS) {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: minHeight });
        const whole = await page.evaluate(() => document.documentElement.scrollHeight);
        await page.setViewportSize({ width, height: Math.min(whole, maxHeight) });
        // Earlier steps may have scrolled the page.
        await page.evaluate(() => scrollTo(0, 0));
        const file = path.join(folder, `${picture}-${colorScheme}-${width}.png`);
        await page.locator(".waiting").waitFor({ state: "detached" });
        await page.screenshot({ path: file, animations: "disabled" });
      }
    }
  }
}
