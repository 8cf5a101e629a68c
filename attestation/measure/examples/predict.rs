//! `predict FIRMWARE MEMORY ACPI KERNEL INITRD COMMAND_LINE [RTMR3 events]`: the registers of a guest, as a policy names
//! them, and every event on stderr.
//!
//! `ACPI` is a folder with `table-loader`, `rsdp` and `tables`; `MEMORY` is as QEMU's `-m` has it; the events are digests
//! in hex. Firmware of edk2-stable202502 and 202505 and QEMU 10 are meant; the library knows others.

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
    let [firmware, memory, acpi, kernel, initrd, command_line, runtime @ ..] = words else {
        return Err("FIRMWARE MEMORY ACPI KERNEL INITRD COMMAND_LINE [DIGEST...]".into());
    };
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
        boot: BootVariables::menu(),
        kernel: &kernel,
        kernel_form: KernelForm::AsItIs,
        initrd: &initrd,
        command_line: command_line.trim_end_matches('\n'),
        initrd_hint: InitrdHint::After,
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
