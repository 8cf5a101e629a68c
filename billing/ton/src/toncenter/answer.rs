//! What a toncenter answers, as types: what is not of the type is unreadable. Nothing of it is believed here.
//!
//! The same cells can be written as many bags, with an index or without, with a checksum or without: each bag is read and
//! written anew, so that two sources that say the same say it with the same bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use billing::channel::{Account, Network};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use tycho_types::boc::Boc;

use crate::{
    chain::{AccountState, Cursor, Head, Status, Transaction},
    history::Linked,
};

/// Around every answer.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) ok: bool,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) code: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct AddressInformation {
    balance: Number,
    state: State,
    code: Bytes,
    data: Bytes,
    last_transaction_id: TransactionId,
    block_id: BlockId,
    sync_utime: u32,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    Active,
    #[serde(alias = "uninit")]
    Uninitialized,
    Frozen,
}

#[derive(Deserialize)]
struct TransactionId {
    lt: Number,
    hash: Bytes,
}

#[derive(Deserialize)]
struct BlockId {
    workchain: i32,
    seqno: u32,
}

#[derive(Deserialize)]
pub(super) struct RawTransaction {
    utime: u32,
    data: Bytes,
    transaction_id: TransactionId,
}

#[derive(Deserialize)]
pub(super) struct ConfigInfo {
    config: ConfigCell,
}

#[derive(Deserialize)]
struct ConfigCell {
    bytes: Bytes,
}

/// A number that is written as one or as a text.
struct Number(i128);

/// Base64; an empty text has no bytes.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number.into())),
            Either::Text(text) => text.parse().map(Self).map_err(|_| de::Error::custom("not a number")),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(|_| de::Error::custom("not Base64"))
    }
}

impl Bytes {
    /// The bag of cells that they are, as we write it; `None` where they are none.
    fn bag(&self) -> Option<Vec<u8>> {
        Boc::decode(&self.0).ok().map(Boc::encode)
    }
}

impl TransactionId {
    /// `None` for an account without transactions, which has zeros here.
    fn cursor(&self) -> Result<Option<Cursor>, &'static str> {
        let lt = u64::try_from(self.lt.0).map_err(|_| "a logical time is not one")?;
        if lt == 0 {
            return Ok(None);
        }
        let hash = self
            .hash
            .0
            .as_slice()
            .try_into()
            .map_err(|_| "a hash has not 32 bytes")?;
        Ok(Some(Cursor { lt, hash }))
    }
}

impl AddressInformation {
    pub(super) fn head(&self) -> Result<Head, &'static str> {
        if self.block_id.workchain != -1 {
            return Err("the block is not of the masterchain");
        }
        Ok(Head {
            seqno: self.block_id.seqno,
            time: self.sync_utime,
        })
    }

    pub(super) fn account(self) -> Result<AccountState, &'static str> {
        let last = self.last_transaction_id.cursor()?;
        let status = match self.state {
            State::Active => {
                let bag = |bytes: &Bytes| bytes.bag().ok_or("code or data are no bag of cells");
                Status::Active {
                    code: bag(&self.code)?,
                    data: bag(&self.data)?,
                }
            }
            State::Frozen => Status::Frozen,
            // This API has one word for both; coins or a transaction make the difference.
            State::Uninitialized if self.balance.0 <= 0 && last.is_none() => Status::Nonexistent,
            State::Uninitialized => Status::Uninitialised,
        };
        Ok(AccountState {
            head: self.head()?,
            // Below zero is how some versions say that there is no account.
            balance: u128::try_from(self.balance.0.max(0)).unwrap_or_default(),
            last,
            status,
        })
    }
}

impl RawTransaction {
    /// `account` is whom we asked about.
    pub(super) fn checked(self, account: &Account) -> Result<Linked, String> {
        let at = self
            .transaction_id
            .cursor()?
            .ok_or("a transaction has no logical time")?;
        let transaction = Transaction {
            at,
            time: self.utime,
            cell: self.data.bag().ok_or("a transaction is no bag of cells")?,
        };
        Linked::read(account, transaction).map_err(|error| error.to_string())
    }
}

impl ConfigInfo {
    /// Of parameter 19.
    pub(super) fn network(self) -> Result<Network, &'static str> {
        let cell = Boc::decode(&self.config.bytes.0).map_err(|_| "it does not say of which network it is")?;
        let id = cell
            .parse::<i32>()
            .map_err(|_| "the number of its network is not one")?;
        Ok(Network(id))
    }

    pub(super) fn bytes(self) -> Result<Option<Vec<u8>>, &'static str> {
        if self.config.bytes.0.is_empty() {
            return Ok(None);
        }
        let bag = self.config.bytes.bag();
        bag.map(Some).ok_or("a configuration parameter is no bag of cells")
    }
}
