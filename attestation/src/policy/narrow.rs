//! What somebody else takes away from a policy: only ever less is accepted than without it.

use std::collections::{BTreeMap, BTreeSet};

use super::Policy;
use crate::{Hex, Role, Tier};

/// What somebody else allows, beside an operator's policy.
///
/// A list that is not there takes nothing away; an empty one allows nothing. What it names and the policy does not is
/// not accepted for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// From [`Image::digest`](super::Image::digest), or Cocoon's hash of an image, to what it may run as.
    pub images: Option<BTreeMap<Hex<32>, BTreeSet<Role>>>,
    /// Manifests of weights that workers may serve from.
    pub models: Option<BTreeSet<Hex<32>>>,
}

impl Allowed {
    /// No evidence at all: what holds while nobody knows what is allowed.
    pub fn nothing() -> Self {
        Self {
            images: Some(BTreeMap::new()),
            models: None,
        }
    }

    /// Of these roles, those that an image may have.
    fn roles(&self, image: &Hex<32>, local: &[Role]) -> Vec<Role> {
        let Some(images) = &self.images else {
            return local.to_vec();
        };
        let listed = images.get(image);
        let both = local
            .iter()
            .filter(|role| listed.is_some_and(|listed| listed.contains(role)));
        both.copied().collect()
    }
}

impl Policy {
    /// Accepts what this policy accepts and `allowed` allows. May come to a policy that accepts nothing, which
    /// [`problems`](Self::problems) would not let an operator write.
    #[must_use]
    pub fn narrowed(&self, allowed: &Allowed) -> Self {
        let mut narrowed = self.clone();
        for image in &mut narrowed.images {
            image.roles = allowed.roles(&image.digest(), &image.roles);
        }
        for image in &mut narrowed.cocoon_images {
            image.roles = allowed.roles(&image.image_hash, &image.roles);
        }
        narrowed.images.retain(|image| !image.roles.is_empty());
        narrowed.cocoon_images.retain(|image| !image.roles.is_empty());
        if allowed.images.is_some() {
            // Who shows no evidence runs none of the images.
            narrowed.min_tier = narrowed.min_tier.max(Tier::Tee);
        }
        if let Some(listed) = &allowed.models {
            narrowed.models = Some(match &self.models {
                None => listed.iter().copied().collect(),
                Some(local) => local.iter().filter(|model| listed.contains(model)).copied().collect(),
            });
        }
        narrowed
    }
}
