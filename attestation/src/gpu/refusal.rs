//! Why the evidence of GPUs was refused.

/// In order of precedence: of several things that are wrong the first is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuRefusal {
    #[error("{what} is larger than anything that we would read: send less")]
    TooLarge { what: &'static str },
    #[error("{what} is not in its format: collect the evidence anew with a current tool")]
    Malformed { what: &'static str },
    #[error("the report answers another nonce: collect it for the key and the date of this certificate")]
    Nonce,
    #[error("the certificate chain ends in {found}, which is not the root we trust: is this another vendor's device?")]
    Root { found: crate::Hex<32> },
    #[error("{what} in the certificate chain of the device is not as it must be")]
    Chain { what: &'static str },
    #[error("a certificate of the device is not valid yet: compare the clocks")]
    ChainNotYet,
    #[error("a certificate of the device has expired")]
    ChainExpired,
    #[error("the report is not signed by the device whose certificate came with it")]
    Signature,
    #[error("the device runs another firmware than its certificate was made for, or does not say which")]
    Fwid,
    #[error("a device is of a kind that the policy does not list: {found}")]
    Arch { found: String },
    #[error("a device is in mode {found}, which the policy does not list")]
    Mode { found: super::Mode },
    #[error("{found} GPUs sent evidence where the policy asks for {required}: attest every one")]
    Count { found: usize, required: u8 },
    #[error("the same device sent evidence twice")]
    Duplicate,
    #[error("a GPU is linked to switch {pdi}, which sent no evidence: attest every switch")]
    Switch { pdi: crate::Hex<8> },
    #[error("the policy has no measurements named {rim}: import NVIDIA's RIM of that name")]
    Rim { rim: String },
    #[error("{first} and {second} both claim index {index}: import them anew")]
    RimConflict { first: String, second: String, index: u8 },
    #[error("measurement {index} of a device is not one that {rim} allows")]
    Measurement { rim: String, index: u8 },
    #[error("no OCSP answer covers the certificate with serial {serial}: staple one of the last 24 hours")]
    OcspMissing { serial: String },
    #[error("an OCSP answer is not signed by the issuer of the certificate or whom it delegated")]
    OcspSignature,
    #[error("the certificate with serial {serial} is revoked or on hold: the device is not to be trusted")]
    OcspRevoked { serial: String },
    #[error("the issuer does not know the certificate with serial {serial}")]
    OcspUnknown { serial: String },
    #[error("an OCSP answer is from the future: compare the clocks")]
    OcspNotYet,
    #[error("an OCSP answer is too old: staple one of the last 24 hours")]
    OcspExpired,
    #[error("the EAT is not signed by a key that the policy lists for its issuer")]
    EatSignature,
    #[error("the EAT has expired: ask for a new one")]
    EatExpired,
    #[error("the EAT is not valid yet: compare the clocks")]
    EatNotYet,
    #[error("the EAT does not stand for exactly the GPUs that sent evidence")]
    EatDevices,
    #[error("the EAT's claim {claim} is not what it must be")]
    EatClaim { claim: &'static str },
}

impl GpuRefusal {
    /// For metrics, receipts and apps: it stays when the sentence is improved.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "gpu_too_large",
            Self::Malformed { .. } => "gpu_malformed",
            Self::Nonce => "gpu_nonce",
            Self::Root { .. } => "gpu_root",
            Self::Chain { .. } => "gpu_chain",
            Self::ChainNotYet => "gpu_chain_not_yet",
            Self::ChainExpired => "gpu_chain_expired",
            Self::Signature => "gpu_signature",
            Self::Fwid => "gpu_fwid",
            Self::Arch { .. } => "gpu_arch",
            Self::Mode { .. } => "gpu_mode",
            Self::Count { .. } => "gpu_count",
            Self::Duplicate => "gpu_duplicate",
            Self::Switch { .. } => "gpu_switch_missing",
            Self::Rim { .. } => "gpu_rim_missing",
            Self::RimConflict { .. } => "gpu_rim_conflict",
            Self::Measurement { .. } => "gpu_measurement",
            Self::OcspMissing { .. } => "gpu_ocsp_missing",
            Self::OcspSignature => "gpu_ocsp_signature",
            Self::OcspRevoked { .. } => "gpu_ocsp_revoked",
            Self::OcspUnknown { .. } => "gpu_ocsp_unknown",
            Self::OcspNotYet => "gpu_ocsp_not_yet",
            Self::OcspExpired => "gpu_ocsp_expired",
            Self::EatSignature => "gpu_eat_signature",
            Self::EatExpired => "gpu_eat_expired",
            Self::EatNotYet => "gpu_eat_not_yet",
            Self::EatDevices => "gpu_eat_devices",
            Self::EatClaim { .. } => "gpu_eat_claim",
        }
    }
}
