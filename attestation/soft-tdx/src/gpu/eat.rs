//! What an attestation service says: a detached EAT with v3 claims.

use attestation::gpu::{Nras, NrasKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::{
    chain::{common_name, serial},
    key::Key,
    recipe::{Device, Eat, Link, Recipe},
};

const ISSUER: &str = "https://nras.soft.invalid";
const KID: &str = "soft-1";

pub(super) fn nras(seed: &[u8; 32]) -> Nras {
    let key = key(seed);
    let coordinate = |at: usize| attestation::Hex(key.point()[at..at + 48].try_into().expect("48 bytes were taken"));
    Nras {
        issuer: ISSUER.to_owned(),
        keys: vec![NrasKey {
            kid: KID.to_owned(),
            x: coordinate(1),
            y: coordinate(49),
        }],
    }
}

pub(super) fn jwks(seed: &[u8; 32]) -> Vec<u8> {
    let key = key(seed);
    let coordinate = |at: usize| URL_SAFE_NO_PAD.encode(&key.point()[at..at + 48]);
    let key = json!({
        "kty": "EC", "crv": "P-384", "use": "sig", "alg": "ES384", "kid": KID, "x": coordinate(1), "y": coordinate(49),
    });
    json!({ "keys": [key] }).to_string().into_bytes()
}

pub(super) fn eat(eat: &Eat, seed: &[u8; 32], recipe: &Recipe, nonce: &[u8; 32], now: u64) -> String {
    let mut devices = Map::new();
    let mut submodules = Map::new();
    let gpus = recipe
        .devices
        .iter()
        .filter(|device| !device.arch.is_switch())
        .collect::<Vec<_>>();
    let about = gpus.len() - usize::from(eat.without_last);
    for (index, device) in gpus[..about].iter().enumerate() {
        let name = format!("GPU-{index}");
        let claims = edited(claims(device, nonce, now), &eat.device);
        let key = if eat.is_device_forged {
            Key::derive(seed, "stranger")
        } else {
            key(seed)
        };
        let jwt = jwt(&header(&[]), &claims, &key);
        let hex = hex(digest(&SHA256, jwt.as_bytes()).as_ref());
        submodules.insert(name.clone(), json!(["DIGEST", ["SHA-256", hex]]));
        devices.insert(name, jwt.into());
    }
    if eat.is_exchanged {
        // Signed anew, so as valid as before, but other bytes.
        let again = jwt(&header(&[]), &claims(gpus[0], nonce, now), &key(seed));
        devices.insert("GPU-0".to_owned(), again.into());
    }
    let overall = json!({
        "sub": "NVIDIA-PLATFORM-ATTESTATION", "x-nvidia-ver": "3.0", "iss": ISSUER, "eat_nonce": hex(nonce),
        "nbf": now, "iat": now, "exp": now + 3_600, "x-nvidia-overall-att-result": true, "submods": submodules,
    });
    let key = if eat.is_forged {
        Key::derive(seed, "stranger")
    } else {
        key(seed)
    };
    let overall = jwt(&header(&eat.header), &edited(overall, &eat.overall), &key);
    json!([["JWT", overall], devices]).to_string()
}

fn claims(device: &Device, nonce: &[u8; 32], now: u64) -> Value {
    let certificates = json!({
        "x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "good", "x-nvidia-cert-revocation-reason": null,
        "x-nvidia-cert-expiration-date": "9999-12-31T23:59:59Z",
    });
    json!({
        "iss": ISSUER, "eat_nonce": hex(nonce), "nbf": now, "iat": now, "exp": now + 3_600,
        "ueid": decimal(&serial(Link::Leaf, device)), "hwmodel": common_name(Link::Device, device), "oemid": "5703",
        "measres": "success", "dbgstat": "disabled", "secboot": true,
        "x-nvidia-gpu-driver-version": device.driver, "x-nvidia-gpu-vbios-version": device.vbios,
        "x-nvidia-gpu-attestation-report-cert-chain": certificates,
    })
}

fn edited(claims: Value, edits: &[(&'static str, Value)]) -> Value {
    let mut claims = claims;
    for (name, value) in edits {
        claims[*name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().map(|claims| claims.shift_remove(*name));
        }
    }
    claims
}

fn header(edits: &[(&'static str, Value)]) -> Value {
    edited(json!({ "kid": KID, "alg": "ES384" }), edits)
}

fn jwt(header: &Value, claims: &Value, key: &Key) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn key(seed: &[u8; 32]) -> Key {
    Key::derive(seed, "attestation service")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of any length.
fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0_u8];
    for byte in bytes {
        let mut carry = u16::from(*byte);
        for digit in &mut digits {
            let value = u16::from(*digit) * 256 + carry;
            *digit = (value % 10) as u8;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}
