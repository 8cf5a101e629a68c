//! The words of one answer, kept as they pass until they are counted. In memory only, and bounded.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bytes of one answer at most: a stream of 30,000 tokens, with all that stands around each. More is not counted, and
/// the claim stands.
const MOST: usize = 8 * 1024 * 1024;

/// What is kept of all answers together.
#[derive(Debug)]
pub(super) struct Memory {
    kept: AtomicUsize,
    most: usize,
}

impl Memory {
    pub(super) fn new(most: usize) -> Self {
        Self {
            kept: AtomicUsize::new(0),
            most,
        }
    }

    fn take(&self, more: usize) -> bool {
        let taken = self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |kept| {
            kept.checked_add(more).filter(|all| *all <= self.most)
        });
        taken.is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The bytes of one answer as the client got them. What was too much is `None`.
pub(crate) struct Transcript {
    bytes: Option<Vec<u8>>,
    memory: Arc<Memory>,
}

impl Transcript {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            bytes: Some(Vec::new()),
            memory,
        }
    }

    /// Keeps a copy: a piece of a connection's buffer would keep the whole buffer.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let Some(bytes) = &mut self.bytes else { return };
        if bytes.len().saturating_add(piece.len()) > MOST || !self.memory.take(piece.len()) {
            return self.forget();
        }
        bytes.extend_from_slice(piece);
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    fn forget(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            self.memory.give_back(bytes.len());
        }
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bytes {
            Some(bytes) => write!(f, "Transcript({} bytes)", bytes.len()),
            None => f.write_str("Transcript(too long)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(memory: &Memory) -> usize {
        memory.kept.load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_too_long_is_forgotten_and_its_memory_comes_back() {
        let memory = Arc::new(Memory::new(usize::MAX));
        let mut transcript = Transcript::new(memory.clone());
        transcript.push(b"tell ");
        transcript.push(b"nobody");
        assert_eq!(transcript.bytes(), Some(&b"tell nobody"[..]));
        assert_eq!(format!("{transcript:?}"), "Transcript(11 bytes)");
        assert_eq!(kept(&memory), 11);
        transcript.push(&vec![b'x'; MOST]);
        assert_eq!(transcript.bytes(), None);
        transcript.push(b"x");
        assert_eq!((transcript.bytes(), kept(&memory)), (None, 0));
    }

    #[test]
    fn all_together_are_bounded() {
        let memory = Arc::new(Memory::new(1000));
        let mut kept_now: Vec<Transcript> = (0..10).map(|_| Transcript::new(memory.clone())).collect();
        for transcript in &mut kept_now {
            transcript.push(&[b'x'; 300]);
        }
        let whole = kept_now.iter().filter(|transcript| transcript.bytes().is_some());
        assert_eq!((whole.count(), kept(&memory)), (3, 900));
        drop(kept_now);
        assert_eq!(kept(&memory), 0);
    }
}
