//! Reading a signed document: canonical JSON, with white space between its tokens, and nothing else.
//!
//! The white space is what tools add that show or store JSON; it is dropped, and what is left must be byte for byte
//! what RFC 8785 prescribes within the bounds of [`super::writer`]. So the bytes that were signed are known without
//! writing anything anew, and a text that means the same but is spelled otherwise is refused with its place.

use std::{fmt, ops::Range};

use super::writer::{self, MOST};

/// No receipt comes near.
const MAX_LEN: usize = 1024 * 1024;
const MAX_DEPTH: usize = 16;

/// A JSON object whose form is canonical. Says nothing of who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    text: String,
    members: Vec<Member>,
}

/// A member of the outermost object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: String,
    /// With its name.
    whole: Range<usize>,
    value: Range<usize>,
}

/// Where a text departs from the form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Malformed {
    /// Of the text as it was given, counted from 0.
    pub at: usize,
    /// The member of the outermost object that stands there, or the one before; `None` before the first.
    pub member: Option<String>,
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} {}", self.at, self.what)
    }
}

impl Document {
    /// One document, with nothing but white space around it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let document = reader.document()?;
        reader.skip_space();
        match reader.peek() {
            None => Ok(document),
            Some(_) => Err(reader.malformed("stands behind the end of the document")),
        }
    }

    /// Documents one after another, as in NDJSON.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut documents = Vec::new();
        loop {
            reader.skip_space();
            if reader.peek().is_none() {
                return Ok(documents);
            }
            documents.push(reader.document()?);
        }
    }

    /// Without white space.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its members, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// The text of a member's value.
    pub fn value(&self, name: &str) -> Option<&str> {
        let member = self.members.iter().find(|member| member.name == name)?;
        self.text.get(member.value.clone())
    }

    /// Names and the texts of their values.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        let value = |member: &Member| self.text.get(member.value.clone()).unwrap_or_default();
        self.members
            .iter()
            .map(move |member| (member.name.as_str(), value(member)))
    }

    /// The same object with other members: `None` leaves one out.
    pub(super) fn with(&self, change: impl Fn(&str) -> Change) -> String {
        let mut out = String::with_capacity(self.text.len());
        out.push('{');
        for member in &self.members {
            let change = change(&member.name);
            if matches!(change, Change::Drop) {
                continue;
            }
            if out.len() > 1 {
                out.push(',');
            }
            match change {
                Change::Replace(value) => {
                    writer::text(&mut out, &member.name);
                    out.push(':');
                    out.push_str(&value);
                }
                Change::Keep | Change::Drop => {
                    out.push_str(self.text.get(member.whole.clone()).unwrap_or_default());
                }
            }
        }
        out.push('}');
        out
    }
}

/// What becomes of a member.
pub(super) enum Change {
    Keep,
    Drop,
    Replace(String),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The document that is being read, without white space.
    out: String,
    members: Vec<Member>,
    /// The outermost member that is being read.
    member: Option<String>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            out: String::new(),
            members: Vec::new(),
            member: None,
            depth: 0,
        }
    }

    fn document(&mut self) -> Result<Document, Malformed> {
        self.member = None;
        self.skip_space();
        if self.peek() != Some(b'{') {
            return Err(self.malformed("should be the `{` that begins a document"));
        }
        let begin = self.at;
        self.value()?;
        if self.at.saturating_sub(begin) > MAX_LEN {
            return Err(self.malformed("ends a document of more than 1 MiB"));
        }
        Ok(Document {
            text: std::mem::take(&mut self.out),
            members: std::mem::take(&mut self.members),
        })
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            at: self.at,
            member: self.member.clone(),
            what,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.step();
        }
    }

    /// Takes a sign of the syntax.
    fn sign(&mut self, sign: u8, what: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(sign) {
            return Err(self.malformed(what));
        }
        self.step();
        self.out.push(char::from(sign));
        Ok(())
    }

    fn value(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => self.string().map(drop),
            Some(b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null"),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            _ => Err(self.malformed("begins no value")),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        if self.depth == MAX_DEPTH {
            return Err(self.malformed("is nested too deep"));
        }
        self.depth = self.depth.saturating_add(1);
        read(self)?;
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn object(&mut self) -> Result<(), Malformed> {
        self.sign(b'{', "should be `{`")?;
        self.skip_space();
        let is_outermost = self.depth == 1;
        let mut last: Option<String> = None;
        while self.peek() != Some(b'}') {
            if last.is_some() {
                self.sign(b',', "should be `,` or `}`")?;
                self.skip_space();
            }
            let (from, begin) = (self.at, self.out.len());
            if self.peek() != Some(b'"') {
                return Err(self.malformed("should be the name of a member"));
            }
            let name = self.string()?;
            let is_next = last.as_ref().is_none_or(|last| last < &name);
            if !name.is_ascii() || !is_next {
                self.at = from;
                return Err(self.malformed("begins a name that is not in ascending order, or not in ASCII"));
            }
            if is_outermost {
                self.member = Some(name.clone());
            }
            self.skip_space();
            self.sign(b':', "should be `:`")?;
            self.skip_space();
            let value = self.out.len();
            self.value()?;
            if is_outermost {
                self.members.push(Member {
                    name: name.clone(),
                    whole: begin..self.out.len(),
                    value: value..self.out.len(),
                });
            }
            last = Some(name);
            self.skip_space();
        }
        self.sign(b'}', "should be `}`")
    }

    fn list(&mut self) -> Result<(), Malformed> {
        self.sign(b'[', "should be `[`")?;
        self.skip_space();
        let mut is_first = true;
        while self.peek() != Some(b']') {
            if !std::mem::replace(&mut is_first, false) {
                self.sign(b',', "should be `,` or `]`")?;
                self.skip_space();
            }
            self.value()?;
            self.skip_space();
        }
        self.sign(b']', "should be `]`")
    }

    /// Takes a string, and says what it means.
    fn string(&mut self) -> Result<String, Malformed> {
        let begin = self.at;
        self.step();
        let mut value = String::new();
        loop {
            let from = self.at;
            while self
                .peek()
                .is_some_and(|byte| byte >= 0x20 && !matches!(byte, b'"' | b'\\'))
            {
                self.step();
            }
            let plain = self.bytes.get(from..self.at).unwrap_or_default();
            match str::from_utf8(plain) {
                Ok(plain) => value.push_str(plain),
                Err(error) => {
                    self.at = from.saturating_add(error.valid_up_to());
                    return Err(self.malformed("is not UTF-8"));
                }
            }
            match self.peek() {
                Some(b'"') => {
                    self.step();
                    break;
                }
                Some(b'\\') => {
                    let char = self.escape()?;
                    value.push(char);
                }
                Some(_) => return Err(self.malformed("is a control character within a string")),
                None => return Err(self.malformed("is behind the end, and a string is open")),
            }
        }
        let written = self.out.len();
        writer::text(&mut self.out, &value);
        let is_same = self.out.as_bytes().get(written..) == self.bytes.get(begin..self.at);
        if !is_same {
            self.at = begin;
            return Err(self.malformed("begins a string with an escape that the canonical form does not have"));
        }
        Ok(value)
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (char, len) = match rest {
            [b'\\', b'"', ..] => ('"', 2_usize),
            [b'\\', b'\\', ..] => ('\\', 2),
            [b'\\', b'b', ..] => ('\u{8}', 2),
            [b'\\', b't', ..] => ('\t', 2),
            [b'\\', b'n', ..] => ('\n', 2),
            [b'\\', b'f', ..] => ('\u{c}', 2),
            [b'\\', b'r', ..] => ('\r', 2),
            [b'\\', b'u', b'0', b'0', high @ b'0'..=b'1', low, ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let code = digit(high).zip(digit(low)).map(|(high, low)| (high << 4) | low);
                let char = code.and_then(char::from_u32);
                (char.ok_or_else(|| self.malformed("is no escape of JSON"))?, 6)
            }
            _ => return Err(self.malformed("is no escape that the canonical form has")),
        };
        self.at = self.at.saturating_add(len);
        Ok(char)
    }

    fn number(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.step();
        }
        let digits = self.bytes.get(from..self.at).unwrap_or_default();
        // Digits are UTF-8.
        let digits = str::from_utf8(digits).unwrap_or_default();
        let is_plain = digits == "0" || !digits.starts_with('0');
        let is_exact = digits.parse::<u64>().is_ok_and(|number| number <= MOST);
        if !is_plain || !is_exact {
            self.at = from;
            return Err(self.malformed("begins a number with a leading zero, or one above 2^53 - 1"));
        }
        self.out.push_str(digits);
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Result<(), Malformed> {
        let end = self.at.saturating_add(word.len());
        if self.bytes.get(self.at..end) != Some(word.as_bytes()) {
            return Err(self.malformed("begins no value"));
        }
        self.at = end;
        self.out.push_str(word);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_between_tokens_is_dropped() {
        let check = |text: &str, expect: &str| {
            assert_eq!(Document::parse(text.as_bytes()).map(|d| d.text), Ok(expect.to_owned()));
        };
        check("{}", "{}");
        check(
            " {\n  \"a\" : [ 1 , true,\tnull ] ,\r\n\"b\":{\"c\":\"x y\"}}\n",
            r#"{"a":[1,true,null],"b":{"c":"x y"}}"#,
        );
        check(r#"{"a":"€\u0000\n\"\\ü"}"#, r#"{"a":"€\u0000\n\"\\ü"}"#);
    }

    #[test]
    fn what_is_not_canonical_is_refused_with_its_place() {
        let check = |text: &str, at: usize, member: Option<&str>| {
            let refused = Document::parse(text.as_bytes()).expect_err(text);
            assert_eq!(
                (refused.at, refused.member.as_deref()),
                (at, member),
                "{text}: {refused}"
            );
        };
        check("", 0, None);
        check("[]", 0, None);
        check("{", 1, None);
        check("{} {}", 3, None);
        check(r#"{"b":1,"a":2}"#, 7, Some("b"));
        check(r#"{"a":1,"a":2}"#, 7, Some("a"));
        check(r#"{"a":01}"#, 5, Some("a"));
        check(r#"{"a":1.5}"#, 6, Some("a"));
        check(r#"{"a":-1}"#, 5, Some("a"));
        check(r#"{"a":1e3}"#, 6, Some("a"));
        check(r#"{"a":9007199254740992}"#, 5, Some("a"));
        check(r#"{"a":"\u0041"}"#, 6, Some("a"));
        check(r#"{"a":"\u001F"}"#, 5, Some("a"));
        check(r#"{"a":"\u000a"}"#, 5, Some("a"));
        check(r#"{"a":"\/"}"#, 6, Some("a"));
        check("{\"a\":\"\n\"}", 6, Some("a"));
        check(r#"{"a":"x"#, 7, Some("a"));
        check(r#"{"a":nul}"#, 5, Some("a"));
        check(r#"{"a":1,}"#, 7, Some("a"));
        check(r#"{"ä":1}"#, 1, None);
        check(
            &format!("{{\"a\":{}1{}}}", "[".repeat(16), "]".repeat(16)),
            20,
            Some("a"),
        );
        let refused = Document::parse(b"{\"a\":\"x\xff\"}").expect_err("not UTF-8");
        assert_eq!((refused.at, refused.member.as_deref()), (7, Some("a")));
    }

    #[test]
    fn members_are_found_and_changed() {
        let document = Document::parse(br#"{"a": 1, "b": {"x": 2}, "c": 3}"#).expect("canonical");
        assert_eq!(document.value("b"), Some(r#"{"x":2}"#));
        assert_eq!(document.value("x"), None);
        let changed = document.with(|name| match name {
            "a" => Change::Drop,
            "b" => Change::Replace("[]".to_owned()),
            _ => Change::Keep,
        });
        assert_eq!(changed, r#"{"b":[],"c":3}"#);
    }

    #[test]
    fn lines_are_documents() {
        let documents = Document::parse_all(b"{\"a\":1}\n{\"b\":2}\n\n").expect("two");
        assert_eq!(
            documents.iter().map(Document::text).collect::<Vec<_>>(),
            [r#"{"a":1}"#, r#"{"b":2}"#]
        );
        assert_eq!(Document::parse_all(b" \n"), Ok(Vec::new()));
    }
}
