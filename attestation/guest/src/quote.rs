//! What a guest reads in its own quote: that it is one, and says what was asked.
//!
//! Intel's quoting service leaves zeros behind a quote of version 4, which nobody signs and no verifier of ours takes:
//! they are cut off here, by whoever sends the quote. Anything else behind it is refused.

use attestation::{Quote, Refusal};

/// The type of a TD report.
pub(crate) const TDX: u8 = 0x81;

/// The largest that is read.
pub const MAX_QUOTE: usize = attestation::MAX_QUOTE_BYTES;

/// Why a quote is not returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    #[error("what came is not a quote that anybody would accept")]
    Refused(#[source] Refusal),
    #[error("the quote holds other report data than were asked for")]
    OtherReportData,
}

/// The quote itself, if it is one over these report data.
pub(crate) fn checked(mut quote: Vec<u8>, report_data: &[u8; 64]) -> Result<Vec<u8>, QuoteError> {
    let len = Quote::unpadded(&quote).map_err(QuoteError::Refused)?.len();
    quote.truncate(len);
    let read = Quote::parse(&quote).map_err(QuoteError::Refused)?;
    if read.report().report_data.0 != *report_data {
        return Err(QuoteError::OtherReportData);
    }
    Ok(quote)
}

#[cfg(test)]
pub(crate) mod tests {
    use attestation::{Hex, Part};
    use attestation_soft_tdx::SoftTdx;

    use super::*;

    /// As the kernel would give it.
    pub(crate) fn quote(report_data: &[u8; 64]) -> Vec<u8> {
        SoftTdx::builder().build().quote(report_data)
    }

    #[test]
    fn padding_is_cut_off_and_nothing_else_is() {
        let made = quote(&[7; 64]);
        assert_eq!(checked(made.clone(), &[7; 64]), Ok(made.clone()));
        let padded = [made.as_slice(), &[0; 70]].concat();
        assert_eq!(checked(padded, &[7; 64]), Ok(made.clone()));
        let trailing = [made.as_slice(), &[0, 0, 1]].concat();
        assert!(matches!(
            checked(trailing, &[7; 64]),
            Err(QuoteError::Refused(Refusal::Malformed { part: Part::Quote, .. }))
        ));
        let mut other = [7; 64];
        other[63] = 8;
        assert_eq!(checked(made.clone(), &other), Err(QuoteError::OtherReportData));
        for len in 0..made.len() {
            assert!(checked(made[..len].to_vec(), &[7; 64]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_real_quote_is_read() {
        // Of the crate that verifies quotes; cargo knows where its source lies.
        for name in ["tdx_quote", "tdx_quote_td15ex"] {
            let real = crate::testing::sample(name);
            let unpadded = Quote::unpadded(&real).expect("it is a quote").to_vec();
            let Hex(held) = Quote::parse(&unpadded).expect("it is a quote").report().report_data;
            assert_eq!(checked(real, &held), Ok(unpadded), "{name}");
        }
    }
}
