//! Receipts at work in a gateway: the key that signs them, what they say of bodies, and who is shown which.
//!
//! What a receipt is, and how it is checked, is `billing::receipt`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use billing::{
    AccountId, Payer,
    receipt::{Head, PublicKey, SigningKey, checkpoint},
};
use billing_store::{
    Journal, JournalError, LedgerFault, LedgerStore, Store,
    ledger::{ChainHead, StoredReceipt},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    accounts::Account,
    config::Config,
    wall_clock::{unix_ms, unix_seconds},
};
use key::KeyError;

pub(crate) mod key;
pub(crate) mod keys;
pub(crate) mod witness;

pub(crate) use witness::Witness;

/// How long who asks for a receipt waits for the database.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long public keys that were read are shown: anybody may ask for them, and the database shall not notice.
const KEYS_KEPT: Duration = Duration::from_secs(10);

/// Why the gateway has nothing to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the public key of receipts cannot be kept in the database")]
    Register(#[source] LedgerFault),
}

/// Why there is no answer about receipts, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiptsError {
    #[error(
        "There is no receipt of a request '{id}' that this API key made and paid for. It is there when the answer has ended."
    )]
    NotFound { id: String },
    #[error("This API key is not charged, or this gateway signs no receipts, so that there is no checkpoint.")]
    NoChain,
    #[error("The database did not answer in time.")]
    Late,
    #[error("The database does not answer.")]
    Ledger(#[from] LedgerFault),
    #[error("The journal of this node does not answer.")]
    Journal(#[from] JournalError),
}

/// Answers about receipts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receipts(Option<Arc<Desk>>);

#[derive(Debug)]
struct Desk {
    node: Arc<str>,
    /// `None` where receipts are off; those of earlier times are shown all the same.
    key: Option<Arc<SigningKey>>,
    ledger: LedgerStore,
    /// Has what was not shipped yet.
    journal: Option<Journal>,
    /// Until when they may be shown. Locked while they are read, so that one of many who ask reads them.
    shown_keys: Mutex<Option<(Instant, Vec<PublicKey>)>>,
}

/// The key that the configuration names, or that of the data directory; `None` where receipts are off.
pub(crate) fn signing_key(config: &Config) -> Result<Option<Arc<SigningKey>>, KeyError> {
    if !config.ledger.receipts {
        return Ok(None);
    }
    let key = match (&config.ledger.receipt_key, &config.data_dir) {
        (Some(path), _) => key::read(path)?,
        (None, Some(folder)) => key::read_or_make_in(folder)?,
        // Nothing is kept on disk, and nothing is charged: with a database such a configuration was refused.
        (None, None) => return Ok(None),
    };
    Ok(Some(Arc::new(key)))
}

impl Receipts {
    /// Keeps the public half of the key, so that every node can say by which keys to check. `journal`: that of this
    /// node, where the ledger is elsewhere.
    pub(crate) async fn open(
        store: &Store,
        node: Arc<str>,
        key: Option<Arc<SigningKey>>,
        journal: Option<Journal>,
    ) -> Result<Self, OpenError> {
        let ledger = store.ledger();
        if let Some(key) = &key {
            ledger
                .add_receipt_key(&node, key.public().as_bytes(), unix_ms())
                .await
                .map_err(OpenError::Register)?;
        }
        Ok(Self(Some(Arc::new(Desk {
            node,
            key,
            ledger,
            journal,
            shown_keys: Mutex::default(),
        }))))
    }

    /// Who signs here.
    pub(crate) fn signer(&self) -> Option<PublicKey> {
        Some(self.0.as_ref()?.key.as_ref()?.public())
    }

    /// All receipts of a request, for an administrator: as many as there are of that name.
    pub(crate) async fn of_request(&self, id: &str) -> Result<Vec<StoredReceipt>, ReceiptsError> {
        let Some(desk) = &self.0 else { return Ok(Vec::new()) };
        in_time(desk.of_request(id)).await
    }

    /// Those that the account's own key paid for: other keys of its organisation have receipts of their own. Who needs no
    /// key is one and the same, and has those of no key; so is who pays by one channel.
    pub(crate) async fn of_account(&self, id: &str, account: &Account) -> Result<Vec<StoredReceipt>, ReceiptsError> {
        let not_found = || ReceiptsError::NotFound { id: id.to_owned() };
        let is_one = |payer: &&Payer| payer.key.is_some() || account.name.is_none() || account.channel.is_some();
        let payer = account.payer.as_deref().filter(is_one).ok_or_else(not_found)?;
        let mut receipts = self.of_request(id).await?;
        receipts.retain(|receipt| receipt.key == payer.key && receipt.organisation == payer.organisation);
        if receipts.is_empty() {
            return Err(not_found());
        }
        Ok(receipts)
    }

    /// The public keys of all nodes and of all times.
    pub(crate) async fn keys(&self) -> Result<Vec<PublicKey>, ReceiptsError> {
        let Some(desk) = &self.0 else { return Ok(Vec::new()) };
        in_time(desk.keys()).await
    }

    /// Where the chains of the payer's organisation stand, signed.
    pub(crate) async fn checkpoint(&self, payer: Option<&Payer>) -> Result<Box<str>, ReceiptsError> {
        let desk = self.0.as_ref().ok_or(ReceiptsError::NoChain)?;
        let (Some(key), Some(payer)) = (&desk.key, payer) else {
            return Err(ReceiptsError::NoChain);
        };
        let heads = in_time(desk.heads(&payer.organisation)).await?;
        Ok(checkpoint(key, &payer.organisation, &heads, unix_seconds()))
    }
}

impl Desk {
    async fn keys(&self) -> Result<Vec<PublicKey>, ReceiptsError> {
        let mut shown = self.shown_keys.lock().await;
        if let Some((until, keys)) = &*shown
            && Instant::now() < *until
        {
            return Ok(keys.clone());
        }
        let mut keys: Vec<PublicKey> = Vec::new();
        for key in self.ledger.receipt_keys().await? {
            let key = PublicKey::from_bytes(key.public_key);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        *shown = Some((Instant::now() + KEYS_KEPT, keys.clone()));
        Ok(keys)
    }

    async fn of_request(&self, id: &str) -> Result<Vec<StoredReceipt>, ReceiptsError> {
        // The journal first: what is shipped in between is then found twice, and not never.
        let mut receipts = match &self.journal {
            Some(journal) => journal.receipt(id).await?,
            None => Vec::new(),
        };
        for receipt in self.ledger.receipt(id).await? {
            let is_known = |known: &StoredReceipt| known.node == receipt.node && known.seq == receipt.seq;
            if !receipts.iter().any(is_known) {
                receipts.push(receipt);
            }
        }
        receipts.sort_by(|a, b| (&a.node, a.seq).cmp(&(&b.node, b.seq)));
        Ok(receipts)
    }

    async fn heads(&self, organisation: &AccountId) -> Result<BTreeMap<String, Head>, ReceiptsError> {
        let own = match &self.journal {
            Some(journal) => journal.heads().await?,
            None => Vec::new(),
        };
        let stored = self.ledger.receipt_heads(organisation).await?;
        let mut heads: BTreeMap<String, Head> = stored.into_iter().map(|(node, at)| (node, head(at))).collect();
        let own = own.into_iter().find(|head| head.organisation == *organisation);
        if let Some(own) = own.map(head)
            && heads.get(&*self.node).is_none_or(|stored| stored.seq < own.seq)
        {
            heads.insert(self.node.to_string(), own);
        }
        Ok(heads)
    }
}

fn head(head: ChainHead) -> Head {
    Head {
        organisation: head.organisation,
        seq: head.seq,
        hash: head.receipt_hash,
    }
}

async fn in_time<T>(asking: impl Future<Output = Result<T, ReceiptsError>>) -> Result<T, ReceiptsError> {
    timeout(PATIENCE, asking).await.unwrap_or(Err(ReceiptsError::Late))
}
