//! Events as a CSV table for spreadsheets.

use audit_log_core::search::{Columns, FoundEvent, escaped_len};

/// A byte order mark (EF BB BF in UTF-8). Without one, Excel reads a file that is opened by a double click in an older
/// encoding.
pub(super) const BOM: &str = "\u{feff}";

/// With or without a mark, so that both tables have the same rows.
const MAX_BYTES: usize = (4 << 20) - BOM.len();

/// The table's length in a JSON string, where a quote takes two bytes. Lambda's answer to the API is one, and has at most
/// 6 MB ("Lambda quotas" in its developer guide).
const MAX_ESCAPED_BYTES: usize = 5_500_000;

const HEADING: [&str; 8] =
    ["Date", "User", "User Email", "User ID", "Action", "Log Type", "Additional Info", "Event ID"];

/// Returns a table of as many events as fit, at least one, and their number.
pub(super) fn table(events: &[FoundEvent]) -> (String, usize) {
    let mut table = row(&HEADING);
    let (mut written, mut escaped) = (0, escaped_len(&table));
    for event in events {
        let Columns { id, date, log_type, action, user_id, user_name, user_email, additional_info } = &event.columns;
        let cells = [date, user_name, user_email, user_id, action, log_type, additional_info, id];
        let next = row(&cells.map(|cell| neutralize(cell)));
        escaped += escaped_len(&next);
        if written > 0 && (table.len() + next.len() > MAX_BYTES || escaped > MAX_ESCAPED_BYTES) {
            break;
        }
        table += &next;
        written += 1;
    }
    (table, written)
}

/// A line by RFC 4180.
fn row<Cell: AsRef<[u8]>>(cells: &[Cell]) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Writing to memory never fails, and cells of text make text.
    let written = writer.write_record(cells).ok().and_then(|()| writer.into_inner().ok());
    String::from_utf8(written.unwrap_or_default()).unwrap_or_default()
}

/// Puts an apostrophe before what a spreadsheet would run as a formula, by OWASP's "CSV Injection". Full-width signs count,
/// and so do signs after blanks or control characters. Many spreadsheets outside of the English-speaking world separate cells
/// by semicolons, tabs or line breaks, so a cell begins after each of these.
fn neutralize(cell: &str) -> String {
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
    fn a_table_reads_back_as_it_was_written() {
        let (table, written) = table(&[event("Login", r#"{"ip":"203.0.113.7"}"#), event("Zeile\numgebrochen", "")]);
        assert_eq!(written, 2);
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), HEADING);
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!((&rows[0][1], &rows[0][6]), (r#"Ada, "Countess""#, r#"{"ip":"203.0.113.7"}"#));
        assert_eq!(&rows[1][4], "Zeile\numgebrochen");
    }

    #[test]
    fn a_formula_becomes_text() {
        for hostile in ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "＝1", "|calc", "\u{0}=1", "%0A=1"] {
            assert_eq!(neutralize(hostile), format!("'{hostile}"), "{hostile:?}");
            for separator in ["x;", "x\t", "x\r", "x\n", ";"] {
                let (cell, safe) = (format!("{separator}{hostile}"), format!("{separator}'{hostile}"));
                assert_eq!(neutralize(&cell), safe, "{cell:?}");
            }
        }
        for blank in ["\t=1", "\r=1", "\n", "\t"] {
            assert!(neutralize(blank).starts_with('\''), "{blank:?}");
        }
        for harmless in ["", "Login", "a=b", "2026-11-21", "{\"a\":\"=1\"}", "'=1"] {
            assert_eq!(neutralize(harmless), harmless);
        }
    }

    #[test]
    fn a_table_fits_an_answer_and_has_at_least_one_row() {
        let long = |bytes: usize| event("Login", &"x".repeat(bytes));
        assert_eq!(table(&[long(3 << 20), long(2 << 20)]).1, 1);
        assert_eq!(table(&[long(5 << 20)]).1, 1);
        let quotes = event("Login", &"\"".repeat(800_000));
        assert_eq!(table(&[quotes.clone(), quotes]).1, 1, "each quote takes four bytes in the answer");
    }
}
