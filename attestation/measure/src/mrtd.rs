//! MRTD: what the TDX module measures while QEMU builds the guest.
//!
//! Rules: "Intel TDX Module Base Architecture Specification", MRTD; TDH.MEM.PAGE.ADD and TDH.MR.EXTEND. A page that is
//! added gives 128 bytes (name of the call, its guest physical address at 16, zeros); each 256 bytes of a page that is
//! extended give such 128 bytes and themselves.

use sha2::{Digest, Sha384};

use crate::tdvf::{Firmware, PAGE};
use crate::{Measurement, Section};

const CHUNK: usize = 256;

/// In which order KVM adds and measures the pages of a section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageOrder {
    /// Each page is added, then measured: Linux 6.16 and later, where TDX is in the mainline, and vendor kernels whose
    /// QEMU is 9.0 or later.
    #[default]
    PageByPage,
    /// All pages of a section are added before the first is measured: vendor kernels with QEMU 8.
    SectionBySection,
}

pub fn mrtd(firmware: &Firmware<'_>, order: PageOrder) -> Measurement {
    let mut hash = Sha384::new();
    for section in firmware.sections() {
        let data = firmware.data(section);
        match order {
            PageOrder::PageByPage => {
                for page in pages(section) {
                    add(&mut hash, section, page);
                    measure(&mut hash, section, page, data);
                }
            }
            PageOrder::SectionBySection => {
                pages(section).for_each(|page| add(&mut hash, section, page));
                pages(section).for_each(|page| measure(&mut hash, section, page, data));
            }
        }
    }
    Measurement(hash.finalize().into())
}

/// How far into the section each page begins.
fn pages(section: &Section) -> impl Iterator<Item = u64> {
    (0..section.len).step_by(4096)
}

fn add(hash: &mut Sha384, section: &Section, page: u64) {
    if section.added {
        call(hash, b"MEM.PAGE.ADD", section, page);
    }
}

fn measure(hash: &mut Sha384, section: &Section, page: u64, data: &[u8]) {
    if !section.extended {
        return;
    }
    let start = usize::try_from(page).unwrap_or(usize::MAX);
    let end = usize::try_from(page.saturating_add(PAGE)).unwrap_or(usize::MAX);
    let page_data = data.get(start..end).unwrap_or_default();
    let chunks = (page..).step_by(CHUNK).zip(page_data.chunks_exact(CHUNK));
    for (offset, chunk) in chunks {
        call(hash, b"MR.EXTEND", section, offset);
        hash.update(chunk);
    }
}

fn call(hash: &mut Sha384, name: &[u8], section: &Section, offset: u64) {
    let mut buffer = [0; 128];
    for (to, from) in buffer.iter_mut().zip(name) {
        *to = *from;
    }
    // `Firmware::parse` saw that no section goes past 2^64.
    let address = section.address.saturating_add(offset).to_le_bytes();
    for (to, from) in buffer.iter_mut().skip(16).zip(address) {
        *to = from;
    }
    hash.update(buffer);
}
