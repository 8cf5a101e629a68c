//! The `model` field of a form, found without holding the form.
//!
//! Clients put the small fields before the file, and so the first 64 KiB are read ahead. A form that names no model
//! there is routed as one without a model. The rest is watched as it passes, for the form must not say to an upstream
//! what it did not say to us: a second `model`, a late one, or a part that servers read in more than one way ends the
//! upload before that part is sent on.
//!
//! A compressed form, and a body that is no form, pass unread and without a model. They are refused where the path
//! names a deployment, since an upstream may find another model in them, and they never go to a worker, which may find
//! in them who asks: a form goes there without the [parts that say so](nameless).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use backends::{body::BoxBody, serve::BoxError, upload};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use openapi::request::RequestError;

use super::{DecodeError, Upload};
use nameless::Nameless;
use scan::Scan;

mod head;
mod nameless;
mod parameters;
mod scan;

/// How much of a form is read ahead.
const AHEAD: usize = 64 * 1024;

/// Reads ahead until the field is found, or the beginning of the form is over. What was read stays in the upload.
pub(super) async fn model(
    headers: &HeaderMap,
    deployment: Option<&str>,
    mut upload: Upload,
) -> Result<(Form, Option<Arc<str>>), DecodeError> {
    let boundary = if is_compressed(headers) {
        None
    } else {
        boundary(headers)?
    };
    let Some(boundary) = boundary else {
        if deployment.is_some() {
            return Err(content_type("application/json or multipart/form-data, the latter not compressed").into());
        }
        return Ok((Form { upload, scan: None }, None));
    };
    let mut scan = Scan::new(&boundary);
    let mut seen = BytesMut::new();
    while scan.model().is_none() && (seen.len() < AHEAD || scan.is_in_model()) {
        let Some(data) = upload.next().await? else { break };
        scan.read(&data)?;
        seen.extend_from_slice(&data);
    }
    scan.expect_no_more();
    let model = scan.model().cloned();
    if let (Some(deployment), Some(model)) = (deployment, &model)
        && **model != *deployment
    {
        return Err(RequestError::OutOfRange {
            param: "model",
            expected: "the deployment named in the path",
        }
        .into());
    }
    upload.ahead = seen.freeze();
    let scan = Some(scan);
    Ok((Form { upload, scan }, model))
}

/// An upload whose beginning was read ahead, before it is known where it goes.
pub(super) struct Form {
    upload: Upload,
    /// As far as was read ahead; none for what is no form that we can read.
    scan: Option<Scan>,
}

impl Form {
    /// How long the client was waited for while its form was read ahead.
    pub(super) fn awaited(&self) -> Duration {
        self.upload.awaited
    }
}

impl upload::Upload for Form {
    fn as_it_came(self: Box<Self>) -> BoxBody {
        let Self { upload, scan } = *self;
        BoxBody::new(Watched {
            already: upload.ahead.len(),
            upload,
            scan,
        })
    }

    fn without_identity(self: Box<Self>) -> Result<BoxBody, Box<dyn upload::Upload>> {
        match &self.scan {
            Some(scan) => {
                let scan = scan.anew();
                Ok(BoxBody::new(Nameless::new(self.upload, scan)))
            }
            None => Err(self),
        }
    }
}

/// An upload that fails before it sends on what we must not let pass.
struct Watched {
    upload: Upload,
    scan: Option<Scan>,
    /// Bytes from here on that were scanned when they were read ahead.
    already: usize,
}

impl Watched {
    fn check(&mut self, data: &[u8]) -> Result<(), RequestError> {
        let skipped = self.already.min(data.len());
        self.already -= skipped;
        match &mut self.scan {
            Some(scan) => scan.read(&data[skipped..]),
            None => Ok(()),
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.upload).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(error) = self.check(data)
        {
            return Poll::Ready(Some(Err(DecodeError::Request(error).into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.upload.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.size_hint()
    }
}

fn is_compressed(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// The boundary of a multipart content type (RFC 2046 section 5.1.1), if the body is a form.
fn boundary(headers: &HeaderMap) -> Result<Option<Vec<u8>>, RequestError> {
    /// RFC 2046 allows 70 characters.
    const LONGEST: usize = 200;
    const FORM: &[u8] = b"multipart/form-data";
    let values = || headers.get_all(header::CONTENT_TYPE).iter();
    // Some servers look no further than the beginning.
    let is_form = |value: &[u8]| {
        value
            .get(..FORM.len())
            .is_some_and(|kind| kind.eq_ignore_ascii_case(FORM))
    };
    if !values().any(|value| is_form(value.as_bytes().trim_ascii())) {
        return Ok(None);
    }
    let one = values().next().filter(|_| values().count() == 1);
    let parsed = one.and_then(|value| parameters::parse(value.as_bytes()));
    // It goes on as it came, and readers differ about escapes and about parameters that continue others.
    let is_one_thing = |parsed: &parameters::Parsed<'_>| {
        let mut names = parsed.names_and_values().map(|(name, _)| name);
        parsed.kind.eq_ignore_ascii_case(FORM)
            && names.all(|name| matches!(name, "boundary" | "charset" | "charset*"))
            && !one.is_some_and(|value| value.as_bytes().contains(&b'\\'))
    };
    let parsed = parsed.filter(is_one_thing);
    let parsed = parsed.ok_or(content_type("multipart/form-data with one boundary"))?;
    // In another character set a name of ASCII letters may be another name to the upstream.
    let is_utf8 = |charset: &[u8]| charset.eq_ignore_ascii_case(b"utf-8");
    if parsed.get("charset*").is_some() || !parsed.get("charset").is_none_or(is_utf8) {
        return Err(content_type("a form in UTF-8"));
    }
    let boundary = parsed.get("boundary").filter(|boundary| {
        (1..=LONGEST).contains(&boundary.len())
            && boundary.trim_ascii().len() == boundary.len()
            && boundary
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte))
    });
    let boundary = boundary.ok_or(content_type("multipart/form-data with one boundary"))?;
    Ok(Some(boundary.to_vec()))
}

fn content_type(expected: &'static str) -> RequestError {
    RequestError::OutOfRange {
        param: "content-type",
        expected,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn boundary_of(values: &[&'static str]) -> Result<Option<String>, RequestError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
        }
        let found = boundary(&headers)?;
        Ok(found.map(|bytes| String::from_utf8(bytes).expect("it is ASCII")))
    }

    #[test]
    fn a_form_has_one_boundary() {
        for (value, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data; boundary=\"a:=?b\"", Some("a:=?b")),
            ("multipart/form-data;boundary=----WebKit0;", Some("----WebKit0")),
            ("application/octet-stream", None),
            ("audio/wav; boundary=abc", None),
        ] {
            assert_eq!(boundary_of(&[value]), Ok(expected.map(str::to_owned)), "{value}");
        }
        assert_eq!(boundary_of(&[]), Ok(None));
    }

    #[test]
    fn a_form_with_a_doubtful_boundary_is_refused() {
        for value in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=a; Boundary=a",
            "multipart/form-data; boundary=a; boundary*=utf-8''b",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=\"a\\bc\"",
            "multipart/form-data; boundary=\"a;b\"",
            "multipart/form-data; boundary=a; boundary*0=b",
            "multipart/form-data; boundary=a; charset*0=utf-7",
            "multipart/form-data; boundary=a; x=\"\\\\\"; y=\"; boundary=b; z=\"",
            "multipart/form-data; boundary=\"a\"b",
            "multipart/form-data; boundary=a, b; boundary=c",
            "multipart/form-datax; boundary=a",
            "multipart/form-data; boundary=a; charset=utf-7",
        ] {
            let refused = boundary_of(&[value]).expect_err(value);
            assert_eq!(
                (refused.code(), refused.param()),
                ("invalid_value", Some("content-type")),
                "{value}"
            );
        }
        let two = ["application/octet-stream", "multipart/form-data; boundary=a"];
        assert!(boundary_of(&two).is_err());
    }
}
