//! From evidence to a verdict, in numbered steps: what is cheap first, so that who floods us with wrong evidence gets
//! little work out of us, and what is broken in two ways always gets the same code.
//!
//! 1. Sizes, and every byte read: quote, claims, evidence.
//! 2. The role, and the dates of the claims.
//! 3. Report data: that the quote was made for this use, key, claims and connection.
//! 4. Measurements: the guest is one of the policy's images.
//! 5. TD attributes, XFAM, configuration registers, TDX module: exactly the image's.
//! 6. No service TD.
//! 7. The collateral for the platform that the quote names.
//! 8. Genuine: `dcap-qvl` checks every signature, certificate, list and level ([`genuine`]).
//! 9. The root key, the standing of the firmware, advisories, evaluation: as the policy has them.
//! 10. Whose platform.
//! 11. The tier that all this comes to, and until when.
//!
//! What step 8 says is remembered for ten minutes at most; the others are done every time.

mod genuine;
mod guest;
mod standing;

use crate::{
    Claims, CollateralSet, Evidence, Platform, PlatformMode, Policy, Quote, Refusal, Role, Tier, TrustAnchor, Verdict,
    binding::{Channel, certificate_report_data},
    digest::sha256,
};

/// For how long a verdict may stand at most.
const MAX_SECONDS: u64 = 600;

/// Appraises evidence under one trust anchor.
#[derive(Debug)]
pub struct Verifier {
    anchor: TrustAnchor,
}

/// What the evidence has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub role: Role,
    pub report_data: &'a [u8; 64],
    /// Those that the report data vouch for.
    pub claims: &'a Claims,
}

/// What it is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    pub policy: &'a Policy,
    pub collateral: &'a CollateralSet,
    /// Unix time in seconds.
    pub now: u64,
}

impl<'a> Basis<'a> {
    pub fn new(policy: &'a Policy, collateral: &'a CollateralSet, now: u64) -> Self {
        Self {
            policy,
            collateral,
            now,
        }
    }
}

impl Verifier {
    pub fn new(anchor: TrustAnchor) -> Self {
        Self { anchor }
    }

    pub fn anchor(&self) -> &TrustAnchor {
        &self.anchor
    }

    /// A quote whose report data the caller knows: of a user's nonce, for example.
    pub fn appraise(&self, quote: &[u8], expected: &Expected<'_>, basis: &Basis<'_>) -> Result<Verdict, Refusal> {
        let quote = Quote::parse(quote)?;
        check_role(expected.role, expected.claims)?;
        expected.claims.check_dates(basis.now)?;
        if quote.report().report_data.0 != *expected.report_data {
            return Err(Refusal::BindingMismatch);
        }
        self.appraise_bound(&quote, expected.claims, basis)
    }

    /// What a certificate carries, of which the TLS key's SHA-256 is known. Without a quote the tier is open.
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
        self.appraise_bound(&quote, &claims, basis)
    }

    /// A second quote, made for one connection, of the guest whose certificate was appraised before.
    pub fn appraise_channel(
        &self,
        quote: &[u8],
        channel: &Channel<'_>,
        first: &Verdict,
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

    /// Steps 4 to 11, of a quote that was made for this.
    fn appraise_bound(&self, quote: &Quote<'_>, claims: &Claims, basis: &Basis<'_>) -> Result<Verdict, Refusal> {
        let &Basis {
            policy,
            collateral,
            now,
        } = basis;
        let image = guest::image(quote.report(), claims.role, policy)?;
        let genuine = genuine::check(quote, &self.anchor, policy, collateral, now)?;
        let listed = policy
            .platforms
            .lists(&genuine.platform.ppid, genuine.platform.instance.as_ref());
        if policy.platforms.mode == PlatformMode::Listed && !listed {
            return Err(Refusal::PlatformUnlisted {
                ppid: genuine.platform.ppid,
            });
        }
        let tier = Tier::Tee;
        check_tier(tier, policy)?;
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
            claims: claims.clone(),
            policy: policy.digest(),
            collateral: collateral.generation(),
            appraised_at: genuine.checked_at,
            expires: expiry(genuine.checked_at, policy)
                .min(genuine.expires)
                .min(claims.not_after),
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
        evidence: sha256(&[&claims.encode()]),
        policy: basis.policy.digest(),
        collateral: basis.collateral.generation(),
        appraised_at: basis.now,
        expires: expiry(basis.now, basis.policy).min(claims.not_after),
        claims,
    })
}

fn expiry(checked_at: u64, policy: &Policy) -> u64 {
    checked_at.saturating_add(u64::from(policy.max_age_s).min(MAX_SECONDS))
}
