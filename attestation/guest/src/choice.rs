//! Which attester this process has: the machine's own, or software that was asked for by name.
//!
//! There is no way from one to the other: a machine that cannot make quotes has no attester, and says why.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use attestation::Attester;

use crate::{
    configfs::{self, Configfs, ConfigfsError},
    device::{self, Device, DeviceQuotes},
    qgs::{self, PortError},
};

/// What was asked for.
pub enum Choice {
    /// Quotes of this machine: configfs-tsm where the kernel has it, else the device and the host's quoting service.
    Hardware(Places),
    /// Quotes that no hardware vouches for. Whoever verifies them must have named their root as a development anchor.
    DangerSoftware(Arc<dyn Attester>),
}

/// Where things lie; a test has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// [`configfs::ROOT`].
    pub reports: PathBuf,
    /// [`device::PATH`].
    pub device: PathBuf,
    /// [`qgs::CONFIG`].
    pub qgs: PathBuf,
    /// The device of an AMD guest, only to say so.
    pub sev: PathBuf,
}

impl Places {
    /// The kernel's own.
    pub fn of_linux() -> Self {
        Self {
            reports: configfs::ROOT.into(),
            device: device::PATH.into(),
            qgs: qgs::CONFIG.into(),
            sev: "/dev/sev-guest".into(),
        }
    }
}

/// Where quotes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Configfs,
    Device,
    Software,
}

/// An attester, and what it is.
pub struct Chosen {
    pub attester: Arc<dyn Attester>,
    pub origin: Origin,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    #[error("the kernel's interface for quotes cannot be used")]
    Configfs(#[from] ConfigfsError),
    #[error("this guest has only the older interface, and the host's quoting service is not known")]
    Port(#[from] PortError),
    #[error(
        "this machine is an AMD SEV-SNP guest; its reports are not verified by this version, so that it can only serve in tier open"
    )]
    Snp,
    #[error(
        "this machine is no TDX guest, or its kernel was built without TDX: there is neither '{}' nor '{}'",
        reports.display(), device.display()
    )]
    NoTee { reports: PathBuf, device: PathBuf },
}

pub fn choose(choice: Choice) -> Result<Chosen, ChoiceError> {
    match choice {
        Choice::DangerSoftware(attester) => Ok(Chosen {
            attester,
            origin: Origin::Software,
        }),
        Choice::Hardware(places) => hardware(&places),
    }
}

fn hardware(places: &Places) -> Result<Chosen, ChoiceError> {
    let exists = |path: &Path| path.try_exists().unwrap_or(false);
    // A kernel may offer the tree without anybody behind it; then making an entry fails, and the device may still work.
    if exists(&places.reports) {
        match Configfs::open(&places.reports) {
            Ok(attester) => {
                return Ok(Chosen {
                    attester: Arc::new(attester),
                    origin: Origin::Configfs,
                });
            }
            Err(ConfigfsError::Entry { .. }) if exists(&places.device) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if exists(&places.device) {
        let port = qgs::port(&places.qgs)?;
        return Ok(Chosen {
            attester: Arc::new(DeviceQuotes::new(Device::new(&places.device), port)),
            origin: Origin::Device,
        });
    }
    if exists(&places.sev) {
        return Err(ChoiceError::Snp);
    }
    Err(ChoiceError::NoTee {
        reports: places.reports.clone(),
        device: places.device.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, fs};

    use attestation::NoQuote;

    use super::*;
    use crate::testing::Folder;

    fn places(folder: &Folder) -> Places {
        let at = |name: &str| folder.path().join(name);
        Places {
            reports: at("report"),
            device: at("tdx_guest"),
            qgs: at("tdx-attest.conf"),
            sev: at("sev-guest"),
        }
    }

    fn origin(places: &Places) -> Result<Origin, ChoiceError> {
        choose(Choice::Hardware(places.clone())).map(|chosen| chosen.origin)
    }

    #[test]
    fn a_plain_machine_has_no_attester() {
        let folder = Folder::new();
        let places = places(&folder);
        assert!(matches!(origin(&places), Err(ChoiceError::NoTee { .. })));
        fs::write(&places.sev, "").expect("the folder is ours");
        assert!(matches!(origin(&places), Err(ChoiceError::Snp)));
    }

    #[test]
    fn the_device_needs_a_quoting_service() {
        let folder = Folder::new();
        let places = places(&folder);
        fs::write(&places.device, "").expect("the folder is ours");
        assert!(matches!(
            origin(&places),
            Err(ChoiceError::Port(PortError::Read { .. }))
        ));
        fs::write(&places.qgs, "port=4050\n").expect("the folder is ours");
        assert_eq!(origin(&places).expect("both are there"), Origin::Device);
        // It is a file, so that the request fails, and says so.
        let chosen = choose(Choice::Hardware(places)).expect("both are there");
        let error = chosen.attester.quote(&[0; 64]).expect_err("a file makes no report");
        assert_eq!(error.to_string(), "this machine made no quote");
        assert!(error.source().is_some());
    }

    #[test]
    fn a_tree_that_nobody_fills_is_an_error_and_not_a_fall_to_something_else() {
        let folder = Folder::new();
        let places = places(&folder);
        fs::create_dir(&places.reports).expect("the folder is ours");
        fs::write(&places.device, "").expect("the folder is ours");
        assert!(matches!(
            origin(&places),
            Err(ChoiceError::Configfs(ConfigfsError::Attribute {
                attribute: "provider",
                ..
            }))
        ));
    }

    struct Software;

    impl Attester for Software {
        fn quote(&self, _: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
            Ok(vec![1])
        }
    }

    #[test]
    fn software_is_only_what_was_asked_for_by_name() {
        let chosen = choose(Choice::DangerSoftware(Arc::new(Software))).expect("it was asked for");
        assert_eq!(chosen.origin, Origin::Software);
        assert_eq!(chosen.attester.quote(&[0; 64]).expect("it makes one"), [1]);
    }
}
