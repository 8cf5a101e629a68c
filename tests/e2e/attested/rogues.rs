//! Machines that are not what the policy asks for, each in one thing: refused with the code for that thing, and a scan of
//! every byte that came to them finds no prompt.

use std::net::Ipv4Addr;

use attestation::{Hex, Role};
use attestation_ratls::{Key, KeyKind};
use attestation_soft_tdx::{SoftTdx, Td};
use e2e::papers::{Papers, now};
use e2e::rogue::{Relay, Rogue, Says, Stage, Versions, knock};
use e2e::soft::{builder, platform};
use e2e::wait::SOON;
use e2e::{Gateway, Visit, eventually};
use rustls::HandshakeKind;

use super::{CANARY, Ground, Site, TOKEN, address, ask, ask_for, guest, prompts};

/// A machine of the same root that is revoked where [`ground`] stands.
const REVOKED: u32 = 7;
/// One of a kind whose collateral is out of date there, and one of which there is none.
const STALE: [u8; 6] = [0x0b, 0xad, 0, 0, 0, 1];
const UNHEARD_OF: [u8; 6] = [0x0b, 0xad, 0, 0, 0, 2];

fn revoked() -> SoftTdx {
    builder().image("worker").other_platform(REVOKED).revoked_pck().build()
}

fn stale() -> SoftTdx {
    builder().image("worker").fmspc(STALE).expired_collateral().build()
}

/// Where the machine of every row would be accepted, but for one thing.
fn ground() -> Ground {
    let now = now();
    Ground::with(
        &["worker", "second"],
        vec![revoked().collateral(now), stale().collateral(now)],
    )
}

/// A worker with the right token, which lies.
fn rogue(papers: Papers, says: Says) -> Rogue {
    Rogue {
        papers,
        says,
        token: Some(TOKEN.to_owned()),
        ..Rogue::honest(&guest("worker"))
    }
}

/// In a guest of this kind, and honest about it.
fn in_guest(soft: &SoftTdx) -> Rogue {
    rogue(Papers::sound(Role::Worker, soft), Says::quote(soft))
}

/// In the right guest, with papers that are not in order.
fn with_papers(edit: impl FnOnce(&mut Papers)) -> Rogue {
    let mut papers = Papers::sound(Role::Worker, &guest("worker"));
    edit(&mut papers);
    rogue(papers, Says::quote(&guest("worker")))
}

/// With papers that are in order, and another answer on the channel.
fn that_says(says: Says) -> Rogue {
    rogue(Papers::sound(Role::Worker, &guest("worker")), says)
}

fn a_key() -> Key {
    Key::generate(KeyKind::Ed25519).expect("the system has randomness")
}

/// What it is, how it behaves, and the code that it is refused with.
type Row = (&'static str, Rogue, &'static str);

/// What the certificate tells.
fn by_papers() -> Vec<Row> {
    let worker = || builder().image("worker");
    vec![
        (
            "a quote for another key",
            with_papers(|papers| papers.claims.spki_sha256 = Hex(*a_key().spki_sha256())),
            "spki_mismatch",
        ),
        (
            "another's quote beside claims of its own",
            with_papers(|papers| papers.quoted = Some(Papers::keyed(Role::Worker).claims)),
            "binding_mismatch",
        ),
        (
            "a claim that was added after the quote",
            with_papers(|papers| {
                papers.quoted = Some(papers.claims.clone());
                papers.claims.receipt_key = Some(Hex([7; 32]));
            }),
            "binding_mismatch",
        ),
        (
            "the role of a gateway",
            rogue(
                Papers::sound(Role::Gateway, &guest("worker")),
                Says::quote(&guest("worker")),
            ),
            "role_mismatch",
        ),
        (
            "the gateway's own evidence",
            rogue(
                Papers::sound(Role::Gateway, &guest("gateway")),
                Says::quote(&guest("gateway")),
            ),
            "role_mismatch",
        ),
        (
            "the gateway's image as a worker",
            in_guest(&guest("gateway")),
            "image_role",
        ),
        (
            "a measurement that is not listed",
            in_guest(&guest("unheard-of")),
            "image_unknown",
        ),
        ("a debug guest", in_guest(&worker().debug().build()), "td_debug"),
        (
            "an attribute more",
            in_guest(&worker().perfmon().build()),
            "td_attributes",
        ),
        (
            "a guest that may migrate",
            in_guest(&worker().migratable().build()),
            "td_attributes",
        ),
        (
            "other features of the CPU",
            in_guest(&worker().xfam([0xff; 8]).build()),
            "xfam",
        ),
        (
            "a guest that another one serves",
            in_guest(&worker().service_td().build()),
            "service_td",
        ),
        (
            "claims that have ended",
            with_papers(|papers| {
                papers.claims.not_before = now() - 7200;
                papers.claims.not_after = now() - 3600;
            }),
            "claims_expired",
        ),
        (
            "claims that have not begun",
            with_papers(|papers| papers.claims.not_before = now() + 600),
            "claims_not_yet_valid",
        ),
        (
            "claims for two days",
            with_papers(|papers| papers.claims.not_after = now() + 48 * 3600),
            "claims_too_long",
        ),
        ("a platform that was revoked", in_guest(&revoked()), "pck_revoked"),
        (
            "a platform whose collateral has ended",
            in_guest(&stale()),
            "collateral_missing",
        ),
        (
            "a platform that nobody knows",
            in_guest(&worker().fmspc(UNHEARD_OF).build()),
            "collateral_missing",
        ),
        (
            "firmware that is out of date",
            in_guest(&worker().old_cpu_svn().build()),
            "tcb_refused",
        ),
        (
            "another root with the same names",
            in_guest(&worker().other_root().build()),
            "chain_untrusted",
        ),
        (
            "a key that nobody named",
            rogue(Papers::keyed(Role::Worker), Says::Signature),
            "stranger",
        ),
    ]
}

/// What only the open connection tells.
async fn by_channel() -> Vec<Row> {
    let papers = Papers::sound(Role::Worker, &guest("worker"));
    // The thief has the guest's key, and a line to the guest.
    let relay = Relay::of(&guest("worker"), &papers.key).await;
    let elsewhere = platform().platform(2).with_td(Td::of("worker"));
    vec![
        (
            "evidence that was relayed",
            rogue(papers, Says::Relayed(relay)),
            "binding_mismatch",
        ),
        (
            "the gateway's evidence, reflected",
            that_says(Says::Reflected),
            "binding_mismatch",
        ),
        (
            "a second quote of another platform",
            that_says(Says::quote(&elsewhere)),
            "platform_changed",
        ),
        (
            "a second quote of another image",
            that_says(Says::quote(&guest("second"))),
            "image_changed",
        ),
        (
            "a signature for a second quote",
            that_says(Says::Signature),
            "quote_missing",
        ),
        (
            "an answer to an earlier question",
            that_says(Says::Earlier(Box::new(guest("worker")))),
            "binding_mismatch",
        ),
        ("an offer in place of an answer", that_says(Says::Welcome), "control"),
        (
            "a token that nobody gave",
            Rogue {
                token: Some("a-token-that-is-another".to_owned()),
                ..in_guest(&guest("worker"))
            },
            "token_unknown",
        ),
        (
            "no token",
            Rogue {
                token: None,
                ..in_guest(&guest("worker"))
            },
            "enrolment_closed",
        ),
    ]
}

/// Asks while it visits; then says how the gateway put its refusal.
async fn visited(site: &Site, rogue: Rogue) -> (Visit, String) {
    let before = site.gateway.log().len();
    let visit = rogue.dial(&address(&site.gateway)).await;
    // While it tries, and when it is gone.
    assert_eq!(ask(&site.gateway, "mock").await.status, 200);
    visit.end().await;
    assert_eq!(ask_for(&site.gateway, "tee").await.status, 200);
    let codes = |gateway: &Gateway| codes(gateway.log().get(before..).unwrap_or_default());
    let is_told = eventually(SOON, || !codes(&site.gateway).is_empty());
    assert!(is_told.await, "nothing was logged");
    let codes = codes(&site.gateway);
    (visit, codes)
}

/// Of every line about a worker that was refused.
fn codes(log: &str) -> String {
    let about = [
        "was refused",
        "was not let in",
        "may not serve",
        "does not name was refused",
    ];
    let lines = log.lines().filter(|line| about.iter().any(|text| line.contains(text)));
    let mut codes: Vec<_> = lines
        .map(|line| match line.split_once("code=\"") {
            Some((_, rest)) => rest.split('"').next().unwrap_or_default(),
            None => "stranger",
        })
        .collect();
    // A stranger is told of by its key as well.
    codes.dedup();
    codes.join(" ")
}

async fn check(site: &Site, rows: Vec<Row>, is_accepted_first: bool) {
    for (n, (name, mut rogue, code)) in (1..).zip(rows) {
        // Each from an address of its own: an address may be refused 20 times at once.
        rogue.from = Ipv4Addr::new(127, 2, if is_accepted_first { 1 } else { 0 }, n);
        let asked = prompts(&site.mock);
        let (visit, codes) = visited(site, rogue).await;
        assert_eq!(codes, code, "{name}: {:?}", visit.stage());
        assert_eq!(visit.requests(), Vec::<String>::new(), "{name}");
        assert!(!visit.heard.holds(CANARY) && !visit.wire.holds(CANARY), "{name}");
        // Who is refused for the papers hears nothing but an alert, and others no more than the greeting.
        assert_eq!(
            visit.stage() == Stage::Dialled,
            !is_accepted_first,
            "{name}: {:?}",
            visit.stage()
        );
        assert_eq!(visit.heard.is_empty(), !is_accepted_first, "{name}");
        assert_eq!(prompts(&site.mock), asked + 2, "{name}");
    }
}

#[tokio::test]
async fn whoever_is_not_what_the_policy_asks_for_gets_no_prompt() {
    let site = Site::new(ground()).await;
    check(&site, by_papers(), false).await;
    check(&site, by_channel().await, true).await;
    // All the while the honest one stayed.
    let log = site.worker.log();
    let (_, since) = log.split_once("connected gateway=").expect("it was connected");
    assert!(!since.contains("not connected"), "{log}");
    assert!(!site.gateway.log().contains("panic"), "{}", site.gateway.log());

    // The same machine without a fault is let in: so it was the fault that was refused, and the scan finds prompts.
    drop(site.worker);
    super::down(&site.gateway, "gpu/box").await;
    let visit = in_guest(&guest("worker")).dial(&address(&site.gateway)).await;
    visit.welcome().await;
    super::up(&site.gateway, "gpu/box").await;
    let answer = ask_for(&site.gateway, "tee").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((visit.requests().len(), visit.early()), (1, 0));
    assert!(visit.heard.holds(CANARY) && !visit.wire.holds(CANARY));
}

#[tokio::test]
async fn with_nobody_else_to_serve_it_a_prompt_stays() {
    let ground = ground();
    let gateway = ground.gateway(&ground.evidence());
    for rogue in [
        in_guest(&builder().image("worker").debug().build()),
        that_says(Says::quote(&guest("second"))),
        // It says nothing, and the gateway waits for it; a prompt waits for neither.
        that_says(Says::Nothing),
    ] {
        let visit = rogue.dial(&address(&gateway)).await;
        let answer = ask(&gateway, "mock").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(visit.requests(), Vec::<String>::new());
        assert!(!visit.heard.holds(CANARY));
    }
}

#[tokio::test]
async fn no_session_is_resumed() {
    let ground = Ground::of(&["worker"]);
    let gateway = ground.gateway(&ground.evidence());
    // Its collateral is fetched at the first call of a worker.
    let first = in_guest(&guest("worker")).dial(&address(&gateway)).await;
    first.end().await;
    let papers = Papers::sound(Role::Worker, &guest("worker"));
    let to = address(&gateway);
    let is_known = async {
        loop {
            let visit = in_guest(&guest("worker")).dial(&to).await;
            if eventually(SOON, || visit.stage() != Stage::Dialled || !visit.is_open()).await && visit.is_open() {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(SOON, is_known).await.is_ok(), "{}", gateway.log());
    let kinds = knock(&papers, Versions::Tls13, &to, 3).await;
    for kind in kinds {
        let is_full = matches!(
            kind,
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
        );
        assert!(is_full, "{kind:?}");
    }
    assert_eq!(knock(&papers, Versions::Tls12, &to, 1).await, [None]);
    // Nor by a session from before it was revoked.
    ground.accept(&["another"]);
    assert_eq!(gateway.reload().await.status, 200);
    assert_eq!(knock(&papers, Versions::Tls13, &to, 2).await, [None, None]);
}
