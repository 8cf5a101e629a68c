//! Server-sent events before they are bytes, so that faults can be applied event by event.

use serde_json::Value;

/// Which part of a stream an event is; faults aim at parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Head,
    Content,
    Finish,
    Usage,
    Done,
}

pub(crate) struct Event {
    pub(crate) name: Option<&'static str>,
    pub(crate) data: String,
    pub(crate) part: Part,
}

impl Event {
    pub(crate) fn new(part: Part, data: &Value) -> Self {
        Self {
            name: None,
            data: data.to_string(),
            part,
        }
    }

    /// An event whose name is also its data's `type`, as in the Responses API.
    pub(crate) fn typed(part: Part, name: &'static str, data: &Value) -> Self {
        Self {
            name: Some(name),
            ..Self::new(part, data)
        }
    }

    pub(crate) fn done() -> Self {
        Self {
            name: None,
            data: "[DONE]".to_owned(),
            part: Part::Done,
        }
    }
}

pub(crate) type Events = Box<dyn Iterator<Item = Event> + Send>;

/// How an event becomes bytes.
#[derive(Clone, Copy)]
pub(crate) struct Framing {
    pub(crate) newline: &'static str,
    /// After the colon of a field.
    pub(crate) space: &'static str,
    /// Breaks the data into two `data:` lines after its first comma, which JSON allows.
    pub(crate) two_lines: bool,
}

impl Framing {
    pub(crate) fn encode(self, event: &Event) -> String {
        let Self {
            newline,
            space,
            two_lines,
        } = self;
        let mut out = String::with_capacity(event.data.len() + 16);
        if let Some(name) = event.name {
            out.extend(["event:", space, name, newline]);
        }
        match event.data.split_once(',') {
            Some((first, rest)) if two_lines => {
                out.extend(["data:", space, first, ",", newline, "data:", space, rest]);
            }
            _ => out.extend(["data:", space, &event.data]),
        }
        out.extend([newline, newline]);
        out
    }
}
