//! The demo's guest: a worker behind attested TLS, whose evidence is made by software.
//!
//! Everything that checks the evidence is what checks Intel's; only the root is our own, and whoever has the seed in the folder of the demo can forge all of it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use attestation::{Hex, Role};
use attestation_ratls::collateral::bundle;
use attestation_soft_tdx::{SoftTdx, Td, policy};
use backends::serve::BoxError;

use super::Engine;
use crate::{
    config::{Address, CollateralFrom, EvidenceFrom},
    control::Token,
    identity::{self, Shown},
    key_file,
    signal::Signals,
    tls,
    trust::{Judging, TrustSettings},
    wall_clock::unix_seconds,
    worker::{self, EngineSettings, Gateway, Settings},
    workers::digest_of_token,
};

/// As long as the demo's gateway waits for its clients.
const PATIENCE: Duration = Duration::from_secs(5);
/// The images, by the names that the policy has for them.
const WORKER: &str = "demo-worker";
const GATEWAY: &str = "demo-gateway";

/// What the two ends of the demo show and accept.
pub(super) struct Guest {
    folder: PathBuf,
    token: Token,
    engine: Arc<worker::Engine>,
}

impl Guest {
    /// Makes a platform, and writes what judges it into the folder. Nothing for an engine on another machine, which no guest could vouch for.
    pub(super) fn prepare(folder: &Path, engine: &Engine) -> Result<Option<Self>, BoxError> {
        let settings = EngineSettings {
            address: engine.url.clone(),
            key: None,
            danger_remote: false,
        };
        let Ok(engine) = worker::Engine::new(&settings) else {
            return Ok(None);
        };
        let seed: [u8; 32] = tls::random().ok_or("this system has no randomness")?;
        let guest = Self {
            folder: folder.to_owned(),
            token: Token(Hex(tls::random::<32>().ok_or("this system has no randomness")?).to_string()),
            engine: Arc::new(engine),
        };
        let platform = SoftTdx::danger_from_seed(seed);
        key_file::keep(&guest.path("seed"), &Hex(seed).to_string())?;
        std::fs::write(guest.root(), platform.root_der())?;
        let images = vec![
            Td::of(WORKER).image(WORKER, &[Role::Worker]),
            Td::of(GATEWAY).image(GATEWAY, &[Role::Gateway]),
        ];
        std::fs::write(guest.policy(), serde_json::to_string_pretty(&policy(images))?)?;
        let set = platform.collateral_set(unix_seconds())?;
        bundle::export(&set, &guest.collateral())?;
        Ok(Some(guest))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where what was fetched may be kept, until the demo ends.
    pub(super) fn kept(&self) -> PathBuf {
        self.path("fetched")
    }

    /// The root that stands in for Intel's.
    pub(super) fn root(&self) -> PathBuf {
        self.path("root.der")
    }

    pub(super) fn policy(&self) -> PathBuf {
        self.path("policy.json")
    }

    fn collateral(&self) -> PathBuf {
        self.path("collateral")
    }

    fn evidence(&self, image: &str) -> EvidenceFrom {
        EvidenceFrom::DangerSoftware {
            seed: self.path("seed"),
            image: Some(image.to_owned()),
        }
    }

    /// The gateway's part of the configuration.
    pub(super) fn yaml(&self, kind: &str) -> Result<String, BoxError> {
        let text = |path: &Path| serde_json::to_string(path);
        Ok(format!(
            "worker_listen: 127.0.0.1:0\nattestation: {{policy: {}, collateral: [{}], evidence: {}, danger_development_trust_anchor: {}}}\nbackends: [{{name: engine, kind: {kind}, workers: [{{name: guest, join_token_sha256: \"{}\"}}]}}]\n",
            text(&self.policy())?,
            serde_json::to_string(&CollateralFrom::Bundle(self.collateral()).to_string())?,
            serde_json::to_string(&self.evidence(GATEWAY).to_string())?,
            text(&self.root())?,
            digest_of_token(&self.token.0),
        ))
    }

    /// Begins to serve the gateway that listens there, for as long as the process lives.
    pub(super) async fn serve(self, gateway: SocketAddr) -> Result<(), BoxError> {
        let address = Address::parse(&gateway.to_string()).ok_or("the gateway listens nowhere")?;
        let draft = identity::draft(Role::Worker, &self.evidence(WORKER), Path::new(""))?;
        let settings = Settings {
            shown: Shown::begin_in_time(draft).await?,
            judging: Judging::begin(&TrustSettings {
                policy: Some(self.policy()),
                collateral: vec![CollateralFrom::Bundle(self.collateral())],
                danger_anchor: Some(self.root()),
                shelf: None,
            })?,
            token: Some(self.token.clone()),
            gateways: vec![Gateway { key: None, address }],
            callers: Vec::new(),
            listener: None,
            income: None,
            patience: PATIENCE,
        };
        // It drains beside the gateway, and ends with the process.
        let mut signals = Signals::install()?;
        worker::run(settings, self.engine, signals.next(), std::future::pending()).await?;
        Ok(())
    }
}
