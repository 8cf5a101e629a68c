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
use billing::Nano;

use super::{
    Engine,
    coins::{Coins, DELAY_S, NETWORK},
};
use crate::{
    config::{Address, CollateralFrom, EvidenceFrom},
    control::{Prices, Token},
    identity::{self, Shown},
    key_file, tls,
    trust::{Judging, TrustSettings},
    wall_clock::unix_seconds,
    worker::{self, EngineSettings, Gateway, Income, IncomeSettings, Settings, income::journal::Folder},
    workers::digest_of_token,
};

/// As long as the demo's gateway waits for its clients.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the worker asks: what the demo's prices have it earn.
const PRICE: Prices = Prices {
    prompt: 20_000_000,
    cached: 5_000_000,
    completion: 160_000_000,
    request: 1000,
};
/// How often the worker asks the chain about its channels.
const FOLLOW: Duration = Duration::from_millis(300);
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

    /// By what each of them is judged.
    pub(super) fn trust(&self) -> TrustSettings {
        TrustSettings {
            policy: Some(self.policy()),
            collateral: vec![CollateralFrom::Bundle(self.collateral())],
            danger_anchor: Some(self.root()),
            shelf: None,
        }
    }

    /// Serves the gateway that listens there until `stop`.
    pub(super) async fn serve(
        self,
        gateway: SocketAddr,
        income: IncomeSettings,
        stop: impl Future<Output = ()>,
    ) -> Result<(), BoxError> {
        let address = Address::parse(&gateway.to_string()).ok_or("the gateway listens nowhere")?;
        let income = Income::open(income).await?;
        let mut draft = identity::draft(Role::Worker, &self.evidence(WORKER), Path::new(""))?;
        // Its evidence vouches for who is paid.
        draft.payee_key = Some(Hex(income.key()));
        let settings = Settings {
            shown: Shown::begin_in_time(draft).await?,
            judging: Judging::begin(&self.trust())?,
            token: Some(self.token.clone()),
            gateways: vec![Gateway { key: None, address }],
            callers: Vec::new(),
            listener: None,
            income: Some(income),
            patience: PATIENCE,
        };
        worker::run(settings, self.engine, stop, std::future::pending()).await?;
        Ok(())
    }
}

/// On what terms the worker works. It settles when the demo ends.
pub(super) fn income(coins: &Coins) -> Result<IncomeSettings, BoxError> {
    Ok(IncomeSettings {
        folder: Folder::new(coins.earned()),
        network: NETWORK,
        payout: coins.payout,
        fee_bps: 0,
        fee_dest: coins.payout,
        close_delay_s: DELAY_S,
        price: PRICE,
        chain: coins.source()?,
        follow: FOLLOW,
        settle_above: Nano::MOST,
        settle_every: Duration::from_secs(86_400),
        credit: Nano::saturating(Nano::UNIT),
    })
}
