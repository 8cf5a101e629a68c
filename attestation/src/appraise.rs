//! From evidence to a verdict, in numbered steps: what is cheap first, so that who floods us with wrong evidence gets
//! little work out of us, and what is broken in two ways always gets the same code.
//!
//! 1. Sizes, and every byte read: quote, claims, evidence.
//! 2. The role, and the dates of the claims.
//! 3. Report data: that the quote was made for this use, key, claims and connection.
//! 4. Measurements: the guest is one of the policy's images.
//! 5. TD attributes, XFAM, configuration registers, TDX module: exactly the image's.
//! 6. No service TD; and a worker's claims name weights that the policy lists, where it lists any.
//! 7. The collateral for the platform that the quote names.
//! 8. Genuine: `dcap-qvl` checks every signature, certificate, list and level ([`genuine`]).
//! 9. The root key, the standing of the firmware, advisories, evaluation: as the policy has them.
//! 10. Whose platform.
//! 11. GPUs, where evidence of them came: what the claims name, and accepted by [`gpu::verify`](crate::gpu::verify).
//! 12. The tier that all this comes to, and until when.
//!
//! What steps 7 to 9 say of a quote is remembered for ten minutes at most, under one policy and one generation of
//! collateral, and no longer than the collateral holds; the others are done every time.

mod devices;
mod genuine;
mod guest;
mod standing;

use crate::{
    Anchor, Claims, CollateralSet, Evidence, FixedPolicy, Hex, Interop, Platform, PlatformMode, Policy, PublicKey,
    Quote, Refusal, Role, Tier, TrustAnchor, Verdict,
    binding::{Channel, certificate_report_data, cocoon_report_data},
    cache::Cache,
    digest::sha256,
    gpu::{GpuAnchor, GpuEvidence, GpuVerdict},
};
use devices::Devices;
use genuine::Genuine;

/// For how long a verdict may stand at most.
const MAX_SECONDS: u64 = 600;

/// Appraises evidence under one trust anchor.
#[derive(Debug)]
pub struct Verifier {
    anchor: TrustAnchor,
    gpu_anchor: GpuAnchor,
    cache: Cache<Genuine>,
}

/// What the evidence has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub role: Role,
    pub report_data: &'a [u8; 64],
    /// Those that the report data vouch for.
    pub claims: &'a Claims,
    /// What came beside it; bound by the claims.
    pub gpu: Option<&'a GpuEvidence>,
}

/// Of a certificate in Cocoon's format.
#[derive(Clone, Copy, Debug)]
pub struct CocoonCertificate<'a> {
    /// Its Ed25519 key.
    pub key: &'a [u8; 32],
    /// Unix time in seconds.
    pub not_before: u64,
    pub not_after: u64,
}

/// What it is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    policy: &'a Policy,
    policy_digest: Hex<32>,
    collateral: &'a CollateralSet,
    now: u64,
}

impl<'a> Basis<'a> {
    /// `now` is Unix time in seconds.
    pub fn new(policy: &'a Policy, collateral: &'a CollateralSet, now: u64) -> Self {
        Self {
            policy,
            policy_digest: policy.digest(),
            collateral,
            now,
        }
    }

    /// For who appraises often under one policy.
    pub fn fixed(policy: &'a FixedPolicy, collateral: &'a CollateralSet, now: u64) -> Self {
        Self {
            policy: policy.policy(),
            policy_digest: policy.digest(),
            collateral,
            now,
        }
    }
}

impl CocoonCertificate<'_> {
    /// What may be said of its holder.
    fn claims(&self, role: Role) -> Claims {
        let spki_sha256 = PublicKey::Ed25519(*self.key).spki_sha256();
        Claims::new(role, spki_sha256, self.not_before, self.not_after)
    }
}

impl Verifier {
    pub fn new(anchor: TrustAnchor) -> Self {
        Self {
            anchor,
            gpu_anchor: GpuAnchor::Nvidia,
            cache: Cache::new(),
        }
    }

    /// Believes GPUs under this root, of a software GPU, in place of NVIDIA's. Only beside a development anchor: under
    /// Intel's it changes nothing.
    pub fn danger_gpu_root(mut self, root_der: Vec<u8>) -> Self {
        if self.anchor.kind() == Anchor::Development {
            self.gpu_anchor = GpuAnchor::Development(root_der);
        }
        self
    }

    pub fn anchor(&self) -> &TrustAnchor {
        &self.anchor
    }

    /// The root of a software GPU, where that is what it believes.
    pub(crate) fn gpu_root(&self) -> Option<&[u8]> {
        match &self.gpu_anchor {
            GpuAnchor::Nvidia => None,
            GpuAnchor::Development(der) => Some(der),
        }
    }

    /// A quote whose report data the caller knows: of a user's nonce, for example.
    pub fn appraise(&self, quote: &[u8], expected: &Expected<'_>, basis: &Basis<'_>) -> Result<Verdict, Refusal> {
        let quote = Quote::parse(quote)?;
        check_role(expected.role, expected.claims)?;
        expected.claims.check_dates(basis.now)?;
        if quote.report().report_data.0 != *expected.report_data {
            return Err(Refusal::BindingMismatch);
        }
        let image = guest::image(quote.report(), expected.role, basis.policy)?;
        self.appraise_guest(&quote, expected.claims, image, Devices::All(expected.gpu), basis)
    }

    /// What a certificate carries, of which the TLS key's SHA-256 is known. Without a quote the tier is open.
    ///
    /// Evidence of GPUs does not fit into a certificate and comes after the handshake: until the second quote the tier is
    /// `tee` at most, though the policy asks for more.
    pub fn appraise_certificate(
        &self,
        evidence: &Evidence,
        role: Role,
        spki_sha256: &[u8; 32],
        basis: &Basis<'_>,
    ) -> Result<Verdict, Refusal> {
        let claims = Claims::decode(&evidence.claims)?;
        let quote = evidence.quote.as_deref().map(Quote::parse).transpose()?;
        check_role(role, &claims)?;
        if claims.spki_sha256.0 != *spki_sha256 {
            return Err(Refusal::SpkiMismatch);
        }
        claims.check_dates(basis.now)?;
        let Some(quote) = quote else {
            return keyed(claims, basis);
        };
        let report_data = certificate_report_data(role, spki_sha256, &evidence.claims);
        if report_data != Some(quote.report().report_data.0) {
            return Err(Refusal::BindingMismatch);
        }
        let image = guest::image(quote.report(), role, basis.policy)?;
        self.appraise_guest(&quote, &claims, image, Devices::Later, basis)
    }

    /// A certificate as Cocoon makes them: its quote names the certificate's Ed25519 key, and nothing else. Dates are the
    /// certificate's own, which no quote vouches for.
    pub fn appraise_cocoon(
        &self,
        quote: &[u8],
        certificate: &CocoonCertificate<'_>,
        role: Role,
        basis: &Basis<'_>,
    ) -> Result<Verdict, Refusal> {
        if basis.policy.interop != Interop::Cocoon {
            return Err(Refusal::InteropRefused);
        }
        // Cocoon leaves the padding of its quotes where it is.
        let quote = Quote::parse(Quote::unpadded(quote)?)?;
        let claims = certificate.claims(role);
        claims.check_dates(basis.now)?;
        if quote.report().report_data.0 != cocoon_report_data(certificate.key) {
            return Err(Refusal::BindingMismatch);
        }
        let image = guest::cocoon_image(quote.report(), role, basis.policy)?;
        let verdict = self.appraise_guest(&quote, &claims, image, Devices::All(None), basis)?;
        Ok(Verdict {
            interop: Interop::Cocoon,
            ..verdict
        })
    }

    /// A second quote, made for one connection, of the guest whose certificate was appraised before.
    pub fn appraise_channel(
        &self,
        quote: &[u8],
        channel: &Channel<'_>,
        first: &Verdict,
        gpu: Option<&GpuEvidence>,
        basis: &Basis<'_>,
    ) -> Result<Verdict, Refusal> {
        let (Some(first_report), Some(first_platform)) = (first.report(), first.platform()) else {
            return Err(Refusal::QuoteMissing);
        };
        if first.claims.spki_sha256.0 != *channel.attester_spki {
            return Err(Refusal::SpkiMismatch);
        }
        let expected = Expected {
            role: channel.role,
            report_data: &channel.report_data(),
            claims: &first.claims,
            gpu,
        };
        let verdict = self.appraise(quote, &expected, basis)?;
        if !verdict
            .report()
            .is_some_and(|report| report.is_same_guest(first_report))
        {
            return Err(Refusal::ImageChanged);
        }
        if !verdict
            .platform()
            .is_some_and(|platform| platform.is_same(first_platform))
        {
            return Err(Refusal::PlatformChanged);
        }
        Ok(verdict)
    }

    /// Steps 6 to 12, after the image's, of a quote that was made for this, by a guest of this image.
    fn appraise_guest(
        &self,
        quote: &Quote<'_>,
        claims: &Claims,
        image: &str,
        devices: Devices<'_>,
        basis: &Basis<'_>,
    ) -> Result<Verdict, Refusal> {
        let policy = basis.policy;
        check_models(claims, policy)?;
        let genuine = genuine::check(quote, &self.anchor, &self.cache, basis)?;
        let listed = policy
            .platforms
            .lists(&genuine.platform.ppid, genuine.platform.instance.as_ref());
        if policy.platforms.mode == PlatformMode::Listed && !listed {
            return Err(Refusal::PlatformUnlisted {
                ppid: genuine.platform.ppid,
            });
        }
        let found = devices::check(devices, claims, listed, &self.gpu_anchor, basis)?;
        check_tier(found.counted, policy)?;
        let tier = found.tier();
        let until = found.gpu.as_ref().map_or(u64::MAX, GpuVerdict::until);
        Ok(Verdict {
            tier,
            promise: tier.promise(),
            role: claims.role,
            anchor: Some(self.anchor.kind()),
            image: Some(image.to_owned()),
            report: Some(quote.report().clone()),
            platform: Some(Platform {
                listed,
                ..genuine.platform
            }),
            tcb: Some(genuine.tcb),
            evidence: sha256(&[quote.signed(), &claims.encode()]),
            gpu: found.gpu,
            gpu_refused: found.refused,
            claims: claims.clone(),
            interop: Interop::None,
            policy: basis.policy_digest,
            collateral: basis.collateral.generation(),
            appraised_at: genuine.checked_at,
            expires: expiry(genuine.checked_at, policy)
                .min(genuine.expires)
                .min(claims.not_after)
                .min(until),
        })
    }
}

fn check_role(expected: Role, claims: &Claims) -> Result<(), Refusal> {
    if claims.role == expected {
        Ok(())
    } else {
        Err(Refusal::RoleMismatch {
            expected,
            found: claims.role,
        })
    }
}

/// What they name is what the image says of itself: it proves as much as the image is trusted.
fn check_models(claims: &Claims, policy: &Policy) -> Result<(), Refusal> {
    let Some(listed) = &policy.models else {
        return Ok(());
    };
    if claims.role == Role::Worker && !claims.models.is_some_and(|found| listed.contains(&found)) {
        return Err(Refusal::ModelUnlisted { found: claims.models });
    }
    Ok(())
}

fn check_tier(tier: Tier, policy: &Policy) -> Result<(), Refusal> {
    if tier < policy.min_tier {
        return Err(Refusal::TierTooLow {
            tier,
            min: policy.min_tier,
        });
    }
    Ok(())
}

/// A certificate that proves its key only.
fn keyed(claims: Claims, basis: &Basis<'_>) -> Result<Verdict, Refusal> {
    let tier = Tier::Open;
    check_tier(tier, basis.policy)?;
    Ok(Verdict {
        tier,
        promise: tier.promise(),
        role: claims.role,
        anchor: None,
        image: None,
        report: None,
        platform: None,
        tcb: None,
        gpu: None,
        gpu_refused: None,
        evidence: sha256(&[&claims.encode()]),
        interop: Interop::None,
        policy: basis.policy_digest,
        collateral: basis.collateral.generation(),
        appraised_at: basis.now,
        expires: expiry(basis.now, basis.policy).min(claims.not_after),
        claims,
    })
}

fn expiry(checked_at: u64, policy: &Policy) -> u64 {
    checked_at.saturating_add(u64::from(policy.max_age_s).min(MAX_SECONDS))
}
