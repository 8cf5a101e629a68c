//! Which features the verifier of quotes is built with, in any build of the workspace.
//!
//! Features add up: one package that asks for a dangerous one turns it on for all.

use std::{path::Path, process::Command};

use serde_json::Value;

/// The verifier, and all that may be on of it. Its crypto is given to it; a feature named `danger-…` lets TCB levels be
/// overridden. `urlencoding` comes with `std`.
const VERIFIER: &str = "dcap-qvl";
const ALLOWED: [&str; 3] = ["default-x509", "std", "urlencoding"];

/// What is wrong with the features of the workspace's verifier.
pub(crate) fn problems(root: &Path) -> Vec<String> {
    // Crates for other systems are in the lock file, but nobody who builds here has fetched them.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--all-features", "--format-version", "1"])
        .args(["--filter-platform", &platform])
        .current_dir(root)
        .output()
        .expect("the cargo that built this test starts");
    assert!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    of(&output.stdout).expect("cargo metadata has its documented form")
}

fn of(json: &[u8]) -> Option<Vec<String>> {
    let metadata: Value = serde_json::from_slice(json).ok()?;
    let mut problems = Vec::new();
    let mut found = 0;
    for node in metadata["resolve"]["nodes"].as_array()? {
        let id = node["id"].as_str()?;
        if !id.contains(&format!("{VERIFIER}@")) && !id.contains(&format!("{VERIFIER}#")) {
            continue;
        }
        found += 1;
        for feature in node["features"].as_array()? {
            let feature = feature.as_str()?;
            if !ALLOWED.contains(&feature) {
                problems.push(format!("{VERIFIER} is built with {feature}"));
            }
        }
        for dependency in node["deps"].as_array()? {
            if dependency["name"] == "ring" {
                problems.push(format!("{VERIFIER} links ring"));
            }
        }
    }
    if found != 1 {
        problems.push(format!("{found} versions of {VERIFIER} are built, and one must be"));
    }
    Some(problems)
}

#[cfg(test)]
mod tests {
    use super::of;

    fn metadata(features: &str, dependency: &str) -> String {
        format!(
            r#"{{"resolve":{{"nodes":[
                {{"id":"registry+https://example.org#dcap-qvl@0.7.1","features":[{features}],"deps":[{{"name":"{dependency}"}}]}},
                {{"id":"registry+https://example.org#dcap-qvl-webpki@0.103.15","features":["ring"],"deps":[]}}
            ]}}}}"#
        )
    }

    #[test]
    fn features_and_dependencies_are_seen() {
        for (features, dependency, expect) in [
            (r#""std","default-x509""#, "der", &[][..]),
            (
                r#""std","danger-allow-tcb-override""#,
                "der",
                &["dcap-qvl is built with danger-allow-tcb-override"],
            ),
            (r#""std""#, "ring", &["dcap-qvl links ring"]),
        ] {
            let problems = of(metadata(features, dependency).as_bytes()).expect("it has the form");
            assert_eq!(problems, expect, "{features} {dependency}");
        }
        assert_eq!(
            of(br#"{"resolve":{"nodes":[]}}"#),
            Some(vec!["0 versions of dcap-qvl are built, and one must be".to_owned()])
        );
    }
}
