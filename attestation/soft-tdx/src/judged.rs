//! What a verifier needs in order to accept a software platform: the pieces in the verifier's own types.

use attestation::{
    CollateralParts, CollateralSet, Hex, Image, Interop, Platforms, Policy, Refusal, Role, TcbRules, Tier, TrustAnchor,
};

use crate::{Collateral, SoftTdx, Td};

impl Td {
    /// This guest as a policy names it.
    pub fn image(&self, name: &str, roles: &[Role]) -> Image {
        Image {
            name: name.to_owned(),
            roles: roles.to_vec(),
            mrtd: Hex(self.mr_td),
            rtmr: self.rtmr.map(Hex),
            td_attributes: Hex(self.attributes),
            xfam: Hex(self.xfam),
            mr_config_id: Hex(self.mr_config_id),
            mr_owner: Hex(self.mr_owner),
            mr_owner_config: Hex(self.mr_owner_config),
            mr_seam: Vec::new(),
        }
    }
}

impl SoftTdx {
    /// The one anchor under which all this is anything.
    pub fn danger_anchor(&self) -> TrustAnchor {
        TrustAnchor::Development(self.root_der())
    }

    /// Its own collateral, in force.
    pub fn collateral_set(&self, now: u64) -> Result<CollateralSet, Refusal> {
        let mut set = CollateralSet::new(self.danger_anchor());
        let collateral = attestation::Collateral::parse(self.collateral(now).into())?;
        set.insert(collateral, now)?;
        Ok(set)
    }
}

/// A policy for guests: these images and nothing else, on any platform that is up to date.
pub fn policy(images: Vec<Image>) -> Policy {
    Policy {
        min_tier: Tier::Tee,
        images,
        tcb: TcbRules::default(),
        platforms: Platforms::default(),
        gpu: None,
        interop: Interop::None,
        cocoon_images: Vec::new(),
        models: None,
        max_age_s: 600,
    }
}

impl From<Collateral> for CollateralParts {
    fn from(collateral: Collateral) -> Self {
        Self {
            tcb_info: collateral.tcb_info,
            tcb_info_chain: collateral.tcb_info_chain,
            qe_identity: collateral.qe_identity,
            qe_identity_chain: collateral.qe_identity_chain,
            pck_crl: collateral.pck_crl,
            pck_crl_chain: collateral.pck_crl_chain,
            root_ca_crl: collateral.root_ca_crl,
        }
    }
}
