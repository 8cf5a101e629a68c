//! Binding: the one stream on which `mulberry connect` has a gateway prove itself, for as long as their connection is open.
//!
//! The app's side opens it, as the first stream of a connection, with `POST` on [`PATH`]; both bodies are open until the connection ends.
//! Each line is a message of [`attestation_ratls::channel`], or from the gateway the one word of our own:
//!
//! ```text
//! {"type":"drain"}        no new requests on this connection, please
//! ```
//!
//! Where this stream ends without that word, the connection is cut.

use std::time::Duration;

use attestation_ratls::channel::{BadLine, Message, Outgoing};
use backends::serve::BoxError;
use bytes::Bytes;
use http_body::Body;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::control::{ControlError, Line, Listening, Speaking};

pub(crate) const ALPN: &[u8] = b"mulberry-connect/1";
pub(crate) const PATH: &str = "/mulberry/connect/v1/channel";

/// For as long as there is nothing to say: the binding has clocks of its own.
const NOTHING_TO_SAY: Duration = Duration::from_secs(365 * 24 * 3600);
/// Of what is to be sent; what the binder asks for.
const OUT: usize = 8;

/// What only we say; messages of the binding have types of their own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Word {
    Drain {},
}

/// Whether this side is about to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    Stay,
    /// Nothing new, what runs may end.
    Soon,
    /// Nothing runs any more.
    Now,
}

/// The ends of a binder's queues that the stream serves.
#[derive(Debug)]
pub(crate) struct Ends {
    to_us: mpsc::Sender<Result<Message, BadLine>>,
    from_us: mpsc::Receiver<Outgoing>,
}

/// Those, and what the binder runs over.
pub(crate) fn queues() -> (Ends, mpsc::Receiver<Result<Message, BadLine>>, mpsc::Sender<Outgoing>) {
    let (to_us, incoming) = mpsc::channel(1);
    let (outgoing, from_us) = mpsc::channel(OUT);
    (Ends { to_us, from_us }, incoming, outgoing)
}

/// Carries what both say. When it returns the binder finds its queues closed, and cuts the connection.
pub(crate) async fn converse<B>(
    mut listening: Listening<B>,
    speaking: Speaking,
    ends: Ends,
    mut leave: watch::Receiver<Leave>,
    they_leave: watch::Sender<bool>,
) where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let Ends { to_us, mut from_us } = ends;
    let mut speaking = Some(speaking);
    let mut is_over = false;
    // Whoever parts waits for this to be told, and no longer than it may: a line is written some time after it is said.
    let mut _parting = None;
    loop {
        tokio::select! {
            heard = listening.hear::<Word>(NOTHING_TO_SAY, NOTHING_TO_SAY), if !is_over => {
                let heard = match heard {
                    Ok(Line::Attest(message)) => Ok(message),
                    Ok(Line::Said(Word::Drain {})) => {
                        they_leave.send_replace(true);
                        continue;
                    }
                    // In good order: what is left on the connection ends by itself.
                    Err(ControlError::Closed) if *they_leave.borrow() || *leave.borrow() == Leave::Now => {
                        is_over = true;
                        speaking = None;
                        continue;
                    }
                    Err(ControlError::LineTooLong { .. }) => Err(BadLine::TooLong),
                    Err(ControlError::NotUnderstood) => Err(BadLine::Malformed),
                    Err(_) => return,
                };
                if to_us.send(heard).await.is_err() {
                    return;
                }
            }
            outgoing = from_us.recv() => {
                let Some(Outgoing { message, written }) = outgoing else { return };
                if let Some(speaking) = &speaking
                    && speaking.say(&message).await.is_err()
                {
                    return;
                }
                _parting = written;
            }
            changed = leave.changed(), if !is_over => {
                let now = *leave.borrow_and_update();
                match (changed, now, &speaking) {
                    (Ok(()), Leave::Soon, Some(speaking)) => {
                        if speaking.say(&Word::Drain {}).await.is_err() {
                            return;
                        }
                    }
                    (Ok(()), Leave::Now, _) => speaking = None,
                    (Ok(()), ..) => {}
                    // Whoever could leave is gone.
                    (Err(_), ..) => return,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use backends::body::BoxBody;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::control::speaking;

    const NONCE: &str = "5f1b0c7f3a0e9c2d4b6a8897f6e5d4c3b2a190817263544536271809fafbfcfd";

    /// One side, and what the other has of it.
    struct Side {
        /// The other speaks.
        they: Speaking,
        /// The other listens.
        ours: BoxBody,
        incoming: mpsc::Receiver<Result<Message, BadLine>>,
        outgoing: mpsc::Sender<Outgoing>,
        they_leave: watch::Receiver<bool>,
        _leave: watch::Sender<Leave>,
        running: JoinHandle<()>,
    }

    fn side() -> Side {
        let (they, theirs) = speaking();
        let (we, ours) = speaking();
        let (ends, incoming, outgoing) = queues();
        let (leave, left) = watch::channel(Leave::Stay);
        let (told, they_leave) = watch::channel(false);
        let listening = Listening::of_lines(theirs, 4096);
        Side {
            they,
            ours,
            incoming,
            outgoing,
            they_leave,
            _leave: leave,
            running: tokio::spawn(converse(listening, we, ends, left, told)),
        }
    }

    #[tokio::test]
    async fn messages_pass_and_a_stranger_word_is_told_as_one() {
        let mut side = side();
        let challenge = serde_json::json!({"type": "challenge", "nonce": NONCE});
        side.they.say(&challenge).await.expect("it listens");
        assert!(matches!(
            side.incoming.recv().await,
            Some(Ok(Message::Challenge { .. }))
        ));
        let word = serde_json::json!({"type": "dance"});
        side.they.say(&word).await.expect("it listens");
        assert_eq!(side.incoming.recv().await, Some(Err(BadLine::Malformed)));
    }

    #[tokio::test]
    async fn an_end_without_a_word_closes_the_binding() {
        let mut side = side();
        drop(side.they);
        assert_eq!(side.incoming.recv().await, None);
        side.running.await.expect("it ends");
    }

    #[tokio::test]
    async fn an_end_after_the_word_leaves_the_binding_to_the_connection() {
        let mut side = side();
        side.they.say(&Word::Drain {}).await.expect("it listens");
        side.they_leave.wait_for(|leaves| *leaves).await.expect("it is told");
        drop(side.they);
        // Our body ends as well, so that the stream is over on both sides.
        let end = Listening::new(side.ours).next::<Word>(NOTHING_TO_SAY).await;
        assert!(matches!(end, Err(ControlError::Closed)), "{end:?}");
        assert!(side.incoming.try_recv().is_err() && !side.running.is_finished());
        drop(side.outgoing);
        side.running.await.expect("it ends with the binder");
    }
}
