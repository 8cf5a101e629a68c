//! The five certificates of a device, as NVIDIA has them.

use attestation::gpu::Arch;

use super::{
    certificate::{self, Certificate, DIGITAL_SIGNATURE, SIGN_CERTIFICATES},
    key::Key,
    recipe::{Device, Flaw, Link, Recipe},
};
use crate::der;

const COMPOSITE_DEVICE: [u64; 6] = [2, 23, 133, 5, 4, 1];
const TCB_INFO: [u64; 7] = [2, 23, 133, 5, 4, 1, 1];
const SHA384: [u64; 9] = [2, 16, 840, 1, 101, 3, 4, 2, 2];
const UNKNOWN: [u64; 6] = [2, 23, 133, 5, 4, 4];
const OCSP_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 9];
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];

pub(super) struct Authorities<'a> {
    pub(super) seed: &'a [u8; 32],
    recipe: &'a Recipe,
}

impl<'a> Authorities<'a> {
    pub(super) fn of(seed: &'a [u8; 32], recipe: &'a Recipe) -> Self {
        Self { seed, recipe }
    }

    pub(super) fn root_der(&self) -> Vec<u8> {
        let device = Device::hopper();
        self.certificate(Link::Root, &device)
            .sign(&self.key(Link::Root, &device))
    }

    pub(super) fn leaf_key(&self, device: &Device) -> Key {
        match device.is_forged {
            true => Key::derive(self.seed, "stranger"),
            false => self.key(Link::Leaf, device),
        }
    }

    /// DER, from the leaf to the root.
    pub(super) fn chain(&self, device: &Device) -> Vec<Vec<u8>> {
        let links = Link::ALL
            .into_iter()
            .filter(|link| !(self.has(Flaw::Short) && *link == Link::Family));
        let mut chain = links.map(|link| self.signed(link, device)).collect::<Vec<_>>();
        if self.has(Flaw::Trailing) {
            chain[0].push(0);
        }
        chain
    }

    fn signed(&self, link: Link, device: &Device) -> Vec<u8> {
        let issuer = match self.has(Flaw::Forged(link)) {
            true => Key::derive(self.seed, "stranger"),
            false => self.key(above(link), device),
        };
        self.certificate(link, device).sign(&issuer)
    }

    pub(super) fn key(&self, link: Link, device: &Device) -> Key {
        let Device { arch, number, .. } = device;
        match link {
            Link::Leaf => Key::derive(self.seed, &format!("leaf {} {number}", arch.name())),
            Link::Device => Key::derive(self.seed, &format!("device {} {number}", arch.name())),
            Link::Root if self.has(Flaw::OtherRoot) => Key::derive(self.seed, "another root"),
            _ => Key::derive(self.seed, &common_name(link, device)),
        }
    }

    pub(super) fn certificate(&self, link: Link, device: &Device) -> Certificate {
        let mut made = Certificate {
            serial: serial(link, device),
            issuer: common_name(above(link), device),
            subject: common_name(link, device),
            not_before: self.recipe.not_before,
            not_after: self.recipe.not_after,
            spki: self.key(link, device).spki(),
            authority: (link != Link::Leaf).then_some(None),
            usage: if link == Link::Leaf {
                DIGITAL_SIGNATURE
            } else {
                SIGN_CERTIFICATES
            },
            extensions: if link == Link::Leaf {
                self.firmware(device)
            } else {
                Vec::new()
            },
            is_sha256: false,
        };
        let Some(flaw) = self.recipe.flaw else {
            return made;
        };
        match flaw {
            Flaw::Authority(at) if at == link => {
                made.authority = if link == Link::Leaf { Some(None) } else { None };
            }
            Flaw::Usage(at) if at == link => made.usage ^= DIGITAL_SIGNATURE | SIGN_CERTIFICATES,
            Flaw::PathLength(at) if at == link => made.authority = Some(Some(0)),
            Flaw::Issuer(at) if at == link => made.issuer.push('x'),
            Flaw::Critical(at) if at == link => made.extensions.push((UNKNOWN.to_vec(), true, der::number(1))),
            Flaw::Algorithm(at) if at == link => made.is_sha256 = true,
            Flaw::Expired(at) if at == link => made.not_after = made.not_before + 1,
            Flaw::NotYet(at) if at == link => made.not_before = made.not_after - 1,
            _ => {}
        }
        made
    }

    /// That says of its key that it answers for the issuer of `link`.
    pub(super) fn responder(&self, link: Link, device: &Device, has_purpose: bool) -> (Vec<u8>, Key) {
        let key = Key::derive(self.seed, "responder");
        let mut made = self.certificate(above(link), device);
        made.issuer = std::mem::replace(&mut made.subject, "Software OCSP Responder".to_owned());
        made.spki = key.spki();
        made.serial.push(1);
        made.authority = None;
        made.usage = DIGITAL_SIGNATURE;
        if has_purpose {
            let purposes = der::sequence(&[&der::oid(&OCSP_SIGNING)]);
            made.extensions.push((EXTENDED_KEY_USAGE.to_vec(), false, purposes));
        }
        (made.sign(&self.key(above(link), device)), key)
    }

    fn firmware(&self, device: &Device) -> Vec<(Vec<u64>, bool, Vec<u8>)> {
        let firmware = &device.firmware;
        let hash = |hash: &[u8; 48]| der::sequence(&[&der::oid(&SHA384), &der::octets(hash)]);
        let chip = match firmware.is_of_another_chip {
            true => Key::derive(self.seed, "stranger"),
            false => self.key(Link::Device, device),
        };
        let composite = der::sequence(&[&der::number(1), &chip.spki(), &hash(&firmware.certified)]);
        let hashes = [hash(&firmware.certified), hash(&[0; 48])].concat();
        let tcb_info = der::sequence(&[
            &der::element(0x80, &[b"SOFT"]),
            &der::element(0x81, &[device.chip.as_bytes()]),
            &der::explicit(6, &hashes),
            &der::element(0x87, &[&[0, 0x80, 0, 0, 1]]),
        ]);
        let composite = (COMPOSITE_DEVICE.to_vec(), false, composite);
        let tcb_info = (TCB_INFO.to_vec(), false, tcb_info);
        match (firmware.is_said_twice, device.arch) {
            (true, _) => vec![composite, tcb_info],
            (false, Arch::Blackwell) => vec![tcb_info],
            (false, _) => vec![composite],
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.recipe.flaw == Some(flaw)
    }
}

pub(super) fn above(link: Link) -> Link {
    match link {
        Link::Leaf => Link::Device,
        Link::Device => Link::Provisioner,
        Link::Provisioner => Link::Family,
        Link::Family | Link::Root => Link::Root,
    }
}

pub(super) fn common_name(link: Link, device: &Device) -> String {
    let chip = &device.chip;
    match link {
        Link::Leaf => format!("{chip} A01 GSP FMC LF"),
        Link::Device => format!("{chip} A01 GSP BROM"),
        Link::Provisioner => format!("Software {chip} Provisioner ICA 1"),
        Link::Family => format!("Software {chip} Identity"),
        Link::Root => "Software Device Identity CA".to_owned(),
    }
}

/// Of the leaf 20 bytes, of the chip nine, as NVIDIA's are long.
pub(super) fn serial(link: Link, device: &Device) -> Vec<u8> {
    let len = match link {
        Link::Leaf => 20,
        Link::Device => 9,
        _ => 16,
    };
    let mut serial = vec![device.arch as u8 + 1; len];
    serial[0] = 0x41;
    if matches!(link, Link::Leaf | Link::Device) {
        serial[len - 1] = device.number;
    }
    serial
}

pub(super) fn subject(link: Link, device: &Device) -> Vec<u8> {
    certificate::name(&common_name(link, device))
}
