//! The lines of channels in an export of the ledger.

use billing::receipt::to_hex;
use serde_json::{Value as Json, json};
use tokio::io::AsyncWrite;

use super::super::export::{ExportError, Lines};
use super::{ChannelQuery, Side, StoredChannel, channel_account, rows};
use crate::pool::Db;

/// Channels that are read at a time.
const PAGE: u32 = 500;

pub(in super::super) async fn export<W: AsyncWrite + Unpin + Send>(
    db: &mut Db<'_>,
    lines: &mut Lines<'_, W>,
) -> Result<(), ExportError> {
    let mut query = ChannelQuery {
        side: None,
        after: None,
        limit: PAGE,
    };
    loop {
        let page = rows::list(db, &query).await?;
        let Some(last) = page.last() else { return Ok(()) };
        query.after = Some(last.id.account);
        for channel in &page {
            lines.push(&line(channel));
        }
        lines.flush().await?;
    }
}

fn line(channel: &StoredChannel) -> Json {
    let facts = &channel.facts.on_chain;
    let account = (channel.side == Side::Payee).then(|| channel_account(&channel.id));
    json!({
        "type": "channel", "id": channel.id.account.to_string(), "network": channel.id.network.0,
        "side": channel.side.as_str(), "account": account, "stage": channel.stage.as_str(),
        "payer_key": to_hex(&channel.keys.payer), "payee_key": to_hex(&channel.keys.payee),
        "deposited": facts.deposited.get().to_string(),
        "confirmed": channel.confirmed.get().to_string(), "claimed": facts.claimed.get().to_string(),
        "close_at": facts.close_at, "seqno": channel.facts.seqno,
        "voucher_max": channel.voucher_max().get().to_string(),
        "voucher_signature": channel.voucher.map(|voucher| to_hex(&voucher.signature)),
        "take": channel.taken().get().to_string(),
        "take_signature": channel.take.map(|take| to_hex(&take.signature)),
        "take_closes": channel.take.is_some_and(|take| take.is_last),
        "credited": channel.credited.get().to_string(),
    })
}
