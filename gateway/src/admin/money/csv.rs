//! Comma-separated values (RFC 4180) for spreadsheets.
//!
//! A spreadsheet runs what looks like a formula, and names come from outside; such a text gets an apostrophe before
//! it. Amounts are numbers, and a minus before one is no formula.

use std::borrow::Cow;

use crate::treasury::SpendView;

pub(super) fn spend(by: &str, rows: &[SpendView]) -> String {
    let heading = format!(
        "{},currency,requests,prompt,cached,completion,reasoning,amount,fee\r\n",
        cell(by)
    );
    rows.iter().fold(heading, |mut csv, row| {
        let group = row.group.as_deref().unwrap_or_default();
        csv.push_str(&format!(
            "{},{},{},{},{},{},{},{},{}\r\n",
            cell(group),
            row.currency,
            row.requests,
            row.prompt,
            row.cached,
            row.completion,
            row.reasoning,
            row.amount,
            row.fee
        ));
        csv
    })
}

/// A text that a spreadsheet shows as it is.
fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let safe = if is_formula {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    };
    if safe.contains(['"', ',', '\r', '\n', ';', '\t']) {
        Cow::Owned(format!("\"{}\"", safe.replace('"', "\"\"")))
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_formula() {
        let check = |text: &str, expect: &str| assert_eq!(cell(text), expect);
        check("mock", "mock");
        check("", "");
        check("a,b", "\"a,b\"");
        check("a\"b", "\"a\"\"b\"");
        check("=1+1", "'=1+1");
        check("+1", "'+1");
        check("-1", "'-1");
        check("@x", "'@x");
        check("=HYPERLINK(\"x\",1)", "\"'=HYPERLINK(\"\"x\"\",1)\"");
        check("\t=1", "\"'\t=1\"");
        check("2026-11-22", "2026-11-22");
    }
}
