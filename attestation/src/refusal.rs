//! Why evidence was not accepted.
//!
//! Every variant has a code that never changes: metrics count it, receipts and documents hold it, tests compare it.
//! The variants stand in the order in which the checks run, so that the same wrong evidence always gets the same code.
//! `docs/attestation.md` has them as a table, and a test compares the two.

use crate::{Hex, Role, Standing, Tier, gpu::GpuRefusal};

/// The sentence says what is wrong and what to do about it. Nothing here is secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the {part} has {bytes} bytes, more than the {max} that are read")]
    TooLarge { part: Part, bytes: usize, max: usize },
    #[error("the {part} cannot be read: {why}")]
    Malformed { part: Part, why: &'static str },
    #[error(
        "the quote is of a kind that is not verified here ({what}); use a TDX guest with ECDSA P-256 quotes of version 4 or 5"
    )]
    QuoteUnsupported { what: &'static str },
    #[error("there is no quote where one is needed; run the peer in a TDX guest, or ask for the tier open")]
    QuoteMissing,
    #[error("the evidence is of a {found}, and a {expected} was expected; connect to the right program")]
    RoleMismatch { expected: Role, found: Role },
    #[error("the claims name another TLS key than the certificate has; issue the certificate anew")]
    SpkiMismatch,
    #[error(
        "the quote was not made for this use, key or connection (its report data differ); the evidence is copied or relayed"
    )]
    BindingMismatch,
    #[error("the claims hold from {not_before}, and now is {now}; set the clocks right")]
    ClaimsNotYetValid { not_before: u64, now: u64 },
    #[error("the claims ended at {not_after}, and now is {now}; the peer must renew its certificate")]
    ClaimsExpired { not_after: u64, now: u64 },
    #[error("the claims hold for {seconds} s, longer than the {max} s allowed; issue shorter ones")]
    ClaimsTooLong { seconds: u64, max: u64 },
    #[error("the policy accepts no certificates in Cocoon's format; set interop to cocoon if you mean to")]
    InteropRefused,
    #[error("no image of the policy has these measurements (MRTD {mrtd}); add the image or run one that is listed")]
    ImageUnknown { mrtd: Box<Hex<48>> },
    #[error("the image {image} is not listed for the role {role}; add the role to the image if it may play it")]
    ImageRole { image: String, role: Role },
    #[error("the guest can be debugged by its host (TD attributes {found}); start it without debug")]
    TdDebug { found: Hex<8> },
    #[error("the guest has TD attributes {found}, and the image must have {expected}")]
    TdAttributes { expected: Hex<8>, found: Hex<8> },
    #[error("the guest has XFAM {found}, and the image must have {expected}")]
    Xfam { expected: Hex<8>, found: Hex<8> },
    #[error("the guest's {register} is {found}, and the image must have {expected}")]
    TdConfig {
        register: Register,
        expected: Box<Hex<48>>,
        found: Box<Hex<48>>,
    },
    #[error("the TDX module (MRSEAM {found}) is not one that the image is listed with")]
    ModuleUnlisted { found: Box<Hex<48>> },
    #[error("a service TD is bound to the guest, which could read or move it; start the guest without one")]
    ServiceTd,
    #[error(
        "the claims name {}, and the policy lists the weights that may be served; serve from a listed manifest, and name it with --claim-models",
        match .found { Some(found) => format!("the weights {found}"), None => "no weights".to_owned() }
    )]
    ModelUnlisted { found: Option<Hex<32>> },
    #[error("the quote holds no chain of PCK certificates; configure the quoting service to embed it (type 5)")]
    CertificationUnsupported,
    #[error("there is no collateral for FMSPC {fmspc} ({ca} CA) yet; it is fetched in the background, try again")]
    CollateralMissing { fmspc: Hex<6>, ca: &'static str },
    #[error(
        "the collateral's {part} holds from {from}, and now is {now}; set the clock right or give other collateral"
    )]
    CollateralNotYetValid { part: Part, from: u64, now: u64 },
    #[error("the collateral's {part} ended at {until}, and now is {now}; refresh the collateral")]
    CollateralExpired { part: Part, until: u64, now: u64 },
    #[error(
        "the collateral's {part} is older than one known before ({known} > {found}); somebody serves old collateral"
    )]
    CollateralRolledBack { part: Part, known: u64, found: u64 },
    #[error("the collateral's {part} is not signed under the trust anchor; fetch it from Intel or an honest cache")]
    CollateralUntrusted { part: Part },
    #[error("the collateral's {part} is of another platform or kind than the quote; fetch what belongs to it")]
    CollateralMismatch { part: Part },
    #[error("the PCK certificate of the platform does not lead to the trust anchor")]
    ChainUntrusted,
    #[error("a certificate of the platform is outside its dates; re-register the platform")]
    ChainExpired,
    #[error("a certificate of the platform was revoked by Intel; this machine must not be used")]
    PckRevoked,
    #[error("the quoting enclave's report is not signed by the platform's PCK, or not about the attestation key")]
    QeUntrusted,
    #[error("the quoting enclave is not the one that Intel describes; update the platform's quoting service")]
    QeIdentity,
    #[error("the signature of the quote is wrong; the quote was changed or made up")]
    QuoteSignature,
    #[error("the TDX module is not one that Intel vouches for; update the platform's firmware")]
    ModuleUntrusted,
    #[error("the platform's versions are below every TCB level that Intel lists; update its firmware")]
    TcbUnknown,
    #[error("the quote cannot be verified")]
    QuoteUnverified,
    #[error("the quote leads to another root key than the trust anchor's")]
    AnchorMismatch,
    #[error(
        "the platform stands at {standing} ({}), which the policy does not accept; update its firmware",
        list(.advisories)
    )]
    TcbRefused {
        standing: Standing,
        advisories: Vec<String>,
    },
    #[error(
        "the platform's TCB level is of {date}, and the policy's grace of {grace_days} days is over; update its firmware"
    )]
    TcbGraceOver { date: u64, grace_days: u16 },
    #[error("the policy refuses platforms that {advisory} applies to; update its firmware")]
    AdvisoryRejected { advisory: String },
    #[error(
        "the collateral is of TCB evaluation {found}, and the policy asks for {min} or later; refresh the collateral"
    )]
    EvaluationTooLow { found: u32, min: u32 },
    #[error("the TDX module's versions {found} are below the policy's {min}; update the platform's firmware")]
    ModuleTooOld { found: Hex<16>, min: Hex<16> },
    #[error("the platform (PPID {ppid}) is not on the policy's list; add it if you know whose it is")]
    PlatformUnlisted { ppid: Hex<16> },
    #[error(
        "the GPU evidence is not what the claims name, or they name none; send what was collected for this certificate"
    )]
    GpuMismatch,
    #[error("there is no GPU evidence, and the policy asks for tier tee+gpu; collect it and name it in the claims")]
    GpuMissing,
    /// What it says of the devices, under its own codes.
    #[error(transparent)]
    Gpu(#[from] GpuRefusal),
    #[error("the evidence reaches tier {tier}, and the policy asks for {min}")]
    TierTooLow { tier: Tier, min: Tier },
    #[error("the second quote is of another guest than the first; the connection is relayed")]
    ImageChanged,
    #[error("the second quote is of another platform than the first; the connection is relayed")]
    PlatformChanged,
}

/// What could not be read or is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Evidence,
    Quote,
    Claims,
    TcbInfo,
    TcbInfoChain,
    QeIdentity,
    QeIdentityChain,
    PckCrl,
    PckCrlChain,
    RootCaCrl,
    RootCa,
}

/// A measured register that is compared on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    MrConfigId,
    MrOwner,
    MrOwnerConfig,
}

impl Refusal {
    /// Stable; never shown alone to a person.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::QuoteUnsupported { .. } => "quote_unsupported",
            Self::QuoteMissing => "quote_missing",
            Self::RoleMismatch { .. } => "role_mismatch",
            Self::SpkiMismatch => "spki_mismatch",
            Self::BindingMismatch => "binding_mismatch",
            Self::ClaimsNotYetValid { .. } => "claims_not_yet_valid",
            Self::ClaimsExpired { .. } => "claims_expired",
            Self::ClaimsTooLong { .. } => "claims_too_long",
            Self::InteropRefused => "interop_refused",
            Self::ImageUnknown { .. } => "image_unknown",
            Self::ImageRole { .. } => "image_role",
            Self::TdDebug { .. } => "td_debug",
            Self::TdAttributes { .. } => "td_attributes",
            Self::Xfam { .. } => "xfam",
            Self::TdConfig { .. } => "td_config",
            Self::ModuleUnlisted { .. } => "module_unlisted",
            Self::ServiceTd => "service_td",
            Self::ModelUnlisted { .. } => "model_unlisted",
            Self::CertificationUnsupported => "certification_unsupported",
            Self::CollateralMissing { .. } => "collateral_missing",
            Self::CollateralNotYetValid { .. } => "collateral_not_yet_valid",
            Self::CollateralExpired { .. } => "collateral_expired",
            Self::CollateralRolledBack { .. } => "collateral_rolled_back",
            Self::CollateralUntrusted { .. } => "collateral_untrusted",
            Self::CollateralMismatch { .. } => "collateral_mismatch",
            Self::ChainUntrusted => "chain_untrusted",
            Self::ChainExpired => "chain_expired",
            Self::PckRevoked => "pck_revoked",
            Self::QeUntrusted => "qe_untrusted",
            Self::QeIdentity => "qe_identity",
            Self::QuoteSignature => "quote_signature",
            Self::ModuleUntrusted => "module_untrusted",
            Self::TcbUnknown => "tcb_unknown",
            Self::QuoteUnverified => "quote_unverified",
            Self::AnchorMismatch => "anchor_mismatch",
            Self::TcbRefused { .. } => "tcb_refused",
            Self::TcbGraceOver { .. } => "tcb_grace_over",
            Self::AdvisoryRejected { .. } => "advisory_rejected",
            Self::EvaluationTooLow { .. } => "evaluation_too_low",
            Self::ModuleTooOld { .. } => "module_too_old",
            Self::PlatformUnlisted { .. } => "platform_unlisted",
            Self::GpuMismatch => "gpu_mismatch",
            Self::GpuMissing => "gpu_missing",
            Self::Gpu(refusal) => refusal.code(),
            Self::TierTooLow { .. } => "tier_too_low",
            Self::ImageChanged => "image_changed",
            Self::PlatformChanged => "platform_changed",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Evidence => "evidence",
            Self::Quote => "quote",
            Self::Claims => "claims",
            Self::TcbInfo => "TCB info",
            Self::TcbInfoChain => "chain of the TCB info",
            Self::QeIdentity => "QE identity",
            Self::QeIdentityChain => "chain of the QE identity",
            Self::PckCrl => "PCK CRL",
            Self::PckCrlChain => "chain of the PCK CRL",
            Self::RootCaCrl => "root CA CRL",
            Self::RootCa => "root CA",
        })
    }
}

impl std::fmt::Display for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MrConfigId => "MRCONFIGID",
            Self::MrOwner => "MROWNER",
            Self::MrOwnerConfig => "MROWNERCONFIG",
        })
    }
}

fn list(advisories: &[String]) -> String {
    if advisories.is_empty() {
        "no advisories".to_owned()
    } else {
        advisories.join(", ")
    }
}
