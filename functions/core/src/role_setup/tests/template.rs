//! Evaluates the template's resources as CloudFormation would, for tests. Intrinsic functions that it doesn't use panic.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value, json};

use super::super::TEMPLATE;
use crate::tenant::Region;

/// Returns the template; a short form like `!Ref X` becomes `{"!Ref": "X"}`.
pub(super) fn template() -> Value {
    plain(&Yaml::load_from_str(TEMPLATE).unwrap()[0])
}

fn plain(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Tagged(tag, node) => json!({ format!("!{}", tag.suffix): plain(node) }),
        Yaml::Sequence(items) => items.iter().map(plain).collect(),
        Yaml::Mapping(entries) => entries.iter().map(|(key, value)| (text(&plain(key)), plain(value))).collect(),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::Boolean(truth)) => json!(truth),
        other => panic!("unexpected YAML: {other:?}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(super) struct Stack {
    template: Value,
    names: BTreeMap<String, String>,
}

impl Stack {
    pub(super) fn new(parameters: &BTreeMap<String, String>, region: Region) -> Self {
        let template = template();
        let mut names = parameters.clone();
        for (name, declared) in template["Parameters"].as_object().unwrap() {
            names.entry(name.clone()).or_insert_with(|| match &declared["Default"] {
                Value::Number(number) => number.to_string(),
                default => text(default),
            });
        }
        names.insert("AWS::Partition".to_owned(), region.partition().to_string());
        names.insert("AWS::AccountId".to_owned(), "<account_id>".to_owned());
        names.insert("AWS::StackName".to_owned(), "acme".to_owned());
        names.insert("AWS::StackId".to_owned(), "arn:aws:cloudformation:eu-west-1:1:stack/acme/1b2c3d4e-5f".to_owned());
        names.insert("AWS::URLSuffix".to_owned(), region.partition().dns_suffix().to_owned());
        Self { template, names }
    }

    /// Returns the role's properties.
    pub(super) fn role(&self) -> Value {
        self.properties("ExportRole")
    }

    /// Whether a resource's condition holds.
    pub(super) fn has(&self, resource: &str) -> bool {
        let condition = &self.template["Resources"][resource]["Condition"];
        condition.is_null() || self.render(&self.template["Conditions"][text(condition)]).unwrap() == true
    }

    pub(super) fn properties(&self, resource: &str) -> Value {
        self.render(&self.template["Resources"][resource]["Properties"]).unwrap()
    }

    /// Returns an expression's value; `None` for AWS::NoValue.
    fn render(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(items) => Some(items.iter().filter_map(|item| self.render(item)).collect()),
            Value::Object(entries) => match entries.iter().next() {
                Some((function, argument)) if function.starts_with('!') => self.call(function, argument),
                _ => Some(self.entries(entries)),
            },
            plain => Some(plain.clone()),
        }
    }

    fn entries(&self, entries: &Map<String, Value>) -> Value {
        entries.iter().filter_map(|(key, value)| Some((key.clone(), self.render(value)?))).collect()
    }

    fn call(&self, function: &str, argument: &Value) -> Option<Value> {
        let rendered = |value: &Value| self.render(value).unwrap();
        match (function, argument) {
            ("!Ref", name) if name == "AWS::NoValue" => None,
            ("!Ref", name) => {
                Some(json!(self.names.get(&text(name)).cloned().unwrap_or_else(|| format!("<{}>", text(name)))))
            }
            ("!If", Value::Array(parts)) => {
                let condition = rendered(&self.template["Conditions"][text(&parts[0])]);
                self.render(&parts[if condition == true { 1 } else { 2 }])
            }
            ("!Not", Value::Array(parts)) => Some(json!(rendered(&parts[0]) == false)),
            ("!Equals", Value::Array(parts)) => Some(json!(rendered(&parts[0]) == rendered(&parts[1]))),
            ("!Select", Value::Array(parts)) => {
                Some(rendered(&parts[1])[usize::try_from(parts[0].as_u64()?).unwrap()].clone())
            }
            ("!Split", Value::Array(parts)) => {
                Some(text(&rendered(&parts[1])).split(&text(&parts[0])).map(Value::from).collect())
            }
            ("!Sub", Value::String(pattern)) => Some(self.substitute(pattern, &json!({}))),
            ("!Sub", Value::Array(parts)) => Some(self.substitute(&text(&parts[0]), &rendered(&parts[1]))),
            _ => panic!("can't render {function} of {argument}"),
        }
    }

    fn substitute(&self, pattern: &str, local: &Value) -> Value {
        let mut pieces = pattern.split("${");
        let mut whole = pieces.next().unwrap().to_owned();
        for piece in pieces {
            let (name, rest) = piece.split_once('}').unwrap();
            match name.strip_prefix('!') {
                Some(literal) => whole.extend(["${", literal, "}"]),
                None => whole += local[name].as_str().unwrap_or_else(|| &self.names[name]),
            }
            whole += rest;
        }
        Value::from(whole)
    }
}
