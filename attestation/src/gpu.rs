//! Evidence of NVIDIA GPUs and switches: what their firmware measured, signed by a key that NVIDIA certified.
//!
//! [`verify`] goes through these steps in this order, and the first that fails is the refusal:
//! 1. everything is parsed whole: reports ([DSP0274], SPDM 1.1), chains, OCSP answers, an EAT; sizes are bounded
//! 2. each report answers our nonce (`binding::gpu_nonce`: this TLS key, this certificate)
//! 3. each chain ends in the anchor and is sound, now
//! 4. each report is signed by the device that the chain names
//! 5. the firmware that the certificate was made for is the one that the report names (FWID)
//! 6. generation and mode are ones that the policy lists
//! 7. the policy asks for no more GPUs than there are, and no device came twice
//! 8. a switch that a GPU is linked to came too, where the links are in the clear
//! 9. each measurement is one that the policy's tables allow
//! 10. no certificate of a device is revoked: by OCSP answers that came along, or by an EAT of NVIDIA's service
//!
//! Not proved: that the GPU sits in the machine whose quote came with it. No vendor binds the two yet, so a guest could
//! pass on the reports of a GPU elsewhere. The verdict says so: `bound_to_td` is false.
//!
//! What was learned from real evidence: `docs/attestation.md`, and the tests beside this package.
//!
//! [DSP0274]: https://www.dmtf.org/dsp/DSP0274

mod bytes;
mod capture;
mod chain;
mod der;
mod eat;
mod evidence;
mod fwid;
mod measurements;
mod ocsp;
mod opaque;
mod policy;
mod refusal;
mod spdm;
mod verdict;

use std::collections::BTreeSet;

use chain::Chain;
use eat::Eat;
use measurements::Rims;
use ocsp::Staple;
use spdm::Report;

pub use eat::{Nras, NrasKey};
pub use evidence::{DeviceEvidence, EVIDENCE_BYTES_MAX, GpuEvidence};
pub use measurements::Rim;
pub use ocsp::NVIDIA_OCSP;
pub use policy::{Arch, GpuPolicy, Mode};
pub use refusal::GpuRefusal;
pub use verdict::{Device, GpuVerdict, Revocation};

/// Whose devices are genuine.
#[derive(Clone, Debug)]
pub enum GpuAnchor {
    /// The NVIDIA Device Identity CA.
    Nvidia,
    /// A root of one's own, as DER: for a software GPU. Never in production.
    Development(Vec<u8>),
}

/// `nonce`: what the reports must answer. `now`: Unix time in seconds.
pub fn verify(
    evidence: &GpuEvidence,
    nonce: &[u8; 32],
    policy: &GpuPolicy,
    anchor: &GpuAnchor,
    now: u64,
) -> Result<GpuVerdict, GpuRefusal> {
    let parsed = Parsed::of(evidence)?; // 1
    for device in &parsed.devices {
        device.answers(nonce)?; // 2
    }
    for device in &parsed.devices {
        device.chain.verify(anchor, now)?; // 3
        device.report.verify(device.chain.leaf_point()?)?; // 4
        fwid::check(&device.chain, &device.report.opaque, device.arch()?)?; // 5
        accepted(device, policy)?; // 6
    }
    count(&parsed.devices, policy)?; // 7
    distinct(&parsed.devices)?;
    switches(&parsed.devices)?; // 8

    let rims = Rims(&policy.rims);
    for device in &parsed.devices {
        let names = measurements::names(device.arch()?, device.chain.chip()?, &device.report.opaque)?;
        rims.compare(&names, &device.report)?; // 9
    }
    let devices = parsed
        .devices
        .iter()
        .map(Subject::describe)
        .collect::<Result<Vec<_>, _>>()?;
    let revocation = revocation(&parsed, &devices, nonce, policy, now)?; // 10
    Ok(GpuVerdict::new(devices, rims.digest(), revocation))
}

/// Evidence in its parts, none of it believed yet.
struct Parsed<'a> {
    devices: Vec<Subject<'a>>,
    staples: Vec<Staple<'a>>,
    eat: Option<Eat<'a>>,
}

struct Subject<'a> {
    report: Report<'a>,
    chain: Chain<'a>,
}

impl<'a> Parsed<'a> {
    fn of(evidence: &'a GpuEvidence) -> Result<Self, GpuRefusal> {
        evidence.bounded()?;
        let subject = |device: &'a DeviceEvidence| {
            Ok(Subject {
                report: Report::parse(&device.report)?,
                chain: Chain::parse(&device.chain)?,
            })
        };
        Ok(Self {
            devices: evidence.devices.iter().map(subject).collect::<Result<_, _>>()?,
            staples: evidence
                .staples
                .iter()
                .map(|der| Staple::parse(der))
                .collect::<Result<_, _>>()?,
            eat: evidence.eat.as_deref().map(Eat::parse).transpose()?,
        })
    }
}

impl Subject<'_> {
    fn answers(&self, nonce: &[u8; 32]) -> Result<(), GpuRefusal> {
        match self.report.nonce == nonce {
            true => Ok(()),
            false => Err(GpuRefusal::Nonce),
        }
    }

    fn arch(&self) -> Result<Arch, GpuRefusal> {
        self.chain.arch()
    }

    fn is_gpu(&self) -> bool {
        self.arch().is_ok_and(|arch| !arch.is_switch())
    }

    /// What its report and its chain say; only once both are verified.
    fn describe(&self) -> Result<Device, GpuRefusal> {
        let arch = self.arch()?;
        let opaque = &self.report.opaque;
        let (driver, mode) = match arch.is_switch() {
            true => (None, None),
            false => (Some(opaque.driver()?), Some(opaque.mode()?)),
        };
        Ok(Device {
            arch,
            model: self.chain.model()?.to_owned(),
            serial: self.chain.device_serial(),
            ueid: self.chain.leaf_serial(),
            driver,
            vbios: opaque.vbios()?,
            mode,
        })
    }
}

fn accepted(device: &Subject<'_>, policy: &GpuPolicy) -> Result<(), GpuRefusal> {
    let arch = device.arch()?;
    if !policy.arch.contains(&arch) {
        return Err(GpuRefusal::Arch {
            found: arch.name().to_owned(),
        });
    }
    if arch.is_switch() {
        return Ok(());
    }
    let mode = device.report.opaque.mode()?;
    match policy.modes.contains(&mode) {
        true => Ok(()),
        false => Err(GpuRefusal::Mode { found: mode }),
    }
}

fn count(devices: &[Subject<'_>], policy: &GpuPolicy) -> Result<(), GpuRefusal> {
    let found = devices.iter().filter(|device| device.is_gpu()).count();
    // Without a GPU there is nothing to say, whatever the policy asks for.
    let required = policy.devices.max(1);
    match found >= usize::from(required) {
        true => Ok(()),
        false => Err(GpuRefusal::Count { found, required }),
    }
}

fn distinct(devices: &[Subject<'_>]) -> Result<(), GpuRefusal> {
    let mut keys = BTreeSet::new();
    match devices.iter().all(|device| keys.insert(device.chain.device_key())) {
        true => Ok(()),
        false => Err(GpuRefusal::Duplicate),
    }
}

/// Under protected PCIe what GPUs say to one another passes through switches in the clear.
fn switches(devices: &[Subject<'_>]) -> Result<(), GpuRefusal> {
    let mut attested = BTreeSet::new();
    for device in devices.iter().filter(|device| !device.is_gpu()) {
        attested.insert(device.report.opaque.own_pdi()?);
    }
    for device in devices.iter().filter(|device| device.is_gpu()) {
        let opaque = &device.report.opaque;
        if opaque.mode()? != Mode::ProtectedPcie {
            continue;
        }
        if let Some(pdi) = opaque.switch_pdis()?.into_iter().find(|pdi| !attested.contains(pdi)) {
            return Err(GpuRefusal::Switch { pdi: crate::Hex(pdi) });
        }
    }
    Ok(())
}

fn revocation(
    parsed: &Parsed<'_>,
    devices: &[Device],
    nonce: &[u8; 32],
    policy: &GpuPolicy,
    now: u64,
) -> Result<Revocation, GpuRefusal> {
    let age_max = policy.ocsp_max_age_s.min(ocsp::AGE_MAX_S);
    let eat = match (&parsed.eat, &policy.nras) {
        (Some(eat), Some(nras)) => Some(eat.verify(nras, nonce, devices, now)?),
        // Nobody asked for it.
        (Some(_), None) | (None, _) => None,
    };
    let mut until = u64::MAX;
    for device in &parsed.devices {
        for (certificate, issuer) in device.chain.revocable() {
            match ocsp::good_until(certificate, issuer, &parsed.staples, age_max, now) {
                Ok(good) => until = until.min(good),
                // The EAT says that NVIDIA asked. An answer that came along counts all the same.
                Err(GpuRefusal::OcspMissing { .. }) if eat.is_some() && device.is_gpu() => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }
    Ok(match eat {
        Some(eat) => Revocation::Eat { until: until.min(eat) },
        None => Revocation::Ocsp { until },
    })
}
