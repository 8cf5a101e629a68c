//! Bundles of evidence, made of real handshakes: read years later, and with one thing changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use attestation::{Bundle, Policy, Role, Tier, TrustAnchor, Verdict, bundle::BundleRefusal};
use attestation_ratls::{Draft, channel::Attested};
use attestation_soft_tdx::SoftTdx;
use serde_json::{Map, Value, json};

use crate::{
    gpu::{listed, with_gpus},
    world::{self, NOW, Soft, World, anchor, collateral, draft, gpus, guest, keep, policy},
};

const TABLE: &str = include_str!("bundle.txt");

/// The gateway's bundle of such a worker, and its verdict.
async fn bundle_of(policy: Policy, worker: &Draft) -> (Bundle, Verdict) {
    let mut world = World::with(policy, worker);
    world.worker.trust = world::trust(world::policy(Tier::Tee), &guest("worker")).0;
    bundle_in(&world).await
}

async fn bundle_in(world: &World) -> (Bundle, Verdict) {
    let (gateway, worker) = world.meet().await;
    let gateway = gateway.unwrap();
    let peer = Arc::clone(gateway.peer().unwrap());
    let (gateway, _worker) = (keep(&world.gateway, Ok(gateway)), keep(&world.worker, worker));
    let (_, gateway) = gateway.settled().await.unwrap();
    let attested: Arc<Attested> = Arc::clone(gateway.footing.borrow().ready().unwrap());
    let bundle = peer.bundle(&attested).unwrap();
    (bundle, attested.verdict().clone())
}

fn worker() -> Draft {
    draft(Role::Worker, Some(Soft::honest(&guest("worker"))))
}

fn root() -> TrustAnchor {
    anchor(&guest("worker"))
}

fn code<T>(outcome: Result<T, BundleRefusal>) -> &'static str {
    outcome.map_or_else(|refusal| refusal.code(), |_| "accepted")
}

/// What somebody says who has the text and nothing else.
fn judged(text: &[u8]) -> &'static str {
    code(Bundle::read(text).and_then(|bundle| bundle.appraise(&root())))
}

#[tokio::test]
async fn what_was_true_is_true_years_later() {
    for (policy, worker, tier) in [
        (policy(Tier::Tee), worker(), Tier::Tee),
        (policy(Tier::Open), draft(Role::Worker, None), Tier::Open),
        (listed(Tier::TeeGpu), with_gpus(gpus(), NOW), Tier::TeeGpu),
    ] {
        let (bundle, verdict) = bundle_of(policy, &worker).await;
        let text = bundle.text();
        // Nothing here asks what time it is.
        let read = Bundle::read(text.as_bytes()).unwrap();
        assert_eq!(read.id(), Bundle::id_of(text.as_bytes()));
        assert_eq!(read.appraise(&root()).unwrap(), verdict);
        assert_eq!((verdict.tier(), read.appraised_at()), (tier, NOW));
        assert!(text.len() < 100 * 1024, "{} bytes", text.len());
    }
}

#[tokio::test]
async fn a_development_root_counts_for_who_names_it() {
    let (bundle, verdict) = bundle_of(policy(Tier::Tee), &worker()).await;
    assert_eq!(code(bundle.appraise(&TrustAnchor::Intel)), "bundle_development_anchor");
    let other = SoftTdx::danger_from_seed([9; 32]);
    assert_eq!(code(bundle.appraise(&anchor(&other))), "anchor_mismatch");
    // Another certificate of the same key is the same root.
    let again = guest("worker");
    assert_eq!(bundle.appraise(&anchor(&again)).unwrap(), verdict);
}

#[tokio::test]
async fn a_reader_has_a_policy_of_their_own() {
    let (bundle, verdict) = bundle_of(policy(Tier::Tee), &worker()).await;
    let mut stricter = policy(Tier::Tee);
    stricter.tcb.min_evaluation = 10_000;
    assert_eq!(code(bundle.appraise_under(&stricter, &root())), "evaluation_too_low");
    let mut other = policy(Tier::Tee);
    other.images.retain(|image| image.name != "worker");
    assert_eq!(code(bundle.appraise_under(&other, &root())), "image_unknown");
    let mut same = policy(Tier::Tee);
    same.max_age_s = 60;
    let under = bundle.appraise_under(&same, &root()).unwrap();
    assert_eq!((under.tier(), under.policy()), (Tier::Tee, same.digest()));
    assert_eq!(under.expires(), verdict.appraised_at() + 60);
}

/// The gateway's policy has changed since; what the bundle says is what was true under the one that it holds.
#[tokio::test]
async fn a_policy_that_was_replaced_is_in_the_bundle() {
    let world = World::new(Tier::Tee);
    let (bundle, verdict) = bundle_in(&world).await;
    let mut next = policy(Tier::Tee);
    next.images.retain(|image| image.name != "worker");
    world.trust.set_policy(next).unwrap();
    assert_eq!(bundle.appraise(&root()).unwrap(), verdict);
}

#[tokio::test]
async fn collateral_of_other_platforms_stays_outside() {
    let world = World::new(Tier::Tee);
    let other = SoftTdx::builder().fmspc([9; 6]).build();
    world
        .trust
        .change_collateral(|set| set.insert(collateral(&other, NOW), NOW))
        .unwrap();
    let (bundle, verdict) = bundle_in(&world).await;
    assert_eq!(bundle.collateral().len(), 1);
    assert_eq!(verdict.collateral(), world.trust.collateral().generation());
    assert_eq!(bundle.appraise(&root()).unwrap(), verdict);
}

#[tokio::test]
async fn whatever_is_changed_is_refused() {
    let mut found = BTreeMap::new();
    for (name, policy, worker) in [
        ("guest", policy(Tier::Tee), worker()),
        ("keyed", policy(Tier::Open), draft(Role::Worker, None)),
    ] {
        let (bundle, _) = bundle_of(policy, &worker).await;
        let whole: Value = serde_json::from_str(&bundle.text()).unwrap();
        assert_eq!(canonical(&whole), bundle.text());
        for place in places(&whole) {
            for changed in changes(&whole, &place) {
                let row = format!("{name}{}", shown(&place));
                let codes: &mut BTreeSet<&str> = found.entry(row).or_default();
                codes.insert(judged(canonical(&changed).as_bytes()));
            }
        }
    }
    check(&found);
}

/// Beside the table: no code but those of its row, and no row for nothing.
fn check(found: &BTreeMap<String, BTreeSet<&'static str>>) {
    let rows = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let table: BTreeMap<&str, BTreeSet<&str>> = rows
        .map(|row| {
            let (place, codes) = row.rsplit_once(' ').unwrap();
            (place.trim_end(), codes.split('|').collect())
        })
        .collect();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for (place, codes) in found {
        // The row of the place, or of the nearest around it.
        let around = (0..=place.len()).rev().filter_map(|end| place.get(..end));
        let row = around
            .map(|place| table.get_key_value(place))
            .find_map(|row| row)
            .unwrap();
        used.insert(*row.0);
        if !codes.is_subset(row.1) || codes.contains("accepted") {
            wrong.push(format!("{place:<60} {codes:?}"));
        }
    }
    wrong.extend(
        table
            .keys()
            .filter(|place| !used.contains(*place))
            .map(|place| format!("{place}: not tried")),
    );
    assert!(wrong.is_empty(), "bundle.txt says otherwise of:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn another_spelling_is_no_bundle() {
    let (bundle, _) = bundle_of(policy(Tier::Tee), &worker()).await;
    let text = bundle.text();
    for (other, expect) in [
        (format!("{text}\n"), "bundle_not_canonical"),
        (text.replacen(":", ": ", 1), "bundle_not_canonical"),
        (text.replacen("{", "{\"a\":1,", 1), "bundle_malformed"),
        (text.replacen("\"v\":1", "\"v\":2", 1), "bundle_version"),
        (
            text.replacen("\"role\":\"worker\"", "\"role\":\"worker\",\"role\":\"worker\"", 1),
            "bundle_malformed",
        ),
        (text[..text.len() - 1].to_owned(), "bundle_malformed"),
        (" ".repeat(attestation::bundle::MAX_BYTES + 1), "bundle_too_large"),
        (String::new(), "bundle_malformed"),
    ] {
        assert_eq!(judged(other.as_bytes()), expect, "{:.60}", other);
    }
}

/// A member or an item, from the outside in.
type Place = Vec<String>;

fn shown(place: &Place) -> String {
    place.iter().map(|step| format!(".{step}")).collect()
}

/// Of everything in a document.
fn places(value: &Value) -> Vec<Place> {
    let steps: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    for (step, value) in steps {
        all.push(vec![step.clone()]);
        for deeper in places(value) {
            all.push([vec![step.clone()], deeper].concat());
        }
    }
    all
}

fn at<'a>(value: &'a mut Value, place: &[String]) -> &'a mut Value {
    place.iter().fold(value, |value, step| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        value => &mut value[step.as_str()],
    })
}

/// The whole with this place taken out, and with it changed in some ways.
fn changes(whole: &Value, place: &Place) -> Vec<Value> {
    let (last, before) = place.split_last().unwrap();
    let mut without = whole.clone();
    match at(&mut without, before) {
        Value::Array(items) => {
            items.remove(last.parse().unwrap());
        }
        value => {
            value.as_object_mut().unwrap().remove(last);
        }
    }
    let mut all = vec![without];
    let mut changed = whole.clone();
    for other in others(at(&mut changed, place)) {
        let mut changed = whole.clone();
        *at(&mut changed, place) = other;
        if changed != *whole {
            all.push(changed);
        }
    }
    all
}

fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![json!(true), json!("AA=="), json!("00".repeat(32))],
        Value::Bool(bool) => vec![json!(!bool)],
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1), json!(number.as_u64().unwrap() ^ 1)],
        Value::String(text) => flips(text).into_iter().map(Value::String).collect(),
        Value::Array(items) => vec![json!([]), Value::Array([&items[..], &[json!(1)]].concat())],
        Value::Object(members) => {
            let mut more: Map<String, Value> = members.clone();
            more.insert("zz".to_owned(), json!(1));
            vec![Value::Object(more)]
        }
    }
}

/// One character changed, as far as half of a long text: behind that a quote has copies of certificates that nobody reads.
fn flips(text: &str) -> Vec<String> {
    let many = 4.min(text.len());
    (0..many)
        .map(|step| step * (text.len() / 2) / many)
        .map(|place| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] = match bytes[place] {
                b'0' => b'1',
                b'A' => b'B',
                byte if byte.is_ascii_digit() => b'0',
                _ => b'A',
            };
            String::from_utf8(bytes).unwrap()
        })
        .collect()
}

/// Members in the order of their names, and nothing that need not be.
fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let mut names: Vec<&String> = members.keys().collect();
                names.sort();
                let members = names.into_iter().map(|name| (name.clone(), sorted(&members[name])));
                Value::Object(members.collect())
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            scalar => scalar.clone(),
        }
    }
    sorted(value).to_string()
}
