//! Asks a chain for Cocoon's registry.
//!
//! ```no_run
//! # async fn example(chain: &dyn billing_ton::Chain) -> Result<(), Box<dyn std::error::Error>> {
//! use billing::channel::Network;
//! let root = billing_ton::address::parse("EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k", Network::MAINNET)?;
//! let registry = billing_ton::cocoon::registry(chain, root, None).await?;
//! for (number, proxy) in &registry.proxies {
//!     println!("proxy {number}: {:?}", proxy.addresses());
//! }
//! # Ok(()) }
//! ```

use billing::{channel::Account, receipt::to_hex};
use tycho_types::boc::Boc;

use super::{NotCocoon, Registry};
use crate::chain::{AccountState, Chain, ChainError, Status};

/// Why there is no registry, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("the chain's source gave no answer about the registry; ask again")]
    Chain(#[source] ChainError),
    #[error("there is no account at the registry's address; is it of this network?")]
    Absent,
    #[error("nobody has put a contract at the registry's address yet")]
    Uninitialised,
    #[error("the registry's account is frozen: its rent was not paid")]
    Frozen,
    #[error("the registry's code is no bag of cells")]
    Code,
    /// The owner can change it in one message: then nothing that was known of its data holds.
    #[error("the registry has the code {}, and {} was wanted", to_hex(found), to_hex(wanted))]
    OtherCode { found: [u8; 32], wanted: [u8; 32] },
    #[error("the account keeps no registry of Cocoon: {0}")]
    NotCocoon(#[source] NotCocoon),
}

/// The registry at `root`, as one source tells it. With `code`, of a contract with that code (hash of its root cell) only.
pub async fn registry(chain: &dyn Chain, root: Account, code: Option<[u8; 32]>) -> Result<Registry, RegistryError> {
    let state = chain.account(root).await.map_err(RegistryError::Chain)?;
    Registry::of(&state, code)
}

impl Registry {
    /// The same of an account's state that is known, for instance from two [sources](crate::sources).
    pub fn of(state: &AccountState, wanted: Option<[u8; 32]>) -> Result<Self, RegistryError> {
        let (code, data) = match &state.status {
            Status::Nonexistent => return Err(RegistryError::Absent),
            Status::Uninitialised => return Err(RegistryError::Uninitialised),
            Status::Frozen => return Err(RegistryError::Frozen),
            Status::Active { code, data } => (code, data),
        };
        if let Some(wanted) = wanted {
            let found = Boc::decode(code).map_err(|_| RegistryError::Code)?.repr_hash().0;
            if found != wanted {
                return Err(RegistryError::OtherCode { found, wanted });
            }
        }
        Self::decode_boc(data).map_err(RegistryError::NotCocoon)
    }
}
