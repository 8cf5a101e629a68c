//! Channels to rows and back.

use billing::Nano;
use billing::channel::{Account, ChannelId, ClaimedTake, ClaimedVoucher, Keys, Network, OnChain, Terms};

use super::super::sql::{self, Record, row, rows, run, values};
use super::{ChannelChanges, ChannelQuery, Facts, LedgerFault, NewChannel, Side, Stage, StoredChannel, Word, facts};
use crate::keys::By;
use crate::pool::Db;
use crate::reader::MAX_ROWS;

/// A channel with what its account spent; ends where a condition goes on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.*, coalesce(p.used, 0) AS used FROM channels c LEFT JOIN pots p ON p.account = c.account \
             AND p.span = 'total' AND p.number = 0 ",
            $rest
        )
    };
}

pub(super) async fn one(db: &mut Db<'_>, id: &ChannelId) -> Result<Option<StoredChannel>, LedgerFault> {
    let sql = select!("WHERE c.id = $1");
    let found = row(db, sql, values![&id.account.to_string()]).await?;
    let channel = found.map(|row| channel(&row)).transpose()?;
    // One address may stand on two networks, and a gateway is on one.
    Ok(channel.filter(|channel| channel.id == *id))
}

/// The same, and nobody else changes it before the transaction ends.
pub(super) async fn locked(db: &mut Db<'_>, id: &ChannelId) -> Result<Option<StoredChannel>, LedgerFault> {
    let lock = sql::by_kind(
        db,
        "SELECT id FROM channels WHERE id = $1",
        "SELECT id FROM channels WHERE id = $1 FOR NO KEY UPDATE",
    );
    row(db, lock, values![&id.account.to_string()]).await?;
    one(db, id).await
}

pub(super) async fn list(db: &mut Db<'_>, query: &ChannelQuery) -> Result<Vec<StoredChannel>, LedgerFault> {
    let sql = select!("WHERE c.id > $1 AND ($2 = '' OR c.side = $2) ORDER BY c.id LIMIT $3");
    let after = query.after.map(|account| account.to_string()).unwrap_or_default();
    let side = query.side.map_or("", Side::as_str);
    let limit = i64::from(query.limit.min(MAX_ROWS));
    let found = rows(db, sql, values![&after, side, limit]).await?;
    found.iter().map(channel).collect()
}

pub(super) async fn generation(db: &mut Db<'_>) -> Result<i64, LedgerFault> {
    match row(db, "SELECT generation FROM channel_state", &[]).await? {
        Some(row) => row.int("generation"),
        None => Err(LedgerFault::Row { column: "generation" }),
    }
}

pub(super) async fn changes(db: &mut Db<'_>, since: i64) -> Result<ChannelChanges, LedgerFault> {
    let mut generation = generation(db).await?;
    let mut channels = Vec::new();
    if generation > since {
        let sql = select!("WHERE c.revision > $1 ORDER BY c.revision LIMIT $2");
        let found = rows(db, sql, values![since, i64::from(MAX_ROWS)]).await?;
        channels = found.iter().map(channel).collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = channels.last().filter(|_| channels.len() >= MAX_ROWS as usize) {
            generation = last.revision;
        }
    }
    Ok(ChannelChanges { generation, channels })
}

/// A new generation. Whoever makes the next one waits for our commit, so that a reader misses none.
pub(super) async fn next_generation(db: &mut Db<'_>) -> Result<i64, LedgerFault> {
    let sql = "UPDATE channel_state SET generation = generation + 1 RETURNING generation";
    match row(db, sql, &[]).await? {
        Some(row) => row.int("generation"),
        None => Err(LedgerFault::Row { column: "generation" }),
    }
}

/// Whether it was not there.
pub(super) async fn insert(
    db: &mut Db<'_>,
    new: &NewChannel,
    account: Option<&str>,
    by: By<'_>,
) -> Result<bool, LedgerFault> {
    let revision = next_generation(db).await?;
    let (terms, facts) = (&new.terms, &new.facts);
    let deposited = facts::believed(facts.on_chain.deposited, Nano::ZERO, new.word);
    let confirmed = match new.word {
        Word::Agreed => deposited,
        Word::Alone { .. } => Nano::ZERO,
    };
    let added = run(
        db,
        "INSERT INTO channels (id, side, account, network, close_delay_s, fee_bps, salt, payer, payee, fee_dest, \
         payer_key, payee_key, stage, seqno, deposited, confirmed, claimed, close_at, revision, created_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) \
         ON CONFLICT (id) DO NOTHING",
        values![
            &new.id.account.to_string(),
            new.side.as_str(),
            account,
            i64::from(new.id.network.0),
            i64::from(terms.close_delay_s),
            i64::from(terms.fee_bps),
            terms.salt.to_be_bytes().as_slice(),
            &terms.payer.to_string(),
            &terms.payee.to_string(),
            &terms.fee_dest.to_string(),
            new.keys.payer.as_slice(),
            new.keys.payee.as_slice(),
            Stage::Open.as_str(),
            i64::from(facts.seqno),
            deposited,
            confirmed,
            facts.on_chain.claimed,
            facts.on_chain.close_at.map(i64::from),
            revision,
            by.at_ms,
        ],
    )
    .await?;
    Ok(added > 0)
}

/// Writes all of a channel that can change.
pub(super) async fn write(db: &mut Db<'_>, channel: &StoredChannel) -> Result<(), LedgerFault> {
    let (facts, take) = (&channel.facts, channel.take);
    run(
        db,
        "UPDATE channels SET stage = $2, seqno = $3, deposited = $4, claimed = $5, close_at = $6, voucher_max = $7, \
         voucher_signature = $8, take = $9, take_signature = $10, take_closes = $11, credited = $12, spent = $13, \
         revision = $14, closed_at_ms = $15, confirmed = $16 WHERE id = $1",
        values![
            &channel.id.account.to_string(),
            channel.stage.as_str(),
            i64::from(facts.seqno),
            facts.on_chain.deposited,
            facts.on_chain.claimed,
            facts.on_chain.close_at.map(i64::from),
            channel.voucher_max(),
            channel.voucher.as_ref().map(|voucher| voucher.signature.as_slice()),
            channel.taken(),
            take.as_ref().map(|take| take.signature.as_slice()),
            take.is_some_and(|take| take.is_last),
            channel.credited,
            match channel.side {
                Side::Payer => channel.spent,
                // It is in the ledger.
                Side::Payee => Nano::ZERO,
            },
            channel.revision,
            channel.closed_at_ms,
            channel.confirmed,
        ],
    )
    .await
    .map(drop)
}

pub(in super::super) fn channel(row: &Record) -> Result<StoredChannel, LedgerFault> {
    let side = match row.text("side")?.as_str() {
        "payee" => Side::Payee,
        "payer" => Side::Payer,
        _ => return Err(LedgerFault::Row { column: "side" }),
    };
    let stage = match row.text("stage")?.as_str() {
        "open" => Stage::Open,
        "stopping" => Stage::Stopping,
        "closed" => Stage::Closed,
        _ => return Err(LedgerFault::Row { column: "stage" }),
    };
    let network = Network(row.narrow("network")?);
    let account: Account = row.word("id")?;
    let voucher = match bytes(row, "voucher_signature")? {
        None => None,
        Some(signature) => Some(ClaimedVoucher {
            account,
            max: row.nano("voucher_max")?,
            signature,
        }),
    };
    let take = match bytes(row, "take_signature")? {
        None => None,
        Some(signature) => Some(ClaimedTake {
            account,
            amount: row.nano("take")?,
            is_last: row.flag("take_closes")?,
            signature,
        }),
    };
    let close_at = row.maybe_int("close_at")?.map(u32::try_from).transpose();
    Ok(StoredChannel {
        side,
        id: ChannelId { network, account },
        terms: Terms {
            network,
            close_delay_s: row.narrow("close_delay_s")?,
            fee_bps: row.narrow("fee_bps")?,
            salt: u128::from_be_bytes(bytes(row, "salt")?.ok_or(LedgerFault::Row { column: "salt" })?),
            payer: row.word("payer")?,
            payee: row.word("payee")?,
            fee_dest: row.word("fee_dest")?,
        },
        keys: Keys {
            payer: bytes(row, "payer_key")?.ok_or(LedgerFault::Row { column: "payer_key" })?,
            payee: bytes(row, "payee_key")?.ok_or(LedgerFault::Row { column: "payee_key" })?,
        },
        facts: Facts {
            seqno: row.narrow("seqno")?,
            on_chain: OnChain {
                close_at: close_at.map_err(|_| LedgerFault::Row { column: "close_at" })?,
                deposited: row.nano("deposited")?,
                claimed: row.nano("claimed")?,
            },
        },
        confirmed: row.nano("confirmed")?,
        stage,
        voucher,
        take,
        credited: row.nano("credited")?,
        spent: match side {
            Side::Payer => row.nano("spent")?,
            Side::Payee => row.nano("used")?,
        },
        revision: row.int("revision")?,
        created_at_ms: row.int("created_at_ms")?,
        closed_at_ms: row.maybe_int("closed_at_ms")?,
    })
}

fn bytes<const N: usize>(row: &Record, column: &'static str) -> Result<Option<[u8; N]>, LedgerFault> {
    let found = row.maybe_bytes(column)?.map(TryInto::try_into).transpose();
    found.map_err(|_: Vec<u8>| LedgerFault::Row { column })
}
