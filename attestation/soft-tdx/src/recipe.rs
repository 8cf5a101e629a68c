//! All that a platform, its quotes and its collateral say, as plain data. What stands here is signed, sensible or not.

use serde_json::Value;

use crate::{Platform, QuotingEnclave, Td};

#[derive(Clone, Debug)]
pub struct Recipe {
    pub form: Form,
    pub header: Header,
    pub td: Td,
    pub platform: Platform,
    pub enclave: QuotingEnclave,
    /// Of the quote: beside the attestation key in what the enclave vouches for.
    pub auth_data: Vec<u8>,
    pub authority: Authority,
    /// Unix times of all certificates.
    pub not_before: u64,
    pub not_after: u64,
    /// The signer of TCB info and QE identity is the root's own, as it must be; otherwise the PCK authority's.
    pub is_signer_direct: bool,
    pub tcb_info: TcbInfo,
    pub qe_identity: QeIdentity,
    pub pck_crl: List,
    pub root_crl: List,
    /// Signatures made with a stranger's key.
    pub forged: Vec<Forged>,
    /// Left out of certificates, which are then signed as if nothing were missing.
    pub omitted: Vec<Omitted>,
}

/// How a quote is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Version 4, TDX 1.0.
    V4,
    /// Version 5, TDX 1.0: body type 2.
    V5Td10,
    /// Version 5, TDX 1.5: body type 3.
    V5Td15,
    /// Version 5, TDX 1.5ex: body type 4.
    V5Td15Ex,
}

impl Form {
    pub const ALL: [Self; 4] = [Self::V4, Self::V5Td10, Self::V5Td15, Self::V5Td15Ex];
}

/// The first 48 bytes of a quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `None`: that of the form.
    pub version: Option<u16>,
    /// 2: ECDSA with P-256.
    pub key_type: u16,
    /// 0x81: TDX.
    pub tee_type: u32,
    pub qe_svn: u16,
    pub pce_svn: u16,
    pub qe_vendor: [u8; 16],
    pub user_data: [u8; 20],
}

/// Who issued the platform's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    Platform,
    Processor,
}

impl Authority {
    /// In Intel's URLs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Processor => "processor",
        }
    }

    pub(crate) const fn common_name(self) -> &'static str {
        match self {
            Self::Platform => "Software SGX PCK Platform CA",
            Self::Processor => "Software SGX PCK Processor CA",
        }
    }
}

/// When a document was issued, and for how long, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Before now. Negative: in the future.
    pub age: i64,
    pub life: u64,
}

impl Window {
    pub(crate) fn issued(self, now: u64) -> u64 {
        now.saturating_add_signed(-self.age)
    }

    pub(crate) fn next(self, now: u64) -> u64 {
        self.issued(now).saturating_add(self.life)
    }
}

#[derive(Clone, Debug)]
pub struct TcbInfo {
    pub window: Window,
    pub evaluation: u32,
    /// `None`: the platform's.
    pub fmspc: Option<[u8; 6]>,
    /// The first is the newest. The platform has it unless its versions were lowered.
    pub levels: Vec<Level>,
    /// Of the module of major version 1, the newest first.
    pub module_levels: Vec<ModuleLevel>,
    /// Done to the document before it is signed.
    pub edits: Vec<Edit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub sgx: [u8; 16],
    pub pce_svn: u16,
    pub tdx: [u8; 16],
    /// Unix time.
    pub date: u64,
    pub status: String,
    pub advisories: Vec<String>,
}

/// Of the TDX module, and of the quoting enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleLevel {
    pub isv_svn: u16,
    /// Unix time.
    pub date: u64,
    pub status: String,
    pub advisories: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct QeIdentity {
    pub window: Window,
    pub evaluation: u32,
    /// The newest first.
    pub levels: Vec<ModuleLevel>,
    pub edits: Vec<Edit>,
}

/// One change of a JSON document.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// RFC 6901.
    pub pointer: String,
    /// `None` removes it.
    pub value: Option<Value>,
}

/// A revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    pub window: Window,
    pub has_next_update: bool,
    /// `None`: the list has none.
    pub number: Option<u64>,
    pub revoked: Vec<Revoked>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    Pck,
    Authority,
    TcbSigner,
    /// Somebody else's.
    Stranger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// Over header and body.
    Body,
    /// The enclave vouches for another attestation key.
    AttestationKey,
    QeReport,
    PckCertificate,
    AuthorityCertificate,
    TcbSignerCertificate,
    TcbInfo,
    QeIdentity,
    PckCrl,
    RootCrl,
}

/// Parts of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omitted {
    /// Intel's whole extension of the PCK certificate; the next are entries in it.
    SgxExtension,
    Ppid,
    Tcb,
    /// Numbered from 1 to 16.
    TcbComponent(u8),
    PceSvn,
    CpuSvn,
    PceId,
    Fmspc,
    SgxType,
    Instance,
    Configuration,
    /// That the PCK authority is one.
    AuthorityConstraints,
    /// That the PCK authority may sign certificates.
    AuthoritySigns,
    /// That the PCK authority may sign revocation lists.
    AuthorityRevokes,
}

impl Omitted {
    pub fn all() -> impl Iterator<Item = Self> {
        [
            Self::SgxExtension,
            Self::Ppid,
            Self::Tcb,
            Self::PceSvn,
            Self::CpuSvn,
            Self::PceId,
            Self::Fmspc,
            Self::SgxType,
            Self::Instance,
            Self::Configuration,
            Self::AuthorityConstraints,
            Self::AuthoritySigns,
            Self::AuthorityRevokes,
        ]
        .into_iter()
        .chain((1..=16).map(Self::TcbComponent))
    }
}
