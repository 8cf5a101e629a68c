//! The certificates of a device, from the key of its firmware up to the anchor.
//!
//! ```text
//! 0 leaf          GH100 A01 GSP FMC LF              made by the device at each change of firmware, signs the report
//! 1 device        GH100 A01 GSP BROM                the chip's own
//! 2 provisioner   NVIDIA GH100 Provisioner ICA 1
//! 3 family        NVIDIA GH100 Identity             an NVSwitch has the same one
//! 4 root          NVIDIA Device Identity CA
//! ```
//! Hopper, Blackwell and LS10 all have these five, on P-384 with SHA-384; another shape is refused.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use x509_parser::{
    certificate::X509Certificate,
    extensions::ParsedExtension,
    oid_registry::{Oid, asn1_rs::oid},
    prelude::FromDer,
    x509::{SubjectPublicKeyInfo, X509Name},
};

use super::{
    Arch, GpuAnchor, GpuRefusal,
    der::{Der, tag, whole_bytes},
};
use crate::digest::sha256;

/// The largest seen has 896 bytes.
pub(super) const CERTIFICATE_BYTES_MAX: usize = 4 << 10;

pub(super) const LENGTH: usize = 5;

/// SHA-256 of the NVIDIA Device Identity CA, serial 2d3670b1ca100411c1fec0e82a065b54, as it stands in every chain seen and
/// in NVIDIA's nvtrust (`verifier_device_root.pem`).
const NVIDIA: [u8; 32] = [
    0x10, 0x2b, 0xf6, 0x59, 0xd5, 0x41, 0x96, 0x14, 0xc9, 0xd8, 0xe6, 0xae, 0xce, 0xbc, 0x80, 0x45, 0x4e, 0xb2, 0x6b,
    0x1d, 0xf6, 0xa7, 0x69, 0xac, 0x72, 0x0b, 0x9a, 0x69, 0x0b, 0x16, 0x7b, 0x48,
];

/// A SubjectPublicKeyInfo up to the point: id-ecPublicKey, secp384r1, a BIT STRING of 97 bytes.
const P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];

/// An AlgorithmIdentifier: ecdsa-with-SHA384, 1.2.840.10045.4.3.3.
const ECDSA_WITH_SHA384: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

const BASIC_CONSTRAINTS: Oid<'_> = oid!(2.5.29.19);
const KEY_USAGE: Oid<'_> = oid!(2.5.29.15);

pub(super) struct Chain<'a> {
    certificates: [X509Certificate<'a>; LENGTH],
    root: &'a [u8],
}

impl<'a> Chain<'a> {
    pub(super) fn parse(chain: &'a [Vec<u8>]) -> Result<Self, GpuRefusal> {
        let certificates = chain.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
        let length = GpuRefusal::Chain { what: "the number" };
        Ok(Self {
            certificates: certificates.try_into().map_err(|_| length.clone())?,
            root: chain.last().ok_or(length)?,
        })
    }

    /// Sound from the leaf to the anchor, at this time.
    pub(super) fn verify(&self, anchor: &GpuAnchor, now: u64) -> Result<(), GpuRefusal> {
        let found = sha256(&[self.root]);
        let trusted = match anchor {
            GpuAnchor::Nvidia => found.0 == NVIDIA,
            GpuAnchor::Development(root) => self.ends_in(&parse(root)?),
        };
        if !trusted {
            return Err(GpuRefusal::Root { found });
        }
        let [leaf, authorities @ ..] = &self.certificates;
        is_leaf(leaf)?;
        for (below, authority) in (0u32..).zip(authorities) {
            is_authority(authority, below)?;
        }
        for (certificate, issuer) in self.certificates.iter().zip(authorities) {
            signed_by(certificate, issuer)?;
        }
        self.certificates
            .iter()
            .try_for_each(|certificate| dated(certificate, now))
    }

    /// The root is of this key: it may have been signed anew since the anchor was given.
    fn ends_in(&self, anchor: &X509Certificate<'_>) -> bool {
        let [.., root] = &self.certificates;
        root.public_key().raw == anchor.public_key().raw && signed_by(root, anchor).is_ok()
    }

    pub(super) fn leaf(&self) -> &X509Certificate<'a> {
        let [leaf, ..] = &self.certificates;
        leaf
    }

    fn device(&self) -> &X509Certificate<'a> {
        let [_, device, ..] = &self.certificates;
        device
    }

    /// The point of the key that signs reports.
    pub(super) fn leaf_point(&self) -> Result<&[u8], GpuRefusal> {
        point(self.leaf().public_key())
    }

    /// The SubjectPublicKeyInfo of the chip's own key.
    pub(super) fn device_key(&self) -> &[u8] {
        self.device().public_key().raw
    }

    pub(super) fn device_serial(&self) -> String {
        serial(self.device())
    }

    pub(super) fn leaf_serial(&self) -> String {
        serial(self.leaf())
    }

    /// The certificates whose revocation can be asked for, each with its issuer. The leaf is not among them: the device
    /// makes it, and nobody else knows of it.
    pub(super) fn revocable(&self) -> impl Iterator<Item = (&X509Certificate<'a>, &X509Certificate<'a>)> {
        let [_, below_root @ ..] = &self.certificates;
        let [_, _, issuers @ ..] = &self.certificates;
        below_root.iter().zip(issuers)
    }

    /// `GH100 A01 GSP BROM`
    pub(super) fn model(&self) -> Result<&str, GpuRefusal> {
        common_name(self.device().subject()).ok_or(NAME)
    }

    /// `GH100`
    pub(super) fn chip(&self) -> Result<&str, GpuRefusal> {
        let device = first_word(common_name(self.device().subject()).ok_or(NAME)?);
        match common_name(self.leaf().subject()).map(first_word) == Some(device) {
            true => Ok(device),
            false => Err(NAME),
        }
    }

    pub(super) fn arch(&self) -> Result<Arch, GpuRefusal> {
        let chip = self.chip()?;
        let numbered = |prefix| {
            let digits: Option<&str> = chip.strip_prefix(prefix);
            digits.is_some_and(|digits| digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit()))
        };
        match chip {
            "LS_10" => Ok(Arch::Ls10),
            _ if numbered("GH") => Ok(Arch::Hopper),
            _ if numbered("GB") => Ok(Arch::Blackwell),
            // NVIDIA's root stands over network cards and management chips too.
            _ => Err(GpuRefusal::Arch { found: chip.to_owned() }),
        }
    }
}

const NAME: GpuRefusal = GpuRefusal::Chain { what: "a name" };

/// One certificate and nothing after it.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, GpuRefusal> {
    let malformed = GpuRefusal::Malformed { what: "a certificate" };
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(GpuRefusal::TooLarge { what: "a certificate" });
    }
    let algorithm = algorithm(der).ok_or(malformed.clone())?;
    if algorithm != ECDSA_WITH_SHA384 {
        return Err(GpuRefusal::Chain { what: "an algorithm" });
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(malformed),
    }
}

/// The algorithm as it stands outside the signed part (RFC 5280 §4.1.1). No signature covers it and the tags around it,
/// and the parser reads more than one form of them: here they have one.
fn algorithm(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Der::new(der);
    let mut fields = outer.inside(tag::SEQUENCE)?;
    outer.end()?;
    fields.expect(tag::SEQUENCE)?;
    let algorithm = fields.expect(tag::SEQUENCE)?.raw;
    whole_bytes(fields.content(tag::BIT_STRING)?)?;
    fields.end().map(|()| algorithm)
}

pub(super) fn signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Result<(), GpuRefusal> {
    let signature = GpuRefusal::Chain { what: "a signature" };
    if certificate.issuer().as_raw() != issuer.subject().as_raw() {
        return Err(NAME);
    }
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point(issuer.public_key())?)
        .verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
        .map_err(|_| signature)
}

/// The uncompressed point of a P-384 key.
pub(super) fn point<'a>(key: &'a SubjectPublicKeyInfo<'_>) -> Result<&'a [u8], GpuRefusal> {
    let other = GpuRefusal::Chain { what: "a key" };
    let point = key.raw.strip_prefix(P384).ok_or(other.clone())?;
    match point {
        [4, ..] if point.len() == 97 => Ok(point),
        _ => Err(other),
    }
}

pub(super) fn dated(certificate: &X509Certificate<'_>, now: u64) -> Result<(), GpuRefusal> {
    let validity = certificate.validity();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if now < validity.not_before.timestamp() {
        return Err(GpuRefusal::ChainNotYet);
    }
    match now > validity.not_after.timestamp() {
        true => Err(GpuRefusal::ChainExpired),
        false => Ok(()),
    }
}

fn is_leaf(certificate: &X509Certificate<'_>) -> Result<(), GpuRefusal> {
    let uses = Uses::of(certificate)?;
    point(certificate.public_key())?;
    match uses.authority.is_none() && uses.signs {
        true => Ok(()),
        false => Err(GpuRefusal::Chain {
            what: "the use of the leaf",
        }),
    }
}

/// `below`: how many other authorities stand between it and the leaf.
fn is_authority(certificate: &X509Certificate<'_>, below: u32) -> Result<(), GpuRefusal> {
    let uses = Uses::of(certificate)?;
    let deep_enough = uses
        .authority
        .is_some_and(|limit| limit.is_none_or(|limit| below <= limit));
    match deep_enough && uses.certifies {
        true => Ok(()),
        false => Err(GpuRefusal::Chain {
            what: "the use of an authority",
        }),
    }
}

/// What a certificate may be used for.
pub(super) struct Uses {
    /// With how many authorities below it at most, where that is said.
    pub(super) authority: Option<Option<u32>>,
    pub(super) certifies: bool,
    pub(super) signs: bool,
}

impl Uses {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Result<Self, GpuRefusal> {
        let extension = GpuRefusal::Chain { what: "an extension" };
        // The map is refused where one stands twice.
        let extensions = certificate.extensions_map().map_err(|_| extension.clone())?;
        let mut uses = Self {
            authority: None,
            certifies: false,
            signs: false,
        };
        for (oid, one) in extensions {
            match one.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) if oid == BASIC_CONSTRAINTS => {
                    uses.authority = constraints.ca.then_some(constraints.path_len_constraint);
                }
                ParsedExtension::KeyUsage(usage) if oid == KEY_USAGE => {
                    uses.certifies = usage.key_cert_sign();
                    uses.signs = usage.digital_signature();
                }
                _ if one.critical => return Err(extension),
                _ => {}
            }
        }
        Ok(uses)
    }
}

pub(super) fn serial(certificate: &X509Certificate<'_>) -> String {
    let hex = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

/// The only one.
fn common_name<'a>(name: &'a X509Name<'_>) -> Option<&'a str> {
    let mut names = name.iter_common_name();
    let name = names.next().filter(|_| names.next().is_none())?;
    std::str::from_utf8(name.attr_value().data).ok()
}

fn first_word(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(word, _)| word)
}
