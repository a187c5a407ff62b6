// As cases.js, for the stack that posts notifications to a webhook.

import { ADMINISTRATOR, ALLOWED, FORBIDDEN, PLATFORM, REFUSED, STRANGER } from "./cases.js";
import { load, place, stack } from "./template.js";

export const template = load(new URL("../../infra/webhook.yaml", import.meta.url));

const BUS = "audit-log-export-notifications";

export const values = [
  ...["default", "", "*", "arn:aws:events:eu-west-1:111111111111:event-bus/x"].map((value) => ({
    parameter: "BusName",
    value,
    refused: true,
  })),
  ...[BUS, "default-2", "a/b.c_d"].map((value) => ({ parameter: "BusName", value, refused: false })),
  ...["http://hooks.acme.example/x", "https://hooks.acme.example/a b", ""].map((value) => ({
    parameter: "WebhookUrl",
    value,
    refused: true,
  })),
  { parameter: "WebhookUrl", value: "https://hooks.acme.example/x?y=z", refused: false },
  ...["Export Failed", "Audit Log Export Fail", "Audit Log Export Failed,", "Audit Log Export Failed, Audit Log Window Unsigned"].map(
    (value) => ({ parameter: "DetailTypes", value, refused: true }),
  ),
  ...["", "Audit Log Export Failed", "Audit Log Export Failed,Audit Log Window Unsigned"].map((value) => ({
    parameter: "DetailTypes",
    value,
    refused: false,
  })),
];

export function requests(partition) {
  const webhook = stack(template, place(partition, PLATFORM), { BusName: BUS, WebhookUrl: "https://hooks.acme.example/x" });
  const [destination, queue, role] = ["Webhook", "LostNotifications", "PostingRole"].map(webhook.arn);
  const rule = webhook.arn("Notifications");

  const become = (title, principal, account, source, expected) => ({
    group: "webhook's trust",
    title,
    principal,
    action: "sts:AssumeRole",
    resource: role,
    resourcePolicy: webhook.property("PostingRole", "AssumeRolePolicyDocument"),
    context: { "aws:SourceAccount": account, "aws:SourceArn": source },
    expected,
  });
  const post = (title, action, resource, expected) => ({
    group: "webhook's role",
    title,
    principal: role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/x",
    identity: webhook.property("PostingRole", "Policies", 0, "PolicyDocument"),
    action,
    resource,
    expected,
  });
  const lose = (title, source, secure, expected, more = {}) => ({
    group: "webhook's queue",
    title,
    principal: "events.amazonaws.com",
    action: "sqs:SendMessage",
    resource: queue,
    resourcePolicy: webhook.property("LostNotificationsPolicy", "PolicyDocument"),
    context: { "aws:SourceArn": source, "aws:SecureTransport": secure },
    ...more,
    expected,
  });
  const administrator = { principal: `arn:${partition}:iam::${STRANGER}:role/x`, identity: ADMINISTRATOR };

  return [
    become("the rule", "events.amazonaws.com", PLATFORM, rule, ALLOWED),
    become("another service", "ec2.amazonaws.com", PLATFORM, rule, REFUSED),
    become("another account", "events.amazonaws.com", STRANGER, rule, REFUSED),
    become("a rule on another bus", "events.amazonaws.com", PLATFORM, rule.replace(`/${BUS}/`, "/x/"), REFUSED),
    become("a rule on the default bus", "events.amazonaws.com", PLATFORM, rule.replace(`/${BUS}/`, "/"), REFUSED),
    post("the webhook", "events:InvokeApiDestination", destination, ALLOWED),
    post("another one", "events:InvokeApiDestination", destination.replace("/1b2c3d4e", "-2/1b2c3d4e"), REFUSED),
    post("another URL", "events:UpdateApiDestination", destination, REFUSED),
    post("the queue", "sqs:SendMessage", queue, REFUSED),
    lose("the rule", rule, "true", ALLOWED),
    lose("another rule", `${rule}-2`, "true", REFUSED),
    lose("the rule, by http", rule, "false", FORBIDDEN),
    lose("the rule, receiving", rule, "true", REFUSED, { action: "sqs:ReceiveMessage" }),
    lose("another account", rule, "true", REFUSED, administrator),
  ];
}
