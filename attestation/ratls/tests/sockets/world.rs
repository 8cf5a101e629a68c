//! A gateway and a worker, each in a software guest, and what they accept of each other.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use attestation::{
    Attester, Collateral, CollateralParts, CollateralSet, Hex, Image, Interop, NoQuote, Platforms, Policy, Role,
    TcbRules, Tier, TrustAnchor, Verifier,
};
use attestation_ratls::{
    Admit, Connection, Draft, Endpoint, Expect, HandshakeError, Identities, KeyKind, Keys, Trust, Wanted,
    channel::{Cut, Footing},
};
use attestation_soft_tdx::{SoftTdx, Td, gpu::SoftGpus};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};

pub(crate) const NOW: u64 = 1_795_334_400;
pub(crate) const ALPN: &[u8] = b"mulberry-worker/1";
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A clock that tests set.
#[derive(Debug)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) fn at(now: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now)))
    }
}

impl Clock {
    pub(crate) fn set(&self, now: u64) {
        self.0.store(now, Ordering::SeqCst);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::SeqCst);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Quotes by one guest for the certificate, and by another for the channel: the same one, if it is honest.
pub(crate) struct Soft {
    pub(crate) first: SoftTdx,
    pub(crate) then: SoftTdx,
    pub(crate) asked: AtomicU64,
}

impl Soft {
    pub(crate) fn honest(soft: &SoftTdx) -> Arc<Self> {
        Self::changing(soft, soft)
    }

    pub(crate) fn changing(first: &SoftTdx, then: &SoftTdx) -> Arc<Self> {
        Arc::new(Self {
            first: first.clone(),
            then: then.clone(),
            asked: AtomicU64::new(0),
        })
    }
}

impl Attester for Soft {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
        let soft = match self.asked.fetch_add(1, Ordering::SeqCst) {
            0 => &self.first,
            _ => &self.then,
        };
        Ok(soft.quote(report_data))
    }
}

/// Guests of one software root.
pub(crate) fn guest(image: &str) -> SoftTdx {
    SoftTdx::builder().image(image).build()
}

pub(crate) fn image(name: &str, td: &Td, roles: &[Role]) -> Image {
    Image {
        name: name.to_owned(),
        roles: roles.to_vec(),
        mrtd: Hex(td.mr_td),
        rtmr: td.rtmr.map(Hex),
        td_attributes: Hex(td.attributes),
        xfam: Hex(td.xfam),
        mr_config_id: Hex(td.mr_config_id),
        mr_owner: Hex(td.mr_owner),
        mr_owner_config: Hex(td.mr_owner_config),
        mr_seam: Vec::new(),
    }
}

/// The images `gateway` and `worker`, each in its role.
pub(crate) fn policy(min_tier: Tier) -> Policy {
    Policy {
        min_tier,
        images: vec![
            image("gateway", &Td::of("gateway"), &[Role::Gateway]),
            image("worker", &Td::of("worker"), &[Role::Worker]),
        ],
        tcb: TcbRules::default(),
        platforms: Platforms::default(),
        interop: Interop::None,
        cocoon_images: Vec::new(),
        models: None,
        gpu: None,
        max_age_s: 600,
    }
}

pub(crate) fn anchor(soft: &SoftTdx) -> TrustAnchor {
    TrustAnchor::Development(soft.root_der())
}

pub(crate) fn verifier(soft: &SoftTdx) -> Verifier {
    Verifier::new(anchor(soft)).danger_gpu_root(gpus().root_der())
}

/// Of the worker's machine.
pub(crate) fn gpus() -> SoftGpus {
    SoftGpus::new([3; 32])
}

pub(crate) fn collateral(soft: &SoftTdx, now: u64) -> Collateral {
    let made = soft.collateral(now);
    Collateral::parse(CollateralParts {
        tcb_info: made.tcb_info,
        tcb_info_chain: made.tcb_info_chain,
        qe_identity: made.qe_identity,
        qe_identity_chain: made.qe_identity_chain,
        pck_crl: made.pck_crl,
        pck_crl_chain: made.pck_crl_chain,
        root_ca_crl: made.root_ca_crl,
    })
    .unwrap()
}

pub(crate) fn trust(policy: Policy, soft: &SoftTdx) -> (Arc<Trust>, mpsc::Receiver<Wanted>) {
    let mut set = CollateralSet::new(anchor(soft));
    set.insert(collateral(soft, NOW), NOW).unwrap();
    Trust::new(verifier(soft), policy, set).unwrap()
}

pub(crate) fn draft(role: Role, attester: Option<Arc<dyn Attester>>) -> Draft {
    Draft {
        attester,
        ..Draft::new(role, Keys::Fresh(KeyKind::Ed25519))
    }
}

pub(crate) fn endpoint(draft: &Draft, trust: &Arc<Trust>, clock: &Arc<Clock>) -> Endpoint {
    let now = clock.current_time().unwrap().as_secs();
    Endpoint {
        trust: Arc::clone(trust),
        identities: Some(Arc::new(Identities::new(draft.issue(now).unwrap()))),
        alpn: vec![ALPN.to_vec()],
        clock: Arc::clone(clock) as Arc<dyn TimeProvider>,
    }
}

/// A gateway that listens, a worker that dials, both as they should be.
pub(crate) struct World {
    pub(crate) clock: Arc<Clock>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) gateway: Endpoint,
    pub(crate) worker: Endpoint,
}

impl World {
    pub(crate) fn new(min_tier: Tier) -> Self {
        Self::with(
            policy(min_tier),
            &draft(Role::Worker, Some(Soft::honest(&guest("worker")))),
        )
    }

    pub(crate) fn with(policy: Policy, worker: &Draft) -> Self {
        let clock = Clock::at(NOW);
        let (trust, _wanted) = trust(policy, &guest("worker"));
        let gateway = draft(Role::Gateway, Some(Soft::honest(&guest("gateway"))));
        Self {
            gateway: endpoint(&gateway, &trust, &clock),
            worker: endpoint(worker, &trust, &clock),
            clock,
            trust,
        }
    }

    pub(crate) async fn meet(&self) -> Met {
        meet(&self.gateway, &self.worker).await
    }

    /// What the gateway says of the worker, and no more than that.
    pub(crate) async fn verdict(&self) -> String {
        match self.meet().await {
            (Ok(_), _) => "accepted".to_owned(),
            (Err(error), _) => error.code().to_owned(),
        }
    }
}

pub(crate) type Made = Result<Connection<TcpStream>, HandshakeError>;
/// What each side got: the one who listens, the one who dials.
pub(crate) type Met = (Made, Made);

pub(crate) fn expect(role: Role) -> Expect {
    Expect { role, address: LOCAL }
}

pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, dialled) = tokio::join!(listener.accept(), TcpStream::connect(address));
    let (accepted, dialled) = (accepted.unwrap().0, dialled.unwrap());
    // As every node does: a line must not wait for the acknowledgement of the one before.
    accepted.set_nodelay(true).unwrap();
    dialled.set_nodelay(true).unwrap();
    (accepted, dialled)
}

pub(crate) async fn meet(gateway: &Endpoint, worker: &Endpoint) -> Met {
    let (accepted, dialled) = sockets().await;
    tokio::join!(
        gateway.accept(accepted, expect(Role::Worker), Admit::Certified),
        worker.connect(dialled, expect(Role::Gateway)),
    )
}

/// A connection whose channel is being kept.
pub(crate) struct Kept {
    pub(crate) footing: watch::Receiver<Footing>,
    pub(crate) end: JoinHandle<Cut>,
}

pub(crate) fn keep(endpoint: &Endpoint, made: Made) -> Kept {
    let connection = made.unwrap();
    let binder = endpoint.binder(&connection);
    Kept {
        footing: binder.footing(),
        end: tokio::spawn(binder.over(connection)),
    }
}

impl Kept {
    /// The tier under which requests may cross it; or why it was cut.
    pub(crate) async fn settled(mut self) -> Result<(Tier, Self), Cut> {
        let tier = self
            .footing
            .wait_for(|footing| footing.ready().is_some())
            .await
            .ok()
            .and_then(|footing| footing.ready().map(|attested| attested.verdict().tier()));
        match tier {
            Some(tier) => Ok((tier, self)),
            None => Err(self.end.await.unwrap()),
        }
    }

    pub(crate) async fn cut(self) -> Cut {
        self.end.await.unwrap()
    }
}
