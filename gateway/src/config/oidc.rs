//! Issuers of bearer tokens (OpenID Connect, RFC 7519) that are accepted beside API keys.

use std::path::PathBuf;
use std::time::Duration;

use billing::AccountId;

use super::decode::{Section, unwritten};
use super::key::{KeyLimits, Tier, check_patterns};
use super::problem::Problems;
use super::schema::section;
use super::url::BaseUrl;

section! {
    /// An issuer, and what its tokens may do.
    pub(crate) struct Oidc {
        /// As the claim `iss` spells it.
        issuer: String,
        /// What the claim `aud` must be, or hold.
        audience: String,
        /// The issuer's keys; found through its discovery document when neither is set.
        jwks_url: Option<BaseUrl> = None,
        jwks_file: Option<PathBuf> = None,
        /// The claim that names the account in records and in the log of requests.
        name_claim: String = "sub".to_owned(),
        /// How far its clock and ours may differ.
        leeway: Duration = Duration::from_secs(60),
        /// What a token may use that no rule speaks of.
        models: Vec<String> = vec!["*".to_owned()],
        min_tier: Tier = Tier::Open,
        limits: KeyLimits = unwritten(),
        /// Who pays for its tokens: org:NAME or team:ORGANISATION/TEAM. Without one nobody does.
        account: Option<AccountId> = None,
        /// The first that matches decides.
        rules: Vec<OidcRule> = Vec::new(),
    }
    check |oidc: &Oidc, section: &Section<'_>, problems: &mut Problems| {
        check_patterns("models", &oidc.models, section, problems);
        if oidc.jwks_url.is_some() && oidc.jwks_file.is_some() {
            section.report("jwks_file", "is set, and so is `jwks_url`", "keep one of the two", problems);
        }
        let is_url = oidc.issuer.starts_with("https://") || oidc.issuer.starts_with("http://");
        if oidc.jwks_url.is_none() && oidc.jwks_file.is_none() && !oidc.issuer.is_empty() && !is_url {
            let fix = "write the issuer's URL, or add `jwks_url` or `jwks_file`";
            section.report("issuer", "is not a URL, so its keys cannot be found", fix, problems);
        }
        // In the ledger it stands before a subject, with this sign between the two.
        if oidc.issuer.contains('#') && oidc.accounts().next().is_some() {
            let message = "has a `#`, so that its subjects could be taken for another's in the ledger";
            section.report("issuer", message, "leave `account` out", problems);
        }
    }
}

section! {
    /// What tokens with a certain claim may do.
    pub(crate) struct OidcRule {
        claim: String,
        /// What the claim is, or holds where it is a list or words with spaces between.
        value: String,
        models: Vec<String> = vec!["*".to_owned()],
        min_tier: Tier = Tier::Open,
        limits: KeyLimits = unwritten(),
        /// As the issuer's where it is not set.
        account: Option<AccountId> = None,
    }
    check |rule: &OidcRule, section: &Section<'_>, problems: &mut Problems| {
        check_patterns("models", &rule.models, section, problems);
    }
}

impl Oidc {
    /// All who pay for its tokens.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        let of_rules = self.rules.iter().filter_map(|rule| rule.account.as_ref());
        self.account.iter().chain(of_rules)
    }
}
