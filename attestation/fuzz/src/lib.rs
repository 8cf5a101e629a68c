//! Each reader of bytes from outside, driven by libFuzzer. `attestation/fuzz/run` says how.

#[path = "../targets.rs"]
mod targets;

/// # Panics
///
/// If the target does, or is not one.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = targets::ALL
        .into_iter()
        .find(|(target, _)| *target == name)
        .expect("the target is in the list");
    target(bytes);
}
