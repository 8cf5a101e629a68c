//! Signing: vouchers in windows, ahead of need, within what may be at risk.

use super::{Effect, Notice, Payer, Phase, Purse, Record, Trust, Voucher};
use crate::Nano;

impl Payer {
    /// The most that may be signed and not earned, of this channel as the others stand.
    pub(super) fn at_risk_most(&self, purse: &Purse) -> Nano {
        self.policy.exposure_cap.min(purse.room(&self.channel.id))
    }

    /// Signs a greater voucher where the last one leaves less than half a window, and says it again where the payee asks.
    pub(super) fn raise(&mut self, purse: &mut Purse) {
        let is_poked = std::mem::take(&mut self.timers.is_poked);
        let is_closing = self.view.close_at().is_some() || self.view.open().is_none();
        // Who leaves still pays for what it has had.
        let may_sign = matches!(self.phase, Phase::Open | Phase::Leaving) && !is_closing && !self.view.is_doubted();
        let signed = self.voucher_max();
        let (least, most) = self.aim();
        let most = most.min(self.spent.saturating_add(self.at_risk_most(purse)));
        let most = most.min(self.view.deposited());
        if may_sign && most > signed && (is_poked || least > signed) {
            self.sign(most);
        } else if is_poked {
            self.repeat();
        }
    }

    /// The voucher that is needed, and the one to sign when it is.
    fn aim(&self) -> (Nano, Nano) {
        match self.policy.trust {
            Trust::Attested => {
                let need = self.spent.saturating_add(self.doubt).saturating_add(self.held());
                if self.phase == Phase::Leaving {
                    return (need, need);
                }
                let half = Nano::saturating(self.policy.window.get().div_ceil(2));
                (need.saturating_add(half), need.saturating_add(self.policy.window))
            }
            Trust::Credit => (self.matured, self.matured),
        }
    }

    fn sign(&mut self, max: Nano) {
        assert!(max > self.voucher_max(), "a voucher that does not grow");
        assert!(max <= self.view.deposited(), "a voucher above what is deposited");
        let voucher = Voucher::sign(&self.signer, &self.channel.keys, &self.channel.id, max);
        let voucher = voucher.expect("only a channel of this key is opened or restored");
        self.voucher = Some(voucher);
        self.persist(Record::Voucher(voucher.claim()));
        self.send_voucher(&voucher);
        self.after(Effect::Covered(max));
    }

    /// What was said may have been lost.
    fn repeat(&mut self) {
        match self.voucher {
            Some(voucher) => self.send_voucher(&voucher),
            None => self.send_tally(),
        }
    }

    fn send_voucher(&mut self, voucher: &Voucher) {
        let (spent, open) = (self.spent, self.open_to_come());
        self.timers.tallied = spent;
        self.after(Effect::Send(Notice::Voucher {
            voucher: voucher.claim(),
            spent,
            open,
        }));
    }

    /// Tells the payee what it has earned: for each so much, and when nothing is under way.
    pub(super) fn tally(&mut self) {
        let untold = self.spent.saturating_sub(self.timers.tallied);
        let is_enough = untold >= self.policy.tally_every || self.held().is_zero();
        if !untold.is_zero() && is_enough && !matches!(self.phase, Phase::Gone | Phase::Waking) {
            self.send_tally();
        }
    }

    pub(super) fn send_tally(&mut self) {
        let (spent, open) = (self.spent, self.open_to_come());
        self.timers.tallied = spent;
        self.after(Effect::Send(Notice::Tally { spent, open }));
    }

    /// What may be on top of `spent` when all that is under way in the channel has ended.
    pub(super) const fn under_way(&self) -> Nano {
        self.held().saturating_add(self.doubt)
    }

    /// The same, with what is beside the channel: what the payee is told, for it may have all of that in its books.
    pub(super) const fn open_to_come(&self) -> Nano {
        let beside = self.beside.owed.saturating_add(self.beside.under_way);
        self.under_way().saturating_add(beside)
    }
}
