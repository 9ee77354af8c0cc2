//! Decoder of `binary_data`: base64 in the variants that clients send. Invariant: the cost of decoding
//! is known before anything is decoded.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use panaversity_model::Refusal;

/// Base64 by RFC 4648, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Least number of bytes that a base64 text decodes to: four letters are three bytes, the last one or
/// two of which may be padding. White space and the head of a `data:` URL don't count.
pub(super) fn least_bytes(text: &str) -> u64 {
    let data = data_of(text).unwrap_or(text);
    let letters = data.bytes().filter(|letter| !letter.is_ascii_whitespace()).count();
    (letters as u64 / 4 * 3).saturating_sub(2)
}

/// Decodes base64 in either alphabet of RFC 4648, with or without line breaks, plain or as a `data:`
/// URL.
pub(super) fn decoded(mut text: String) -> Result<Vec<u8>, Refusal> {
    let why = "it must be the bytes in base64 (RFC 4648), or a data: URL with ;base64";
    let refused = || Refusal::argument("binary_data", why);
    let data = data_of(&text).ok_or_else(refused)?;
    text.drain(..text.len() - data.len());
    if text.contains(|c: char| c.is_ascii_whitespace() || matches!(c, '-' | '_')) {
        text.retain(|c| !c.is_ascii_whitespace());
        text = text.replace('-', "+").replace('_', "/");
    }
    BASE64.decode(text).map_err(|_| refused())
}

/// The encoded part: the whole text, or the data of a `data:` URL (RFC 2397) if that is base64.
fn data_of(text: &str) -> Option<&str> {
    let text = text.trim_ascii_start();
    match text.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => {
            let (head, data) = text[5..].split_once(',')?;
            let (_, encoding) = head.rsplit_once(';')?;
            encoding.trim().eq_ignore_ascii_case("base64").then_some(data)
        }
        _ => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn line_breaks_make_no_asset_larger() {
        for bytes in 0..300 {
            let text = BASE64_STANDARD.encode(vec![7; bytes]);
            let broken: Vec<_> =
                text.as_bytes().chunks(4).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let url = format!("data:image/png;base64,{text}");
            let texts = [&text, &broken.join("\n"), &broken.join("\r\n"), text.trim_end_matches('='), &url];
            for text in texts {
                let least = least_bytes(text);
                assert!(least <= bytes as u64 && bytes as u64 <= least + 4, "{bytes}: {least}");
            }
        }
    }

    #[test]
    fn base64_is_read_with_or_without_padding_and_line_breaks() {
        for text in [
            "aGVsbG8=",
            "aGVsbG8",
            "aGVs\r\nbG8=\n",
            " aGVs bG8=\t",
            "data:image/png;base64,aGVsbG8=",
            "DATA:text/plain;charset=utf-8;BASE64, aGVsbG8=",
            "data:;base64,aGVsbG8",
        ] {
            assert_eq!(decoded(text.to_owned()).unwrap(), b"hello", "{text}");
        }
        for text in ["++//", "--__", "+-_/", "data:image/png;base64,-+_/"] {
            assert_eq!(decoded(text.to_owned()).unwrap(), [0xfb, 0xef, 0xff], "{text}");
        }
        for bad in
            ["aGVsbG8!", "data:image/png,hello", "data:aGVsbG8=", "aGVsb", "data:a;base64", "https://x/y"]
        {
            assert!(decoded(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
