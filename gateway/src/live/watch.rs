//! Notices that a file has changed: its place, length or time, looked at every so often.
//!
//! Looked at and not listened for: notifications of the kernel do not come for bind-mounted files, network file systems
//! and links that are swapped above the file, which is how Kubernetes replaces a ConfigMap.
//! `docs/decisions/0006-reload.md` has the argument.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

/// What tells one content of a file from another; `None` where there is no file.
type Print = Option<(u64, u64, u64, i64, i64)>;

/// A set of files as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Watch {
    files: Vec<(PathBuf, Print)>,
    /// Seen to differ and not yet seen to rest: a file that is being written is read when its writer is done.
    unrest: Option<Vec<Print>>,
}

impl Watch {
    /// Files as they are now.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let files = files.into_iter().map(|path| {
            let print = print(&path);
            (path, print)
        });
        Self {
            files: files.collect(),
            unrest: None,
        }
    }

    /// Takes what is there now as known: it is about to be read.
    pub(super) fn mark(&mut self) {
        for (path, known) in &mut self.files {
            *known = print(path);
        }
        self.unrest = None;
    }

    /// Looks at these files from now on. Of those that were looked at before, what was known stays known, so that a
    /// change while they were read is not missed.
    pub(super) fn follow(&mut self, files: Vec<PathBuf>) {
        let before = std::mem::take(&mut self.files);
        let known = |path: &PathBuf| before.iter().find(|(other, _)| other == path).map(|(_, known)| *known);
        self.files = files
            .into_iter()
            .map(|path| {
                let known = known(&path).unwrap_or_else(|| print(&path));
                (path, known)
            })
            .collect();
    }

    /// Whether something has changed since, and has rested since the last look. Told once.
    pub(super) fn look(&mut self) -> bool {
        let now: Vec<Print> = self.files.iter().map(|(path, _)| print(path)).collect();
        let is_known = self.files.iter().zip(&now).all(|((_, known), now)| known == now);
        if is_known {
            self.unrest = None;
            return false;
        }
        if self.unrest.as_ref() != Some(&now) {
            self.unrest = Some(now);
            return false;
        }
        for ((_, known), now) in self.files.iter_mut().zip(now) {
            *known = now;
        }
        self.unrest = None;
        true
    }
}

/// Follows links: what a path means is what changes.
fn print(path: &PathBuf) -> Print {
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
        let mut watch = Watch::new(vec![path.clone()]);
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
        let mut watch = Watch::new(vec![data.join("m.yaml")]);
        symlink("v2", folder.0.join("next")).expect("a link can be made");
        fs::rename(folder.0.join("next"), &data).expect("a link can be replaced");
        assert!(!watch.look());
        assert!(watch.look());
    }

    #[test]
    fn a_file_that_goes_and_comes_is_noticed() {
        let folder = Folder::new("gone");
        let path = folder.0.join("m.yaml");
        let mut watch = Watch::new(vec![path.clone()]);
        fs::write(&path, "a").expect("it can be written");
        assert!(!watch.look());
        assert!(watch.look());
        fs::remove_file(&path).expect("it can be removed");
        assert!(!watch.look());
        assert!(watch.look());
    }
}
