//! Where PostgreSQL's programs are, and as whom they run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// PostgreSQL's programs, and whom they run as: they refuse root.
#[derive(Debug)]
pub(crate) struct Binaries {
    folder: PathBuf,
    /// User and group, where we are root.
    user: Option<(u32, u32)>,
}

impl Binaries {
    /// Beside the `postgres` of the search path, or where Debian has them, the newest first.
    pub(crate) fn find() -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the tests are started by a shell, and know no configuration"
        )]
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path)
            .filter_map(|folder| fs::canonicalize(folder.join("postgres")).ok())
            .filter_map(|program| program.parent().map(Path::to_path_buf))
            .collect();
        let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .filter_map(|version| {
                let version = version.ok()?;
                let number = version.file_name().to_str()?.parse().ok()?;
                Some((number, version.path().join("bin")))
            })
            .collect();
        debian.sort();
        folders.extend(debian.into_iter().rev().map(|(_, folder)| folder));
        let needed = [
            "postgres",
            "initdb",
            "pg_ctl",
            "psql",
            "pg_basebackup",
            "pg_dump",
            "pg_restore",
        ];
        let folder = folders
            .into_iter()
            .find(|folder| needed.iter().all(|program| folder.join(program).is_file()))?;
        Some(Self { folder, user: user() })
    }

    /// Gives a folder to whom the programs run as.
    pub(crate) fn hand_over(&self, folder: &Path) {
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(folder, Some(user), Some(group)).expect("root may give folders away");
        }
    }

    /// One of the programs, as a user that it accepts.
    pub(crate) fn command(&self, program: &str) -> Command {
        let program = self.folder.join(program);
        let mut command = match self.user {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"))
                    .args(["--clear-groups", "--"])
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        // What a developer has set for servers of their own.
        for name in [
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGPASSWORD",
            "PGDATABASE",
            "PGOPTIONS",
            "PGSSLMODE",
        ] {
            command.env_remove(name);
        }
        // They look at the folder they start in, which they may not be allowed to.
        command.current_dir("/");
        command
    }

    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// `postgres`, or `nobody`, where we are root.
fn user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}
