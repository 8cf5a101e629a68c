//! Reads a form as it passes, in any pieces: which part is `model`, whether there is one at most, and which parts tell
//! who asks.
//!
//! Of the content of other parts nothing is kept but what a boundary may begin in, so that a form of any size takes a
//! few hundred bytes, and at most [`MAX_HEAD`].
//!
//! Servers differ in what they forgive. A line that only some take for a boundary, and a head that only some can
//! read, is refused (RFC 7578, RFC 2046 section 5.1.1): else one server's content is another one's `model`.

use std::sync::Arc;

use memchr::memmem::Finder;
use openapi::request::RequestError;

use super::head::{Part, form, part};

/// The longest name that a model may have in a form.
const MAX_NAME: usize = 256;
/// The longest head of a part.
const MAX_HEAD: usize = 16 * 1024;

pub(super) struct Scan {
    /// `--` and the boundary.
    delimiter: Finder<'static>,
    state: State,
    /// The last bytes of a content, a head from behind its delimiter, or the model's name so far.
    kept: Vec<u8>,
    is_closed: bool,
    has_model: bool,
    is_late: bool,
    model: Option<Arc<str>>,
}

/// What the next byte is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Before the first delimiter, where nothing may be but one line end: some servers read there what others skip.
    Start,
    Content,
    /// The content of a part that tells who asks.
    Identity,
    Head,
    Model,
}

impl Scan {
    pub(super) fn new(boundary: &[u8]) -> Self {
        Self::of(Finder::new(&[b"--", boundary].concat()).into_owned())
    }

    /// One of the same form, from its beginning.
    pub(super) fn anew(&self) -> Self {
        Self::of(self.delimiter.clone())
    }

    fn of(delimiter: Finder<'static>) -> Self {
        Self {
            delimiter,
            state: State::Start,
            kept: Vec::new(),
            is_closed: false,
            has_model: false,
            is_late: false,
            model: None,
        }
    }

    /// The name, once the whole part was read.
    pub(super) fn model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    /// The part has begun, and its end is near.
    pub(super) fn is_in_model(&self) -> bool {
        self.state == State::Model
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The request is routed by what was read until now.
    pub(super) fn expect_no_more(&mut self) {
        self.is_late = true;
    }

    /// The next piece. After an error nothing of it may be sent on, nor anything else be read.
    pub(super) fn read(&mut self, mut data: &[u8]) -> Result<(), RequestError> {
        while !data.is_empty() {
            let taken = self.step(data)?;
            data = &data[taken..];
        }
        Ok(())
    }

    /// Reads as far as the state is the same. Says how many bytes it took: of the head with the empty line, of the
    /// rest with the delimiter.
    pub(super) fn step(&mut self, data: &[u8]) -> Result<usize, RequestError> {
        match self.state {
            State::Start => self.read_start(data),
            State::Content | State::Identity => self.read_content(data),
            State::Head => self.read_head(data),
            State::Model => self.read_model(data),
        }
    }

    fn read_start(&mut self, data: &[u8]) -> Result<usize, RequestError> {
        for (at, byte) in data.iter().copied().enumerate() {
            self.kept.push(byte);
            let delimiter = self.delimiter.needle();
            let line = self.kept.strip_prefix(b"\r\n").unwrap_or(&self.kept);
            if line == delimiter {
                self.begin_part()?;
                return Ok(at + 1);
            }
            if !delimiter.starts_with(line) && self.kept != b"\r" {
                return Err(form("the boundary of its content-type at its beginning"));
            }
        }
        Ok(data.len())
    }

    /// Looks for the next delimiter. Says how many bytes it took.
    fn read_content(&mut self, data: &[u8]) -> Result<usize, RequestError> {
        let length = self.delimiter.needle().len();
        // A delimiter with the two bytes before it. What begins in the third byte of `data` is found below.
        let before = self.kept.len();
        self.kept.extend_from_slice(&data[..data.len().min(length + 1)]);
        for at in self.delimiter.find_iter(&self.kept) {
            if at + length > before && begins_line(&self.kept[..at])? {
                let taken = at + length - before;
                self.begin_part()?;
                return Ok(taken);
            }
        }
        for at in self.delimiter.find_iter(data) {
            if at >= 2 && begins_line(&data[..at])? {
                self.begin_part()?;
                return Ok(at + length);
            }
        }
        if data.len() > length + 1 {
            self.kept.clear();
            self.kept.extend_from_slice(&data[data.len() - length - 1..]);
        } else {
            let excess = self.kept.len().saturating_sub(length + 1);
            self.kept.drain(..excess);
        }
        Ok(data.len())
    }

    fn begin_part(&mut self) -> Result<(), RequestError> {
        if self.is_closed {
            return Err(form("nothing after the last boundary"));
        }
        self.state = State::Head;
        self.kept.clear();
        Ok(())
    }

    /// Reads from behind a delimiter to the empty line. A line that ends otherwise than in CR LF is refused at once,
    /// for a server that takes it may see the whole part before we see the end of its head.
    fn read_head(&mut self, data: &[u8]) -> Result<usize, RequestError> {
        for (at, byte) in data.iter().copied().enumerate() {
            if (self.kept.last() == Some(&b'\r')) != (byte == b'\n') {
                return Err(form("lines that end in CR LF"));
            }
            self.kept.push(byte);
            if self.kept == b"--" {
                self.is_closed = true;
                // Two bytes that begin no line.
                self.state = State::Content;
                return Ok(at + 1);
            }
            if self.kept.ends_with(b"\r\n\r\n") {
                let part = part(&self.kept)?;
                self.kept.clear();
                self.state = match part {
                    Part::Model => return self.begin_model().map(|()| at + 1),
                    Part::Identity => State::Identity,
                    Part::Other => State::Content,
                };
                // A content may be empty, and its delimiter follows at once.
                self.kept.extend_from_slice(b"\r\n");
                return Ok(at + 1);
            }
            if self.kept.len() > MAX_HEAD {
                return Err(form("less than 16 KiB of headers in each part"));
            }
        }
        Ok(data.len())
    }

    fn begin_model(&mut self) -> Result<(), RequestError> {
        if self.has_model {
            return Err(RequestError::Duplicate { name: "model".into() });
        }
        if self.is_late {
            return Err(model("a part of the form before the file, within its first 64 KiB"));
        }
        self.has_model = true;
        self.state = State::Model;
        Ok(())
    }

    fn read_model(&mut self, data: &[u8]) -> Result<usize, RequestError> {
        let delimiter = self.delimiter.needle();
        for (at, byte) in data.iter().copied().enumerate() {
            self.kept.push(byte);
            if let Some(name) = self
                .kept
                .strip_suffix(delimiter)
                .and_then(|rest| rest.strip_suffix(b"\r\n"))
            {
                self.model = Some(name_of(name)?);
                self.begin_part()?;
                return Ok(at + 1);
            }
            if self.kept.len() > MAX_NAME + 2 + delimiter.len() {
                return Err(model("a name of at most 256 bytes"));
            }
        }
        Ok(data.len())
    }
}

/// Whether a delimiter behind these bytes is one. Behind half a line end it is to some.
fn begins_line(before: &[u8]) -> Result<bool, RequestError> {
    match before {
        [.., b'\r', b'\n'] => Ok(true),
        [.., b'\r' | b'\n'] => Err(form("lines that end in CR LF")),
        _ => Ok(false),
    }
}

fn name_of(value: &[u8]) -> Result<Arc<str>, RequestError> {
    if value.is_empty() {
        return Err(RequestError::Missing { param: "model" });
    }
    let name = std::str::from_utf8(value).ok();
    let name = name.filter(|name| name.len() <= MAX_NAME && !name.contains(char::is_control));
    name.map(Arc::from)
        .ok_or(model("a name of at most 256 bytes, without line ends"))
}

fn model(expected: &'static str) -> RequestError {
    RequestError::OutOfRange {
        param: "model",
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The model, or how the form is refused, in pieces of any size alike.
    fn check(form: &[u8], expected: Result<Option<&str>, &str>) {
        for size in 1..=form.len().max(1) {
            let mut scan = Scan::new(b"X");
            let found = form.chunks(size).try_for_each(|piece| scan.read(piece));
            let found = found.map(|()| scan.model().map(|name| &**name));
            let shown = String::from_utf8_lossy(form);
            assert_eq!(
                found.as_ref().map_err(RequestError::code),
                expected.as_ref().map_err(|code| *code),
                "{shown} by {size}"
            );
        }
    }

    fn part(disposition: &str, value: &str) -> String {
        format!("--X\r\nContent-Disposition: {disposition}\r\n\r\n{value}\r\n")
    }

    fn cheap() -> String {
        part("form-data; name=\"model\"", "cheap")
    }

    #[test]
    fn the_field_is_found_among_others() {
        let file = part(
            "form-data; name=\"file\"; filename=\"a\"",
            "name=\"model\"\r\n--\r\nx--X\r\n-",
        );
        let language = part("form-data; name=language", "");
        check(
            format!("{language}{}{file}--X--\r\n", cheap()).as_bytes(),
            Ok(Some("cheap")),
        );
        check(format!("{file}{}--X", cheap()).as_bytes(), Ok(Some("cheap")));
        check(
            format!("\r\n{}--X--\r\nepilogue", cheap()).as_bytes(),
            Ok(Some("cheap")),
        );
        check(format!("{file}{language}--X--").as_bytes(), Ok(None));
        check(cheap().as_bytes(), Ok(None)); // Not before it is whole.
        check(b"", Ok(None));
        for name in [
            "name=model",
            "NAME=\"model\"",
            "name=\"mo\\del\"",
            "filename=\"x\"; name=\"model\"",
        ] {
            let form = part(&format!("form-data; {name}"), "cheap");
            check(format!("{form}--X--").as_bytes(), Ok(Some("cheap")));
        }
    }

    #[test]
    fn nothing_stands_before_the_first_part() {
        let cheap = cheap();
        for before in ["preamble\r\n", "\r\nj", "\r\n\r\n", "\n", "\r", " ", "-"] {
            check(format!("{before}{cheap}--X--").as_bytes(), Err("invalid_value"));
        }
        check(b"--Y\r\n", Err("invalid_value"));
    }

    #[test]
    fn other_parameters_are_not_the_name() {
        for disposition in [
            "form-data; name=\"x\"; filename=\"model\"",
            "form-data; name=\"x\"; filename*=utf-8''model",
            "form-data; name=\"x\"; xname=\"model\"",
        ] {
            let decoy = part(disposition, "dear");
            check(format!("{decoy}--X--").as_bytes(), Ok(None));
            check(format!("{decoy}{}--X--", cheap()).as_bytes(), Ok(Some("cheap")));
        }
    }

    #[test]
    fn a_second_model_is_refused() {
        let cheap = cheap();
        for second in ["name=\"model\"", "name=model", "filename=\"a\"; Name=\"model\""] {
            let second = part(&format!("form-data; {second}"), "dear");
            check(format!("{cheap}{second}--X--").as_bytes(), Err("duplicate_parameter"));
            let far = part("form-data; name=file", &"-".repeat(500));
            check(format!("{cheap}{far}{second}").as_bytes(), Err("duplicate_parameter"));
        }
    }

    #[test]
    fn a_part_that_servers_read_differently_is_refused() {
        let cheap = cheap();
        for second in [
            part("form-data; name*=utf-8''model", "dear"),
            part("form-data; name=\"x; name=model\"", "dear"),
            part("form-data; name=\"x\"; filename=\"; name=\\\"model\\\"\"", "dear"),
            part("form-data; name=\"x\"; filename=\"; Name = user\"", "dear"),
            part("form-data; name=\"x\"; a=\"\\\\\"; b=\"; name=model; c=\"", "dear"),
            part("form-data; name=\u{a0}model", "dear"),
            part("form-data; name*0=mo; name*1=del", "dear"),
            part("form-data; name=x; name=model", "dear"),
            part("form-data; name=\"Model\"", "dear"),
            part("form-data; name=\" model\"", "dear"),
            part("attachment; name=\"model\"", "dear"),
            part("form-data", "dear"),
            part(
                "form-data; name=x\r\nContent-Disposition: form-data; name=model",
                "dear",
            ),
            part("form-data;\r\n name=model", "dear"),
            part("form-data; name=x\r\nnot a header", "dear"),
            part("form-data; name=x\r\nx : y", "dear"),
            cheap.replace("\r\n", "\n"),
            cheap.replace("--X\r\n", "--X\n"),
            cheap.replace("--X\r\n", "--Xy\r\n"),
            cheap.replace("--X\r\n", "\n--X\r\n"),
            cheap.replace("--X\r\n", "\r--X\r\n"),
            "--X\r\n\r\ndear\r\n".to_owned(),
            format!("--X--\r\n{cheap}"),
        ] {
            check(format!("{cheap}{second}--X--").as_bytes(), Err("invalid_value"));
        }
        let encoded = cheap.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n");
        check(format!("{encoded}--X--").as_bytes(), Err("invalid_value"));
    }

    #[test]
    fn a_name_is_one_line_of_text() {
        let of = |name: &str| format!("{}--X--", part("form-data; name=\"model\"", name)).into_bytes();
        let long = "m".repeat(MAX_NAME);
        check(&of(&long), Ok(Some(&long)));
        check(&of(&format!("{long}m")), Err("invalid_value"));
        check(&of("a\nb"), Err("invalid_value"));
        check(&of(""), Err("missing_required_parameter"));
        check(
            &[
                b"--X\r\nContent-Disposition: form-data; name=model\r\n\r\n",
                &b"\xff\r\n--X"[..],
            ]
            .concat(),
            Err("invalid_value"),
        );
    }

    #[test]
    fn a_head_has_an_end() {
        let mut scan = Scan::new(b"X");
        scan.read(b"--X\r\n").expect("a part begins");
        let endless = scan.read(&[b'a'; 2 * MAX_HEAD]);
        assert_eq!(endless.map_err(|error| error.code()), Err("invalid_value"));
    }

    #[test]
    fn a_model_behind_what_was_read_ahead_is_refused_and_little_is_kept() {
        let mut scan = Scan::new(b"X");
        let head = part("form-data; name=\"file\"", "");
        scan.read(head.trim_end().as_bytes()).expect("a file");
        scan.read(b"\r\n\r\n").expect("its content");
        scan.expect_no_more();
        for _ in 0..100 {
            scan.read(&[b'-'; 64 << 10]).expect("content");
        }
        assert!(scan.kept.capacity() < 1024, "{}", scan.kept.capacity());
        let refused = scan
            .read(format!("\r\n{}", cheap()).as_bytes())
            .expect_err("it is late");
        assert_eq!((refused.code(), refused.param()), ("invalid_value", Some("model")));
        assert!(refused.to_string().contains("before the file"), "{refused}");
    }
}
