//! One lite-server: a connection that is made when it is needed, and a question at a time.

use std::{net::SocketAddr, time::Duration};

use aws_lc_rs::rand;
use tl_proto::{Boxed, TlRead, TlWrite};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use super::{
    adnl::{self, AdnlError, Channel},
    tl::{self, Answer, LiteQuery, Query, ServerError},
};
use crate::chain::ChainError;

/// For a question and its answer, the connection included.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is taken.
const MOST: usize = 8 << 20;
/// Of a reason that a server gives.
const MOST_OF_REASON: usize = 200;
/// What comes between a question and its answer, such as an answer that we gave up on.
const MOST_BETWEEN: usize = 16;

/// Where a lite-server is, and the key that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub at: SocketAddr,
    /// Ed25519.
    pub key: [u8; 32],
}

pub(super) struct Server {
    pub(super) address: Address,
    patience: Duration,
    channel: Mutex<Option<Channel<TcpStream>>>,
}

/// Why a lite-server did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{0} does not answer in time")]
    Late(SocketAddr),
    #[error("{at} cannot be asked: {error}")]
    Connection { at: SocketAddr, error: AdnlError },
    #[error("{0} answered what is no answer to it")]
    Unreadable(SocketAddr),
    /// With its number and its reason.
    #[error("{at} says: {reason} (code {code})")]
    Refused { at: SocketAddr, code: i32, reason: String },
}

impl Server {
    pub(super) fn new(address: Address) -> Self {
        Self::with_patience(address, PATIENCE)
    }

    pub(super) fn with_patience(address: Address, patience: Duration) -> Self {
        Self {
            address,
            patience,
            channel: Mutex::default(),
        }
    }

    pub(super) async fn ask<Q, A>(&self, question: Q) -> Result<A, AskError>
    where
        Q: TlWrite<Repr = Boxed>,
        A: for<'a> TlRead<'a, Repr = Boxed>,
    {
        let at = self.address.at;
        let data = tl::write(question);
        let answer = timeout(self.patience, self.exchange(data))
            .await
            .map_err(|_| AskError::Late(at))?
            .map_err(|error| AskError::Connection { at, error })?;
        if tl::constructor(&answer) == Some(ServerError::TL_ID) {
            let error: ServerError = tl::read(&answer).map_err(|_| AskError::Unreadable(at))?;
            return Err(AskError::Refused {
                at,
                code: error.code,
                reason: plain(&error.message),
            });
        }
        tl::read(&answer).map_err(|_| AskError::Unreadable(at))
    }

    async fn exchange(&self, data: Vec<u8>) -> Result<Vec<u8>, AdnlError> {
        let query = tl::write(LiteQuery { data });
        let mut kept = self.channel.lock().await;
        // Taken out: whoever gives up in between leaves none behind that is half read.
        if let Some(mut channel) = kept.take() {
            // Servers end connections that are silent for long. What is asked twice is only asked.
            if let Ok(answer) = converse(&mut channel, &query).await {
                *kept = Some(channel);
                return Ok(answer);
            }
        }
        let stream = TcpStream::connect(self.address.at).await?;
        stream.set_nodelay(true)?;
        let mut channel = adnl::connect(stream, &self.address.key, MOST).await?;
        let answer = converse(&mut channel, &query).await?;
        *kept = Some(channel);
        Ok(answer)
    }
}

async fn converse(channel: &mut Channel<TcpStream>, query: &[u8]) -> Result<Vec<u8>, AdnlError> {
    let mut id = [0; 32];
    rand::fill(&mut id).map_err(|_| AdnlError::NoRandomness)?;
    let query = Query {
        id,
        query: query.to_vec(),
    };
    channel.send(&tl::write(query)).await?;
    for _ in 0..MOST_BETWEEN {
        let packet = channel.receive().await?;
        if let Ok(answer) = tl::read::<Answer>(&packet)
            && answer.id == id
        {
            return Ok(answer.answer);
        }
    }
    Err(AdnlError::Handshake)
}

impl AskError {
    pub(super) fn into_chain_error(self) -> ChainError {
        match self {
            Self::Refused { code: 228 | 429, .. } => ChainError::Limited,
            Self::Unreadable(_) => ChainError::Unreadable(self.to_string()),
            other => ChainError::Unreachable(other.to_string()),
        }
    }
}

/// A text of somebody else's in one line of bounded length.
fn plain(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let one_line = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    one_line.take(MOST_OF_REASON).collect()
}
