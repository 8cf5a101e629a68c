//! Answers about revocation that come along with the evidence: OCSP (RFC 6960), verified here and asked for by the worker.
//!
//! Taken: an answer `good` about exactly this certificate, signed by the certificate's issuer or by a responder that the
//! issuer certified for that (id-kp-OCSPSigning), at most a day old whatever it says of itself. An answer without
//! nextUpdate, as NVIDIA's may be, counts for that day. Answers are not bound to a request's nonce: they are made to be
//! passed on.
//!
//! A revoked certificate is refused for whatever reason: NVIDIA puts a device on hold, which is `certificateHold`.

mod request;

use aws_lc_rs::{
    digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest},
    signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey},
};
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::asn1_rs::{FromDer, GeneralizedTime},
};

use super::{
    GpuRefusal, chain,
    der::{Der, Element, tag, whole_bytes},
};

/// Who answers for the certificates of NVIDIA's devices.
pub const NVIDIA_OCSP: &str = "https://ocsp.ndis.nvidia.com/";

/// How old an answer may be at most, in seconds.
pub(super) const AGE_MAX_S: u32 = 24 * 60 * 60;

pub(super) const RESPONSE_BYTES_MAX: usize = 8 << 10;

/// How far the responder's clock may be ahead of ours.
const AHEAD_MAX_S: u64 = 300;

/// Certificates that an answer may bring along, and certificates that it may speak of.
const CERTIFICATES_MAX: usize = 4;
const ANSWERS_MAX: usize = 16;

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// ecdsa-with-SHA384, 1.2.840.10045.4.3.3
const ECDSA_WITH_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const ID_SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const ID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const ID_SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];

/// The one status of a response that holds anything.
const SUCCESSFUL: &[u8] = &[0];

const MALFORMED: GpuRefusal = GpuRefusal::Malformed { what: "an OCSP answer" };

/// A response, parsed and not yet believed.
pub(super) struct Staple<'a> {
    signed: &'a [u8],
    responder: Responder<'a>,
    answers: Vec<Answer<'a>>,
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<X509Certificate<'a>>,
}

enum Responder<'a> {
    /// A Name, as DER.
    Name(&'a [u8]),
    /// SHA-1 of the bits of its key.
    Key(&'a [u8]),
}

struct Answer<'a> {
    hash: &'static Algorithm,
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: Status,
    this_update: u64,
    next_update: Option<u64>,
}

#[derive(Clone, Copy)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

/// Until when `certificate` is known not to be revoked.
///
/// Of several answers about it one that says `revoked` counts, then the one that is good for longest.
pub(super) fn good_until(
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    staples: &[Staple<'_>],
    age_max_s: u32,
    now: u64,
) -> Result<u64, GpuRefusal> {
    let mut best = Err(GpuRefusal::OcspMissing {
        serial: chain::serial(certificate),
    });
    for staple in staples {
        for answer in staple
            .answers
            .iter()
            .filter(|answer| answer.is_about(certificate, issuer))
        {
            let one = staple
                .signed_for(issuer, now)
                .and_then(|()| answer.good_until(certificate, age_max_s, now));
            best = match (best, one) {
                (_, Err(refusal @ GpuRefusal::OcspRevoked { .. })) => return Err(refusal),
                (Ok(known), Ok(until)) => Ok(until.max(known)),
                (Ok(known), Err(_)) => Ok(known),
                (Err(_), Ok(until)) => Ok(until),
                (Err(GpuRefusal::OcspMissing { .. }), Err(refusal)) => Err(refusal),
                (Err(first), Err(_)) => Err(first),
            };
        }
    }
    best
}

impl<'a> Staple<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, GpuRefusal> {
        if der.len() > RESPONSE_BYTES_MAX {
            return Err(GpuRefusal::TooLarge { what: "an OCSP answer" });
        }
        let basic = basic_response(der).ok_or(MALFORMED)?;
        let (staple, certificates) = Self::basic(basic).ok_or(MALFORMED)?;
        let certificates = certificates.into_iter().map(chain::parse).collect::<Result<_, _>>()?;
        Ok(Self { certificates, ..staple })
    }

    fn basic(der: &'a [u8]) -> Option<(Self, Vec<&'a [u8]>)> {
        let mut outer = Der::new(der);
        let mut fields = outer.inside(tag::SEQUENCE)?;
        outer.end()?;
        let data = fields.expect(tag::SEQUENCE)?;
        let mut algorithm = fields.inside(tag::SEQUENCE)?;
        let signature = whole_bytes(fields.content(tag::BIT_STRING)?)?;
        let mut certificates = Vec::new();
        if fields.next_is(tag::constructed(0)) {
            let mut list = fields.inside(tag::constructed(0))?;
            let mut list = list.inside(tag::SEQUENCE).filter(|_| list.is_empty())?;
            while !list.is_empty() && certificates.len() < CERTIFICATES_MAX {
                certificates.push(list.expect(tag::SEQUENCE)?.raw);
            }
            list.end()?;
        }
        fields.end()?;
        let (responder, answers) = response_data(data.content)?;
        let oid = algorithm.content(tag::OID)?;
        algorithm.end()?;
        let staple = Self {
            signed: data.raw,
            responder,
            answers,
            algorithm: oid,
            signature,
            certificates: Vec::new(),
        };
        Some((staple, certificates))
    }

    /// By the issuer itself, or by a responder that came along and that the issuer certified for OCSP and nothing else.
    fn signed_for(&self, issuer: &X509Certificate<'_>, now: u64) -> Result<(), GpuRefusal> {
        let signer = match self.responder.is(issuer) {
            true => issuer,
            false => {
                let delegate = self
                    .certificates
                    .iter()
                    .find(|one| self.responder.is(one))
                    .ok_or(GpuRefusal::OcspSignature)?;
                delegated(delegate, issuer, now)?;
                delegate
            }
        };
        let point = chain::point(signer.public_key()).map_err(|_| GpuRefusal::OcspSignature)?;
        if self.algorithm != ECDSA_WITH_SHA384 {
            return Err(GpuRefusal::OcspSignature);
        }
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point)
            .verify(self.signed, self.signature)
            .map_err(|_| GpuRefusal::OcspSignature)
    }
}

fn delegated(responder: &X509Certificate<'_>, issuer: &X509Certificate<'_>, now: u64) -> Result<(), GpuRefusal> {
    let for_ocsp =
        |usage: Option<_>| usage.is_some_and(|usage: x509_parser::extensions::ExtendedKeyUsage<'_>| usage.ocsp_signing);
    let extended = responder.extended_key_usage().map_err(|_| GpuRefusal::OcspSignature)?;
    let uses = chain::Uses::of(responder).map_err(|_| GpuRefusal::OcspSignature)?;
    if !for_ocsp(extended.map(|extension| extension.value.clone())) || uses.authority.is_some() || !uses.signs {
        return Err(GpuRefusal::OcspSignature);
    }
    chain::signed_by(responder, issuer)
        .and_then(|()| chain::dated(responder, now))
        .map_err(|_| GpuRefusal::OcspSignature)
}

impl Responder<'_> {
    fn is(&self, certificate: &X509Certificate<'_>) -> bool {
        match self {
            Self::Name(name) => *name == certificate.subject().as_raw(),
            Self::Key(hash) => {
                let bits = &certificate.public_key().subject_public_key.data;
                *hash == digest(&SHA1_FOR_LEGACY_USE_ONLY, bits).as_ref()
            }
        }
    }
}

impl Answer<'_> {
    /// SHA-1 may name the issuer: it only chooses the answer, whose signer must be the issuer's in any case.
    fn is_about(&self, certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
        self.serial == certificate.raw_serial()
            && self.issuer_name == digest(self.hash, issuer.subject().as_raw()).as_ref()
            && self.issuer_key == digest(self.hash, &issuer.public_key().subject_public_key.data).as_ref()
    }

    fn good_until(&self, certificate: &X509Certificate<'_>, age_max_s: u32, now: u64) -> Result<u64, GpuRefusal> {
        let serial = || chain::serial(certificate);
        match self.status {
            Status::Good => {}
            Status::Revoked => return Err(GpuRefusal::OcspRevoked { serial: serial() }),
            Status::Unknown => return Err(GpuRefusal::OcspUnknown { serial: serial() }),
        }
        if self.this_update > now.saturating_add(AHEAD_MAX_S) {
            return Err(GpuRefusal::OcspNotYet);
        }
        let oldest = self.this_update.saturating_add(age_max_s.into());
        let until = self.next_update.map_or(oldest, |next| next.min(oldest));
        match now < until {
            true => Ok(until),
            false => Err(GpuRefusal::OcspExpired),
        }
    }
}

/// The BasicOCSPResponse inside an OCSPResponse.
fn basic_response(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Der::new(der);
    let mut fields = outer.inside(tag::SEQUENCE)?;
    outer.end()?;
    let status = fields.content(tag::ENUMERATED)?;
    let mut wrapped = fields.inside(tag::constructed(0))?;
    fields.end()?;
    let mut bytes = wrapped.inside(tag::SEQUENCE)?;
    wrapped.end()?;
    let kind = bytes.content(tag::OID)?;
    let basic = bytes.content(tag::OCTET_STRING)?;
    bytes.end()?;
    (status == SUCCESSFUL && kind == BASIC).then_some(basic)
}

fn response_data(content: &[u8]) -> Option<(Responder<'_>, Vec<Answer<'_>>)> {
    let mut fields = Der::new(content);
    // Version 1 is the default, which DER leaves out. There is no other.
    let responder = fields.element()?;
    let responder = match responder.tag {
        by_name if by_name == tag::constructed(1) => Responder::Name(only(responder, tag::SEQUENCE)?.raw),
        by_key if by_key == tag::constructed(2) => Responder::Key(only(responder, tag::OCTET_STRING)?.content),
        _ => return None,
    };
    fields.content(tag::GENERALIZED_TIME)?;
    let mut list = fields.inside(tag::SEQUENCE)?;
    extensions(&mut fields, 1)?;
    fields.end()?;
    let mut answers = Vec::new();
    while !list.is_empty() && answers.len() < ANSWERS_MAX {
        answers.push(answer(list.inside(tag::SEQUENCE)?)?);
    }
    list.end()?;
    Some((responder, answers))
}

fn answer(mut fields: Der<'_>) -> Option<Answer<'_>> {
    let mut id = fields.inside(tag::SEQUENCE)?;
    let hash = hash(id.inside(tag::SEQUENCE)?)?;
    let issuer_name = id.content(tag::OCTET_STRING)?;
    let issuer_key = id.content(tag::OCTET_STRING)?;
    let serial = id.content(tag::INTEGER)?;
    id.end()?;
    let status = fields.element()?;
    let status = match (status.tag, status.content) {
        (good, []) if good == tag::primitive(0) => Status::Good,
        (revoked, _) if revoked == tag::constructed(1) => Status::Revoked,
        (unknown, []) if unknown == tag::primitive(2) => Status::Unknown,
        _ => return None,
    };
    let this_update = time(fields.expect(tag::GENERALIZED_TIME)?)?;
    let mut next_update = None;
    if fields.next_is(tag::constructed(0)) {
        next_update = Some(time(only(fields.element()?, tag::GENERALIZED_TIME)?)?);
    }
    extensions(&mut fields, 1)?;
    fields.end()?;
    Some(Answer {
        hash,
        issuer_name,
        issuer_key,
        serial,
        status,
        this_update,
        next_update,
    })
}

/// What `[number]` holds where it stands: no extension of an answer changes what we read, unless it is critical.
fn extensions(fields: &mut Der<'_>, number: u8) -> Option<()> {
    if !fields.next_is(tag::constructed(number)) {
        return Some(());
    }
    let mut list = Der::new(only(fields.element()?, tag::SEQUENCE)?.content);
    while !list.is_empty() {
        let mut extension = list.inside(tag::SEQUENCE)?;
        extension.content(tag::OID)?;
        // `critical` is left out where it is false.
        extension.content(tag::OCTET_STRING)?;
        extension.end()?;
    }
    Some(())
}

/// The one element inside another.
fn only(outer: Element<'_>, tag: u8) -> Option<Element<'_>> {
    let mut inside = Der::new(outer.content);
    inside.expect(tag).filter(|_| inside.is_empty())
}

fn hash(mut algorithm: Der<'_>) -> Option<&'static Algorithm> {
    let hash = match algorithm.content(tag::OID)? {
        ID_SHA1 => &SHA1_FOR_LEGACY_USE_ONLY,
        ID_SHA256 => &SHA256,
        ID_SHA384 => &SHA384,
        _ => return None,
    };
    // NULL or nothing: both are written.
    match algorithm.is_empty() || algorithm.element().is_some_and(|null| null.raw == [5, 0]) {
        true => algorithm.end().map(|()| hash),
        false => None,
    }
}

fn time(element: Element<'_>) -> Option<u64> {
    let ([], time) = GeneralizedTime::from_der(element.raw).ok()? else {
        return None;
    };
    u64::try_from(time.utc_datetime().ok()?.unix_timestamp()).ok()
}
