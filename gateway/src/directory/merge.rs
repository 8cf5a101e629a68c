//! The keys of the file and of the database as one list.

use std::collections::HashSet;

use billing_store::{Grant, StoredKey};

use crate::config::{Budget, Key, KeyHash, KeyLimits, Tags, Tier, Timestamp};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Merged {
    /// One for each hash that a client may present, now or ever again: what is revoked is disabled.
    pub(super) keys: Vec<Key>,
    /// Names of the database that the file has too, or whose hash it has.
    pub(super) shadowed: Vec<String>,
    /// Names of the file whose hash was revoked in the database: they stay refused.
    pub(super) revoked: Vec<String>,
}

pub(super) fn merge(file: &[Key], stored: &[StoredKey], now_ms: i64) -> Merged {
    let mut keys = file.to_vec();
    let mut shadowed = Vec::new();
    let gone = stored.iter().filter(|key| key.revoked_at_ms.is_some());
    let gone: HashSet<&[u8; 32]> = gone.flat_map(|key| &key.hashes).map(|hash| &hash.sha256.0).collect();
    let mut revoked = Vec::new();
    for key in keys.iter_mut().filter(|key| gone.contains(key.sha256.as_bytes())) {
        key.disabled = true;
        revoked.push(key.name.clone());
    }
    let names: HashSet<&str> = file.iter().map(|key| key.name.as_str()).collect();
    let hashes: HashSet<&[u8; 32]> = file.iter().map(|key| key.sha256.as_bytes()).collect();
    for key in stored {
        let mut known = key.hashes.iter().map(|hash| hashes.contains(&hash.sha256.0));
        if names.contains(key.name.as_str()) || known.any(|is_known| is_known) {
            shadowed.push(key.name.clone());
            continue;
        }
        for hash in &key.hashes {
            if hash.valid_until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
                continue;
            }
            // The earlier of the two.
            let expires_ms = [key.grant.expires_at_ms, hash.valid_until_ms]
                .into_iter()
                .flatten()
                .min();
            keys.push(Key {
                name: key.name.clone(),
                owner: key.grant.owner.clone(),
                sha256: KeyHash::of_bytes(hash.sha256.0),
                models: key.grant.models.clone(),
                min_tier: tier(&key.grant),
                limits: limits(&key.grant),
                expires: expires_ms.map(moment),
                disabled: key.grant.disabled || key.revoked_at_ms.is_some(),
                account: key.grant.account.clone(),
                budget: (key.grant.budget != billing::Budget::default()).then(|| Budget::of(&key.grant.budget)),
                tags: Tags(key.grant.tags.clone()),
            });
        }
    }
    Merged {
        keys,
        shadowed,
        revoked,
    }
}

/// A word that this program does not know asks for the most: prompts are never less protected than somebody wanted.
pub(super) fn tier(grant: &Grant) -> Tier {
    let known = Tier::ALL.iter().find(|tier| tier.as_str() == grant.min_tier);
    known.copied().unwrap_or(Tier::TeeGpu)
}

fn limits(grant: &Grant) -> KeyLimits {
    KeyLimits {
        requests_per_minute: grant.requests_per_minute,
        tokens_per_minute: grant.tokens_per_minute,
        concurrency: grant.concurrency,
    }
}

/// In whole seconds, and not later.
pub(super) fn moment(at_ms: i64) -> Timestamp {
    Timestamp::from_unix_seconds(u64::try_from(at_ms.div_euclid(1000)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use billing_store::{Sha256, StoredHash};

    use super::*;
    use crate::directory::edit;

    fn stored(name: &str, hashes: &[(&str, Option<i64>)]) -> StoredKey {
        let hashes = hashes.iter().map(|(secret, valid_until_ms)| StoredHash {
            sha256: Sha256(*KeyHash::of(secret).as_bytes()),
            valid_until_ms: *valid_until_ms,
        });
        StoredKey {
            name: name.to_owned(),
            grant: edit::fresh(),
            hashes: hashes.collect(),
            created_at_ms: 0,
            created_by: "ops".to_owned(),
            revoked_at_ms: None,
        }
    }

    /// Name, secret, expiry in seconds and whether it is disabled.
    type Line<'a> = (&'a str, &'a str, Option<u64>, bool);

    fn check(file: &[Key], database: &[StoredKey], now_ms: i64, keys: &[Line<'_>], shadowed: &[&str]) {
        let merged = merge(file, database, now_ms);
        let found = merged.keys.iter().map(|key| {
            let expires = key.expires.map(Timestamp::unix_seconds);
            (key.name.clone(), key.sha256, expires, key.disabled)
        });
        let expect = keys
            .iter()
            .map(|(name, secret, expires, disabled)| ((*name).to_owned(), KeyHash::of(secret), *expires, *disabled));
        assert!(found.eq(expect), "{merged:#?}");
        assert_eq!(merged.shadowed, shadowed);
    }

    #[test]
    fn a_rotated_key_is_two_until_its_grace_ends() {
        let rotated = [stored("a", &[("old", Some(5000)), ("new", None)])];
        check(
            &[],
            &rotated,
            4999,
            &[("a", "old", Some(5), false), ("a", "new", None, false)],
            &[],
        );
        check(&[], &rotated, 5000, &[("a", "new", None, false)], &[]);
        let mut expiring = stored("a", &[("old", Some(9000)), ("new", None)]);
        expiring.grant.expires_at_ms = Some(7000);
        check(
            &[],
            &[expiring],
            0,
            &[("a", "old", Some(7), false), ("a", "new", Some(7), false)],
            &[],
        );
    }

    #[test]
    fn the_file_wins_by_name_and_by_hash() {
        let file = [Key::named("a", "sk-a"), Key::named("b", "sk-b")];
        let database = [
            stored("a", &[("sk-other", None)]),
            stored("c", &[("sk-c-old", Some(9)), ("sk-b", None)]),
            stored("d", &[("sk-d", None)]),
        ];
        check(
            &file,
            &database,
            0,
            &[
                ("a", "sk-a", None, false),
                ("b", "sk-b", None, false),
                ("d", "sk-d", None, false),
            ],
            &["a", "c"],
        );
    }

    #[test]
    fn what_is_revoked_does_not_come_back_by_the_file() {
        let mut revoked = stored("a", &[("sk-old", Some(1)), ("sk-a", None)]);
        revoked.revoked_at_ms = Some(1);
        let file = [
            Key::named("b", "sk-a"),
            Key::named("c", "sk-c"),
            Key::named("a", "sk-old"),
        ];
        check(
            &file,
            std::slice::from_ref(&revoked),
            5,
            &[
                ("b", "sk-a", None, true),
                ("c", "sk-c", None, false),
                ("a", "sk-old", None, true),
            ],
            &["a"],
        );
        assert_eq!(merge(&file, &[revoked], 5).revoked, ["b", "a"]);
    }

    #[test]
    fn what_is_revoked_or_not_understood_is_closed() {
        let mut revoked = stored("a", &[("sk-a", None)]);
        revoked.revoked_at_ms = Some(1);
        check(&[], &[revoked], 5, &[("a", "sk-a", None, true)], &[]);
        let mut unknown = stored("a", &[]);
        unknown.grant.min_tier = "fortress".to_owned();
        assert_eq!(tier(&unknown.grant), Tier::TeeGpu);
    }
}
