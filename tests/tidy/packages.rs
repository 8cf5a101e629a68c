//! Which package of the workspace may import which.
//!
//! Dependencies of every kind count, for a cycle can hide among those of tests.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A package and the siblings that it may import.
pub(crate) type Allowed<'a> = (&'a str, &'a [&'a str]);

/// The picture in ARCHITECTURE.md as a table. `gateway` is in no row: it is a program, and nothing imports it.
pub(crate) const ALLOWED: [Allowed<'static>; 16] = [
    ("openapi", &[]),
    // The software TDX is imported by its tests alone.
    ("attestation", &["attestation-soft-tdx"]),
    ("attestation-guest", &["attestation", "attestation-soft-tdx"]),
    ("attestation-measure", &[]),
    (
        "attestation-ratls",
        &["attestation", "attestation-guest", "attestation-soft-tdx"],
    ),
    ("attestation-soft-tdx", &["attestation"]),
    ("billing", &[]),
    ("billing-store", &["billing", "test-postgres"]),
    // The simulated chain is imported by its tests alone.
    ("billing-ton", &["billing", "billing-ton-sim"]),
    ("billing-ton-sim", &["billing", "billing-ton"]),
    // The software TDX is imported by its tests alone.
    (
        "backends",
        &["openapi", "attestation", "attestation-ratls", "attestation-soft-tdx"],
    ),
    // It plays the part of someone else's server, so it must not share our reading of the wire.
    ("backends-mock", &[]),
    (
        "gateway",
        &[
            "openapi",
            "attestation",
            "attestation-guest",
            "attestation-measure",
            "attestation-ratls",
            "attestation-soft-tdx",
            "billing",
            "billing-store",
            "billing-ton",
            "billing-ton-sim",
            "backends",
            "backends-mock",
        ],
    ),
    // It starts servers for tests, and knows nothing of what is tested.
    ("test-postgres", &[]),
    // Tests may import anything to build what they need; they speak to the gateway over sockets.
    (
        "e2e",
        &[
            "openapi",
            "attestation",
            "attestation-guest",
            "attestation-measure",
            "attestation-ratls",
            "attestation-soft-tdx",
            "billing",
            "billing-store",
            "billing-ton",
            "billing-ton-sim",
            "backends",
            "backends-mock",
            "bench",
            "test-postgres",
        ],
    ),
    (
        "bench",
        &[
            "openapi",
            "attestation",
            "attestation-guest",
            "attestation-measure",
            "attestation-ratls",
            "attestation-soft-tdx",
            "billing",
            "billing-store",
            "billing-ton",
            "billing-ton-sim",
            "backends",
            "backends-mock",
            "test-postgres",
        ],
    ),
];

/// A package of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The siblings that it imports.
    pub(crate) imports: Vec<String>,
}

/// The workspace as `cargo metadata` tells it.
pub(crate) fn workspace(root: &Path) -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .expect("the cargo that built this test starts");
    assert!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let packages = parse(&output.stdout).expect("cargo metadata has its documented form");
    assert!(packages.len() > 1, "cargo metadata named no packages");
    packages
}

/// Reads the JSON of `cargo metadata`. A sibling is a dependency that has a path.
fn parse(json: &[u8]) -> Option<Vec<Package>> {
    let metadata: Value = serde_json::from_slice(json).ok()?;
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array()? {
        let dependencies = package["dependencies"].as_array()?.iter();
        let siblings = dependencies.filter(|dependency| dependency["path"].is_string());
        packages.push(Package {
            name: package["name"].as_str()?.to_owned(),
            imports: siblings
                .map(|sibling| Some(sibling["name"].as_str()?.to_owned()))
                .collect::<Option<_>>()?,
        });
    }
    Some(packages)
}

pub(crate) fn forbidden_imports(packages: &[Package], allowed: &[Allowed<'_>]) -> Vec<String> {
    let mut problems = Vec::new();
    for Package { name, imports } in packages {
        let Some((_, may)) = allowed.iter().find(|(package, _)| package == name) else {
            problems.push(format!("{name} is not in the picture"));
            continue;
        };
        for import in imports.iter().filter(|import| !may.contains(&import.as_str())) {
            problems.push(format!("{name} imports {import}"));
        }
    }
    for (name, _) in allowed {
        if !packages.iter().any(|package| package.name == *name) {
            problems.push(format!("{name} is in the picture and does not exist"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, imports: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            imports: imports.iter().map(|&import| import.to_owned()).collect(),
        }
    }

    #[test]
    fn metadata_is_read() {
        let json = br#"{"packages": [{"name": "store", "dependencies": [
            {"name": "sqlx", "path": null, "kind": null},
            {"name": "tokio", "kind": null},
            {"name": "billing", "path": "/r/billing", "kind": null},
            {"name": "fixtures", "path": "/r/fixtures", "kind": "dev"}]}]}"#;
        assert_eq!(parse(json), Some(vec![package("store", &["billing", "fixtures"])]));
        assert_eq!(parse(b"{}"), None);
    }

    #[test]
    fn what_the_picture_does_not_show_is_refused() {
        let allowed: [Allowed<'_>; 2] = [("leaf", &[]), ("shell", &["leaf"])];
        let check = |packages: &[Package], expect: &[&str]| {
            assert_eq!(forbidden_imports(packages, &allowed), expect);
        };
        check(&[package("leaf", &[]), package("shell", &["leaf"])], &[]);
        check(&[package("leaf", &[]), package("shell", &[])], &[]);
        check(
            &[package("leaf", &["shell"]), package("shell", &["leaf"])],
            &["leaf imports shell"],
        );
        check(
            &[package("leaf", &[]), package("shell", &[]), package("new", &["leaf"])],
            &["new is not in the picture"],
        );
        check(&[package("leaf", &[])], &["shell is in the picture and does not exist"]);
    }

    #[test]
    fn nobody_may_import_the_program() {
        for (name, may) in ALLOWED {
            assert!(!may.contains(&"gateway"), "{name} may not import gateway");
        }
    }
}
