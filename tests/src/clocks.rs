//! The time of day of each command of a world, moved by its test while the command runs.
//!
//! A library that is loaded before libc answers what time it is; how long something took is not touched. It is C, and
//! made here, for what links Rust makes it too.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::World;

const SOURCE: &str = include_str!("clocks/ahead.c");
const LIBRARY: &str = "clocks/ahead.so";
/// The first words of `mulberry` whose clocks can be wrong.
const COMMANDS: [&str; 3] = ["serve", "worker", "connect"];

/// They are right until they are set.
#[derive(Debug)]
pub struct Clocks {
    folder: PathBuf,
}

impl Clocks {
    /// For all processes that are started in this world from now on; nothing where it cannot be done here, with the
    /// reason.
    pub fn of(world: &World) -> Result<Self, String> {
        let folder = world.dir().join("clocks");
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let clocks = Self { folder };
        for command in COMMANDS {
            fs::write(clocks.file(command), 0_i64.to_ne_bytes()).map_err(|error| error.to_string())?;
        }
        let source = world.file("clocks/ahead.c", SOURCE);
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(world.dir().join(LIBRARY))
            .arg(source)
            .output();
        match made {
            Ok(made) if made.status.success() => Ok(clocks),
            Ok(made) => Err(String::from_utf8_lossy(&made.stderr).into_owned()),
            Err(error) => Err(format!("there is no C compiler: {error}")),
        }
    }

    /// From now on the clock of this command is so many seconds ahead of the true time; behind, if it is less than 0.
    pub fn set(&self, command: &str, ahead_s: i64) {
        let file = OpenOptions::new().write(true).open(self.file(command));
        let written = file.and_then(|file| file.write_all_at(&ahead_s.to_ne_bytes(), 0));
        written.unwrap_or_else(|error| panic!("the clock of {command}: {error}"));
    }

    fn file(&self, command: &str) -> PathBuf {
        self.folder.join(format!("{command}.ahead"))
    }
}

/// What a process of the world in `dir` is started with.
pub(crate) fn variables(dir: &Path) -> Vec<(&'static str, PathBuf)> {
    let library = dir.join(LIBRARY);
    if !library.is_file() {
        return Vec::new();
    }
    vec![("LD_PRELOAD", library), ("MULBERRY_TEST_CLOCKS", dir.join("clocks"))]
}
