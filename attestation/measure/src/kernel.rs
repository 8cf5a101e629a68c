//! The kernel as QEMU hands it to the firmware: with some fields of its setup header filled in.
//!
//! What is filled in: QEMU `hw/i386/x86-common.c`, `x86_load_linux`; the fields: Linux
//! `Documentation/arch/x86/boot.rst`. The address of the initrd depends on its length and on the guest's memory, so
//! that RTMR1 does too. Newer QEMU hands over the file as it is, see [`crate::KernelForm`].

use crate::field::{put, slice, u16_at, u32_at};

/// "HdrS".
const MAGIC: [u8; 4] = *b"HdrS";
/// 2.12, of Linux 3.8.
const OLDEST: u16 = 0x20c;
const LOADED_HIGH: u8 = 1;
const CAN_USE_HEAP: u8 = 0x80;
const CAN_BE_LOADED_ABOVE_4G: u16 = 2;
/// QEMU, revision 0.
const LOADER: u8 = 0xb0;
const COMMAND_LINE_AT: u32 = 0x2_0000;
const HEAP_END: u16 = 0xfe00; // where the command line is, less the setup's own 0x10000 and 0x200
/// What the q35 machine keeps free for ACPI tables below the top of low memory.
const ACPI_DATA: u64 = 0x2_8000;
const SPLIT: u64 = 0xb000_0000;
const LOW_WHEN_SPLIT: u64 = 0x8000_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    #[error("this is no bzImage")]
    NotLinux,
    #[error("a kernel of boot protocol {0:#x} is too old: it must be of 2.12 (Linux 3.8) or later and be loaded high")]
    TooOld(u16),
    #[error("`vga=` on the command line changes the kernel's header: leave it out")]
    VideoMode,
    #[error("an initrd of {len} bytes does not fit below {below:#x}")]
    InitrdTooLarge { len: u64, below: u32 },
}

/// The file with QEMU's changes, for a guest of so much memory.
pub fn patched(kernel: &[u8], initrd_len: u64, memory: u64, command_line: &str) -> Result<Vec<u8>, KernelError> {
    if slice(kernel, 0x202, 4) != Some(&MAGIC) {
        return Err(KernelError::NotLinux);
    }
    let protocol = u16_at(kernel, 0x206).ok_or(KernelError::NotLinux)?;
    let flags = *kernel.get(0x211).ok_or(KernelError::NotLinux)?;
    if protocol < OLDEST || flags & LOADED_HIGH == 0 {
        return Err(KernelError::TooOld(protocol));
    }
    if command_line.contains("vga=") {
        return Err(KernelError::VideoMode);
    }
    let above = u16_at(kernel, 0x236).ok_or(KernelError::NotLinux)? & CAN_BE_LOADED_ABOVE_4G != 0;
    let own_limit = u32_at(kernel, 0x22c).ok_or(KernelError::NotLinux)?;
    let limit = if above { u32::MAX } else { own_limit };
    let below = below(memory, limit);
    let too_large = KernelError::InitrdTooLarge { len: initrd_len, below };
    let len = u32::try_from(initrd_len).map_err(|_| too_large)?;
    let room = below.checked_sub(len).filter(|room| *room > 0).ok_or(too_large)?;
    let mut patched = kernel.to_vec();
    let fields: [(usize, &[u8]); 6] = [
        (0x210, &[LOADER]),
        (0x211, &[flags | CAN_USE_HEAP]),
        (0x218, &(room & !0xfff).to_le_bytes()),
        (0x21c, &len.to_le_bytes()),
        (0x224, &HEAP_END.to_le_bytes()),
        (0x228, &COMMAND_LINE_AT.to_le_bytes()),
    ];
    for (offset, value) in fields {
        put(&mut patched, offset, value).ok_or(KernelError::NotLinux)?;
    }
    Ok(patched)
}

/// The address that an initrd must end below.
fn below(memory: u64, limit: u32) -> u32 {
    let low = if memory >= SPLIT { LOW_WHEN_SPLIT } else { memory };
    let free = low.saturating_sub(ACPI_DATA);
    match u32::try_from(free) {
        Ok(free) if limit >= free => free.saturating_sub(1),
        _ => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(protocol: u16, flags: u8, xloadflags: u16, limit: u32) -> Vec<u8> {
        let mut kernel = vec![0; 0x1000];
        for (offset, value) in [
            (0x202, &b"HdrS"[..]),
            (0x206, &protocol.to_le_bytes()),
            (0x211, &[flags]),
            (0x22c, &limit.to_le_bytes()),
            (0x236, &xloadflags.to_le_bytes()),
        ] {
            put(&mut kernel, offset, value).expect("the header is within the first page");
        }
        kernel
    }

    fn initrd_at(memory: u64, len: u64) -> Result<Option<u32>, KernelError> {
        patched(&kernel(0x20f, 1, 0x7f, 0x7fff_ffff), len, memory, "quiet").map(|kernel| u32_at(&kernel, 0x218))
    }

    #[test]
    fn the_initrd_lies_below_the_tables_at_the_top_of_low_memory() {
        // 0x80000000 - 0x28000 - 1 - 0x100000, rounded down to a page.
        assert_eq!(initrd_at(0xb000_0000, 0x10_0000), Ok(Some(0x7fed_7000)));
        assert_eq!(initrd_at(64 << 30, 0x10_0000), Ok(Some(0x7fed_7000)));
        // With exactly 2 GiB low memory is the same.
        assert_eq!(initrd_at(2 << 30, 0x10_0000), Ok(Some(0x7fed_7000)));
        assert_eq!(initrd_at(1 << 30, 0x10_0000), Ok(Some(0x3fed_7000)));
        let below = 0x3fff_ffff - 0x2_8000;
        assert_eq!(
            initrd_at(1 << 30, 1 << 30),
            Err(KernelError::InitrdTooLarge { len: 1 << 30, below })
        );
        assert_eq!(
            initrd_at(1 << 30, 5 << 30),
            Err(KernelError::InitrdTooLarge { len: 5 << 30, below })
        );
    }

    /// Read through QEMU 7.2's fw_cfg (`-qtest`, no guest), with Debian's kernel 6.12.107, whose header has these fields.
    #[test]
    fn the_initrd_lies_where_qemu_put_it() {
        let check = |megabytes: u64, len, expect| assert_eq!(initrd_at(megabytes << 20, len), Ok(Some(expect)));
        check(256, 2_031_616, 0x0fde_7000);
        check(1024, 2_031_616, 0x3fde_7000);
        check(2047, 2_031_616, 0x7fce_7000);
        check(2048, 2_031_616, 0x7fde_7000);
        check(2815, 2_031_616, 0xafce_7000);
        check(2816, 2_031_616, 0x7fde_7000);
        check(4096, 2_031_616, 0x7fde_7000);
        check(2048, 11_708_352, 0x7f4a_d000);
    }

    #[test]
    fn the_kernels_own_limit_holds_where_it_cannot_be_loaded_above_4_gib() {
        let at = |xloadflags| {
            let kernel = kernel(0x20f, 1, xloadflags, 0x37ff_ffff);
            patched(&kernel, 0x1000, 64 << 30, "").map(|kernel| u32_at(&kernel, 0x218))
        };
        assert_eq!(at(0), Ok(Some(0x37ff_e000)));
        assert_eq!(at(2), Ok(Some(0x7ffd_6000)));
    }

    #[test]
    fn only_the_fields_of_the_loader_change() {
        let before = kernel(0x20f, 1, 2, 0);
        let after = patched(&before, 5, 4 << 30, "quiet").expect("a kernel of 2.15");
        let changed: Vec<_> = (0..before.len()).filter(|&at| before[at] != after[at]).collect();
        let places = [0x210..0x212, 0x218..0x220, 0x224..0x226, 0x228..0x22c];
        assert!(
            changed.iter().all(|at| places.iter().any(|place| place.contains(at))),
            "{changed:x?}"
        );
        assert_eq!(after[0x210..0x212], [0xb0, 0x81]);
        assert_eq!(after[0x21c..0x220], [5, 0, 0, 0]);
        assert_eq!(after[0x224..0x226], [0x00, 0xfe]);
        assert_eq!(after[0x228..0x22c], [0, 0, 2, 0]);
    }

    #[test]
    fn what_qemu_would_treat_otherwise_is_refused() {
        let check = |kernel: &[u8], command_line: &str, expect| {
            assert_eq!(patched(kernel, 5, 4 << 30, command_line), Err(expect));
        };
        check(&[], "", KernelError::NotLinux);
        check(&[0; 0x1000], "", KernelError::NotLinux);
        check(&kernel(0x20f, 1, 2, 0)[..0x210], "", KernelError::NotLinux);
        check(&kernel(0x20b, 1, 2, 0), "", KernelError::TooOld(0x20b));
        check(&kernel(0x20f, 0, 2, 0), "", KernelError::TooOld(0x20f));
        check(&kernel(0x20f, 1, 2, 0), "quiet vga=791", KernelError::VideoMode);
    }
}
