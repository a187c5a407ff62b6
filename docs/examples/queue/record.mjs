// Records an audit event through the queue. Needs `@aws-sdk/client-sqs`.

import { randomUUID } from "node:crypto";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

// The SDK sends a message again if its answer is lost. The event's id makes that one event.
const sqs = new SQSClient({
  maxAttempts: 6,
  requestHandler: { connectionTimeout: 3_000, requestTimeout: 10_000, throwOnRequestTimeout: true },
});

export async function record(event, tenant) {
  const MessageBody = JSON.stringify({ tenantId: tenant, event });
  const QueueUrl = process.env.INGESTION_QUEUE_URL;
  await sqs.send(new SendMessageCommand({ QueueUrl, MessageGroupId: tenant, MessageBody }));
}

const login = {
  id: randomUUID(),
  logType: "Authentication",
  action: "Login",
  user: { id: "usr_01", name: "Priya Raman", email: "priya.raman@acme.example" },
  additionalInfo: { ip: "192.0.2.7", mfa: true },
};
await record(login, "acme");
