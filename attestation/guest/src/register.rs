//! Our events in the guest's runtime register, RTMR3, before it serves anybody.
//!
//! A register cannot be set back: it is extended once for each event, and a process that starts again in the same guest
//! finds what it wrote.
//! So [`record`] goes on where the register says that it stands, writes nothing twice, and refuses a register that our
//! events do not explain: the guest ran with another configuration before, and only its restart clears that.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use attestation::{
    Hex,
    event::{EventLog, Register, extended},
};

use crate::{
    configfs::read_bounded,
    device::{Device, DeviceError},
};

/// Ours. RTMR0 to RTMR2 belong to the firmware, the boot loader and the kernel.
pub const INDEX: u8 = 3;

/// Where Linux 6.16 and later have the registers, by `Documentation/ABI/testing/sysfs-devices-virtual-misc-tdx_guest`.
pub const SYSFS: &str = "/sys/devices/virtual/misc/tdx_guest/measurements";

/// A register to read and to extend.
pub trait Extend {
    fn value(&self) -> Result<Register, RegisterError>;
    fn extend(&self, digest: &Register) -> Result<(), RegisterError>;
}

/// Why events do not stand in the register.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("the register '{}' cannot be read or extended", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the register '{}' does not have 48 bytes", path.display())]
    Malformed { path: PathBuf },
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(
        "RTMR3 holds {found}, which our events do not explain: the guest was started with another configuration, or something else measures into it; restart the guest"
    )]
    Unexplained { found: Register },
    #[error("RTMR3 holds {found} after an event that makes it {expected}: something else extended it at the same time")]
    Raced { expected: Register, found: Register },
}

/// Extends the register, which held `from` at the guest's start (zeros, unless the image measures something first), by
/// what it does not hold yet. Afterwards it holds the replay of the log; how many events were new is returned.
pub fn record(register: &impl Extend, from: Register, log: &EventLog) -> Result<usize, RegisterError> {
    let found = register.value()?;
    let steps = log.steps(from);
    let done = steps.iter().position(|step| *step == found);
    let done = done.ok_or(RegisterError::Unexplained { found })?;
    for event in log.events().iter().skip(done) {
        let expected = extended(&register.value()?, event.digest());
        register.extend(event.digest())?;
        let found = register.value()?;
        if found != expected {
            return Err(RegisterError::Raced { expected, found });
        }
    }
    let found = register.value()?;
    let expected = log.replay(from);
    if found != expected {
        return Err(RegisterError::Raced { expected, found });
    }
    Ok(log.events().len().saturating_sub(done))
}

/// The kernel's file: what is written extends, what is read is the register.
#[derive(Clone, Debug)]
pub struct Sysfs {
    path: PathBuf,
}

impl Sysfs {
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(format!("rtmr{INDEX}:sha384")),
        }
    }

    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    fn failed(&self, source: io::Error) -> RegisterError {
        RegisterError::File {
            path: self.path.clone(),
            source,
        }
    }
}

impl Extend for Sysfs {
    fn value(&self) -> Result<Register, RegisterError> {
        let bytes = read_bounded(&self.path, 48).map_err(|error| self.failed(error))?;
        let value = bytes.try_into().map_err(|_| RegisterError::Malformed {
            path: self.path.clone(),
        })?;
        Ok(Hex(value))
    }

    fn extend(&self, digest: &Register) -> Result<(), RegisterError> {
        let file = File::options().write(true).open(&self.path);
        let mut file = file.map_err(|error| self.failed(error))?;
        // One write: the kernel extends by the bytes of one call.
        match file.write(&digest.0).map_err(|error| self.failed(error))? {
            48 => Ok(()),
            _ => Err(self.failed(io::ErrorKind::WriteZero.into())),
        }
    }
}

impl Extend for Device {
    fn value(&self) -> Result<Register, RegisterError> {
        let report = self.report(&[0; 64])?;
        Ok(report.register(INDEX).ok_or(DeviceError::Malformed)?)
    }

    fn extend(&self, digest: &Register) -> Result<(), RegisterError> {
        Ok(Device::extend(self, INDEX, digest)?)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use attestation::event::Event;

    use super::*;
    use crate::testing::Folder;

    /// The module's side.
    struct Module {
        value: Cell<Register>,
        written: RefCell<Vec<Register>>,
        /// Stops, as a process that is killed, before this many.
        dies_before: usize,
        /// Whether somebody else extends it too.
        is_shared: bool,
    }

    impl Module {
        fn new(value: Register) -> Self {
            Self {
                value: Cell::new(value),
                written: RefCell::default(),
                dies_before: usize::MAX,
                is_shared: false,
            }
        }
    }

    impl Extend for Module {
        fn value(&self) -> Result<Register, RegisterError> {
            Ok(self.value.get())
        }

        fn extend(&self, digest: &Register) -> Result<(), RegisterError> {
            if self.written.borrow().len() >= self.dies_before {
                return Err(DeviceError::Malformed.into());
            }
            self.written.borrow_mut().push(*digest);
            self.value.set(extended(&self.value.get(), digest));
            if self.is_shared {
                self.value.set(extended(&self.value.get(), &Hex([1; 48])));
            }
            Ok(())
        }
    }

    fn log(texts: &[&str]) -> EventLog {
        let events = texts.iter().map(|text| Event::new("config", text).expect("an event"));
        EventLog::new(events.collect()).expect("it is short")
    }

    const ZEROS: Register = Hex([0; 48]);

    #[test]
    fn events_extend_the_register_once() {
        let module = Module::new(ZEROS);
        let log = log(&["a", "b", "c"]);
        assert_eq!(record(&module, ZEROS, &log).expect("it is fresh"), 3);
        assert_eq!(module.value.get(), log.replay(ZEROS));
        assert_eq!(record(&module, ZEROS, &log).expect("it is explained"), 0);
        assert_eq!(module.written.borrow().len(), 3);
    }

    #[test]
    fn a_process_that_died_between_two_events_goes_on() {
        let log = log(&["a", "b", "c"]);
        for died in 0..3 {
            let mut module = Module::new(ZEROS);
            module.dies_before = died;
            assert!(record(&module, ZEROS, &log).is_err());
            module.dies_before = usize::MAX;
            assert_eq!(record(&module, ZEROS, &log).expect("it goes on"), 3 - died);
            assert_eq!(module.value.get(), log.replay(ZEROS));
        }
    }

    #[test]
    fn another_configuration_needs_a_restart_of_the_guest() {
        let module = Module::new(ZEROS);
        assert_eq!(record(&module, ZEROS, &log(&["a"])).expect("it is fresh"), 1);
        let found = module.value.get();
        let refused = record(&module, ZEROS, &log(&["b"]));
        assert!(matches!(refused, Err(RegisterError::Unexplained { found: value }) if value == found));
        assert_eq!(module.written.borrow().len(), 1, "nothing was written");
    }

    #[test]
    fn an_image_that_measures_first_is_said() {
        let image = Hex([4; 48]);
        let module = Module::new(image);
        assert!(record(&module, ZEROS, &log(&["a"])).is_err());
        assert_eq!(record(&module, image, &log(&["a"])).expect("it is explained"), 1);
    }

    #[test]
    fn somebody_else_who_extends_is_seen() {
        let mut module = Module::new(ZEROS);
        module.is_shared = true;
        let refused = record(&module, ZEROS, &log(&["a", "b"]));
        assert!(matches!(refused, Err(RegisterError::Raced { .. })));
    }

    #[test]
    fn the_kernels_file_has_48_bytes() {
        let folder = Folder::new();
        let register = Sysfs::new(folder.path());
        assert!(!register.exists());
        assert!(matches!(register.value(), Err(RegisterError::File { .. })));
        let path = folder.path().join("rtmr3:sha384");
        for (bytes, good) in [(47, false), (48, true), (49, false)] {
            std::fs::write(&path, vec![3; bytes]).expect("the folder is ours");
            assert_eq!(register.value().is_ok(), good, "{bytes}");
        }
        std::fs::write(&path, [0; 48]).expect("the folder is ours");
        register.extend(&Hex([5; 48])).expect("a file takes it");
        assert_eq!(
            register.value().expect("it has 48 bytes"),
            Hex([5; 48]),
            "a plain file keeps what is written"
        );
    }
}
