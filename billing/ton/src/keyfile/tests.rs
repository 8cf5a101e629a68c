use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

const PASSPHRASE: &[u8] = b"tea with a spoon";

/// A folder of the test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "mulberry-keyfile-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder of our own");
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("wallet.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn seed() -> Seed {
    Seed::from_bytes([7; 32])
}

fn written(path: &Path, secret: &Secret) {
    create(path, Purpose::Wallet, secret, PASSPHRASE, Hardness::LEAST).expect("a new file");
}

#[test]
fn a_key_is_sealed_and_opened() {
    let folder = Folder::new();
    written(&folder.path(), &Secret::Seed(seed()));
    let file = KeyFile::read(&folder.path()).expect("a key file");
    assert_eq!(file.public_key(), &seed().public_key());
    assert_eq!((file.purpose(), file.has_words()), (Purpose::Wallet, false));
    let opened = file.open(Purpose::Wallet, PASSPHRASE).expect("the passphrase");
    assert_eq!(opened.seed().reveal(), seed().reveal());
    let text = fs::read_to_string(folder.path()).expect("a text");
    assert!(!text.contains(&to_hex(seed().reveal())), "the key is not in the clear");
    let mode = fs::metadata(folder.path()).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 1);
}

#[test]
fn words_are_sealed_and_shown_again() {
    let folder = Folder::new();
    let words = Mnemonic::generate().expect("random numbers");
    written(&folder.path(), &Secret::Words(words.clone()));
    let file = KeyFile::read(&folder.path()).expect("a key file");
    assert!(file.has_words());
    match file.open(Purpose::Wallet, PASSPHRASE) {
        Ok(Secret::Words(opened)) => assert_eq!(opened.reveal(), words.reveal()),
        other => panic!("no words: {other:?}"),
    }
}

#[test]
fn a_file_is_never_overwritten() {
    let folder = Folder::new();
    written(&folder.path(), &Secret::Seed(seed()));
    let before = fs::read(folder.path()).expect("a file");
    let other = Secret::Seed(Seed::from_bytes([8; 32]));
    let again = create(&folder.path(), Purpose::Wallet, &other, PASSPHRASE, Hardness::LEAST);
    assert!(matches!(again, Err(CreateError::Exists)), "{again:?}");
    assert_eq!(fs::read(folder.path()).expect("a file"), before);
    assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 1);
}

#[test]
fn a_wrong_passphrase_a_wrong_purpose_and_damage_are_told_apart() {
    let folder = Folder::new();
    written(&folder.path(), &Secret::Seed(seed()));
    let file = KeyFile::read(&folder.path()).expect("a key file");
    let wrong = file.open(Purpose::Wallet, b"tea with a fork!");
    assert_eq!(wrong.err(), Some(OpenError::WrongPassphrase));
    let channel = file.open(Purpose::Channel, PASSPHRASE).err();
    assert!(matches!(channel, Some(OpenError::Purpose { .. })), "{channel:?}");

    // Each letter of the file in turn, to another one. A change of spaces changes nothing.
    let text = fs::read(folder.path()).expect("a file");
    let mut damaged = 0;
    for at in 0..text.len() {
        if text[at].is_ascii_whitespace() {
            continue;
        }
        let mut broken = text.clone();
        broken[at] = if broken[at] == b'1' { b'2' } else { b'1' };
        match KeyFile::parse(&broken) {
            Err(ReadError::Damaged(_) | ReadError::Version(_)) => damaged += 1,
            other => panic!("letter {at} was changed and the file is {other:?}"),
        }
    }
    assert!(damaged > 400, "{damaged}");
    for length in [0, 1, text.len() / 2, text.len() - 2] {
        let torn = KeyFile::parse(&text[..length]);
        assert!(matches!(torn, Err(ReadError::Damaged(_))), "{torn:?}");
    }
    let long = KeyFile::parse(&vec![b' '; 20_000]);
    assert!(matches!(long, Err(ReadError::Damaged(_))), "{long:?}");
}

#[test]
fn a_forged_head_does_not_open() {
    // Whoever changes the file on purpose can make the checksum right, but not the seal.
    let file = KeyFile::seal(Purpose::Wallet, &Secret::Seed(seed()), PASSPHRASE, Hardness::LEAST).expect("sealed");
    let mut forged = file.clone();
    forged.clear.purpose = Purpose::Channel;
    let read = KeyFile::parse(forged.to_json().as_bytes()).expect("the checksum is right");
    assert_eq!(
        read.open(Purpose::Channel, PASSPHRASE).err(),
        Some(OpenError::WrongPassphrase)
    );
    // The public half is sealed too: a file that shows another one is not opened.
    let mut forged = file.clone();
    forged.clear.public_key = to_hex(&[9; 32]);
    let read = KeyFile::parse(forged.to_json().as_bytes()).expect("the checksum is right");
    assert_eq!(read.unverified_public_key(), &[9; 32]);
    assert_eq!(
        read.open(Purpose::Wallet, PASSPHRASE).err(),
        Some(OpenError::WrongPassphrase)
    );
    for (memory_kib, passes) in [(u32::MAX, 2), (19 * 1024, u32::MAX), (8, 2), (19 * 1024, 1)] {
        let mut forged = file.clone();
        (forged.clear.memory_kib, forged.clear.passes) = (memory_kib, passes);
        let read = KeyFile::parse(forged.to_json().as_bytes());
        assert!(
            matches!(read, Err(ReadError::Hardness)),
            "{memory_kib} {passes}: {read:?}"
        );
    }
    let mut later = file;
    later.clear.version = 2;
    let read = KeyFile::parse(later.to_json().as_bytes());
    assert!(matches!(read, Err(ReadError::Version(2))), "{read:?}");
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let folder = Folder::new();
    written(&folder.path(), &Secret::Seed(seed()));
    // Its group are others too.
    for exposed in [0o644, 0o640, 0o620, 0o604] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(exposed)).expect("ours");
        let read = KeyFile::read(&folder.path());
        assert!(matches!(read, Err(ReadError::Exposed)), "{exposed:o}: {read:?}");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o400)).expect("ours");
    assert!(KeyFile::read(&folder.path()).is_ok());
    let absent = KeyFile::read(&folder.0.join("absent"));
    assert!(matches!(absent, Err(ReadError::Io(_))), "{absent:?}");
}

#[test]
fn secrets_have_no_debug() {
    let secret = Secret::Seed(seed());
    let file = KeyFile::seal(Purpose::Wallet, &secret, PASSPHRASE, Hardness::LEAST).expect("sealed");
    let shown = format!("{secret:?} {file:?}");
    assert!(!shown.contains(&to_hex(seed().reveal())), "{shown}");
    assert!(!shown.contains(&file.clear.salt), "{shown}");
    let short = KeyFile::seal(Purpose::Wallet, &secret, b"1234567", Hardness::LEAST);
    assert!(matches!(short, Err(CreateError::ShortPassphrase)), "{short:?}");
}
