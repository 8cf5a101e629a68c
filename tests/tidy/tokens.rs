//! Rust source cut into words, signs, strings and comments, so that a rule about code is not fooled by text.
//!
//! Follows the Rust Reference, "Lexical structure", as far as the rules need: numbers are words, and every sign is one
//! character. Source that does not end what it began is cut at its end; the compiler refuses it anyway.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    Word(&'a str),
    Sign(char),
    /// What stands between the quotes of a string or a character.
    Text(&'a str),
    Comment(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    /// Counted from one.
    pub(crate) line: usize,
}

impl Token<'_> {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word(word)
    }

    pub(crate) fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (kind, len) = next(rest, first);
        if let Some(kind) = kind {
            tokens.push(Token { kind, line });
        }
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// The code alone.
pub(crate) fn code(source: &str) -> Vec<Token<'_>> {
    let mut tokens = tokens(source);
    tokens.retain(|token| !matches!(token.kind, Kind::Comment(_)));
    tokens
}

/// What `rest` starts with, and how many bytes that is. White space is nothing.
fn next(rest: &str, first: char) -> (Option<Kind<'_>>, usize) {
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if rest.starts_with("//") {
        let len = rest.find('\n').unwrap_or(rest.len());
        return (Some(Kind::Comment(&rest[..len])), len);
    }
    if rest.starts_with("/*") {
        let len = block_comment(rest);
        return (Some(Kind::Comment(&rest[..len])), len);
    }
    if let Some((text, len)) = string(rest) {
        return (Some(Kind::Text(text)), len);
    }
    if first == '\''
        && let Some((text, len)) = character(rest)
    {
        return (Some(Kind::Text(text)), len);
    }
    // A raw identifier is the word after `r#`.
    let prefix = if rest.starts_with("r#") { 2 } else { 0 };
    let len = word(&rest[prefix..]);
    if len > 0 {
        return (Some(Kind::Word(&rest[prefix..prefix + len])), prefix + len);
    }
    (Some(Kind::Sign(first)), first.len_utf8())
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len())
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// A string in any spelling: `"…"`, `b"…"`, `c"…"`, `r#"…"#`, `br"…"`.
fn string(rest: &str) -> Option<(&str, usize)> {
    let letters = rest
        .find(|c: char| !matches!(c, 'r' | 'b' | 'c'))
        .filter(|len| *len <= 2)?;
    let hashes = rest[letters..].find(|c: char| c != '#')?;
    let is_raw = rest[..letters].ends_with('r');
    let start = letters + hashes + 1;
    if !rest[letters + hashes..].starts_with('"') || (hashes > 0 && !is_raw) {
        return None;
    }
    let body = &rest[start..];
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        let len = body.find(&end).unwrap_or(body.len());
        return Some((&body[..len], (start + len + end.len()).min(rest.len())));
    }
    let len = quoted(body, b'"');
    Some((&body[..len], (start + len + 1).min(rest.len())))
}

/// A character literal, and not a lifetime such as `'a`. The `b` before a byte is left to be a word.
fn character(rest: &str) -> Option<(&str, usize)> {
    let body = &rest[1..];
    let first = body.chars().next()?;
    if first != '\\' && !body[first.len_utf8()..].starts_with('\'') {
        return None;
    }
    let len = quoted(body, b'\'');
    Some((&body[..len], (len + 2).min(rest.len())))
}

/// The bytes before the quote that ends the literal.
fn quoted(body: &str, quote: u8) -> usize {
    let mut bytes = body.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\\' {
            bytes.next();
        } else if byte == quote {
            return at;
        }
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expect: &str) {
        let shown: Vec<String> = tokens(source)
            .iter()
            .map(|token| match token.kind {
                Kind::Word(word) => word.to_owned(),
                Kind::Sign(sign) => sign.to_string(),
                Kind::Text(text) => format!("<{text}>"),
                Kind::Comment(comment) => format!("[{comment}]"),
            })
            .collect();
        assert_eq!(shown.join(" "), expect, "for {source}");
    }

    #[test]
    fn words_signs_strings_and_comments() {
        check("let a=b_1.c();", "let a = b_1 . c ( ) ;");
        check(r#"f("a \" // b", b"c")"#, r#"f ( <a \" // b> , <c> )"#);
        check(
            r###"r#"a " b"# r"\" br##"x"# "## r#type"###,
            r##"<a " b> <\> <x"# > type"##,
        );
        check("'a' '\\'' b'x' &'a str '\"'", "<a> <\\'> b <x> & ' a str <\">");
        check("a // b\nc /* d /* e */ */ f", "a [// b] c [/* d /* e */ */] f");
        check("#[b] carb r", "# [ b ] carb r");
        check("brick \"é\" /* open", "brick <é> [/* open]");
        check("\"open", "<open>");
    }

    #[test]
    fn lines_are_counted_through_all_of_them() {
        let source = "a\n/* b\n */ \"c\n\n\" d // e\nf";
        let last = tokens(source).last().copied();
        assert_eq!(
            last,
            Some(Token {
                kind: Kind::Word("f"),
                line: 6
            })
        );
        assert_eq!(code(source).len(), 4);
    }
}
