//! What the registers of a TDX guest will hold, from the files that it is built of and how it is started. No I/O, no
//! clock, no TDX.
//!
//! A policy names an image by MRTD and RTMR0 to RTMR3. They are SHA-384 chains, so whoever has the firmware, the kernel,
//! the initrd, the command line and the tables that QEMU makes can compute them and need not believe a quote that
//! someone shows. [`Guest::predict`] does that for a kernel that QEMU loads directly (`-kernel`, `-initrd`, `-append`,
//! `-bios`), the only way of booting that it knows; a guest with a boot loader, shim or Secure Boot keys is not
//! predicted here.
//!
//! The other direction is [`log`]: what a guest says that it measured, replayed, and compared with a quote event by
//! event.
//!
//! Proves: that these inputs give these registers, by rules that are checked against real quotes (`tests/`).
//! Does not prove: that the inputs are what you built them from; that is what a reproducible build is for.

mod acpi;
mod authenticode;
mod boot;
mod field;
mod guest;
mod kernel;
pub mod log;
mod measurement;
mod memory;
mod mrtd;
mod tdvf;
mod verity;

pub use acpi::AcpiTables;
pub use authenticode::{PeError, authenticode_sha256, authenticode_sha384};
pub use boot::{BootOption, BootVariables, SecureBoot};
pub use guest::{Extension, Guest, InitrdHint, KernelForm, PredictError, Prediction, Register};
pub use kernel::{KernelError, patched};
pub use measurement::Measurement;
pub use memory::{MemoryError, td_hob};
pub use mrtd::{PageOrder, mrtd};
pub use tdvf::{Firmware, Section, SectionKind, TdvfError};
pub use verity::{VERITY_BLOCK, Verity, VerityError};
