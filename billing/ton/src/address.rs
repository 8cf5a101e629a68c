//! How accounts are written: raw (`0:7b00…`), and the form for people, of 48 letters with a checksum.
//!
//! The second says more than where: whether coins should come back if nobody is there to take them (*bounceable*), and
//! whether it is meant for test networks alone. Both are read in either alphabet of Base64.
//! A wallet that does not exist yet must be given out non-bounceable, a contract bounceable.
//!
//! ```
//! use billing::channel::Network;
//! use billing_ton::address::{self, Bounce, Friendly};
//!
//! let account = address::parse("EQB7ANFSYZjPFHSSE_k2aIJaH8yOYl6Xqt2U2QHMtGUra3Gp", Network::MAINNET)?;
//! println!("send to {}", Friendly::new(account, Network::MAINNET, Bounce::Keep));
//! # Ok::<(), address::AddressError>(())
//! ```
//!
//! The form is that of docs.ton.org, "User-friendly address": tag, workchain, 32 bytes, CRC-16 of them.

use std::{fmt, str::FromStr};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use billing::channel::{Account, Network};
use billing::receipt::to_hex;
use tycho_types::{cell::HashBytes, crc::crc_16, models::StdAddr};

const BOUNCEABLE: u8 = 0x11;
const NON_BOUNCEABLE: u8 = 0x51;
const TEST_ONLY: u8 = 0x80;

/// What happens to coins for an account that has no contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounce {
    /// They come back.
    Back,
    /// They stay there.
    Keep,
}

/// An address in the form for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Friendly {
    pub account: Account,
    pub bounce: Bounce,
    /// Wallets of the main network refuse it.
    pub is_test_only: bool,
}

/// Why a text is not an address, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("an address is missing")]
    Empty,
    /// Of what follows the colon.
    #[error("a raw address is `0:` or `-1:` and 64 hexadecimal digits")]
    Raw,
    #[error("an address has 48 letters, or is `0:` and 64 hexadecimal digits; this one has {0} letters")]
    Length(usize),
    #[error("an address has letters, digits and either `-` and `_` or `+` and `/`")]
    Alphabet,
    #[error("the address has a wrong checksum: a letter is wrong, or two are swapped")]
    Checksum,
    #[error("the address has the unknown tag {0:#04x}")]
    Tag(u8),
    #[error("the address is of workchain {0}; there are 0 and -1")]
    Workchain(i32),
    #[error("the address is for test networks, and this is the main one")]
    TestOnly,
}

/// Reads an address in any form, for use on `network`.
pub fn parse(text: &str, network: Network) -> Result<Account, AddressError> {
    let text = text.trim();
    if text.contains(':') {
        return parse_raw(text);
    }
    let friendly: Friendly = text.parse()?;
    if friendly.is_test_only && network == Network::MAINNET {
        return Err(AddressError::TestOnly);
    }
    Ok(friendly.account)
}

fn parse_raw(text: &str) -> Result<Account, AddressError> {
    let (workchain, hash) = text.split_once(':').ok_or(AddressError::Raw)?;
    let workchain: i32 = workchain.parse().map_err(|_| AddressError::Raw)?;
    let hash = billing::receipt::from_hex(&hash.to_ascii_lowercase()).ok_or(AddressError::Raw)?;
    account_of(workchain, hash)
}

fn account_of(workchain: i32, hash: [u8; 32]) -> Result<Account, AddressError> {
    match i8::try_from(workchain) {
        Ok(workchain @ (0 | -1)) => Ok(Account { workchain, hash }),
        _ => Err(AddressError::Workchain(workchain)),
    }
}

/// `0:` and 64 digits: what APIs take.
pub fn raw(account: &Account) -> String {
    format!("{}:{}", account.workchain, to_hex(&account.hash))
}

impl Friendly {
    /// Of any network but the main one it says that it is for tests.
    pub fn new(account: Account, network: Network, bounce: Bounce) -> Self {
        Self {
            account,
            bounce,
            is_test_only: network != Network::MAINNET,
        }
    }

    /// With `+` and `/`, as some old tools want it.
    pub fn with_plain_alphabet(&self) -> String {
        STANDARD.encode(self.bytes())
    }

    fn bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[0] = match self.bounce {
            Bounce::Back => BOUNCEABLE,
            Bounce::Keep => NON_BOUNCEABLE,
        };
        if self.is_test_only {
            bytes[0] |= TEST_ONLY;
        }
        bytes[1..2].copy_from_slice(&self.account.workchain.to_be_bytes());
        bytes[2..34].copy_from_slice(&self.account.hash);
        let checksum = crc_16(&bytes[..34]);
        bytes[34..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// In the alphabet that needs no escapes in a URL.
impl fmt::Display for Friendly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE.encode(self.bytes()))
    }
}

impl FromStr for Friendly {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let letters = text.chars().count();
        if letters != 48 {
            return Err(AddressError::Length(letters));
        }
        // 48 letters of either alphabet are 36 bytes without padding.
        let decoded = URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text));
        let bytes: [u8; 36] = decoded
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(AddressError::Alphabet)?;
        let ([tag, workchain, rest @ ..], head) = (&bytes, &bytes[..34]);
        let (hash, checksum) = rest.split_at(32);
        if crc_16(head).to_be_bytes() != *checksum {
            return Err(AddressError::Checksum);
        }
        let bounce = match tag & !TEST_ONLY {
            BOUNCEABLE => Bounce::Back,
            NON_BOUNCEABLE => Bounce::Keep,
            _ => return Err(AddressError::Tag(*tag)),
        };
        let workchain = i8::from_be_bytes([*workchain]);
        let mut account = [0; 32];
        account.copy_from_slice(hash);
        Ok(Self {
            account: account_of(workchain.into(), account)?,
            bounce,
            is_test_only: tag & TEST_ONLY != 0,
        })
    }
}

/// As cells have it.
pub fn to_std(account: &Account) -> StdAddr {
    StdAddr::new(account.workchain, HashBytes(account.hash))
}

/// `None` where it has an anycast prefix, which no account of today has.
pub fn from_std(address: &StdAddr) -> Option<Account> {
    address.anycast.is_none().then_some(Account {
        workchain: address.workchain,
        hash: address.address.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn addresses_are_those_of_the_official_library() {
        let golden = golden::read();
        let mut forms = 0;
        for address in golden["addresses"].as_array().expect("a list") {
            let account = parse(golden::text(&address["raw"]), Network::MAINNET).expect("a raw address");
            assert_eq!(raw(&account), golden::text(&address["raw"]));
            for form in address["forms"].as_array().expect("a list") {
                let flag = |name: &str| form[name].as_bool().expect("a flag");
                let text = golden::text(&form["text"]);
                let friendly: Friendly = text.parse().expect("an address");
                let expect = Friendly {
                    account,
                    bounce: if flag("bounceable") { Bounce::Back } else { Bounce::Keep },
                    is_test_only: flag("testOnly"),
                };
                assert_eq!(friendly, expect);
                let written = if flag("urlSafe") {
                    friendly.to_string()
                } else {
                    friendly.with_plain_alphabet()
                };
                assert_eq!(written, text);
                assert_eq!(parse(text, Network::TESTNET), Ok(account));
                let on_mainnet = if flag("testOnly") {
                    Err(AddressError::TestOnly)
                } else {
                    Ok(account)
                };
                assert_eq!(parse(text, Network::MAINNET), on_mainnet);
                forms += 1;
            }
        }
        assert_eq!(forms, 32);
    }

    #[test]
    fn what_is_not_an_address_is_named() {
        let check = |text: &str, expect: AddressError| {
            assert_eq!(parse(text, Network::TESTNET), Err(expect), "for {text:?}");
        };
        let account = Account {
            workchain: 0,
            hash: [7; 32],
        };
        let good = Friendly::new(account, Network::MAINNET, Bounce::Back).to_string();
        check("", AddressError::Empty);
        check(&good[1..], AddressError::Length(47));
        check(&format!("{}=", &good[..47]), AddressError::Alphabet);
        check(&format!("+_{}", &good[2..]), AddressError::Alphabet);
        check(&good.replace('Q', "R"), AddressError::Checksum);
        check("0:07", AddressError::Raw);
        check(&format!("0:{}", "0g".repeat(32)), AddressError::Raw);
        check(&format!("x:{}", "07".repeat(32)), AddressError::Raw);
        check(&format!("7:{}", "07".repeat(32)), AddressError::Workchain(7));
        check(&format!("300:{}", "07".repeat(32)), AddressError::Workchain(300));
        let with = |change: fn(&mut [u8; 36])| {
            let mut bytes = Friendly::new(account, Network::MAINNET, Bounce::Back).bytes();
            change(&mut bytes);
            let checksum = crc_16(&bytes[..34]);
            bytes[34..].copy_from_slice(&checksum.to_be_bytes());
            URL_SAFE.encode(bytes)
        };
        check(&with(|bytes| bytes[0] = 0x12), AddressError::Tag(0x12));
        check(&with(|bytes| bytes[1] = 5), AddressError::Workchain(5));
        // Letters of more than a byte are counted, and harm nothing.
        check(&"ä".repeat(48), AddressError::Alphabet);
    }

    #[test]
    fn digits_may_be_capitals_and_spaces_may_surround() {
        let account = Account {
            workchain: -1,
            hash: [0xab; 32],
        };
        assert_eq!(
            parse(&format!(" -1:{} ", "AB".repeat(32)), Network::MAINNET),
            Ok(account)
        );
        assert_eq!(from_std(&to_std(&account)), Some(account));
    }
}
