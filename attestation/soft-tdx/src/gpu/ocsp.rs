//! OCSP answers (RFC 6960).

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};

use super::{
    certificate,
    chain::{Authorities, above, serial, subject},
    key::Key,
    recipe::{Device, Hash, Link, Ocsp, Recipe, Status},
};
use crate::{calendar, der};

const BASIC: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 48, 1, 1];
const NONCE: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 48, 1, 2];

/// One for each certificate of each device that the device did not make itself.
pub(super) fn answers(ocsp: &Ocsp, authorities: &Authorities<'_>, recipe: &Recipe, now: u64) -> Vec<Vec<u8>> {
    let links = [Link::Device, Link::Provisioner, Link::Family]
        .into_iter()
        .filter(|link| ocsp.without != Some(*link));
    let asked = links.flat_map(|link| recipe.devices.iter().map(move |device| (link, device)));
    asked
        .map(|(link, device)| answer(ocsp, authorities, link, device, now))
        .collect()
}

/// What the responder says to a request for one of these certificates.
pub(super) fn answer_to(
    request: &[u8],
    ocsp: &Ocsp,
    authorities: &Authorities<'_>,
    recipe: &Recipe,
    now: u64,
) -> Option<Vec<u8>> {
    let links = [Link::Device, Link::Provisioner, Link::Family].into_iter();
    let mut known = links.flat_map(|link| recipe.devices.iter().map(move |device| (link, device)));
    let (link, device) = known.find(|(link, device)| {
        let issuer = authorities.key(above(*link), device);
        let id = id(ocsp.hash, *link, device, &issuer);
        request.windows(id.len()).any(|window| window == id)
    })?;
    Some(answer(ocsp, authorities, link, device, now))
}

fn answer(ocsp: &Ocsp, authorities: &Authorities<'_>, link: Link, device: &Device, now: u64) -> Vec<u8> {
    if ocsp.is_error {
        return der::sequence(&[&der::enumerated(3)]);
    }
    let issuer = authorities.key(above(link), device);
    let (name, key, certificates) = match ocsp.is_delegated {
        true => {
            let (responder, key) = authorities.responder(link, device, ocsp.has_purpose);
            let list = der::explicit(0, &der::sequence(&[&responder]));
            (certificate::name("Software OCSP Responder"), key, list)
        }
        false => (
            subject(above(link), device),
            authorities.key(above(link), device),
            Vec::new(),
        ),
    };
    let responder = match ocsp.by_key {
        true => der::explicit(2, &der::octets(digest(&SHA1_FOR_LEGACY_USE_ONLY, key.point()).as_ref())),
        false => der::explicit(1, &name),
    };
    let this_update = now.saturating_add_signed(-ocsp.age_s);
    let single = single(ocsp, link, device, &issuer, this_update);
    let data = der::sequence(&[&responder, &generalized(this_update), &der::sequence(&[&single])]);
    let signature = match ocsp.is_forged {
        true => Key::derive(authorities.seed, "stranger").sign_der(&data),
        false => key.sign_der(&data),
    };
    let basic = der::sequence(&[
        &data,
        &certificate::algorithm(),
        &der::bits(0, &signature),
        &certificates,
    ]);
    let bytes = der::sequence(&[&der::oid(&BASIC), &der::octets(&basic)]);
    der::sequence(&[&der::enumerated(0), &der::explicit(0, &bytes)])
}

fn single(ocsp: &Ocsp, link: Link, device: &Device, issuer: &Key, this_update: u64) -> Vec<u8> {
    let id = id(ocsp.hash, link, device, issuer);
    let status = match ocsp.status {
        Status::Revoked(reason) if ocsp.about == link => {
            let reason = der::explicit(0, &der::enumerated(reason));
            der::element(0xa1, &[&generalized(this_update), &reason])
        }
        Status::Unknown if ocsp.about == link => der::element(0x82, &[]),
        _ => der::element(0x80, &[]),
    };
    let next = ocsp
        .lifetime_s
        .map(|lifetime| der::explicit(0, &generalized(this_update + lifetime)));
    let extensions = match ocsp.is_critical {
        true => der::explicit(1, &der::sequence(&[&certificate::extension(&NONCE, true, &[4, 0])])),
        false => Vec::new(),
    };
    der::sequence(&[
        &id,
        &status,
        &generalized(this_update),
        &next.unwrap_or_default(),
        &extensions,
    ])
}

/// CertID.
fn id(name: Hash, link: Link, device: &Device, issuer: &Key) -> Vec<u8> {
    let (arcs, algorithm) = hash(name);
    // Both ways are written: with NULL, as OpenSSL does, and without.
    let null = match name {
        Hash::Sha1 => Vec::new(),
        Hash::Sha256 | Hash::Sha384 => der::element(0x05, &[]),
    };
    der::sequence(&[
        &der::sequence(&[&der::oid(arcs), &null]),
        &der::octets(digest(algorithm, &subject(above(link), device)).as_ref()),
        &der::octets(digest(algorithm, issuer.point()).as_ref()),
        &der::integer(&serial(link, device)),
    ])
}

fn hash(hash: Hash) -> (&'static [u64], &'static Algorithm) {
    match hash {
        Hash::Sha1 => (&[1, 3, 14, 3, 2, 26], &SHA1_FOR_LEGACY_USE_ONLY),
        Hash::Sha256 => (&[2, 16, 840, 1, 101, 3, 4, 2, 1], &SHA256),
        Hash::Sha384 => (&[2, 16, 840, 1, 101, 3, 4, 2, 2], &SHA384),
    }
}

/// Always with four digits of the year, as OCSP wants it.
fn generalized(unix: u64) -> Vec<u8> {
    let (year, month, day, hour, minute, second) = calendar::civil(unix);
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    der::element(0x18, &[text.as_bytes()])
}
