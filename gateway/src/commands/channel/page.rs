//! The address of a gateway's page for a channel.
//!
//! What follows the `#` stays in the browser: the gateway learns of the channel only what it asks the page to show.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use billing::{Nano, channel::x402::ChannelConfig};
use serde_json::json;

use crate::payer::shelf::{Kept, Stage};

const VERSION: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("where the channel's gateway answers is not known, since its terms came from a file; use --link")]
    NoGateway,
    #[error(transparent)]
    Shelf(#[from] crate::payer::shelf::ShelfError),
}

/// `URL/pay/#…`: what the channel was born with, and what is to be paid in.
pub(super) fn address(kept: &Kept, amount: Option<Nano>) -> Result<String, PageError> {
    let url = kept.payee_url.as_deref().ok_or(PageError::NoGateway)?;
    let document = json!({
        "version": VERSION,
        "network": kept.id.network,
        "channelConfig": ChannelConfig::new(&kept.terms, &kept.keys),
        // Decimal text, as everywhere in x402: JavaScript has no such whole numbers.
        "amount": amount.map(|amount| amount.get().to_string()),
        // What was there once and is no more must not be paid into again, whoever says that it is new.
        "isNew": kept.slate()?.stage == Stage::New,
    });
    let fragment = URL_SAFE_NO_PAD.encode(document.to_string());
    Ok(format!("{}/pay/#{fragment}", url.trim_end_matches('/')))
}
