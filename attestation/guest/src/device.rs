//! The older way, `/dev/tdx_guest` (Linux 6.2): a report that only this machine can check, and registers to extend.
//!
//! A TDREPORT is laid out as Intel's TDX Module ABI says: 256 bytes MACed by the module (the type at 0, the report data
//! at 128), TEE_TCB_INFO at 256, TDINFO at 512 with RTMR0 to 3 from 720.
//! The quoting service of the host makes a quote of it: [`crate::qgs`].

#[cfg(target_os = "linux")]
mod ioctl;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use attestation::{Attester, Hex, NoQuote, event::Register};

use crate::{
    qgs::{self, Port, QgsError},
    quote::{self, QuoteError, TDX},
};

/// Where the kernel has it.
pub const PATH: &str = "/dev/tdx_guest";

pub(crate) const REPORT: usize = 1024;
const REPORT_DATA: usize = 128;
const RTMRS: usize = 720;
const RTMR: usize = 48;

/// Why there is no report, or no register was extended.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("'{}' cannot be used", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("the kernel refused the request for a TD report")]
    Report(#[source] io::Error),
    #[error("what the kernel gave is not a TD report over our report data")]
    Malformed,
    #[error(
        "the kernel does not extend registers through its device; Linux 6.16 does through /sys/devices/virtual/misc/tdx_guest/measurements"
    )]
    Extend(#[source] io::Error),
    #[error("only registers 2 and 3 can be extended, and there is no register {0}")]
    Index(u8),
}

/// The device, opened for each request.
#[derive(Clone, Debug)]
pub struct Device {
    path: PathBuf,
}

impl Device {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn open(&self) -> Result<File, DeviceError> {
        let opened = File::options().read(true).write(true).open(&self.path);
        opened.map_err(|source| DeviceError::Open {
            path: self.path.clone(),
            source,
        })
    }

    /// A report that only this machine's own module can check.
    pub fn report(&self, report_data: &[u8; 64]) -> Result<Report, DeviceError> {
        let bytes = ioctl::report(&self.open()?, report_data).map_err(DeviceError::Report)?;
        Report::parse(bytes, report_data).ok_or(DeviceError::Malformed)
    }

    /// Some vendors' kernels have this; the ones from kernel.org do not.
    pub fn extend(&self, index: u8, digest: &Register) -> Result<(), DeviceError> {
        if !matches!(index, 2 | 3) {
            return Err(DeviceError::Index(index));
        }
        ioctl::extend(&self.open()?, index, &digest.0).map_err(DeviceError::Extend)
    }
}

/// A TDREPORT over the report data that were asked for.
pub struct Report(Box<[u8; REPORT]>);

impl Report {
    fn parse(bytes: Box<[u8; REPORT]>, report_data: &[u8; 64]) -> Option<Self> {
        let held: &[u8; 64] = bytes.get(REPORT_DATA..)?.first_chunk()?;
        let is_ours = bytes.first() == Some(&TDX) && held == report_data;
        is_ours.then_some(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; REPORT] {
        &self.0
    }

    /// What RTMR0 to RTMR3 hold.
    pub fn register(&self, index: u8) -> Option<Register> {
        let at = RTMRS + usize::from(index) * RTMR;
        (index < 4).then_some(())?;
        self.0.get(at..)?.first_chunk().map(|register| Hex(*register))
    }
}

/// Device and quoting service together.
#[derive(Debug)]
pub struct DeviceQuotes {
    device: Device,
    port: Port,
}

/// Why they gave no quote.
#[derive(Debug, thiserror::Error)]
pub enum DeviceQuoteError {
    #[error("there is no report to make a quote of")]
    Device(#[from] DeviceError),
    #[error("the host's quoting service made no quote")]
    Qgs(#[from] QgsError),
    #[error(transparent)]
    Quote(#[from] QuoteError),
}

impl DeviceQuotes {
    pub fn new(device: Device, port: Port) -> Self {
        Self { device, port }
    }

    pub fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, DeviceQuoteError> {
        let report = self.device.report(report_data)?;
        let mut service = qgs::vsock::connect(self.port)?;
        let made = qgs::quote_of(&report, &mut service)?;
        Ok(quote::checked(made, report_data)?)
    }
}

impl Attester for DeviceQuotes {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
        self.quote(report_data).map_err(NoQuote::new)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::Folder;

    pub(crate) fn report(report_data: &[u8; 64]) -> Report {
        let mut bytes = Box::new([0; REPORT]);
        bytes[0] = TDX;
        bytes[128..192].copy_from_slice(report_data);
        for index in 0..4 {
            bytes[720 + 48 * index..][..48].fill(u8::try_from(index).expect("it is small") + 1);
        }
        Report::parse(bytes, report_data).expect("it is a report")
    }

    #[test]
    fn registers_are_where_the_module_puts_them() {
        let report = report(&[5; 64]);
        for index in 0..4 {
            assert_eq!(report.register(index), Some(Hex([index + 1; 48])));
        }
        assert_eq!(report.register(4), None);
        assert_eq!(report.register(255), None);
    }

    #[test]
    fn another_report_is_refused() {
        let ours = report(&[5; 64]);
        assert!(Report::parse(ours.0.clone(), &[6; 64]).is_none());
        let mut sgx = ours.0;
        sgx[0] = 0;
        assert!(Report::parse(sgx, &[5; 64]).is_none());
    }

    #[test]
    fn a_device_that_is_none_is_refused() {
        let folder = Folder::new();
        let missing = Device::new(&folder.path().join("tdx_guest"));
        assert!(matches!(missing.report(&[0; 64]), Err(DeviceError::Open { .. })));

        // A file takes no such request: ENOTTY.
        let path = folder.path().join("file");
        std::fs::write(&path, "").expect("the folder is ours");
        let file = Device::new(&path);
        let refused = |error: &io::Error| error.raw_os_error() == Some(libc::ENOTTY);
        let report = file.report(&[0; 64]);
        assert!(matches!(&report, Err(DeviceError::Report(error)) if refused(error)));
        let extended = file.extend(3, &Hex([1; 48]));
        assert!(matches!(&extended, Err(DeviceError::Extend(error)) if refused(error)));
        for index in [0, 1, 4, 255] {
            let extended = file.extend(index, &Hex([1; 48]));
            assert!(matches!(extended, Err(DeviceError::Index(found)) if found == index));
        }
    }
}
