//! The TDX metadata of a firmware file: which part of it becomes which memory of the guest.
//!
//! Format: "Intel TDX Virtual Firmware Design Guide" §11 (TDVF descriptor), and edk2
//! `OvmfPkg/ResetVector/X64/IntelTdxMetadata.nasm.inc`. The table of GUIDs that leads to it ends 32 bytes before the end
//! of the file and is read backwards (edk2 `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm`).
//!
//! Refused: any kind of section that OVMF does not have, more than 64 sections or 256 MiB in one of them, and a
//! section whose pages do not come whole from the file while their content is measured.

use crate::field::{array, size_at, slice, u16_at, u32_at, u64_at};

/// 96b582de-1fb2-45f7-baea-a366c55a082d.
const TABLE_FOOTER: [u8; 16] = [
    0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d,
];
/// e47a6535-984a-4798-865e-4685a7bf8ec2: its entry says where the descriptor begins, counted from the end.
const METADATA_OFFSET: [u8; 16] = [
    0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2,
];
/// e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae: stands right before the descriptor.
const METADATA: [u8; 16] = [
    0xf3, 0xf9, 0xea, 0xe9, 0x8e, 0x16, 0xd5, 0x44, 0xa8, 0xeb, 0x7f, 0x4d, 0x87, 0x38, 0xf6, 0xae,
];

const AFTER_TABLE: usize = 32;
/// A length and a GUID, behind the data of an entry.
const ENTRY_TAIL: usize = 18;
const DESCRIPTOR: usize = 16;
const SECTION: usize = 32;
const MAX_SECTIONS: usize = 64;
const MAX_SECTION_BYTES: u64 = 256 << 20;

pub(crate) const PAGE: u64 = 4096;

const EXTEND: u32 = 1;
/// Taken on demand (TDH.MEM.PAGE.AUG), so that neither address nor content is in MRTD.
const AUGMENT: u32 = 2;

/// A firmware file with its TDX metadata.
#[derive(Clone, Debug)]
pub struct Firmware<'a> {
    image: &'a [u8],
    sections: Vec<Section>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub kind: SectionKind,
    /// Where its content begins in the file, and how much there is.
    pub data_offset: usize,
    pub data_len: usize,
    /// Where it lies in the guest.
    pub address: u64,
    pub len: u64,
    /// Its content is in MRTD.
    pub extended: bool,
    /// Its pages are there before the guest starts, so that their addresses are in MRTD.
    pub added: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// BFV: the code.
    BootVolume,
    /// CFV: the variables. Measured by the firmware into RTMR0.
    ConfigurationVolume,
    /// Where QEMU puts the list of memory.
    TdHob,
    TemporaryMemory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TdvfError {
    #[error("this is no firmware for TDX: there is no table of GUIDs before its last 32 bytes")]
    NoTable,
    #[error("this firmware has no TDX metadata: take one that was built for TDX")]
    NoMetadata,
    #[error("the TDX metadata are not of version 1")]
    Version,
    #[error("the TDX metadata are not of their own length")]
    Length,
    #[error("there are {0} sections of TDX metadata; at most 64 are read")]
    TooMany(usize),
    #[error("section {index} is of kind {kind}, which no OVMF has")]
    Kind { index: usize, kind: u32 },
    #[error("section {index} is not made of whole pages, or larger than 256 MiB")]
    Pages { index: usize },
    #[error("section {index} does not come whole from the file")]
    Data { index: usize },
    #[error("there must be exactly one {0}")]
    Singular(&'static str),
}

impl<'a> Firmware<'a> {
    pub fn parse(image: &'a [u8]) -> Result<Self, TdvfError> {
        let descriptor = descriptor(image)?;
        let rest = image.get(descriptor..).ok_or(TdvfError::NoMetadata)?;
        let count = size_at(rest, 12).ok_or(TdvfError::Length)?;
        if u32_at(rest, 8) != Some(1) {
            return Err(TdvfError::Version);
        }
        if count > MAX_SECTIONS {
            return Err(TdvfError::TooMany(count));
        }
        let table = count.saturating_mul(SECTION);
        if size_at(rest, 4) != Some(table.saturating_add(DESCRIPTOR)) {
            return Err(TdvfError::Length);
        }
        let table = slice(rest, DESCRIPTOR, table).ok_or(TdvfError::Length)?;
        let sections: Vec<_> = table
            .chunks_exact(SECTION)
            .enumerate()
            .map(|(index, entry)| section(index, entry, image.len()))
            .collect::<Result<_, _>>()?;
        let firmware = Self { image, sections };
        for (kind, name) in [
            (SectionKind::ConfigurationVolume, "configuration volume"),
            (SectionKind::TdHob, "TD HOB"),
        ] {
            firmware.only(kind).ok_or(TdvfError::Singular(name))?;
        }
        Ok(firmware)
    }

    /// In the order of the file, which is that of MRTD.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// What the file has for a section.
    pub fn data(&self, section: &Section) -> &'a [u8] {
        // `parse` has checked it; a section of another file has no data here.
        slice(self.image, section.data_offset, section.data_len).unwrap_or_default()
    }

    pub(crate) fn only(&self, kind: SectionKind) -> Option<&Section> {
        let mut found = self.sections.iter().filter(|section| section.kind == kind);
        found.next().filter(|_| found.next().is_none())
    }
}

/// Where the descriptor begins, right behind its GUID.
fn descriptor(image: &[u8]) -> Result<usize, TdvfError> {
    let table = table(image).ok_or(TdvfError::NoTable)?;
    let entry = entry(table, &METADATA_OFFSET).ok_or(TdvfError::NoMetadata)?;
    let from_end = size_at(entry, 0).filter(|_| entry.len() == 4);
    let start = from_end.and_then(|from_end| image.len().checked_sub(from_end));
    let start = start.ok_or(TdvfError::NoMetadata)?;
    let guid = start.checked_sub(16).and_then(|guid| array::<16>(image, guid));
    if guid != Some(METADATA) || slice(image, start, 4) != Some(b"TDVF") {
        return Err(TdvfError::NoMetadata);
    }
    Ok(start)
}

/// The entries, without the footer.
fn table(image: &[u8]) -> Option<&[u8]> {
    let end = image.len().checked_sub(AFTER_TABLE)?;
    let footer = end.checked_sub(ENTRY_TAIL)?;
    if array::<16>(image, footer.checked_add(2)?)? != TABLE_FOOTER {
        return None;
    }
    // The length counts the footer too.
    let entries = usize::from(u16_at(image, footer)?).checked_sub(ENTRY_TAIL)?;
    slice(image, footer.checked_sub(entries)?, entries)
}

fn entry<'t>(mut table: &'t [u8], guid: &[u8; 16]) -> Option<&'t [u8]> {
    loop {
        let tail = table.len().checked_sub(ENTRY_TAIL)?;
        let len = usize::from(u16_at(table, tail)?);
        let start = table.len().checked_sub(len)?;
        let data = table.get(start..tail)?;
        if array::<16>(table, tail.checked_add(2)?)? == *guid {
            return Some(data);
        }
        table = table.get(..start)?;
    }
}

fn section(index: usize, entry: &[u8], image: usize) -> Result<Section, TdvfError> {
    let truncated = TdvfError::Length;
    let kind = match u32_at(entry, 24).ok_or(truncated)? {
        0 => SectionKind::BootVolume,
        1 => SectionKind::ConfigurationVolume,
        2 => SectionKind::TdHob,
        3 => SectionKind::TemporaryMemory,
        kind => return Err(TdvfError::Kind { index, kind }),
    };
    let attributes = u32_at(entry, 28).ok_or(truncated)?;
    let section = Section {
        kind,
        data_offset: size_at(entry, 0).ok_or(truncated)?,
        data_len: size_at(entry, 4).ok_or(truncated)?,
        address: u64_at(entry, 8).ok_or(truncated)?,
        len: u64_at(entry, 16).ok_or(truncated)?,
        extended: attributes & EXTEND != 0,
        added: attributes & AUGMENT == 0,
    };
    let whole = section.address.is_multiple_of(PAGE) && section.len.is_multiple_of(PAGE);
    if !whole || section.len > MAX_SECTION_BYTES || section.address.checked_add(section.len).is_none() {
        return Err(TdvfError::Pages { index });
    }
    let in_file = section
        .data_offset
        .checked_add(section.data_len)
        .is_some_and(|end| end <= image);
    let all = u64::try_from(section.data_len) == Ok(section.len);
    let needed = section.extended || matches!(kind, SectionKind::BootVolume | SectionKind::ConfigurationVolume);
    if !in_file || (needed && !all) || (!needed && section.data_len != 0) {
        return Err(TdvfError::Data { index });
    }
    Ok(section)
}
