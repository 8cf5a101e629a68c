//! Who produces quotes: the machine that we run in, or, for development and tests, software that says so.

use std::{error::Error, fmt};

/// Makes quotes of the guest that this process runs in.
///
/// Blocking, and slow where hardware signs (a second is common), one at a time: never once per request.
pub trait Attester: Send + Sync {
    /// A quote whose report data are exactly these.
    fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote>;
}

/// No quote was made; the source says why, in the words of whoever should have made it.
pub struct NoQuote(Box<dyn Error + Send + Sync>);

impl NoQuote {
    pub fn new(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(why.into())
    }
}

impl fmt::Debug for NoQuote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoQuote").field(&self.0).finish()
    }
}

impl fmt::Display for NoQuote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine made no quote")
    }
}

impl Error for NoQuote {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
