//! Reading `multipart/form-data` (RFC 7578) as it arrives.
//!
//! A file is hashed and counted, never held whole: of its content at most 1 MiB is kept.
//! Refuses parts without a name, part headers over 16 KiB, text fields over 64 KiB, and more than
//! 64 parts.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use memchr::memmem;
use sha2::{Digest, Sha256};

use crate::refusal::Refusal;

const HEADER_BYTES: usize = 16 << 10;
const FIELD_BYTES: usize = 64 << 10;
const PARTS: usize = 64;
pub(crate) const KEPT_BYTES: usize = 1 << 20;
/// How much of the raw body the journal gets.
const PREFIX_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Upload {
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) file: Option<File>,
    pub(crate) prefix: Vec<u8>,
    pub(crate) body_bytes: usize,
}

/// The last part that had a file name.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) filename: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    /// The content, if it fits into what we keep.
    pub(crate) content: Option<Vec<u8>>,
}

pub(crate) async fn read(mut incoming: Incoming, content_type: &str) -> Result<Upload, Refusal> {
    let mut parser = Parser::new(content_type)?;
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| Refusal::bad("the request body broke off"))?;
        if let Ok(data) = frame.into_data() {
            parser.feed(&data)?;
        }
    }
    parser.finish()
}

struct Parser {
    /// A line break, two dashes and the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
    parts: usize,
    upload: Upload,
}

enum State {
    Preamble,
    AfterDelimiter,
    Headers,
    Field {
        name: String,
        value: Vec<u8>,
    },
    File {
        filename: String,
        hash: Sha256,
        bytes: u64,
        kept: Vec<u8>,
    },
    End,
}

impl Parser {
    fn new(content_type: &str) -> Result<Self, Refusal> {
        let boundary = parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty());
        let boundary = boundary
            .filter(|_| content_type.to_ascii_lowercase().starts_with("multipart/form-data"))
            .ok_or_else(|| Refusal::bad("The body must be multipart/form-data with a boundary."))?;
        Ok(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first delimiter may open the body, with no line before it.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: State::Preamble,
            parts: 0,
            upload: Upload::default(),
        })
    }

    fn feed(&mut self, data: &[u8]) -> Result<(), Refusal> {
        self.upload.body_bytes += data.len();
        let room = PREFIX_BYTES - self.upload.prefix.len();
        self.upload.prefix.extend_from_slice(&data[..data.len().min(room)]);
        self.buffer.extend_from_slice(data);
        while self.step()? {}
        Ok(())
    }

    fn finish(self) -> Result<Upload, Refusal> {
        match self.state {
            State::End => Ok(self.upload),
            _ => Err(Refusal::bad("The multipart body ends without its last boundary.")),
        }
    }

    /// Takes what it can from the buffer; false once more bytes are needed.
    fn step(&mut self) -> Result<bool, Refusal> {
        match &self.state {
            State::Preamble | State::Field { .. } | State::File { .. } => self.data(),
            State::AfterDelimiter => {
                let Some(next) = self.buffer.get(..2) else {
                    return Ok(false);
                };
                self.state = match next {
                    b"--" => State::End,
                    b"\r\n" => State::Headers,
                    _ => {
                        return Err(Refusal::bad(
                            "A multipart boundary is followed by neither -- nor a line end.",
                        ));
                    }
                };
                self.buffer.advance(2);
                Ok(true)
            }
            State::Headers => self.headers(),
            State::End => {
                self.buffer.clear();
                Ok(false)
            }
        }
    }

    fn data(&mut self) -> Result<bool, Refusal> {
        let found = memmem::find(&self.buffer, &self.delimiter);
        // Without a delimiter, the end of the buffer may still be the beginning of one.
        let safe = found.unwrap_or((self.buffer.len() + 1).saturating_sub(self.delimiter.len()));
        let data = self.buffer.split_to(safe);
        match &mut self.state {
            State::Field { value, .. } => {
                if value.len() + data.len() > FIELD_BYTES {
                    return Err(Refusal::too_large(FIELD_BYTES));
                }
                value.extend_from_slice(&data);
            }
            State::File { hash, bytes, kept, .. } => {
                hash.update(&data);
                *bytes += data.len() as u64;
                let room = KEPT_BYTES - kept.len();
                kept.extend_from_slice(&data[..data.len().min(room)]);
            }
            _ => {}
        }
        if found.is_none() {
            return Ok(false);
        }
        self.buffer.advance(self.delimiter.len());
        match std::mem::replace(&mut self.state, State::AfterDelimiter) {
            State::Field { name, value } => {
                let text = String::from_utf8(value).map_err(|_| Refusal::bad("A field is not UTF-8."))?;
                self.upload.fields.insert(name, text);
            }
            State::File {
                filename,
                hash,
                bytes,
                kept,
            } => {
                let content = (bytes == kept.len() as u64).then_some(kept);
                let sha256 = hex(&hash.finalize());
                self.upload.file = Some(File {
                    filename,
                    sha256,
                    bytes,
                    content,
                });
            }
            _ => {}
        }
        Ok(true)
    }

    fn headers(&mut self) -> Result<bool, Refusal> {
        let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") else {
            if self.buffer.len() > HEADER_BYTES {
                return Err(Refusal::too_large(HEADER_BYTES));
            }
            return Ok(false);
        };
        self.parts += 1;
        if self.parts > PARTS {
            return Err(Refusal::bad("Too many parts."));
        }
        let head = self.buffer.split_to(end + 4);
        let head = String::from_utf8_lossy(&head);
        let disposition = head.lines().filter_map(|line| line.split_once(':'));
        let disposition = disposition
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-disposition"))
            .map(|(_, value)| value.trim())
            .next()
            .unwrap_or_default();
        let name = parameter(disposition, "name");
        let name = name.ok_or_else(|| Refusal::bad("A part has no name."))?;
        self.state = match parameter(disposition, "filename") {
            Some(filename) => State::File {
                filename,
                hash: Sha256::new(),
                bytes: 0,
                kept: Vec::new(),
            },
            None => State::Field {
                name,
                value: Vec::new(),
            },
        };
        // The line end before a delimiter may be the one that ended the headers of an empty part.
        let mut rest = BytesMut::new();
        if self.buffer.starts_with(&self.delimiter[2..]) {
            rest.extend_from_slice(b"\r\n");
            rest.extend_from_slice(&self.buffer);
            self.buffer = rest;
        }
        Ok(true)
    }
}

/// A parameter of a header's value, quoted or not; a semicolon inside quotes does not end it.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let (name, after) = after.split_once('=')?;
        let (text, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text.trim().to_owned());
        }
        rest = after;
    }
    None
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nmock\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b.wav\"\r\n\r\n\
        one\r\n--not\r\n\r\n--b--\r\n";

    fn parse(body: &[u8], piece: usize) -> Result<Upload, Refusal> {
        let mut parser = Parser::new("multipart/form-data; boundary=\"b\"")?;
        body.chunks(piece).try_for_each(|data| parser.feed(data))?;
        parser.finish()
    }

    #[test]
    fn any_split_of_the_body_gives_the_same_parts() {
        for piece in 1..=BODY.len() {
            let upload = parse(BODY, piece).expect("a whole body");
            assert_eq!(upload.fields["model"], "mock");
            let file = upload.file.expect("a file");
            assert_eq!(file.filename, "a;b.wav");
            assert_eq!(file.content.as_deref(), Some(&b"one\r\n--not\r\n"[..]));
            assert_eq!(file.sha256, hex(&Sha256::digest(b"one\r\n--not\r\n")));
            assert_eq!(upload.body_bytes, BODY.len());
        }
    }

    #[test]
    fn broken_bodies_are_refused() {
        for cut in 0..BODY.len() - 4 {
            assert!(parse(&BODY[..cut], 7).is_err(), "cut at {cut}");
        }
        assert!(parse(b"--b\r\nx: y\r\n\r\nvalue\r\n--b--", 4).is_err());
        assert!(Parser::new("application/json").is_err());
    }

    #[test]
    fn a_large_file_is_counted_but_not_kept() {
        let mut body = b"--b\r\ncontent-disposition: form-data; name=f; filename=f\r\n\r\n".to_vec();
        body.resize(body.len() + KEPT_BYTES + 1, b'x');
        body.extend_from_slice(b"\r\n--b--");
        let file = parse(&body, 8192).expect("a whole body").file.expect("a file");
        assert_eq!(file.bytes, KEPT_BYTES as u64 + 1);
        assert!(file.content.is_none());
    }
}
