//! The colors that follow from the platform's accent color, readable in light and dark schemes.
//!
//! Buttons are filled with the very color. As text, on links and in charts it is darkened or lightened as far as WCAG 2.2
//! needs (success criteria 1.4.3 and 1.4.11), so any color can be used.

use crate::embedding::Color;

/// Of text and its background. A little more than WCAG wants, since colors are rounded.
const MIN_CONTRAST: f64 = 4.6;

const WHITE: Color = Color([255; 3]);
const BLACK: Color = Color([0; 3]);

/// The backgrounds of a scheme, as in `pages.css`.
struct Surfaces {
    card: Color,
    /// The background on which text in the accent color has the least contrast.
    nearest: Color,
    /// What makes a color stand out more.
    toward: Color,
    /// The share of the color in the background of what is chosen.
    soft: f64,
}

/// `--card` and `--sunk`.
const LIGHT: Surfaces = Surfaces { card: WHITE, nearest: Color([0xf0, 0xf2, 0xf5]), toward: BLACK, soft: 0.1 };

/// `--card` twice.
const DARK: Surfaces =
    Surfaces { card: Color([0x18, 0x1d, 0x27]), nearest: Color([0x18, 0x1d, 0x27]), toward: WHITE, soft: 0.18 };

/// The default accent color, `--accent` of the light scheme in `pages.css`.
pub(super) const DEFAULT_ACCENT: Color = Color([0x2f, 0x4f, 0xd0]);

/// A stylesheet that sets the custom properties of `pages.css`.
pub(super) fn stylesheet(accent: Color) -> String {
    let (light, dark) = (declarations(accent, &LIGHT), declarations(accent, &DARK));
    format!(":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}\n")
}

/// The favicon: the menu's mark.
pub(super) fn favicon(accent: Color) -> String {
    let mark = on(accent);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" rx=\"8\" \
         fill=\"{accent}\"/><path d=\"M16 19V7M11 12l5-5 5 5M8 19v6h16v-6\" fill=\"none\" stroke=\"{mark}\" \
         stroke-width=\"2.4\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/></svg>\n"
    )
}

fn declarations(accent: Color, surfaces: &Surfaces) -> String {
    let text = mended(accent, surfaces.toward, &[surfaces.nearest]);
    let soft = mix(surfaces.card, text, surfaces.soft);
    let strong = mended(mix(text, surfaces.toward, 0.2), surfaces.toward, &[surfaces.nearest, soft]);
    let (on_text, on_fill) = (on(text), on(accent));
    // Away from the text on it, so that it stays as readable.
    let fill_strong = mix(accent, if on_fill == WHITE { BLACK } else { WHITE }, 0.18);
    format!(
        "--accent:{text};--accent-dark:{strong};--on-accent:{on_text};--accent-soft:{soft};--fill:{accent};\
         --fill-dark:{fill_strong};--on-fill:{on_fill}"
    )
}

/// The color, mixed with another until it is readable on all these backgrounds.
fn mended(color: Color, toward: Color, backgrounds: &[Color]) -> Color {
    let is_readable = |color: &Color| backgrounds.iter().all(|it| contrast(*color, *it) >= MIN_CONTRAST);
    let steps = (0..=50_u32).map(|step| mix(color, toward, f64::from(step) / 50.0));
    steps.into_iter().find(is_readable).unwrap_or(toward)
}

/// The color of text on a background: white, unless black is needed. One of them always has enough contrast.
fn on(background: Color) -> Color {
    if contrast(WHITE, background) >= MIN_CONTRAST { WHITE } else { BLACK }
}

/// `share` is of the second color.
fn mix(Color(a): Color, Color(b): Color, share: f64) -> Color {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two channels")]
    let channel = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    Color([channel(a[0], b[0]), channel(a[1], b[1]), channel(a[2], b[2])])
}

/// From 1 to 21, by WCAG 2.2, "contrast ratio".
fn contrast(a: Color, b: Color) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// By WCAG 2.2, "relative luminance".
fn luminance(Color(channels): Color) -> f64 {
    let [red, green, blue] = channels.map(|channel| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a custom property, in the light scheme or in the dark one.
    fn value(stylesheet: &str, name: &str, scheme: usize) -> Color {
        let declarations = stylesheet.split(":root{").nth(scheme + 1).unwrap();
        let of_that_name = declarations.split(['{', ';', '}']).filter_map(|it| it.split_once(':'));
        Color::parse(of_that_name.into_iter().find(|(it, _)| *it == name).unwrap().1).unwrap()
    }

    /// The schemes of `pages.css`, which these colors replace in part.
    fn default_value(name: &str, scheme: usize) -> Color {
        let css = include_str!("../../assets/pages.css");
        let text = css.split(&format!("{name}: ")).nth(scheme + 1).unwrap().split(';').next().unwrap();
        Color::parse(&text.replace("#fff", "#ffffff")).unwrap_or_else(|| Color::parse(text).unwrap())
    }

    #[test]
    fn contrast_is_as_wcag_says() {
        assert!((contrast(WHITE, BLACK) - 21.0).abs() < 1e-9);
        let gray = Color::parse("#767676").unwrap();
        assert!((contrast(gray, WHITE) - 4.54).abs() < 0.01, "the lightest gray that is readable on white");
    }

    #[test]
    fn any_accent_color_is_readable_in_both_schemes() {
        let channels = [0, 0x33, 0x66, 0x80, 0x99, 0xcc, 0xff];
        for (red, green, blue) in
            channels.iter().flat_map(|r| channels.iter().flat_map(move |g| channels.map(|b| (*r, *g, b))))
        {
            let accent = Color([red, green, blue]);
            let css = stylesheet(accent);
            for scheme in [0, 1] {
                let of = |name| value(&css, name, scheme);
                let surfaces = ["--page", "--card", "--sunk"].map(|name| default_value(name, scheme));
                let mut pairs: Vec<(Color, Color)> =
                    surfaces.iter().map(|surface| (of("--accent"), *surface)).collect();
                pairs.extend(surfaces.iter().map(|surface| (of("--accent-dark"), *surface)));
                pairs.extend([
                    (of("--accent-dark"), of("--accent-soft")),
                    (of("--on-accent"), of("--accent")),
                    (of("--on-fill"), of("--fill")),
                    (of("--on-fill"), of("--fill-dark")),
                ]);
                for (text, background) in pairs {
                    let ratio = contrast(text, background);
                    assert!(ratio >= 4.5, "{accent} in scheme {scheme}: {text} on {background} is {ratio}");
                }
                assert_eq!(of("--fill"), accent);
            }
        }
    }

    #[test]
    fn the_default_colors_are_those_of_the_stylesheet_and_readable() {
        assert_eq!(default_value("--accent", 0), DEFAULT_ACCENT);
        assert_eq!((default_value("--card", 0), default_value("--sunk", 0)), (LIGHT.card, LIGHT.nearest));
        assert_eq!(default_value("--card", 1), DARK.card);
        for scheme in [0, 1] {
            let of = |name| default_value(name, scheme);
            for (text, background) in [
                ("--accent", "--sunk"),
                ("--accent-dark", "--accent-soft"),
                ("--on-accent", "--accent"),
                ("--dim", "--sunk"),
                ("--text", "--page"),
            ] {
                assert!(contrast(of(text), of(background)) >= 4.5, "{text} on {background} in scheme {scheme}");
            }
        }
    }
}
