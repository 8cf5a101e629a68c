//! A form without the parts that tell who asks, for machines of strangers.
//!
//! Cut is from behind the delimiter before such a part to behind the one after it, so that what is left is a form
//! (RFC 2046 section 5.1.1). A head is held until it is whole, 16 KiB at most; of a content nothing is.
//!
//! How long it will be nobody knows before its end, and so it says no length.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use backends::serve::BoxError;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use openapi::request::RequestError;

use super::{
    super::{DecodeError, Upload},
    scan::{Scan, State},
};

pub(super) struct Nameless {
    upload: Upload,
    cut: Cut,
}

impl Nameless {
    /// `scan`: from the beginning of the form, whatever was read ahead.
    pub(super) fn new(upload: Upload, scan: Scan) -> Self {
        Self {
            upload,
            cut: Cut::new(scan),
        }
    }
}

impl Body for Nameless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.upload).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            // Trailers say nothing that we read.
            let Ok(data) = frame?.into_data() else { continue };
            let passed = self.cut.read(data).map_err(DecodeError::Request)?;
            // What was read ahead came first and in one piece.
            self.cut.scan.expect_no_more();
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upload.is_end_stream()
    }
}

struct Cut {
    scan: Scan,
    /// Of a part whose name is not known yet.
    head: BytesMut,
}

impl Cut {
    fn new(scan: Scan) -> Self {
        Self {
            scan,
            head: BytesMut::new(),
        }
    }

    /// What of the next piece, and of heads before it, may be sent on.
    fn read(&mut self, mut data: Bytes) -> Result<Bytes, RequestError> {
        let mut passed = BytesMut::new();
        while !data.is_empty() {
            let state = self.scan.state();
            let taken = self.scan.step(&data)?;
            let piece = data.split_to(taken);
            match state {
                // In the middle of a file: as it is.
                State::Start | State::Content | State::Model if passed.is_empty() && data.is_empty() => {
                    return Ok(piece);
                }
                State::Start | State::Content | State::Model => passed.extend_from_slice(&piece),
                State::Identity => {}
                State::Head => {
                    self.head.extend_from_slice(&piece);
                    match self.scan.state() {
                        State::Head => {}
                        State::Identity => self.head.clear(),
                        State::Start | State::Content | State::Model => passed.unsplit(self.head.split()),
                    }
                }
            }
        }
        Ok(passed.freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    /// What is sent on of a form that comes in these pieces over and over.
    fn sent_on(form: &[u8], sizes: &[usize]) -> Result<Vec<u8>, (RequestError, Vec<u8>)> {
        let mut cut = Cut::new(Scan::new(b"X"));
        let mut sent = Vec::new();
        let mut rest = Bytes::copy_from_slice(form);
        for size in sizes.iter().copied().cycle() {
            if rest.is_empty() {
                break;
            }
            let piece = rest.split_to(size.min(rest.len()));
            match cut.read(piece) {
                Ok(passed) => sent.extend_from_slice(&passed),
                Err(error) => return Err((error, sent)),
            }
        }
        Ok(sent)
    }

    fn part(name: &str, value: &str) -> String {
        format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    fn check(form: &str, expected: &str) {
        for size in 1..=form.len() {
            let sent = sent_on(form.as_bytes(), &[size]).map(|sent| String::from_utf8_lossy(&sent).into_owned());
            assert_eq!(sent.as_deref(), Ok(expected), "by {size}");
        }
    }

    #[test]
    fn parts_that_tell_who_asks_are_cut_out() {
        let (model, file) = (part("model", "m"), part("file", "a--X-\r\n--\r\nuser"));
        let (user, team, safety) = (
            part("user", "alice"),
            part("metadata[team]", "blue\r\n"),
            part("safety_identifier", ""),
        );
        for (form, expected) in [
            (format!("{model}{user}{file}--X--"), format!("{model}{file}--X--")),
            (
                format!("{user}{model}{team}{safety}{file}--X--\r\n"),
                format!("{model}{file}--X--\r\n"),
            ),
            (format!("{file}{user}--X--\r\n"), format!("{file}--X--\r\n")),
            (format!("{user}{team}{safety}--X--"), "--X--".to_owned()),
            (format!("\r\n{user}{file}--X--behind"), format!("\r\n{file}--X--behind")),
            (format!("{model}{file}--X--"), format!("{model}{file}--X--")),
            // Without its end.
            (format!("{file}{user}"), format!("{file}--X")),
        ] {
            check(&form, &expected);
        }
        // A part without content, whose delimiter has no line end of its own.
        let empty = safety.replace("\r\n\r\n\r\n", "\r\n\r\n");
        check(&format!("{empty}{file}--X--"), &format!("{file}--X--"));
    }

    #[test]
    fn a_file_is_not_copied_and_what_is_cut_is_not_kept() {
        let mut cut = Cut::new(Scan::new(b"X"));
        let begun = cut.read(part("file", "").into_bytes().into()).expect("a part");
        assert!(!begun.is_empty());
        let piece = Bytes::from(vec![b'-'; 64 << 10]);
        let passed = cut.read(piece.clone()).expect("its content");
        assert_eq!((passed.as_ptr(), passed.len()), (piece.as_ptr(), piece.len()));
        cut.read(format!("\r\n{}", part("user", "")).into_bytes().into())
            .expect("another part");
        for _ in 0..100 {
            assert_eq!(cut.read(piece.clone()), Ok(Bytes::new()));
        }
        assert!(cut.head.capacity() < 1024, "{}", cut.head.capacity());
        assert_eq!(cut.read("\r\n--X--".into()), Ok("--".into()));
    }

    #[test]
    fn nothing_of_a_head_is_sent_on_before_its_name_is_known() {
        let mut cut = Cut::new(Scan::new(b"X"));
        let whole = part("user", "alice");
        let (head, rest) = whole.split_at(whole.len() - "\r\n\r\nalice\r\n".len());
        assert_eq!(cut.read(head.as_bytes().to_vec().into()), Ok("--X".into()));
        assert_eq!(cut.read(rest.as_bytes().to_vec().into()), Ok(Bytes::new()));
    }

    const NAMES: [&str; 8] = [
        "file",
        "prompt",
        "user",
        "metadata",
        "metadata[a]",
        "safety_identifier",
        "User",
        "users",
    ];
    /// What contents are made of, with all that nearly is a delimiter.
    const MORSELS: [&str; 10] = ["a", "-", "--", "\r", "\n", "\r\n", "X", "\r\n--", "--X", "\r\n\r\n"];

    fn content() -> impl Strategy<Value = String> {
        let content = prop::collection::vec(select(&MORSELS[..]), 0..12).prop_map(|morsels| morsels.concat());
        content.prop_filter("it holds no line that is a delimiter to somebody", |content| {
            let behind_head = format!("\r\n{content}");
            !behind_head.contains("\n--X") && !behind_head.contains("\r--X")
        })
    }

    fn tells_who_asks(name: &str) -> bool {
        let name = name.to_lowercase();
        ["user", "metadata", "safety_identifier"].contains(&name.split('[').next().unwrap_or_default())
    }

    proptest! {
        #[test]
        fn what_is_left_is_the_form_of_the_other_parts(
            parts in prop::collection::vec((select(&NAMES[..]), content()), 0..8),
            model in 0..8_usize,
            sizes in prop::collection::vec(1..40_usize, 1..6),
            around in select(&[("", ""), ("\r\n", "\r\nbehind"), ("\r\n", "\r\n")][..]),
        ) {
            let (mut whole, mut left) = (around.0.to_owned(), around.0.to_owned());
            for (nth, (name, content)) in parts.iter().enumerate() {
                if nth == model {
                    whole.push_str(&part("model", "m"));
                    left.push_str(&part("model", "m"));
                }
                whole.push_str(&part(name, content));
                if !tells_who_asks(name) {
                    left.push_str(&part(name, content));
                }
            }
            for form in [&mut whole, &mut left] {
                form.push_str("--X--");
                form.push_str(around.1);
            }
            let sent = sent_on(whole.as_bytes(), &sizes).map(|sent| String::from_utf8_lossy(&sent).into_owned());
            prop_assert_eq!(sent, Ok(left));
        }

        #[test]
        fn how_a_form_comes_makes_no_difference(
            soup in prop::collection::vec(select(&[
                "--X", "\r\n", "\n", "--", "a", "Content-Disposition: form-data; name=\"user\"",
                "\r\n--X\r\nContent-Disposition: form-data; name=user\r\n\r\n",
                "\r\n--X\r\nContent-Disposition: form-data; name=file\r\n\r\n",
            ][..]), 0..30),
            sizes in prop::collection::vec(1..40_usize, 1..6),
        ) {
            let soup = soup.concat();
            let whole = sent_on(soup.as_bytes(), &[soup.len().max(1)]);
            let pieces = sent_on(soup.as_bytes(), &sizes);
            match (whole, pieces) {
                (Ok(whole), Ok(pieces)) => {
                    prop_assert_eq!(&pieces, &whole);
                    // To a reader like ours there is nothing left to cut.
                    let again = sent_on(&pieces, &[7]);
                    prop_assert_eq!(again, Ok(whole));
                }
                (whole, pieces) => prop_assert_eq!(whole.map_err(|(error, _)| error), pieces.map_err(|(error, _)| error)),
            }
        }
    }
}
