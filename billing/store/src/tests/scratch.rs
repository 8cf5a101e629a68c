//! A folder for one test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // One of the same process id, which was killed, may have left what it had.
        let folder = std::env::temp_dir().join(format!(
            "mulberry-store-{}-{}-{:x}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed),
            std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros())
        ));
        std::fs::create_dir(&folder).expect("the temporary folder is writable and the name is new");
        Self { folder }
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failure here must not hide the failure of the test.
        let _kept = std::fs::remove_dir_all(&self.folder);
    }
}
