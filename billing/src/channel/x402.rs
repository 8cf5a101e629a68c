//! How a payment rides on HTTP: the documents of [x402] version 2, scheme `batch-settlement`, in headers.
//!
//! - A refusal (402) has `PAYMENT-REQUIRED`: a [`Required`] with what we accept, and where a channel spoke, where it
//!   stands.
//! - A request has `PAYMENT-SIGNATURE`: a [`Payment`] that names the channel's terms, and shows an access proof, a
//!   voucher, or both.
//! - An answer has `PAYMENT-RESPONSE`: a [`Receipt`] of what was charged and where the channel stands.
//!
//! Each is JSON in Base64. They are strict: what is unknown, of another version or scheme, or longer than
//! [`HEADER_MAX`], is refused, for a payer who means something else must not be charged for what we understood.
//! The refusals say where, and never what: a header holds signatures.
//!
//! Ours where x402 has no word: asset and token are `native` (GRAM, the coin of TON), amounts are in nanoton, keys and
//! signatures are hexadecimal digits, accounts are raw addresses, and `access`, `feeBps`, `feeDest`, `codeHash` and
//! `requiredCumulative` are added.
//!
//! ```
//! use billing::channel::x402::{DecodeError, Payment, decode};
//!
//! assert!(matches!(decode::<Payment>("e30="), Err(DecodeError::Document { column: 2 })));
//! ```
//!
//! [x402]: https://github.com/coinbase/x402/blob/main/specs/x402-specification-v2.md

mod offer;
mod payment;
#[cfg(test)]
mod tests;

use base64::{
    Engine as _,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

pub use self::{
    offer::{ChannelState, Offer, OfferExtra, Receipt, ReceiptExtra, Required, Resource, VoucherState},
    payment::{ChannelConfig, Payload, Payment, PaymentRefusal},
};

/// Longest header that is read, in bytes.
pub const HEADER_MAX: usize = 8192;

/// Of refusals.
pub const REQUIRED: &str = "payment-required";
/// Of requests.
pub const SIGNATURE: &str = "payment-signature";
/// Of answers.
pub const RESPONSE: &str = "payment-response";

/// The only scheme there is here.
pub const SCHEME: &str = "batch-settlement";
/// The coin of the chain itself.
pub const NATIVE: &str = "native";

/// Clients pad, or do not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// Why a header is no document. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("it has {0} bytes, and at most {HEADER_MAX} are read")]
    Long(usize),
    #[error("it is not Base64")]
    Base64,
    #[error("its JSON is not what x402 version 2 has here: look at byte {column} of it")]
    Document { column: usize },
}

/// Reads a header.
pub fn decode<T: DeserializeOwned>(header: &str) -> Result<T, DecodeError> {
    if header.len() > HEADER_MAX {
        return Err(DecodeError::Long(header.len()));
    }
    let json = LENIENT.decode(header).map_err(|_| DecodeError::Base64)?;
    serde_json::from_slice(&json).map_err(|error| DecodeError::Document { column: error.column() })
}

/// Writes a header.
pub fn encode<T: Serialize>(document: &T) -> String {
    // Documents are structs of texts and numbers, of which none fails to be written; an empty header says nothing.
    serde_json::to_vec(document)
        .map(|json| STANDARD.encode(json))
        .unwrap_or_default()
}

/// A text that can only be one, written into a document to say what it is.
macro_rules! only {
    ($(#[$doc:meta])* $name:ident, $text:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                if text == $text {
                    Ok(Self)
                } else {
                    Err(serde::de::Error::custom(concat!("is not the one ", stringify!($name))))
                }
            }
        }
    };
}

only!(
    /// `batch-settlement`.
    Scheme, SCHEME
);
only!(
    /// `native`.
    Asset, NATIVE
);
only!(
    /// `voucher`.
    Kind, "voucher"
);

/// 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(2)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            2 => Ok(Self),
            _ => Err(serde::de::Error::custom("is another version")),
        }
    }
}
