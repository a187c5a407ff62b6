// Pages with one thing wrong each, none of them the platform's: the visitors have to notice.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { Visitor } from "../browser.js";

const page = (body) => `<!doctype html><html lang="en"><title>Page</title><main><h1>Page</h1>${body}</main></html>`;
const script = (text) => page(`<script>${text}</script>`);

const WRONG = {
  "an error on the console": { body: script('console.error("oh")'), noticed: /^on the console: oh/ },
  "a script that fails": { body: script("null.oh"), noticed: /^a script failed: TypeError/ },
  "an inline style": {
    body: page('<p style="color: red">oh</p>'),
    policy: "style-src 'none'",
    noticed: /^on the console: .*style-src/,
  },
  "something from elsewhere": { body: page('<img src="http://127.0.0.2:9" alt="">'), noticed: /^a request to http/ },
  "something that is missing": { body: page('<img src="missing.png" alt="">'), noticed: /^404 for GET/ },
  "a field without a label": { body: page("<input>"), noticed: /^axe-core in light .* label, critical/ },
  "a page too wide for a phone": { body: page(`<p>${"o".repeat(100)}h</p>`), noticed: /pixels wide on a phone/ },
  "pale text in the dark": {
    body: page("<style>@media (prefers-color-scheme: dark) { p { color: #ccc } }</style><p>oh</p>"),
    noticed: /^axe-core in dark .* color-contrast, serious/,
  },
};

export async function noticesWhatIsWrong({ browser }) {
  const server = createServer((request, response) => {
    const { body, policy } = WRONG[decodeURIComponent(request.url.slice(1))] ?? {};
    if (!body) return response.writeHead(request.url === "/favicon.ico" ? 204 : 404).end();
    response.writeHead(200, { "content-type": "text/html", ...(policy && { "content-security-policy": policy }) });
    return response.end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const base = `http://127.0.0.1:${server.address().port}`;
  for (const [what, { noticed }] of Object.entries(WRONG)) {
    const visitor = await Visitor.arrive(browser, base);
    await visitor.goto(encodeURIComponent(what));
    await visitor.inspect();
    const { complaints } = visitor;
    assert.ok(complaints.some((it) => noticed.test(it)), `${what}: ${JSON.stringify(complaints)}`);
    await visitor.context.close();
  }
  server.close();
}
