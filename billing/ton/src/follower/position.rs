//! How far an account was followed: what survives a restart.

use billing::{
    Nano,
    channel::OnChain,
    receipt::{from_hex, to_hex},
};
use serde::{Deserialize, Serialize};

use crate::chain::Cursor;

/// A place in an account's history, and what was told up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The newest transaction that was told; `None` before the first.
    pub cursor: Option<Cursor>,
    pub life: Life,
    /// As of the cursor.
    pub on_chain: OnChain,
}

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    Unborn,
    Open,
    Ended,
}

/// Not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position in a channel's history cannot be read; follow the channel anew from its beginning")]
pub struct PositionError;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// As text: JavaScript rounds such numbers.
    lt: Option<String>,
    hash: Option<String>,
    life: Life,
    close_at: Option<u32>,
    deposited: Nano,
    claimed: Nano,
}

impl Position {
    /// Before everything.
    pub const START: Self = Self {
        cursor: None,
        life: Life::Unborn,
        on_chain: OnChain {
            close_at: None,
            deposited: Nano::ZERO,
            claimed: Nano::ZERO,
        },
    };

    /// From a state that was accepted, at its newest transaction: the channel is open, and what was before is known.
    pub fn of_open(cursor: Cursor, on_chain: OnChain) -> Self {
        Self {
            cursor: Some(cursor),
            life: Life::Open,
            on_chain,
        }
    }

    pub fn to_json(&self) -> String {
        let document = Document {
            lt: self.cursor.map(|cursor| cursor.lt.to_string()),
            hash: self.cursor.map(|cursor| to_hex(&cursor.hash)),
            life: self.life,
            close_at: self.on_chain.close_at,
            deposited: self.on_chain.deposited,
            claimed: self.on_chain.claimed,
        };
        serde_json::to_string(&document).expect("strings and numbers are JSON")
    }

    pub fn from_json(text: &str) -> Result<Self, PositionError> {
        let document: Document = serde_json::from_str(text).map_err(|_| PositionError)?;
        let cursor = match (document.lt, document.hash) {
            (None, None) => None,
            (Some(lt), Some(hash)) => Some(Cursor {
                lt: lt.parse().map_err(|_| PositionError)?,
                hash: from_hex(&hash).ok_or(PositionError)?,
            }),
            _ => return Err(PositionError),
        };
        Ok(Self {
            cursor,
            life: document.life,
            on_chain: OnChain {
                close_at: document.close_at,
                deposited: document.deposited,
                claimed: document.claimed,
            },
        })
    }
}
