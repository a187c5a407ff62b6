// Records audit events over HTTP. Needs Node.js 20, and no packages.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const ATTEMPTS = 7;
const RETRIED = [429, 500, 502, 503, 504];

async function send(request) {
  const answer = await fetch(request, { signal: AbortSignal.timeout(35_000) }); // the API answers within 30 seconds
  const { status } = answer;
  const text = await answer.text();
  const retryAfter = Number(answer.headers.get("retry-after")) || 0; // ignores a date
  return { status, text, failure: `${status}: ${text}`, retryAfter };
}

function resultsIn(text) {
  try {
    return JSON.parse(text).results;
  } catch {
    return undefined;
  }
}

/** Sends events, each with an id of its own, and returns the result of each. */
export async function record(events, api, token) {
  const request = new Request(`${api}/v1/events`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ events }),
  });
  for (let attempt = 0; ; attempt += 1) {
    const lost = (error) => ({ status: 503, failure: `${error.cause ?? error}`, retryAfter: 0 });
    const answer = await send(request.clone()).catch(lost);
    if (!RETRIED.includes(answer.status)) {
      const results = resultsIn(answer.text);
      if (results) return results;
      throw new Error(`the request is refused, ${answer.failure}; an earlier attempt may have stored events`);
    }
    if (attempt === ATTEMPTS - 1) {
      throw new Error(`keep the events with their ids, and send them later: ${answer.failure}`);
    }
    const backoff = (0.5 + Math.random() / 2) * 2 ** attempt;
    await sleep(1_000 * Math.max(answer.retryAfter, backoff));
  }
}

const login = {
  id: randomUUID(),
  logType: "Authentication",
  action: "Login",
  user: { id: "usr_01", name: "Priya Raman", email: "priya.raman@acme.example" },
  additionalInfo: { ip: "192.0.2.7", mfa: true },
};
for (const { status, reason } of await record([login], process.env.API, process.env.EVENTS_TOKEN)) {
  // Correct an event that is refused: sending it again doesn't help.
  console.log(status, reason ?? "");
}
