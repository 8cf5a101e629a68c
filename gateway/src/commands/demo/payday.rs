//! The end of the demo: the worker is paid, and it is told who got what.
//!
//! That the sums agree is checked, not said: the ledger, what was signed, and the coins that lie on the chain must be the
//! same to the nanoton, and nothing may be missing but what the chain itself took for gas.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use backends::serve::BoxError;
use billing::{
    Nano,
    channel::{
        Fact, Notice, Settlement, State,
        payee::{Effect, Event, Phase},
    },
};

use billing_ton::contract::Remittance;

use super::{
    client::{DEPOSIT, Patron},
    coins::{BEGIN, Coins},
};
use crate::{
    on_chain,
    wages::Wages,
    wall_clock::unix_ms,
    worker::income::{
        journal::{self, Folder, JournalError, Line},
        policy_alone,
    },
};

/// How long the gateway has to cover what its worker earned.
const COVER: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Waits until vouchers cover what the worker has earned, as far as they do in time.
pub(super) async fn covered(wages: &Wages) {
    let is_covered = || {
        wages.list().iter().all(|wage| {
            let channel = wage.channel.as_ref();
            wage.owed.is_zero()
                && channel.is_none_or(|channel| channel.held.is_zero() && channel.spent <= channel.voucher_max)
        })
    };
    let waiting = async {
        while !is_covered() {
            tokio::time::sleep(LOOK).await;
        }
    };
    // What is not covered is told.
    drop(tokio::time::timeout(COVER, waiting).await);
}

/// What the worker earned, by its own books, and what of it was paid.
#[derive(Default)]
pub(super) struct Earned {
    earned: Nano,
    paid: Nano,
}

/// Has the worker sign its last takes, shows them to their contracts, and gives the gateway the rest.
pub(super) async fn pay_worker(coins: &Coins, path: PathBuf) -> Result<Earned, BoxError> {
    let folder = Folder::new(path);
    let mut tries = 0_u32;
    // Its connections end a moment after it.
    let _lock = loop {
        match folder.lock() {
            Err(JournalError::InUse(_)) if tries < 100 => tries += 1,
            lock => break lock?,
        }
        tokio::time::sleep(LOOK).await;
    };
    let signer = Arc::new(folder.signer()?);
    let (mut frames, mut restored) = journal::open(&folder, &signer, policy_alone(), unix_ms())?;
    let mut sum = Earned::default();
    for owed in restored.owed.values() {
        sum.earned = sum.earned.saturating_add(*owed);
    }
    for (account, kept) in &mut restored.channels {
        let payee = &mut kept.payee;
        sum.earned = sum.earned.saturating_add(payee.earned());
        if payee.phase() == Phase::Gone {
            continue;
        }
        let state = coins.source()?.account(*account).await?;
        let Some(now) = on_chain::read(&state, &payee.channel().id)? else {
            continue;
        };
        let fact = Fact {
            seqno: state.head.seqno,
            time_s: state.head.time,
            state: State::Open(now.on_chain),
        };
        let spent = payee.earned();
        let mut events = vec![Event::Tick, Event::Notice(Notice::Close { spent }), Event::Chain(fact)];
        while let Some(event) = events.pop() {
            for effect in payee.step(event, unix_ms()) {
                if let Effect::Persist(record, ticket) = effect {
                    let line = Line::Channel {
                        gateway: attestation::Hex(kept.gateway.0),
                        account: *account,
                        record,
                    };
                    // On the disk before anybody sees it.
                    frames.add(&vec![line])?;
                    events.push(Event::Persisted(ticket));
                }
            }
        }
        let settlement = payee.settlement().filter(|settlement| settlement.take().is_last());
        let settlement = settlement.ok_or("the worker does not sign its last take")?;
        coins.close(&coins.gateway, &settlement).await?;
        sum.paid = sum.paid.saturating_add(settlement.take().amount());
    }
    Ok(sum)
}

/// Who got what. Amounts agree, or there is none.
pub(super) struct Sums {
    charged: Nano,
    back: Nano,
    worker: Option<Earned>,
    gas_client: Nano,
    gas_gateway: Nano,
    /// In channels that were not closed.
    left: Nano,
}

/// Why there is none: a fault of the program.
#[derive(Debug, thiserror::Error)]
#[error("the sums of the demo do not agree, and that is a fault of the program: {0}")]
pub(super) struct Disagree(String);

impl Sums {
    /// Compares what the ledger charged, what was signed and what lies on the chain.
    pub(super) async fn check(
        coins: &Coins,
        client: &Patron,
        last: &Settlement,
        charged: Nano,
        worker: Option<Earned>,
    ) -> Result<Self, BoxError> {
        let same = |what: &str, one: Nano, other: Nano| {
            if one == other {
                Ok(())
            } else {
                Err(Disagree(format!("{what}: {one} and {other}")))
            }
        };
        let paid = worker.as_ref().map_or(Nano::ZERO, |worker| worker.paid);
        same(
            "the ledger charged, and the gateway took",
            charged,
            last.take().amount(),
        )?;
        let is_payout = |remittance: &Remittance| matches!(remittance, Remittance::Payout { .. });
        let got = coins.received(coins.earnings, is_payout).await?;
        same("the gateway took, and its channel paid", charged, got)?;
        let got = coins.received(coins.payout, is_payout).await?;
        same("the worker took, and its channel paid", paid, got)?;
        let (payer, gateway) = (coins.client.wallet.account(), coins.gateway.wallet.account());
        let is_refund = |remittance: &Remittance| matches!(remittance, Remittance::Refund { .. });
        let (back, came) = (DEPOSIT.saturating_sub(charged), coins.received(payer, is_refund).await?);
        if came < back {
            return Err(Disagree(format!("{back} are the client's, and {came} came back")).into());
        }
        same(
            "what is still in the client's channel, and what may be",
            coins.balance(client.kept.id.account).await?,
            Nano::ZERO,
        )?;
        let (mut has, mut left, mut burnt) = (Nano::ZERO, Nano::ZERO, Nano::ZERO);
        for account in coins.accounts().await? {
            let balance = coins.balance(account).await?;
            has = has.saturating_add(balance);
            burnt = burnt.saturating_add(coins.burnt(account).await?);
            if ![payer, gateway, coins.earnings, coins.payout].contains(&account) {
                left = left.saturating_add(balance);
            }
        }
        let all = BEGIN.saturating_add(BEGIN);
        same(
            "there were, and there are with what the chain took",
            all,
            has.saturating_add(burnt),
        )?;
        let beyond = async |account, paid: Nano| -> Result<Nano, BoxError> {
            let lacks = BEGIN.checked_sub(coins.balance(account).await?);
            let gas = lacks.and_then(|lacks| lacks.checked_sub(paid));
            Ok(gas.ok_or_else(|| Disagree(format!("a wallet lacks {lacks:?} and paid {paid}")))?)
        };
        let gas_client = beyond(payer, charged).await?;
        let gas_gateway = beyond(gateway, paid.saturating_add(left)).await?;
        Ok(Self {
            charged,
            back,
            worker,
            gas_client,
            gas_gateway,
            left,
        })
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            charged,
            back,
            gas_client,
            gas_gateway,
            left,
            ..
        } = self;
        writeln!(f, "Who got what, in GRAM (TON) of the simulated chain:\n")?;
        let mut line = |name: &str, value: String| writeln!(f, "  {name:9} {value}");
        line(
            "client",
            format!("paid in {DEPOSIT}, was charged {charged}, got back {back}"),
        )?;
        line("gateway", format!("got {charged} from the client's channel"))?;
        if let Some(Earned { earned, paid }) = &self.worker {
            line(
                "worker",
                format!("earned {earned}, got {paid} from the gateway's channel"),
            )?;
        }
        line(
            "gas",
            format!("{gas_client} of the client, {gas_gateway} of the gateway"),
        )?;
        if !left.is_zero() {
            line(
                "left",
                format!("{left} of the gateway in a channel that its worker had not taken up yet"),
            )?;
        }
        let all = BEGIN.saturating_add(BEGIN);
        writeln!(
            f,
            "\nThe sums agree to the nanoton: the ledger, what was signed and the chain say the same, and of the {all} that there were nothing is missing but the gas."
        )
    }
}
