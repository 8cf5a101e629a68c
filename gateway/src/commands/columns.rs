//! Tables for a terminal. What stands in them comes from outside, so control characters go.

use serde_json::Value;

use super::usage::plain;

/// A column with its heading; numbers stand at its right edge.
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

impl Column {
    const fn heading(&self) -> &'static str {
        match self {
            Self::Text(heading) | Self::Number(heading) => heading,
        }
    }
}

/// Lines of equal columns, under their headings.
pub(super) fn table<const N: usize>(columns: &[Column; N], rows: &[[String; N]]) -> String {
    let mut widths = columns.each_ref().map(|column| column.heading().len());
    for row in rows {
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = cell.chars().count().max(*width);
        }
    }
    let headings = columns.each_ref().map(|column| column.heading().to_owned());
    let mut table = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for ((cell, width), column) in row.iter().zip(widths).zip(columns) {
            match column {
                Column::Text(_) => line.push_str(&format!("{cell:width$}  ")),
                Column::Number(_) => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// Names with their values, one a line.
pub(super) fn list(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n"));
    lines.collect()
}

/// A text or a number of an answer; what is absent is a dash.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Number(number) => number.to_string(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            ["org:acme".to_owned(), "12.500000000".to_owned()],
            ["-".to_owned(), "1.000000000".to_owned()],
        ];
        let table = table(&[Column::Text("ACCOUNT"), Column::Number("BALANCE")], &rows);
        assert_eq!(
            table,
            "ACCOUNT        BALANCE\norg:acme  12.500000000\n-          1.000000000\n"
        );
        assert_eq!(
            list(&[("a", "1".to_owned()), ("bcd", "2".to_owned())]),
            "a    1\nbcd  2\n"
        );
        assert_eq!(cell(&Value::from("a\u{1b}b")), "a\u{fffd}b");
    }
}
