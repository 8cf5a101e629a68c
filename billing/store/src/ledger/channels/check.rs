//! The check of channels: what is on their accounts came of them, and what they say fits together.
//!
//! The database refuses most of this as well; a check is for what was altered by another hand.

use super::super::LedgerFault;
use super::super::sql::{row, rows, values};
use super::super::verify::Report;
use super::{ChannelQuery, Side, Stage, StoredChannel, channel_account};
use crate::pool::Db;

/// Channels that are read at a time.
const PAGE: u32 = 500;

pub(in super::super) async fn check(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    let mut query = ChannelQuery {
        side: None,
        after: None,
        limit: PAGE,
    };
    loop {
        let page = super::rows::list(db, &query).await?;
        let Some(last) = page.last() else { break };
        query.after = Some(last.id.account);
        for channel in &page {
            report.checked.channels = report.checked.channels.saturating_add(1);
            check_one(db, channel, report).await?;
        }
    }
    // Money that came in the name of a channel, and no channel has it.
    let sql = "SELECT t.id, t.reference FROM transfers t WHERE t.kind = 'deposit' \
               AND substr(t.reference, 1, 16) = 'channel:channel-' \
               AND NOT EXISTS (SELECT 1 FROM channels c WHERE c.account = t.credit) ORDER BY t.id LIMIT 1000";
    for row in rows(db, sql, &[]).await? {
        let subject = format!("transfer {}", row.int("id")?);
        report.differs(subject, "its channel", "missing", row.text("reference")?);
    }
    Ok(())
}

async fn check_one(db: &mut Db<'_>, channel: &StoredChannel, report: &mut Report) -> Result<(), LedgerFault> {
    let subject = format!("channel {}", channel.id.account);
    if channel.taken() > channel.voucher_max() {
        report.differs(
            &subject,
            "what was signed to be taken",
            channel.taken().to_string(),
            format!("at most {}", channel.voucher_max()),
        );
    }
    let (keys, id) = (&channel.keys, &channel.id);
    if channel.voucher.is_some_and(|voucher| voucher.verify(keys, id).is_err()) {
        report.differs(&subject, "the signature of its voucher", "another's", "the payer's");
    }
    if channel.take.is_some_and(|take| take.verify(keys, id).is_err()) {
        report.differs(&subject, "the signature of its take", "another's", "the payee's");
    }
    if channel.side == Side::Payer {
        return Ok(());
    }
    if channel.credited > channel.covered() {
        report.differs(
            &subject,
            "what is on its account",
            channel.credited.to_string(),
            format!("at most {}", channel.covered()),
        );
    }
    let sql = "SELECT coalesce(CAST(sum(CASE WHEN kind = 'deposit' THEN amount ELSE 0 END) AS bigint), 0) AS came, \
               coalesce(CAST(sum(CASE WHEN kind = 'withdrawal' THEN amount ELSE 0 END) AS bigint), 0) AS went, \
               coalesce((SELECT CAST(sum(amount) AS bigint) FROM transfers WHERE debit = $1 AND kind = 'capture'), 0) AS captured \
               FROM transfers WHERE (credit = $1 OR debit = $1) AND substr(reference, 1, 16) = 'channel:channel-'";
    let account = channel_account(&channel.id);
    let Some(row) = row(db, sql, values![account.as_str()]).await? else {
        return Ok(());
    };
    let (came, went, captured) = (row.nano("came")?, row.nano("went")?, row.nano("captured")?);
    // Before refunds: what was signed stays signed.
    if channel.taken() > captured {
        report.differs(
            &subject,
            "what was signed to be taken",
            channel.taken().to_string(),
            format!("at most {captured}, which is all that was captured"),
        );
    }
    if came != channel.credited {
        report.differs(
            &subject,
            "what is on its account",
            channel.credited.to_string(),
            came.to_string(),
        );
    }
    if !went.is_zero() && channel.stage != Stage::Closed {
        report.differs(
            &subject,
            "what was taken off its account",
            went.to_string(),
            "nothing before it is closed",
        );
    }
    Ok(())
}
