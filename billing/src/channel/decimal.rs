//! Amounts and bytes as x402 writes them in JSON: decimal digits in a string, lowercase hexadecimal digits.

/// Nanoton in a string of decimal digits, for JavaScript reads numbers as floats.
pub(crate) mod nano {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::Nano;

    pub(crate) fn serialize<S: Serializer>(amount: &Nano, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&amount.get())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nano, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if !is_plain || text.is_empty() {
            return Err(D::Error::custom(
                "an amount is a string of decimal digits, in nanoton, without leading zeros",
            ));
        }
        // Digits, so that only their number can be wrong.
        let amount = text.parse().ok().and_then(Nano::new);
        amount.ok_or_else(|| D::Error::custom("an amount is at most 9223372036854775807 nanoton"))
    }
}

/// Nanoton that may be absent.
pub(crate) mod maybe_nano {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::Nano;

    pub(crate) fn serialize<S: Serializer>(amount: &Option<Nano>, serializer: S) -> Result<S::Ok, S::Error> {
        match amount {
            Some(amount) => super::nano::serialize(amount, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Nano>, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Amount(#[serde(with = "super::nano")] Nano);
        Ok(Option::<Amount>::deserialize(deserializer)?.map(|amount| amount.0))
    }
}

/// Bytes of a fixed number as lowercase hexadecimal digits.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::receipt::{from_hex, to_hex};

    pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text)
            .ok_or_else(|| D::Error::custom(format_args!("expected {N} bytes as lowercase hexadecimal digits")))
    }
}
