//! Parameters of a call: from a query, a JSON body or JSON-RPC. Numbers may be strings, for JavaScript has none of 64 bits.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use billing::channel::Account;
use serde_json::{Map, Value as Json};
use tycho_types::models::{StdAddr, StdAddrFormat};

use super::Failure;

#[derive(Default)]
pub(super) struct Parameters(Map<String, Json>);

impl From<Map<String, Json>> for Parameters {
    fn from(map: Map<String, Json>) -> Self {
        Self(map)
    }
}

impl Parameters {
    /// Those of a query, and those of a body that is a JSON object.
    pub(super) fn of(query: Option<&str>, body: &[u8]) -> Result<Self, Failure> {
        let mut map = if body.is_empty() {
            Map::new()
        } else {
            serde_json::from_slice(body)
                .map_err(|error| Failure::Parameter(format!("the body is not a JSON object: {error}")))?
        };
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            map.insert(decoded(name)?, Json::String(decoded(value)?));
        }
        Ok(Self(map))
    }

    pub(super) fn value(&self, name: &str) -> Option<&Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, Failure> {
        match self.value(name) {
            Some(Json::String(text)) => Ok(text),
            Some(_) => Err(Failure::Parameter(format!("{name} must be a string"))),
            None => Err(Failure::Parameter(format!("{name} is missing"))),
        }
    }

    pub(super) fn number<T: TryFrom<i128>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let number = match self.value(name) {
            None => return Ok(None),
            Some(Json::Number(number)) => number.as_i128(),
            Some(Json::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| Failure::Parameter(format!("{name} must be an integer in its range")))
    }

    pub(super) fn required<T: TryFrom<i128>>(&self, name: &str) -> Result<T, Failure> {
        self.number(name)?
            .ok_or_else(|| Failure::Parameter(format!("{name} is missing")))
    }

    /// True unless it says otherwise.
    pub(super) fn is_not_false(&self, name: &str) -> bool {
        !matches!(self.value(name), Some(Json::Bool(false))) && self.value(name).and_then(Json::as_str) != Some("false")
    }

    pub(super) fn account(&self, name: &str) -> Result<Account, Failure> {
        let text = self.text(name)?;
        let (address, _) = StdAddr::from_str_ext(text.trim(), StdAddrFormat::any()).map_err(|_| Failure::Address)?;
        Ok(Account {
            workchain: address.workchain,
            hash: address.address.0,
        })
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, Failure> {
        base64_bytes(self.text(name)?).ok_or_else(|| Failure::Parameter(format!("{name} must be bytes in base64")))
    }

    /// A hash in hexadecimal or in base64.
    pub(super) fn hash(&self, name: &str) -> Result<Option<[u8; 32]>, Failure> {
        if self.value(name).is_none() {
            return Ok(None);
        }
        let text = self.text(name)?;
        hex(text)
            .or_else(|| base64_bytes(text))
            .and_then(|bytes| bytes.try_into().ok())
            .map(Some)
            .ok_or_else(|| Failure::Parameter(format!("{name} must be 32 bytes in hexadecimal or base64")))
    }
}

/// In the one alphabet or the other.
pub(super) fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD
        .decode(text)
        .or_else(|_| BASE64_URL_SAFE.decode(text))
        .ok()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A part of a query without its `%` and `+`. A `+` of base64 that nobody encoded is a space then, as everywhere.
fn decoded(part: &str) -> Result<String, Failure> {
    let malformed = || Failure::Parameter("the query is not encoded as a URL's is".to_owned());
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().ok_or_else(malformed)?, rest.next().ok_or_else(malformed)?];
                std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                    .ok_or_else(malformed)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}
