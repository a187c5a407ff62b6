//! The project's files and the tools that its Makefile installs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The path of a tool that the Makefile installs. `path` is relative to the repository.
pub fn installed(path: &str) -> Result<PathBuf> {
    let tool = repository().join(path);
    if !tool.exists() {
        bail!("{path} is missing: `make test` and `make demo` install it");
    }
    Ok(tool)
}

/// The last `count` lines of a text.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> &str {
    let text = text.trim_end();
    let start = text.rmatch_indices('\n').nth(count - 1).map_or(0, |(at, _)| at + 1);
    &text[start..]
}

/// The commands after `<!-- command: NAME -->` on a page of the repository.
pub fn recipe(page: &str, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(repository().join(page))?;
    let (_, block) = text
        .split_once(&format!("<!-- command: {name} -->\n```sh\n"))
        .with_context(|| format!("{page} has no recipe {name}"))?;
    let (commands, _) = block.split_once("\n```\n").context("the recipe has no end")?;
    Ok(commands.to_owned())
}
