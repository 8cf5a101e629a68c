//! The TD HOB: the list of the guest's memory that QEMU writes and the firmware measures first of all into RTMR0.
//!
//! Formats: UEFI Platform Initialization Specification, volume 3, §5 (hand-off blocks); which ranges there are:
//! QEMU `hw/i386/tdvf-hob.c`, `target/i386/kvm/tdx.c` and the q35 machine (`hw/i386/pc_q35.c`), with its default
//! `max-ram-below-4g`.

use crate::tdvf::{Firmware, SectionKind};

/// From this size on q35 keeps 2 GiB below 4 GiB, so that there is room for devices; below it all of the memory.
const SPLIT: u64 = 0xb000_0000;
const LOW_WHEN_SPLIT: u64 = 0x8000_0000;
const HIGH: u64 = 0x1_0000_0000;
/// A megabyte is the least step of `-m`; 16 TiB more than any host has.
const STEP: u64 = 1 << 20;
const MOST: u64 = 1 << 44;

/// EFI_RESOURCE_SYSTEM_MEMORY: pages that are there at the start.
const SYSTEM_MEMORY: u32 = 0;
/// EFI_RESOURCE_MEMORY_UNACCEPTED.
const UNACCEPTED: u32 = 7;
/// Present, initialized and tested.
const ATTRIBUTES: u32 = 7;
const HANDOFF_TYPE: u16 = 1;
const HANDOFF_LEN: u16 = 56;
const HANDOFF_VERSION: u32 = 9;
const RESOURCE_TYPE: u16 = 3;
const RESOURCE_LEN: u16 = 48;
/// Of the block that ends the list. It is not measured, but the first block says where it ends.
const END_LEN: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    #[error("{0} bytes of memory: it must be whole megabytes, at most 16 TiB")]
    Size(u64),
    #[error("the firmware's sections overlap, or lie outside of the guest's first {0} bytes")]
    Layout(u64),
    #[error("the list of memory does not fit into the firmware's TD HOB section")]
    Room,
}

/// A range of the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    resource: u32,
}

/// The bytes that are measured: all blocks but the last, which ends the list.
pub fn td_hob(firmware: &Firmware<'_>, memory: u64) -> Result<Vec<u8>, MemoryError> {
    let section = firmware.only(SectionKind::TdHob).ok_or(MemoryError::Layout(memory))?;
    let mut resources = Vec::new();
    for range in ranges(firmware, memory)? {
        resources.extend(RESOURCE_TYPE.to_le_bytes());
        resources.extend(RESOURCE_LEN.to_le_bytes());
        resources.extend([0; 4]);
        resources.extend([0; 16]); // owner
        resources.extend(range.resource.to_le_bytes());
        resources.extend(ATTRIBUTES.to_le_bytes());
        resources.extend(range.start.to_le_bytes());
        resources.extend(range.end.saturating_sub(range.start).to_le_bytes());
    }
    let len = u64::try_from(resources.len()).map_err(|_| MemoryError::Room)?;
    let len = len.saturating_add(u64::from(HANDOFF_LEN)).saturating_add(END_LEN);
    if len > section.len {
        return Err(MemoryError::Room);
    }
    let mut hob = Vec::new();
    hob.extend(HANDOFF_TYPE.to_le_bytes());
    hob.extend(HANDOFF_LEN.to_le_bytes());
    hob.extend([0; 4]);
    hob.extend(HANDOFF_VERSION.to_le_bytes());
    hob.extend([0; 4]); // boot mode
    hob.extend([0; 32]); // top and bottom of memory, and of what is free
    hob.extend(section.address.saturating_add(len).to_le_bytes());
    hob.extend(resources);
    Ok(hob)
}

/// All memory in order of address, cut where the firmware's own sections lie.
fn ranges(firmware: &Firmware<'_>, memory: u64) -> Result<Vec<Range>, MemoryError> {
    if memory == 0 || memory > MOST || !memory.is_multiple_of(STEP) {
        return Err(MemoryError::Size(memory));
    }
    let low = if memory >= SPLIT { LOW_WHEN_SPLIT } else { memory };
    let mut there: Vec<_> = firmware
        .sections()
        .iter()
        .filter(|section| matches!(section.kind, SectionKind::TdHob | SectionKind::TemporaryMemory))
        .filter(|section| section.len != 0)
        .map(|section| Range {
            start: section.address,
            end: section.address.saturating_add(section.len),
            resource: SYSTEM_MEMORY,
        })
        .collect();
    there.sort_by_key(|range| range.start);
    let mut ranges = Vec::new();
    let mut at = 0;
    let mut until = |ranges: &mut Vec<Range>, start: u64, end: u64| {
        if start < at || start > low {
            return Err(MemoryError::Layout(low));
        }
        if start > at {
            ranges.push(Range {
                start: at,
                end: start,
                resource: UNACCEPTED,
            });
        }
        at = end;
        Ok(())
    };
    for range in there {
        until(&mut ranges, range.start, range.end)?;
        ranges.push(range);
    }
    until(&mut ranges, low, low)?;
    let high = memory.saturating_sub(low);
    if high > 0 {
        ranges.push(Range {
            start: HIGH,
            end: HIGH.saturating_add(high),
            resource: UNACCEPTED,
        });
    }
    Ok(ranges)
}
