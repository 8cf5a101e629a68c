//! The software platform of a test's world: its seed, its root, and policies that accept its guests.

use std::path::PathBuf;

use attestation::{Image, Policy, Role};
use attestation_soft_tdx::{Builder, SoftTdx, policy};

use crate::World;

/// Of all platforms here; it is public.
const SEED: &[u8; 32] = b"a test's seed, known to everybod";

/// The platform that a node with [`World::seed`] has.
#[must_use]
pub fn platform() -> SoftTdx {
    SoftTdx::danger_from_seed(*SEED)
}

/// One of the same root, with something to be broken.
#[must_use]
pub fn builder() -> Builder {
    SoftTdx::builder()
}

/// This guest, in these roles, as a policy names it.
#[must_use]
pub fn image(name: &str, guest: &SoftTdx, roles: &[Role]) -> Image {
    guest.td().image(name, roles)
}

impl World {
    /// The file from which a node makes its software platform.
    pub fn seed(&self) -> PathBuf {
        let hex: String = SEED.iter().map(|byte| format!("{byte:02x}")).collect();
        self.secret("seed.hex", &format!("{hex}\n"))
    }

    /// The root of all software platforms here, in DER.
    pub fn root(&self) -> PathBuf {
        self.file("root.der", platform().root_der())
    }

    /// A policy of these images.
    pub fn policy(&self, name: &str, images: Vec<Image>) -> PathBuf {
        self.policy_of(name, &policy(images))
    }

    /// Written as an editor does: beside its place, then into it.
    pub fn policy_of(&self, name: &str, policy: &Policy) -> PathBuf {
        let text = serde_json::to_string_pretty(policy).expect("a policy is JSON");
        let next = self.file(&format!("{name}.next"), text);
        let path = self.dir().join(name);
        std::fs::rename(&next, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

#[cfg(test)]
mod tests {
    use super::{builder, platform};

    #[test]
    fn all_guests_here_have_one_root() {
        let now = crate::papers::now();
        let set = platform().collateral_set(now).expect("its own collateral");
        let other = attestation::Collateral::parse(builder().other_platform(3).build().collateral(now).into())
            .expect("collateral");
        let mut set = set;
        assert_eq!(set.insert(other, now), Ok(()));
    }
}
