//! Which firmware a device's certificate was made for, and whether its report names the same (TCG DICE).
//!
//! The chip makes the leaf's key from the hash of the firmware it boots, and writes that hash into the leaf:
//! - Hopper and LS10: `2.23.133.5.4.1`, SEQUENCE { INTEGER 1, the chip's SubjectPublicKeyInfo, SEQUENCE { SHA-384, hash } }
//! - Blackwell: `2.23.133.5.4.1.1`, DiceTcbInfo (DICE Attestation Architecture 1.1 §6.1.1), whose `[6]` lists
//!   SEQUENCE { SHA-384, hash }; the first is the firmware's, the second is of zeros
//!
//! The report of a GPU repeats the hash. That of an LS10 does not.

use x509_parser::oid_registry::{Oid, asn1_rs::oid};

use super::{
    Arch, GpuRefusal,
    chain::Chain,
    der::{Der, tag},
    opaque::Opaque,
};

const COMPOSITE_DEVICE: Oid<'_> = oid!(2.23.133.5.4.1);
const TCB_INFO: Oid<'_> = oid!(2.23.133.5.4.1.1);

/// id-sha384, 2.16.840.1.101.3.4.2.2
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];

pub(super) fn check(chain: &Chain<'_>, opaque: &Opaque<'_>, arch: Arch) -> Result<(), GpuRefusal> {
    let certified = certified(chain).ok_or(GpuRefusal::Fwid)?;
    match opaque.fwid()? {
        Some(reported) if *reported == certified => Ok(()),
        None if arch.is_switch() => Ok(()),
        _ => Err(GpuRefusal::Fwid),
    }
}

/// `None` where the leaf does not say it in exactly one of the two forms.
fn certified(chain: &Chain<'_>) -> Option<[u8; 48]> {
    let leaf = chain.leaf();
    let get = |oid: &Oid<'_>| leaf.get_extension_unique(oid).ok();
    match (get(&COMPOSITE_DEVICE)?, get(&TCB_INFO)?) {
        (Some(extension), None) => composite_device(extension.value, chain.device_key()),
        (None, Some(extension)) => tcb_info(extension.value),
        _ => None,
    }
}

fn composite_device(value: &[u8], device_key: &[u8]) -> Option<[u8; 48]> {
    let mut outer = Der::new(value);
    let mut fields = outer.inside(tag::SEQUENCE)?;
    outer.end()?;
    let version = fields.content(tag::INTEGER)?;
    let key = fields.expect(tag::SEQUENCE)?.raw;
    let hash = hash(fields.inside(tag::SEQUENCE)?)?;
    fields.end()?;
    (version == [1] && key == device_key).then_some(hash)
}

fn tcb_info(value: &[u8]) -> Option<[u8; 48]> {
    let mut outer = Der::new(value);
    let mut fields = outer.inside(tag::SEQUENCE)?;
    outer.end()?;
    let mut first = None;
    while !fields.is_empty() {
        let field = fields.element()?;
        if field.tag == tag::constructed(6) {
            let mut hashes = Der::new(field.content);
            first = Some(hash(hashes.inside(tag::SEQUENCE)?)?);
            while !hashes.is_empty() {
                hash(hashes.inside(tag::SEQUENCE)?)?;
            }
        }
    }
    first
}

fn hash(mut fields: Der<'_>) -> Option<[u8; 48]> {
    let algorithm = fields.content(tag::OID)?;
    let hash = fields.content(tag::OCTET_STRING)?;
    fields.end()?;
    (algorithm == SHA384).then_some(hash)?.try_into().ok()
}
