//! The EFI variables that the firmware measures into RTMR0.
//!
//! Which, and how: edk2 `OvmfPkg/Tcg/TdTcg2Dxe/TdTcg2Dxe.c`. A variable of Secure Boot is measured as a UEFI_VARIABLE_DATA
//! (TCG PC Client Platform Firmware Profile §10.2.6), whether it is set or not; a boot option by its value alone.

use crate::Measurement;
use crate::field::utf16;

/// 8be4df61-93ca-11d2-aa0d-00e098032b8c, EFI_GLOBAL_VARIABLE.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// d719b2cb-3d3a-4596-a3bc-dad00e67656f, EFI_IMAGE_SECURITY_DATABASE_GUID.
const SECURITY: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];

/// 7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1, OVMF's volume of drivers and applications.
const VOLUME: [u8; 16] = [
    0xc9, 0xbd, 0xb8, 0x7c, 0xeb, 0xf8, 0x34, 0x4f, 0xaa, 0xea, 0x3e, 0xe4, 0xaf, 0x65, 0x16, 0xa1,
];
/// 462caa21-7614-4503-836e-8ab6f4662331, UiApp.
const SETUP: [u8; 16] = [
    0x21, 0xaa, 0x2c, 0x46, 0x14, 0x76, 0x03, 0x45, 0x83, 0x6e, 0x8a, 0xb6, 0xf4, 0x66, 0x23, 0x31,
];
/// eec25bdc-67f2-4d95-b1d5-f81b2039d11d, BootManagerMenuApp.
const MENU: [u8; 16] = [
    0xdc, 0x5b, 0xc2, 0xee, 0xf2, 0x67, 0x95, 0x4d, 0xb1, 0xd5, 0xf8, 0x1b, 0x20, 0x39, 0xd1, 0x1d,
];

/// The five variables of Secure Boot, as they stand in the firmware's own configuration volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecureBoot {
    pub secure_boot: Vec<u8>,
    pub pk: Vec<u8>,
    pub kek: Vec<u8>,
    pub db: Vec<u8>,
    pub dbx: Vec<u8>,
}

impl SecureBoot {
    /// None is set: what a firmware file given with `-bios` has unless keys were built into it.
    pub fn unset() -> Self {
        Self::default()
    }

    pub(crate) fn measured(&self) -> [(&'static str, Measurement); 5] {
        [
            (
                "variable SecureBoot",
                variable(&GLOBAL, "SecureBoot", &self.secure_boot),
            ),
            ("variable PK", variable(&GLOBAL, "PK", &self.pk)),
            ("variable KEK", variable(&GLOBAL, "KEK", &self.kek)),
            ("variable db", variable(&SECURITY, "db", &self.db)),
            ("variable dbx", variable(&SECURITY, "dbx", &self.dbx)),
        ]
    }
}

fn variable(vendor: &[u8; 16], name: &str, value: &[u8]) -> Measurement {
    let units = utf16(name);
    let mut data = vendor.to_vec();
    data.extend(length(units.len() / 2));
    data.extend(length(value.len()));
    data.extend(units);
    data.extend(value);
    Measurement::of(&data)
}

fn length(len: usize) -> [u8; 8] {
    // No machine has a usize of more than 64 bits.
    u64::try_from(len).unwrap_or(u64::MAX).to_le_bytes()
}

/// BootOrder, and the options in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootVariables {
    pub order: Vec<u16>,
    /// Of those in `order` that exist.
    pub options: Vec<BootOption>,
}

/// The value of a `Boot####` variable: in a guest, its file in `/sys/firmware/efi/efivars` without the first four bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootOption(pub Vec<u8>);

impl BootVariables {
    /// What OVMF up to edk2-stable202502 has when it starts the kernel that QEMU gives it, before it looked for disks:
    /// its own menu. Seen in the logs of real guests, and in a guest with Debian's 2025.02.
    pub fn menu() -> Self {
        Self {
            order: vec![0],
            options: vec![BootOption::application(0x109, "UiApp", &SETUP)],
        }
    }

    /// The same from edk2-stable202505 on. Seen in a guest with Debian's 2026.08, without TDX.
    pub fn menu_and_setup() -> Self {
        Self {
            order: vec![0, 1],
            options: vec![
                BootOption::application(0x109, "BootManagerMenuApp", &MENU),
                BootOption::application(0x101, "EFI Firmware Setup", &SETUP),
            ],
        }
    }

    pub(crate) fn measured(&self) -> impl Iterator<Item = (&'static str, Measurement)> {
        let order: Vec<u8> = self.order.iter().flat_map(|number| number.to_le_bytes()).collect();
        let order = [("variable BootOrder", Measurement::of(&order))];
        let options = self.options.iter();
        order
            .into_iter()
            .chain(options.map(|option| ("boot option", Measurement::of(&option.0))))
    }
}

impl BootOption {
    /// EFI_LOAD_OPTION (UEFI specification §3.1.3) of a program in OVMF's own volume.
    fn application(attributes: u32, name: &str, file: &[u8; 16]) -> Self {
        let mut option = attributes.to_le_bytes().to_vec();
        option.extend(44_u16.to_le_bytes());
        option.extend(utf16(name));
        option.extend([0, 0]);
        // A volume of firmware, a file in it, the end.
        option.extend([4, 7, 20, 0]);
        option.extend(VOLUME);
        option.extend([4, 6, 20, 0]);
        option.extend(file);
        option.extend([0x7f, 0xff, 4, 0]);
        Self(option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests are those of the guest whose log is `dstack_quote_report.json` in `../shared/samples`.
    #[test]
    fn variables_are_measured_as_a_real_guest_did() {
        let check = |measured: Measurement, begin: &str| {
            let measured = measured.to_string();
            assert!(measured.starts_with(begin), "{measured} does not begin with {begin}");
        };
        let expect = [
            "9dc3a1f80bcec915391dcda5ffbb15e7419f77eab462bbf72b42166fb70d50325e37b36f93537a863769bcf9bedae6fb",
            "6f2e3cbc14f9def86980f5f66fd85e99d63e69a73014ed8a5633ce56eca5b64b692108c56110e22acadcef58c3250f1b",
            "d607c0efb41c0d757d69bca0615c3a9ac0b1db06c557d992e906c6b7dee40e0e031640c7bfd7bcd35844ef9edeadc6f9",
            "08a74f8963b337acb6c93682f934496373679dd26af1089cb4eaf0c30cf260a12e814856385ab8843e56a9acea19e127",
            "18cc6e01f0c6ea99aa23f8a280423e94ad81d96d0aeb5180504fc0f7a40cb3619dd39bd6a95ec1680a86ed6ab0f9828d",
        ];
        for ((_, measured), expect) in SecureBoot::unset().measured().into_iter().zip(expect) {
            check(measured, expect);
        }
        let menu: Vec<_> = BootVariables::menu().measured().collect();
        assert_eq!(menu.len(), 2);
        check(menu[0].1, "1dd6f7b457ad880d840d41c9");
        check(
            menu[1].1,
            "23ada07f5261f12f34a0bd8e46760962d6b4d576a416f1fea1c64bc656b1d28eacf7047ae6e967c58fd2a98bfa74c298",
        );
    }

    /// Read from efivarfs in a guest under QEMU 7.2 with Debian's OVMF 2026.08, without TDX.
    #[test]
    fn boot_options_are_those_of_a_guest() {
        let hex = |option: &BootOption| option.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let variables = BootVariables::menu_and_setup();
        assert_eq!(variables.order, [0, 1]);
        let options: Vec<_> = variables.options.iter().map(hex).collect();
        assert_eq!(
            options,
            [
                "090100002c0042006f006f0074004d0061006e0061006700650072004d0065006e007500410070007000000004071400c9bdb87c\
                 ebf8344faaea3ee4af6516a104061400dc5bc2eef267954db1d5f81b2039d11d7fff0400",
                "010100002c0045004600490020004600690072006d007700610072006500200053006500740075007000000004071400c9bdb87c\
                 ebf8344faaea3ee4af6516a10406140021aa2c4614760345836e8ab6f46623317fff0400",
            ]
        );
    }
}
