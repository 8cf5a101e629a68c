//! A firmware file made by hand, and the means to break it.

/// Kind, attributes, where in the file, how much of it, where in memory, how much of it.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) kind: u32,
    pub(crate) attributes: u32,
    pub(crate) data: (u32, u32),
    pub(crate) memory: (u64, u64),
}

pub(crate) const BFV: Part = part(0, 1, (0x2000, 0x3000), (0xffff_d000, 0x3000));
pub(crate) const CFV: Part = part(1, 0, (0, 0x2000), (0xffff_b000, 0x2000));
pub(crate) const STACK: Part = part(3, 0, (0, 0), (0x81_0000, 0x1_0000));
pub(crate) const MAILBOX: Part = part(3, 0, (0, 0), (0x80_b000, 0x2000));
pub(crate) const TD_HOB: Part = part(2, 0, (0, 0), (0x80_9000, 0x2000));
pub(crate) const PAGE_TABLES: Part = part(3, 0, (0, 0), (0x80_0000, 0x6000));
/// In the order of OVMF.
pub(crate) const PARTS: [Part; 6] = [BFV, CFV, STACK, MAILBOX, TD_HOB, PAGE_TABLES];
pub(crate) const LEN: usize = 0x5000;

const fn part(kind: u32, attributes: u32, data: (u32, u32), memory: (u64, u64)) -> Part {
    Part {
        kind,
        attributes,
        data,
        memory,
    }
}

/// Where [`image`] puts things, counted from the end.
pub(crate) const DESCRIPTOR: usize = 0x400;
pub(crate) const FOOTER: usize = 32 + 18;
pub(crate) const ENTRY: usize = FOOTER + 18;

/// A file of `len` bytes that count upwards, with metadata before its end.
pub(crate) fn image(len: usize, parts: &[Part]) -> Vec<u8> {
    image_with(len, DESCRIPTOR, parts)
}

/// The same with the metadata elsewhere, counted from the end.
pub(crate) fn image_with(len: usize, descriptor_at: usize, parts: &[Part]) -> Vec<u8> {
    let mut image: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
    let mut descriptor = b"TDVF".to_vec();
    descriptor.extend((16 + 32 * parts.len() as u32).to_le_bytes());
    descriptor.extend(1_u32.to_le_bytes());
    descriptor.extend((parts.len() as u32).to_le_bytes());
    for part in parts {
        descriptor.extend(part.data.0.to_le_bytes());
        descriptor.extend(part.data.1.to_le_bytes());
        descriptor.extend(part.memory.0.to_le_bytes());
        descriptor.extend(part.memory.1.to_le_bytes());
        descriptor.extend(part.kind.to_le_bytes());
        descriptor.extend(part.attributes.to_le_bytes());
    }
    let mut put = |from_end: usize, bytes: &[u8]| {
        let start = len - from_end;
        image[start..start + bytes.len()].copy_from_slice(bytes);
    };
    put(descriptor_at + 16, &guid("e9eaf9f3168e44d5a8eb7f4d8738f6ae"));
    put(descriptor_at, &descriptor);
    put(FOOTER, &((18 + 22 + 24_u16).to_le_bytes()));
    put(FOOTER - 2, &guid("96b582de1fb245f7baeaa366c55a082d"));
    // An entry of another GUID stands between.
    put(ENTRY, &24_u16.to_le_bytes());
    put(ENTRY - 2, &guid("00f771de1a7e4fcb890e68c77e2fb44e"));
    put(ENTRY + 6 + 18 + 4, &(descriptor_at as u32).to_le_bytes());
    put(ENTRY + 6 + 18, &22_u16.to_le_bytes());
    put(ENTRY + 6 + 16, &guid("e47a6535984a4798865e4685a7bf8ec2"));
    image
}

/// Sixteen bytes as UEFI keeps them, from a GUID's digits without hyphens.
fn guid(digits: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..16)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("the tests' own digits"))
        .collect();
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

/// The configuration volume that OVMF is built with: a header, an empty store of variables, no keys. 528 KiB.
pub(crate) fn empty_volume() -> Vec<u8> {
    let mut volume = vec![0xff; 0x8_4000];
    let mut put = |offset: usize, hex: &str| {
        for (at, digits) in hex.as_bytes().chunks_exact(2).enumerate() {
            let digits = std::str::from_utf8(digits).expect("ASCII");
            volume[offset + at] = u8::from_str_radix(digits, 16).expect("the tests' own digits");
        }
    };
    put(0, "00000000000000000000000000000000"); // zero vector
    put(0x10, "8d2bf1ff96768b4ca9852747075b4f50"); // EFI_SYSTEM_NV_DATA_FV_GUID
    put(0x20, "00400800000000005f465648fffe04004800afb800000002"); // 0x84000 bytes, "_FVH"
    put(0x38, "84000000001000000000000000000000"); // 0x84 blocks of 4096 bytes
    put(0x48, "782cf3aa7b949a43a1802e144ec37792"); // EFI_AUTHENTICATED_VARIABLE_GUID
    put(0x58, "b8ff03005afe000000000000"); // room for variables, formatted, healthy
    put(
        0x4_1000,
        "2b29589e687c7d49a0ce6500fd9f1b952caf2c64feffffffe00f000000000000",
    ); // fault tolerant write
    volume
}
