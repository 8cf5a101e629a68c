//! Software GPUs: reports, certificates, OCSP answers and EATs in NVIDIA's formats, under a root of our own.
//!
//! **Danger.** Whoever has the seed can claim any GPU below its root. What is made here goes the way of real evidence;
//! tests start from what is valid and break one thing:
//!
//! ```
//! use attestation::gpu::verify;
//! use attestation_soft_tdx::gpu::SoftGpus;
//!
//! let (now, nonce) = (1_795_334_400, [7; 32]);
//! let verdict = |gpus: SoftGpus| verify(&gpus.evidence(&nonce, now), &nonce, &gpus.policy(), &gpus.anchor(), now);
//! assert!(!verdict(SoftGpus::new([1; 32])).unwrap().bound_to_td());
//!
//! let other = SoftGpus::new([1; 32]).edit(|recipe| recipe.devices[0].driver = "soft.2".into());
//! assert_eq!(verdict(other).unwrap_err().code(), "gpu_rim_missing");
//! ```

mod certificate;
mod chain;
mod eat;
mod key;
mod ocsp;
mod recipe;
mod report;

use attestation::gpu::{Arch, DeviceEvidence, GpuAnchor, GpuEvidence, GpuPolicy, Mode, Nras};

use self::chain::Authorities;
pub use self::recipe::{Block, Device, Eat, Firmware, Flaw, Hash, Link, Ocsp, Recipe, Status};

/// GPUs, and switches between them, of one machine that does not exist.
#[derive(Clone, Debug)]
pub struct SoftGpus {
    seed: [u8; 32],
    recipe: Recipe,
}

impl SoftGpus {
    /// One Hopper, with OCSP answers.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            recipe: Recipe::valid(),
        }
    }

    /// Breaks something, or adds to it.
    pub fn edit(mut self, edit: impl FnOnce(&mut Recipe)) -> Self {
        edit(&mut self.recipe);
        self
    }

    /// Under which this evidence is taken.
    pub fn anchor(&self) -> GpuAnchor {
        GpuAnchor::Development(self.root_der())
    }

    /// Another signature each time, the same key for a seed.
    pub fn root_der(&self) -> Vec<u8> {
        Authorities::of(&self.seed, &Recipe::valid()).root_der()
    }

    /// Accepts [`SoftGpus::new`] with this seed, and whatever of its generations and modes is added.
    ///
    /// It does not follow the recipe: what is broken there is not allowed here.
    pub fn policy(&self) -> GpuPolicy {
        GpuPolicy {
            devices: 1,
            arch: vec![Arch::Hopper, Arch::Blackwell, Arch::Ls10],
            modes: vec![Mode::SinglePassthrough, Mode::MultiPassthrough, Mode::ProtectedPcie],
            rims: Device::ALL.iter().flat_map(|device| report::rims(&device())).collect(),
            ocsp_max_age_s: 86_400,
            nras: None,
        }
    }

    /// The service that made the EAT.
    pub fn nras(&self) -> Nras {
        eat::nras(&self.seed)
    }

    /// Its keys as it would publish them.
    pub fn jwks(&self) -> Vec<u8> {
        eat::jwks(&self.seed)
    }

    /// What a responder says to a request about one of the certificates; `None` if it knows no such.
    pub fn ocsp_response(&self, request: &[u8], now: u64) -> Option<Vec<u8>> {
        let ocsp = self.recipe.ocsp.as_ref()?;
        ocsp::answer_to(
            request,
            ocsp,
            &Authorities::of(&self.seed, &self.recipe),
            &self.recipe,
            now,
        )
    }

    /// What the devices answer to `nonce`, and what was said of their certificates at `now`.
    pub fn evidence(&self, nonce: &[u8; 32], now: u64) -> GpuEvidence {
        let authorities = Authorities::of(&self.seed, &self.recipe);
        let chains = self
            .recipe
            .devices
            .iter()
            .map(|device| authorities.chain(device))
            .collect::<Vec<_>>();
        let devices = self.recipe.devices.iter().zip(&chains);
        let staples = self
            .recipe
            .ocsp
            .iter()
            .flat_map(|ocsp| ocsp::answers(ocsp, &authorities, &self.recipe, now));
        GpuEvidence {
            staples: staples.collect(),
            eat: self
                .recipe
                .eat
                .as_ref()
                .map(|eat| eat::eat(eat, &self.seed, &self.recipe, nonce, now)),
            devices: devices
                .map(|(device, chain)| DeviceEvidence {
                    report: report::report(device, nonce, &authorities.leaf_key(device)),
                    chain: chain.clone(),
                })
                .collect(),
        }
    }
}
