//! Where a person's own things lie, by the XDG Base Directory Specification: wallets, and channels to pay from.
//!
//! A gateway has its `data_dir`; these are of who runs commands.

use std::path::PathBuf;

use crate::config::Environment;

/// `$XDG_DATA_HOME/mulberry`, or `~/.local/share/mulberry`. `None` where neither is known.
pub(crate) fn data(environment: &dyn Environment) -> Option<PathBuf> {
    // The specification wants a relative path to be ignored.
    let absolute = |name: &str| {
        environment
            .variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("mulberry"))
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        path::{Path, PathBuf},
    };

    use super::*;

    struct Variables(&'static [(&'static str, &'static str)]);

    impl Environment for Variables {
        fn variable(&self, name: &str) -> Option<String> {
            let found = self.0.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        }

        fn variables(&self) -> Vec<(String, String)> {
            Vec::new()
        }

        fn read(&self, _path: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn is_file(&self, _path: &Path) -> bool {
            false
        }
    }

    #[test]
    fn data_lie_where_the_specification_says() {
        let check = |variables: &'static [(&str, &str)], expect: Option<&str>| {
            assert_eq!(
                data(&Variables(variables)),
                expect.map(PathBuf::from),
                "for {variables:?}"
            );
        };
        check(
            &[("XDG_DATA_HOME", "/data"), ("HOME", "/home/a")],
            Some("/data/mulberry"),
        );
        check(&[("HOME", "/home/a")], Some("/home/a/.local/share/mulberry"));
        check(
            &[("XDG_DATA_HOME", "data"), ("HOME", "/home/a")],
            Some("/home/a/.local/share/mulberry"),
        );
        check(&[("XDG_DATA_HOME", "")], None);
        check(&[], None);
    }
}
