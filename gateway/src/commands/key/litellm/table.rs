//! A table as rows: JSON, or CSV as PostgreSQL's `COPY … WITH (FORMAT csv, HEADER)` and most tools write it.
//!
//! CSV: <https://www.rfc-editor.org/rfc/rfc4180>.

use serde_json::{Map, Value};

use super::ImportError;

pub(super) type Row = Map<String, Value>;

pub(super) fn rows(text: &str) -> Result<Vec<Row>, ImportError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with(['[', '{']) {
        return json(text);
    }
    csv(text).ok_or(ImportError::Shape {
        what: "the heading has no `token`, a line has another number of fields than the heading, or a quote is not closed",
    })
}

fn json(text: &str) -> Result<Vec<Row>, ImportError> {
    let shape = |what| ImportError::Shape { what };
    let mut value: Value = serde_json::from_str(text).map_err(|_| shape("it is not JSON to its end"))?;
    if value.is_object() {
        let list = ["keys", "data"].into_iter().find(|list| value[*list].is_array());
        value = value[list.ok_or_else(|| shape("the object has no list `keys` or `data`"))?].take();
    }
    let Value::Array(items) = value else {
        return Err(shape("it is no list"));
    };
    let rows = items.into_iter().map(|item| match item {
        Value::Object(row) => Some(row),
        _ => None,
    });
    rows.collect::<Option<_>>()
        .ok_or_else(|| shape("an item of the list is no object"))
}

fn csv(text: &str) -> Option<Vec<Row>> {
    let mut lines = records(text)?.into_iter();
    let heading = lines.next()?;
    if !heading.iter().any(|name| name == "token") {
        return None;
    }
    lines
        .map(|fields| {
            if fields.len() != heading.len() {
                return None;
            }
            let cells = heading.iter().cloned().zip(fields.into_iter().map(Value::from));
            Some(cells.collect())
        })
        .collect()
}

fn records(text: &str) -> Option<Vec<Vec<String>>> {
    let mut records = vec![vec![String::new()]];
    let mut chars = text.chars().peekable();
    let mut is_quoted = false;
    while let Some(c) = chars.next() {
        let record = records.last_mut()?;
        let field = record.last_mut()?;
        match c {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if is_quoted || field.is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => record.push(String::new()),
            '\r' if !is_quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !is_quoted => records.push(vec![String::new()]),
            c => field.push(c),
        }
    }
    (!is_quoted).then_some(records)
}

/// A list in one field: JSON, or PostgreSQL's `{a,"b c"}`.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let mut items = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let item = items.last_mut()?;
        match c {
            '"' => is_quoted = !is_quoted,
            '\\' => item.push(chars.next()?),
            ',' if !is_quoted => items.push(String::new()),
            c => item.push(c),
        }
    }
    (!is_quoted).then_some(items)
}
