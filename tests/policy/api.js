// As cases.js, for the console's and the recorder's roles and the ingestion queue.

import {
  ADMINISTRATOR,
  ALLOWED,
  CUSTOMER,
  FORBIDDEN,
  PLATFORM,
  platformTemplate,
  record,
  REFUSED,
  STRANGER,
} from "./cases.js";
import { place, stack } from "./template.js";

/** The parameters that are lists of origins. */
const ORIGINS = ["AllowedOrigins", "SignInOrigins"];

/** Values of the platform's parameters that must not reach a policy or a browser, and similar harmless ones. */
export const values = [
  ...[
    "*",
    "https://*",
    "https://*.acme.example",
    "null",
    "https://app.acme.example/",
    "https://a.example,*",
    "https://a.example, https://b.example",
    "http://app.acme.example",
    "https://a.example,http://b.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://127a0b0c1",
  ].flatMap((value) => ORIGINS.map((parameter) => ({ parameter, value, refused: true }))),
  ...["", "https://app.acme.example", "https://a.example:8443,http://localhost:5173,http://127.0.0.1"].flatMap((value) =>
    ORIGINS.map((parameter) => ({ parameter, value, refused: false })),
  ),
  ...["*", "arn:aws:iam::*:root", `arn:aws:iam::${STRANGER}:role/*`, `arn:aws:iam::${STRANGER}:root,*`].map((value) => ({
    parameter: "EventSenders",
    value,
    refused: true,
  })),
  ...["", `arn:aws:iam::${STRANGER}:root`, `arn:aws-cn:iam::${STRANGER}:role/a/b,arn:aws-cn:iam::${CUSTOMER}:root`].map(
    (value) => ({ parameter: "EventSenders", value, refused: false }),
  ),
  ...["*", "o-*", "o-short", "r-a1b2c3d4e5"].map((value) => ({ parameter: "OrganizationId", value, refused: true })),
  ...["", "o-a1b2c3d4e5"].map((value) => ({ parameter: "OrganizationId", value, refused: false })),
  ...["short", "0123456789abcdef,", "0123456789abcdef,short", "0123456789 abcdef"].map((value) => ({
    parameter: "OriginSecret",
    value,
    refused: true,
  })),
  ...["", "0123456789abcdef", "0123456789abcdef,A+/=_.~-A+/=_.~-"].map((value) => ({
    parameter: "OriginSecret",
    value,
    refused: false,
  })),
  ...["none", "HS256", "RS256,none", ""].map((value) => ({ parameter: "TokenAlgorithms", value, refused: true })),
  { parameter: "TokenAlgorithms", value: "PS256,EdDSA", refused: false },
  ...["http://id.test/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys", "https://me:secret@id.test/keys"].map(
    (value) => ({ parameter: "TokenJwksUrl", value, refused: true }),
  ),
  ...["", "https://id.test/keys"].map((value) => ({ parameter: "TokenJwksUrl", value, refused: false })),
  ...[
    ["TokenIssuer", "https://ä.test/", true],
    ["TokenJwks", '{"keys": [\n]}\n', false],
    ["TokenJwks", '{"kid": "ä"}', true],
    ["ExtraActions", '{"Billing": ["Invoice \\u00fc"]}', false],
    ["ExtraActions", '{"Billing": ["Invoice ü"]}', true],
  ].map(([parameter, value, refused]) => ({ parameter, value, refused })),
  ...["*", "arn:aws:iam::*:policy/x", "boundary"].map((value) => ({
    parameter: "PermissionsBoundaryArn",
    value,
    refused: true,
  })),
  ...["", `arn:aws-cn:iam::${PLATFORM}:policy/a/b`, "arn:aws:iam::aws:policy/PowerUserAccess"].map((value) => ({
    parameter: "PermissionsBoundaryArn",
    value,
    refused: false,
  })),
  ...["*", `arn:aws:kms:eu-west-1:${PLATFORM}:alias/logs`].map((value) => ({ parameter: "KmsKeyArn", value, refused: true })),
  ...[
    "*",
    "None",
    "1234abcd-12ab-34cd-56ef-1234567890ab",
    `arn:aws:kms:eu-west-1:${PLATFORM}:key/*`,
    `arn:aws:kms:eu-west-1:${PLATFORM}:alias/manifests`,
    `arn:aws:kms:eu-west-1:*:key/1234abcd-12ab-34cd-56ef-1234567890ab`,
  ].map((value) => ({ parameter: "ManifestKeyArn", value, refused: true })),
  ...[
    "",
    "none",
    `arn:aws-us-gov:kms:us-gov-west-1:${STRANGER}:key/1234abcd-12ab-34cd-56ef-1234567890ab`,
    `arn:aws-cn:kms:cn-north-1:${PLATFORM}:key/mrk-1234abcd12ab34cd56ef1234567890ab`,
  ].map((value) => ({ parameter: "ManifestKeyArn", value, refused: false })),
];

/** The requests to judge in one partition. */
export function requests(partition) {
  const arn = (rest) => `arn:${partition}:${rest}`;
  const sender = arn(`iam::${STRANGER}:role/billing`);
  const where = place(partition, PLATFORM);
  const closed = stack(platformTemplate, where);
  const open = stack(platformTemplate, where, { EventSenders: sender });
  const role = (account, name) => arn(`iam::${account}:role/${name}`);

  // A trust policy that allows everyone, so that only the role's own policy decides.
  const trustsEveryone = {
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { AWS: "*" }, Action: "sts:AssumeRole" }],
  };
  const by = (name, id) => (title, action, resource, expected, more = {}) => ({
    group: `${name}'s role`,
    title,
    principal: arn(`sts::${PLATFORM}:assumed-role/${id}/${name}`),
    identity: closed.property(id, "Policies", 0, "PolicyDocument"),
    action,
    resource,
    ...more,
    expected,
  });
  const console = by("console", "ConsoleRole");
  const recorder = by("recorder", "RecorderRole");

  const events = closed.arn("EventsTable");
  const tenants = closed.arn("TenantsTable");
  const exporter = closed.arn("Exporter");
  const queue = closed.arn("IngestionQueue");
  const deadLetters = closed.arn("IngestionDeadLetters");
  const stream = (id) => closed.arn(id).replace(/\*$/, "log-stream:2026/11/21");
  const table = (request, name, where, actions, expected) =>
    actions.map((action) => request(`${action} on ${name}`, `dynamodb:${action}`, where, expected));
  const common = (own, logs) => [
    own("a customer's role", "sts:AssumeRole", role(CUSTOMER, "x"), FORBIDDEN, { resourcePolicy: trustsEveryone }),
    own("a role of its own account", "sts:AssumeRole", role(PLATFORM, "x"), FORBIDDEN, { resourcePolicy: trustsEveryone }),
    own("the exporter's role", "sts:AssumeRole", closed.arn("ExporterRole"), FORBIDDEN, { resourcePolicy: trustsEveryone }),
    ...["s3:PutObject", "s3:GetObject"].map((action) =>
      own("an object of its own account", action, arn("s3:::a-bucket/x"), REFUSED, { account: PLATFORM }),
    ),
    own("pass a role", "iam:PassRole", closed.arn("ExporterRole"), REFUSED),
    own("change the exporter", "lambda:UpdateFunctionCode", exporter, REFUSED),
    ...["due", "saved", "pending"].flatMap((index) =>
      table(own, `the index ${index}`, `${tenants}/index/${index}`, ["Query", "Scan"], REFUSED),
    ),
    ...table(own, "events", events, ["Scan", "GetItem", "UpdateItem", "DeleteItem", "DeleteTable"], REFUSED),
    ...table(own, "tenants", tenants, ["Scan", "DeleteItem", "BatchWriteItem", "DeleteTable"], REFUSED),
    ...table(own, "another table", `${tenants}-2`, ["GetItem", "PutItem", "Query"], REFUSED),
    own("write its log", "logs:PutLogEvents", stream(logs), ALLOWED),
    own("write the exporter's log", "logs:PutLogEvents", stream("ExporterLogs"), REFUSED),
    own("make a log group", "logs:CreateLogGroup", stream(logs).replace(/:log-stream.*/, ""), REFUSED),
    own("send to the queue", "sqs:SendMessage", queue, REFUSED),
  ];

  const shards = (title, attributes, select, expected) =>
    recorder(title, "dynamodb:GetItem", tenants, expected, {
      context: { "dynamodb:Attributes": attributes, "dynamodb:Select": select },
    });

  // The attributes that a request writes, in addition to the keys.
  const write = (title, attributes, expected, action = "dynamodb:UpdateItem") =>
    console(title, action, tenants, expected, {
      context: { "dynamodb:Attributes": ["tenant_id", "record", ...attributes] },
    });

  // As an administrator of the principal's account, so that only the queue's policy decides.
  const send = (title, of, principal, secure, expected, action = "sqs:SendMessage") => ({
    group: "ingestion queue",
    title,
    principal,
    identity: ADMINISTRATOR,
    action,
    resource: of.arn("IngestionQueue"),
    resourcePolicy: of.property("IngestionQueuePolicy", "PolicyDocument"),
    context: { "aws:SecureTransport": secure },
    expected,
  });
  const own = role(PLATFORM, "orders");

  const become = (id, title, principal, expected) => ({
    group: `trust of ${id}`,
    title,
    principal,
    identity: principal.includes(":") ? ADMINISTRATOR : undefined,
    action: "sts:AssumeRole",
    resource: closed.arn(id),
    resourcePolicy: closed.property(id, "AssumeRolePolicyDocument"),
    expected,
  });

  return [
    ...table(
      console,
      "tenants",
      tenants,
      ["GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "ConditionCheckItem"],
      ALLOWED,
    ),
    console("read events", "dynamodb:Query", events, ALLOWED),
    ...record(console, events),
    write("a disconnect", ["due_shard"], ALLOWED),
    write("a save", ["exported_until", "next_due", "due_shard", "backoff_reset_at"], ALLOWED),
    write("an outbox", ["entries", "sequence", "dropped", "pending_shard"], ALLOWED),
    write("settings", ["external_id", "role_arn", "bucket", "version"], ALLOWED, "dynamodb:PutItem"),
    ...["dynamodb:UpdateItem", "dynamodb:PutItem"].flatMap((action) => [
      write("a lease's token", ["lease"], FORBIDDEN, action),
      write("a lease's end", ["lease_until"], FORBIDDEN, action),
      write("a lease within a save", ["exported_until", "next_due", "lease", "lease_until"], FORBIDDEN, action),
    ]),
    console("have the exporter verify or publish", "lambda:InvokeFunction", exporter, ALLOWED),
    console("invoke another function", "lambda:InvokeFunction", `${exporter}-2`, REFUSED),
    console("invoke the recorder", "lambda:InvokeFunction", closed.arn("Recorder"), REFUSED),
    console("receive from the queue", "sqs:ReceiveMessage", queue, REFUSED),
    ...common(console, "ConsoleLogs"),

    ...record(recorder, events),
    recorder("read events", "dynamodb:Query", events, REFUSED),
    shards("a tenant's shards", ["tenant_id", "record", "event_shards"], "SPECIFIC_ATTRIBUTES", ALLOWED),
    shards("its external ID beside them", ["tenant_id", "event_shards", "external_id"], "SPECIFIC_ATTRIBUTES", REFUSED),
    shards("all attributes of a tenant", ["tenant_id", "record"], "ALL_ATTRIBUTES", REFUSED),
    ...table(recorder, "tenants", tenants, ["Query", "BatchGetItem", "PutItem", "UpdateItem", "ConditionCheckItem"], REFUSED),
    ...["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"].flatMap((action) => [
      recorder(`${action} of the queue`, `sqs:${action}`, queue, ALLOWED),
      recorder(`${action} of the dead letters`, `sqs:${action}`, deadLetters, REFUSED),
    ]),
    recorder("empty the queue", "sqs:PurgeQueue", queue, REFUSED),
    recorder("invoke the exporter", "lambda:InvokeFunction", exporter, REFUSED),
    ...common(recorder, "RecorderLogs"),

    send("a role of this account, by https", closed, own, "true", ALLOWED),
    send("a role of this account, by http", closed, own, "false", FORBIDDEN),
    send("another account's, none named", closed, sender, "true", REFUSED),
    send("a named role, by https", open, sender, "true", ALLOWED),
    send("a named role, by http", open, sender, "false", FORBIDDEN),
    send("another role of that account", open, role(STRANGER, "other"), "true", REFUSED),
    send("a named role, receiving", open, sender, "true", REFUSED, "sqs:ReceiveMessage"),

    ...["ConsoleRole", "RecorderRole"].flatMap((id) => [
      become(id, "Lambda", "lambda.amazonaws.com", ALLOWED),
      become(id, "another service", "ec2.amazonaws.com", REFUSED),
      become(id, "an administrator of its account", role(PLATFORM, "administrator"), REFUSED),
    ]),
  ];
}
