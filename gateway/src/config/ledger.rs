//! The sections about money: where the ledger is, what is charged, and what a key may spend.

use std::path::PathBuf;
use std::time::Duration;

use billing::{AccountId, AmountError, Currency, Level, Nano};
use billing_store::PgUrl;

use super::decode::{Decode, Section, scalar};
use super::describe::{self, Definitions, Describe, Mapping};
use super::document::Node;
use super::key::check_patterns;
use super::model::Price;
use super::problem::Problems;
use super::schema::{choice, section};
use super::secret::Secret;
use super::show::{Show, Shown};

section! {
    /// How accounts are charged.
    pub(crate) struct Ledger {
        /// Of the account `org:default`, which pays for keys that have a budget and name no account.
        currency: Currency = Currency::USD,
        /// Who pays for requests without a key: org:NAME or team:ORGANISATION/TEAM. Only where no key is asked for; without one nobody pays.
        anonymous: Option<AccountId> = None,
        /// The name of this gateway among several that share a database; made once and kept in `data_dir` where it is not set.
        node: Option<String> = None,
        /// Where a charge is made durable; has a meaning only with `database`.
        journal: Journal = Journal::Local,
        /// How long a gateway works from what it leased when it cannot reach the database.
        lease: Duration = Duration::from_secs(30),
        /// Whether every charge has a signed receipt.
        receipts: bool = true,
        /// A file with the Ed25519 seed that signs them, in hexadecimal or PEM; made at the first start and kept in `data_dir` where it is not set.
        receipt_key: Option<PathBuf> = None,
        /// How long the evidence that receipts name is kept in `data_dir`, in days.
        evidence_days: u32 = 1100,
        /// What becomes of requests of charged accounts for models without a price.
        unpriced: Unpriced = Unpriced::Refuse,
        /// What currencies are worth in others; nothing is converted without.
        rates: Vec<Rate> = Vec::new(),
        /// Prices for some keys and models; the first that matches goes before the model's own.
        prices: Vec<SpecialPrice> = Vec::new(),
    }
    check |ledger: &Ledger, section: &Section<'_>, problems: &mut Problems| {
        if ledger.node.as_deref().is_some_and(|name| !is_node_name(name)) {
            let fix = "use up to 64 letters, digits and `-_.`";
            section.report("node", "cannot be the name of a node", fix, problems);
        }
        if !(MIN_LEASE..=MAX_LEASE).contains(&ledger.lease) {
            let fix = "write a time from 5s to 10m";
            section.report("lease", "is too short or too long to be leased for", fix, problems);
        }
        for (i, rate) in ledger.rates.iter().enumerate() {
            let is_again = ledger.rates[..i].iter().any(|other| (other.from, other.to) == (rate.from, rate.to));
            if is_again && rate.from != rate.to {
                let item = format!("rates[{i}]");
                section.report(&item, "is for the same two currencies as an earlier one", "keep one of them", problems);
            }
        }
    }
}

/// Below it a single slow renewal would close the gateway.
const MIN_LEASE: Duration = Duration::from_secs(5);
/// Beyond it a cut budget would hold on a gateway that lost the database for far too long.
const MAX_LEASE: Duration = Duration::from_secs(600);

/// Names of nodes stand in receipts and in paths of the admin API.
pub(crate) fn is_node_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !matches!(name, "." | "..")
}

choice! {
    /// Where a charge is made durable before the client sees the end of its answer.
    pub(crate) enum Journal {
        /// On the disk of this gateway; shipped to the database behind it.
        Local = "local",
        /// In the database, for gateways whose disk does not last.
        Direct = "direct",
    }
}

choice! {
    /// What becomes of requests for models without a price, of accounts that are charged.
    pub(crate) enum Unpriced {
        Refuse = "refuse",
        /// They are served, and cost nothing.
        Serve = "serve",
    }
}

/// What one unit of a currency is in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) from: Currency,
    pub(crate) to: Currency,
    /// Billionths of `to` for one unit of `from`.
    pub(crate) rate: Nano,
}

section! {
    /// A price for some keys and some models, in place of the models' own.
    pub(crate) struct SpecialPrice {
        /// Names of keys, or beginnings of names and one `*`.
        keys: Vec<String> = vec!["*".to_owned()],
        /// Names of models as clients write them, or beginnings and one `*`.
        models: Vec<String> = vec!["*".to_owned()],
        price: Price = super::unwritten(),
    }
    check |special: &SpecialPrice, section: &Section<'_>, problems: &mut Problems| {
        check_patterns("keys", &special.keys, section, problems);
        check_patterns("models", &special.models, section, problems);
        if !section.has("price") {
            let fix = problems.key_fix("price");
            section.report("price", "missing", fix, problems);
        }
    }
}

section! {
    /// What may be spent, in units of the account's currency; `null` is without bound. Days and months are UTC's.
    pub(crate) struct Budget {
        /// For ever.
        total: Option<Nano> = None,
        day: Option<Nano> = None,
        month: Option<Nano> = None,
    }
}

impl Budget {
    pub(crate) fn of(rules: &billing::Budget) -> Self {
        Self {
            total: rules.total,
            day: rules.day,
            month: rules.month,
        }
    }

    pub(crate) fn rules(&self) -> billing::Budget {
        billing::Budget {
            total: self.total,
            day: self.day,
            month: self.month,
        }
    }
}

/// The address of a PostgreSQL database, with its credentials: hidden like a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl(PgUrl);

impl DatabaseUrl {
    pub(crate) fn url(&self) -> &PgUrl {
        &self.0
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Shown::HIDDEN)
    }
}

impl Decode for DatabaseUrl {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let url = Secret::decode(node, key, problems)?;
        // Never quoted: it may hold a password.
        match url.expose().parse() {
            Ok(url) => Some(Self(url)),
            Err(error) => {
                problems.report(
                    &node.place,
                    key,
                    format!("is not the address of a PostgreSQL database: {error}"),
                    "write `postgres://USER:PASSWORD@HOST/DATABASE`, or leave it out to keep everything in `data_dir`",
                );
                None
            }
        }
    }
}

impl Describe for DatabaseUrl {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^postgres(ql)?://")
    }
}

impl Show for DatabaseUrl {
    fn show(&self) -> Shown {
        Shown::hidden()
    }
}

impl Decode for Rate {
    const IS_MAPPING: bool = true;

    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let mut section = Section::open(node, key, problems);
        let read = Self {
            from: section.or("from", Currency::USD, problems),
            to: section.or("to", Currency::USD, problems),
            rate: section.or("rate", Nano::ZERO, problems),
        };
        let missing: Vec<&str> = ["from", "to", "rate"]
            .into_iter()
            .filter(|name| !section.has(name))
            .collect();
        for name in &missing {
            let fix = problems.key_fix(name);
            section.report(name, "missing", fix, problems);
        }
        if missing.is_empty() {
            section.refuse_zero(&[("rate", read.rate.is_zero())], problems);
            if read.from == read.to {
                let fix = "name two currencies; what is of one currency needs no rate";
                section.report("to", "is the currency of `from` too", fix, problems);
            }
        }
        section.close(problems);
        Some(read)
    }
}

impl Describe for Rate {
    fn describe(definitions: &mut Definitions) -> serde_json::Value {
        definitions.mapping("Rate", |to| {
            let mut mapping = Mapping::new(&["What one unit of a currency is in another."]);
            mapping.required::<Currency>("from", &["The currency of a price."], to);
            mapping.required::<Currency>("to", &["The currency of an account."], to);
            mapping.required::<Nano>("rate", &["What one unit of from is in units of to."], to);
            mapping.build(&[])
        })
    }
}

impl Show for Rate {
    fn show(&self) -> Shown {
        Shown::map(vec![
            ("from", self.from.show()),
            ("to", self.to.show()),
            ("rate", self.rate.show()),
        ])
    }
}

impl Decode for Currency {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a currency", problems)?;
        let read = text.parse().ok();
        if read.is_none() {
            let message = format!("{} is not the code of a currency", node.quoted());
            let fix = "write three capital letters, such as `USD`, `EUR` or `TON`";
            problems.report(&node.place, key, message, fix);
        }
        read
    }
}

impl Describe for Currency {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^[A-Z]{3}$")
    }
}

impl Show for Currency {
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl Decode for Nano {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "an amount", problems)?;
        let error = match text.parse() {
            Ok(amount) => return Some(amount),
            Err(error) => error,
        };
        let (message, fix) = match error {
            AmountError::Malformed => (
                format!("expected an amount, found {}", node.quoted()),
                "write a number such as `2.50`, with at most nine digits after the point",
            ),
            AmountError::TooLarge => (
                format!("{} is more than an amount can be", node.quoted()),
                "write at most 9223372036, or leave it out",
            ),
        };
        problems.report(&node.place, key, message, fix);
        None
    }
}

impl Describe for Nano {
    fn describe(definitions: &mut Definitions) -> serde_json::Value {
        super::units::Amount::describe(definitions)
    }
}

impl Show for Nano {
    fn show(&self) -> Shown {
        let digits = self.to_string();
        let short = digits.trim_end_matches('0').trim_end_matches('.');
        Shown::Plain(short.to_owned())
    }
}

/// The account of a key: an organisation or a team.
impl Decode for AccountId {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "an account", problems)?;
        let read = text.parse().ok();
        let read = read.filter(|account: &Self| matches!(account.level(), Level::Organisation | Level::Team));
        if read.is_none() {
            let message = format!("{} is not an account that keys can belong to", node.quoted());
            let fix = "write `org:NAME` or `team:ORGANISATION/TEAM`, with up to 128 letters, digits and `-_.`";
            problems.report(&node.place, key, message, fix);
        }
        read
    }
}

impl Describe for AccountId {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^(org:[A-Za-z0-9._-]+|team:[A-Za-z0-9._-]+/[A-Za-z0-9._-]+)$")
    }
}

impl Show for AccountId {
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}
