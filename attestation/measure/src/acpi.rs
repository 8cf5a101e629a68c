//! The three files that QEMU makes for ACPI and the firmware measures into RTMR0 before it reads them.
//!
//! They depend on QEMU's version and on the whole of its command line: processors, memory, every device. This package
//! does not make them. Start the same QEMU with the same devices and no TDX once, and read them in that guest from
//! `/sys/firmware/qemu_fw_cfg/by_name/` (edk2 measures them in `OvmfPkg/AcpiPlatformDxe` since edk2-stable202302).
//! Leaving them open in a policy would let the host run AML code of its own in the guest.

use crate::Measurement;

/// What RTMR0 gets of each, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcpiTables {
    pub loader: Measurement,
    pub rsdp: Measurement,
    pub tables: Measurement,
}

impl AcpiTables {
    /// Of `etc/table-loader`, `etc/acpi/rsdp` and `etc/acpi/tables`.
    pub fn of(loader: &[u8], rsdp: &[u8], tables: &[u8]) -> Self {
        Self {
            loader: Measurement::of(loader),
            rsdp: Measurement::of(rsdp),
            tables: Measurement::of(tables),
        }
    }
}
