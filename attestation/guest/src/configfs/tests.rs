//! A kernel of our own: real files in a folder of the test's own, filled and signed as configfs does.

use std::{
    fs,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
};

use super::*;
use crate::{quote::tests::quote, testing::Folder};

/// What goes wrong in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// It signs something else.
    OtherReportData,
    /// Another process writes into our entry while the hypervisor signs.
    Raced,
    /// It says so this often, then signs.
    Fails(io::ErrorKind, u64),
    Large,
    Empty,
    Garbage,
    Generation(&'static str),
    Unwritable,
}

/// The kernel's side of the tree.
#[derive(Debug)]
struct Kernel {
    files: OnDisk,
    provider: &'static str,
    fault: Fault,
    reads: AtomicU64,
    /// Where the other process waits for the moment to write, and we for it to have written.
    race: Arc<Barrier>,
}

impl Kernel {
    fn bump(&self, entry: &str) -> io::Result<()> {
        let path = self.files.attribute(entry, "generation");
        let generation: u64 = fs::read_to_string(&path)?.trim().parse().expect("a number");
        fs::write(path, format!("{}\n", generation + 1))
    }
}

impl Tree for Kernel {
    fn create(&self, entry: &str) -> io::Result<()> {
        self.files.create(entry)?;
        fs::write(self.files.attribute(entry, "provider"), self.provider)?;
        let generation = match self.fault {
            Fault::Generation(text) => text,
            _ => "0\n",
        };
        fs::write(self.files.attribute(entry, "generation"), generation)?;
        fs::write(self.files.attribute(entry, "inblob"), "")
    }

    fn read(&self, entry: &str, attribute: &str, limit: usize) -> io::Result<Vec<u8>> {
        if attribute != "outblob" {
            return self.files.read(entry, attribute, limit);
        }
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        let asked: [u8; 64] = fs::read(self.files.attribute(entry, "inblob"))?
            .try_into()
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        match self.fault {
            Fault::Fails(kind, times) if reads < times => return Err(kind.into()),
            Fault::Raced => {
                self.race.wait();
                self.race.wait();
            }
            _ => {}
        }
        let signed = match self.fault {
            Fault::OtherReportData => quote(&[9; 64]),
            Fault::Large => vec![4; MAX_QUOTE + 5],
            Fault::Empty => Vec::new(),
            Fault::Garbage => vec![4; 5000],
            _ => [quote(&asked), vec![0; 70]].concat(),
        };
        fs::write(self.files.attribute(entry, "outblob"), signed)?;
        self.files.read(entry, attribute, limit)
    }

    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        if self.fault == Fault::Unwritable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.files.write(entry, attribute, bytes)?;
        self.bump(entry)
    }

    fn remove(&self, entry: &str) -> io::Result<()> {
        fs::remove_dir_all(self.files.root.join(entry))
    }
}

fn reports(folder: &Folder, provider: &'static str, fault: Fault) -> Reports<Kernel> {
    let kernel = Kernel {
        files: OnDisk {
            root: folder.path().to_owned(),
        },
        provider,
        fault,
        reads: AtomicU64::new(0),
        race: Arc::new(Barrier::new(2)),
    };
    Reports::new(kernel, folder.path(), Duration::ZERO)
}

fn report_data(quote: &[u8]) -> [u8; 64] {
    let quote = attestation::Quote::parse(quote).expect("it has no padding");
    quote.report().report_data.0
}

/// The error in words, and that nothing was left behind either way.
fn check(provider: &'static str, fault: Fault, expect: Result<(), &str>) {
    let folder = Folder::new();
    let reports = reports(&folder, provider, fault);
    let made = reports.quote(&[7; 64]);
    match (&made, expect) {
        (Ok(made), Ok(())) => assert_eq!(report_data(made), [7; 64]),
        (Err(error), Err(expect)) => assert!(format!("{error:?}").contains(expect), "{fault:?}: {error:?}"),
        _ => panic!("{provider:?} with {fault:?}: {made:?}"),
    }
    assert_eq!(folder.entries(), [""; 0], "{fault:?}");
}

#[test]
fn a_quote_over_our_report_data_is_returned_and_the_entry_is_gone() {
    check("tdx_guest\n", Fault::None, Ok(()));
}

#[test]
fn what_is_not_our_quote_is_refused() {
    check("tdx_guest\n", Fault::OtherReportData, Err("Quote(OtherReportData)"));
    check("tdx_guest\n", Fault::Garbage, Err("Quote(Refused("));
    check("tdx_guest\n", Fault::Large, Err("Malformed { attribute: \"outblob\" }"));
    check("tdx_guest\n", Fault::Empty, Err("Malformed { attribute: \"outblob\" }"));
}

#[test]
fn other_providers_are_named_and_refused() {
    check("sev_guest\n", Fault::None, Err("Snp"));
    check("arm_cca_guest\n", Fault::None, Err("Provider(\"arm_cca_guest\")"));
    check("", Fault::None, Err("Provider(\"\")"));
}

#[test]
fn a_busy_hypervisor_is_asked_again_and_not_for_ever() {
    for kind in [
        io::ErrorKind::ResourceBusy,
        io::ErrorKind::Interrupted,
        io::ErrorKind::TimedOut,
    ] {
        check("tdx_guest\n", Fault::Fails(kind, 5), Ok(()));
    }
    let busy = io::ErrorKind::ResourceBusy;
    check("tdx_guest\n", Fault::Fails(busy, 6), Err("Busy { tries: 6"));
    let broken = io::ErrorKind::InvalidInput;
    check("tdx_guest\n", Fault::Fails(broken, 1), Err("attribute: \"outblob\""));
}

#[test]
fn generations_that_are_no_numbers_are_refused() {
    for text in ["", "x\n", "-1\n", "18446744073709551616\n"] {
        check("tdx_guest\n", Fault::Generation(text), Err("attribute: \"generation\""));
    }
}

#[test]
fn a_tree_that_may_not_be_written_is_refused() {
    check("tdx_guest\n", Fault::Unwritable, Err("attribute: \"inblob\""));
}

#[test]
fn a_second_writer_shows_in_the_generation() {
    let folder = Folder::new();
    let reports = reports(&folder, "tdx_guest\n", Fault::Raced);
    let barrier = Arc::clone(&reports.tree.race);
    let made = std::thread::scope(|threads| {
        threads.spawn(|| {
            barrier.wait();
            let entries = folder.entries();
            let [ours] = entries.as_slice() else {
                panic!("one entry: {entries:?}")
            };
            reports.tree.write(ours, "inblob", &[8; 64]).expect("it is a file");
            barrier.wait();
        });
        reports.quote(&[7; 64])
    });
    assert!(
        matches!(made, Err(ConfigfsError::Raced { before: 0, after: 2 })),
        "{made:?}"
    );
    assert_eq!(folder.entries(), [""; 0]);
}

#[test]
fn many_threads_each_get_their_own() {
    let folder = Folder::new();
    let reports = reports(&folder, "tdx_guest\n", Fault::None);
    std::thread::scope(|threads| {
        for of_thread in 0..8 {
            let reports = &reports;
            threads.spawn(move || {
                for _ in 0..20 {
                    let made = reports.quote(&[of_thread; 64]).expect("a quote");
                    assert_eq!(report_data(&made), [of_thread; 64]);
                }
            });
        }
    });
    assert_eq!(folder.entries(), [""; 0]);
}

#[test]
fn names_that_a_crash_left_are_skipped() {
    let folder = Folder::new();
    let reports = reports(&folder, "tdx_guest\n", Fault::None);
    let left = format!("mulberry-{}-0", std::process::id());
    reports.tree.create(&left).expect("the folder is ours");
    assert!(reports.quote(&[7; 64]).is_ok());
    assert_eq!(folder.entries(), [left]);
}

#[test]
fn a_machine_without_the_tree_says_where_it_looked() {
    let folder = Folder::new();
    let error = Configfs::open(&folder.path().join("tsm/report")).expect_err("there is none");
    assert!(error.to_string().contains("tsm/report"), "{error}");
}
