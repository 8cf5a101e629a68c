//! Intake: settlements from files and folders, each as often as its file changes.
//!
//! A file has one settlement or several, as `mulberry channel export` and gateways write them; of a folder every `*.json`
//! is looked at. Files are not changed and not removed: they are the payee's.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use billing::channel::Blob;

/// Thousands of settlements.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Of a folder; what is beyond is not looked at, and said.
const MAX_FILES: usize = 100_000;

/// Why a file brought nothing, or not all.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    #[error("it has more than {MAX_FILE} bytes")]
    TooLong,
    #[error("it is no settlement")]
    Malformed(#[source] serde_json::Error),
    #[error("there are more than {MAX_FILES} files; the others are not looked at")]
    TooMany,
}

/// What a look brought.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) from: PathBuf,
    pub(super) blob: Result<Blob, IntakeError>,
}

/// Files and folders, and what of them was read.
#[derive(Debug)]
pub(super) struct Intake {
    places: Vec<PathBuf>,
    known: HashMap<PathBuf, Mark>,
}

/// How a file looked when it was read; `None` where it could not be.
type Mark = Option<(u64, Option<SystemTime>)>;

impl Intake {
    pub(super) fn new(places: Vec<PathBuf>) -> Self {
        Self {
            places,
            known: HashMap::new(),
        }
    }

    /// What is new since the last look. A file that cannot be read is told once, until it changes.
    pub(super) fn look(&mut self) -> Vec<Found> {
        let mut found = Vec::new();
        for place in self.places.clone() {
            match fs::metadata(&place) {
                Ok(metadata) if metadata.is_dir() => self.folder(&place, &mut found),
                Ok(metadata) => self.file(place, &metadata, &mut found),
                Err(error) => self.unreadable(place, error, &mut found),
            }
        }
        found
    }

    fn folder(&mut self, folder: &Path, found: &mut Vec<Found>) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(folder.to_owned(), error, found),
        };
        let mut files = 0;
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let is_hidden = path
                .file_name()
                .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden || path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            files += 1;
            if files > MAX_FILES {
                if self.known.insert(folder.to_owned(), None).is_none() {
                    found.push(Found {
                        from: folder.to_owned(),
                        blob: Err(IntakeError::TooMany),
                    });
                }
                break;
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => self.file(path, &metadata, found),
                Ok(_) => {}
                Err(error) => self.unreadable(path, error, found),
            }
        }
    }

    fn file(&mut self, path: PathBuf, metadata: &Metadata, found: &mut Vec<Found>) {
        let mark = Some((metadata.len(), metadata.modified().ok()));
        if self.known.get(&path) == Some(&mark) {
            return;
        }
        self.known.insert(path.clone(), mark);
        found.extend(read(&path).into_iter().map(|blob| Found {
            from: path.clone(),
            blob,
        }));
    }

    fn unreadable(&mut self, path: PathBuf, error: io::Error, found: &mut Vec<Found>) {
        if self.known.insert(path.clone(), None) != Some(None) {
            found.push(Found {
                from: path,
                blob: Err(IntakeError::Read(error)),
            });
        }
    }
}

fn read(path: &Path) -> Vec<Result<Blob, IntakeError>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => return vec![Err(IntakeError::Read(error))],
        Ok(length) if u64::try_from(length).is_ok_and(|length| length > MAX_FILE) => {
            return vec![Err(IntakeError::TooLong)];
        }
        Ok(_) => {}
    }
    let blobs = serde_json::Deserializer::from_slice(&bytes).into_iter::<Blob>();
    blobs.map(|blob| blob.map_err(IntakeError::Malformed)).collect()
}

#[cfg(test)]
mod tests {
    use billing::{
        Nano,
        channel::{Account, ChannelId, Keys, Network, Signer, Take},
    };

    use super::*;

    fn blob(take: u64) -> String {
        let signer = Signer::from_seed(&[1; 32]).expect("a seed");
        let keys = Keys {
            payer: signer.public(),
            payee: signer.public(),
        };
        let channel = ChannelId {
            network: Network::TESTNET,
            account: Account {
                workchain: 0,
                hash: [1; 32],
            },
        };
        let take = Take::sign(&signer, &keys, &channel, Nano::saturating(take)).expect("its key");
        let blob = Blob {
            network: channel.network,
            take: take.claim(),
            voucher: None,
        };
        serde_json::to_string(&blob).expect("JSON")
    }

    fn takes(found: &[Found]) -> Vec<Option<u64>> {
        let amount = |found: &Found| found.blob.as_ref().ok().map(|blob| blob.take.amount.get());
        found.iter().map(amount).collect()
    }

    #[test]
    fn files_are_read_as_often_as_they_change() {
        let folder = std::env::temp_dir().join(format!("mulberry-intake-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder takes another");
        let file = |name: &str, text: &str| fs::write(folder.join(name), text).expect("there is room");
        let alone = folder.join("alone");
        let mut intake = Intake::new(vec![folder.clone(), alone.clone()]);
        // A file that is not there is told once.
        assert_eq!(takes(&intake.look()), [None]);
        assert_eq!(takes(&intake.look()), []);
        file("a.json", &blob(1));
        file("b.txt", &blob(2));
        file(".c.json", &blob(3));
        assert_eq!(takes(&intake.look()), [Some(1)]);
        assert_eq!(takes(&intake.look()), []);
        // Several, one a line; one that is named is read whatever its name.
        file("a.json", &format!("{}\n{}\n", blob(4), blob(50)));
        fs::write(&alone, blob(600)).expect("there is room");
        assert_eq!(takes(&intake.look()), [Some(4), Some(50), Some(600)]);
        // What is before the place where it breaks off counts.
        file("a.json", &format!("{}\n{{\"network\"", blob(7)));
        assert_eq!(takes(&intake.look()), [Some(7), None]);
        assert_eq!(takes(&intake.look()), []);
        drop(fs::remove_dir_all(&folder));
    }
}
