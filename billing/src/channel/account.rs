//! How accounts are written for machines: the raw form, `0:` and 64 hexadecimal digits. One account has one spelling.

use std::{fmt, str::FromStr};

use super::Account;
use crate::receipt::{from_hex, to_hex};

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.workchain, to_hex(&self.hash))
    }
}

/// Not the raw form of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a raw address; write `0:` or `-1:` and 64 lowercase hexadecimal digits")]
pub struct BadAccount;

impl FromStr for Account {
    type Err = BadAccount;

    fn from_str(text: &str) -> Result<Self, BadAccount> {
        let (workchain, hash) = text.split_once(':').ok_or(BadAccount)?;
        let workchain = match workchain {
            "0" => 0,
            "-1" => -1,
            _ => return Err(BadAccount),
        };
        let hash = from_hex(hash).ok_or(BadAccount)?;
        Ok(Self { workchain, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_has_one_spelling() {
        let text = format!("-1:{}", "0a".repeat(32));
        let account = Account {
            workchain: -1,
            hash: [10; 32],
        };
        assert_eq!(text.parse(), Ok(account));
        assert_eq!(account.to_string(), text);
        let digits = "0a".repeat(32);
        for wrong in [
            digits.clone(),
            format!("00:{digits}"),
            format!("+0:{digits}"),
            format!("1:{digits}"),
            format!("0:{}", "0A".repeat(32)),
            format!("0:{digits}0a"),
            "0:".to_owned(),
        ] {
            assert_eq!(wrong.parse::<Account>(), Err(BadAccount), "{wrong}");
        }
    }
}
