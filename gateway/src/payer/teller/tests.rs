use billing::channel::{
    Voucher,
    payer::Alert,
    x402::{ChannelState, Resource, VoucherState},
};

use super::*;
use crate::payer::shelf::tests::{PAYER, Scratch, keep, payee};

const LIMITS: Limits = Limits {
    exposure: Nano::saturating(100_000_000),
    window: Nano::saturating(20_000_000),
    day: Nano::MOST,
};
const NOW_MS: i64 = 1_800_000_000_000;

fn nano(amount: u64) -> Nano {
    Nano::saturating(amount)
}

/// A gateway that looks at everything, and charges the same for each request.
struct Gateway {
    kept: Kept,
    limits: Limits,
    deposited: Nano,
    voucher: Option<Voucher>,
    charged: Nano,
    held: Nano,
    price: Nano,
}

impl Gateway {
    fn new(kept: &Kept, deposited: u64, price: u64) -> Self {
        Self {
            kept: kept.clone(),
            limits: LIMITS,
            deposited: nano(deposited),
            voucher: None,
            charged: Nano::ZERO,
            held: Nano::ZERO,
            price: nano(price),
        }
    }

    fn offer(&self) -> Offer {
        let mut offer = offer(&self.kept);
        offer.extra.channel_state = Some(self.state());
        offer.extra.voucher_state = self.voucher_state();
        offer
    }

    fn state(&self) -> ChannelState {
        let on_chain = OnChain {
            close_at: None,
            deposited: self.deposited,
            claimed: Nano::ZERO,
        };
        ChannelState::new(&self.kept.id, &self.kept.terms, &on_chain, self.charged).holding(self.held)
    }

    fn voucher_state(&self) -> Option<VoucherState> {
        self.voucher.map(|voucher| VoucherState::from(&voucher.claim()))
    }

    fn serve(&mut self, header: &str, now_ms: i64, price: Nano) -> Result<ReceiptExtra, Required> {
        let payment: Payment = x402::decode(header).expect("a payment");
        let (terms, keys) = payment.check(self.kept.id.network).expect("it fits");
        assert_eq!((terms, keys), (self.kept.terms, self.kept.keys));
        let access = payment.payload.access.expect("each request speaks for the channel");
        let now_s = u64::try_from(now_ms / 1000).expect("after 1970");
        access.verify(&keys, &self.kept.id, now_s, 300).expect("good now");
        if let Some(claimed) = payment.payload.voucher {
            let voucher = claimed.verify(&keys, &self.kept.id).expect("the payer signed it");
            assert!(voucher.max() <= self.deposited, "a voucher above the deposit");
            if self.voucher.is_none_or(|known| known.max() < voucher.max()) {
                self.voucher = Some(voucher);
            }
        }
        let need = self.charged.saturating_add(price);
        if need > self.voucher.map_or(Nano::ZERO, |voucher| voucher.max()) {
            let mut offer = self.offer();
            offer.extra.required_cumulative = Some(need);
            return Err(Required {
                x402_version: Version,
                error: "more".to_owned(),
                resource: Resource {
                    url: "/v1/chat/completions".to_owned(),
                    description: String::new(),
                    mime_type: String::new(),
                },
                accepts: vec![offer],
            });
        }
        self.charged = need;
        Ok(ReceiptExtra {
            charged_amount: price,
            channel_state: self.state(),
            voucher_state: self.voucher_state(),
        })
    }

    /// A teller at this gateway, as far as its journal goes.
    fn teller(&self) -> Teller {
        let signer = Arc::new(Signer::from_seed(&PAYER).expect("a seed"));
        let lock = self.kept.lock().expect("nobody else");
        Teller::open(self.kept.clone(), lock, signer, self.limits, NOW_MS).expect("it opens")
    }

    fn fact(&self, seqno: u32) -> Fact {
        Fact {
            seqno,
            time_s: 1_800_000_000,
            state: State::Open(OnChain {
                close_at: None,
                deposited: self.deposited,
                claimed: Nano::ZERO,
            }),
        }
    }

    /// What a teller asks of its own accord.
    fn probed(&mut self, teller: &mut Teller, now_ms: i64) {
        while let Some(header) = teller.probe(now_ms).expect("the disk is there") {
            let said = self.serve(&header, now_ms, Nano::ZERO).expect("it costs nothing");
            teller.told(&said, true, now_ms).expect("the disk is there");
        }
    }

    /// A request as an app would send it; how often it was sent.
    fn request(&mut self, teller: &mut Teller, number: u8, now_ms: i64) -> Result<u32, TellerError> {
        let id = HoldId([number; 16]);
        let mut header = teller.begin(id, now_ms)?;
        for sent in 1..=2 {
            match self.serve(&header, now_ms, self.price) {
                Ok(said) => {
                    teller.told(&said, false, now_ms)?;
                    teller.ended(id, Ended::Charged(said.charged_amount), now_ms)?;
                    teller.catch_up(now_ms)?;
                    return Ok(sent);
                }
                Err(required) => header = teller.refused(id, &required, now_ms)?,
            }
        }
        panic!("it asks for more than it said");
    }
}

#[test]
fn requests_are_paid_ahead_of_need_and_within_what_may_be_at_risk() {
    let scratch = Scratch::new("teller");
    let kept = keep(&scratch, Some("a"), 1).expect("it is kept");
    let mut gateway = Gateway::new(&kept, 1_000_000_000, 3_000_000);
    let mut teller = gateway.teller();
    assert!(
        teller.begin(HoldId([0; 16]), NOW_MS).is_err(),
        "nothing is on the chain yet"
    );
    teller.chain(gateway.fact(1), NOW_MS).expect("the disk is there");
    gateway.probed(&mut teller, NOW_MS);
    assert_eq!(teller.picture().phase, Phase::Open);
    for number in 1..=100 {
        let now_ms = NOW_MS + i64::from(number) * 30_000;
        let sent = gateway.request(&mut teller, number, now_ms).expect("it is paid");
        assert_eq!(sent, 1, "request {number}: what is needed is known before it is asked");
        let now = teller.picture();
        assert!(now.at_risk <= LIMITS.exposure, "{}", now.at_risk);
        assert_eq!(now.charged, gateway.charged);
        gateway.probed(&mut teller, now_ms);
    }
    assert_eq!(gateway.charged, nano(300_000_000));
    // The other commands see what was signed.
    teller.flush(NOW_MS).expect("the disk is there");
    let slate = kept.slate().expect("it is there");
    assert_eq!(slate.signed(), gateway.voucher.expect("it was paid").max());
    assert_eq!(slate.charged, gateway.charged);
    assert!(teller.warnings().is_empty());
    assert!(teller.acts().is_empty());
}

#[test]
fn a_crash_forgets_nothing_that_was_signed_and_nothing_that_was_had() {
    let scratch = Scratch::new("teller-crash");
    let kept = keep(&scratch, Some("a"), 1).expect("it is kept");
    let mut gateway = Gateway::new(&kept, 1_000_000_000, 3_000_000);
    let mut teller = gateway.teller();
    teller.chain(gateway.fact(1), NOW_MS).expect("the disk is there");
    gateway.probed(&mut teller, NOW_MS);
    for number in 1..=10 {
        gateway.request(&mut teller, number, NOW_MS).expect("it is paid");
        // In the middle of an answer.
        let header = teller.begin(HoldId([100 + number; 16]), NOW_MS).expect("it is paid");
        gateway.serve(&header, NOW_MS, gateway.price).expect("it is covered");
        let signed = gateway.voucher.expect("it was paid").max();
        drop(teller);
        teller = gateway.teller();
        assert_eq!(teller.picture().phase, Phase::Waking);
        assert!(
            teller.begin(HoldId([200; 16]), NOW_MS).is_err(),
            "first it asks where it stands"
        );
        gateway.probed(&mut teller, NOW_MS);
        assert_eq!(
            (teller.picture().phase, teller.picture().charged),
            (Phase::Open, gateway.charged)
        );
        assert!(teller.picture().at_risk >= signed.saturating_sub(gateway.charged));
    }
    assert_eq!(gateway.charged, nano(60_000_000));
}

#[test]
fn what_is_too_much_is_refused() {
    let scratch = Scratch::new("teller-dear");
    let kept = keep(&scratch, Some("a"), 1).expect("it is kept");
    let mut gateway = Gateway::new(&kept, 1_000_000_000, 200_000_000);
    let mut teller = gateway.teller();
    teller.chain(gateway.fact(1), NOW_MS).expect("the disk is there");
    gateway.probed(&mut teller, NOW_MS);
    let dear = gateway.request(&mut teller, 1, NOW_MS);
    assert!(matches!(dear, Err(TellerError::Dear { .. })), "{dear:?}");
    teller
        .ended(HoldId([1; 16]), Ended::Free, NOW_MS)
        .expect("it was begun");
    assert!(teller.picture().at_risk <= LIMITS.exposure);
    // Within the limit it asks twice: what one costs was not known.
    gateway.price = nano(60_000_000);
    assert_eq!(gateway.request(&mut teller, 2, NOW_MS).expect("it is paid"), 2);
    // And no more than there is.
    gateway.price = nano(15_000_000);
    let mut paid = 0;
    let end = loop {
        match gateway.request(&mut teller, 3 + paid, NOW_MS) {
            Ok(_) => paid += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(end, TellerError::Empty { .. }), "{end:?}");
    assert!(paid > 50, "{paid}");
    assert_eq!(teller.picture().charged, gateway.charged);
}

#[test]
fn a_gateway_that_turns_the_channel_away_gets_nothing() {
    let scratch = Scratch::new("teller-away");
    let kept = keep(&scratch, Some("a"), 1).expect("it is kept");
    let gateway = Gateway::new(&kept, 1_000_000_000, 1);
    assert_eq!(payee().public(), kept.keys.payee);
    let mut teller = gateway.teller();
    teller.chain(gateway.fact(1), NOW_MS).expect("the disk is there");
    assert!(teller.probe(NOW_MS).expect("the disk is there").is_some());
    teller
        .turned_away("channel_refused".to_owned(), "Its fee is another.".to_owned(), NOW_MS)
        .expect("the disk is there");
    assert_eq!(teller.picture().phase, Phase::Leaving);
    assert!(matches!(teller.warnings()[..], [Warning::Payer(Alert::Refused { .. })]));
    assert!(teller.begin(HoldId([1; 16]), NOW_MS).is_err());
    assert_eq!(teller.picture().at_risk, Nano::ZERO);
}

/// One that is served, and open to requests.
fn opened(name: &str, price: u64) -> (Scratch, Gateway, Teller) {
    let scratch = Scratch::new(name);
    let kept = keep(&scratch, Some("a"), 1).expect("it is kept");
    let mut gateway = Gateway::new(&kept, 1_000_000_000, price);
    let mut teller = gateway.teller();
    teller.chain(gateway.fact(1), NOW_MS).expect("the disk is there");
    gateway.probed(&mut teller, NOW_MS);
    (scratch, gateway, teller)
}

#[test]
fn a_day_has_its_budget() {
    let (_scratch, mut gateway, teller) = opened("teller-day", 3_000_000);
    drop(teller);
    gateway.limits.day = nano(31_000_000);
    let mut teller = gateway.teller();
    gateway.probed(&mut teller, NOW_MS);
    for number in 1..=10 {
        gateway.request(&mut teller, number, NOW_MS).expect("it is paid");
    }
    let end = gateway.request(&mut teller, 11, NOW_MS);
    assert!(
        matches!(end, Err(TellerError::Budget { left, .. }) if left == nano(1_000_000)),
        "{end:?}"
    );
    teller
        .ended(HoldId([11; 16]), Ended::Free, NOW_MS)
        .expect("it was begun");
    assert!(teller.picture().signed <= nano(31_000_000));
    // A process that ends forgets nothing of it, and a clock that goes back begins no day.
    drop(teller);
    let mut teller = gateway.teller();
    gateway.probed(&mut teller, NOW_MS);
    let yesterday = gateway.request(&mut teller, 12, NOW_MS - DAY_MS);
    assert!(matches!(yesterday, Err(TellerError::Budget { .. })), "{yesterday:?}");
    teller
        .ended(HoldId([12; 16]), Ended::Free, NOW_MS)
        .expect("it was begun");
    let tomorrow = NOW_MS + DAY_MS;
    gateway.request(&mut teller, 13, tomorrow).expect("a new day");
    assert_eq!(teller.picture().left_today, nano(28_000_000));
}

#[test]
fn what_nobody_said_is_asked_when_nothing_is_under_way() {
    let (_scratch, mut gateway, mut teller) = opened("teller-unknown", 3_000_000);
    let (broken, other) = (HoldId([1; 16]), HoldId([2; 16]));
    for id in [broken, other] {
        let header = teller.begin(id, NOW_MS).expect("it is paid");
        gateway.serve(&header, NOW_MS, gateway.price).expect("it is covered");
    }
    teller.ended(broken, Ended::Unknown, NOW_MS).expect("the disk is there");
    assert!(!teller.picture().wants_probe, "another one is under way");
    teller
        .ended(other, Ended::Charged(gateway.price), NOW_MS)
        .expect("the disk is there");
    assert_eq!(teller.picture().charged, gateway.price);
    // It still counts what it delivered.
    gateway.held = nano(1);
    let header = teller.probe(NOW_MS).expect("the disk is there").expect("a question");
    let said = gateway.serve(&header, NOW_MS, Nano::ZERO).expect("it costs nothing");
    teller.told(&said, true, NOW_MS).expect("the disk is there");
    assert_eq!(teller.picture().phase, Phase::Waking);
    gateway.held = Nano::ZERO;
    gateway.probed(&mut teller, NOW_MS + 2 * RESEND_MS);
    assert_eq!(teller.picture().charged, gateway.charged);
    assert_eq!(teller.picture().phase, Phase::Open);
    gateway.request(&mut teller, 3, NOW_MS).expect("it goes on");
    assert_eq!(teller.picture().charged, gateway.charged);
}

#[test]
fn who_charges_more_than_it_asked_is_paid_no_more() {
    let (_scratch, mut gateway, mut teller) = opened("teller-greedy", 60_000_000);
    let id = HoldId([1; 16]);
    let header = teller.begin(id, NOW_MS).expect("it is paid");
    let required = gateway
        .serve(&header, NOW_MS, gateway.price)
        .expect_err("it is not covered");
    teller.refused(id, &required, NOW_MS).expect("it is within the limits");
    let charged = Ended::Charged(nano(60_000_001));
    teller.ended(id, charged, NOW_MS).expect("the disk is there");
    let signed = teller.picture().signed;
    assert!(matches!(teller.picture().halt, Some(Halt::Overcharged { .. })));
    assert!(matches!(
        teller.begin(HoldId([2; 16]), NOW_MS),
        Err(TellerError::Halted(_))
    ));
    teller.tick(NOW_MS + DAY_MS).expect("the disk is there");
    assert_eq!(teller.picture().signed, signed);
    // And who charges more than was signed.
    let (_scratch, _, mut teller) = opened("teller-robber", 1);
    teller.begin(id, NOW_MS).expect("it is paid");
    let charged = Ended::Charged(nano(900_000_000));
    teller.ended(id, charged, NOW_MS).expect("the disk is there");
    let now = teller.picture();
    assert_eq!((now.charged, now.at_risk), (now.signed, Nano::ZERO));
    assert!(matches!(now.halt, Some(Halt::Unsigned { .. })));
}

/// It states what each request costs, and counts otherwise.
#[test]
fn who_counts_more_than_it_states_is_paid_no_more() {
    let (scratch, mut gateway, mut teller) = opened("teller-counts", 3_000_000);
    let mut counts = |teller: &mut Teller, number, more| {
        gateway.charged = gateway.charged.saturating_add(nano(more));
        gateway.request(teller, number, NOW_MS).expect("it is paid");
        gateway.probed(teller, NOW_MS + 2 * RESEND_MS);
    };
    counts(&mut teller, 1, 0);
    assert_eq!(teller.warnings(), []);
    counts(&mut teller, 2, 5_000_000);
    assert!(
        matches!(teller.warnings()[..], [Warning::Unstated { more, set_aside: Nano::ZERO }] if more == nano(5_000_000))
    );
    assert_eq!(teller.picture().halt, None);
    counts(&mut teller, 3, 16_000_000);
    let more = nano(21_000_000);
    assert_eq!(teller.picture().halt, Some(Halt::Unstated { more }));
    // After a restart too.
    drop(teller);
    let mut teller = gateway.teller();
    assert!(matches!(
        teller.begin(HoldId([4; 16]), NOW_MS),
        Err(TellerError::Halted(Halt::Unstated { .. }))
    ));
    drop(scratch);
}

/// Under steady load there is always one under way.
#[test]
fn answers_that_broke_off_do_not_use_up_all_that_may_be_at_risk() {
    let (_scratch, mut gateway, mut teller) = opened("teller-starves", 30_000_000);
    for number in 1..=3 {
        let id = HoldId([number; 16]);
        let header = teller.begin(id, NOW_MS).expect("there is room");
        if let Err(required) = gateway.serve(&header, NOW_MS, gateway.price) {
            let header = teller.refused(id, &required, NOW_MS).expect("there is room");
            gateway.serve(&header, NOW_MS, gateway.price).expect("it is covered");
        }
    }
    for number in 1..=2 {
        let ended = teller.ended(HoldId([number; 16]), Ended::Unknown, NOW_MS);
        ended.expect("the disk is there");
    }
    let next = teller.begin(HoldId([4; 16]), NOW_MS);
    assert!(matches!(next, Err(TellerError::Asking { .. })), "{next:?}");
    let charged = Ended::Charged(gateway.price);
    teller
        .ended(HoldId([3; 16]), charged, NOW_MS)
        .expect("the disk is there");
    gateway.probed(&mut teller, NOW_MS + 2 * RESEND_MS);
    assert_eq!(teller.picture().charged, gateway.charged);
    assert_eq!(teller.picture().halt, None, "it asked for so much");
    gateway.request(&mut teller, 4, NOW_MS).expect("there is room again");
}

#[test]
fn a_clock_that_was_years_ahead_once_stops_nobody_for_years() {
    let (_scratch, mut gateway, mut teller) = opened("teller-clock", 3_000_000);
    gateway
        .request(&mut teller, 1, NOW_MS + 3_650 * DAY_MS)
        .expect("it is paid");
    gateway.request(&mut teller, 2, NOW_MS).expect("it is paid");
    let day = teller.slate.day.expect("a day");
    assert_eq!(day.number, NOW_MS / DAY_MS);
}

#[test]
fn what_a_gateway_forgets_is_shown_to_it_again() {
    let (_scratch, mut gateway, mut teller) = opened("teller-forgets", 3_000_000);
    gateway.request(&mut teller, 1, NOW_MS).expect("it is paid");
    gateway.probed(&mut teller, NOW_MS);
    // From an older copy of its database.
    (gateway.voucher, gateway.charged) = (None, Nano::ZERO);
    assert_eq!(gateway.request(&mut teller, 2, NOW_MS).expect("it is paid"), 2);
    assert_eq!(teller.picture().charged, nano(6_000_000), "our books count");
    gateway.request(&mut teller, 3, NOW_MS).expect("it is paid");
}

#[test]
fn requests_beside_each_other_share_what_may_be_at_risk() {
    let (_scratch, mut gateway, mut teller) = opened("teller-beside", 30_000_000);
    let mut under_way = Vec::new();
    let end = loop {
        let id = HoldId([u8::try_from(under_way.len()).expect("few"); 16]);
        let mut header = match teller.begin(id, NOW_MS) {
            Ok(header) => header,
            Err(error) => break error,
        };
        match gateway.serve(&header, NOW_MS, gateway.price) {
            Ok(_) => {}
            Err(required) => {
                header = match teller.refused(id, &required, NOW_MS) {
                    Ok(header) => header,
                    Err(error) => {
                        teller.ended(id, Ended::Free, NOW_MS).expect("it was begun");
                        break error;
                    }
                };
                gateway.serve(&header, NOW_MS, gateway.price).expect("it is covered");
            }
        }
        under_way.push(id);
    };
    assert!(matches!(end, TellerError::Busy { .. }), "{end:?}");
    assert_eq!(under_way.len(), 3, "of 30 each within 100");
    assert!(teller.picture().at_risk <= LIMITS.exposure);
    for id in under_way {
        let charged = Ended::Charged(gateway.price);
        teller.ended(id, charged, NOW_MS).expect("the disk is there");
    }
    assert_eq!(teller.picture().charged, gateway.charged);
    gateway.request(&mut teller, 9, NOW_MS).expect("there is room again");
}
