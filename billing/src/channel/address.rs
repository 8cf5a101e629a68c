//! Addresses and networks as text: `0:` and 64 lowercase hexadecimal digits; `tvm:` and the global id.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Account, Network};
use crate::{
    AccountId,
    receipt::{from_hex, to_hex},
};

/// Not an account's address, or not in its one spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a raw address; write the workchain, a colon and 64 lowercase hexadecimal digits, such as 0:83df…")]
pub struct BadAccount;

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.workchain, to_hex(&self.hash))
    }
}

impl Account {
    /// The account of the ledger that a channel at this address is, at its payee.
    pub fn organisation(&self) -> AccountId {
        let name = format!("channel-{}", to_hex(&self.hash));
        AccountId::organisation(&name).expect("a word and 64 digits are the name of an organisation")
    }
}

impl FromStr for Account {
    type Err = BadAccount;

    fn from_str(text: &str) -> Result<Self, BadAccount> {
        let (workchain, hash) = text.split_once(':').ok_or(BadAccount)?;
        let account = Self {
            workchain: workchain.parse().map_err(|_| BadAccount)?,
            hash: from_hex(hash).ok_or(BadAccount)?,
        };
        // `+0` and `00` are zero too; one value has one spelling.
        if account.workchain.to_string() == workchain {
            Ok(account)
        } else {
            Err(BadAccount)
        }
    }
}

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = text.strip_prefix("tvm:").and_then(|id| id.parse().ok()).map(Self);
        id.filter(|network| network.to_string() == text)
            .ok_or_else(|| serde::de::Error::custom("is not a network of TON; write tvm:-239 or tvm:-3"))
    }
}
