//! What a guest writes into its runtime register before it serves: which configuration, engine and weights it runs.
//!
//! RTMR3 is the application's register of a TD; nothing else of ours goes into the others.
//! A register cannot be set, only extended: it becomes SHA-384 of what it was followed by an event's digest (Intel TDX
//! Module ABI, TDG.MR.RTMR.EXTEND).
//! So the log explains the register, and the register proves the log: [`EventLog::replay`].
//! Evidence of a GPU differs with each nonce and does not belong here; it is bound by claims.

use aws_lc_rs::digest::{Context, SHA384, SHA384_OUTPUT_LEN};
use serde::{Deserialize, Serialize};

use crate::Hex;

const TAG: &[u8] = b"mulberry-event-v1\0";
/// What any log may hold; ours has a handful.
pub const MAX_EVENTS: usize = 64;
/// Of a name and of a text, each.
pub const MAX_TEXT: usize = 4096;

/// The value of a runtime register, and the length of a digest that extends it.
pub type Register = Hex<SHA384_OUTPUT_LEN>;

/// One thing that was measured: a name from our own list, and its value in canonical text, mostly a digest in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    name: String,
    text: String,
    digest: Register,
}

/// Why something is no event, or no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("a log has at most {MAX_EVENTS} events")]
    TooMany,
    #[error("the name or the text of an event is empty, or longer than {MAX_TEXT} bytes")]
    Length,
    #[error("the name of an event is not of small letters, digits and underscores")]
    Name,
    #[error("an event's digest is not that of its name and text")]
    Digest,
}

impl Event {
    pub fn new(name: &str, text: &str) -> Result<Self, EventError> {
        if [name, text].iter().any(|part| part.is_empty() || part.len() > MAX_TEXT) {
            return Err(EventError::Length);
        }
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !name.bytes().all(is_plain) {
            return Err(EventError::Name);
        }
        Ok(Self {
            digest: digest(name, text)?,
            name: name.to_owned(),
            text: text.to_owned(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-384("mulberry-event-v1\0" ‖ u32 BE length of the name ‖ name ‖ text).
    pub fn digest(&self) -> &Register {
        &self.digest
    }
}

fn digest(name: &str, text: &str) -> Result<Register, EventError> {
    let len = u32::try_from(name.len()).map_err(|_| EventError::Length)?;
    Ok(sha384(&[TAG, &len.to_be_bytes(), name.as_bytes(), text.as_bytes()]))
}

/// What a register becomes when a digest extends it.
pub fn extended(register: &Register, digest: &Register) -> Register {
    sha384(&[&register.0, &digest.0])
}

fn sha384(parts: &[&[u8]]) -> Register {
    let mut context = Context::new(&SHA384);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; SHA384_OUTPUT_LEN];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Hex(out)
}

/// Events in the order in which they extended the register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct EventLog(Vec<Event>);

impl EventLog {
    pub fn new(events: Vec<Event>) -> Result<Self, EventError> {
        if events.len() > MAX_EVENTS {
            return Err(EventError::TooMany);
        }
        Ok(Self(events))
    }

    pub fn events(&self) -> &[Event] {
        &self.0
    }

    /// What a register that held `from` holds after each event, `from` first.
    pub fn steps(&self, from: Register) -> Vec<Register> {
        let mut steps = vec![from];
        let mut register = from;
        for event in &self.0 {
            register = extended(&register, &event.digest);
            steps.push(register);
        }
        steps
    }

    /// What a register that held `from` holds after all events. A log is believed when this is what the quote says.
    pub fn replay(&self, from: Register) -> Register {
        self.0
            .iter()
            .fold(from, |register, event| extended(&register, &event.digest))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    text: String,
    digest: Register,
}

impl<'de> Deserialize<'de> for EventLog {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let written = Vec::<Written>::deserialize(deserializer)?;
        let mut events = Vec::new();
        for Written { name, text, digest } in written {
            let event = Event::new(&name, &text).map_err(D::Error::custom)?;
            if event.digest != digest {
                return Err(D::Error::custom(EventError::Digest));
            }
            events.push(event);
        }
        Self::new(events).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> EventLog {
        let event = |name, text| Event::new(name, text).expect("it is an event");
        EventLog::new(vec![event("config", "00ff"), event("engine", "aa")]).expect("it is short")
    }

    #[test]
    fn a_digest_is_of_tag_length_name_and_text() {
        // Computed with Python's hashlib: sha384(b"mulberry-event-v1\0" + b"\0\0\0\x06" + b"config" + b"00ff").
        let expect = "c868cba416072fe99401ccc2d3610429f8385d1b020571a71ff0d9fe4dd1460e8089b8a77250112116d967045d04ef78";
        assert_eq!(log().events()[0].digest().to_string(), expect);
        // Extended from zeros, then by the second event.
        assert_eq!(
            log().replay(Hex([0; 48])).to_string(),
            "10c034dde9e38375a8699f4e8add175d6cd434bfe44112544f55d56c64f68bd7b39100b432bd1f24ea06f96ef097e3bb"
        );
        let moved = Event::new("configx", "y").expect("it is an event");
        let other = Event::new("config", "xy").expect("it is an event");
        assert_ne!(moved.digest(), other.digest(), "name and text are told apart");
    }

    #[test]
    fn steps_end_where_replay_does() {
        let steps = log().steps(Hex([7; 48]));
        assert_eq!(steps.len(), 3);
        assert_eq!(steps.first(), Some(&Hex([7; 48])));
        assert_eq!(steps.last(), Some(&log().replay(Hex([7; 48]))));
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let json = serde_json::to_string(&log()).expect("a log is JSON");
        assert_eq!(serde_json::from_str::<EventLog>(&json).expect("it is a log"), log());
        for (from, to) in [("00ff", "00fe"), ("config", "confih"), ("\"text\"", "\"texts\"")] {
            let wrong = json.replacen(from, to, 1);
            assert_ne!(wrong, json);
            assert!(serde_json::from_str::<EventLog>(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_plain_and_lengths_bounded() {
        assert_eq!(Event::new("", "x"), Err(EventError::Length));
        assert_eq!(Event::new("x", ""), Err(EventError::Length));
        assert_eq!(Event::new("x", &"y".repeat(MAX_TEXT + 1)), Err(EventError::Length));
        assert_eq!(Event::new("Config", "x"), Err(EventError::Name));
        let event = Event::new("x", "y").expect("it is an event");
        assert_eq!(EventLog::new(vec![event; MAX_EVENTS + 1]), Err(EventError::TooMany));
    }
}
