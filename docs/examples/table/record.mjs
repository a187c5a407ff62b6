// Puts audit events straight into the events table. Needs `@aws-sdk/client-dynamodb` and `@aws-sdk/lib-dynamodb`.

import { randomUUID } from "node:crypto";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, PutCommand } from "@aws-sdk/lib-dynamodb";

const GIVE_UP_MILLISECONDS = 25_000; // less than half of SETTLE_SECONDS, retries included
const KEPT_SECONDS = 90 * 86_400; // at least EventsRetentionDays; if that is 0, leave expires_at out
const dynamodb = DynamoDBDocumentClient.from(
  new DynamoDBClient({
    requestHandler: { connectionTimeout: 3_000, requestTimeout: 5_000, throwOnRequestTimeout: true },
  }),
);

/** To repeat a write that failed, call this again: it makes a new stamp. The event may then be stored twice. */
export async function record(event, tenant) {
  const now = new Date();
  const recordedAt = now.toISOString();
  const Item = {
    tenant_shard: `${tenant}#0`,
    recorded_at_id: `${recordedAt}#${event.id}`,
    event: JSON.stringify({ ...event, date: recordedAt }),
    action: event.action,
    log_type: event.logType,
    ...(event.user.email && { user_email: event.user.email }),
    expires_at: Math.floor(now.getTime() / 1_000) + KEPT_SECONDS,
  };
  const abortSignal = AbortSignal.timeout(GIVE_UP_MILLISECONDS);
  await dynamodb.send(new PutCommand({ TableName: process.env.EVENTS_TABLE, Item }), { abortSignal });
}

const login = {
  id: randomUUID(),
  logType: "Authentication",
  action: "Login",
  user: { id: "usr_01", name: "Priya Raman", email: "priya.raman@acme.example" },
  additionalInfo: { ip: "192.0.2.7", mfa: true },
};
const scan = {
  id: randomUUID(),
  logType: "Scan",
  action: "Scan Completed",
  user: { id: "system" },
  additionalInfo: {},
};
for (const event of [login, scan]) await record(event, "acme");
