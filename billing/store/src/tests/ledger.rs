//! The ledger on both databases: against the pure rules, and against those who would alter it.

mod contention;
mod disk;
mod like_the_rules;
mod money;
mod posting;

use std::sync::Arc;

use billing::{
    AccountId, Bounds, Budget, Charge, ChargeKind, Currency, End, Fee, Nano, Tariff, Terms, Usage, UsageSource,
};

use crate::ledger::{Deposit, NewAccount};
use crate::{By, LedgerStore, SealedCharge};

pub(super) const BY: By<'static> = By {
    actor: "test",
    at_ms: 1_795_258_800_123,
};

/// 2026-11-21, in days and months since 1970.
pub(super) const DAY: u32 = 20_778;
pub(super) const MONTH: u32 = 682;

pub(super) fn id(text: &str) -> AccountId {
    text.parse().expect("the test writes names of accounts")
}

pub(super) fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("the test writes amounts")
}

pub(super) fn new_account(name: &str, credit: Option<u64>) -> NewAccount {
    let is_team = name.starts_with("team:");
    NewAccount {
        id: id(name),
        currency: (!is_team).then_some(Currency::USD),
        credit: credit.map(nano),
        budget: Budget::default(),
        disabled: false,
        tags: vec![("contact".into(), "ops".into())],
    }
}

pub(super) fn deposit(name: &str, organisation: &str, amount: u64) -> Deposit {
    Deposit {
        id: name.into(),
        organisation: id(organisation),
        amount: nano(amount),
        currency: Currency::USD,
        memo: Some("invoice 7".into()),
    }
}

/// A prepaid organisation with some money.
pub(super) async fn funded(ledger: &LedgerStore, organisation: &str, amount: u64) {
    ledger
        .create_account(&new_account(organisation, Some(0)), BY)
        .await
        .expect("the name is new");
    let paid = deposit(&format!("first of {organisation}"), organisation, amount);
    ledger.deposit(&paid, BY).await.expect("it is accepted");
}

/// A capture of which every field holds something of its own.
pub(super) fn charge(node: &str, seq: u64, organisation: &str, amount: u64) -> Charge {
    Charge {
        node: Arc::from(node),
        seq,
        kind: ChargeKind::Capture,
        at_ms: 1_795_258_800_123_i64.saturating_add(i64::try_from(seq).expect("small")),
        request_id: format!("req-{seq}"),
        organisation: id(organisation),
        team: None,
        key: Some(AccountId::key("alice")),
        day: DAY,
        month: MONTH,
        bounds: Bounds::NONE.with(billing::Level::Organisation, billing::Span::Total),
        currency: Currency::USD,
        held: nano(amount.saturating_mul(2)),
        amount: nano(amount),
        fee: nano(amount / 18),
        terms: Terms {
            tariff: Tariff {
                prompt: 20_000_000,
                cached: 5_000_000,
                completion: 160_000_000,
                reasoning: 160_000_000,
                request: 0,
                minimum: 0,
            },
            fee: Fee {
                prompt: 1_000_000,
                completion: 8_000_000,
            },
            currency: Currency::TON,
            rate: Some(nano(350_000_000)),
        },
        model: "qwen3-8b".into(),
        endpoint: "/v1/chat/completions".into(),
        backend: Some("local".into()),
        upstream: Some("gpu-1".into()),
        end: End::Complete,
        billed: Usage::from_totals(1200, 800, 350, 50),
        claimed: Some(Usage::from_totals(1200, 800, 360, 50)),
        counted: None,
        source: UsageSource::Upstream,
        tags: vec![("project".into(), "apollo".into()), ("cost centre".into(), "7".into())],
        evidence: None,
    }
}

pub(super) fn sealed(charge: Charge) -> SealedCharge {
    SealedCharge {
        charge,
        receipt: None,
        receipt_hash: None,
    }
}
