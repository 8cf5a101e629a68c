//! QR codes drawn with letters, for a phone that looks at the terminal.

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2, types::QrError};

/// Too long a text for a code.
#[derive(Debug, thiserror::Error)]
#[error("the link is too long to be drawn as a QR code; open it as it is")]
pub(super) struct TooLong(#[source] QrError);

/// A text as half blocks, light where the letters are: on the dark ground of most terminals that is a dark code on light.
pub(super) fn draw(text: &str) -> Result<String, TooLong> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(TooLong)?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Ok(format!("{drawn}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_square_with_a_quiet_border() {
        let drawn = draw("ton://transfer/UQB7ANFSYZjPFHSSE_k2aIJaH8yOYl6Xqt2U2QHMtGUra3Gp").expect("it is short");
        let lines: Vec<&str> = drawn.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width), "{drawn}");
        // Two rows a line.
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].chars().all(|sign| sign == '█'), "{drawn}");
        assert!(draw(&"x".repeat(4000)).is_err());
    }
}
