//! A payer and a payee that talk in memory.

use std::sync::Arc;

use billing::Nano;
use billing::channel::journal::frame;
use billing::channel::{Caps, Fact, HoldId, Notice, OnChain, Payee, Payer, Purse, Slack, State, Ticket, payee, payer};

use super::Sides;
use crate::captures::Failure;

/// Both sides of one channel. Records are framed and not synced.
pub(super) struct Work {
    payer: Payer,
    payee: Payee,
    purse: Purse,
    bytes: usize,
}

impl Work {
    pub(super) fn begin() -> Result<Self, Failure> {
        let Sides { payer, payee, channel } = Sides::at(7)?;
        let most = Nano::saturating(u64::MAX / 1024);
        let open = Fact {
            seqno: 1,
            time_s: 1,
            state: State::Open(OnChain {
                close_at: None,
                deposited: most,
                claimed: Nano::ZERO,
            }),
        };
        let mut purse = Purse::new(Caps {
            exposure: most,
            capital: most,
            capital_of_owner: most,
            open_above: Nano::ZERO,
        });
        // A window of next to nothing: every piece of work needs a greater voucher.
        let policy = payer::PayerPolicy {
            trust: payer::Trust::Attested,
            exposure_cap: Nano::saturating(1_000_000),
            window: Nano::saturating(2),
            top_up_below: Nano::ZERO,
            top_up_by: Nano::ZERO,
            tally_every: most,
            cooperate_ms: 1000,
            resend_ms: 1000,
            tolerance: Slack::NONE,
            books: payer::Books::Own,
        };
        let payer = Payer::open(channel, Arc::new(payer), policy, most, Nano::ZERO, false, &mut purse, 0)?;
        let policy = payee::PayeePolicy {
            credit: Nano::ZERO,
            low_water: Nano::ZERO,
            sign_every: most,
            settle_above: most,
            settle_every_ms: i64::MAX,
            dust: Nano::ZERO,
            waive: Slack::NONE,
            patience_ms: i64::MAX,
            resend_ms: i64::MAX,
            books: payee::Books::Own,
        };
        let demands = payee::Demands {
            network: channel.id.network,
            payee: channel.terms.payee,
            payee_key: channel.keys.payee,
            fee_bps: 0,
            fee_dest: channel.terms.fee_dest,
            least_close_delay_s: 3600,
            least_deposit: Nano::saturating(1),
        };
        let payee = Payee::accept(channel, Arc::new(payee), policy, &demands, false, open, 0)?;
        let mut work = Self {
            payer,
            payee,
            purse,
            bytes: 0,
        };
        work.payers();
        for event in [payer::Event::Chain(open), payer::Event::Notice(Notice::Accept {})] {
            let effects = work.payer.step(&mut work.purse, event, 0);
            work.payers_do(effects);
        }
        Ok(work)
    }

    /// Hold, sign, record, verify, record, reserve, commit, record, capture, record.
    pub(super) fn piece(&mut self, number: u64) -> Result<(), Failure> {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let (id, most, cost) = (HoldId(id), Nano::saturating(100), Nano::saturating(90));
        self.payer.hold(&mut self.purse, id, most)?;
        self.payers();
        self.payee.reserve(id, most, 0)?;
        self.payee.commit(id, cost)?;
        let effects = self.payee.effects();
        self.payees_do(effects);
        self.payer.capture(&mut self.purse, id, cost)?;
        self.payers();
        Ok(())
    }

    fn payers(&mut self) {
        let effects = self.payer.effects();
        self.payers_do(effects);
    }

    fn payers_do(&mut self, mut effects: Vec<payer::Effect>) {
        while !effects.is_empty() {
            let mut last: Option<Ticket> = None;
            for effect in effects {
                match effect {
                    payer::Effect::Persist(record, ticket) => {
                        self.bytes += frame(&record).len();
                        last = Some(ticket);
                    }
                    payer::Effect::Send(notice) => {
                        let effects = self.payee.step(payee::Event::Notice(notice), 0);
                        self.payees_do(effects);
                    }
                    _ => {}
                }
            }
            effects = last.map_or_else(Vec::new, |ticket| {
                self.payer.step(&mut self.purse, payer::Event::Persisted(ticket), 0)
            });
        }
    }

    fn payees_do(&mut self, mut effects: Vec<payee::Effect>) {
        while !effects.is_empty() {
            let mut last: Option<Ticket> = None;
            for effect in effects {
                if let payee::Effect::Persist(record, ticket) = effect {
                    self.bytes += frame(&record).len();
                    last = Some(ticket);
                }
            }
            effects = last.map_or_else(Vec::new, |ticket| self.payee.step(payee::Event::Persisted(ticket), 0));
        }
    }
}
