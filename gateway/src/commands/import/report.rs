//! What was not carried over, and what the operator should know.

use super::fields::Field;
use crate::config::Place;

#[derive(Debug, Default)]
pub(super) struct Report {
    notes: Vec<Note>,
}

#[derive(Debug)]
struct Note {
    /// The file, where it is not the one that is imported.
    file: Option<String>,
    place: Place,
    key: String,
    words: String,
    is_loss: bool,
}

impl Report {
    /// Something has no place here.
    pub(super) fn lost(&mut self, field: &Field<'_>, why: impl Into<String>) {
        self.add(field, why.into(), true);
    }

    /// Something is as it was, or nearly, and the operator should know how.
    pub(super) fn note(&mut self, field: &Field<'_>, words: impl Into<String>) {
        self.add(field, words.into(), false);
    }

    /// The same, unless these words were said before.
    pub(super) fn note_once(&mut self, field: &Field<'_>, words: String) {
        if !self.notes.iter().any(|note| note.words == words) {
            self.add(field, words, false);
        }
    }

    fn add(&mut self, field: &Field<'_>, words: String, is_loss: bool) {
        self.notes.push(Note {
            file: None,
            place: field.node.place.clone(),
            key: field.key.clone(),
            words,
            is_loss,
        });
    }

    /// The same for a thing of another file.
    pub(super) fn of_file(&mut self, file: &str, key: &str, words: impl Into<String>, is_loss: bool) {
        self.notes.push(Note {
            file: Some(file.to_owned()),
            place: Place::Whole,
            key: key.to_owned(),
            words: words.into(),
            is_loss,
        });
    }

    pub(super) fn has_losses(&self) -> bool {
        self.notes.iter().any(|note| note.is_loss)
    }

    pub(super) fn summary(&self) -> String {
        let lost = self.notes.iter().filter(|note| note.is_loss).count();
        let known = self.notes.len() - lost;
        format!("not carried over: {lost}, to know: {known}")
    }

    /// One line for each, in the order of the file called `name`.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        let mut notes: Vec<&Note> = self.notes.iter().collect();
        notes.sort_by(|a, b| (a.file.is_some(), &a.place).cmp(&(b.file.is_some(), &b.place)));
        let line = |note: &&Note| {
            let file = note.file.as_deref().unwrap_or(name);
            let place = match &note.place {
                Place::File { line, column } => format!("{file}:{line}:{column}"),
                Place::Whole | Place::Variable(_) => file.to_owned(),
            };
            let kind = if note.is_loss { "not carried over: " } else { "" };
            format!("{place}: `{}`: {kind}{}", note.key.escape_debug(), note.words)
        };
        notes.iter().map(line).collect()
    }
}
