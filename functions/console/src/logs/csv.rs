//! Events as a table for a spreadsheet.

use audit_log_core::search::{Columns, FoundEvent, escaped_len};

/// How long the table may become, in bytes.
const LONGEST: usize = 4 << 20;

/// How long it may become within a JSON string, where every quote takes two bytes: Lambda's answer to the API is one, and
/// ends at 6 MB ("Lambda quotas" in its developer guide).
const MAX_ESCAPED: usize = 5_500_000;

const HEADING: [&str; 8] =
    ["Date", "User", "User Email", "User ID", "Action", "Log Type", "Additional Info", "Event ID"];

/// The table of as many events as it can hold, one at least; and how many these are.
pub(super) fn table(events: &[FoundEvent]) -> (String, usize) {
    let mut table = row(&HEADING);
    let (mut shown, mut escaped) = (0, escaped_len(&table));
    for event in events {
        let Columns { id, date, log_type, action, user_id, user_name, user_email, additional_info } = &event.columns;
        let cells = [date, user_name, user_email, user_id, action, log_type, additional_info, id];
        let next = row(&cells.map(|cell| neutral(cell)));
        escaped += escaped_len(&next);
        if shown > 0 && (table.len() + next.len() > LONGEST || escaped > MAX_ESCAPED) {
            break;
        }
        table += &next;
        shown += 1;
    }
    (table, shown)
}

/// One line of the table, by RFC 4180.
fn row<Cell: AsRef<[u8]>>(cells: &[Cell]) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Writing into memory has no way to fail, and cells of text make a text.
    let written = writer.write_record(cells).ok().and_then(|()| writer.into_inner().ok());
    String::from_utf8(written.unwrap_or_default()).unwrap_or_default()
}

/// A cell that no spreadsheet runs. What begins like a formula gets an apostrophe in front, by OWASP's "CSV Injection";
/// that includes signs of full width, and what stands behind blanks or control characters. Where a spreadsheet takes
/// semicolons, tabs or line breaks to separate cells, as many do outside of the English-speaking world, a cell begins
/// behind each of them.
fn neutral(cell: &str) -> String {
    let mut safe = String::with_capacity(cell.len() + 1);
    for (index, part) in cell.split_inclusive([';', '\t', '\r', '\n']).enumerate() {
        let first = part.trim_start_matches(|c: char| c.is_whitespace() || c.is_control()).chars().next();
        let formula = first.is_some_and(|first| "=+-@＝＋－＠|%".contains(first));
        if formula || (index == 0 && part.starts_with(['\t', '\r', '\n'])) {
            safe.push('\'');
        }
        safe.push_str(part);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, additional_info: &str) -> FoundEvent {
        let columns = Columns {
            id: "01K".to_owned(),
            date: "2026-11-21T10:03:12.345Z".to_owned(),
            action: action.to_owned(),
            user_name: "Ada, \"Countess\"".to_owned(),
            additional_info: additional_info.to_owned(),
            ..Columns::default()
        };
        FoundEvent { position: String::new(), document: String::new(), columns }
    }

    #[test]
    fn a_table_reads_back_as_what_was_written() {
        let (table, shown) = table(&[event("Login", r#"{"ip":"203.0.113.7"}"#), event("Zeile\numgebrochen", "")]);
        assert_eq!(shown, 2);
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), HEADING);
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!((&rows[0][1], &rows[0][6]), (r#"Ada, "Countess""#, r#"{"ip":"203.0.113.7"}"#));
        assert_eq!(&rows[1][4], "Zeile\numgebrochen");
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_only_text() {
        for hostile in ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "＝1", "|calc", "\u{0}=1", "%0A=1"] {
            assert_eq!(neutral(hostile), format!("'{hostile}"), "{hostile:?}");
            for separator in ["x;", "x\t", "x\r", "x\n", ";"] {
                let (cell, safe) = (format!("{separator}{hostile}"), format!("{separator}'{hostile}"));
                assert_eq!(neutral(&cell), safe, "{cell:?}");
            }
        }
        for blank in ["\t=1", "\r=1", "\n", "\t"] {
            assert!(neutral(blank).starts_with('\''), "{blank:?}");
        }
        for harmless in ["", "Login", "a=b", "2026-11-21", "{\"a\":\"=1\"}", "'=1"] {
            assert_eq!(neutral(harmless), harmless);
        }
    }

    #[test]
    fn a_table_ends_before_it_is_too_long_for_an_answer_and_has_one_row_at_least() {
        let long = |bytes: usize| event("Login", &"x".repeat(bytes));
        assert_eq!(table(&[long(3 << 20), long(2 << 20)]).1, 1);
        assert_eq!(table(&[long(5 << 20)]).1, 1);
        let quotes = event("Login", &"\"".repeat(800_000));
        assert_eq!(table(&[quotes.clone(), quotes]).1, 1, "each quote takes four bytes in the answer");
    }
}
