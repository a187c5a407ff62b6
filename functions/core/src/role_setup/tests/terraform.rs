//! Evaluates the Terraform file as Terraform would, for tests. Constructs and functions that the file doesn't use are errors,
//! never guesses. `tests/e2e/role_setup.rs` includes this file too.

use hcl::{
    Block, Body, Map, Value,
    eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType},
};
use sha2::{Digest as _, Sha256};

/// Returns the arguments of a configuration's resources and the values of its outputs, as JSON: `{"aws_iam_role":
/// {"audit_log_export": {…}}, …, "output": {"role_arn": …}}`. Variables that are not `given` have their defaults. A value that
/// AWS decides is a text in angle brackets (`<arn>`).
pub(crate) fn evaluate(text: &str, given: &[(&str, &str)]) -> Result<serde_json::Value, hcl::Error> {
    let body: Body = hcl::parse(text)?;
    let blocks = |kind: &'static str| body.blocks().filter(move |block| block.identifier() == kind);
    let mut context = functions();

    let mut variables = Map::new();
    for block in blocks("variable") {
        let default = block.body().attributes().find(|attribute| attribute.key() == "default");
        if let Some(default) = default {
            variables.insert(label(block, 0), default.expr().evaluate(&context)?);
        }
    }
    let type_of = |name: &str| {
        let declared = blocks("variable").find(|block| label(block, 0) == name);
        let mut attributes = declared.into_iter().flat_map(|block| block.body().attributes());
        attributes.find(|attribute| attribute.key() == "type").map(|attribute| attribute.expr().to_string())
    };
    variables.extend(given.iter().map(|(name, value)| {
        let value = match type_of(name).as_deref() {
            Some("bool") => Value::from(*value == "true"),
            Some("number") => value.parse::<u64>().map_or(Value::Null, Value::from),
            _ => Value::from(*value),
        };
        ((*name).to_owned(), value)
    }));
    context.declare_var("var", variables);

    // A local may use those above it.
    let mut locals = Map::new();
    for attribute in blocks("locals").flat_map(|block| block.body().attributes()) {
        context.declare_var("local", locals.clone());
        locals.insert(attribute.key().to_owned(), attribute.expr().evaluate(&context)?);
    }
    context.declare_var("local", locals);

    let decided = |names: &[&str]| {
        Value::from(Map::from_iter(names.iter().map(|name| ((*name).to_owned(), Value::from(format!("<{name}>"))))))
    };
    for block in blocks("resource") {
        let made = decided(&["arn", "id", "name"]);
        let is_counted = block.body().attributes().any(|attribute| attribute.key() == "count");
        let made = if is_counted { Value::from(vec![made]) } else { made };
        context.declare_var(hcl::Identifier::sanitized(label(block, 0)), Map::from_iter([(label(block, 1), made)]));
    }
    let identity = Map::from_iter([("current".to_owned(), decided(&["account_id"]))]);
    context.declare_var("data", Map::from_iter([("aws_caller_identity".to_owned(), Value::from(identity))]));
    let mut evaluated = Map::new();
    for block in blocks("resource") {
        let arguments = arguments(block, &context)?;
        // Terraform makes none.
        if arguments.get("count") == Some(&Value::from(0)) {
            continue;
        }
        let resource = Map::from_iter([(label(block, 1), Value::from(arguments))]);
        evaluated.insert(label(block, 0), Value::from(resource));
    }
    let mut outputs = Map::new();
    for block in blocks("output") {
        outputs.extend(arguments(block, &context)?.swap_remove("value").map(|value| (label(block, 0), value)));
    }
    evaluated.insert("output".to_owned(), Value::from(outputs));
    hcl::from_value(Value::from(evaluated))
}

fn label(block: &Block, index: usize) -> String {
    block.labels().get(index).map(|label| label.as_str().to_owned()).unwrap_or_default()
}

/// A block's arguments, and for each kind of blocks in it the list of those. Preconditions are Terraform's own.
fn arguments(block: &Block, context: &Context<'_>) -> Result<Map<String, Value>, hcl::Error> {
    let argument = |attribute: &hcl::Attribute| Ok((attribute.key().to_owned(), attribute.expr().evaluate(context)?));
    let mut evaluated: Map<_, _> = block.body().attributes().map(argument).collect::<Result<_, hcl::Error>>()?;
    for inner in block.body().blocks().filter(|inner| inner.identifier() != "lifecycle") {
        let list = evaluated.entry(inner.identifier().to_owned()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Value::from(arguments(inner, context)?));
        }
    }
    Ok(evaluated)
}

fn functions<'a>() -> Context<'a> {
    let mut context = Context::new();
    context
        .declare_func("concat", FuncDef::builder().variadic_param(ParamType::array_of(ParamType::Any)).build(concat));
    context.declare_func("jsonencode", FuncDef::builder().param(ParamType::Any).build(jsonencode));
    let split_params = [ParamType::String, ParamType::String];
    context.declare_func("split", FuncDef::builder().params(split_params).build(split));
    context.declare_func("sha256", FuncDef::builder().param(ParamType::String).build(sha256));
    let substr_params = [ParamType::String, ParamType::Number, ParamType::Number];
    context.declare_func("substr", FuncDef::builder().params(substr_params).build(substr));
    context
}

fn concat(lists: FuncArgs) -> Result<Value, String> {
    Ok(lists.iter().filter_map(Value::as_array).flatten().cloned().collect::<Vec<_>>().into())
}

fn jsonencode(arguments: FuncArgs) -> Result<Value, String> {
    serde_json::to_string(&arguments[0]).map(Value::from).map_err(|error| error.to_string())
}

fn split(arguments: FuncArgs) -> Result<Value, String> {
    let text = |index: usize| arguments[index].as_str().ok_or("no string");
    Ok(text(1)?.split(text(0)?).map(Value::from).collect::<Vec<_>>().into())
}

fn sha256(arguments: FuncArgs) -> Result<Value, String> {
    let digest = Sha256::digest(arguments[0].as_str().ok_or("no string")?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

fn substr(arguments: FuncArgs) -> Result<Value, String> {
    let number = |index: usize| arguments[index].as_number().and_then(|it| it.as_u64()).ok_or("no number");
    let (offset, length) = (usize::try_from(number(1)?), usize::try_from(number(2)?));
    let (offset, length) = (offset.map_err(|error| error.to_string())?, length.map_err(|error| error.to_string())?);
    let text = arguments[0].as_str().ok_or("no string")?;
    Ok(text.chars().skip(offset).take(length).collect::<String>().into())
}
