//! Notices that a file has changed: its place, length or time, looked at every so often.
//!
//! Looked at and not listened for: notifications of the kernel do not come for bind-mounted files, network file systems
//! and links that are swapped above the file, which is how Kubernetes replaces a ConfigMap.
//! `docs/decisions/0006-reload.md` has the argument.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What tells one content of a file from another; `None` where there is no file.
type Print = Option<(u64, u64, u64, i64, i64)>;

/// A file as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    path: PathBuf,
    print: Print,
}

impl Seen {
    /// The file as it is now. Taken before the file is read: a change while it is read is then a change since.
    pub(crate) fn now(path: &Path) -> Self {
        Self {
            print: print(path),
            path: path.to_path_buf(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A set of files as they were last seen.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    files: Vec<Seen>,
    /// Seen to differ and not yet seen to rest: a file that is being written is read when its writer is done.
    unrest: Option<Vec<Print>>,
}

impl Watch {
    pub(crate) fn new(files: Vec<Seen>) -> Self {
        Self { files, unrest: None }
    }

    /// Whether something has changed since, and has rested since the last look. Told once.
    pub(crate) fn look(&mut self) -> bool {
        let now: Vec<Print> = self.files.iter().map(|file| print(&file.path)).collect();
        let is_known = self.files.iter().zip(&now).all(|(file, now)| file.print == *now);
        if is_known {
            self.unrest = None;
            return false;
        }
        if self.unrest.as_ref() != Some(&now) {
            self.unrest = Some(now);
            return false;
        }
        for (file, now) in self.files.iter_mut().zip(now) {
            file.print = now;
        }
        self.unrest = None;
        true
    }
}

/// Follows links: what a path means is what changes.
fn print(path: &Path) -> Print {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mulberry-watch-{name}-{:016x}", fastrand::u64(..)));
            fs::create_dir(&path).expect("a temporary folder can be made");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_change_is_told_once_and_only_when_it_rests() {
        let folder = Folder::new("rest");
        let path = folder.0.join("m.yaml");
        fs::write(&path, "a").expect("it can be written");
        let mut watch = Watch::new(vec![Seen::now(&path)]);
        assert!(!watch.look() && !watch.look());
        fs::write(&path, "ab").expect("it can be written");
        assert!(!watch.look(), "it may still be written");
        fs::write(&path, "abc").expect("it can be written");
        assert!(!watch.look(), "it was");
        assert!(watch.look());
        assert!(!watch.look() && !watch.look());
    }

    #[test]
    fn a_link_that_is_swapped_above_the_file_is_noticed() {
        let folder = Folder::new("link");
        for version in ["v1", "v2"] {
            fs::create_dir(folder.0.join(version)).expect("a folder can be made");
            fs::write(folder.0.join(version).join("m.yaml"), "same").expect("it can be written");
        }
        let data = folder.0.join("data");
        symlink("v1", &data).expect("a link can be made");
        let mut watch = Watch::new(vec![Seen::now(&data.join("m.yaml"))]);
        symlink("v2", folder.0.join("next")).expect("a link can be made");
        fs::rename(folder.0.join("next"), &data).expect("a link can be replaced");
        assert!(!watch.look());
        assert!(watch.look());
    }

    #[test]
    fn a_file_that_goes_and_comes_is_noticed() {
        let folder = Folder::new("gone");
        let path = folder.0.join("m.yaml");
        let mut watch = Watch::new(vec![Seen::now(&path)]);
        fs::write(&path, "a").expect("it can be written");
        assert!(!watch.look());
        assert!(watch.look());
        fs::remove_file(&path).expect("it can be removed");
        assert!(!watch.look());
        assert!(watch.look());
    }
}
