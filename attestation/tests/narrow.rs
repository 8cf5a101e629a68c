//! What somebody else allows only takes away: whatever it says, what passes is what the operator's policy passes and the
//! lists have.

#![expect(clippy::expect_used, reason = "a test that panics has failed, and says where")]

use std::collections::{BTreeMap, BTreeSet};

use attestation::{
    Allowed, Basis, Claims, CollateralSet, Evidence, Hex, Image, Policy, Refusal, Role, Tier, Verdict, Verifier,
    binding::certificate_report_data,
};
use attestation_soft_tdx::SoftTdx;
use proptest::prelude::*;

/// 2026-11-22 08:00 UTC.
const NOW: u64 = 1_795_334_400;
const SPKI: [u8; 32] = [0x5b; 32];
const MODELS: [Hex<32>; 3] = [Hex([11; 32]), Hex([12; 32]), Hex([13; 32])];
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Guests of three images on one platform, each with evidence that names the first model, none, or that has no quote.
struct World {
    images: Vec<Image>,
    /// Each with the number of its image, where it shows one, and the model that it names.
    shown: Vec<(Evidence, Option<usize>, Option<Hex<32>>)>,
    verifier: Verifier,
    collateral: CollateralSet,
}

impl World {
    fn new() -> Self {
        let guests: Vec<SoftTdx> = NAMES
            .iter()
            .map(|name| SoftTdx::builder().image(name).build())
            .collect();
        let first = guests.first().expect("three");
        let mut shown = Vec::new();
        for (number, guest) in guests.iter().enumerate() {
            for model in [MODELS.first().copied(), None] {
                let claims = Claims {
                    models: model,
                    ..Claims::new(Role::Worker, SPKI, NOW - 60, NOW + 3_600)
                };
                let claims = claims.encode();
                let data = certificate_report_data(Role::Worker, &SPKI, &claims).expect("short claims");
                let quote = guest.quote(&data);
                let quote = Some(quote);
                shown.push((Evidence { quote, claims }, Some(number), model));
            }
        }
        let claims = Claims::new(Role::Worker, SPKI, NOW - 60, NOW + 3_600).encode();
        shown.push((Evidence { quote: None, claims }, None, None));
        Self {
            images: guests
                .iter()
                .zip(NAMES)
                .map(|(guest, name)| guest.td().image(name, &[]))
                .collect(),
            shown,
            verifier: Verifier::new(first.danger_anchor()),
            collateral: first.collateral_set(NOW).expect("it is valid"),
        }
    }

    fn judged(&self, evidence: &Evidence, policy: &Policy) -> Result<Verdict, Refusal> {
        let basis = Basis::new(policy, &self.collateral, NOW);
        self.verifier
            .appraise_certificate(evidence, Role::Worker, &SPKI, &basis)
    }
}

fn roles(bits: u8) -> Vec<Role> {
    let numbered = (0_u8..).zip(Role::ALL);
    numbered
        .filter(|(at, _)| bits & (1 << at) != 0)
        .map(|(_, role)| role)
        .collect()
}

fn models(bits: Option<u8>) -> Option<Vec<Hex<32>>> {
    let named = |bits: u8| (0_u8..).zip(MODELS).filter(move |(at, _)| bits & (1 << at) != 0);
    bits.map(|bits| named(bits).map(|(_, model)| model).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn it_only_takes_away(
        local in prop::array::uniform3(0_u8..8),
        local_models in prop::option::of(0_u8..8),
        is_open in any::<bool>(),
        listed in prop::option::of(prop::array::uniform3(prop::option::of(0_u8..8))),
        listed_models in prop::option::of(0_u8..8),
        strangers in prop::collection::vec(any::<[u8; 32]>(), 0..3),
    ) {
        thread_local!(static WORLD: World = World::new());
        WORLD.with(|world| -> Result<(), TestCaseError> {
            let mut images = world.images.clone();
            images.iter_mut().zip(local).for_each(|(image, bits)| image.roles = roles(bits));
            images.retain(|image| !image.roles.is_empty());
            let mut policy = attestation_soft_tdx::policy(images);
            policy.models = models(local_models);
            policy.min_tier = if is_open { Tier::Open } else { Tier::Tee };
            let allowed = Allowed {
                images: listed.map(|listed| {
                    let ours = world.images.iter().zip(listed);
                    let ours = ours.filter_map(|(image, bits)| Some((image.digest(), roles(bits?))));
                    let others = strangers.iter().map(|digest| (Hex(*digest), Role::ALL.to_vec()));
                    let all = ours.chain(others).map(|(digest, roles)| (digest, BTreeSet::from_iter(roles)));
                    BTreeMap::from_iter(all)
                }),
                models: models(listed_models).map(BTreeSet::from_iter),
            };
            let narrowed = policy.narrowed(&allowed);
            for (evidence, number, model) in &world.shown {
                let before = world.judged(evidence, &policy);
                let after = world.judged(evidence, &narrowed);
                let is_listed = match (&allowed.images, number) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(images), Some(number)) => world.images.get(*number).is_some_and(|image| {
                        images.get(&image.digest()).is_some_and(|roles| roles.contains(&Role::Worker))
                    }),
                };
                // A worker without a quote names what it likes: no list of models counts for it.
                let serves = number.is_none()
                    || allowed.models.as_ref().is_none_or(|listed| model.is_some_and(|model| listed.contains(&model)));
                prop_assert_eq!(after.is_ok(), before.is_ok() && is_listed && serves, "{:?} {:?}", before, after);
            }
            prop_assert_eq!(narrowed.narrowed(&allowed), narrowed.clone(), "twice is once");
            prop_assert_eq!(narrowed.narrowed(&Allowed::default()), narrowed.clone(), "nothing said takes nothing");
            prop_assert_eq!(policy.narrowed(&Allowed::nothing()).images, vec![]);
            Ok(())
        })?;
    }
}

/// The digest that lists name images by is SHA-256 over these bytes, for whoever computes it without us.
#[test]
fn the_digest_of_an_image_is_of_its_registers() {
    let td = SoftTdx::builder().build();
    let image = td.td().image("a", &[Role::Worker]);
    let renamed = Image {
        name: "b".to_owned(),
        roles: vec![Role::Gateway],
        mr_seam: vec![Hex([1; 48])],
        ..image.clone()
    };
    assert_eq!(image.digest(), renamed.digest());
    let plain = Image {
        mrtd: Hex([1; 48]),
        rtmr: [Hex([2; 48]), Hex([3; 48]), Hex([4; 48]), Hex([5; 48])],
        td_attributes: Hex([6; 8]),
        xfam: Hex([7; 8]),
        mr_config_id: Hex([8; 48]),
        mr_owner: Hex([9; 48]),
        mr_owner_config: Hex([10; 48]),
        ..image
    };
    let expect = "a083072ba823f08b870b4fb81752e87bc43cd2b29117b939b2fa3e870cca4415";
    assert_eq!(plain.digest().to_string(), expect);
}
