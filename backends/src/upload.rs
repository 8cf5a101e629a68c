//! Uploads: request bodies that pass through once and are never held.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::body::BoxBody;

/// What a client uploads, before anybody knows where it goes.
///
/// Who reads it as it passes knows how to leave out what tells who asks; here nothing of it is understood.
pub trait Upload: Send {
    /// Every byte, as the client sends it.
    fn as_it_came(self: Box<Self>) -> BoxBody;

    /// All of it but what tells who asks, for machines of strangers.
    /// Gives itself back where it cannot be read, and so might tell.
    fn without_identity(self: Box<Self>) -> Result<BoxBody, Box<dyn Upload>>;
}

/// The place of an upload, out of which it is taken once.
pub struct Once(Mutex<Option<Box<dyn Upload>>>);

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// It is on its way already.
    Gone,
    /// It may tell who asks. It is still here.
    Unreadable,
}

impl Once {
    pub fn new(upload: impl Upload + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(upload))))
    }

    pub fn is_here(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn as_it_came(&self) -> Result<BoxBody, NotTaken> {
        self.take(|upload| Ok(upload.as_it_came()))
    }

    pub(crate) fn without_identity(&self) -> Result<BoxBody, NotTaken> {
        self.take(|upload| upload.without_identity())
    }

    fn take(&self, how: impl FnOnce(Box<dyn Upload>) -> Result<BoxBody, Box<dyn Upload>>) -> Result<BoxBody, NotTaken> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        how(place.take().ok_or(NotTaken::Gone)?).map_err(|upload| {
            *place = Some(upload);
            NotTaken::Unreadable
        })
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    struct Named(bool);

    impl Upload for Named {
        fn as_it_came(self: Box<Self>) -> BoxBody {
            body("alice: hello")
        }

        fn without_identity(self: Box<Self>) -> Result<BoxBody, Box<dyn Upload>> {
            if self.0 { Ok(body("hello")) } else { Err(self) }
        }
    }

    fn body(text: &'static str) -> BoxBody {
        BoxBody::new(Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}))
    }

    async fn text(taken: Result<BoxBody, NotTaken>) -> Result<Bytes, NotTaken> {
        Ok(taken?.collect().await.expect("it is whole").to_bytes())
    }

    #[tokio::test]
    async fn an_upload_is_taken_once() {
        let upload = Once::new(Named(true));
        assert_eq!(text(upload.without_identity()).await.as_deref(), Ok(&b"hello"[..]));
        assert!(!upload.is_here());
        assert_eq!(text(upload.as_it_came()).await, Err(NotTaken::Gone));
    }

    #[tokio::test]
    async fn what_cannot_be_read_stays_for_who_may_see_it() {
        let upload = Once::new(Named(false));
        assert_eq!(text(upload.without_identity()).await, Err(NotTaken::Unreadable));
        assert!(upload.is_here());
        assert_eq!(text(upload.as_it_came()).await.as_deref(), Ok(&b"alice: hello"[..]));
    }
}
