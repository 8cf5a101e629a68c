//! Cocoon's proof of work, which stands before TLS on each of its connections.
//!
//! Little-endian, as `tee/cocoon/pow.cpp` of [Cocoon] writes it. The one that listens sends 24 bytes: `u32 0x418e1291`,
//! `i32` difficulty, 16 bytes of salt. The one that dialled sends 12: `u32 0x01827319`, `i64` nonce. The first eight
//! bytes of `SHA-256(salt ‖ nonce)`, read as a little-endian number, begin with at least *difficulty* zero bits.
//!
//! Refused: a difficulty below zero or above our bound (it would be our processor that is spent), an answer that does
//! not hold, and silence: Cocoon waits for ever, here the caller's deadline ends it.
//!
//! [Cocoon]: https://github.com/TelegramMessenger/cocoon

use std::io;

use aws_lc_rs::{digest, rand};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const CHALLENGE: u32 = 0x418e_1291;
const RESPONSE: u32 = 0x0182_7319;

/// What Cocoon's servers ask.
pub const DIFFICULTY: u32 = 20;
/// What Cocoon's clients do at most: 2^28 hashes are minutes of one core.
pub const MAX_DIFFICULTY: u32 = 28;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub difficulty: u32,
    pub salt: [u8; 16],
}

/// In order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error("the connection ended in the proof of work")]
    Io(#[source] io::Error),
    #[error("the peer does not speak Cocoon's proof of work")]
    Malformed,
    #[error("the peer asks for {asked} bits of work; at most {most} are done")]
    TooHard { asked: i32, most: u32 },
    #[error("no random bytes for the salt")]
    NoEntropy,
    #[error("no number was found that answers the challenge")]
    Exhausted,
    #[error("the peer's answer does not hold")]
    Wrong,
    #[error("the search for an answer was stopped")]
    Stopped,
}

impl Challenge {
    pub fn fresh(difficulty: u32) -> Result<Self, GateError> {
        if difficulty > MAX_DIFFICULTY {
            return Err(GateError::TooHard {
                asked: i32::try_from(difficulty).unwrap_or(i32::MAX),
                most: MAX_DIFFICULTY,
            });
        }
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_unavailable| GateError::NoEntropy)?;
        Ok(Self { difficulty, salt })
    }

    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&CHALLENGE.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.difficulty.to_le_bytes());
        bytes[8..].copy_from_slice(&self.salt);
        bytes
    }

    pub fn from_bytes(bytes: &[u8; 24], most: u32) -> Result<Self, GateError> {
        let (words, _) = bytes.as_chunks::<4>();
        let [tag, difficulty, s0, s1, s2, s3] = *words else {
            return Err(GateError::Malformed);
        };
        if u32::from_le_bytes(tag) != CHALLENGE {
            return Err(GateError::Malformed);
        }
        let asked = i32::from_le_bytes(difficulty);
        let difficulty = u32::try_from(asked).ok().filter(|bits| *bits <= most);
        let Some(difficulty) = difficulty else {
            return Err(GateError::TooHard { asked, most });
        };
        let mut salt = [0; 16];
        salt.copy_from_slice(&[s0, s1, s2, s3].concat());
        Ok(Self { difficulty, salt })
    }

    pub fn holds(&self, nonce: i64) -> bool {
        let mut input = [0; 24];
        input[..16].copy_from_slice(&self.salt);
        input[16..].copy_from_slice(&nonce.to_le_bytes());
        let digest = digest::digest(&digest::SHA256, &input);
        let head: [u8; 8] = digest.as_ref()[..8].try_into().expect("a SHA-256 has 32 bytes");
        u64::from_le_bytes(head).leading_zeros() >= self.difficulty
    }

    /// The smallest answer from `from` on, tried `tries` times: whoever calls it in pieces can stop between them.
    pub fn search(&self, from: i64, tries: i64) -> Option<i64> {
        (from..from.saturating_add(tries)).find(|nonce| self.holds(*nonce))
    }
}

fn response(nonce: i64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&RESPONSE.to_le_bytes());
    bytes[4..].copy_from_slice(&nonce.to_le_bytes());
    bytes
}

/// Of a server: asks for work, and reads the answer. The caller's deadline is around it.
pub async fn ask(io: &mut (impl AsyncRead + AsyncWrite + Unpin), difficulty: u32) -> Result<(), GateError> {
    let challenge = Challenge::fresh(difficulty)?;
    io.write_all(&challenge.to_bytes()).await.map_err(GateError::Io)?;
    io.flush().await.map_err(GateError::Io)?;
    let mut bytes = [0; 12];
    io.read_exact(&mut bytes).await.map_err(GateError::Io)?;
    let (tag, nonce) = bytes.split_first_chunk::<4>().ok_or(GateError::Malformed)?;
    if u32::from_le_bytes(*tag) != RESPONSE {
        return Err(GateError::Malformed);
    }
    let nonce = nonce.try_into().map_err(|_length| GateError::Malformed)?;
    if challenge.holds(i64::from_le_bytes(nonce)) {
        Ok(())
    } else {
        Err(GateError::Wrong)
    }
}

/// Of a client: does the work that is asked, up to `most` bits, on a thread that may block. Dropped, the work ends.
pub async fn answer(io: &mut (impl AsyncRead + AsyncWrite + Unpin), most: u32) -> Result<(), GateError> {
    let mut bytes = [0; 24];
    io.read_exact(&mut bytes).await.map_err(GateError::Io)?;
    let challenge = Challenge::from_bytes(&bytes, most.min(MAX_DIFFICULTY))?;
    let mut from = 0;
    // 2^16 hashes are some milliseconds; after that whoever dropped us is noticed. The chance that 64 times the
    // expected work finds nothing is e^-64.
    let pieces = (64_u64 << challenge.difficulty).div_ceil(1 << 16);
    for _ in 0..pieces {
        let piece = tokio::task::spawn_blocking(move || challenge.search(from, 1 << 16));
        if let Some(nonce) = piece.await.map_err(|_ended| GateError::Stopped)? {
            io.write_all(&response(nonce)).await.map_err(GateError::Io)?;
            return io.flush().await.map_err(GateError::Io);
        }
        from += 1 << 16;
    }
    Err(GateError::Exhausted)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::{Challenge, GateError, answer, ask};

    #[test]
    fn the_layout_is_cocoons() {
        let challenge = Challenge {
            difficulty: 20,
            salt: *b"0123456789abcdef",
        };
        let bytes = challenge.to_bytes();
        assert_eq!(&bytes[..8], [0x91, 0x12, 0x8e, 0x41, 20, 0, 0, 0]);
        assert_eq!(&bytes[8..], b"0123456789abcdef");
        assert_eq!(
            super::response(-2),
            [0x19, 0x73, 0x82, 0x01, 0xfe, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(Challenge::from_bytes(&bytes, 28).unwrap(), challenge);
    }

    #[test]
    fn more_work_than_the_bound_is_refused() {
        let check = |difficulty: i32| {
            let mut bytes = Challenge {
                difficulty: 0,
                salt: [0; 16],
            }
            .to_bytes();
            bytes[4..8].copy_from_slice(&difficulty.to_le_bytes());
            Challenge::from_bytes(&bytes, 28)
        };
        assert!(check(28).is_ok());
        assert!(matches!(check(29), Err(GateError::TooHard { asked: 29, most: 28 })));
        assert!(matches!(check(-1), Err(GateError::TooHard { asked: -1, .. })));
        assert!(matches!(Challenge::from_bytes(&[0; 24], 28), Err(GateError::Malformed)));
        assert!(matches!(Challenge::fresh(29), Err(GateError::TooHard { .. })));
    }

    #[test]
    fn the_zero_bits_are_the_highest_of_a_little_endian_number() {
        // The answers and digests were computed apart, with Python's hashlib:
        // 5a4c0ca1cc6a0000… and d3367d97fc080000….
        for (salt, difficulty, nonce) in [([0; 16], 16, 13_801), (*b"0123456789abcdef", 20, 40_623)] {
            let challenge = Challenge { difficulty, salt };
            assert_eq!(challenge.search(0, 1 << 20), Some(nonce));
            assert!(!challenge.holds(nonce + 1));
        }
        // 20 bits of the second are zero, and no more.
        let harder = Challenge {
            difficulty: 21,
            salt: *b"0123456789abcdef",
        };
        assert!(!harder.holds(40_623));
    }

    #[tokio::test]
    async fn work_opens_the_gate() {
        let (mut server, mut client) = duplex(64);
        let (asked, answered) = tokio::join!(ask(&mut server, 12), answer(&mut client, 28));
        asked.unwrap();
        answered.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_does_not_hold_is_refused() {
        let (mut server, mut client) = duplex(64);
        let lie = async {
            let mut bytes = [0; 24];
            client.read_exact(&mut bytes).await.unwrap();
            let challenge = Challenge::from_bytes(&bytes, 28).unwrap();
            let wrong = (0..).find(|nonce| !challenge.holds(*nonce)).unwrap();
            client.write_all(&super::response(wrong)).await.unwrap();
        };
        let (asked, ()) = tokio::join!(ask(&mut server, 12), lie);
        assert!(matches!(asked, Err(GateError::Wrong)), "{asked:?}");
    }

    #[tokio::test]
    async fn what_is_not_the_gate_is_refused() {
        let (mut server, mut client) = duplex(64);
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert!(matches!(ask(&mut server, 1).await, Err(GateError::Malformed)));
        drop(server);
        assert!(matches!(
            answer(&mut client, 28).await,
            Err(GateError::Malformed | GateError::Io(_))
        ));
    }
}
