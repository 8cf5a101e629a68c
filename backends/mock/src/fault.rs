//! The modes: one table of names, and the plan that a model's name asks for.

pub(crate) mod stream;
pub(crate) mod whole;

use std::time::Duration;

use http::StatusCode;

use crate::text;
use crate::wire::Wire;

/// Writes the enum of named faults and the public list from one table.
macro_rules! table {
    (
        named { $($fault:ident = $name:literal: $tells:literal,)* }
        measured { $($pattern:literal: $says:literal,)* }
    ) => {
        /// A fault that is either on or off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($fault),* }

        const NAMED: &[(&str, Fault)] = &[$(($name, Fault::$fault)),*];

        const MODES: &[(&str, &str)] = &[$(($name, $tells),)* $(($pattern, $says),)*];
    };
}

table! {
    named {
        // The connection.
        CutBefore = "cut-before": "closes the connection before any byte of the answer",
        Reset = "reset": "resets the connection (RST) before any byte of the answer",
        CloseOnReuse = "close-on-reuse": "closes without a byte if the connection carried a request before; else answers",
        Hang = "hang": "never answers",
        HangAfterHeaders = "hang-after-headers": "sends the headers, then nothing",
        // The answer as a whole.
        Err200 = "err-200": "200 whose JSON body is an error",
        Html502 = "html-502": "502 with an HTML page",
        Html200 = "html-200": "200 with an HTML page",
        Text500 = "text-500": "500 in plain text",
        NumericCode = "numeric-code": "400 whose error code is a number, as llama.cpp sends it",
        StringError = "string-error": "500 whose error is a bare string",
        ContextOverflow = "context-overflow": "400 exceed_context_size_error, as llama.cpp sends it",
        Overloaded = "overloaded": "503 with retry-after: 1",
        Redirect = "redirect": "307 to a port that nobody should connect to",
        HugeHeaders = "huge-headers": "320 KiB of response headers",
        HopHeaders = "hop-headers": "adds hop-by-hop headers and a cookie that must not be passed on",
        Gzip = "gzip": "compresses the body although nobody asked",
        BadContentType = "bad-content-type": "right body, content-type text/plain",
        EndlessBody = "endless-body": "a JSON body that never ends",
        // HTTP framing, on the bare socket.
        BadChunked = "bad-chunked": "a chunk size that is not hexadecimal, mid-body",
        TruncatedLength = "truncated-length": "closes before content-length is reached",
        DoubleLength = "double-length": "two content-length headers that disagree",
        BadStatusLine = "bad-status-line": "an answer that is not HTTP",
        ExtraBytes = "extra-bytes": "a second, unasked response behind the first",
        EarlyHints = "early-hints": "a 103 before the final response",
        // Where a stream ends.
        Cut = "cut": "resets the connection (RST) after two content chunks, or half a unary body",
        CutFin = "cut-fin": "closes the connection after two content chunks, or half a unary body",
        CleanCut = "clean-cut": "ends the body cleanly after two content chunks, no finish_reason",
        Stall = "stall": "sends two content chunks, or half a unary body, then nothing",
        NoDone = "no-done": "finish_reason and usage, but no [DONE]",
        HoldOpen = "hold-open": "keeps the stream open for 3 s after [DONE]",
        Unterminated = "unterminated": "the last event lacks its blank line",
        // Errors in a stream.
        ErrFirst = "err-first": "the first event of the stream is an error",
        ErrData = "err-data": "an error event after two chunks, then [DONE]",
        ErrDataNoDone = "err-data-no-done": "an error event after two chunks, then the end",
        ErrEvent = "err-event": "the same under `event: error`, then [DONE]",
        ErrChoices = "err-choices": "an error inside a chunk with choices, as OpenRouter sends it",
        // How events are written.
        Crlf = "crlf": "lines end in CR LF",
        Cr = "cr": "lines end in CR",
        Split = "split": "one byte per write",
        NoSpace = "no-space": "no space after `data:`",
        MultiLine = "multi-line": "each event's data spans two `data:` lines",
        Bom = "bom": "the stream begins with a byte order mark",
        Comment = "comment": "keep-alive comments between events",
        EmptyEvent = "empty-event": "the stream begins with `event: ping`",
        AzureFilter = "azure-filter": "the stream begins with Azure's filter results and no choices",
        Bare = "bare": "the finish chunk is a bare JSON line",
        EndlessLine = "endless-line": "after two chunks, a line that never ends",
        // What a chat answer holds.
        Tools = "tools": "two parallel calls, their arguments interleaved",
        ToolsNoIndex = "tools-no-index": "a call whose deltas lack `index`",
        ToolsRepeat = "tools-repeat": "a call whose id and name are repeated in each delta",
        Reasoning = "reasoning": "reasoning_content before the content",
        Unknown = "unknown": "vendor fields in each choice",
        Obfuscation = "obfuscation": "an `obfuscation` field in each chunk",
        // Usage.
        UsageInLast = "usage-in-last": "usage rides on the finish chunk, asked or not",
        NoUsage = "no-usage": "no usage anywhere",
        UsageNullLast = "usage-null-last": "a chunk with `usage: null` follows the usage",
        UsageInflated = "usage-inflated": "claims ten times the true completion tokens",
        UsageOverflow = "usage-overflow": "claims 18446744073709551615 completion tokens",
        UsageNegative = "usage-negative": "claims -5 completion tokens",
        Cached = "cached": "half of the prompt tokens are reported as cached",
    }
    measured {
        "ok": "no fault",
        "slow-<ms>": "pauses before each content chunk, and before a unary body",
        "tokens-<n>": "the answer has n tokens, one per chunk (at most 1000000, and 64 MiB in all)",
        "size-<bytes>": "each token has that many bytes (at most 1048576)",
        "close-after-<n>": "HTTP/1.1: closes right after the connection's nth response, unannounced",
        "<status>[x<n>][ra|RS|long][no|yes]":
            "answers that status, to the first n calls if n is given; ra: retry-after-ms 50, RS: retry-after 1, long: retry-after 300, no/yes: x-should-retry",
        "tag-<name>": "no fault; a name of one's own, so that calls are counted apart",
    }
}

/// Every mode with what it does. A model is named `fault/<mode>`, or `fault/<mode>+<mode>`.
#[must_use]
pub fn modes() -> &'static [(&'static str, &'static str)] {
    MODES
}

const MOST_TOKENS: usize = 1_000_000;
const MOST_TOKEN_BYTES: usize = 1 << 20;

/// All that one model's name asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    faults: Vec<Fault>,
    pub(crate) refuse: Option<Refuse>,
    pub(crate) slow: Option<Duration>,
    pub(crate) tokens: Option<usize>,
    pub(crate) token_bytes: Option<usize>,
    pub(crate) close_after: Option<usize>,
    /// In whose words to fail.
    pub(crate) wire: Wire,
}

/// A status that is answered to the first calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refuse {
    pub(crate) status: StatusCode,
    /// How many calls it is answered to; all of them where none is said.
    pub(crate) times: u64,
    pub(crate) retry_after: Option<(&'static str, &'static str)>,
    pub(crate) should_retry: Option<&'static str>,
}

impl Plan {
    /// The plan of a model's name, or none where the name is not a scripted one.
    pub(crate) fn of_model(model: &str) -> Option<Self> {
        let modes = model.strip_prefix("fault/").or_else(|| model.strip_prefix("m-"))?;
        let mut plan = Self::default();
        for mode in modes.split('+') {
            plan.add(mode)?;
        }
        let bytes = plan.tokens.unwrap_or(1).checked_mul(plan.token_bytes.unwrap_or(1));
        bytes.filter(|bytes| *bytes <= text::MOST_BYTES).map(|_| plan)
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn add(&mut self, mode: &str) -> Option<()> {
        if let Some(fault) = named(mode) {
            self.faults.push(fault);
        } else if let Some(ms) = mode.strip_prefix("slow-") {
            self.slow = Some(Duration::from_millis(ms.parse().ok()?));
        } else if let Some(count) = mode.strip_prefix("tokens-") {
            self.tokens = Some(count.parse().ok().filter(|n| *n <= MOST_TOKENS)?);
        } else if let Some(bytes) = mode.strip_prefix("size-") {
            let bytes = bytes.parse().ok().filter(|n| (1..=MOST_TOKEN_BYTES).contains(n))?;
            self.token_bytes = Some(bytes);
        } else if let Some(count) = mode.strip_prefix("close-after-") {
            self.close_after = Some(count.parse().ok().filter(|n| *n > 0)?);
        } else if mode != "ok" && mode.strip_prefix("tag-").is_none_or(str::is_empty) {
            self.refuse = Some(Refuse::parse(mode)?);
        }
        Some(())
    }
}

/// Dashes do not matter: `nodone` is `no-done`.
fn named(mode: &str) -> Option<Fault> {
    let letters = |name: &str| name.chars().filter(|c| *c != '-').collect::<String>();
    let wanted = letters(mode);
    NAMED
        .iter()
        .find(|(name, _)| letters(name) == wanted)
        .map(|(_, fault)| *fault)
}

impl Refuse {
    /// `<status>[x<n>][ra|RS|long][no|yes]`
    fn parse(mode: &str) -> Option<Self> {
        let (status, rest) = mode.split_at_checked(3)?;
        let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
        // An informational status is no answer.
        if status.as_u16() < 200 {
            return None;
        }
        let (times, rest) = match rest.strip_prefix('x') {
            None => (u64::MAX, rest),
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let (count, rest) = rest.split_at(digits);
                (count.parse().ok()?, rest)
            }
        };
        let (retry_after, rest) = match rest {
            _ if rest.starts_with("ra") => (Some(("retry-after-ms", "50")), &rest[2..]),
            _ if rest.starts_with("RS") => (Some(("retry-after", "1")), &rest[2..]),
            _ if rest.starts_with("long") => (Some(("retry-after", "300")), &rest[4..]),
            _ => (None, rest),
        };
        let should_retry = match rest {
            "" => None,
            "no" => Some("false"),
            "yes" => Some("true"),
            _ => return None,
        };
        Some(Self {
            status,
            times,
            retry_after,
            should_retry,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_is_understood() {
        for (name, _) in NAMED {
            let plan = Plan::of_model(&format!("fault/{name}")).expect(name);
            assert_eq!(plan.faults.len(), 1, "{name}");
        }
    }

    #[test]
    fn names_are_unique() {
        for (place, (name, _)) in MODES.iter().enumerate() {
            assert!(MODES[..place].iter().all(|(other, _)| other != name), "{name}");
        }
    }

    #[test]
    fn a_status_carries_its_count_and_options() {
        let refuse = |mode: &str| Plan::of_model(mode).and_then(|plan| plan.refuse);
        let first = refuse("fault/429x2rano").expect("a refusal");
        assert_eq!((first.status.as_u16(), first.times), (429, 2));
        assert_eq!(first.retry_after, Some(("retry-after-ms", "50")));
        assert_eq!(first.should_retry, Some("false"));
        assert_eq!(refuse("m-503").map(|refuse| refuse.times), Some(u64::MAX));
        assert_eq!(
            refuse("m-503x1RSyes").and_then(|refuse| refuse.should_retry),
            Some("true")
        );
        for wrong in ["m-42", "m-101", "m-429x", "m-429x1maybe", "m-429xé", "m-é29"] {
            assert_eq!(refuse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn modes_combine() {
        let plan = Plan::of_model("fault/tokens-5+size-10+slow-20+crlf+tag-a").expect("a plan");
        assert_eq!((plan.tokens, plan.token_bytes), (Some(5), Some(10)));
        assert_eq!(plan.slow, Some(Duration::from_millis(20)));
        assert!(plan.has(Fault::Crlf));
        for wrong in [
            "fault/",
            "fault/no-such",
            "fault/crlf+",
            "fault/tokens-1000001",
            "m-tokens-1000000+size-99",
            "gpt-4o",
        ] {
            assert_eq!(Plan::of_model(wrong), None, "{wrong}");
        }
    }
}
