//! A PCCS of our own on a socket, honest or lying, and what becomes of what it serves.

mod pccs;
mod samples;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use attestation::{Ca, CollateralParts, Hex, Refusal, TrustAnchor};
use attestation_soft_tdx::SoftTdx;
use tokio::sync::mpsc;

use self::pccs::{Pccs, Reply};
use super::*;

/// 2026-11-22, about when this was written.
const NOW: u64 = 1_795_334_400;
const DAY: u64 = 24 * 60 * 60;

/// The set that verifiers would look at.
struct Held(Mutex<Arc<CollateralSet>>);

impl Held {
    fn new(anchor: TrustAnchor) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Arc::new(CollateralSet::new(anchor)))))
    }
}

impl InForce for Held {
    fn collateral(&self) -> Arc<CollateralSet> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, collateral: Collateral, now: u64) -> Result<(), Refusal> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = CollateralSet::clone(&held);
        set.insert(collateral, now)?;
        *held = Arc::new(set);
        Ok(())
    }

    fn restore(&self, kept: Vec<Collateral>, now: u64) -> Vec<(Platform, Refusal)> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = CollateralSet::clone(&held);
        let refused = set.restore(kept, now);
        *held = Arc::new(set);
        super::refused(refused)
    }
}

/// Gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mulberry-collateral-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the folder of the test can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

const FMSPC: Hex<6> = Hex(attestation_soft_tdx::FMSPC);
const PLATFORM: Platform = Platform {
    fmspc: FMSPC,
    ca: Ca::Platform,
};

fn anchor(soft: &SoftTdx) -> TrustAnchor {
    TrustAnchor::Development(soft.root_der())
}

fn parts(soft: &SoftTdx, now: u64) -> CollateralParts {
    parts_of(soft.collateral(now))
}

fn parts_of(collateral: attestation_soft_tdx::Collateral) -> CollateralParts {
    CollateralParts {
        tcb_info: collateral.tcb_info,
        tcb_info_chain: collateral.tcb_info_chain,
        qe_identity: collateral.qe_identity,
        qe_identity_chain: collateral.qe_identity_chain,
        pck_crl: collateral.pck_crl,
        pck_crl_chain: collateral.pck_crl_chain,
        root_ca_crl: collateral.root_ca_crl,
    }
}

fn honest(soft: &SoftTdx) -> BTreeMap<String, Reply> {
    replies(&soft.collateral(NOW))
}

fn replies(collateral: &attestation_soft_tdx::Collateral) -> BTreeMap<String, Reply> {
    let answers = collateral.answers().into_iter();
    answers
        .map(|answer| {
            let headers = answer.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
            (answer.target, Reply::Good(headers.collect(), answer.body))
        })
        .collect()
}

fn keeper(held: &Arc<Held>, sources: &[&Pccs], shelf: Option<&Path>) -> Keeper {
    keeper_with(Client::new(None), held, sources, shelf)
}

fn keeper_with(client: Client, held: &Arc<Held>, sources: &[&Pccs], shelf: Option<&Path>) -> Keeper {
    let sources = sources.iter().map(|pccs| Source::parse(&pccs.url()).expect("a URL"));
    Keeper::new(
        Arc::clone(held) as Arc<dyn InForce>,
        sources.collect(),
        client,
        shelf.map(Shelf::new),
        || NOW,
        Pace::NORMAL,
    )
}

#[tokio::test]
async fn what_a_pccs_serves_is_taken_and_kept() {
    let soft = SoftTdx::builder().build();
    // Its signatures differ each time that it signs.
    let (anchor, served) = (anchor(&soft), soft.collateral(NOW));
    let (held, folder) = (Held::new(anchor.clone()), Folder::new());
    let pccs = Pccs::start(replies(&served)).await;
    let keeper = keeper(&held, &[&pccs], Some(&folder.0));
    let holds = keeper.fetch(PLATFORM).await.expect("it is honest");
    assert!(holds > Duration::from_secs(DAY), "{holds:?}");
    let taken = held.collateral();
    let taken = taken.get(FMSPC, Ca::Platform).expect("it was taken");
    assert!(*taken.parts() == parts_of(served), "byte for byte");
    assert_eq!(
        keeper
            .state()
            .borrow()
            .get(&PLATFORM)
            .map(|state| (state.renewed_at, state.expires)),
        Some((Some(NOW), Some(taken.expires())))
    );

    // A restart without a network.
    let after = Held::new(anchor);
    let offline = self::keeper(&after, &[], Some(&folder.0));
    assert!(offline.load().expect("it can be read").is_empty());
    assert_eq!(after.collateral().generation(), held.collateral().generation());
    let failures = offline.fetch(PLATFORM).await.expect_err("there is no source");
    assert!(matches!(failures.as_slice(), [Failure::NoSource]), "{failures:?}");
}

/// Starts from an honest service, lets it lie about one thing, and expects one failure; what was known stays.
async fn check(lie: impl FnOnce(&mut BTreeMap<String, Reply>), expect: &str) {
    let soft = SoftTdx::builder().build();
    let held = Held::new(anchor(&soft));
    let known = Collateral::parse(parts(&soft, NOW)).expect("it is valid");
    held.take(known, NOW).expect("it is valid");
    let before = held.collateral().generation();

    let mut replies = honest(&soft);
    lie(&mut replies);
    let pccs = Pccs::start(replies).await;
    let hasty = Client::with_patience(None, Duration::from_secs(2));
    let keeper = keeper_with(hasty, &held, &[&pccs], None);
    let failures = keeper.fetch(PLATFORM).await.expect_err("it lies");
    let failures = format!("{failures:?}");
    assert!(failures.contains(expect), "{expect}: {failures}");
    assert_eq!(held.collateral().generation(), before, "{expect}: the old stays");
}

fn piece<'a>(replies: &'a mut BTreeMap<String, Reply>, path: &str) -> &'a mut Reply {
    let found = replies.iter_mut().find(|(target, _)| target.contains(path));
    found.expect("the path is served").1
}

const PATHS: [&str; 4] = ["tdx/certification/v4/tcb", "qe/identity", "pckcrl", "rootcacrl"];

#[tokio::test]
async fn a_service_that_fails_is_named_and_the_old_stays() {
    for path in PATHS {
        check(|replies| *piece(replies, path) = Reply::Status(404), "Status(404)").await;
        check(|replies| *piece(replies, path) = Reply::Status(302), "Status(302)").await;
        check(|replies| *piece(replies, path) = Reply::Endless, "TooLarge").await;
        check(|replies| *piece(replies, path) = Reply::Cut, "Broken").await;
        check(|replies| *piece(replies, path) = Reply::Garbage, "Broken").await;
    }
    check(|replies| *piece(replies, "qe/identity") = Reply::Silent, "Late(2s)").await;
}

#[tokio::test]
async fn a_service_that_lies_is_named_and_the_old_stays() {
    // Bytes that Intel did not sign: each piece with one flipped, where it still parses.
    let flip = |reply: &mut Reply, from: &str, to: &str| {
        let Reply::Good(_, body) = reply else {
            panic!("it is honest")
        };
        let text = String::from_utf8(body.clone()).expect("it is text");
        assert!(text.contains(from), "{text}");
        *body = text.replacen(from, to, 1).into_bytes();
    };
    let untrusted = |piece: &str| format!("CollateralUntrusted {{ part: {piece} }}");
    check(
        |replies| flip(piece(replies, PATHS[0]), "UpToDate", "OutOfDate"),
        &untrusted("TcbInfo"),
    )
    .await;
    check(
        |replies| flip(piece(replies, PATHS[1]), "UpToDate", "OutOfDate"),
        &untrusted("QeIdentity"),
    )
    .await;
    for (path, part) in [(PATHS[2], "PckCrl"), (PATHS[3], "RootCaCrl")] {
        // The signature stands last; the root's list comes in hex.
        let last = |replies: &mut BTreeMap<String, Reply>| {
            let Reply::Good(_, body) = piece(replies, path) else {
                panic!("it is honest")
            };
            let last = body.last_mut().expect("it has bytes");
            *last = match *last {
                b'0' => b'1',
                digit if part == "RootCaCrl" && digit.is_ascii_hexdigit() => b'0',
                byte => byte ^ 1,
            };
        };
        check(last, &untrusted(part)).await;
    }
    // Collateral of somebody else's root, whole and well signed.
    let other = SoftTdx::builder().other_root().build();
    check(|replies| *replies = honest(&other), "CollateralUntrusted").await;
    // Chains that are missing, or no chains.
    for (path, header) in [
        (PATHS[0], "TCB-Info-Issuer-Chain"),
        (PATHS[1], "SGX-Enclave-Identity-Issuer-Chain"),
        (PATHS[2], "SGX-PCK-CRL-Issuer-Chain"),
    ] {
        let strip = |replies: &mut BTreeMap<String, Reply>| {
            let Reply::Good(headers, _) = piece(replies, path) else {
                panic!("it is honest")
            };
            headers.retain(|(name, _)| name != header);
        };
        check(strip, "Header(").await;
        let replace = |replies: &mut BTreeMap<String, Reply>| {
            let Reply::Good(headers, _) = piece(replies, path) else {
                panic!("it is honest")
            };
            for (_, value) in headers.iter_mut().filter(|(name, _)| name == header) {
                *value = "x".to_owned();
            }
        };
        check(replace, "Header(").await;
    }
    check(
        |replies| *piece(replies, "rootcacrl") = Reply::Good(Vec::new(), b"<html>".to_vec()),
        "Encoding(",
    )
    .await;
}

#[tokio::test]
async fn older_collateral_is_not_taken() {
    let check = async |new: SoftTdx, old: SoftTdx, expect: &str| {
        let held = Held::new(anchor(&new));
        let pccs = Pccs::start(honest(&new)).await;
        keeper(&held, &[&pccs], None)
            .fetch(PLATFORM)
            .await
            .expect("it is honest");
        let before = held.collateral().generation();
        let lying = Pccs::start(honest(&old)).await;
        let failures = keeper(&held, &[&lying], None)
            .fetch(PLATFORM)
            .await
            .expect_err("it is old");
        let failures = format!("{failures:?}");
        assert!(failures.contains(expect), "{failures}");
        assert_eq!(held.collateral().generation(), before);
    };
    let with = |evaluation, number| SoftTdx::builder().evaluation(evaluation).crl_number(number).build();
    check(with(20, 7), with(19, 7), "CollateralRolledBack { part: TcbInfo").await;
    check(with(20, 7), with(20, 6), "CollateralRolledBack { part: PckCrl").await;
    check(
        with(20, 7),
        SoftTdx::builder()
            .evaluation(20)
            .crl_number(7)
            .expired_collateral()
            .build(),
        "Collateral",
    )
    .await;
}

#[tokio::test]
async fn the_collateral_of_another_platform_is_not_taken() {
    let soft = SoftTdx::builder().build();
    let other = SoftTdx::builder().fmspc([9; 6]).build();
    let held = Held::new(anchor(&soft));
    let mut replies = honest(&soft);
    let tcb = piece(&mut replies, PATHS[0]);
    *tcb = honest(&other)
        .into_iter()
        .find_map(|(target, reply)| target.contains(PATHS[0]).then_some(reply))
        .expect("it is served");
    let pccs = Pccs::start(replies).await;
    let failures = keeper(&held, &[&pccs], None)
        .fetch(PLATFORM)
        .await
        .expect_err("it is another's");
    assert!(format!("{failures:?}").contains("Other {"), "{failures:?}");
    assert!(held.collateral().is_empty());
}

#[tokio::test]
async fn the_next_source_is_asked_when_one_fails() {
    let soft = SoftTdx::builder().build();
    let held = Held::new(anchor(&soft));
    let lying = Pccs::start(honest(&SoftTdx::builder().other_root().build())).await;
    let down = Pccs::start(BTreeMap::new()).await;
    let good = Pccs::start(honest(&soft)).await;
    let sources = keeper(&held, &[&down, &lying, &good], None);
    sources.fetch(PLATFORM).await.expect("the third is honest");
    assert!(!held.collateral().is_empty());
    let failures = keeper(&held, &[&down, &lying], None)
        .fetch(PLATFORM)
        .await
        .expect_err("both fail");
    assert!(
        matches!(failures.as_slice(), [Failure::Source { .. }, Failure::Refused { .. }]),
        "{failures:?}"
    );
}

#[tokio::test]
async fn a_named_platform_is_fetched_in_the_background() {
    let soft = SoftTdx::builder().build();
    let held = Held::new(anchor(&soft));
    let pccs = Pccs::start(honest(&soft)).await;
    let keeper = keeper(&held, &[&pccs], None);
    let mut state = keeper.state();
    let (tx, rx) = mpsc::channel(4);
    let running = tokio::spawn(keeper.run(rx));
    let unknown = Platform {
        fmspc: Hex([1; 6]),
        ca: Ca::Processor,
    };
    for Platform { fmspc, ca } in [unknown, PLATFORM, PLATFORM] {
        tx.send(Wanted { fmspc, ca: ca.name() }).await.expect("it runs");
    }
    let known = state.wait_for(|states| {
        states.get(&PLATFORM).is_some_and(|state| state.renewed_at.is_some())
            && states.get(&unknown).is_some_and(|state| !state.failures.is_empty())
    });
    let known = known.await.expect("it runs").clone();
    assert!(known[&unknown].failures[0].contains("404"), "{:?}", known[&unknown]);
    assert!(held.collateral().get(FMSPC, Ca::Platform).is_ok());
    assert_eq!(pccs.asked("tcb?fmspc"), 2, "one each, though one was named twice");
    drop(tx);
    running.await.expect("it ends with its queue");
}

#[tokio::test]
async fn what_was_there_before_is_renewed() {
    let soft = SoftTdx::builder().build();
    let held = Held::new(anchor(&soft));
    let old = Collateral::parse(parts(&soft, NOW));
    let old = old.expect("it is valid");
    let expires = old.expires();
    held.take(old, NOW).expect("it is valid");

    // A second before it ends.
    let pccs = Pccs::start(replies(&soft.collateral(expires - 1))).await;
    let clock = move || expires - 1;
    let pace = Pace {
        retry: Duration::ZERO,
        ..Pace::NORMAL
    };
    let sources = vec![Source::parse(&pccs.url()).expect("a URL")];
    let in_force = Arc::clone(&held) as Arc<dyn InForce>;
    let keeper = Keeper::new(in_force, sources, Client::new(None), None, clock, pace);
    let mut state = keeper.state();
    let (tx, rx) = mpsc::channel(1);
    let running = tokio::spawn(keeper.run(rx));
    let renewed = state.wait_for(|states| states.contains_key(&PLATFORM)).await;
    assert!(renewed.expect("it runs")[&PLATFORM].expires > Some(expires));
    drop(tx);
    running.await.expect("it ends with its queue");
}

#[tokio::test]
async fn https_is_never_spoken_in_the_clear() {
    let pccs = Pccs::start(BTreeMap::new()).await;
    let source = Source::parse(&pccs.url().replace("http", "https")).expect("a URL");
    let failed = source
        .fetch(&Client::new(None), PLATFORM)
        .await
        .expect_err("it has no TLS");
    assert!(format!("{failed:?}").contains("NoTls"), "{failed:?}");
    assert_eq!(pccs.asked(""), 0);
}

#[test]
fn a_file_that_was_spoiled_is_refused_and_the_others_are_read() {
    let soft = SoftTdx::builder().build();
    let other = SoftTdx::builder().fmspc([9; 6]).build();
    let folder = Folder::new();
    let shelf = Shelf::new(&folder.0);
    for soft in [&soft, &other] {
        shelf
            .write(&Collateral::parse(parts(soft, NOW)).expect("it is valid"))
            .expect("the folder is ours");
    }
    let place = folder.0.join(PLATFORM.to_string());
    let names: Vec<PathBuf> = fs::read_dir(&place)
        .expect("it was written")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    assert_eq!(names.len(), 7, "{names:?}");
    for path in &names {
        let whole = fs::read(path).expect("it was written");
        // Cut off, and of no text at all.
        for spoiled in [
            whole[..whole.len() / 4].to_vec(),
            vec![0xff; 100],
            Vec::new(),
            vec![b'0'; 300_000],
        ] {
            fs::write(path, spoiled).expect("the folder is ours");
            let held = Held::new(anchor(&soft));
            let failures = keeper(&held, &[], Some(&folder.0)).load().expect("it can be read");
            assert_eq!(failures.len(), 1, "{}", path.display());
            assert!(
                held.collateral().get(FMSPC, Ca::Platform).is_err(),
                "{}",
                path.display()
            );
            assert!(
                held.collateral().get(Hex([9; 6]), Ca::Platform).is_ok(),
                "{}",
                path.display()
            );
        }
        fs::remove_file(path).expect("the folder is ours");
        assert!(shelf.read(PLATFORM).is_err(), "{}", path.display());
        fs::write(path, whole).expect("the folder is ours");
    }
    assert!(shelf.read(PLATFORM).is_ok());
}

/// By the names of its folders the one with the newer lists comes first.
#[test]
fn a_shelf_is_restored_whatever_the_order_of_its_folders() {
    let newer = SoftTdx::builder().fmspc([9; 6]).build();
    let older = SoftTdx::builder().build();
    let folder = Folder::new();
    let shelf = Shelf::new(&folder.0);
    for (soft, at) in [(&newer, NOW), (&older, NOW - 60)] {
        let collateral = Collateral::parse(parts(soft, at)).expect("it is valid");
        shelf.write(&collateral).expect("the folder is ours");
    }
    let kept = shelf.read_all().expect("it can be read");
    let order: Vec<Platform> = kept.iter().flatten().map(Platform::of).collect();
    assert_eq!(order.last(), Some(&PLATFORM), "{order:?}");
    let held = Held::new(anchor(&newer));
    let failures = keeper(&held, &[], Some(&folder.0)).load().expect("it can be read");
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(held.collateral().iter().count(), 2);
}

/// It serves no quote any more, and it keeps an old cache from serving what is older still.
#[test]
fn what_ended_on_the_shelf_is_remembered() {
    let soft = |evaluation| SoftTdx::builder().evaluation(evaluation).build();
    let folder = Folder::new();
    let ended = Collateral::parse(parts(&soft(20), NOW - 400 * DAY)).expect("it is valid");
    assert!(ended.expires() < NOW);
    Shelf::new(&folder.0).write(&ended).expect("the folder is ours");
    let verifier = attestation::Verifier::new(anchor(&soft(20)));
    let policy = attestation_soft_tdx::policy(vec![]);
    let policy = attestation::Policy {
        min_tier: attestation::Tier::Open,
        ..policy
    };
    let set = CollateralSet::new(anchor(&soft(20)));
    let (trust, _wanted) = Trust::new(verifier, policy, set).expect("it can be meant");
    let in_force = Arc::clone(&trust) as Arc<dyn InForce>;
    let shelf = Some(Shelf::new(&folder.0));
    let keeper = Keeper::new(in_force, vec![], Client::new(None), shelf, || NOW, Pace::NORMAL);
    let before = trust.collateral().generation();
    assert!(keeper.load().expect("it can be read").is_empty());
    assert!(trust.collateral().is_empty() && trust.collateral().generation() == before);
    assert!(keeper.state().borrow().is_empty());
    let take = |evaluation| {
        let collateral = Collateral::parse(parts(&soft(evaluation), NOW)).expect("it is valid");
        InForce::take(&*trust, collateral, NOW).map_err(|refusal| refusal.code())
    };
    assert_eq!(take(19), Err("collateral_rolled_back"));
    assert_eq!(take(20), Ok(()));
}

#[test]
fn whatever_a_crash_leaves_one_of_two_is_whole() {
    let soft = SoftTdx::builder().build();
    let folder = Folder::new();
    let shelf = Shelf::new(&folder.0);
    let at = |suffix: &str| folder.0.join(format!("{PLATFORM}{suffix}"));
    let collateral = Collateral::parse(parts(&soft, NOW)).expect("it is valid");
    shelf.write(&collateral).expect("the folder is ours");
    // Between the two renames.
    fs::rename(at(""), at(".old")).expect("the folder is ours");
    fs::create_dir(at(".new")).expect("the folder is ours");
    assert!(shelf.read(PLATFORM).is_ok());
    assert_eq!(shelf.read_all().expect("it can be read").len(), 1);
    // And the next write clears up.
    shelf.write(&collateral).expect("the folder is ours");
    assert!(at("").is_dir() && !at(".old").exists() && !at(".new").exists());
    assert!(shelf.read(PLATFORM).is_ok());
}

#[test]
fn folders_of_others_are_none_of_ours() {
    let folder = Folder::new();
    for name in [
        "x",
        "00806f050000-root",
        "00806F050000-platform",
        "00806f05000-platform",
        ".git",
    ] {
        fs::create_dir(folder.0.join(name)).expect("the folder is ours");
    }
    let shelf = Shelf::new(&folder.0);
    assert!(shelf.read_all().expect("it can be read").is_empty());
    assert!(
        Shelf::new(&folder.0.join("none"))
            .read_all()
            .expect("it is empty")
            .is_empty()
    );
    // One platform's files under another's name.
    let soft = SoftTdx::builder().build();
    shelf
        .write(&Collateral::parse(parts(&soft, NOW)).expect("it is valid"))
        .expect("the folder is ours");
    fs::rename(
        folder.0.join(PLATFORM.to_string()),
        folder.0.join("090909090909-platform"),
    )
    .expect("ours");
    let read = shelf.read_all().expect("it can be read");
    assert!(
        matches!(read.as_slice(), [Err(ShelfError::Misplaced { .. })]),
        "{read:?}"
    );
}

#[test]
fn a_bundle_goes_out_and_comes_in() {
    let soft = SoftTdx::builder().build();
    let anchor = anchor(&soft);
    let mut set = CollateralSet::new(anchor.clone());
    for fmspc in [attestation_soft_tdx::FMSPC, [9; 6]] {
        let soft = SoftTdx::builder().fmspc(fmspc).build();
        set.insert(Collateral::parse(parts(&soft, NOW)).expect("it is valid"), NOW)
            .expect("it is valid");
    }
    let folder = Folder::new();
    bundle::export(&set, &folder.0).expect("the folder is ours");
    let mut again = CollateralSet::new(anchor.clone());
    let taken = bundle::import(&folder.0, &mut again, NOW).expect("it can be read");
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 2, "{taken:?}");
    assert_eq!(again.generation(), set.generation());
    // The folder of one platform alone.
    let mut one = CollateralSet::new(anchor.clone());
    let taken = bundle::import(&folder.0.join(PLATFORM.to_string()), &mut one, NOW).expect("it can be read");
    assert!(matches!(taken.as_slice(), [Ok(PLATFORM)]), "{taken:?}");
    // Too late, and under another root.
    for (anchor, now) in [(anchor, NOW + 365 * DAY), (TrustAnchor::Intel, NOW)] {
        let mut set = CollateralSet::new(anchor);
        let taken = bundle::import(&folder.0, &mut set, now).expect("it can be read");
        assert!(
            taken
                .iter()
                .all(|taken| matches!(taken, Err(bundle::BundleError::Refused { .. })))
        );
        assert!(set.is_empty());
    }
    let nothing = Folder::new();
    let taken = bundle::import(&nothing.0, &mut one, NOW).expect("it can be read");
    assert!(
        matches!(taken.as_slice(), [Err(bundle::BundleError::Shelf(_))]),
        "{taken:?}"
    );
}

#[tokio::test]
async fn what_intel_signed_passes_through_a_pccs() {
    for (name, now) in samples::REAL {
        let parts = samples::parts(name);
        let known = Collateral::parse(parts.clone()).expect("Intel signed it");
        let platform = Platform::of(&known);
        let pccs = Pccs::start(samples::replies(&parts, platform)).await;
        let held = Held::new(TrustAnchor::Intel);
        let sources = vec![Source::parse(&pccs.url()).expect("a URL")];
        let in_force = Arc::clone(&held) as Arc<dyn InForce>;
        let keeper = Keeper::new(in_force, sources, Client::new(None), None, move || now, Pace::NORMAL);
        keeper
            .fetch(platform)
            .await
            .unwrap_or_else(|failures| panic!("{name}: {failures:?}"));
        let taken = held.collateral();
        let taken = taken.get(platform.fmspc, platform.ca).expect("it was taken");
        assert!(*taken.parts() == parts, "{name}: byte for byte");
    }
}
