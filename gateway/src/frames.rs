//! Frames: a journal on disk that is only added to, and of which every record is whole or not there.
//!
//! The form is that of [`billing::channel::journal`]. A crash cuts a record short at most at the end, where nothing waits
//! for it yet; what is after the last whole one is cut off when the journal is opened, and kept beside it.
//! After a write that failed nothing is added any more: half a frame with whole ones behind it would be damage.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use billing::channel::journal::{self, Foreign};
use serde::{Serialize, de::DeserializeOwned};

use billing_ton::durable;

pub(crate) use scribe::{Scribe, Then};

mod scribe;

/// Beyond it somebody else's file was named. Ours are made shorter long before ([`Frames::is_long`]).
const MOST_BYTES: u64 = 1 << 32;
/// One that is shorter is not worth making it shorter.
const LONG: u64 = 8 << 20;

/// Why a journal cannot be gone on with, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramesError {
    #[error("the journal '{}' cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the journal '{}' is not ours", path.display())]
    Foreign { path: PathBuf, source: Foreign },
    #[error("the journal '{}' cannot be written; free the disk and start again", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// A journal that is open at its end.
#[derive(Debug)]
pub(crate) struct Frames {
    path: PathBuf,
    file: Pen,
}

/// A file that is written at its end, until a write fails.
#[derive(Debug)]
struct Pen {
    file: File,
    is_broken: bool,
    length: u64,
    /// How long it was when it was read or made shorter.
    began: u64,
}

/// What was in a journal.
#[derive(Debug)]
pub(crate) struct Opened<R> {
    pub(crate) frames: Frames,
    pub(crate) records: Vec<R>,
    /// Bytes at its end that were no record and are gone.
    pub(crate) torn: usize,
}

impl Frames {
    /// Opens a journal, or begins one.
    pub(crate) fn open<R: DeserializeOwned>(path: &Path) -> Result<Opened<R>, FramesError> {
        let unread = |source| FramesError::Read {
            path: path.to_owned(),
            source,
        };
        match durable::create(path, &[]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(written(path)(source)),
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(unread)?;
        if file.metadata().map_err(unread)?.len() > MOST_BYTES {
            return Err(unread(io::ErrorKind::FileTooLarge.into()));
        }
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes).map_err(unread)?;
        let read = journal::read(&bytes).map_err(|source| FramesError::Foreign {
            path: path.to_owned(),
            source,
        })?;
        if let Some(torn) = bytes.get(read.whole..).filter(|torn| !torn.is_empty()) {
            durable::replace(&path.with_extension("torn"), torn).map_err(written(path))?;
        }
        let frames = Self {
            path: path.to_owned(),
            file: Pen::at(file, read.whole).map_err(written(path))?,
        };
        Ok(Opened {
            frames,
            records: read.records,
            torn: read.torn,
        })
    }

    /// What is in a journal that another process may have open.
    pub(crate) fn peek<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>, FramesError> {
        let unread = |source| FramesError::Read {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unread)?;
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(unread)?;
        let read = journal::read(&bytes).map_err(|source| FramesError::Foreign {
            path: path.to_owned(),
            source,
        })?;
        Ok(read.records)
    }

    /// Adds a record. It is on the disk when this returns; after an error nothing more may be added.
    pub(crate) fn add<R: Serialize>(&mut self, record: &R) -> Result<(), FramesError> {
        self.put(record)?;
        self.sync()
    }

    /// Adds a record that may be lost with the machine's power until [`sync`](Self::sync), and not with this process.
    pub(crate) fn put<R: Serialize>(&mut self, record: &R) -> Result<(), FramesError> {
        let put = self.file.write_all(&journal::frame(record));
        put.map_err(written(&self.path))
    }

    /// All that was added is on the disk when this returns.
    pub(crate) fn sync(&mut self) -> Result<(), FramesError> {
        self.file.sync_data().map_err(written(&self.path))
    }

    /// Adds records, with one wait for the disk. A crash may leave the first ones of them, each whole.
    pub(crate) fn add_all<'a, R: Serialize + 'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a R>,
    ) -> Result<(), FramesError> {
        let bytes: Vec<u8> = records.into_iter().flat_map(journal::frame).collect();
        self.file.write_all(&bytes).map_err(written(&self.path))?;
        self.sync()
    }

    /// Whether it has grown so much that it is time for [`replace`](Self::replace).
    pub(crate) fn is_long(&self) -> bool {
        let grown = self.file.length.saturating_sub(self.file.began);
        grown >= LONG.max(self.file.began)
    }

    /// Puts these in place of all that was added: the same journal, shorter.
    pub(crate) fn replace<'a, R: Serialize + 'a>(
        &mut self,
        records: impl Iterator<Item = &'a R>,
    ) -> Result<(), FramesError> {
        let bytes: Vec<u8> = records.flat_map(journal::frame).collect();
        let replaced = durable::replace(&self.path, &bytes)
            .and_then(|()| OpenOptions::new().read(true).write(true).open(&self.path))
            .and_then(|file| Pen::at(file, bytes.len()));
        match replaced {
            Ok(pen) => self.file = pen,
            // Which of the two files has the name, nobody knows here.
            Err(error) => {
                self.file.is_broken = true;
                return Err(written(&self.path)(error));
            }
        }
        Ok(())
    }
}

impl Pen {
    /// At the end of what is whole; what is behind is cut off.
    fn at(mut file: File, whole: usize) -> io::Result<Self> {
        let end = u64::try_from(whole).unwrap_or(u64::MAX);
        if file.metadata()?.len() != end {
            file.set_len(end)?;
            file.sync_all()?;
        }
        file.seek(io::SeekFrom::Start(end))?;
        Ok(Self {
            file,
            is_broken: false,
            length: end,
            began: end,
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.whole()?;
        let written = self.file.write_all(bytes);
        self.is_broken = written.is_err();
        self.length = self.length.saturating_add(bytes.len() as u64);
        written
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.whole()?;
        let synced = self.file.sync_data();
        // What of it is on the disk is not known any more, and asking again says nothing.
        self.is_broken = synced.is_err();
        synced
    }

    fn whole(&self) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        Ok(())
    }
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> FramesError {
    let path = path.to_owned();
    move |source| FramesError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mulberry-frames-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("the temporary folder takes another");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn records(path: &Path) -> (Vec<u32>, usize) {
        let opened = Frames::open(path).expect("it opens");
        (opened.records, opened.torn)
    }

    #[test]
    fn what_was_added_is_there_and_what_was_torn_is_not() {
        let folder = Folder::new("torn");
        let path = folder.0.join("journal");
        let mut opened = Frames::open::<u32>(&path).expect("it is begun");
        for number in [1_u32, 2, 3] {
            opened.frames.add(&number).expect("there is room");
        }
        drop(opened);
        let whole = fs::read(&path).expect("it is there");
        assert_eq!(records(&path), (vec![1, 2, 3], 0));
        // Cut anywhere in the last record, the others are there, and one more can be added.
        for cut in 1..whole.len() / 3 {
            fs::write(&path, &whole[..whole.len() - cut]).expect("there is room");
            let mut opened = Frames::open::<u32>(&path).expect("it opens");
            assert_eq!((opened.records.len(), opened.torn), (2, whole.len() / 3 - cut));
            opened.frames.add(&4_u32).expect("there is room");
            drop(opened);
            assert_eq!(records(&path), (vec![1, 2, 4], 0));
        }
    }

    /// What is behind a flipped bit was confirmed.
    #[test]
    fn damage_is_no_torn_end() {
        let folder = Folder::new("damaged");
        let path = folder.0.join("journal");
        let mut frames = Frames::open::<u32>(&path).expect("it is begun").frames;
        for number in 0..5_u32 {
            frames.add(&number).expect("there is room");
        }
        drop(frames);
        let whole = fs::read(&path).expect("it is there");
        for at in 0..whole.len() * 4 / 5 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).expect("there is room");
            let error = Frames::open::<u32>(&path).expect_err("it is damaged");
            let source = std::error::Error::source(&error).map(ToString::to_string);
            assert!(
                source.is_some_and(|source| source.contains("cut it at byte")),
                "{at}: {error}"
            );
            assert_eq!(fs::read(&path).expect("it is there"), bytes, "nothing is cut");
        }
        // In the last one it may be a write that was cut short, and a copy is kept.
        let mut bytes = whole.clone();
        *bytes.last_mut().expect("it is not empty") ^= 1;
        fs::write(&path, &bytes).expect("there is room");
        assert_eq!(records(&path), (vec![0, 1, 2, 3], whole.len() / 5));
        let torn = fs::read(folder.0.join("journal.torn")).expect("it is kept");
        assert_eq!(torn, bytes[whole.len() * 4 / 5..]);
    }

    #[test]
    fn after_a_write_that_failed_nothing_is_added() {
        let folder = Folder::new("broken");
        let path = folder.0.join("journal");
        drop(Frames::open::<u32>(&path).expect("it is begun"));
        let mut pen = Pen::at(File::open(&path).expect("it is there"), 0).expect("it is empty");
        assert!(pen.write_all(b"it is read only").is_err());
        let error = pen.write_all(b"").expect_err("it is broken");
        assert!(error.to_string().contains("earlier write"), "{error}");
        assert!(pen.sync_data().is_err());
    }

    #[test]
    fn a_journal_says_when_it_is_long() {
        let folder = Folder::new("long");
        let path = folder.0.join("journal");
        let mut frames = Frames::open::<String>(&path).expect("it is begun").frames;
        let record = "a".repeat(60_000);
        let mut added = 0_u64;
        while !frames.is_long() {
            frames.add(&record).expect("there is room");
            added += 60_000;
        }
        assert!((LONG..LONG + 120_000).contains(&(added + added / 1000)), "{added}");
        frames.replace([&record].into_iter()).expect("there is room");
        assert!(!frames.is_long());
    }

    #[test]
    fn a_journal_is_made_shorter_and_goes_on() {
        let folder = Folder::new("shorter");
        let path = folder.0.join("journal");
        let mut frames = Frames::open::<u32>(&path).expect("it is begun").frames;
        for number in 0..50_u32 {
            frames.add(&number).expect("there is room");
        }
        frames.replace([7_u32, 8].iter()).expect("there is room");
        frames.add(&9_u32).expect("there is room");
        assert_eq!(records(&path), (vec![7, 8, 9], 0));
    }

    #[test]
    fn a_file_of_somebody_else_is_not_cut() {
        let folder = Folder::new("foreign");
        let path = folder.0.join("journal");
        fs::write(&path, journal::frame(&"text")).expect("there is room");
        let before = fs::read(&path).expect("it is there");
        assert!(matches!(Frames::open::<u32>(&path), Err(FramesError::Foreign { .. })));
        assert_eq!(fs::read(&path).expect("it is there"), before);
    }
}
