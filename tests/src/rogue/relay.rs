//! An honest guest on a connection of its own, whose answers somebody carries elsewhere.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use attestation::{CollateralSet, Hex, Policy, Role, Tier, Verifier};
use attestation_ratls::channel::{BadLine, Message, Outgoing, Proof};
use attestation_ratls::{Admit, Draft, Endpoint, Expect, Identities, Key, KeyKind, Keys, Trust};
use attestation_soft_tdx::SoftTdx;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::io::duplex;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::papers::now;

/// The guest, as whoever it is connected to reaches it.
pub struct Relay {
    asks: mpsc::Sender<Result<Message, BadLine>>,
    answers: Mutex<mpsc::Receiver<Outgoing>>,
    /// Its own end, and the end that it believes to be its gateway.
    _open: [JoinHandle<()>; 2],
}

impl Relay {
    /// Connects a guest with this key to a gateway of the thief's.
    pub async fn of(guest: &SoftTdx, key: &Key) -> Self {
        let draft = Draft {
            attester: Some(Arc::new(guest.clone())),
            ..Draft::new(Role::Worker, Keys::Own(key.clone()))
        };
        let inside = endpoint(guest, &draft);
        let outside = endpoint(guest, &Draft::new(Role::Gateway, Keys::Fresh(KeyKind::Ed25519)));
        let (near, far) = duplex(64 << 10);
        let (dialled, accepted) = tokio::join!(
            inside.connect(near, expect(Role::Gateway)),
            outside.accept(far, expect(Role::Worker), Admit::Certified),
        );
        let (dialled, accepted) = (dialled.expect("it trusts"), accepted.expect("it is genuine"));
        let (asks, incoming) = mpsc::channel(1);
        let (outgoing, answers) = mpsc::channel(8);
        let binder = inside.binder(&dialled);
        let bound = tokio::spawn(async move {
            let _dialled = dialled;
            // Until the thief is done.
            drop(binder.run(incoming, outgoing).await);
        });
        let held = tokio::spawn(async move {
            let _accepted = accepted;
            std::future::pending::<()>().await;
        });
        Self {
            asks,
            answers: Mutex::new(answers),
            _open: [bound, held],
        }
    }

    /// What the guest answers to this question, on its own connection.
    pub async fn ask(&self, nonce: Hex<32>) -> Proof {
        let asked = self.asks.send(Ok(Message::Challenge { nonce })).await;
        asked.expect("the guest listens");
        let mut answers = self.answers.lock().await;
        loop {
            let said = answers.recv().await.expect("the guest speaks");
            // It asks who we are, too; nobody answers that.
            if let Message::Evidence { proof, .. } = said.message {
                return proof;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for end in &self._open {
            end.abort();
        }
    }
}

fn expect(role: Role) -> Expect {
    Expect {
        role,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// That trusts this guest, and any node without one.
fn endpoint(guest: &SoftTdx, draft: &Draft) -> Endpoint {
    let mut policy = Policy::of(vec![guest.td().image("guest", &[Role::Worker])]);
    policy.min_tier = Tier::Open;
    let anchor = guest.danger_anchor();
    let mut set = CollateralSet::new(anchor.clone());
    let collateral = attestation::Collateral::parse(guest.collateral(now()).into()).expect("its own");
    set.insert(collateral, now()).expect("its own");
    let (trust, _wanted) = Trust::new(Verifier::new(anchor), policy, set).expect("the policy is sound");
    let identity = draft.issue(now()).expect("software makes quotes");
    Endpoint {
        trust,
        identities: Some(Arc::new(Identities::new(identity))),
        alpn: Vec::new(),
        clock: Arc::new(DefaultTimeProvider) as Arc<dyn TimeProvider>,
    }
}
