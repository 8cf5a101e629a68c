//! Files of other people that are not ours to keep: read where present, named on stderr where not.

use std::env;
use std::path::PathBuf;

#[expect(
    clippy::disallowed_methods,
    reason = "no setting of a program: where the samples of this machine are"
)]
/// From the folder that `MULBERRY_GUEST_SAMPLES` names, or `../shared/samples/guest` beside the workspace.
#[expect(clippy::print_stderr, reason = "a run must show which of its checks it did not make")]
pub(crate) fn sample(name: &str) -> Option<Vec<u8>> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/guest"));
    let folder = env::var_os("MULBERRY_GUEST_SAMPLES").map_or(beside, PathBuf::from);
    let path = folder.join(name);
    let read = std::fs::read(&path);
    if read.is_err() {
        eprintln!("not checked: {} is not here", path.display());
    }
    read.ok()
}
