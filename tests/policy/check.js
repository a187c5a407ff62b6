// Judges the templates' IAM policies with an independent implementation of IAM, and other properties of the templates.
// Needs no AWS account.

import { runSimulation } from "@cloud-copilot/iam-simulate";
import * as api from "./api.js";
import * as exports from "./cases.js";
import * as operator from "./operator.js";
import { facts } from "./properties.js";
import { partitions, refusal } from "./template.js";
import * as webhook from "./webhook.js";

const accountIn = (arn) => arn.split(":")[4];

async function judge({ principal, identity, action, resource, account, resourcePolicy, context = {} }) {
  const outcome = await runSimulation(
    {
      request: {
        principal,
        action,
        resource: { resource, accountId: account ?? accountIn(resource) },
        contextVariables: context,
      },
      identityPolicies: identity ? [{ name: "identity", policy: identity }] : [],
      resourcePolicy,
      serviceControlPolicies: [],
      resourceControlPolicies: [],
    },
    {},
  );
  if (outcome.resultType === "error") return `error: ${JSON.stringify(outcome.errors)}`;
  // A request with a context key that the action doesn't have proves nothing.
  const { ignoredContextKeys = [] } = outcome.result ?? {};
  if (ignoredContextKeys.length > 0) return `error: ignored ${ignoredContextKeys}`;
  return outcome.overallResult;
}

let passed = 0;
let failed = 0;

function report(cells, expected, actual) {
  const ok = expected === actual;
  if (ok) passed += 1;
  else failed += 1;
  const line = [ok ? "ok  " : "FAIL", ...cells, actual].join("  ");
  console.log(ok ? line : `${line}  (expected ${expected})`);
}

for (const [whose, template, values] of [
  ["customer", exports.customerTemplate, exports.values],
  ["platform", exports.platformTemplate, api.values],
  ["webhook", webhook.template, webhook.values],
]) {
  console.log(`Values of the ${whose} template's parameters\n`);
  for (const { parameter, value, refused } of values) {
    const actual = refusal(template, parameter, value) ? "refused" : "accepted";
    report([parameter.padEnd(17), JSON.stringify(value).padEnd(76)], refused ? "refused" : "accepted", actual);
  }
  console.log();
}

const { Metadata, Outputs } = exports.customerTemplate;
report(["Metadata.TemplateVersion is the output's"], Metadata.TemplateVersion, Outputs.TemplateVersion.Value);
for (const [title, expected, actual] of facts()) report([title.padEnd(60)], expected, actual);

for (const partition of partitions) {
  console.log(`\nRequests, partition ${partition}\n`);
  for (const request of [exports, api, operator, webhook].flatMap((module) => module.requests(partition))) {
    const { group, title, action, expected } = request;
    report([group.padEnd(21), title.padEnd(40), action.padEnd(28)], expected, await judge(request));
  }
}

console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
