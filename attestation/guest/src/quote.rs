//! The one thing that a guest reads in its own quote: whether it says what was asked.
//!
//! Layouts are those of Intel's DCAP, `sgx_quote_4.h` and `sgx_quote_5.h`: a header of 48 bytes, in version 5 a type
//! and a length, then the body, whose first 584 bytes are the same in every TD body.

/// The type of a TD report, and of a quote's `tee_type`.
pub(crate) const TDX: u8 = 0x81;

const HEADER: usize = 48;
const BODY_HEADER: usize = 6;
/// Of the report data in a TD body.
const REPORT_DATA: usize = 520;

/// The largest that is read: what the kernel gives at most (`TSM_REPORT_OUTBLOB_MAX`).
pub const MAX_QUOTE: usize = 32 * 1024;

/// Why a quote is not returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    #[error("what came is not a TDX quote of version 4 or 5")]
    NotTdx,
    #[error("the quote holds other report data than were asked for")]
    OtherReportData,
}

/// That these bytes are a TDX quote over these report data.
pub(crate) fn check(quote: &[u8], report_data: &[u8; 64]) -> Result<(), QuoteError> {
    match self::report_data(quote) {
        None => Err(QuoteError::NotTdx),
        Some(found) if found != report_data => Err(QuoteError::OtherReportData),
        Some(_) => Ok(()),
    }
}

fn report_data(quote: &[u8]) -> Option<&[u8; 64]> {
    let (head, _) = quote.split_first_chunk::<8>()?;
    let [v0, v1, _, _, tee @ ..] = *head;
    if u32::from_le_bytes(tee) != u32::from(TDX) {
        return None;
    }
    let body = match u16::from_le_bytes([v0, v1]) {
        4 => HEADER,
        5 => HEADER + BODY_HEADER,
        _ => return None,
    };
    quote.get(body + REPORT_DATA..)?.first_chunk()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As much of a quote as [`check`] looks at.
    pub(crate) fn quote(version: u8, report_data: &[u8; 64]) -> Vec<u8> {
        let mut quote = vec![0; if version == 5 { 54 } else { 48 } + 520];
        quote[0] = version;
        quote[4] = TDX;
        quote.extend_from_slice(report_data);
        // The signature is not looked at.
        quote.extend_from_slice(&[9; 100]);
        quote
    }

    #[test]
    fn both_versions_are_read() {
        for version in [4, 5] {
            let made = quote(version, &[7; 64]);
            assert_eq!(check(&made, &[7; 64]), Ok(()));
            let mut other = [7; 64];
            other[63] = 8;
            assert_eq!(check(&made, &other), Err(QuoteError::OtherReportData));
            let cut = &made[..made.len() - 101];
            assert_eq!(check(cut, &[7; 64]), Err(QuoteError::NotTdx), "{version}");
        }
    }

    #[test]
    fn what_is_no_tdx_quote_is_refused() {
        let mut sgx = quote(4, &[0; 64]);
        sgx[4] = 0;
        for wrong in [vec![], vec![4, 0], quote(3, &[0; 64]), sgx] {
            assert_eq!(check(&wrong, &[0; 64]), Err(QuoteError::NotTdx));
        }
    }

    #[test]
    fn a_real_quote_is_read() {
        // Of the crate that verifies quotes; cargo knows where its source lies.
        for name in ["tdx_quote", "tdx_quote_td15ex"] {
            let real = crate::testing::sample(name);
            let held = *report_data(&real).expect("it is a TDX quote");
            assert_eq!(check(&real, &held), Ok(()));
            assert_ne!(held, [0; 64], "{name}");
        }
    }
}
