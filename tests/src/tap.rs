//! A cable between two processes: it keeps all bytes of both directions, and can be pulled.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::tape::{Recorded, Tape};

/// Whoever connects here is connected to somebody else.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddr,
    there: Tape,
    back: Tape,
    pulled: watch::Sender<bool>,
    task: AbortHandle,
}

impl Tap {
    /// In front of this address.
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (there, back) = (Tape::default(), Tape::default());
        let (pulled, cable) = watch::channel(false);
        let (target, tapes) = (target.to_owned(), (there.clone(), back.clone()));
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((inside, _)) = listener.accept().await {
                open.spawn(carry(inside, target.clone(), tapes.clone(), cable.clone()));
            }
        });
        Self {
            address,
            there,
            back,
            pulled,
            task: task.abort_handle(),
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, and nothing is closed: neither end is told.
    pub fn pull(&self) {
        self.pulled.send_replace(true);
    }

    /// Whether this text crossed it in the clear, in either direction.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        self.there.holds(text) || self.back.holds(text)
    }

    /// The bytes of both directions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.there.len() + self.back.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(inside: TcpStream, target: String, (there, back): (Tape, Tape), mut cable: watch::Receiver<bool>) {
    // Whoever listens there may be gone; then so is this one.
    let Ok(outside) = TcpStream::connect(target).await else {
        return;
    };
    let mut inside = Recorded::new(inside, &there);
    let mut outside = Recorded::new(outside, &back);
    tokio::select! {
        // However it ended, both ends see it.
        _ = copy_bidirectional(&mut inside, &mut outside) => return,
        _ = cable.wait_for(|pulled| *pulled) => {}
    }
    std::future::pending::<()>().await;
}
