// As cases.js, for the policy of docs/offboarding.md, with which an operator erases one tenant.

import { readFileSync } from "node:fs";
import { ALLOWED, PLATFORM, platformTemplate, REFUSED } from "./cases.js";
import { place, stack } from "./template.js";

const [, POLICY] = /^```json\n(.*?)\n```$/ms.exec(readFileSync(new URL("../../docs/offboarding.md", import.meta.url), "utf8"));

const TENANT = "acme";

export function requests(partition) {
  const where = place(partition, PLATFORM);
  const platform = stack(platformTemplate, where);
  const [tenants, events] = [platform.arn("TenantsTable"), platform.arn("EventsTable")];
  const ofStack = `arn:${partition}:cloudformation:${where.region}:${PLATFORM}:stack/audit-log-export`;
  const values = {
    region: where.region,
    account: PLATFORM,
    stack: "audit-log-export",
    TenantsTableName: tenants.split("/")[1],
    EventsTableName: events.split("/")[1],
    tenant: TENANT,
  };
  const policy = POLICY.replace(/<(\w+)>/g, (_, name) => values[name]).replaceAll("arn:aws:", `arn:${partition}:`);
  const operate = (title, action, resource, key, expected) => ({
    group: "operator",
    title,
    principal: `arn:${partition}:sts::${PLATFORM}:assumed-role/operator/x`,
    identity: JSON.parse(policy),
    action,
    resource,
    context: key === undefined ? {} : { "dynamodb:LeadingKeys": [].concat(key) },
    expected,
  });
  const others = ["acme-2", "ACME", "#platform", ["acme", "acme-2"]];
  const othersEvents = ["acme-2#0", "ACME#0", "acme", ["acme#0", "acme-2#0"]];
  return [
    operate("look up the tables", "cloudformation:DescribeStacks", `${ofStack}/1b2c3d4e`, undefined, ALLOWED),
    operate("look up another stack", "cloudformation:DescribeStacks", `${ofStack}-2/1b2c3d4e`, undefined, REFUSED),
    ...["BatchGetItem", "Query", "PutItem", "DeleteItem", "BatchWriteItem", "ConditionCheckItem"].flatMap((name) => [
      operate("the tenant's records", `dynamodb:${name}`, tenants, TENANT, ALLOWED),
      ...others.map((key) => operate(`records of ${key}`, `dynamodb:${name}`, tenants, key, REFUSED)),
      operate("another table", `dynamodb:${name}`, `${tenants}-2`, TENANT, REFUSED),
    ]),
    ...["Query", "BatchWriteItem"].flatMap((name) => [
      ...["acme#0", "acme#63", "acme#id#7f"].map((key) => operate(key, `dynamodb:${name}`, events, key, ALLOWED)),
      ...othersEvents.map((key) => operate(`events of ${key}`, `dynamodb:${name}`, events, key, REFUSED)),
    ]),
    ...["Scan", "UpdateItem", "DeleteTable", "UpdateTimeToLive"].map((name) =>
      operate(`${name} on tenants`, `dynamodb:${name}`, tenants, undefined, REFUSED),
    ),
    ...["PutItem", "DeleteItem", "Scan"].map((name) =>
      operate(`${name} on events`, `dynamodb:${name}`, events, name === "Scan" ? undefined : "acme#0", REFUSED),
    ),
  ];
}
