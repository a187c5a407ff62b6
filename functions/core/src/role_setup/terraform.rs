//! Fills in the Terraform file.

use super::TERRAFORM;

/// The file with values as the defaults of its variables; the rest is left as it is, comments included.
pub(super) fn filled_in(values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(TERRAFORM.len());
    let mut value = None;
    for line in TERRAFORM.lines() {
        if let Some(name) = line.strip_prefix("variable \"").and_then(|rest| rest.strip_suffix("\" {")) {
            value = values.iter().find(|(variable, _)| *variable == name).map(|(_, value)| *value);
        }
        match value {
            Some(_) if line.starts_with("  default ") => continue,
            Some(value) if line.starts_with("  type ") => {
                filled.extend([line, "\n  default     = ", &literal(value)]);
            }
            _ => filled.push_str(line),
        }
        filled.push('\n');
        if line == "}" {
            value = None;
        }
    }
    filled
}

/// A text as HCL's string literal, by "Quoted templates" in the specification of HCL's native syntax.
fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            // Doubled, they begin no interpolation and no directive.
            '$' | '%' if characters.peek() == Some(&'{') => literal.extend([character, character]),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_gets_out_of_its_literal() {
        for text in
            ["", "plain", r#"a"b"#, r"back\slash\", "${var.x}", "%{ if true }", "$ { %", "a\n\tb", "ü $", "$${x"]
        {
            let read: serde_json::Value = hcl::from_str(&format!("text = {}", literal(text))).unwrap();
            assert_eq!(read["text"], text, "{}", literal(text));
        }
    }
}
