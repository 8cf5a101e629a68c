//! Entity attestation tokens (EAT, RFC 9711) of NVIDIA's attestation service (NRAS, v3 claims): what NVIDIA says that it
//! found in the same evidence.
//!
//! ```text
//! [["JWT", overall], {"GPU-0": jwt, …}]          a detached EAT; each JWT is ES384
//! overall.submods = {"GPU-0": ["DIGEST", ["SHA-256", hex of SHA-256(jwt)]], …}
//! ```
//! Both signatures are checked, against keys that stand in the policy (they rotate; the service publishes them as JWKS).
//! An EAT must stand for exactly the GPUs whose reports we verified ourselves: by the serial of the leaf, by driver and
//! by VBIOS. It adds one thing: NVIDIA asked its OCSP responder. Switches have EATs of another kind, which are not read.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Device, GpuRefusal};
use crate::{Hex, digest::sha256};

pub(super) const EAT_BYTES_MAX: usize = 64 << 10;

/// How far the service's clock may be ahead of ours.
const AHEAD_MAX_S: u64 = 300;

const MALFORMED: GpuRefusal = GpuRefusal::Malformed { what: "an EAT" };

/// A service whose EATs are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nras {
    /// `https://nras.attestation.nvidia.com`
    pub issuer: String,
    pub keys: Vec<NrasKey>,
}

/// One of its P-384 keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NrasKey {
    pub kid: String,
    pub x: Hex<48>,
    pub y: Hex<48>,
}

impl NrasKey {
    /// The keys of a JWKS document (RFC 7517) that sign with ES384.
    pub fn from_jwks(document: &[u8]) -> Result<Vec<Self>, GpuRefusal> {
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<Jwk>,
        }
        #[derive(Deserialize)]
        struct Jwk {
            kid: String,
            crv: String,
            x: String,
            y: String,
        }
        let malformed = GpuRefusal::Malformed {
            what: "a JWKS document",
        };
        let jwks = serde_json::from_slice::<Jwks>(document).map_err(|_| malformed.clone())?;
        let coordinate = |text: &str| {
            let bytes = URL_SAFE_NO_PAD
                .decode(text)
                .ok()
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map(Hex).ok_or(malformed.clone())
        };
        let p384 = jwks.keys.iter().filter(|key| key.crv == "P-384");
        p384.map(|key| {
            Ok(Self {
                kid: key.kid.clone(),
                x: coordinate(&key.x)?,
                y: coordinate(&key.y)?,
            })
        })
        .collect()
    }
}

/// An EAT taken apart and not yet believed.
pub(super) struct Eat<'a> {
    overall: Jwt<'a, Overall>,
    devices: BTreeMap<String, (Jwt<'a, Claims>, Hex<32>)>,
}

struct Jwt<'a, C> {
    kid: String,
    signed: &'a str,
    signature: Vec<u8>,
    claims: C,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Extensions that must be understood; we understand none.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Overall {
    iss: String,
    nbf: u64,
    exp: u64,
    eat_nonce: Hex<32>,
    #[serde(rename = "x-nvidia-overall-att-result")]
    result: bool,
    submods: BTreeMap<String, (String, (String, Hex<32>))>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    nbf: u64,
    exp: u64,
    eat_nonce: Hex<32>,
    ueid: String,
    hwmodel: String,
    measres: String,
    dbgstat: Option<String>,
    secboot: Option<bool>,
    #[serde(rename = "x-nvidia-gpu-driver-version")]
    driver: Option<String>,
    #[serde(rename = "x-nvidia-gpu-vbios-version")]
    vbios: Option<String>,
    #[serde(rename = "x-nvidia-gpu-attestation-report-cert-chain")]
    chain: ChainClaims,
}

#[derive(Deserialize)]
struct ChainClaims {
    #[serde(rename = "x-nvidia-cert-status")]
    status: String,
    #[serde(rename = "x-nvidia-cert-ocsp-status")]
    ocsp: String,
}

impl<'a> Eat<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, GpuRefusal> {
        type Detached<'a> = ((&'a str, &'a str), BTreeMap<&'a str, &'a str>);
        if text.len() > EAT_BYTES_MAX {
            return Err(GpuRefusal::TooLarge { what: "an EAT" });
        }
        let ((kind, overall), devices) = serde_json::from_str::<Detached<'_>>(text).map_err(|_| MALFORMED)?;
        if kind != "JWT" {
            return Err(MALFORMED);
        }
        let device = |(name, jwt): (&str, &'a str)| {
            let hash = sha256(&[jwt.as_bytes()]);
            Ok((name.to_owned(), (Jwt::parse(jwt)?, hash)))
        };
        Ok(Self {
            overall: Jwt::parse(overall)?,
            devices: devices.into_iter().map(device).collect::<Result<_, _>>()?,
        })
    }

    /// Until when it counts.
    pub(super) fn verify(
        &self,
        nras: &Nras,
        nonce: &[u8; 32],
        devices: &[Device],
        now: u64,
    ) -> Result<u64, GpuRefusal> {
        self.overall.verify(nras)?;
        self.devices.values().try_for_each(|(jwt, _)| jwt.verify(nras))?;

        let overall = &self.overall.claims;
        about(&overall.iss, overall.eat_nonce, nras, nonce)?;
        let mut until = dated(overall.nbf, overall.exp, now)?;
        if !overall.result {
            return Err(GpuRefusal::EatClaim {
                claim: "x-nvidia-overall-att-result",
            });
        }
        self.signed_submodules()?;

        let mut left = devices
            .iter()
            .filter(|device| !device.arch.is_switch())
            .collect::<Vec<_>>();
        for (jwt, _) in self.devices.values() {
            let claims = &jwt.claims;
            about(&claims.iss, claims.eat_nonce, nras, nonce)?;
            until = until.min(dated(claims.nbf, claims.exp, now)?);
            let is_it = |device: &&Device| claims.is_about(device);
            let index = left.iter().position(is_it).ok_or(GpuRefusal::EatDevices)?;
            claims.accept(left.swap_remove(index))?;
        }
        match left.is_empty() {
            true => Ok(until),
            false => Err(GpuRefusal::EatDevices),
        }
    }

    /// The signed part lists exactly the submodules that came.
    fn signed_submodules(&self) -> Result<(), GpuRefusal> {
        let listed = &self.overall.claims.submods;
        let is_listed = |(name, (_, hash)): (&String, &(Jwt<'_, Claims>, Hex<32>))| {
            let (kind, (algorithm, digest)) = listed.get(name)?;
            (kind == "DIGEST" && algorithm == "SHA-256" && digest == hash).then_some(())
        };
        match listed.len() == self.devices.len() && self.devices.iter().all(|one| is_listed(one).is_some()) {
            true => Ok(()),
            false => Err(GpuRefusal::EatDevices),
        }
    }
}

impl Claims {
    /// `ueid` is the serial of the leaf, in decimal.
    fn is_about(&self, device: &Device) -> bool {
        decimal(&self.ueid).is_some_and(|ueid| ueid == device.ueid.trim_start_matches('0'))
    }

    fn accept(&self, device: &Device) -> Result<(), GpuRefusal> {
        let checks = [
            ("hwmodel", self.hwmodel == device.model),
            ("measres", self.measres == "success"),
            ("dbgstat", self.dbgstat.as_deref() == Some("disabled")),
            ("secboot", self.secboot == Some(true)),
            ("x-nvidia-gpu-driver-version", self.driver == device.driver),
            ("x-nvidia-gpu-vbios-version", self.vbios.as_ref() == Some(&device.vbios)),
            ("x-nvidia-cert-status", self.chain.status == "valid"),
            ("x-nvidia-cert-ocsp-status", self.chain.ocsp == "good"),
        ];
        match checks.into_iter().find(|(_, holds)| !holds) {
            Some((claim, _)) => Err(GpuRefusal::EatClaim { claim }),
            None => Ok(()),
        }
    }
}

impl<'a, C: DeserializeOwned> Jwt<'a, C> {
    fn parse(jwt: &'a str) -> Result<Self, GpuRefusal> {
        let (signed, signature) = jwt.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        let header = json::<Header>(header)?;
        if header.alg != "ES384" || header.crit.is_some() {
            return Err(MALFORMED);
        }
        Ok(Self {
            kid: header.kid,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?,
            claims: json(claims)?,
        })
    }
}

impl<C> Jwt<'_, C> {
    fn verify(&self, nras: &Nras) -> Result<(), GpuRefusal> {
        let key = nras
            .keys
            .iter()
            .find(|key| key.kid == self.kid)
            .ok_or(GpuRefusal::EatSignature)?;
        let point = [&[4], &key.x.0[..], &key.y.0[..]].concat();
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
            .verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| GpuRefusal::EatSignature)
    }
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, GpuRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)?;
    serde_json::from_slice(&bytes).map_err(|_| MALFORMED)
}

fn about(issuer: &str, eat_nonce: Hex<32>, nras: &Nras, nonce: &[u8; 32]) -> Result<(), GpuRefusal> {
    if issuer != nras.issuer {
        return Err(GpuRefusal::EatClaim { claim: "iss" });
    }
    match eat_nonce.0 == *nonce {
        true => Ok(()),
        false => Err(GpuRefusal::EatClaim { claim: "eat_nonce" }),
    }
}

fn dated(nbf: u64, exp: u64, now: u64) -> Result<u64, GpuRefusal> {
    if nbf > now.saturating_add(AHEAD_MAX_S) {
        return Err(GpuRefusal::EatNotYet);
    }
    match now < exp {
        true => Ok(exp),
        false => Err(GpuRefusal::EatExpired),
    }
}

/// A number of up to 20 bytes, from decimal to hex without leading zeros.
fn decimal(text: &str) -> Option<String> {
    let mut bytes = [0u8; 20];
    for character in text.chars() {
        let mut carry = u16::try_from(character.to_digit(10)?).ok()?;
        for byte in bytes.iter_mut().rev() {
            let value = u16::from(*byte).checked_mul(10)?.checked_add(carry)?;
            let [high, low] = value.to_be_bytes();
            *byte = low;
            carry = high.into();
        }
        if carry != 0 {
            return None;
        }
    }
    let hex = Hex(bytes).to_string();
    Some(hex.trim_start_matches('0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn a_serial_in_decimal_is_the_same_in_hex() {
        // The switch of NVIDIA's sample EAT, and the serial in its certificate.
        let switch = decimal("694931143880983876767046803400974855445978836716");
        assert_eq!(switch.as_deref(), Some("79b9ca4c9b3e25c1015f3ddbfa80ace2d70c6eec"));
        assert_eq!(decimal("4096").as_deref(), Some("1000"));
        assert_eq!(decimal("12a"), None);
        assert_eq!(decimal(&"9".repeat(49)), None, "more than 20 bytes");
    }
}
