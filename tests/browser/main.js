// Runs steps from stdin and answers on stdout, a line of JSON each: {"visitor", "step", "with"} is answered with
// {"visitor", "ok"} or {"visitor", "failed"}. Visitors don't wait for each other's steps. Ends with stdin, and ends the
// browser.

import { createInterface } from "node:readline";
import { launch, Visitor } from "./browser.js";
import * as connector from "./steps/connector.js";
import * as logs from "./steps/logs.js";
import * as pictures from "./steps/pictures.js";
import * as session from "./steps/session.js";
import * as settings from "./steps/settings.js";
import * as setup from "./steps/setup.js";
import * as status from "./steps/status.js";
import * as watching from "./steps/watching.js";

const steps = { ...connector, ...logs, ...pictures, ...session, ...settings, ...setup, ...status, ...watching };
const visitors = new Map();
const browser = await launch();

async function runStep({ visitor: name, step, with: parameters }) {
  if (step === "arrive") {
    visitors.set(name, await Visitor.arrive(browser, parameters.base, parameters));
    return null;
  }
  const visitor = visitors.get(name);
  if (step === "leave") {
    visitors.delete(name);
    await visitor.context.close();
    return null;
  }
  try {
    const result = await steps[step](visitor, parameters);
    if (visitor.complaints.length === 0) return result ?? null;
    throw new Error("the visitor has complaints");
  } catch (error) {
    const complaints = visitor.complaints.join("\n");
    const page = await visitor.describe().catch((reason) => `the page can't be described: ${reason}`);
    throw new Error(`${name}, ${step}: ${[error.stack, complaints, page].join("\n")}`);
  }
}

const lines = createInterface({ input: process.stdin });
// When the tests have ended, don't finish the current steps.
lines.once("close", () => process.exit());
lines.on("line", async (line) => {
  const step = JSON.parse(line);
  const answer = await runStep(step).then((ok) => ({ ok }), (error) => ({ failed: error.message }));
  process.stdout.write(`${JSON.stringify({ visitor: step.visitor, ...answer })}\n`);
});
