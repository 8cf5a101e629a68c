//! Who pays: accounts in three levels, and the pots that bound what each may spend.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Currency, Nano, Window, Windows};

/// The level of an account, the uppermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Holds the money.
    Organisation,
    /// Bounds what some keys of an organisation spend.
    Team,
    /// An API key.
    Key,
    /// An account of the ledger itself.
    System,
}

/// The name of an account: `org:acme`, `team:acme/research`, `key:alice`, `system:earnings`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Arc<str>);

impl AccountId {
    pub fn organisation(name: &str) -> Result<Self, BadAccountId> {
        format!("org:{name}").parse()
    }

    /// `name` is `ORGANISATION/TEAM`.
    pub fn team(name: &str) -> Result<Self, BadAccountId> {
        format!("team:{name}").parse()
    }

    /// What a key spends, under the name of the key.
    pub fn key(name: &str) -> Self {
        Self(format!("key:{name}").into())
    }

    /// Pays for keys that have a budget and name no account.
    pub fn default_organisation() -> Self {
        Self("org:default".into())
    }

    /// What came into the ledger from outside.
    pub fn funding() -> Self {
        Self("system:funding".into())
    }

    /// What was paid for answers.
    pub fn earnings() -> Self {
        Self("system:earnings".into())
    }

    /// The gateway's own fee.
    pub fn fees() -> Self {
        Self("system:fees".into())
    }

    /// What the operator bears: captures of a node that was forgotten.
    pub fn loss() -> Self {
        Self("system:loss".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn level(&self) -> Level {
        let prefix = self.0.split_once(':').map(|(prefix, _)| prefix);
        match prefix {
            Some("org") => Level::Organisation,
            Some("team") => Level::Team,
            Some("key") => Level::Key,
            _ => Level::System,
        }
    }

    /// Without the level.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, name)| name)
    }
}

/// Not the name of an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an account; write org:NAME or team:ORGANISATION/TEAM, of up to 128 letters, digits and `-_.`")]
pub struct BadAccountId;

impl FromStr for AccountId {
    type Err = BadAccountId;

    fn from_str(text: &str) -> Result<Self, BadAccountId> {
        let (prefix, name) = text.split_once(':').ok_or(BadAccountId)?;
        let is_plain = |name: &str| {
            (1..=128).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
                && !matches!(name, "." | "..")
        };
        let is_good = match prefix {
            "org" | "system" => is_plain(name),
            "team" => name
                .split_once('/')
                .is_some_and(|(organisation, team)| is_plain(organisation) && is_plain(team)),
            // The names of keys have rules of their own.
            "key" => !name.is_empty(),
            _ => false,
        };
        if is_good {
            Ok(Self(text.into()))
        } else {
            Err(BadAccountId)
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// How long a bound counts before it begins anew. Days and months are UTC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// For ever: of an organisation also its money.
    Total,
    Day,
    Month,
}

impl Span {
    pub const ALL: [Self; 3] = [Self::Total, Self::Day, Self::Month];
}

/// Of the accounts of a payer and their spans, those in which an amount was held: one bit each.
///
/// A charge carries them, so that the ledger takes it from the slices that it was held in and from no others: a bound
/// that was set while a request was in flight has no slice for that one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bounds(u16);

impl Bounds {
    pub const NONE: Self = Self(0);

    /// `None` where a bit stands for nothing.
    pub const fn new(bits: u16) -> Option<Self> {
        if bits < 1 << 9 { Some(Self(bits)) } else { None }
    }

    /// Bit 0 is the organisation's total, 1 its day, 2 its month, then the team's three, then the key's.
    pub const fn bits(self) -> u16 {
        self.0
    }

    #[must_use]
    pub const fn with(self, level: Level, span: Span) -> Self {
        Self(self.0 | Self::bit(level, span))
    }

    pub const fn contains(self, level: Level, span: Span) -> bool {
        self.0 & Self::bit(level, span) != 0
    }

    const fn bit(level: Level, span: Span) -> u16 {
        let first = match level {
            Level::Organisation => 0b1,
            Level::Team => 0b1_000,
            Level::Key => 0b1_000_000,
            // Nothing bounds what the ledger itself does.
            Level::System => return 0,
        };
        match span {
            Span::Total => first,
            Span::Day => first << 1,
            Span::Month => first << 2,
        }
    }
}

/// What an account may spend at most; `None` is without bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    pub total: Option<Nano>,
    pub day: Option<Nano>,
    pub month: Option<Nano>,
}

impl Budget {
    pub fn of(&self, span: Span) -> Option<Nano> {
        match span {
            Span::Total => self.total,
            Span::Day => self.day,
            Span::Month => self.month,
        }
    }
}

/// A bounded amount that requests are taken from: an account within a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pot {
    pub account: AccountId,
    pub window: Window,
}

/// Who pays for the requests of one key, and which pots bound it. Made once for each snapshot of keys and accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payer {
    /// The organisation; its currency is that of all amounts.
    pub organisation: AccountId,
    pub team: Option<AccountId>,
    /// `None` for who has no key of its own, such as a subject of an identity provider.
    pub key: Option<AccountId>,
    pub currency: Currency,
    /// The bounds, with [`Span::Total`] of the organisation among them where it is prepaid.
    pub bounds: Vec<(AccountId, Span)>,
}

impl Payer {
    /// Key, team and organisation, as far as there are any.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.key
            .iter()
            .chain(&self.team)
            .chain(std::iter::once(&self.organisation))
    }

    /// The pots that bound what is spent in these windows; at most nine.
    pub fn pots(&self, windows: Windows) -> impl Iterator<Item = Pot> {
        self.bounds.iter().map(move |(account, span)| Pot {
            account: account.clone(),
            window: windows.of(*span),
        })
    }
}
