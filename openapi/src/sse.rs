//! Server-sent events: where one ends and the next begins.
//!
//! Implements the parsing rules of the HTML standard, section 9.2.6 "Interpreting an event stream": lines end in LF,
//! CRLF or CR, a blank line ends an event, a line that starts with a colon is a comment.
//! Never decodes UTF-8 and never copies what arrives whole: a chunk is cut at its last event boundary, and only the
//! remainder is kept.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

/// An event grew past its limit without ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {limit} bytes")]
pub struct TooLong {
    pub limit: usize,
}

/// Cuts a byte stream into events, whatever the chunks it arrives in.
#[derive(Debug)]
pub struct Splitter {
    /// The beginning of an event whose end has not arrived.
    pending: BytesMut,
    /// Where the current line begins in `pending`.
    line_start: usize,
    /// The last byte seen was CR, so that an LF right after it ends nothing.
    after_cr: bool,
    limit: usize,
}

impl Splitter {
    /// `limit` bounds the bytes held for one event.
    pub fn new(limit: usize) -> Self {
        Self {
            pending: BytesMut::new(),
            line_start: 0,
            after_cr: false,
            limit,
        }
    }

    /// Takes a chunk, returns the whole events that it completes, and in `ends` where each of them ends.
    pub fn feed(&mut self, chunk: Bytes, ends: &mut Vec<usize>) -> Result<Bytes, TooLong> {
        ends.clear();
        if self.pending.is_empty() {
            let mut scan = Scan {
                line_start: 0,
                after_cr: self.after_cr,
                ends,
            };
            scan.run(&chunk, 0);
            (self.line_start, self.after_cr) = (scan.line_start, scan.after_cr);
            let end = ends.last().copied().unwrap_or(0);
            self.line_start -= end;
            self.pending.extend_from_slice(&chunk[end..]);
            self.check_limit()?;
            return Ok(chunk.slice(..end));
        }
        let from = self.pending.len();
        self.pending.extend_from_slice(&chunk);
        let mut scan = Scan {
            line_start: self.line_start,
            after_cr: self.after_cr,
            ends,
        };
        scan.run(&self.pending, from);
        (self.line_start, self.after_cr) = (scan.line_start, scan.after_cr);
        let end = ends.last().copied().unwrap_or(0);
        self.line_start -= end;
        let block = self.pending.split_to(end).freeze();
        self.check_limit()?;
        Ok(block)
    }

    /// What arrived after the last blank line. The standard drops it, servers that forget the blank line mean it.
    pub fn take_rest(&mut self) -> Bytes {
        self.line_start = 0;
        self.pending.split().freeze()
    }

    fn check_limit(&self) -> Result<(), TooLong> {
        if self.pending.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        Ok(())
    }
}

struct Scan<'a> {
    line_start: usize,
    after_cr: bool,
    ends: &'a mut Vec<usize>,
}

impl Scan<'_> {
    /// Looks for line ends in `buffer[from..]`.
    fn run(&mut self, buffer: &[u8], from: usize) {
        let mut at = from;
        if at < buffer.len() && std::mem::take(&mut self.after_cr) && buffer[at] == b'\n' {
            // The second half of a CRLF whose first half came in the chunk before.
            at += 1;
            self.line_start = at;
        }
        while let Some(found) = memchr2(b'\n', b'\r', &buffer[at..]) {
            let line_end = at + found;
            at = line_end + 1;
            if buffer[line_end] == b'\r' {
                if buffer.get(at) == Some(&b'\n') {
                    at += 1;
                } else if at == buffer.len() {
                    self.after_cr = true;
                }
            }
            if line_end == self.line_start {
                self.ends.push(at);
            }
            self.line_start = at;
        }
    }
}

/// One event, borrowed from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The value of the last `event:` line.
    pub name: Option<&'a [u8]>,
    /// The `data:` lines, joined by LF. `None` for an event that has none, such as a lone comment.
    pub data: Option<Cow<'a, [u8]>>,
    /// Whether it holds a comment.
    pub has_comment: bool,
    /// Whether it may be forwarded as it came: LF only, a space after each colon, at most one
    /// `data:` line, no line of unknown make, no byte order mark.
    pub is_clean: bool,
}

impl<'a> Event<'a> {
    /// Reads one event, with or without its final blank line.
    pub fn parse(raw: &'a [u8]) -> Self {
        let mut event = Self {
            name: None,
            data: None,
            has_comment: false,
            is_clean: memchr(b'\r', raw).is_none(),
        };
        for line in lines(raw) {
            event.line(line);
        }
        event
    }

    fn line(&mut self, line: &'a [u8]) {
        // A byte order mark may open the stream. Clients that do not know it would lose the first event.
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(line) => {
                self.is_clean = false;
                line
            }
            None => line,
        };
        if line.is_empty() {
            return;
        }
        let Some(colon) = memchr(b':', line) else {
            self.is_clean = false;
            if line == b"data" {
                self.add_data(b"");
            }
            return;
        };
        let value = match line[colon + 1..].strip_prefix(b" ") {
            Some(value) => value,
            None => {
                // The standard lets the space out, and OpenAI does not: there are clients that look for `data: `.
                self.is_clean &= colon == 0;
                &line[colon + 1..]
            }
        };
        match &line[..colon] {
            b"" => self.has_comment = true,
            b"data" => self.add_data(value),
            b"event" => self.name = Some(value),
            b"id" | b"retry" => {}
            _ => self.is_clean = false,
        }
    }

    fn add_data(&mut self, value: &'a [u8]) {
        match &mut self.data {
            None => self.data = Some(Cow::Borrowed(value)),
            Some(data) => {
                self.is_clean = false;
                let joined = data.to_mut();
                joined.push(b'\n');
                joined.extend_from_slice(value);
            }
        }
    }

    /// The event written anew, with LF and without what had no meaning.
    pub fn write(&self, out: &mut BytesMut) {
        if let Some(name) = self.name {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name);
            out.extend_from_slice(b"\n");
        }
        if let Some(data) = &self.data {
            for line in data.split(|byte| *byte == b'\n') {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(line);
                out.extend_from_slice(b"\n");
            }
        } else if self.has_comment {
            out.extend_from_slice(b":\n");
        }
        out.extend_from_slice(b"\n");
    }
}

fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(end) = memchr2(b'\n', b'\r', rest) else {
            return Some(std::mem::take(&mut rest));
        };
        let line = &rest[..end];
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + if crlf { 2 } else { 1 }..];
        Some(line)
    })
}

/// A comment: keeps a connection warm and is seen by no client.
pub const HEARTBEAT: &[u8] = b": keep-alive\n\n";

/// An upstream's sign of life as we pass it on: a part of the answer, unlike a heartbeat of ours.
pub const COMMENT: &[u8] = b":\n\n";

/// A body without its heartbeats, which come whenever there is time for them and are no part of an answer.
pub fn without_heartbeats(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = memchr::memmem::find(rest, HEARTBEAT) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        // The last line of an event is none.
        let is_own = out.is_empty() || out.ends_with(b"\n\n");
        if !is_own {
            out.extend_from_slice(HEARTBEAT);
        }
        rest = from.get(HEARTBEAT.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// The end of a stream of chunks.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::new(1 << 20);
        let mut events = Vec::new();
        let mut push = |raw: &[u8]| {
            let event = Event::parse(raw);
            if let Some(data) = &event.data {
                events.push(String::from_utf8_lossy(data).into_owned());
            }
        };
        for chunk in chunks {
            let mut ends = Vec::new();
            let block = splitter
                .feed(Bytes::copy_from_slice(chunk), &mut ends)
                .expect("within the limit");
            let mut start = 0;
            for &end in &ends {
                push(&block[start..end]);
                start = end;
            }
            assert_eq!(start, block.len(), "a block is whole events");
        }
        push(&splitter.take_rest());
        events
    }

    #[test]
    fn line_ends_of_every_kind() {
        let expect = vec!["a".to_owned(), "b\nc".to_owned(), "[DONE]".to_owned()];
        for end in ["\n", "\r\n", "\r"] {
            let stream = "data: a##: note##data:b#data: c##data: [DONE]##".replace('#', end);
            assert_eq!(split(&[stream.as_bytes()]), expect, "with {end:?}");
            let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            assert_eq!(split(&bytes), expect, "byte by byte with {end:?}");
        }
    }

    #[test]
    fn a_cr_pairs_with_one_lf_only() {
        let chunks: [&[u8]; 4] = [b"data: a\r", b"\n", b"\n", b"data: b\n\n"];
        assert_eq!(split(&chunks), ["a", "b"]);
        let chunks: [&[u8]; 4] = [b"data: a\r", b"", b"\n", b"\r\ndata: b\n\n"];
        assert_eq!(split(&chunks), ["a", "b"]);
    }

    #[test]
    fn whole_events_are_not_copied() {
        let mut splitter = Splitter::new(1024);
        let chunk = Bytes::from(b"data: a\n\ndata: b\n\ndata: c".to_vec());
        let mut ends = Vec::new();
        let block = splitter.feed(chunk.clone(), &mut ends).expect("within the limit");
        assert_eq!((block.as_ptr(), block.len()), (chunk.as_ptr(), 18));
        assert_eq!(ends, [9, 18]);
    }

    #[test]
    fn an_endless_line_is_cut_off() {
        let mut splitter = Splitter::new(1000);
        let fed: Result<Vec<_>, _> = (0..100)
            .map(|_| splitter.feed(Bytes::from(vec![b'x'; 100]), &mut Vec::new()))
            .collect();
        assert_eq!(fed, Err(TooLong { limit: 1000 }));
    }

    #[test]
    fn heartbeats_are_no_part_of_an_answer() {
        let check = |body: &str, expect: &str| {
            assert_eq!(
                String::from_utf8_lossy(&without_heartbeats(body.as_bytes())),
                expect,
                "for {body}"
            );
        };
        check(
            ": keep-alive\n\n: keep-alive\n\ndata: a\n\n: keep-alive\n\ndata: b\n\n",
            "data: a\n\ndata: b\n\n",
        );
        check(
            "data: a\n: keep-alive\n\ndata: b\n\n",
            "data: a\n: keep-alive\n\ndata: b\n\n",
        );
        check("{\"a\": 1}", "{\"a\": 1}");
        check("", "");
    }

    #[test]
    fn clean_means_forwardable() {
        assert!(Event::parse(b"data: {}\n\n").is_clean);
        assert!(Event::parse(b"event: x\nid: 4\ndata: {}\n\n").is_clean);
        assert!(!Event::parse(b"data: {}\r\n\r\n").is_clean);
        assert!(!Event::parse(b"{\"bare\": 1}\n\n").is_clean);
        let mut out = BytesMut::new();
        Event::parse(b"event: e\r\ndata: 1\rdata: 2\r\r").write(&mut out);
        assert_eq!(out, b"event: e\ndata: 1\ndata: 2\n\n"[..]);
    }

    proptest! {
        /// However a stream is cut into chunks, the events are the same.
        #[test]
        fn chunking_changes_nothing(
            lines in proptest::collection::vec("(data: ?[a-z]{0,5}|: c|event: e|)(\n|\r\n|\r)", 0..30),
            cuts in proptest::collection::vec(0usize..300, 0..10),
        ) {
            let stream = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&chunks), split(&[&stream]));
        }
    }
}
