//! What TON's official JavaScript libraries say of the same inputs: `contracts/wallets.mjs` makes it.

use serde_json::Value;

pub(crate) fn read() -> Value {
    serde_json::from_str(include_str!("../golden/wallets.json")).expect("contracts/wallets.mjs writes JSON")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub(crate) fn hash(value: &Value) -> [u8; 32] {
    billing::receipt::from_hex(text(value)).expect("32 bytes")
}
