// Pictures of the pages, for the documentation.

import path from "node:path";
import * as words from "../words.js";

/** In CSS pixels. What a page has below the highest is more of the same. */
const SCREENS = [
  { width: 1280, lowest: 800, highest: 1_200 },
  { width: 390, lowest: 844, highest: 1_600 },
];

/**
 * Takes pictures in light and dark, on a desk and on a phone, of these pages by the pictures' names; of the page as it
 * stands where there is none.
 */
export async function pictures(visitor, { folder, pages }) {
  const { page } = visitor;
  for (const [picture, name] of Object.entries(pages)) {
    if (name) await visitor.refused([401], () => visitor.goto(words.pages[name].path));
    for (const { width, lowest, highest } of SCREENS) {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: lowest });
        const whole = await page.evaluate(() => document.documentElement.scrollHeight);
        await page.setViewportSize({ width, height: Math.min(whole, highest) });
        // Whatever was done on the page may have scrolled it.
        await page.evaluate(() => scrollTo(0, 0));
        const file = path.join(folder, `${picture}-${colorScheme}-${width}.png`);
        await page.screenshot({ path: file, animations: "disabled" });
      }
    }
  }
}
