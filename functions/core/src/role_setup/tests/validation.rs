//! Which values of a parameter the template and the Terraform file accept.

use std::sync::LazyLock;

use hcl::{
    Body, Map, Value,
    eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType},
};
use serde_json::json;

use super::{super::TERRAFORM, template::template};

static TEMPLATE: LazyLock<serde_json::Value> = LazyLock::new(template);
static FILE: LazyLock<Body> = LazyLock::new(|| hcl::parse(TERRAFORM).unwrap());

/// Whether a text passes the pattern and the lengths that the template declares for a parameter.
pub(super) fn template_accepts(parameter: &str, text: &str) -> bool {
    let declared = &TEMPLATE["Parameters"][parameter];
    let mut schema = json!({ "pattern": declared["AllowedPattern"] });
    for (limit, of) in [("minLength", "MinLength"), ("maxLength", "MaxLength")] {
        if let Some(number) = declared.get(of) {
            schema[limit] = number.clone();
        }
    }
    jsonschema::is_valid(&schema, &json!(text))
}

/// Whether a text passes the validation of a variable of the Terraform file.
pub(super) fn terraform_accepts(variable: &str, text: &str) -> bool {
    let mut context = functions();
    context.declare_var("var", Map::from_iter([(variable.to_owned(), Value::from(text))]));
    let is_declaration = |block: &&hcl::Block| {
        block.identifier() == "variable" && block.labels().first().is_some_and(|label| label.as_str() == variable)
    };
    let declared = FILE.blocks().find(is_declaration).unwrap();
    let validation = declared.body().blocks().find(|block| block.identifier() == "validation").unwrap();
    let condition = validation.body().attributes().find(|attribute| attribute.key() == "condition").unwrap();
    condition.expr().evaluate(&context).unwrap() == Value::from(true)
}

fn functions<'a>() -> Context<'a> {
    let mut context = Context::new();
    context.declare_func("can", FuncDef::builder().param(ParamType::Any).build(can));
    context.declare_func("length", FuncDef::builder().param(ParamType::String).build(length));
    context.declare_func("regex", FuncDef::builder().params([ParamType::String, ParamType::String]).build(regex));
    context
}

/// Terraform's `regex` fails without a match. Here it is null, which `can` refuses.
fn regex(arguments: FuncArgs) -> Result<Value, String> {
    let schema = json!({ "pattern": arguments[0].as_str() });
    let is_match = jsonschema::is_valid(&schema, &json!(arguments[1].as_str()));
    Ok(if is_match { arguments[1].clone() } else { Value::Null })
}

fn can(arguments: FuncArgs) -> Result<Value, String> {
    Ok((!arguments[0].is_null()).into())
}

fn length(arguments: FuncArgs) -> Result<Value, String> {
    Ok(arguments[0].as_str().ok_or("no string")?.chars().count().into())
}
