//! `predict EDK2 QEMU FIRMWARE MEMORY ACPI KERNEL INITRD COMMAND_LINE [RTMR3 events]`: the registers of a guest, as a policy names
//! them, and every event on stderr.
//!
//! `EDK2` is the firmware's release, such as 202502; `QEMU` the major version of the host's. `ACPI` is a folder with
//! `table-loader`, `rsdp` and `tables`; `MEMORY` is as `-m` has it; the RTMR3 events are digests in hex.
//! Meant is a host with Linux 6.16 or later and firmware without Secure Boot keys; the library knows others.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use attestation_measure::{
    AcpiTables, BootVariables, Firmware, Guest, InitrdHint, KernelForm, Measurement, PageOrder, SecureBoot,
};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("predict: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), Box<dyn Error>> {
    let [
        edk2,
        qemu,
        firmware,
        memory,
        acpi,
        kernel,
        initrd,
        command_line,
        runtime @ ..,
    ] = words
    else {
        return Err("EDK2 QEMU FIRMWARE MEMORY ACPI KERNEL INITRD COMMAND_LINE [DIGEST...]".into());
    };
    let (edk2, qemu): (u32, u32) = (edk2.parse()?, qemu.parse()?);
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let table = |name: &str| read(&Path::new(acpi).join(name));
    let firmware = read(firmware.as_ref())?;
    let kernel = read(kernel.as_ref())?;
    let initrd = read(initrd.as_ref())?;
    let command_line = String::from_utf8(read(command_line.as_ref())?)?;
    let runtime: Option<Vec<_>> = runtime.iter().map(|digest| Measurement::from_hex(digest)).collect();
    let guest = Guest {
        firmware: Firmware::parse(&firmware)?,
        pages: PageOrder::PageByPage,
        memory: bytes(memory).ok_or("the memory is such as 2048M or 64G")?,
        acpi: AcpiTables::of(&table("table-loader")?, &table("rsdp")?, &table("tables")?),
        secure_boot: SecureBoot::unset(),
        boot: if edk2 >= 202_505 {
            BootVariables::menu_and_setup()
        } else {
            BootVariables::menu()
        },
        kernel: &kernel,
        kernel_form: if edk2 >= 202_502 && qemu >= 10 {
            KernelForm::AsItIs
        } else {
            KernelForm::Patched
        },
        initrd: &initrd,
        command_line: command_line.trim_end_matches('\n'),
        initrd_hint: if edk2 >= 202_508 {
            InitrdHint::Before
        } else {
            InitrdHint::After
        },
        runtime: &runtime.ok_or("a digest has 96 hex digits")?,
    };
    let prediction = guest.predict()?;
    for extension in &prediction.extensions {
        eprintln!("{} {} {}", extension.register.name(), extension.digest, extension.what);
    }
    println!("mrtd = \"{}\"", prediction.mrtd);
    let rtmr = prediction.rtmr.map(|value| format!("\"{value}\"")).join(", ");
    println!("rtmr = [{rtmr}]");
    Ok(())
}

fn bytes(memory: &str) -> Option<u64> {
    let (digits, shift) = match memory.strip_suffix('G') {
        Some(digits) => (digits, 30),
        None => (memory.strip_suffix('M')?, 20),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
