//! Each reader of bytes from outside, driven by libFuzzer. `attestation/fuzz/run` says how.

#[path = "../targets.rs"]
mod targets;
#[path = "../targets_measure.rs"]
mod targets_measure;
#[path = "../targets_ratls.rs"]
mod targets_ratls;

/// # Panics
///
/// If the target does, or is not one.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = targets::ALL
        .into_iter()
        .chain(targets_measure::ALL)
        .chain(targets_ratls::ALL)
        .find(|(target, _)| *target == name)
        .expect("the target is in the list");
    target(bytes);
}
