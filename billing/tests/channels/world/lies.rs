//! What a liar says and a thief does.

use billing::{
    Nano,
    channel::{
        Account, ChannelId, ClaimedTake, ClaimedVoucher, Envelope, Notice, Settlement, Standing, Take, Voucher,
        payer::Act,
    },
};

use super::{Nature, Step, World};
use crate::{chain::Sender, nodes::nano};

impl World {
    pub(crate) fn lie(&mut self) -> Step {
        match self.nature {
            Nature::Thief => self.steal(),
            Nature::LyingPayer => self.lie_to_payee(),
            Nature::LyingPayee => self.lie_to_payer(),
            Nature::DeadPayee if self.payee.is_dead => {
                // The payer has no more use for it.
                self.payer_event(billing::channel::payer::Event::Close);
                Ok(())
            }
            Nature::Honest | Nature::Credit | Nature::Rewound | Nature::DeadPayee | Nature::Beside => Ok(()),
        }
    }

    /// Takes all, or some, of what the best voucher allows.
    fn steal(&mut self) -> Step {
        let Some(stolen) = self.stolen else { return Ok(()) };
        let channel = &self.channel;
        let voucher = stolen
            .verify(&channel.keys, &channel.id)
            .map_err(|refusal| refusal.to_string())?;
        let amount = if self.random.is_one_in(2) {
            voucher.max()
        } else {
            nano(self.random.below(voucher.max().get()) + 1)
        };
        let take = Take::sign(&self.payee.signer, &channel.keys, &channel.id, amount).expect("its key");
        let settlement = Settlement::new(take, Some(voucher)).map_err(|refusal| refusal.to_string())?;
        self.has_lied = true;
        self.note(|| format!("the thief takes {amount}"));
        self.chain.send(Sender::Thief, Act::Settle(settlement));
        Ok(())
    }

    fn elsewhere(&self) -> ChannelId {
        ChannelId {
            account: Account {
                workchain: 0,
                hash: [9; 32],
            },
            ..self.channel.id
        }
    }

    fn some_amount(&mut self) -> Nano {
        match self.random.below(4) {
            0 => Nano::ZERO,
            1 => Nano::MOST,
            _ => nano(self.random.below(5000)),
        }
    }

    fn lie_to_payee(&mut self) -> Step {
        self.has_lied = true;
        self.is_apart = true;
        let (spent, open) = (self.some_amount(), self.some_amount());
        let voucher = self.some_voucher();
        let standing = Standing {
            voucher: Some(voucher),
            take: None,
            spent,
            open,
        };
        let question = self.random.below(3);
        let notice = match self.random.below(4) {
            0 => Notice::Voucher { voucher, spent, open },
            1 => Notice::Tally { spent, open },
            2 => Notice::Reestablish { question, standing },
            _ => Notice::Established { question, standing },
        };
        self.through_the_wire(true, notice)
    }

    /// Regressing, of another channel, bent, or good and above the deposit.
    fn some_voucher(&mut self) -> ClaimedVoucher {
        let max = nano(self.random.below(20_000));
        let (keys, id) = (self.channel.keys, self.channel.id);
        let signer = self.payer.signer.clone();
        let sign = |id: &ChannelId| Voucher::sign(&signer, &keys, id, max).expect("its key").claim();
        let mut voucher = sign(&id);
        match self.random.below(4) {
            0 => voucher = sign(&self.elsewhere()),
            1 => voucher.max = nano(voucher.max.get() + 1),
            2 => voucher.signature[3] ^= 4,
            _ => self.best_sent = self.best_sent.max(max),
        }
        voucher
    }

    fn lie_to_payer(&mut self) -> Step {
        self.has_lied = true;
        self.is_apart = true;
        let (spent, open) = (self.some_amount(), self.some_amount());
        let amount = nano(self.random.below(5000));
        let take = ClaimedTake {
            account: self.channel.id.account,
            amount,
            is_last: self.random.is_one_in(4),
            signature: [3; 64],
        };
        let voucher = ClaimedVoucher {
            account: self.channel.id.account,
            max: Nano::MOST,
            signature: [3; 64],
        };
        let standing = Standing {
            voucher: Some(voucher),
            take: Some(take),
            spent,
            open,
        };
        let question = self.random.below(3);
        let notice = match self.random.below(4) {
            0 => Notice::Take { take },
            1 => Notice::Raise {
                max: spent,
                spent: open,
            },
            2 => Notice::Reestablish { question, standing },
            _ => Notice::Established { question, standing },
        };
        self.through_the_wire(false, notice)
    }

    fn through_the_wire(&mut self, is_to_payee: bool, notice: Notice) -> Step {
        self.note(|| {
            format!(
                "a lie to the {}: {notice:?}",
                if is_to_payee { "payee" } else { "payer" }
            )
        });
        let mut bytes = serde_json::to_vec(&Envelope::new(&self.channel.id, notice)).expect("plain");
        if self.random.is_one_in(4) {
            let at = self.random.place(bytes.len());
            bytes[at] ^= 1 << self.random.below(8);
        }
        // What cannot be read, or names another channel, comes to no machine.
        let Ok(envelope) = Envelope::read(&bytes) else {
            return Ok(());
        };
        if envelope.channel() != self.channel.id {
            return Ok(());
        }
        if is_to_payee {
            if matches!(envelope.notice, Notice::Offer { .. }) {
                return Ok(());
            }
            self.tell_payee(envelope)
        } else {
            self.tell_payer(envelope.notice)
        }
    }
}
