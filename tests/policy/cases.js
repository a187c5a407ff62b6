// What the rendered policies must allow and refuse. Each refused request differs from an allowed one only in what its title
// names, so that the refusal proves something.

import { readFileSync } from "node:fs";
import { load, place, resources, stack } from "./template.js";

export const PLATFORM = "111111111111";
export const CUSTOMER = "222222222222";
export const STRANGER = "333333333333";

export const platformTemplate = load(new URL("../../infra/template.yaml", import.meta.url));
export const customerTemplate = load(new URL("../../cloudformation/audit-log-export-role.yaml", import.meta.url));

const accountOf = (arn) => arn.split(":")[4];

export const ALLOWED = "Allowed";
export const REFUSED = "ImplicitlyDenied";
export const FORBIDDEN = "ExplicitlyDenied";

// For principals that only the other side's policy must stop.
export const ADMINISTRATOR = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "*", Resource: "*" }] };

/** Values of the customers' parameters that must not reach a policy, and similar harmless ones. */
export const values = [
  ...["*", "security/*", "sec?rity", "${aws:username}", "/security", "security/", "a//b", ".", "..", "a/../b", "a/."].map(
    (value) => ({ parameter: "BucketPrefix", value, refused: true }),
  ),
  ...["", "security", "security/saas", "it's(ok)!", "...", ".hidden/..a"].map((value) => ({
    parameter: "BucketPrefix",
    value,
    refused: false,
  })),
  ...["ops", "@acme.example", "a b@acme.example", "a@b@c", "a".repeat(255)].map((value) => ({
    parameter: "AlarmEmail",
    value,
    refused: true,
  })),
  ...["", "ops@acme.example", "audit+logs@acme.example"].map((value) => ({ parameter: "AlarmEmail", value, refused: false })),
  ...[1, 169].map((value) => ({ parameter: "AlarmAfterHours", value, refused: true })),
  ...[2, 27, 168].map((value) => ({ parameter: "AlarmAfterHours", value, refused: false })),
  ...["acme*", "acme/logs", "acme:logs", "10.0.0.1", "xn--acme", "acme-s3alias", "acme--xa-s3", "a".repeat(256)].map((value) => ({
    parameter: "BucketName",
    value,
    refused: true,
  })),
  // The last ones are names of buckets that were made in us-east-1 before March 2018.
  ...["acme-logs", "acme.logs", "a1b", "ABCD_Central_1", "acme..logs", "-acme", "A".repeat(255)].map((value) => ({
    parameter: "BucketName",
    value,
    refused: false,
  })),
  ...["*", "acme/", "acme?", "a.b", "${aws:username}", "a".repeat(65)].map((value) => ({ parameter: "TenantId", value, refused: true })),
  ...["", "acme", "A_b-1", "a".repeat(64)].map((value) => ({ parameter: "TenantId", value, refused: false })),
  ...["", "x", "two words", "*", "${aws:username}"].map((value) => ({ parameter: "ExternalId", value, refused: true })),
  { parameter: "ExternalId", value: "A-z_0+=,.@:/", refused: false },
  ...["*", "audit-log-*", "audit-log-exporter/x", ""].map((value) => ({
    parameter: "ProviderRoleName",
    value,
    refused: true,
  })),
  ...["*", "", "11111111111"].map((value) => ({ parameter: "ProviderAccountId", value, refused: true })),
  ...[
    "*",
    `arn:aws:kms:eu-west-1:${CUSTOMER}:alias/logs`,
    `arn:aws:kms:eu-west-1:${CUSTOMER}:key/*`,
    `arn:aws:kms:eu-west-1:*:key/1234abcd-12ab-34cd-56ef-1234567890ab`,
  ].map((value) => ({ parameter: "KmsKeyArn", value, refused: true })),
  ...["aws", "aws-cn", "aws-eusc", "aws-us-gov"].map((partition) => ({
    parameter: "KmsKeyArn",
    value: `arn:${partition}:kms:some-region-1:${CUSTOMER}:key/mrk-1234abcd12ab34cd56ef1234567890ab`,
    refused: false,
  })),
];

/** Events are written within transactions alone. A plain put could return the event that it replaces. */
export const record = (own, events) =>
  [
    own("record an event", "dynamodb:PutItem", events, ALLOWED, {
      context: { "dynamodb:EnclosingOperation": ["TransactWriteItems"] },
    }),
    own("put an event outside of a transaction", "dynamodb:PutItem", events, REFUSED),
    own("put events as a batch", "dynamodb:BatchWriteItem", events, REFUSED),
  ];

/** Uses of the platform's own key by the role `id`, through each service in turn. */
const useOfKey = (id, policy, partition, services) => {
  const where = place(partition, PLATFORM);
  const key = `arn:${partition}:kms:${where.region}:${PLATFORM}:key/1234abcd-12ab-34cd-56ef-1234567890ab`;
  const identity = (parameters) => stack(platformTemplate, where, parameters).property(id, ...policy);
  const use = (title, expected, action, service, { parameters = { KmsKeyArn: key }, resource = key } = {}) => ({
    group: id,
    title,
    principal: `arn:${partition}:sts::${PLATFORM}:assumed-role/${id}/x`,
    identity: identity(parameters),
    action: `kms:${action}`,
    resource,
    resourcePolicy: {
      Version: "2012-10-17",
      Statement: [
        { Effect: "Allow", Principal: { AWS: `arn:${partition}:iam::${PLATFORM}:root` }, Action: "kms:*", Resource: "*" },
      ],
    },
    context: service ? { "kms:ViaService": `${service}.${where.region}.${where.urlSuffix}` } : {},
    expected,
  });
  return [
    ...["dynamodb", "sqs"].flatMap((service) =>
      ["Decrypt", "GenerateDataKey"].map((action) =>
        use(`through ${service}`, services.includes(service) ? ALLOWED : REFUSED, action, service),
      ),
    ),
    use("the key directly", REFUSED, "Decrypt"),
    use("through another service", REFUSED, "Decrypt", "s3"),
    use("create a grant", REFUSED, "CreateGrant", "dynamodb"),
    use("another key", REFUSED, "Decrypt", "dynamodb", { resource: key.replace("1234abcd", "ffffffff") }),
    use("no key given", REFUSED, "Decrypt", "dynamodb", { parameters: {} }),
  ];
};

const [, KEY_POLICY] = /^```json\n(\{\n  "Version".*?"TheExporterSigns".*?\n\})\n```$/ms.exec(
  readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8"),
);

/** Who can sign manifests with the template's key, and with one of another account and the policy of docs/operations.md. */
const signatures = (partition) => {
  const where = place(partition, PLATFORM);
  const given = `arn:${partition}:kms:${where.region}:${STRANGER}:key/1234abcd-12ab-34cd-56ef-1234567890ab`;
  const [made, theirs, off] = ["", given, "none"].map((ManifestKeyArn) => stack(platformTemplate, where, { ManifestKeyArn }));
  const ours = made.arn("ManifestKey");
  const document = KEY_POLICY.replaceAll("arn:aws:", `arn:${partition}:`).replaceAll("<owner>", STRANGER);
  const policies = {
    [ours]: made.property("ManifestKey", "KeyPolicy"),
    [given]: JSON.parse(document.replaceAll("<account>", PLATFORM).replaceAll("<role>", "audit-log-exporter")),
  };
  // As a key's default policy, so that IAM policies alone decide.
  const opened = (account) => ({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { AWS: `arn:${partition}:iam::${account}:root` }, Action: "kms:*", Resource: "*" }],
  });
  const rights = (of) => ({
    Version: "2012-10-17",
    Statement: ["ExporterPolicy", "ExporterSignsPolicy"].flatMap((id) =>
      of.has(id) ? of.property(id, "PolicyDocument").Statement : [],
    ),
  });
  const DIGEST = { "kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256" };
  const by = (account, role, identity) => (title, action, key, expected, { context = DIGEST, source, policy = policies[key] } = {}) => ({
    group: `${role} of ${account}`,
    title,
    principal: `arn:${partition}:sts::${account}:assumed-role/${role}/x`,
    identity,
    action: `kms:${action}`,
    resource: key,
    resourcePolicy: policy,
    context: {
      "aws:PrincipalArn": `arn:${partition}:iam::${account}:role/${role}`,
      ...(source && { "lambda:SourceFunctionArn": source }),
      ...(action === "Sign" && context),
    },
    expected,
  });
  const source = made.arn("Exporter");
  const exporter = (of) => by(PLATFORM, "audit-log-exporter", rights(of));
  const web = ["ConsoleRole", "RecorderRole"].map((id) => by(PLATFORM, id, made.property(id, "Policies", 0, "PolicyDocument")));
  const another = (key) => key.replace(/.{4}$/, "ffff");
  return [
    ...[
      ["the template's key", exporter(made), ours, PLATFORM],
      ["a given key", exporter(theirs), given, STRANGER],
    ].flatMap(([name, own, key, owner]) => [
      own(`a digest, ${name}`, "Sign", key, ALLOWED, { source }),
      own(`a digest, ${name}, as another function`, "Sign", key, FORBIDDEN, { source: `${source}-2` }),
      own(`a digest, ${name}, as the console`, "Sign", key, FORBIDDEN, { source: made.arn("Console") }),
      own(`a digest, ${name}, as no function`, "Sign", key, FORBIDDEN),
      own(`a message, ${name}`, "Sign", key, REFUSED, { source, context: { ...DIGEST, "kms:MessageType": "RAW" } }),
      own(`by SHA-384, ${name}`, "Sign", key, REFUSED, {
        source,
        context: { ...DIGEST, "kms:SigningAlgorithm": "ECDSA_SHA_384" },
      }),
      own(`a digest, beside ${name}`, "Sign", another(key), REFUSED, { source, policy: opened(owner) }),
      own(name, "GetPublicKey", key, ALLOWED, { source }),
      own(`beside ${name}`, "GetPublicKey", another(key), REFUSED, { source, policy: opened(owner) }),
      ...["CreateGrant", "PutKeyPolicy", "DisableKey", "ScheduleKeyDeletion", "Verify"].map((action) =>
        own(name, action, key, REFUSED, { source }),
      ),
    ]),
    // After a change of the key, the old one is no longer the exporter's.
    exporter(theirs)("the template's key, another given", "Sign", ours, REFUSED, { source }),
    exporter(off)("the template's key, manifests off", "Sign", ours, REFUSED, { source }),
    exporter(off)("the template's key, manifests off", "GetPublicKey", ours, REFUSED, { source }),
    ...[PLATFORM, STRANGER].flatMap((account) =>
      [ours, given].flatMap((key) => {
        const administrator = by(account, "administrator", ADMINISTRATOR);
        const manages = accountOf(key) === account ? ALLOWED : REFUSED;
        return [
          administrator(`a digest, the key of ${accountOf(key)}`, "Sign", key, FORBIDDEN),
          ...["PutKeyPolicy", "EnableKey", "DescribeKey"].map((action) =>
            administrator(`the key of ${accountOf(key)}`, action, key, manages),
          ),
        ];
      }),
    ),
    ...web.flatMap((own) => [
      own("a digest", "Sign", ours, FORBIDDEN),
      own("a digest, if the key policy let it", "Sign", ours, REFUSED, { policy: opened(PLATFORM) }),
      own("the public key", "GetPublicKey", ours, REFUSED),
    ]),
    by(STRANGER, "audit-log-exporter", ADMINISTRATOR)("a digest, by a role of the same name", "Sign", ours, FORBIDDEN),
  ];
};

/** An administrator's requests to a queue, with and without TLS. */
const overTlsOnly = (of, id) =>
  [
    ["by https", "true", ALLOWED],
    ["by http", "false", FORBIDDEN],
  ].map(([title, secure, expected]) => ({
    group: id,
    title,
    principal: `arn:${of.where.partition}:iam::${PLATFORM}:role/administrator`,
    identity: ADMINISTRATOR,
    action: "sqs:ReceiveMessage",
    resource: of.arn(id),
    resourcePolicy: of.property(`${id}Policy`, "PolicyDocument"),
    context: { "aws:SecureTransport": secure },
    expected,
  }));

/** The requests to judge in a partition, with expected results. */
export function requests(partition) {
  const platform = stack(platformTemplate, place(partition, PLATFORM), {}, { ExporterHourlyTick: "AWS::Events::Rule" });
  const arn = (rest) => `arn:${partition}:${rest}`;
  const session = (account, role, name = "acme") => arn(`sts::${account}:assumed-role/${role}/${name}`);
  const role = (account, name) => arn(`iam::${account}:role/${name}`);
  const { region, urlSuffix } = platform.where;

  // All of the role's policies at once.
  const exporterPolicies = (of) => ({
    Version: "2012-10-17",
    Statement: ["ExporterPolicy", "ExporterAssumesRolesPolicy", "ExporterSignsPolicy"].flatMap((id) => of.property(id, "PolicyDocument").Statement),
  });
  const exporter = {
    principal: session(PLATFORM, "audit-log-exporter"),
    identity: exporterPolicies(platform),
    context: { "aws:PrincipalArn": platform.arn("ExporterRole"), "lambda:SourceFunctionArn": platform.arn("Exporter") },
  };
  const ORGANIZATION = "o-a1b2c3d4e5";
  const inOrganization = stack(
    platformTemplate,
    place(partition, PLATFORM),
    { OrganizationId: ORGANIZATION },
    { ExporterHourlyTick: "AWS::Events::Rule" },
  );
  const administrator = (account, name = "administrator") => ({
    principal: session(account, name),
    identity: ADMINISTRATOR,
    context: { "aws:PrincipalArn": role(account, name) },
  });

  const BUCKET = "acme-audit-logs";
  const KEY = arn(`kms:${region}:${CUSTOMER}:key/1234abcd-12ab-34cd-56ef-1234567890ab`);
  const customer = (parameters) =>
    stack(customerTemplate, place(partition, CUSTOMER), {
      BucketName: BUCKET,
      ExternalId: "external-id-of-acme",
      ProviderAccountId: PLATFORM,
      ...parameters,
    });
  const whole = customer({});
  const tenant = customer({ TenantId: "acme" });
  const folder = customer({ TenantId: "acme", BucketPrefix: "security", KmsKeyArn: KEY, CreateBucket: "true", RoleName: "audit-logs" });

  const trust = whole.property("ExportRole", "AssumeRolePolicyDocument");
  const assume = (title, caller, externalId, expected) => ({
    group: "customer's trust",
    title,
    ...caller,
    action: "sts:AssumeRole",
    resource: whole.arn("ExportRole"),
    resourcePolicy: trust,
    context: { ...caller.context, ...(externalId && { "sts:ExternalId": externalId }) },
    expected,
  });

  const rights = (of) => ({
    principal: session(CUSTOMER, "audit-logs", "acme-20261121T100000Z"),
    identity: of.property("ExportRole", "Policies", 0, "PolicyDocument"),
  });
  const deliver = (title, of, action, path, expected, more = {}) => ({
    group: "customer's role",
    title,
    ...rights(of),
    action,
    resource: arn(`s3:::${path}`),
    account: CUSTOMER,
    ...more,
    expected,
  });
  const keyPolicy = {
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { AWS: arn(`iam::${CUSTOMER}:root`) }, Action: "kms:*", Resource: "*" }],
  };
  const viaS3 = `s3.${region}.${urlSuffix}`;
  const encrypt = (title, of, action, via, expected, resource = KEY) => ({
    group: "customer's role",
    title,
    ...rights(of),
    action,
    resource,
    resourcePolicy: keyPolicy,
    context: via ? { "kms:ViaService": via } : {},
    expected,
  });

  const tls = (title, secure, expected, resource = `${BUCKET}/security/x.json`) => ({
    group: "customer's new bucket",
    title,
    ...administrator(CUSTOMER),
    action: resource.includes("/") ? "s3:GetObject" : "s3:ListBucket",
    resource: arn(`s3:::${resource}`),
    account: CUSTOMER,
    resourcePolicy: folder.property("BucketPolicy", "PolicyDocument"),
    context: { "aws:SecureTransport": secure },
    expected,
  });

  const watched = customer({ TenantId: "acme", AlarmEmail: "ops@acme.example", CreateGlueTable: "true" });
  const alarm = (title, principal, account, expected, action = "sns:Publish") => ({
    group: "customer's alarm topic",
    title,
    principal,
    action,
    resource: watched.arn("AlarmTopic"),
    resourcePolicy: watched.property("AlarmTopicPolicy", "PolicyDocument"),
    context: { "aws:SourceAccount": account },
    expected,
  });

  const own = (title, action, resource, expected, more = {}) => ({
    group: "exporter's role",
    title,
    ...exporter,
    action,
    resource,
    ...more,
    expected,
  });
  const events = platform.arn("EventsTable");
  const tenants = platform.arn("TenantsTable");
  const logs = platform.arn("ExporterLogs").replace(/\*$/, "log-stream:2026/11/21");
  const queue = platform.arn("LostTicks");
  // A trust policy that allows everyone, so that only the exporter's own policy decides.
  const trustsEveryone = {
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { AWS: "*" }, Action: "sts:AssumeRole" }],
  };

  const become = (title, caller, expected) => ({
    group: "exporter's trust",
    title,
    ...caller,
    action: "sts:AssumeRole",
    resource: platform.arn("ExporterRole"),
    resourcePolicy: platform.property("ExporterRole", "AssumeRolePolicyDocument"),
    expected,
  });

  const queuePolicy = platform.property("LostTicksPolicy", "PolicyDocument");
  const lose = (title, rule, expected) => ({
    group: "queue of lost ticks",
    title,
    principal: "events.amazonaws.com",
    action: "sqs:SendMessage",
    resource: queue,
    resourcePolicy: queuePolicy,
    context: { "aws:SourceArn": rule, "aws:SecureTransport": "true" },
    expected,
  });

  const mailing = stack(
    platformTemplate,
    place(partition, PLATFORM),
    { NotificationEmail: "ops@example.com" },
    { ExporterHourlyTick: "AWS::Events::Rule" },
  );
  const topic = mailing.arn("NotificationTopic");
  const publish = (title, rule, expected) => ({
    group: "topic of notifications",
    title,
    principal: "events.amazonaws.com",
    action: "sns:Publish",
    resource: topic,
    resourcePolicy: mailing.property("NotificationTopicPolicy", "PolicyDocument"),
    context: { "aws:SourceArn": rule },
    expected,
  });
  const loseEmail = (title, rule, expected) => ({
    ...lose(title, rule, expected),
    group: "queue of lost emails",
    resource: mailing.arn("LostEmails"),
    resourcePolicy: mailing.property("LostEmailsPolicy", "PolicyDocument"),
  });
  // What the key policy allows depends on the encryption context, which this implementation of IAM doesn't support.
  const seal = (title, action, principal) => ({
    group: "key of notifications",
    title,
    principal,
    action,
    resource: mailing.arn("NotificationKey"),
    resourcePolicy: mailing.property("NotificationKey", "KeyPolicy"),
    expected: REFUSED,
  });

  return [
    assume("exporter, right external ID", exporter, "external-id-of-acme", ALLOWED),
    assume("exporter, wrong external ID", exporter, "external-id-of-other", REFUSED),
    assume("exporter, external ID in other case", exporter, "External-ID-of-acme", REFUSED),
    assume("exporter, no external ID", exporter, undefined, REFUSED),
    assume("another role of the provider", administrator(PLATFORM), "external-id-of-acme", REFUSED),
    assume("a role whose name has the same beginning", administrator(PLATFORM, "audit-log-exporter-2"), "external-id-of-acme", REFUSED),
    assume("a role of that name elsewhere", administrator(STRANGER, "audit-log-exporter"), "external-id-of-acme", REFUSED),

    ...["s3:PutObject", "s3:AbortMultipartUpload"].flatMap((action) => [
      deliver(`${action} in the tenant's folder`, folder, action, `${BUCKET}/security/audit-logs/tenant=acme/x.json`, ALLOWED),
      deliver(`${action} in another tenant's folder`, folder, action, `${BUCKET}/security/audit-logs/tenant=globex/x.json`, REFUSED),
      deliver(`${action} in a folder with the same beginning`, folder, action, `${BUCKET}/security/audit-logs/tenant=acme-2/x.json`, REFUSED),
      deliver(`${action} beside the folders`, folder, action, `${BUCKET}/security/audit-logs/x.json`, REFUSED),
      deliver(`${action} under the prefix`, folder, action, `${BUCKET}/security/x.json`, REFUSED),
      deliver(`${action} beside the prefix`, folder, action, `${BUCKET}/audit-logs/tenant=acme/x.json`, REFUSED),
      deliver(`${action} under a longer prefix`, folder, action, `${BUCKET}/security-evil/audit-logs/tenant=acme/x.json`, REFUSED),
      deliver(`${action} in another bucket`, folder, action, `${BUCKET}-2/security/audit-logs/tenant=acme/x.json`, REFUSED),
      deliver(`${action}, no prefix`, tenant, action, `${BUCKET}/audit-logs/tenant=acme/x.json`, ALLOWED),
      deliver(`${action} of another tenant, no prefix`, tenant, action, `${BUCKET}/audit-logs/tenant=globex/x.json`, REFUSED),
      deliver(`${action}, no tenant`, whole, action, `${BUCKET}/audit-logs/tenant=globex/x.json`, ALLOWED),
      deliver(`${action} beside audit-logs, no tenant`, whole, action, `${BUCKET}/x.json`, REFUSED),
      deliver(`${action} in another bucket, no tenant`, whole, action, `${BUCKET}-2/audit-logs/x.json`, REFUSED),
    ]),
    alarm("an alarm of the customer", "cloudwatch.amazonaws.com", CUSTOMER, ALLOWED),
    alarm("an alarm of another account", "cloudwatch.amazonaws.com", STRANGER, REFUSED),
    alarm("another service", "events.amazonaws.com", CUSTOMER, REFUSED),
    alarm("subscribe", "cloudwatch.amazonaws.com", CUSTOMER, REFUSED, "sns:Subscribe"),
    ...["s3:GetObject", "s3:DeleteObject", "s3:PutObjectAcl", "s3:ListMultipartUploadParts"].map((action) =>
      deliver(action, folder, action, `${BUCKET}/security/audit-logs/tenant=acme/x.json`, REFUSED),
    ),
    ...["s3:ListBucket", "s3:GetBucketLocation", "s3:PutBucketPolicy"].map((action) =>
      deliver(action, whole, action, BUCKET, REFUSED),
    ),
    ...["kms:GenerateDataKey", "kms:Decrypt"].flatMap((action) => [
      encrypt(`${action} via S3`, folder, action, viaS3, ALLOWED),
      encrypt(`${action} directly`, folder, action, undefined, REFUSED),
      encrypt(`${action} via another service`, folder, action, `sqs.${region}.${urlSuffix}`, REFUSED),
      encrypt(`${action} via S3 elsewhere`, folder, action, `s3.other-region-1.${urlSuffix}`, REFUSED),
      encrypt(`${action} of another key`, folder, action, viaS3, REFUSED, KEY.replace("1234abcd", "ffffffff")),
      encrypt(`${action}, no key given`, whole, action, viaS3, REFUSED),
    ]),
    encrypt("kms:CreateGrant via S3", folder, "kms:CreateGrant", viaS3, REFUSED),

    tls("an object by https", "true", ALLOWED),
    tls("an object by http", "false", FORBIDDEN),
    tls("the bucket by https", "true", ALLOWED, BUCKET),
    tls("the bucket by http", "false", FORBIDDEN, BUCKET),
    deliver("a delivery by https", folder, "s3:PutObject", `${BUCKET}/security/audit-logs/tenant=acme/x.json`, ALLOWED, {
      resourcePolicy: folder.property("BucketPolicy", "PolicyDocument"),
      context: { "aws:SecureTransport": "true" },
    }),
    deliver("a delivery by http", folder, "s3:PutObject", `${BUCKET}/security/audit-logs/tenant=acme/x.json`, FORBIDDEN, {
      resourcePolicy: folder.property("BucketPolicy", "PolicyDocument"),
      context: { "aws:SecureTransport": "false" },
    }),

    own("a customer's role", "sts:AssumeRole", role(CUSTOMER, "x"), ALLOWED, { resourcePolicy: trustsEveryone }),
    ...[
      ["a customer's role, from another function", `${platform.arn("Exporter")}-2`],
      ["a customer's role, from the console", platform.arn("Console")],
      ["a customer's role, from no function", undefined],
    ].map(([title, source]) =>
      own(title, "sts:AssumeRole", role(CUSTOMER, "x"), REFUSED, {
        resourcePolicy: trustsEveryone,
        context: { "aws:PrincipalArn": platform.arn("ExporterRole"), ...(source && { "lambda:SourceFunctionArn": source }) },
      }),
    ),
    ...[
      ["a role of its own organization", inOrganization, ORGANIZATION, FORBIDDEN],
      ["a role of another organization", inOrganization, "o-z9y8x7w6v5", ALLOWED],
      ["a role of no organization", inOrganization, undefined, ALLOWED],
      ["a role of an organization, no ID given", platform, ORGANIZATION, ALLOWED],
    ].map(([title, of, organization, expected]) =>
      own(title, "sts:AssumeRole", role(CUSTOMER, "x"), expected, {
        identity: exporterPolicies(of),
        resourcePolicy: trustsEveryone,
        context: { ...exporter.context, ...(organization && { "aws:ResourceOrgID": organization }) },
      }),
    ),
    own("a customer's role with a path", "sts:AssumeRole", role(CUSTOMER, "a/b/x"), ALLOWED, { resourcePolicy: trustsEveryone }),
    own("a role of its own account", "sts:AssumeRole", role(PLATFORM, "x"), FORBIDDEN, { resourcePolicy: trustsEveryone }),
    own("its own role with a path", "sts:AssumeRole", role(PLATFORM, "a/b/x"), FORBIDDEN, { resourcePolicy: trustsEveryone }),
    own("tag a customer's session", "sts:TagSession", role(CUSTOMER, "x"), REFUSED, { resourcePolicy: trustsEveryone }),
    own("query events", "dynamodb:Query", events, ALLOWED),
    ...record(own, events),
    ...["Scan", "GetItem", "UpdateItem", "DeleteItem", "DeleteTable"].map((action) =>
      own(`${action} on events`, `dynamodb:${action}`, events, REFUSED),
    ),
    ...["BatchGetItem", "GetItem", "PutItem", "UpdateItem", "ConditionCheckItem"].map((action) =>
      own(`${action} on tenants`, `dynamodb:${action}`, tenants, ALLOWED),
    ),
    ...["Scan", "DeleteItem", "BatchWriteItem", "DeleteTable", "UpdateTimeToLive"].map((action) =>
      own(`${action} on tenants`, `dynamodb:${action}`, tenants, REFUSED),
    ),
    own("query the index due", "dynamodb:Query", `${tenants}/index/due`, ALLOWED),
    own("scan the index due", "dynamodb:Scan", `${tenants}/index/due`, REFUSED),
    own("list the index saved", "dynamodb:Scan", `${tenants}/index/saved`, ALLOWED),
    own("query the index saved", "dynamodb:Query", `${tenants}/index/saved`, REFUSED),
    own("list the index pending", "dynamodb:Scan", `${tenants}/index/pending`, ALLOWED),
    own("query the index pending", "dynamodb:Query", `${tenants}/index/pending`, REFUSED),
    ...["lease", "lease_until", "entries", "pending_shard"].map((attribute) =>
      own(`write ${attribute}`, "dynamodb:UpdateItem", tenants, ALLOWED, {
        context: { "dynamodb:Attributes": ["tenant_id", "record", attribute] },
      }),
    ),
    own("query a tenant's receipts", "dynamodb:Query", tenants, ALLOWED),
    own("query another index", "dynamodb:Query", `${tenants}/index/other`, REFUSED),
    ...["Query", "GetItem", "PutItem"].map((action) =>
      own(`${action} on another table`, `dynamodb:${action}`, `${tenants}-2`, REFUSED),
    ),
    own("write its log", "logs:PutLogEvents", logs, ALLOWED),
    own("write another log", "logs:PutLogEvents", logs.replace("-exporter:", "-exporter-2:"), REFUSED),
    own("make a log group", "logs:CreateLogGroup", logs.replace(/:log-stream.*/, ""), REFUSED),
    own("keep a lost tick", "sqs:SendMessage", queue, ALLOWED),
    own("send to another queue", "sqs:SendMessage", `${queue}-2`, REFUSED),
    own("receive lost ticks", "sqs:ReceiveMessage", queue, REFUSED),
    ...["SendMessage", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes"].map((action) =>
      own(`${action} on the export queue`, `sqs:${action}`, platform.arn("ExportQueue"), ALLOWED),
    ),
    ...["PurgeQueue", "SetQueueAttributes", "DeleteQueue"].map((action) =>
      own(`${action} on the export queue`, `sqs:${action}`, platform.arn("ExportQueue"), REFUSED),
    ),
    own("receive dead batches", "sqs:ReceiveMessage", platform.arn("ExportDeadLetters"), REFUSED),
    own("receive from the ingestion queue", "sqs:ReceiveMessage", platform.arn("IngestionQueue"), REFUSED),
    own("publish a notification", "events:PutEvents", platform.arn("NotificationBus"), ALLOWED),
    own("publish on another bus", "events:PutEvents", `${platform.arn("NotificationBus")}-2`, REFUSED),
    own("publish on the default bus", "events:PutEvents", arn(`events:${region}:${PLATFORM}:event-bus/default`), REFUSED),
    own("delete the bus", "events:DeleteEventBus", platform.arn("NotificationBus"), REFUSED),
    own("add a rule to the bus", "events:PutRule", `${platform.arn("NotificationBus").replace("event-bus", "rule")}/x`, REFUSED),
    own("write S3 without a customer's role", "s3:PutObject", arn(`s3:::${BUCKET}/x`), REFUSED, { account: PLATFORM }),
    own("pass a role", "iam:PassRole", platform.arn("ExporterRole"), REFUSED),

    become("Lambda", { principal: "lambda.amazonaws.com" }, ALLOWED),
    become("another service", { principal: "ec2.amazonaws.com" }, REFUSED),
    become("an administrator of its account", administrator(PLATFORM), REFUSED),

    lose("the hourly rule", platform.arn("ExporterHourlyTick"), ALLOWED),
    lose("the rule of the hourly check", platform.arn("ExporterHourlyCheck"), ALLOWED),
    publish("the rule for emails", mailing.arn("NotificationEmails"), ALLOWED),
    ...["kms:GenerateDataKey", "kms:Decrypt"].flatMap((action) => [
      seal("for no topic", action, "events.amazonaws.com"),
      seal("by another service", action, "s3.amazonaws.com"),
    ]),
    lose("another rule", `${platform.arn("ExporterHourlyTick")}-2`, REFUSED),
    loseEmail("the rule for emails", mailing.arn("NotificationEmails"), ALLOWED),
    loseEmail("another rule", mailing.arn("ExporterHourlyCheck"), REFUSED),
    ...resources(platformTemplate, "AWS::SQS::Queue").flatMap((id) => overTlsOnly(mailing, id)),
    ...signatures(partition),
    ...useOfKey("ExporterPolicy", ["PolicyDocument"], partition, ["dynamodb", "sqs"]),
    ...useOfKey("ConsoleRole", ["Policies", 0, "PolicyDocument"], partition, ["dynamodb"]),
    ...useOfKey("RecorderRole", ["Policies", 0, "PolicyDocument"], partition, ["dynamodb", "sqs"]),
  ];
}
