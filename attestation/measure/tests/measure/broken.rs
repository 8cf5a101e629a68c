//! What is refused, and that nothing panics.

use attestation_measure::log::Log;
use attestation_measure::{
    AcpiTables, BootVariables, Firmware, Guest, InitrdHint, KernelError, KernelForm, MemoryError, PageOrder, PeError,
    PredictError, SecureBoot, TdvfError, authenticode_sha384, mrtd, patched, td_hob,
};
use proptest::prelude::*;

use crate::firmware::{self, BFV, CFV, DESCRIPTOR, ENTRY, FOOTER, LEN, PARTS, Part, STACK, TD_HOB};
use crate::predictions;

fn refused(image: &[u8]) -> Option<TdvfError> {
    Firmware::parse(image).err()
}

#[test]
fn firmware_that_is_none_is_refused() {
    let image = firmware::image(LEN, &PARTS);
    let check = |from_end: usize, bytes: &[u8], expect| {
        let mut broken = image.clone();
        let start = LEN - from_end;
        broken[start..start + bytes.len()].copy_from_slice(bytes);
        assert_eq!(refused(&broken), expect, "{bytes:x?} at {from_end} from the end");
    };
    check(1, &[image[LEN - 1]], None);
    check(FOOTER - 2, &[0], Some(TdvfError::NoTable));
    check(FOOTER, &17_u16.to_le_bytes(), Some(TdvfError::NoTable));
    check(FOOTER, &0xffff_u16.to_le_bytes(), Some(TdvfError::NoTable));
    check(FOOTER, &18_u16.to_le_bytes(), Some(TdvfError::NoMetadata));
    check(FOOTER, &42_u16.to_le_bytes(), Some(TdvfError::NoMetadata));
    // An entry without length would be read for ever.
    check(ENTRY, &0_u16.to_le_bytes(), Some(TdvfError::NoMetadata));
    check(ENTRY, &0xffff_u16.to_le_bytes(), Some(TdvfError::NoMetadata));
    check(ENTRY + 24, &23_u16.to_le_bytes(), Some(TdvfError::NoMetadata));
    check(ENTRY + 22, &[0], Some(TdvfError::NoMetadata));
    check(ENTRY + 28, &(LEN as u32 + 1).to_le_bytes(), Some(TdvfError::NoMetadata));
    check(ENTRY + 28, &0_u32.to_le_bytes(), Some(TdvfError::NoMetadata));
    check(DESCRIPTOR + 16, &[0], Some(TdvfError::NoMetadata));
    check(DESCRIPTOR, b"TDVX", Some(TdvfError::NoMetadata));
    check(DESCRIPTOR - 4, &16_u32.to_le_bytes(), Some(TdvfError::Length));
    check(DESCRIPTOR - 8, &2_u32.to_le_bytes(), Some(TdvfError::Version));
    check(DESCRIPTOR - 12, &5_u32.to_le_bytes(), Some(TdvfError::Length));
    check(DESCRIPTOR - 12, &65_u32.to_le_bytes(), Some(TdvfError::TooMany(65)));
    for len in [0, 16, 31, 32, 49, 50, 72, DESCRIPTOR] {
        assert!(refused(&image[LEN - len..]).is_some(), "the last {len} bytes");
    }
}

#[test]
fn sections_that_no_firmware_has_are_refused() {
    let check = |index: usize, part: Part, expect| {
        let mut parts = PARTS;
        parts[index] = part;
        assert_eq!(refused(&firmware::image(LEN, &parts)), expect);
    };
    let pages = |index| Some(TdvfError::Pages { index });
    let data = |index| Some(TdvfError::Data { index });
    check(
        2,
        Part { kind: 4, ..STACK },
        Some(TdvfError::Kind { index: 2, kind: 4 }),
    );
    check(
        2,
        Part {
            memory: (0x81_0001, 0x1_0000),
            ..STACK
        },
        pages(2),
    );
    check(
        2,
        Part {
            memory: (0x81_0000, 0x1_0001),
            ..STACK
        },
        pages(2),
    );
    check(
        2,
        Part {
            memory: (0x81_0000, (256 << 20) + 4096),
            ..STACK
        },
        pages(2),
    );
    check(
        2,
        Part {
            memory: (u64::MAX - 4095, 8192),
            ..STACK
        },
        pages(2),
    );
    check(
        2,
        Part {
            data: (0, 4096),
            ..STACK
        },
        data(2),
    );
    check(2, Part { attributes: 1, ..STACK }, data(2));
    check(
        0,
        Part {
            data: (0x2000, 0x2000),
            ..BFV
        },
        data(0),
    );
    check(
        0,
        Part {
            data: (0x3000, 0x3000),
            ..BFV
        },
        data(0),
    );
    check(
        0,
        Part {
            data: (u32::MAX, 0x3000),
            ..BFV
        },
        data(0),
    );
    check(
        1,
        Part {
            data: (0, 0x1000),
            ..CFV
        },
        data(1),
    );
    check(
        1,
        Part {
            kind: 3,
            data: (0, 0),
            ..CFV
        },
        Some(TdvfError::Singular("configuration volume")),
    );
    check(2, TD_HOB, Some(TdvfError::Singular("TD HOB")));
    // Pages that are taken on demand are in no register, and allowed.
    check(2, Part { attributes: 2, ..STACK }, None);
}

#[test]
fn pages_on_demand_are_not_in_mrtd() {
    let of = |attributes, memory| {
        let mut parts = PARTS;
        parts[2] = Part {
            attributes,
            memory,
            ..STACK
        };
        let image = firmware::image(LEN, &parts);
        // The metadata themselves lie in the code, so that MRTD of two files never is the same: take the code out.
        let mut image = image;
        let attributes = LEN - DESCRIPTOR + 16 + 28;
        image[attributes] = 0;
        mrtd(
            &Firmware::parse(&image).expect("the tests' own firmware"),
            PageOrder::PageByPage,
        )
    };
    assert_eq!(of(2, STACK.memory), of(2, STACK.memory));
    assert_ne!(of(0, STACK.memory), of(0, (0x82_0000, 0x1_0000)));
    assert_ne!(of(0, STACK.memory), of(2, STACK.memory));
}

#[test]
fn memory_that_cannot_be_laid_out_is_refused() {
    let check = |parts: &[Part], memory, expect| {
        let image = firmware::image(LEN, parts);
        let firmware = Firmware::parse(&image).expect("the tests' own firmware");
        assert_eq!(td_hob(&firmware, memory).map(|hob| hob.len()), expect);
    };
    check(&PARTS, 0, Err(MemoryError::Size(0)));
    check(&PARTS, (1 << 30) + 1, Err(MemoryError::Size((1 << 30) + 1)));
    check(&PARTS, 1 << 45, Err(MemoryError::Size(1 << 45)));
    check(&PARTS, 8 << 20, Err(MemoryError::Layout(8 << 20)));
    check(&PARTS, 9 << 20, Ok(56 + 8 * 48));
    let mut parts = PARTS;
    parts[2].memory = (0x80_c000, 0x1000);
    check(&parts, 1 << 30, Err(MemoryError::Layout(1 << 30)));
    // A list of 56 bytes, 90 ranges of 48 and an end of 8 does not fit into the one page that is there.
    let stacks = |count: u64| {
        let stack = |at: u64| Part {
            memory: (0x90_0000 + at * 0x2000, 0x1000),
            ..STACK
        };
        let hob = Part {
            memory: (0x80_9000, 0x1000),
            ..TD_HOB
        };
        let mut parts = vec![BFV, CFV, hob];
        parts.extend((0..count).map(stack));
        parts
    };
    // The file needs room for their metadata before its end.
    let check = |count, expect| {
        let image = firmware::image_with(LEN, 0x1000, &stacks(count));
        let firmware = Firmware::parse(&image).expect("the tests' own firmware");
        assert_eq!(td_hob(&firmware, 1 << 30).map(|hob| hob.len()), expect);
    };
    check(40, Ok(56 + 48 * 83));
    check(41, Err(MemoryError::Room));
}

#[test]
fn a_guest_that_would_not_start_is_not_predicted() {
    let image = firmware::image(LEN, &PARTS);
    let mut good = predictions::kernel();
    good[0x202..0x206].copy_from_slice(b"HdrS");
    good[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    good[0x211] = 1;
    let check = |kernel: &[u8], command_line: &str, memory, expect| {
        let guest = Guest {
            firmware: Firmware::parse(&image).expect("the tests' own firmware"),
            pages: PageOrder::PageByPage,
            memory,
            acpi: AcpiTables::of(&[], &[], &[]),
            secure_boot: SecureBoot::unset(),
            boot: BootVariables::menu(),
            kernel,
            kernel_form: KernelForm::AsItIs,
            initrd: b"initrd",
            command_line,
            initrd_hint: InitrdHint::Before,
            runtime: &[],
        };
        assert_eq!(guest.predict().err(), expect);
    };
    check(&good, "quiet", 1 << 30, None);
    check(&good, "", 1 << 30, Some(PredictError::CommandLine));
    check(&good, "a\0b", 1 << 30, Some(PredictError::CommandLine));
    check(&good, "quiet", 1, Some(PredictError::Memory(MemoryError::Size(1))));
    check(
        &good[2..],
        "quiet",
        1 << 30,
        Some(PredictError::Kernel(KernelError::NotLinux)),
    );
    let mut no_stub = good.clone();
    no_stub[0] = 0;
    check(&no_stub, "quiet", 1 << 30, Some(PredictError::Pe(PeError::NotPe)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Firmware::parse(&bytes).is_err());
        prop_assert!(authenticode_sha384(&bytes).is_err());
        prop_assert!(patched(&bytes, 1, 1 << 30, "").is_err());
        prop_assert!(Log::parse(&bytes).is_err());
    }

    #[test]
    fn no_change_of_the_metadata_panics(
        changes in proptest::collection::vec((0..0x410_usize, any::<u8>()), 1..6),
        memory in 0..(1_u64 << 46),
    ) {
        let mut image = firmware::image(LEN, &PARTS);
        for (from_end, value) in changes {
            image[LEN - 1 - from_end] = value;
        }
        if let Ok(firmware) = Firmware::parse(&image) {
            let pages: u64 = firmware.sections().iter().map(|section| section.len).sum();
            if pages < 4 << 20 {
                mrtd(&firmware, PageOrder::PageByPage);
            }
            if let Ok(hob) = td_hob(&firmware, memory & !0xf_ffff) {
                prop_assert_eq!((hob.len() - 56) % 48, 0);
            }
        }
    }

    #[test]
    fn no_change_of_a_kernel_panics(
        changes in proptest::collection::vec((0..0x300_usize, any::<u8>()), 1..6),
        initrd in any::<u64>(),
        memory in any::<u64>(),
    ) {
        let mut kernel = predictions::kernel();
        for (at, value) in changes {
            kernel[at] = value;
        }
        if let Ok(patched) = patched(&kernel, initrd, memory, "quiet") {
            prop_assert_eq!(patched.len(), kernel.len());
        }
        if authenticode_sha384(&kernel).is_ok() {
            prop_assert_eq!(&kernel[..2], b"MZ");
        }
    }
}
