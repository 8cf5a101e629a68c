//! W3C Trace Context: whose child a request is. <https://www.w3.org/TR/trace-context/>
//!
//! `traceparent` is read as section 3.2 has it, of a later version what version 00 knows; what is not valid is no context.
//! `tracestate` is not looked at.

use std::{sync::Arc, time::Instant};

use http::{HeaderName, HeaderValue};

use crate::kind::Kind;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A span, and the trace that it belongs to. Neither number is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub trace: u128,
    pub span: u64,
    /// As they came: bit 0 says that the trace is recorded.
    pub flags: u8,
}

const SAMPLED: u8 = 1;
const LENGTH: usize = 55;

impl TraceContext {
    /// A trace of our own.
    pub fn begin(is_sampled: bool) -> Self {
        Self {
            trace: fastrand::u128(1..),
            span: fastrand::u64(1..),
            flags: if is_sampled { SAMPLED } else { 0 },
        }
    }

    /// A new span below this one.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span: fastrand::u64(1..),
            ..self
        }
    }

    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Reads a `traceparent`: `{version}-{trace id}-{parent id}-{flags}`, lower-case hexadecimal.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let (known, more) = value.split_at_checked(LENGTH)?;
        let is_shaped = known.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => is_hex(byte),
        });
        let text = std::str::from_utf8(known).ok().filter(|_| is_shaped)?;
        let is_version = match &text[..2] {
            "00" => more.is_empty(),
            "ff" => false,
            // Section 4.3: a later version may add members, and only at the end.
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        let context = Self {
            trace: u128::from_str_radix(&text[3..35], 16).ok()?,
            span: u64::from_str_radix(&text[36..52], 16).ok()?,
            flags: u8::from_str_radix(&text[53..], 16).ok()?,
        };
        (is_version && context.trace != 0 && context.span != 0).then_some(context)
    }

    /// The `traceparent` of a request whose parent is this span.
    pub fn header(self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let put = |digits: &mut [u8], mut value: u128| {
            for digit in digits.iter_mut().rev() {
                *digit = HEX[(value & 15) as usize];
                value >>= 4;
            }
        };
        put(&mut text[3..35], self.trace);
        put(&mut text[36..52], u128::from(self.span));
        put(&mut text[53..], u128::from(self.flags));
        HeaderValue::from_bytes(&text).expect("hexadecimal digits stand in a header")
    }
}

/// One attempt as a trace tells it: where, when and how it ended, and nothing that was said.
#[derive(Debug, Clone)]
pub struct AttemptSpan {
    pub id: u64,
    pub upstream: Arc<str>,
    pub backend: Arc<str>,
    pub kind: Kind,
    /// The model's name there, where it is another than the client's.
    pub model: Option<Arc<str>>,
    pub started: Instant,
    /// `None` while its answer streams.
    pub ended: Option<Instant>,
    /// Of the upstream's answer, if it gave one.
    pub status: Option<u16>,
    /// Why it failed, in a word.
    pub error: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_alike() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::parse(text.as_bytes()).expect("it is valid");
        assert!(context.is_sampled());
        assert_eq!(context.header(), text);
        let child = context.child();
        assert_eq!((child.trace, child.flags), (context.trace, context.flags));
        assert_ne!(child.span, context.span);
    }

    #[test]
    fn of_a_later_version_we_read_what_we_know() {
        let known = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for text in [format!("01-{known}"), format!("cc-{known}-what-the-future-will-be")] {
            let context = TraceContext::parse(text.as_bytes()).expect("it is valid");
            assert_eq!(context.header(), format!("00-{known}"), "{text}");
        }
    }

    #[test]
    fn what_is_not_valid_is_no_context() {
        for text in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333+-01",
            "secret",
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }
}
