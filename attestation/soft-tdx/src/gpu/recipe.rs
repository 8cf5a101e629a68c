//! All that devices and those who vouch for them say, as plain data. What stands here is signed, sensible or not.

use std::collections::BTreeMap;

use attestation::gpu::{Arch, Mode};
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Recipe {
    pub devices: Vec<Device>,
    /// Unix times of all certificates.
    pub not_before: u64,
    pub not_after: u64,
    /// Something wrong with every chain.
    pub flaw: Option<Flaw>,
    /// One answer for each certificate that has an issuer who would be asked.
    pub ocsp: Option<Ocsp>,
    pub eat: Option<Eat>,
}

impl Recipe {
    pub(super) fn valid() -> Self {
        Self {
            devices: vec![Device::hopper()],
            // 2026-01-01
            not_before: 1_767_225_600,
            // 9999-12-31, as NVIDIA has it
            not_after: 253_402_300_799,
            flaw: None,
            ocsp: Some(Ocsp::good()),
            eat: None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Device {
    pub arch: Arch,
    /// Which one of its kind.
    pub number: u8,
    /// What its certificates call its chip.
    pub chip: String,
    pub driver: String,
    /// As the tools print it.
    pub vbios: String,
    pub mode: Mode,
    /// Whether the flag of the mode is written, as drivers from 590 on do.
    pub has_feature_flag: bool,
    pub nvdec0: bool,
    /// Of a GPU the switches at its links; of a switch its own.
    pub pdis: Vec<[u8; 8]>,
    /// By NVIDIA's index.
    pub measurements: BTreeMap<u8, [u8; 48]>,
    /// The shape of one block of measurements.
    pub block: Block,
    pub firmware: Firmware,
    /// A field of the opaque data beside all others, `(type, value)`.
    pub field: Option<(u16, Vec<u8>)>,
    /// The key that signs the report is that of another device.
    pub is_forged: bool,
    /// Bytes after the signature.
    pub trailing: Vec<u8>,
}

impl Device {
    pub(super) const ALL: [fn() -> Self; 3] = [Self::hopper, Self::blackwell, Self::switch];

    pub fn hopper() -> Self {
        Self::new(Arch::Hopper, "GH100", 64)
    }

    pub fn blackwell() -> Self {
        Self::new(Arch::Blackwell, "GB100", 64)
    }

    pub fn switch() -> Self {
        Self {
            pdis: vec![[0x20, 0, 0, 0, 0, 0, 0, 8]],
            ..Self::new(Arch::Ls10, "LS_10", 31)
        }
    }

    fn new(arch: Arch, chip: &str, count: u8) -> Self {
        Self {
            arch,
            number: 0,
            chip: chip.to_owned(),
            driver: "soft.1".to_owned(),
            vbios: "96.00.A5.00.01".to_owned(),
            mode: Mode::SinglePassthrough,
            has_feature_flag: true,
            nvdec0: true,
            pdis: Vec::new(),
            measurements: (0..count).map(|index| (index, [index; 48])).collect(),
            block: Block::default(),
            firmware: Firmware::default(),
            field: None,
            is_forged: false,
            trailing: Vec::new(),
        }
    }
}

/// What stands around the first measurement.
#[derive(Clone, Debug)]
pub struct Block {
    /// 1: DMTF's.
    pub specification: u8,
    /// The highest bit: not a digest.
    pub kind: u8,
    /// Of all blocks, added to what is there.
    pub count_off_by: u8,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            specification: 1,
            kind: 0,
            count_off_by: 0,
        }
    }
}

/// The hash of the firmware, where it is said.
#[derive(Clone, Debug)]
pub struct Firmware {
    pub reported: Option<[u8; 48]>,
    pub certified: [u8; 48],
    /// The chip's key in the leaf of a Hopper is another's.
    pub is_of_another_chip: bool,
    /// Both forms in one certificate.
    pub is_said_twice: bool,
}

impl Default for Firmware {
    fn default() -> Self {
        Self {
            reported: Some([0xf0; 48]),
            certified: [0xf0; 48],
            is_of_another_chip: false,
            is_said_twice: false,
        }
    }
}

/// A place in the chain, from the leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    Leaf,
    Device,
    Provisioner,
    Family,
    Root,
}

impl Link {
    pub const ALL: [Self; 5] = [Self::Leaf, Self::Device, Self::Provisioner, Self::Family, Self::Root];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// An authority where there is none, or none where there is one.
    Authority(Link),
    /// KeyUsage that does not fit.
    Usage(Link),
    /// No authority may stand below it.
    PathLength(Link),
    /// Not the issuer's name.
    Issuer(Link),
    /// Signed with a stranger's key.
    Forged(Link),
    /// A critical extension that nobody knows.
    Critical(Link),
    /// Its algorithm says SHA-256.
    Algorithm(Link),
    Expired(Link),
    NotYet(Link),
    /// Of another seed.
    OtherRoot,
    /// Without the family's.
    Short,
    /// Something after the leaf.
    Trailing,
}

/// What the issuers say of their certificates.
#[derive(Clone, Debug)]
pub struct Ocsp {
    pub status: Status,
    /// About which certificate `status` is; of the others it is good.
    pub about: Link,
    /// For which no answer comes.
    pub without: Option<Link>,
    /// Seconds before now; negative is the future.
    pub age_s: i64,
    /// From thisUpdate on.
    pub lifetime_s: Option<u64>,
    /// A responder that the issuer certified, instead of the issuer.
    pub is_delegated: bool,
    /// What that certificate says it is for.
    pub has_purpose: bool,
    /// Signed with a stranger's key.
    pub is_forged: bool,
    /// The responder is named by its key, not its name.
    pub by_key: bool,
    /// What the issuer is named by.
    pub hash: Hash,
    /// Not a response but an error (tryLater).
    pub is_error: bool,
    /// A critical extension of the answer.
    pub is_critical: bool,
}

impl Ocsp {
    pub fn good() -> Self {
        Self {
            status: Status::Good,
            about: Link::Device,
            without: None,
            age_s: 3_600,
            lifetime_s: Some(43_200),
            is_delegated: false,
            has_purpose: true,
            is_forged: false,
            by_key: false,
            hash: Hash::Sha384,
            is_error: false,
            is_critical: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha384,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good,
    /// With a reason (RFC 5280 §5.3.1); 6 is certificateHold.
    Revoked(u8),
    Unknown,
}

/// What the attestation service says.
#[derive(Clone, Debug, Default)]
pub struct Eat {
    /// Put in place of what the signed part would say, or taken out where it is null.
    pub overall: Vec<(&'static str, Value)>,
    /// The same for each device.
    pub device: Vec<(&'static str, Value)>,
    /// The same for the header of the signed part.
    pub header: Vec<(&'static str, Value)>,
    /// Signed with a stranger's key.
    pub is_forged: bool,
    /// The devices' parts are, after their digests were signed.
    pub is_device_forged: bool,
    /// A device's part was exchanged after its digest was signed.
    pub is_exchanged: bool,
    /// About fewer devices than there are.
    pub without_last: bool,
}
