//! Taking messages, and telling of them.

use billing_ton::Chain;
use serde_json::{Value as Json, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{IntAddr, Message, MsgInfo};

use super::failure::Failure;
use super::form;
use super::methods::now;
use super::parameters::Parameters;
use crate::simulated::Simulated;

pub(super) fn send(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let message = parameters.bytes("boc")?;
    now(chain.send(&message))?;
    Ok(json!({ "@type": "ok" }))
}

pub(super) fn send_and_tell_hash(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let message = parameters.bytes("boc")?;
    now(chain.send(&message))?;
    let hash = Boc::decode(&message)
        .map_err(|error| Failure::Refused(error.to_string()))?
        .repr_hash()
        .0;
    Ok(json!({ "@type": "raw.extMessageInfo", "hash": form::base64(hash) }))
}

/// A message of a transaction. `None` for one that cannot be read, which no transaction has.
pub(super) fn told(cell: &Cell) -> Option<Json> {
    let message = cell.parse::<Message<'_>>().ok()?;
    let address = |address: Option<&IntAddr>| match address {
        Some(IntAddr::Std(address)) => address.display_base64_url(true).to_string(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (source, destination, value, forward, lt) = match &message.info {
        MsgInfo::Int(info) => (
            address(Some(&info.src)),
            address(Some(&info.dst)),
            info.value.tokens.into_inner(),
            info.fwd_fee.into_inner(),
            info.created_lt,
        ),
        MsgInfo::ExtIn(info) => (String::new(), address(Some(&info.dst)), 0, 0, 0),
        MsgInfo::ExtOut(info) => (address(Some(&info.src)), String::new(), 0, 0, info.created_lt),
    };
    let body = CellBuilder::build_from(message.body).ok()?;
    let init = match &message.init {
        Some(init) => form::base64(Boc::encode(CellBuilder::build_from(init).ok()?)),
        None => String::new(),
    };
    let comment = comment(&body);
    let data = match &comment {
        Some(text) => json!({ "@type": "msg.dataText", "text": form::base64(text) }),
        None => json!({ "@type": "msg.dataRaw", "body": form::base64(Boc::encode(&body)), "init_state": init }),
    };
    Some(json!({
        "@type": "raw.message",
        "hash": form::base64(cell.repr_hash().0),
        "source": source,
        "destination": destination,
        "value": value.to_string(),
        "extra_currencies": [],
        "fwd_fee": forward.to_string(),
        "ihr_fee": "0",
        "created_lt": lt.to_string(),
        "body_hash": form::base64(body.repr_hash().0),
        "msg_data": data,
        "message": comment.unwrap_or_default(),
    }))
}

/// The text of a body that is 32 zero bits and text, in as many cells as it takes.
fn comment(body: &Cell) -> Option<String> {
    let mut slice = body.as_slice().ok()?;
    if slice.load_u32().ok()? != 0 {
        return None;
    }
    let mut bytes = Vec::new();
    // A message's cells are bounded, and so is this.
    loop {
        let bits = slice.size_bits();
        if bits % 8 != 0 {
            return None;
        }
        let mut part = vec![0; usize::from(bits / 8)];
        slice.load_raw(&mut part, bits).ok()?;
        bytes.extend(part);
        if slice.is_refs_empty() {
            break;
        }
        slice = slice.load_reference_as_slice().ok()?;
    }
    String::from_utf8(bytes).ok()
}
