//! Numbers, names and paragraphs as the report has them.

use std::fmt::{self, Write as _};

/// Without characters that control a terminal or hide others: names of files and keys are others' texts.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_format(c) { '\u{fffd}' } else { c }).collect()
}

/// Unicode's format characters (Cf), and its separators of lines and paragraphs.
fn is_format(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a | 0xe0000..=0xe007f
    )
}

/// In kB, of which a small folder has some, or MB.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        _ => format!("{} MB", number(bytes.div_ceil(1_000_000))),
    }
}

/// With commas: `8,760`.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn plural(count: u64, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{} {stem}ies", number(count)),
        (_, None) => format!("{} {what}s", number(count)),
    }
}

/// Writes a text in lines of at most 100 characters.
pub(super) fn wrap(f: &mut fmt::Formatter<'_>, text: &str, indent: &str) -> fmt::Result {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > 100 {
            writeln!(f, "{indent}{line}")?;
            line.clear();
        }
        let space = if line.is_empty() { "" } else { " " };
        write!(line, "{space}{word}")?;
    }
    writeln!(f, "{indent}{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_words_their_plural() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(plural(1, "window"), "1 window");
        assert_eq!(plural(2, "final delivery"), "2 final deliveries");
    }

    #[test]
    fn a_small_size_is_no_megabyte() {
        assert_eq!(
            [0, 1, 999_999, 1_000_000, 1_234_567_890].map(size),
            ["0 kB", "1 kB", "1000 kB", "1 MB", "1,235 MB"]
        );
    }

    #[test]
    fn a_name_of_a_file_can_not_control_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(printable("a\u{202e}nosj.\u{200b}"), "a\u{fffd}nosj.\u{fffd}");
    }
}
