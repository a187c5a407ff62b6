// Renders a template's policies as CloudFormation does, with given parameters in any partition. It knows the intrinsic
// functions that the templates use, and fails for others.

import { readFileSync } from "node:fs";
import { isMap, isScalar, isSeq, parseDocument } from "yaml";

const PARTITIONS = {
  aws: { region: "eu-west-1", urlSuffix: "amazonaws.com" },
  "aws-eusc": { region: "eusc-de-east-1", urlSuffix: "amazonaws.eu" },
  "aws-cn": { region: "cn-north-1", urlSuffix: "amazonaws.com.cn" },
  "aws-us-gov": { region: "us-gov-west-1", urlSuffix: "amazonaws.com" },
};

export const partitions = Object.keys(PARTITIONS);

/** Where a template is deployed: `{ partition, region, urlSuffix, account }`. */
export const place = (partition, account) => ({ partition, account, ...PARTITIONS[partition] });

const NO_VALUE = Symbol("AWS::NoValue");

/** Loads a template as plain data in the long form (`Fn::Sub` for `!Sub`). */
export function load(url) {
  // CloudFormation reads YAML 1.1. The parser warns of the short forms, since it doesn't know these tags.
  const document = parseDocument(readFileSync(url, "utf8"), { version: "1.1", logLevel: "silent" });
  if (document.errors.length > 0) throw document.errors[0];
  return plain(document.contents);
}

function plain(node) {
  let value;
  if (isMap(node)) value = Object.fromEntries(node.items.map(({ key, value }) => [plain(key), plain(value)]));
  else if (isSeq(node)) value = node.items.map(plain);
  else if (isScalar(node)) value = node.value;
  else throw new Error(`unexpected YAML: ${node}`);

  const short = /^!(\w+)$/.exec(node.tag ?? "")?.[1];
  if (!short) return value;
  if (short === "Ref" || short === "Condition") return { [short]: value };
  if (short === "GetAtt" && typeof value === "string") return { "Fn::GetAtt": value.split(/\.(.*)/, 2) };
  return { [`Fn::${short}`]: value };
}

/** The ids of a template's resources of a type. */
export const resources = (template, type) =>
  Object.keys(template.Resources).filter((id) => template.Resources[id].Type === type);

/** Why the template refuses a value of a parameter; undefined if it accepts it. */
export function refusal(template, name, value) {
  const declared = template.Parameters[name];
  if (!declared) return "no such parameter";
  const text = String(value);
  if (text.length < (declared.MinLength ?? 0)) return `shorter than ${declared.MinLength}`;
  if (text.length > (declared.MaxLength ?? Infinity)) return `longer than ${declared.MaxLength}`;
  if (declared.AllowedPattern && !new RegExp(`^(?:${declared.AllowedPattern})$`).test(text)) return "AllowedPattern";
  if (Number(text) < declared.MinValue || Number(text) > declared.MaxValue) return "MinValue, MaxValue";
  if (declared.AllowedValues && !declared.AllowedValues.map(String).includes(text)) return "AllowedValues";
  return undefined;
}

/**
 * A stack of `template`. `generated` has the types of resources that a transform adds. `property(id, ...path)` returns a
 * resource's rendered property, `arn(id)` its ARN, and `has(id)` whether the resource's condition holds.
 */
export function stack(template, where, given = {}, generated = {}) {
  const parameters = Object.fromEntries(
    Object.entries(template.Parameters).map(([name, { Default }]) => [name, given[name] ?? Default]),
  );
  for (const [name, value] of Object.entries({ ...given, ...parameters })) {
    const reason = refusal(template, name, value ?? "");
    if (reason) throw new Error(`parameter ${name}=${value}: ${reason}`);
  }

  const pseudo = {
    "AWS::AccountId": where.account,
    "AWS::NoValue": NO_VALUE,
    "AWS::Partition": where.partition,
    "AWS::Region": where.region,
    "AWS::StackId": `arn:${where.partition}:cloudformation:${where.region}:${where.account}:stack/stack/1b2c3d4e`,
    "AWS::StackName": "stack",
    "AWS::URLSuffix": where.urlSuffix,
  };

  const arn = (service, resource, region = where.region) =>
    `arn:${where.partition}:${service}:${region}:${where.account}:${resource}`;
  const named = (id, property) => {
    const name = template.Resources[id]?.Properties?.[property];
    const rendered = name === undefined ? NO_VALUE : render(name);
    return rendered === NO_VALUE ? `stack-${id}` : rendered;
  };
  const ARNS = {
    "AWS::DynamoDB::Table": (id) => arn("dynamodb", `table/${named(id, "TableName")}`),
    "AWS::Events::ApiDestination": (id) => arn("events", `api-destination/${named(id, "Name")}/1b2c3d4e`),
    "AWS::Events::EventBus": (id) => arn("events", `event-bus/${named(id, "Name")}`),
    "AWS::Events::Rule": (id) => {
      const bus = template.Resources[id]?.Properties?.EventBusName;
      return arn("events", `rule/${bus ? `${render(bus)}/` : ""}${named(id, "Name")}`);
    },
    "AWS::IAM::Role": (id) => arn("iam", `role/${named(id, "RoleName")}`, ""),
    "AWS::Logs::LogGroup": (id) => arn("logs", `log-group:${named(id, "LogGroupName")}:*`),
    "AWS::Serverless::Function": (id) => arn("lambda", `function:${named(id, "FunctionName")}`),
    "AWS::KMS::Key": (id) => arn("kms", `key/${named(id, "KeyId")}`),
    "AWS::SNS::Topic": (id) => arn("sns", named(id, "TopicName")),
    "AWS::SQS::Queue": (id) => arn("sqs", named(id, "QueueName")),
  };

  const attribute = (id, name) => {
    const type = template.Resources[id]?.Type ?? generated[id];
    if (name !== "Arn" || !ARNS[type]) throw new Error(`can't render ${id}.${name} (${type})`);
    return ARNS[type](id);
  };
  const reference = (name) => {
    if (name in pseudo) return pseudo[name];
    if (name in parameters) return parameters[name];
    const type = template.Resources[name]?.Type;
    if (type === "AWS::SNS::Topic") return attribute(name, "Arn");
    if (type === "AWS::Events::EventBus") return named(name, "Name");
    throw new Error(`can't render a Ref to ${name}`);
  };
  const condition = (name) => {
    if (!(name in template.Conditions)) throw new Error(`no condition ${name}`);
    return render(template.Conditions[name]);
  };

  const FUNCTIONS = {
    Ref: reference,
    Condition: condition,
    "Fn::Equals": ([left, right]) => String(render(left)) === String(render(right)),
    "Fn::GetAtt": ([id, name]) => attribute(id, name),
    // CloudFormation doesn't document whether it evaluates the branch that is not taken, so both must render.
    "Fn::If": ([name, ...branches]) => branches.map(render)[condition(name) ? 0 : 1],
    "Fn::Not": ([value]) => !render(value),
    "Fn::Select": ([index, list]) => {
      const values = render(list);
      if (!(Number(index) in values)) throw new Error(`Fn::Select: no value ${index} of ${values.length}`);
      return values[Number(index)];
    },
    "Fn::Split": ([separator, value]) => render(value).split(separator),
    "Fn::Sub": (value) => {
      const [text, local] = Array.isArray(value) ? value : [value, {}];
      return text.replace(/\$\{([\w:.]+)\}/g, (_, name) => {
        if (name in local) return render(local[name]);
        return name.includes(".") ? attribute(...name.split(/\.(.*)/, 2)) : reference(name);
      });
    },
  };

  function render(value) {
    if (Array.isArray(value)) return value.map(render).filter((item) => item !== NO_VALUE);
    if (value === null || typeof value !== "object") return value;
    const keys = Object.keys(value);
    if (keys.length === 1 && (keys[0] in FUNCTIONS || keys[0].startsWith("Fn::"))) {
      if (!FUNCTIONS[keys[0]]) throw new Error(`can't render ${keys[0]}`);
      return FUNCTIONS[keys[0]](value[keys[0]]);
    }
    return Object.fromEntries(
      keys.map((key) => [key, render(value[key])]).filter(([, rendered]) => rendered !== NO_VALUE),
    );
  }

  return {
    where,
    property: (id, ...path) => {
      const { Condition, Properties } = template.Resources[id];
      if (Condition && !condition(Condition)) throw new Error(`${id} isn't part of this stack`);
      return render(path.reduce((value, step) => value[step], Properties));
    },
    arn: (id) => attribute(id, "Arn"),
    has: (id) => !template.Resources[id].Condition || condition(template.Resources[id].Condition),
  };
}
