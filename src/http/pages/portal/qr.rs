use qrcode::{Color, EcLevel, QrCode};

/// A text as a QR code (ISO/IEC 18004), to be drawn by a template: one path over unit squares.
pub(super) struct Qr {
    /// How many squares on a side, with the quiet zone.
    pub(super) side: usize,
    /// The dark squares, as the `d` of an SVG path.
    pub(super) path: String,
}

/// How many light squares have to surround it.
const QUIET: usize = 4;

impl Qr {
    /// Draws `text`; nothing if it is too long for a QR code.
    pub(super) fn draw(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let width = code.width();
        let dark = code.to_colors().into_iter().enumerate().filter(|(_, color)| *color == Color::Dark);
        let square =
            |(at, _): (usize, Color)| format!("M{} {}h1v1h-1z", QUIET + at % width, QUIET + at / width);
        Some(Self { side: width + 2 * QUIET, path: dark.map(square).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_its_finder_patterns_and_a_quiet_zone() {
        let qr =
            Qr::draw("otpauth://totp/Signet:ada@example.com?secret=JBSWY3DPEHPK3PXP&issuer=Signet").unwrap();
        let dark = |x: usize, y: usize| qr.path.contains(&format!("M{x} {y}h"));
        let last = qr.side - QUIET - 1;
        for (x, y) in [(QUIET, QUIET), (last, QUIET), (QUIET, last)] {
            assert!(dark(x, y), "a corner of a finder pattern at {x} {y}");
        }
        assert!(!dark(QUIET + 1, QUIET + 1), "the light ring in it");
        assert!((0..qr.side).all(|at| !dark(at, QUIET - 1) && !dark(last + 1, at)));
        assert!(Qr::draw(&"x".repeat(5000)).is_none());
    }
}
