//! From all inputs to all registers.
//!
//! The extensions and their order are those of edk2 (`OvmfPkg/IntelTdx`, `OvmfPkg/Tcg/TdTcg2Dxe`, `OvmfPkg/AcpiPlatformDxe`)
//! and of Linux' EFI stub (`drivers/firmware/efi/libstub`), which measures its command line and its initrd.

use crate::Measurement;
use crate::acpi::AcpiTables;
use crate::authenticode::{PeError, authenticode_sha384};
use crate::boot::{BootVariables, SecureBoot};
use crate::field::utf16;
use crate::kernel::{KernelError, patched};
use crate::log::Log;
use crate::memory::{MemoryError, td_hob};
use crate::mrtd::{PageOrder, mrtd};
use crate::tdvf::{Firmware, SectionKind};

/// A guest that QEMU starts with `-machine q35 -bios FIRMWARE -kernel KERNEL -initrd INITRD -append COMMAND_LINE -m MEMORY`.
#[derive(Clone, Debug)]
pub struct Guest<'a> {
    pub firmware: Firmware<'a>,
    /// Of the host's KVM.
    pub pages: PageOrder,
    /// Bytes.
    pub memory: u64,
    pub acpi: AcpiTables,
    pub secure_boot: SecureBoot,
    pub boot: BootVariables,
    pub kernel: &'a [u8],
    /// Of the host's QEMU, and of the firmware.
    pub kernel_form: KernelForm,
    pub initrd: &'a [u8],
    /// As given with `-append`.
    pub command_line: &'a str,
    /// Of the firmware.
    pub initrd_hint: InitrdHint,
    /// What the guest extends RTMR3 with, in order.
    pub runtime: &'a [Measurement],
}

/// What of the kernel the firmware sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelForm {
    /// The file: QEMU 10.0 and later, with firmware of edk2-stable202502 and later, which reads `etc/boot/kernel`.
    #[default]
    AsItIs,
    /// With QEMU's changes to the setup header: older ones of either.
    Patched,
}

/// Where the firmware puts `initrd=initrd` on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitrdHint {
    /// edk2-stable202508 and later.
    #[default]
    Before,
    /// edk2-stable202505 and earlier.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Register {
    Rtmr0,
    Rtmr1,
    Rtmr2,
    Rtmr3,
}

/// One extension of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    pub register: Register,
    pub what: &'static str,
    pub digest: Measurement,
}

/// What the guest's quotes will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    pub mrtd: Measurement,
    pub rtmr: [Measurement; 4],
    /// All extensions; those of one register are in order.
    pub extensions: Vec<Extension>,
}

/// The first extension of a register in which a log is not as predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    pub register: Register,
    /// From 0.
    pub index: usize,
    /// `None` where the log has more extensions.
    pub predicted: Option<Extension>,
    /// `None` where the log has fewer.
    pub logged: Option<Measurement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PredictError {
    #[error("the memory cannot be laid out")]
    Memory(#[source] MemoryError),
    #[error("QEMU would not start this kernel")]
    Kernel(#[source] KernelError),
    #[error("the firmware would not start this kernel")]
    Pe(#[source] PeError),
    #[error("a command line has no NUL and is not empty")]
    CommandLine,
}

impl Register {
    pub const ALL: [Self; 4] = [Self::Rtmr0, Self::Rtmr1, Self::Rtmr2, Self::Rtmr3];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rtmr0 => "RTMR0",
            Self::Rtmr1 => "RTMR1",
            Self::Rtmr2 => "RTMR2",
            Self::Rtmr3 => "RTMR3",
        }
    }
}

impl Guest<'_> {
    pub fn predict(&self) -> Result<Prediction, PredictError> {
        let mut extensions = self.rtmr0()?;
        extensions.extend(self.rtmr1()?);
        extensions.extend(self.rtmr2()?);
        extensions.extend(self.runtime.iter().map(|&digest| Extension {
            register: Register::Rtmr3,
            what: "of the guest itself",
            digest,
        }));
        Ok(Prediction {
            mrtd: mrtd(&self.firmware, self.pages),
            rtmr: Register::ALL.map(|register| replay(register, &extensions)),
            extensions,
        })
    }

    fn rtmr0(&self) -> Result<Vec<Extension>, PredictError> {
        let hob = td_hob(&self.firmware, self.memory).map_err(PredictError::Memory)?;
        let volume = self.firmware.only(SectionKind::ConfigurationVolume);
        let volume = volume.map(|section| self.firmware.data(section)).unwrap_or_default();
        let mut extensions = vec![
            ("list of memory", Measurement::of(&hob)),
            ("configuration volume", Measurement::of(volume)),
        ];
        extensions.extend(self.secure_boot.measured());
        extensions.extend([
            ("separator", separator()),
            ("ACPI table loader", self.acpi.loader),
            ("ACPI RSDP", self.acpi.rsdp),
            ("ACPI tables", self.acpi.tables),
        ]);
        extensions.extend(self.boot.measured());
        Ok(of(Register::Rtmr0, extensions))
    }

    fn rtmr1(&self) -> Result<Vec<Extension>, PredictError> {
        let initrd = u64::try_from(self.initrd.len()).unwrap_or(u64::MAX);
        // Also where its changes are not seen: QEMU refuses the same kernels and initrds.
        let changed = patched(self.kernel, initrd, self.memory, self.command_line).map_err(PredictError::Kernel)?;
        let seen = match self.kernel_form {
            KernelForm::AsItIs => self.kernel,
            KernelForm::Patched => &changed,
        };
        let kernel = authenticode_sha384(seen).map_err(PredictError::Pe)?;
        let action = |text: &str| Measurement::of(text.as_bytes());
        let extensions = [
            ("kernel", kernel),
            ("calling", action("Calling EFI Application from Boot Option")),
            ("separator", separator()),
            ("leaving the firmware", action("Exit Boot Services Invocation")),
            ("left the firmware", action("Exit Boot Services Returned with Success")),
        ];
        Ok(of(Register::Rtmr1, extensions))
    }

    fn rtmr2(&self) -> Result<Vec<Extension>, PredictError> {
        if self.command_line.is_empty() || self.command_line.contains('\0') {
            return Err(PredictError::CommandLine);
        }
        let line = match self.initrd_hint {
            InitrdHint::Before => format!("initrd=initrd {}\0", self.command_line),
            InitrdHint::After => format!("{} initrd=initrd\0", self.command_line),
        };
        let extensions = [
            ("command line", Measurement::of(&utf16(&line))),
            ("initrd", Measurement::of(self.initrd)),
        ];
        Ok(of(Register::Rtmr2, extensions))
    }
}

impl Prediction {
    /// Where a log is not what was predicted, at most one place for each register. A log proves nothing by itself:
    /// replay it and compare with a quote first.
    pub fn differences(&self, log: &Log) -> Vec<Difference> {
        Register::ALL
            .into_iter()
            .filter_map(|register| {
                let mut predicted = self
                    .extensions
                    .iter()
                    .copied()
                    .filter(|extension| extension.register == register);
                let mut logged = log.extensions(register);
                (0..).find_map(|index| match (predicted.next(), logged.next()) {
                    (None, None) => Some(None),
                    (Some(extension), Some(digest)) if extension.digest == digest => None,
                    (predicted, logged) => Some(Some(Difference {
                        register,
                        index,
                        predicted,
                        logged,
                    })),
                })?
            })
            .collect()
    }
}

fn of(register: Register, extensions: impl IntoIterator<Item = (&'static str, Measurement)>) -> Vec<Extension> {
    let extensions = extensions.into_iter();
    extensions
        .map(|(what, digest)| Extension { register, what, digest })
        .collect()
}

fn replay(register: Register, extensions: &[Extension]) -> Measurement {
    let own = extensions.iter().filter(|extension| extension.register == register);
    own.fold(Measurement::ZERO, |value, extension| value.extend(extension.digest))
}

/// EV_SEPARATOR's four zeros.
fn separator() -> Measurement {
    Measurement::of(&[0; 4])
}
