//! Registers of real guests, and what moves which register.

use attestation_measure::{
    AcpiTables, BootVariables, Firmware, Guest, InitrdHint, KernelForm, Measurement, PageOrder, PeError, Prediction,
    Register, SecureBoot, authenticode_sha256, authenticode_sha384, mrtd, patched, td_hob,
};
use sha2::{Digest, Sha384};

use crate::firmware::{self, CFV, LEN, MAILBOX, PAGE_TABLES, PARTS, STACK, TD_HOB};
use crate::samples::sample;

pub(crate) fn hex(text: &str) -> Measurement {
    Measurement::from_hex(text).expect("96 digits of the tests' own")
}

/// A PE image that is a bzImage too: sections out of order, a signature, bytes between both.
pub(crate) fn kernel() -> Vec<u8> {
    let mut kernel: Vec<u8> = (0..0x700).map(|at| (at * 5) as u8).collect();
    let mut put = |offset: usize, bytes: &[u8]| kernel[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0");
    put(0x86, &3_u16.to_le_bytes());
    put(0x94, &240_u16.to_le_bytes());
    put(0x98, &0x20b_u16.to_le_bytes());
    put(0x98 + 60, &0x200_u32.to_le_bytes());
    put(0x98 + 108, &16_u32.to_le_bytes());
    put(0x98 + 144, &0x6e8_u32.to_le_bytes());
    put(0x98 + 148, &24_u32.to_le_bytes());
    for (index, (start, len)) in [(0x400_u32, 0x100_u32), (0x200, 0x200), (0, 0)].into_iter().enumerate() {
        put(0x98 + 240 + 40 * index + 16, &len.to_le_bytes());
        put(0x98 + 240 + 40 * index + 20, &start.to_le_bytes());
    }
    kernel
}

/// The same with a setup header of boot protocol 2.15.
pub(crate) fn bootable() -> Vec<u8> {
    let mut kernel = kernel();
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    kernel[0x211] = 1;
    kernel
}

pub(crate) fn guest<'a>(image: &'a [u8], kernel: &'a [u8]) -> Guest<'a> {
    Guest {
        firmware: Firmware::parse(image).expect("the tests' own firmware"),
        pages: PageOrder::PageByPage,
        memory: 4 << 30,
        acpi: AcpiTables::of(b"loader", b"rsdp", b"tables"),
        secure_boot: SecureBoot::unset(),
        boot: BootVariables::menu(),
        kernel,
        kernel_form: KernelForm::AsItIs,
        initrd: b"initrd",
        command_line: "console=ttyS0",
        initrd_hint: InitrdHint::Before,
        runtime: &[],
    }
}

fn predict(guest: &Guest<'_>) -> Prediction {
    guest.predict().expect("a guest that QEMU would start")
}

/// Two guests of dstack, whose quotes and logs its repository has (`dstack/verifier/fixtures`, commit 312dc605):
/// memory, what was measured of the list of memory, the three digests of ACPI, and RTMR0 of the quote.
#[test]
fn rtmr0_is_that_of_real_quotes() {
    let check = |memory, hob: &str, [loader, rsdp, tables]: [&str; 3], rtmr0: &str| {
        let mut parts = PARTS;
        parts[0].data.0 = 0x8_4000;
        parts[1].data.1 = 0x8_4000;
        parts[1].memory = (0xffc0_0000, 0x8_4000);
        let mut image = firmware::image(0x8_7000, &parts);
        image[..0x8_4000].copy_from_slice(&firmware::empty_volume());
        let kernel = bootable();
        let mut guest = guest(&image, &kernel);
        guest.memory = memory;
        guest.acpi = AcpiTables {
            loader: hex(loader),
            rsdp: hex(rsdp),
            tables: hex(tables),
        };
        let measured = td_hob(&guest.firmware, memory).expect("OVMF's own sections");
        assert_eq!(Measurement::of(&measured), hex(hob));
        assert_eq!(predict(&guest).rtmr[0], hex(rtmr0));
    };
    // dstack_quote_report.json: 64 GiB, QEMU 9.2.1, an H100.
    check(
        64 << 30,
        "8ae1e425351df7992c444586eff99d35af3b779aa2b0e981cb4b73bc5b279f2ade19b6a62a203fc3c3bbdaae80af596d",
        [
            "2065dd48d647e4377db277ba203526901a17845e93e0df4c2dfc3ce136e0910324ead1e1c86b8d90c2acdf9c85ffac53",
            "772b0169c66b52e4453fff9e3c6257635ea950ebcc8edd7ef2e2f8241cf6a155f39df01a7c7a194b6bc0abe5de11861d",
            "abfb2256644b5786eefdcb92303d2008c36cb9500d98997e215ef5080745d4bf2e5b3629090918e193e7f05b173d48c5",
        ],
        "2e3843265f8ecdd4e2282694747f6f2f111605c33f2a8882f5734ee6f3a6ce63d8f34aeef06093dcda76fa5f9d33d8d6",
    );
    // dstack_lite_getquote.json: 2 GiB, QEMU 8.2.2.
    check(
        2 << 30,
        "0b8772e5b0b41b83e6044a68397e02f49fb47066b4fbe4917ea2c45c64f323fdacbb37948f821ebaf8bc9c938ba8a749",
        [
            "095d04cf26fe03aef6e3561fa24c1aa1cea93f4aeaf563b1f9f7616184c53454875925759434769cec2490acb563a337",
            "8d9a4d4777a1bc77ecd9d8d37a4628129a80052a510320159a20a923bd07a0e90d8d1f2e1ebf088992b25f0d0fa672ef",
            "3070721e169bc41884724cb0e6b3082e1baf249083d8b389181ba50b9afa951057876c380b8870e8c2facf2eff67a2b6",
        ],
        "f8438db36b96f85d8752ff7f24a89ec05c79ec9eda2ba732c897fb970ca429365b7471b1c054cb84f17b1c2b23ba6640",
    );
}

/// The log of a guest of 1 GiB with OVMF's sections of today (dstack `cc-eventlog/samples/ccel.bin`).
#[test]
fn the_list_of_memory_is_that_of_a_real_log() {
    let mut parts = PARTS;
    parts[2].memory = (0x81_1000, 0xf000);
    let image = firmware::image(LEN, &parts);
    let firmware = Firmware::parse(&image).expect("the tests' own firmware");
    let measured = td_hob(&firmware, 1 << 30).expect("OVMF's own sections");
    assert_eq!(
        Measurement::of(&measured),
        hex("2b630fa1d8fa9b6e8c6507d2256803ed227888f7d1f62ca5cfbddfe495338b1c6a0fc339ea64700f0835c0897a662789")
    );
}

/// The same two quotes: from the kernel's hash on RTMR1 is made of the firmware's own events as we have them, and
/// RTMR2 of two events.
#[test]
fn the_firmwares_own_events_make_rtmr1_of_real_quotes() {
    let kernel = bootable();
    let image = firmware::image(LEN, &PARTS);
    let events = predict(&guest(&image, &kernel)).extensions;
    let check = |register, own: &[&str], expect: &str| {
        let predicted = events.iter().filter(|event| event.register == register);
        let digests: Vec<_> = own.iter().map(|digest| hex(digest)).collect();
        let rest = predicted.skip(digests.len()).map(|event| event.digest);
        let value = digests
            .iter()
            .copied()
            .chain(rest)
            .fold(Measurement::ZERO, Measurement::extend);
        assert_eq!(value, hex(expect));
    };
    check(
        Register::Rtmr1,
        &["0761fbfa317a42d8edbe9e404178d102adc059cface98c5e07d1d535371c145c3497fd2a19b8398568b8c8a6f95e0a86"],
        "a1b79d76021970f57c45c4a7c395f780bab37011a4df27fe44e8559bd1abb4d6e52f12f866d1d08405448eb797a5970f",
    );
    check(
        Register::Rtmr1,
        &["ac7e632dcf5cd2a1fe5c1f41f4d9b8219570e64ed3c61038fdbf25404e6f542ffd57f276bc5076307efaf882e6d64177"],
        "2023546e7f3b9d1228e274f70c44d481162540f8452544520a796a52f06879709b81a824a26792a7822327504b0d2aee",
    );
    check(
        Register::Rtmr2,
        &[
            "4027cb4ec64dbc24b6d98d9470daeefc749bbb6a9b011762d215f6ed3eb833d58fd72d9ad850958f72878182e6f61924",
            "63e06e29cf98f2fce71abd3a9629dff48457b47c010b64e11f7a2b42dd99bfa14ee35660b3f5d3fc376261d6ba9a6d6b",
        ],
        "1e31b59d605df7ee8160cf7966be9bafa6d0e1905de7e09695a24cd9748e71a603a51fae1297619fa0c30517addbcd07",
    );
}

/// Computed once with thirty lines of Python from the same bytes.
#[test]
fn mrtd_is_that_of_another_reading_of_the_rules() {
    let image = firmware::image(LEN, &PARTS);
    let firmware = Firmware::parse(&image).expect("the tests' own firmware");
    assert_eq!(
        mrtd(&firmware, PageOrder::PageByPage),
        hex("4a3e4ee376b56d9467c1725d6331b0d85c014719f65414353d4957161b4df33b9086bac2c6a0b5e26694c2cb365d555d")
    );
    assert_eq!(
        mrtd(&firmware, PageOrder::SectionBySection),
        hex("842a52988d30c32625963a1521ecf3494c7714072694b387b043b31429c7a61646bb02bd5a12c32d63122da6ccd57731")
    );
}

/// Ubuntu's package `ovmf` 2025.02-3ubuntu2 has the file, SHA-256 9e807cb2…; the value is in virtee/tdx-measure,
/// `tests/fixtures/runtime-capture/expected.json`.
#[test]
fn mrtd_of_ubuntus_firmware_is_as_published() {
    let Some(image) = sample("ubuntu_2025.02-3ubuntu2_OVMF.fd") else {
        return;
    };
    let firmware = Firmware::parse(&image).expect("OVMF");
    assert_eq!(
        mrtd(&firmware, PageOrder::PageByPage),
        hex("7357a10d2e2724dffe68813e3cc4cfcde6814d749f2fb62e3953e54f6e0b50a219786afe2cd478f684b52c61837e1114")
    );
    let volume = firmware
        .sections()
        .iter()
        .find(|section| section.data_offset == 0 && section.data_len != 0);
    let volume = volume.expect("a configuration volume at the beginning");
    assert_eq!(firmware.data(volume), firmware::empty_volume());
}

#[test]
fn a_kernel_is_hashed_without_its_checksum_and_its_signature() {
    let kernel = kernel();
    let expect = authenticode_sha384(&kernel).expect("a PE image");
    // Computed once with ten lines of Python from the same bytes.
    assert_eq!(
        expect,
        hex("a4f427d73b3848f0c6036e8bac5ddc68380ef47664ac9545d90430d8013d8d7d79d1b33be48388e140a3f8a6be159ac4")
    );
    for at in 0..kernel.len() {
        let mut changed = kernel.clone();
        changed[at] ^= 0x40;
        let outside = (0xd8..0xdc).contains(&at) || (0x128..0x12c).contains(&at) || at >= 0x6e8;
        assert_eq!(authenticode_sha384(&changed) == Ok(expect), outside, "byte {at:#x}");
    }
    for len in 0..0x500 {
        let cut = authenticode_sha384(&kernel[..len]);
        assert!(
            matches!(cut, Err(PeError::NotPe | PeError::Truncated)),
            "{len:#x}: {cut:?}"
        );
    }
}

/// Debian's package `fwupd-amd64-signed` 1:1.4+1. Microsoft's authenticode has the hash inside the signature.
#[test]
fn the_hash_of_a_signed_program_is_the_one_that_was_signed() {
    let Some(image) = sample("fwupdx64.efi.signed") else {
        return;
    };
    let hash = authenticode_sha256(&image).expect("a PE image");
    // DigestInfo: SHA-256, then the hash.
    let mut info = vec![
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04,
        0x20,
    ];
    info.extend(hash);
    assert!(image.windows(info.len()).any(|window| window == info), "{hash:x?}");
}

#[test]
fn each_input_moves_its_own_registers() {
    let image = firmware::image(LEN, &PARTS);
    let kernel = bootable();
    let base = predict(&guest(&image, &kernel));
    let check = |what: &str, changed: &dyn Fn(&mut Guest<'_>), expect: &str| {
        let mut guest = guest(&image, &kernel);
        changed(&mut guest);
        let after = predict(&guest);
        let mut moved = String::new();
        if after.mrtd != base.mrtd {
            moved.push('d');
        }
        for (index, (before, after)) in base.rtmr.iter().zip(after.rtmr).enumerate() {
            if *before != after {
                moved.push_str(&index.to_string());
            }
        }
        assert_eq!(moved, expect, "{what}");
    };
    let mut code = image.clone();
    code[0x2000] ^= 1;
    let mut variables = image.clone();
    variables[0] ^= 1;
    let mut other = kernel.clone();
    other[0x300] ^= 1;
    let parse = |image| Firmware::parse(image).expect("the tests' own firmware");
    // Each closure takes what outlives it.
    let (code, variables, other): (&'static [u8], &'static [u8], &'static [u8]) =
        (code.leak(), variables.leak(), other.leak());
    let runtime: &'static [Measurement] = &[Measurement::ZERO];
    check("nothing", &|_| {}, "");
    check("code", &|guest| guest.firmware = parse(code), "d");
    check("variables", &|guest| guest.firmware = parse(variables), "0");
    check(
        "order of pages",
        &|guest| guest.pages = PageOrder::SectionBySection,
        "d",
    );
    check("memory", &|guest| guest.memory = 8 << 30, "0");
    check(
        "memory, header patched",
        &|guest| {
            guest.memory = 1 << 30;
            guest.kernel_form = KernelForm::Patched;
        },
        "01",
    );
    check("ACPI", &|guest| guest.acpi.tables = Measurement::ZERO, "0");
    check("keys", &|guest| guest.secure_boot.dbx = vec![1], "0");
    check("boot order", &|guest| guest.boot.order = vec![1], "0");
    check("boot option", &|guest| guest.boot.options.clear(), "0");
    check("kernel", &|guest| guest.kernel = other, "1");
    check("header", &|guest| guest.kernel_form = KernelForm::Patched, "1");
    check("initrd", &|guest| guest.initrd = b"initrD", "2");
    check("command line", &|guest| guest.command_line = "console=ttyS1", "2");
    check("hint", &|guest| guest.initrd_hint = InitrdHint::After, "2");
    check("runtime", &|guest| guest.runtime = runtime, "3");
}

#[test]
fn a_command_line_is_measured_in_utf_16_with_its_end() {
    let image = firmware::image(LEN, &PARTS);
    let kernel = bootable();
    let check = |hint, expect: &str| {
        let mut guest = guest(&image, &kernel);
        guest.initrd_hint = hint;
        let event = predict(&guest)
            .extensions
            .into_iter()
            .find(|event| event.what == "command line");
        let units: Vec<u8> = expect.bytes().flat_map(|byte| [byte, 0]).collect();
        let expect: [u8; 48] = Sha384::digest(units).into();
        assert_eq!(event.map(|event| event.digest), Some(Measurement(expect)));
    };
    check(InitrdHint::Before, "initrd=initrd console=ttyS0\0");
    check(InitrdHint::After, "console=ttyS0 initrd=initrd\0");
}

#[test]
fn a_patched_kernel_is_hashed_as_it_was_patched() {
    let image = firmware::image(LEN, &PARTS);
    let kernel = bootable();
    let mut guest = guest(&image, &kernel);
    guest.kernel_form = KernelForm::Patched;
    let changed = patched(&kernel, 6, 4 << 30, "console=ttyS0").expect("a kernel of 2.15");
    let event = predict(&guest)
        .extensions
        .into_iter()
        .find(|event| event.what == "kernel");
    assert_eq!(event.map(|event| event.digest), authenticode_sha384(&changed).ok());
    assert_ne!(authenticode_sha384(&changed), authenticode_sha384(&kernel));
}

#[test]
fn memory_is_listed_in_order_and_cut_at_the_firmwares_sections() {
    let check = |memory, parts: &[firmware::Part], expect: &[(u32, u64, u64)]| {
        let image = firmware::image(LEN, parts);
        let firmware = Firmware::parse(&image).expect("the tests' own firmware");
        let hob = td_hob(&firmware, memory).expect("sections within the memory");
        let field = |at: usize| u64::from_le_bytes(hob[at..at + 8].try_into().expect("eight bytes"));
        let listed: Vec<_> = (56..hob.len())
            .step_by(48)
            .map(|at| ((field(at + 24) & 0xff) as u32, field(at + 32), field(at + 40)))
            .collect();
        assert_eq!(listed, expect);
        assert_eq!(field(48), 0x80_9000 + hob.len() as u64 + 8);
    };
    let low = [
        (7, 0, 0x80_0000),
        (0, 0x80_0000, 0x6000),
        (7, 0x80_6000, 0x3000),
        (0, 0x80_9000, 0x2000),
        (0, 0x80_b000, 0x2000),
        (7, 0x80_d000, 0x4000 - 0x1000),
        (0, 0x81_0000, 0x1_0000),
    ];
    let with = |rest: &[(u32, u64, u64)]| [&low[..], rest].concat();
    check(1 << 30, &PARTS, &with(&[(7, 0x82_0000, 0x4000_0000 - 0x82_0000)]));
    check(0xaff0_0000, &PARTS, &with(&[(7, 0x82_0000, 0xaff0_0000 - 0x82_0000)]));
    let split = [(7, 0x82_0000, 0x8000_0000 - 0x82_0000), (7, 1 << 32, 0x3000_0000)];
    check(0xb000_0000, &PARTS, &with(&split));
    // The order of sections in the file does not matter here.
    let parts = [firmware::BFV, PAGE_TABLES, TD_HOB, CFV, MAILBOX, STACK];
    check(1 << 30, &parts, &with(&[(7, 0x82_0000, 0x4000_0000 - 0x82_0000)]));
}
