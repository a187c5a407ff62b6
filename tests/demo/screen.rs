//! Prints steps with their duration, prose and tables. Without a terminal, prints plain lines.

use std::future::Future;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Of logs, and of terminals with unknown width.
const DEFAULT_WIDTH: usize = 120;

pub(crate) struct Screen {
    terminal: bool,
    styled: bool,
    width: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|size| terminal && size.ws_col > 0);
        let width = size.map_or(DEFAULT_WIDTH, |size| usize::from(size.ws_col).max(60));
        Self { terminal, styled: terminal && std::env::var_os("NO_COLOR").is_none(), width }
    }

    pub(crate) fn line(&self, text: &str) -> Result<()> {
        self.write(&format!("{}\n", text.trim_end()))
    }

    pub(crate) fn blank(&self) -> Result<()> {
        self.line("")
    }

    pub(crate) fn title(&self, text: &str) -> Result<()> {
        self.line(&self.styled("1", text))
    }

    /// Prints a heading and returns the screen.
    pub(crate) fn section(&self, text: &str) -> Result<&Self> {
        self.blank()?;
        self.title(text)?;
        Ok(self)
    }

    pub(crate) fn prose(&self, text: &str) -> Result<()> {
        self.paragraph("  ", text)
    }

    /// Prints a wrapped paragraph with an indentation.
    pub(crate) fn paragraph(&self, indent: &str, text: &str) -> Result<()> {
        let width = self.width.min(DEFAULT_WIDTH) - indent.len();
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                self.line(&format!("{indent}{line}"))?;
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&format!("{indent}{line}"))
    }

    /// Prints the result of a check.
    pub(crate) fn verdict(&self, good: bool, text: &str) -> Result<()> {
        let mark = if good { self.styled("32", "✓") } else { self.styled("31", "✗") };
        self.line(&format!("  {mark} {text}"))
    }

    /// Prints a line, cut to the width.
    pub(crate) fn cut(&self, indent: &str, text: &str) -> Result<()> {
        let width = self.width - indent.len();
        if columns(text) <= width {
            return self.line(&format!("{indent}{text}"));
        }
        let mut taken = 0;
        let fits = |character: &char| {
            taken += columns_of(*character);
            taken < width
        };
        let head: String = text.chars().take_while(fits).collect();
        self.line(&format!("{indent}{head}…"))
    }

    /// Prints JSON, broken into lines after commas.
    pub(crate) fn fold(&self, indent: &str, json: &str) -> Result<()> {
        let mut line = String::new();
        for piece in json.split_inclusive(',') {
            if !line.is_empty() && columns(&line) + columns(piece) > self.width.min(DEFAULT_WIDTH) - indent.len() {
                self.line(&format!("{indent}{line}"))?;
                line.clear();
            }
            line.push_str(piece);
        }
        self.line(&format!("{indent}{line}"))
    }

    /// Runs a step and prints the time that it took.
    pub(crate) async fn step<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
        done: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let started = Instant::now();
        if self.terminal {
            self.write(&self.styled("2", &format!("           {doing} …")))?;
        }
        let result = work.await.with_context(|| doing.to_owned())?;
        self.clear()?;
        self.line(&format!("  {:>5.1} s  {}", started.elapsed().as_secs_f64(), done(&result)))?;
        Ok(result)
    }

    /// Removes the line of an unfinished step.
    pub(crate) fn clear(&self) -> Result<()> {
        if self.terminal {
            self.write("\r\x1b[K")?;
        }
        Ok(())
    }

    /// Prints a table. The columns of `numbers` are aligned to the right.
    pub(crate) fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: Vec<[String; N]>,
        numbers: &[usize],
    ) -> Result<()> {
        let mut table = Table::new();
        table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
        // Cells break only if the terminal is too narrow.
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(self.width - 2)?);
        table.set_header(header);
        table.add_rows(rows);
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if numbers.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            self.line(&format!("  {line}"))?;
        }
        Ok(())
    }

    fn write(&self, text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
            written => Ok(written?),
        }
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.styled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The reader of the output has closed it.
#[derive(Debug)]
pub(crate) struct Closed;

impl std::error::Error for Closed {}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the output was closed")
    }
}

/// `12,345`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `812 B`, `65.3 kB`, `2.1 MB`
pub(crate) fn bytes(size: u64) -> String {
    match size {
        0..1_000 => format!("{size} B"),
        1_000..1_000_000 => format!("{}.{} kB", size / 1_000, size % 1_000 / 100),
        _ => format!("{}.{} MB", size / 1_000_000, size % 1_000_000 / 100_000),
    }
}

fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Exact enough for names in events: East Asian characters take two columns.
fn columns_of(character: char) -> usize {
    if matches!(character, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff60}')
    {
        2
    } else {
        1
    }
}
