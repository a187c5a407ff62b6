// What each resource of a kind in the platform's template must have, whatever its name, and the size of the functions'
// environments.

import { PLATFORM, platformTemplate } from "./cases.js";
import { place, resources, stack } from "./template.js";

const where = place("aws", PLATFORM);
const KEY = `arn:aws:kms:${where.region}:${PLATFORM}:key/1234abcd-12ab-34cd-56ef-1234567890ab`;
const BOUNDARY = `arn:aws:iam::${PLATFORM}:policy/boundary`;

// Both have all resources.
const given = { NotificationEmail: "ops@example.com" };
const plain = stack(platformTemplate, where, given);
const guarded = stack(platformTemplate, where, { ...given, KmsKeyArn: KEY, PermissionsBoundaryArn: BOUNDARY });

const ids = (type) => resources(platformTemplate, type);
const quoted = (text) => JSON.stringify(text);

/** Facts as `[title, expected, actual]`. */
export function facts() {
  const rows = [];
  const same = (title, id, property, withoutKey, withKey) => {
    const shown = (of) => JSON.stringify(of.property(id, ...property)) ?? "none";
    rows.push([`${id}: ${title}`, `${withoutKey}, ${withKey}`, `${shown(plain)}, ${shown(guarded)}`]);
  };
  for (const id of ids("AWS::IAM::Role")) same("boundary", id, ["PermissionsBoundary"], "none", quoted(BOUNDARY));
  for (const id of ids("AWS::DynamoDB::Table")) {
    const encryption = JSON.stringify({ SSEEnabled: true, SSEType: "KMS", KMSMasterKeyId: KEY });
    same("key", id, ["SSESpecification"], "none", encryption);
  }
  for (const id of ids("AWS::Logs::LogGroup")) same("key", id, ["KmsKeyId"], "none", quoted(KEY));
  for (const id of ids("AWS::SQS::Queue")) {
    same("key", id, ["KmsMasterKeyId"], "none", quoted(KEY));
    same("encryption with a key of SQS", id, ["SqsManagedSseEnabled"], "true", "false");
  }

  const sources = ids("AWS::SQS::Queue").filter((id) => plain.property(id, "RedrivePolicy"));
  for (const id of ids("AWS::SQS::Queue").filter((id) => !sources.includes(id))) {
    const redrivesHere = (source) => plain.property(source, "RedrivePolicy", "deadLetterTargetArn") === plain.arn(id);
    const arns = sources.filter(redrivesHere).map((source) => plain.arn(source));
    const expected = arns.length > 0 ? { redrivePermission: "byQueue", sourceQueueArns: arns } : { redrivePermission: "denyAll" };
    const actual = plain.property(id, "RedriveAllowPolicy");
    rows.push([`${id}: the queues that may redrive to it`, JSON.stringify(expected), JSON.stringify(actual)]);
  }

  for (const id of ids("AWS::Serverless::Function")) {
    const bytes = largestEnvironment(id);
    rows.push([`${id}: the largest environment, ${bytes} bytes`, "within 4096", bytes > 4096 ? "too large" : "within 4096"]);
  }

  const { ExportConcurrency, IngestionConcurrency } = platformTemplate.Parameters;
  const left = 10 - ExportConcurrency.Default - IngestionConcurrency.Default;
  rows.push(["invocations that queues leave in a new account", "3", `${left}`]);
  const closed = stack(platformTemplate, where, { DisableExecuteApiEndpoint: "true" });
  const endpoint = (of) => of.property("Api", "DisableExecuteApiEndpoint");
  rows.push(["the API's own address is off", "false, true", `${endpoint(plain)}, ${endpoint(closed)}`]);
  const stage = platformTemplate.Resources.ApiStage;
  const routes = ids("AWS::ApiGatewayV2::Route");
  for (const [route, settings] of Object.entries(stage.Properties.RouteSettings ?? {})) {
    // API Gateway knows only routes that were created before.
    const id = routes.find((id) => platformTemplate.Resources[id].Properties.RouteKey === route);
    rows.push([`the stage waits for the route ${route}`, id, stage.DependsOn]);
    rows.push([`${route}: limits`, "EventsRateLimit, EventsBurstLimit", Object.values(settings).map(({ Ref }) => Ref).join(", ")]);
  }
  rows.push(["routes with limits of their own", "POST /v1/events", Object.keys(stage.Properties.RouteSettings ?? {}).join(", ")]);
  for (const id of ids("AWS::Serverless::Function")) {
    const reserving = stack(platformTemplate, where, { ...given, [`${id}ReservedConcurrency`]: "20" });
    const reserved = (of) => JSON.stringify(of.property(id, "ReservedConcurrentExecutions")) ?? "none";
    rows.push([`${id}: reserved concurrency`, `none, ${quoted("20")}`, `${reserved(plain)}, ${reserved(reserving)}`]);
  }
  for (const id of ["ExporterHourlyCheck", "ExportBatches"]) {
    const waitsForRights = [platformTemplate.Resources[id].DependsOn].flat().includes("ExporterAssumesRolesPolicy");
    rows.push([`${id} waits until the exporter may assume roles`, "true", `${waitsForRights}`]);
  }
  rows.push(["the exporter may queue a backlog to itself", "Allow", plain.property("Exporter", "RecursiveLoop")]);
  return [...rows, ...manifestKey()];
}

/** Which key signs manifests, by the parameter `ManifestKeyArn`, and what the template's own key is. */
function manifestKey() {
  const { Properties, DeletionPolicy, UpdateReplacePolicy } = platformTemplate.Resources.ManifestKey;
  const [made, given, none] = ["", KEY, "none"].map((ManifestKeyArn) => stack(platformTemplate, where, { ManifestKeyArn }));
  const variable = (of, name) => of.property("Exporter", "Environment", "Variables", name);
  const key = (of) => JSON.stringify(variable(of, "MANIFEST_KEY_ARN")) ?? "none";
  const name = `${PLATFORM}.${where.region}.stack`;
  const parts = [made, given, none].map((of) =>
    ["ManifestKey", "ExporterSignsPolicy"].filter((id) => of.has(id)).join(" and ") || "none of both",
  );
  return [
    ["the key of manifests: made, given, none", `${quoted(made.arn("ManifestKey"))}, ${quoted(KEY)}, none`, [made, given, none].map(key).join(", ")],
    ["what the stack has of it", "ManifestKey and ExporterSignsPolicy, ExporterSignsPolicy, none of both", parts.join(", ")],
    ["the name in signatures, with each key", `${name}, ${name}`, [made, given].map((of) => variable(of, "MANIFEST_KEY_NAME")).join(", ")],
    ["ManifestKey: kind", "ECC_NIST_P256 SIGN_VERIFY", `${Properties.KeySpec} ${Properties.KeyUsage}`],
    ["ManifestKey: when it leaves the stack", "Retain, Retain", `${DeletionPolicy}, ${UpdateReplacePolicy}`],
  ];
}

// The part of a JSON text that another JSON text has to escape. Of a key set, most is keys. A list of actions with names
// of one letter consists of quotes by half.
const ESCAPED = { TokenJwks: 1 / 4, ExtraActions: 1 / 2 };

const REGION = "x".repeat(14);

// The longest values of a `Ref` or of an ARN. CloudFormation makes a name of the stack's name (128 characters), the
// resource's id and 13 more.
const LONGEST = {
  "AWS::DynamoDB::Table": (id) => `${"x".repeat(128)}-${id}-${"x".repeat(13)}`,
  "AWS::Events::EventBus": () => "x".repeat(256),
  "AWS::IAM::Role": () => "x".repeat(64),
  "AWS::KMS::Key": () => `arn:aws-us-gov:kms:${REGION}:${PLATFORM}:key/${"x".repeat(36)}`,
  "AWS::Serverless::Function": () => `arn:aws-us-gov:lambda:${REGION}:${PLATFORM}:function:${"x".repeat(64)}`,
  "AWS::SQS::Queue": () => `https://sqs.${REGION}.amazonaws.com.cn/${PLATFORM}/${"x".repeat(80)}`,
};

const LONGEST_PSEUDO = { "AWS::AccountId": PLATFORM, "AWS::Region": REGION, "AWS::StackName": "x".repeat(128) };

function longestParameter(name) {
  if (name in LONGEST_PSEUDO) return LONGEST_PSEUDO[name];
  const { AllowedValues, MaxLength, MaxValue } = platformTemplate.Parameters[name];
  if (AllowedValues) return longest(AllowedValues.map(String));
  if (MaxValue !== undefined) return String(MaxValue);
  if (MaxLength === undefined) throw new Error(`the parameter ${name} is in an environment and has no MaxLength`);
  const escaped = Math.ceil(MaxLength * (ESCAPED[name] ?? 0));
  return '"'.repeat(escaped) + "x".repeat(MaxLength - escaped);
}

const longest = (texts) => texts.reduce((a, b) => (a.length < b.length ? b : a));

function longestValue(value) {
  if (typeof value !== "object") return String(value);
  const [[name, argument]] = Object.entries(value);
  if (name === "Fn::If") return longest(argument.slice(1).map(longestValue));
  if (name === "Fn::Sub") return argument.replace(/\$\{([\w:]+)\}/g, (_, parameter) => longestParameter(parameter));
  const id = name === "Ref" ? argument : argument[0];
  if (id === "AWS::NoValue") return "";
  if (id in platformTemplate.Parameters) return longestParameter(id);
  return LONGEST[platformTemplate.Resources[id].Type](id);
}

/**
 * The size of a function's largest environment. Lambda measures it as JSON: an environment that is too large is refused
 * with "the environment variables you have provided exceeded the 4KB limit. String measured", followed by that JSON.
 */
function largestEnvironment(id) {
  const { Variables } = platformTemplate.Globals.Function.Environment;
  const variables = { ...Variables, ...platformTemplate.Resources[id].Properties.Environment.Variables };
  const environment = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, longestValue(value)]));
  // The rules KeysHaveOneSource and KeysLeaveRoomForThePages exclude the keys themselves, or what is instead of them.
  const without = (names) => {
    const blank = Object.fromEntries(names.filter((name) => name in environment).map((name) => [name, ""]));
    return JSON.stringify({ ...environment, ...blank }).length;
  };
  const insteadOfKeys = ["TOKEN_JWKS_URL", "LOGO_URL", "SIGN_IN_URL", "FRAME_ANCESTORS"];
  return Math.max(without(insteadOfKeys), without(["TOKEN_JWKS"]));
}
