//! A report as SPDM 1.1 has it, and the tables that allow it.

use std::collections::BTreeMap;

use attestation::{
    Hex,
    gpu::{Arch, Mode, Rim},
};

use super::{key::Key, recipe::Device};

/// What a device answers to a nonce.
pub(super) fn report(device: &Device, nonce: &[u8; 32], key: &Key) -> Vec<u8> {
    let record = record(device);
    let opaque = opaque(device);
    let mut report = [&[0x11, 0xe0, 0x01, 0xff], &nonce[..], &[0]].concat();
    report.extend([0x11, 0x60, 0, 0]);
    report.push((device.measurements.len() as u8).wrapping_add(device.block.count_off_by));
    report.extend(&(record.len() as u32).to_le_bytes()[..3]);
    report.extend(record);
    report.extend([0x5a; 32]);
    report.extend((opaque.len() as u16).to_le_bytes());
    report.extend(opaque);
    let signature = key.sign(&report);
    report.extend(signature);
    report.extend(&device.trailing);
    report
}

fn record(device: &Device) -> Vec<u8> {
    let mut record = Vec::new();
    for (index, digest) in &device.measurements {
        let shape = match record.is_empty() {
            true => device.block.clone(),
            false => super::Block::default(),
        };
        record.extend([index + 1, shape.specification, 51, 0, shape.kind, 48, 0]);
        record.extend(digest);
    }
    record
}

fn opaque(device: &Device) -> Vec<u8> {
    let text = |text: &str| [text.as_bytes(), &[0]].concat();
    let mut fields = Vec::new();
    match device.arch {
        Arch::Ls10 => fields.extend([(6, device.vbios.clone().into_bytes()), (22, device.pdis.concat())]),
        Arch::Hopper | Arch::Blackwell => {
            fields.extend([(6, vbios(&device.vbios)), (3, text(&device.driver))]);
            fields.extend([(15, text("000")), (17, text("SOFT")), (18, text("0000"))]);
            fields.push((11, flag(device.nvdec0)));
            let ppcie = device.mode == Mode::ProtectedPcie;
            fields.push((21, flag(ppcie)));
            if ppcie {
                let backwards = |pdi: &[u8; 8]| pdi.iter().rev().copied().collect::<Vec<_>>();
                fields.push((22, device.pdis.iter().flat_map(backwards).collect()));
            }
            if device.has_feature_flag {
                fields.push((36, vec![mode(device.mode), 0]));
            }
            fields.extend(device.firmware.reported.map(|fwid| (20, fwid.to_vec())));
        }
    }
    fields.extend(device.field.clone());
    let write = |(kind, value): &(u16, Vec<u8>)| {
        let len = value.len() as u16;
        [&kind.to_le_bytes(), &len.to_le_bytes(), &value[..]].concat()
    };
    fields.iter().flat_map(write).collect()
}

fn flag(is_set: bool) -> Vec<u8> {
    vec![if is_set { 0xaa } else { 0x55 }]
}

fn mode(mode: Mode) -> u8 {
    match mode {
        Mode::MultiPassthrough => 0,
        Mode::SinglePassthrough => 1,
        Mode::ProtectedPcie => 2,
    }
}

/// `96.00.A5.00.01` is the bytes 00 a5 00 96 01 00 00 00.
fn vbios(printed: &str) -> Vec<u8> {
    let mut bytes = printed
        .split('.')
        .map(|byte| u8::from_str_radix(byte, 16).expect("a VBIOS is written in hex"))
        .collect::<Vec<_>>();
    bytes[..4].reverse();
    bytes.resize(8, 0);
    bytes
}

/// What a valid device of its kind asks for: indices below 32 in that of the VBIOS, those above in that of the driver.
pub(super) fn rims(device: &Device) -> Vec<Rim> {
    let measured = |from: u8, to: u8| {
        let measured = device.measurements.range(from..to);
        // The first is never met: only one of the alternatives must be.
        measured
            .map(|(index, digest)| (*index, vec![Hex([0xee; 48]), Hex(*digest)]))
            .collect::<BTreeMap<_, _>>()
    };
    let rim = |id: String, measurements| Rim {
        id,
        source: Hex([0; 32]),
        measurements,
    };
    let (chip, driver, vbios) = (&device.chip, &device.driver, device.vbios.replace('.', ""));
    let firmware = rim(format!("NV_GPU_VBIOS_SOFT_0000_000_{vbios}"), measured(0, 32));
    match device.arch {
        Arch::Hopper => vec![
            rim(format!("NV_GPU_DRIVER_{chip}_{driver}"), measured(32, 64)),
            firmware,
        ],
        // Its VBIOS has the name that a Hopper's has.
        Arch::Blackwell => vec![rim(format!("NV_GPU_CC_DRIVER_{chip}_{driver}"), measured(32, 64))],
        Arch::Ls10 => vec![rim(format!("NV_SWITCH_BIOS_5612_0002_890_{vbios}"), measured(0, 31))],
    }
}
