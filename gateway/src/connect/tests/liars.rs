//! Gateways that lie about money to the sidecar that pays them, each in its own way: none gets a signature beyond the
//! limits.

use billing::{
    Nano,
    channel::{
        Fact, OnChain, Signer, State,
        x402::{self, ChannelState, Payment as Paid, Receipt, ReceiptExtra, Required, Resource, Version, VoucherState},
    },
};
use http::{HeaderName, StatusCode};

use super::*;
use crate::{
    chain_source::{ChainFrom, ChainSource},
    config::Process,
    connect::AppKeys,
    connect::{Payment, cashier::Cashier},
    payer::{
        shelf::{
            Kept,
            tests::{PAYER, Scratch, keep},
        },
        teller::{Limits, Picture, Teller, offer},
    },
    rescue::full,
    wall_clock::unix_ms,
};

const LIMITS: Limits = Limits {
    exposure: Nano::saturating(100_000_000),
    window: Nano::saturating(20_000_000),
    day: Nano::saturating(300_000_000),
};
const ON_CHAIN: OnChain = OnChain {
    close_at: None,
    deposited: Nano::saturating(1_000_000_000),
    claimed: Nano::ZERO,
};

/// How it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// It always wants so much more.
    Wants(u64),
    /// It charges so much, whatever was signed.
    Charges(u64),
    /// What it says of the payment is no document.
    Nonsense,
    /// It speaks of another channel.
    OtherChannel,
    /// It has no voucher, and never charged anything.
    Forgets,
    /// It says nothing.
    Silent,
}

struct Liar {
    kept: Kept,
    lie: Lie,
    /// The greatest voucher that it was shown, and the sum of what it said that it charged.
    has: Mutex<(Option<VoucherState>, Nano)>,
}

impl Liar {
    fn greatest(&self) -> Nano {
        let has = self.has.lock().expect("nobody panics");
        has.0.map_or(Nano::ZERO, |voucher| voucher.signed_max_claimable)
    }

    fn receipt(&self, charged: Nano) -> String {
        let mut has = self.has.lock().expect("nobody panics");
        has.1 = has.1.saturating_add(charged);
        let mut state = ChannelState::new(&self.kept.id, &self.kept.terms, &ON_CHAIN, has.1);
        let mut voucher_state = has.0;
        if self.lie == Lie::OtherChannel && !charged.is_zero() {
            state.channel_id = self.kept.terms.payer;
        }
        if self.lie == Lie::Forgets {
            (voucher_state, state.charged_cumulative_amount) = (None, Nano::ZERO);
        }
        x402::encode(&Receipt {
            success: true,
            transaction: String::new(),
            network: self.kept.id.network,
            payer: self.kept.terms.payer,
            extra: ReceiptExtra {
                charged_amount: charged,
                channel_state: state,
                voucher_state,
            },
        })
    }

    fn required(&self, more: u64) -> String {
        let mut offer = offer(&self.kept);
        let asked = self.greatest().saturating_add(Nano::saturating(more));
        offer.extra.required_cumulative = Some(asked);
        x402::encode(&Required {
            x402_version: Version,
            error: "more".to_owned(),
            resource: Resource {
                url: "/".to_owned(),
                description: String::new(),
                mime_type: String::new(),
            },
            accepts: vec![offer],
        })
    }

    fn take_in(&self, payment: &Paid) -> Result<(), BoxError> {
        let Some(claimed) = payment.payload.voucher else {
            return Ok(());
        };
        claimed.verify(&self.kept.keys, &self.kept.id)?;
        if claimed.max > self.greatest() {
            self.has.lock().expect("nobody panics").0 = Some(VoucherState::from(&claimed));
        }
        Ok(())
    }
}

impl Serve<Request<Incoming>> for Liar {
    type Response = Response<BoxBody>;

    async fn call(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        let header = request.headers().get(x402::SIGNATURE).ok_or("nobody pays")?;
        self.take_in(&x402::decode(header.to_str()?)?)?;
        let is_probe = request.method() == http::Method::GET;
        let mut response = Response::new(full("{\"answer\":42}"));
        let (name, value) = match self.lie {
            _ if is_probe => (x402::RESPONSE, self.receipt(Nano::ZERO)),
            Lie::Wants(more) => {
                *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
                (x402::REQUIRED, self.required(more))
            }
            Lie::Charges(amount) => (x402::RESPONSE, self.receipt(Nano::saturating(amount))),
            Lie::Nonsense => (x402::RESPONSE, "bm9uc2Vuc2U=".to_owned()),
            Lie::OtherChannel | Lie::Forgets => (x402::RESPONSE, self.receipt(Nano::saturating(1_000_000))),
            Lie::Silent => ("x-nothing", "at all".to_owned()),
        };
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, value.parse()?);
        Ok(response)
    }
}

/// Asks so often; how many answers there were, what the liar has, and what our books say.
async fn paid(name: &str, lie: Lie, times: usize) -> (usize, Nano, Picture) {
    let scratch = Scratch::new(name);
    let kept = keep(&scratch, Some("a"), 1).expect("it is kept");
    let liar = Arc::new(Liar {
        kept: kept.clone(),
        lie,
        has: Mutex::default(),
    });
    let (address, key, _control) = serving(&keyed(), liar.clone()).await;
    let signer = Arc::new(Signer::from_seed(&PAYER).expect("a seed"));
    let lock = kept.lock().expect("nobody else");
    let teller = Teller::open(kept.clone(), lock, signer, LIMITS, unix_ms()).expect("it opens");
    let (cashier, desk) = Cashier::open(kept.clone(), teller).expect("a thread");
    // Nobody answers there: what the chain says is told here.
    let nobody = ChainFrom::parse("http://127.0.0.1:9").expect("a URL");
    let source = ChainSource::new(&[nobody], None, kept.id.network, &Process).expect("a source");
    cashier.chain(Fact {
        seqno: 1,
        time_s: 1_800_000_000,
        state: State::Open(ON_CHAIN),
    });
    let payment = Payment {
        cashier: cashier.clone(),
        desk,
        source,
        keys: AppKeys::Stay,
    };
    let side = Side::paying(address, Some(key), any_key(), Some(payment)).await;
    side.stands("verified").await;
    let mut answers = 0;
    for _ in 0..times {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost:4141\r\n";
        let answer = to_end(side.open(head, PROMPT).await).await;
        answers += usize::from(answer.starts_with("HTTP/1.1 200"));
        let now = cashier.picture();
        assert!(now.at_risk <= LIMITS.exposure, "{lie:?}: {now:?}");
        assert!(liar.greatest() <= LIMITS.day, "{lie:?}: {now:?}");
    }
    (answers, liar.greatest(), cashier.picture())
}

#[tokio::test]
async fn who_always_wants_more_gets_what_may_be_at_risk() {
    for (name, more) in [
        ("liar-more", 30_000_000),
        ("liar-much", 900_000_000),
        ("liar-most", u64::MAX),
    ] {
        let (answers, has, _) = paid(name, Lie::Wants(more), 4).await;
        assert_eq!(answers, 0, "{name}");
        assert!(has <= LIMITS.exposure, "{name}: {has}");
    }
}

#[tokio::test]
async fn who_charges_what_was_not_signed_is_paid_no_more() {
    let (answers, has, now) = paid("liar-charges", Lie::Charges(900_000_000), 4).await;
    assert_eq!(answers, 1, "{now:?}");
    assert!(now.halt.is_some() && has <= LIMITS.exposure, "{now:?}");
    // Within what is signed it may be dear: the day ends it.
    let (answers, has, now) = paid("liar-dear", Lie::Charges(10_000_000), 35).await;
    assert!((29..=30).contains(&answers) && has <= LIMITS.day, "{answers}: {now:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_asked_about() {
    for (name, lie) in [
        ("liar-nonsense", Lie::Nonsense),
        ("liar-other", Lie::OtherChannel),
        ("liar-forgets", Lie::Forgets),
        ("liar-silent", Lie::Silent),
    ] {
        let (answers, has, now) = paid(name, lie, 4).await;
        assert_eq!(answers, 4, "{lie:?}: {now:?}");
        assert!(has <= LIMITS.exposure, "{lie:?}: {has}");
    }
}
