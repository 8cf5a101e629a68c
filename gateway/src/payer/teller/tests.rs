use billing::channel::{
    OnChain, State, Voucher,
    x402::{Asset, ChannelState, OfferExtra, Resource, Scheme},
};
use billing_ton::contract;

use super::*;
use crate::payer::shelf::tests::{PAYER, Scratch, keep, payee};

const LIMITS: Limits = Limits {
    exposure: Nano::saturating(100_000_000),
    window: Nano::saturating(20_000_000),
};
const NOW_MS: i64 = 1_800_000_000_000;

fn nano(amount: u64) -> Nano {
    Nano::saturating(amount)
}

/// A gateway that looks at everything, and charges the same for each request.
struct Gateway {
    kept: Kept,
    deposited: Nano,
    voucher: Option<Voucher>,
    charged: Nano,
    price: Nano,
}

impl Gateway {
    fn new(kept: &Kept, deposited: u64, price: u64) -> Self {
        Self {
            kept: kept.clone(),
            deposited: nano(deposited),
            voucher: None,
            charged: Nano::ZERO,
            price: nano(price),
        }
    }

    fn offer(&self) -> Offer {
        Offer {
            scheme: Scheme,
            network: self.kept.id.network,
            asset: Asset,
            amount: Nano::ZERO,
            pay_to: self.kept.terms.payee,
            max_timeout_seconds: 60,
            extra: OfferExtra {
                code_hash: contract::CODE_HASH,
                receiver_authorizer: self.kept.keys.payee,
                withdraw_delay: self.kept.terms.close_delay_s,
                fee_bps: self.kept.terms.fee_bps,
                fee_dest: self.kept.terms.fee_dest,
                channel_state: None,
                voucher_state: None,
                required_cumulative: None,
            },
        }
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
        let on_chain = OnChain {
            close_at: None,
            deposited: self.deposited,
            claimed: Nano::ZERO,
        };
        Ok(ReceiptExtra {
            charged_amount: price,
            channel_state: ChannelState::new(&self.kept.id, &terms, &on_chain, self.charged),
            voucher_state: self.voucher.map(|voucher| VoucherState::from(&voucher.claim())),
        })
    }

    /// A teller at this gateway, as far as its journal goes.
    fn teller(&self) -> Teller {
        let signer = Arc::new(Signer::from_seed(&PAYER).expect("a seed"));
        Teller::open(self.kept.clone(), signer, self.offer(), LIMITS, NOW_MS).expect("it opens")
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
                    teller.ended(id, said.charged_amount, now_ms)?;
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
    assert_eq!(teller.phase(), Phase::Open);
    for number in 1..=100 {
        let now_ms = NOW_MS + i64::from(number) * 30_000;
        let sent = gateway.request(&mut teller, number, now_ms).expect("it is paid");
        assert_eq!(sent, 1, "request {number}: what is needed is known before it is asked");
        assert!(teller.exposure() <= LIMITS.exposure, "{}", teller.exposure());
        assert_eq!(teller.spent(), gateway.charged);
    }
    assert_eq!(gateway.charged, nano(300_000_000));
    // The other commands see what was signed.
    let slate = kept.slate().expect("it is there");
    assert_eq!(slate.signed(), gateway.voucher.expect("it was paid").max());
    assert!(teller.alerts().is_empty());
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
        assert_eq!(teller.phase(), Phase::Waking);
        assert!(
            teller.begin(HoldId([200; 16]), NOW_MS).is_err(),
            "first it asks where it stands"
        );
        gateway.probed(&mut teller, NOW_MS);
        assert_eq!((teller.phase(), teller.spent()), (Phase::Open, gateway.charged));
        assert!(teller.exposure() >= signed.saturating_sub(gateway.charged));
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
    teller.ended(HoldId([1; 16]), Nano::ZERO, NOW_MS).expect("it was begun");
    assert!(teller.exposure() <= LIMITS.exposure);
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
    assert!(matches!(end, TellerError::Hold(HoldRefusal::Deposit { .. })), "{end:?}");
    assert!(paid > 50, "{paid}");
    assert_eq!(teller.spent(), gateway.charged);
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
    assert_eq!(teller.phase(), Phase::Leaving);
    assert!(matches!(teller.alerts()[..], [Alert::Refused { .. }]));
    assert!(teller.begin(HoldId([1; 16]), NOW_MS).is_err());
    assert_eq!(teller.exposure(), Nano::ZERO);
}
