// Pages with one fault each, which visitors must report.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { Visitor } from "../browser.js";

const page = (body) => `<!doctype html><html lang="en"><title>Page</title><main><h1>Page</h1>${body}</main></html>`;
const script = (text) => page(`<script>${text}</script>`);

const FAULTS = {
  "an error on the console": { body: script('console.error("oh")'), expected: /^on the console: oh/ },
  "a script that fails": { body: script("null.oh"), expected: /^a script failed: TypeError/ },
  "an inline style": {
    body: page('<p style="color: red">oh</p>'),
    policy: "style-src 'none'",
    expected: /^on the console: .*style-src/,
  },
  "something from elsewhere": { body: page('<img src="http://127.0.0.2:9" alt="">'), expected: /^a request to http/ },
  "something that is missing": { body: page('<img src="missing.png" alt="">'), expected: /^404 for GET/ },
  "a field without a label": { body: page("<input>"), expected: /^axe-core in light .* label, critical/ },
  "a page too wide for a phone": { body: page(`<p>${"o".repeat(100)}h</p>`), expected: /pixels wide on a screen of 320/ },
  "pale text in the dark": {
    body: page("<style>@media (prefers-color-scheme: dark) { p { color: #ccc } }</style><p>oh</p>"),
    expected: /^axe-core in dark .* color-contrast, serious/,
  },
};

export async function noticesWhatIsWrong({ browser }) {
  const server = createServer((request, response) => {
    const { body, policy } = FAULTS[decodeURIComponent(request.url.slice(1))] ?? {};
    if (!body) return response.writeHead(request.url === "/favicon.ico" ? 204 : 404).end();
    response.writeHead(200, { "content-type": "text/html", ...(policy && { "content-security-policy": policy }) });
    return response.end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const base = `http://127.0.0.1:${server.address().port}`;
  for (const [fault, { expected }] of Object.entries(FAULTS)) {
    const visitor = await Visitor.arrive(browser, base);
    await visitor.goto(encodeURIComponent(fault));
    await visitor.inspect();
    const { complaints } = visitor;
    assert.ok(complaints.some((it) => expected.test(it)), `${fault}: ${JSON.stringify(complaints)}`);
    await visitor.context.close();
  }
  server.close();
}
