//! API keys that the file gives to clients, and the tokens of administrators.

use std::fmt;

use billing::AccountId;
use sha2::{Digest as _, Sha256};

use super::decode::{Decode, Section, scalar, unwritten};
use super::describe::{self, Definitions, Describe, Mapping};
use super::document::{Node, Value};
use super::interpolate::join;
use super::ledger::Budget;
use super::model;
use super::problem::Problems;
use super::schema::{choice, section};
use super::secret::Secret;
use super::show::{Show, Shown};
use super::units::Timestamp;

/// An API key of a client, kept as its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// Who answers for it: a person, a team. Shown, never interpreted.
    pub(crate) owner: Option<String>,
    pub(crate) sha256: KeyHash,
    /// Names of models, or patterns that end in `*`.
    pub(crate) models: Vec<String>,
    pub(crate) min_tier: Tier,
    pub(crate) limits: KeyLimits,
    /// The first moment at which it is refused.
    pub(crate) expires: Option<Timestamp>,
    pub(crate) disabled: bool,
    /// Who pays for it: an organisation or a team.
    pub(crate) account: Option<AccountId>,
    /// What it may spend.
    pub(crate) budget: Option<Budget>,
    /// For reports.
    pub(crate) tags: Tags,
}

choice! {
    /// The least that must protect the prompt.
    pub(crate) enum Tier {
        Open = "open",
        Tee = "tee",
        TeeGpu = "tee+gpu",
    }
}

section! {
    /// How much one key may ask. `null` is without limit.
    pub(crate) struct KeyLimits {
        /// In any 60 seconds.
        requests_per_minute: Option<u32> = None,
        /// Prompt and completion, in any 60 seconds.
        tokens_per_minute: Option<u32> = None,
        /// Requests under way; a stream is one until it ends.
        concurrency: Option<u32> = None,
    }
    check |limits: &KeyLimits, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(
            &[
                ("requests_per_minute", limits.requests_per_minute == Some(0)),
                ("tokens_per_minute", limits.tokens_per_minute == Some(0)),
                ("concurrency", limits.concurrency == Some(0)),
            ],
            problems,
        );
    }
}

#[cfg(test)]
impl Key {
    /// A key with nothing but a name.
    pub(crate) fn named(name: &str, secret: &str) -> Self {
        Self {
            name: name.to_owned(),
            owner: None,
            sha256: KeyHash::of(secret),
            models: vec!["*".to_owned()],
            min_tier: Tier::Open,
            limits: unwritten(),
            expires: None,
            disabled: false,
            account: None,
            budget: None,
            tags: Tags::default(),
        }
    }
}

impl Decode for Key {
    const IS_MAPPING: bool = true;

    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let mut section = Section::open(node, key, problems);
        let read = Self {
            name: section.required("name", problems),
            owner: section.or("owner", None, problems),
            sha256: hash(&mut section, "key", problems),
            models: section.or("models", vec!["*".to_owned()], problems),
            min_tier: section.or("min_tier", Tier::Open, problems),
            limits: section.or("limits", unwritten(), problems),
            expires: section.or("expires", None, problems),
            disabled: section.or("disabled", false, problems),
            account: section.or("account", None, problems),
            budget: section.or("budget", None, problems),
            tags: section.or("tags", Tags::default(), problems),
        };
        check_patterns("models", &read.models, &section, problems);
        // An empty one stands for one that was missing, which is told already.
        if !read.name.is_empty() && !is_key_name(&read.name) {
            let fix = "use up to 256 bytes without `/` and control characters, white space at no end, no `oidc:` in front, and neither `.` nor `..`";
            section.report("name", "cannot be the name of a key", fix, problems);
        }
        section.close(problems);
        Some(read)
    }
}

/// Longest name of a key, in bytes; records cut names at it.
pub(crate) const MAX_KEY_NAME: usize = 256;

/// Names stand in records, in paths of the admin API, and beside those of OIDC subjects.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_KEY_NAME
        && name.trim() == name
        && !name.chars().any(|c| c.is_control() || c == '/')
        // No browser and no client sends these as a part of a path.
        && !matches!(name, "." | "..")
        && !name.starts_with("oidc:")
}

impl Describe for Key {
    fn describe(definitions: &mut Definitions) -> serde_json::Value {
        definitions.mapping("Key", |to| {
            let mut mapping = Mapping::new(&["An API key of a client."]);
            mapping.required::<String>("name", &["Stands in records and in the log of requests."], to);
            let doc = ["Who answers for it: a person, a team. Shown, never interpreted."];
            mapping.or::<Option<String>>("owner", &doc, &Shown::Null, to);
            describe_hash(&mut mapping, to);
            let doc = ["Names of models, or beginnings of names and one *."];
            mapping.or::<Vec<String>>("models", &doc, &Shown::List(vec![Shown::text("*")]), to);
            mapping.or::<Tier>("min_tier", &[], &Tier::Open.show(), to);
            mapping.or::<KeyLimits>("limits", &[], &unwritten::<KeyLimits>().show(), to);
            let doc = ["The first moment at which it is refused."];
            mapping.or::<Option<Timestamp>>("expires", &doc, &Shown::Null, to);
            mapping.or::<bool>("disabled", &[], &false.show(), to);
            let doc =
                ["Who pays for it: org:NAME or team:ORGANISATION/TEAM. With a budget and without one, org:default."];
            mapping.or::<Option<AccountId>>("account", &doc, &Shown::Null, to);
            let doc = ["What it may spend."];
            mapping.or::<Option<Budget>>("budget", &doc, &Shown::Null, to);
            mapping.or::<Tags>("tags", &["For reports."], &Tags::default().show(), to);
            mapping.build(&["sha256", "secret"])
        })
    }
}

impl Show for Key {
    fn show(&self) -> Shown {
        let fields = [
            ("name", self.name.show()),
            ("owner", self.owner.show()),
            ("sha256", Shown::hidden()),
            ("models", self.models.show()),
            ("min_tier", self.min_tier.show()),
            ("limits", self.limits.show()),
            ("expires", self.expires.show()),
            ("disabled", self.disabled.show()),
            ("account", self.account.show()),
            ("budget", self.budget.show()),
            ("tags", self.tags.show()),
        ];
        Shown::Map(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

/// A bearer token for the admin API, kept as its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminToken {
    /// Who, in the audit log.
    pub(crate) name: String,
    pub(crate) sha256: KeyHash,
}

impl Decode for AdminToken {
    const IS_MAPPING: bool = true;

    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let mut section = Section::open(node, key, problems);
        let read = Self {
            name: section.required("name", problems),
            sha256: hash(&mut section, "token", problems),
        };
        section.close(problems);
        Some(read)
    }
}

impl Describe for AdminToken {
    fn describe(definitions: &mut Definitions) -> serde_json::Value {
        definitions.mapping("AdminToken", |to| {
            let mut mapping = Mapping::new(&["A bearer token for the admin API."]);
            mapping.required::<String>("name", &["Who, in the audit log."], to);
            describe_hash(&mut mapping, to);
            mapping.build(&["sha256", "secret"])
        })
    }
}

impl Show for AdminToken {
    fn show(&self) -> Shown {
        Shown::Map(vec![
            ("name".to_owned(), self.name.show()),
            ("sha256".to_owned(), Shown::hidden()),
        ])
    }
}

/// Reads `sha256` and `secret`, which say the same thing.
fn hash(section: &mut Section<'_>, what: &str, problems: &mut Problems) -> KeyHash {
    let sha256: Option<KeyHash> = section.or("sha256", None, problems);
    let secret: Option<Secret> = section.or("secret", None, problems);
    match (section.has("sha256"), section.has("secret")) {
        (true, true) => section.report(
            "secret",
            format!("a {what} has either `sha256` or `secret`, not both"),
            "keep one of the two",
            problems,
        ),
        (false, false) => section.report(
            "sha256",
            format!("a {what} needs `sha256` or `secret`, and neither is set"),
            format!("add `secret: ${{NAME}}`, or `sha256:` with the hash of the {what} in hexadecimal"),
            problems,
        ),
        _ => {}
    }
    let hashed = secret.map(|secret| KeyHash::of(secret.expose()));
    sha256.or(hashed).unwrap_or(KeyHash::STAND_IN)
}

fn describe_hash(mapping: &mut Mapping, definitions: &mut Definitions) {
    let doc = ["The SHA-256 of it, in hexadecimal: printf %s \"$KEY\" | sha256sum"];
    mapping.alternative::<KeyHash>("sha256", &doc, definitions);
    let doc = ["Itself, hashed when the file is read; better a reference than the text."];
    mapping.alternative::<Secret>("secret", &doc, definitions);
}

/// Refuses what is no pattern among those of a list of a section.
pub(super) fn check_patterns(list: &str, patterns: &[String], section: &Section<'_>, problems: &mut Problems) {
    let bad = |(_, pattern): &(usize, &String)| !model::is_pattern(pattern);
    for (i, _) in patterns.iter().enumerate().filter(bad) {
        let item = format!("{list}[{i}]");
        let message = model::bad_pattern(&section.quoted(&item));
        section.report(&item, message, model::PATTERN_FIX, problems);
    }
}

/// Names and values that say something about a key, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tags(pub(crate) Vec<(String, String)>);

impl Decode for Tags {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            Section::open(node, key, problems);
            return None;
        };
        let read = entries.iter().filter_map(|entry| {
            let value = String::decode(&entry.node, &join(key, &entry.key), problems)?;
            Some((entry.key.clone(), value))
        });
        Some(Self(read.collect()))
    }
}

impl Describe for Tags {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::names(&["Names and values."])
    }
}

impl Show for Tags {
    fn show(&self) -> Shown {
        let tags = self.0.iter();
        Shown::Map(tags.map(|(name, value)| (name.clone(), value.show())).collect())
    }
}

/// The SHA-256 of an API key.
///
/// Hidden like the key itself: a weak key can be guessed from its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    /// Takes the place of a hash that could not be read; the report about it keeps it from use.
    pub(super) const STAND_IN: Self = Self([0; 32]);

    /// The hash of a key as a client presents it.
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Whether it is the hash of no text at all, which a variable that is not set makes of a key: everybody has it.
    pub(crate) fn is_of_nothing(&self) -> bool {
        *self == Self::of("")
    }

    pub(crate) const fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 64 hexadecimal digits.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let well_formed = hex.len() == 64
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
            && hash.iter_mut().enumerate().all(|(i, byte)| {
                u8::from_str_radix(&hex[2 * i..2 * i + 2], 16)
                    .map(|read| *byte = read)
                    .is_ok()
            });
        well_formed.then_some(Self(hash))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Decode for KeyHash {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "64 hexadecimal digits", problems)?;
        let hash = Self::parse(text);
        if hash.is_some_and(|hash| hash.is_of_nothing()) {
            problems.report(
                &node.place,
                key,
                "is the hash of an empty text, which everybody has",
                "hash the key itself; the variable that should have held it was empty",
            );
            return None;
        }
        if hash.is_some() {
            return hash;
        }
        // Never quoted: the likeliest mistake is the key itself.
        problems.report(
            &node.place,
            key,
            "is not a SHA-256 hash: 64 hexadecimal digits",
            "write the output of `printf %s \"$KEY\" | sha256sum`, or use `secret:` for the key itself",
        );
        None
    }
}

impl Describe for KeyHash {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^[0-9A-Fa-f]{64}$")
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Shown::HIDDEN)
    }
}
