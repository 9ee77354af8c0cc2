//! Conditional and range requests: eight bytes of length, then a line each of Range, If-Range, If-None-Match
//! and If-Match. Laws: a part is not empty, lies within the file and is announced exactly; only our tag
//! makes a file count as unchanged, and lets a range through `If-Range`.

#![no_main]

use axum::http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use panaversity_server::fuzzing::evaluate;

const TAG: &str = "\"0a1b\"";

fuzz_target!(|data: &[u8]| {
    let Some((length, lines)) = data.split_first_chunk() else { return };
    // Lengths of a few bytes and of many are both likely.
    let length = u64::from_le_bytes(*length);
    let length = if length.is_multiple_of(2) { length % 64 } else { length };
    let names = [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MATCH];
    let mut headers = HeaderMap::new();
    for (name, value) in names.iter().zip(lines.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !value.is_empty()
        {
            headers.append(name, value);
        }
    }
    let (head, bytes) = evaluate(&headers, length, TAG);
    let shown = |name| head.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let given =
        |name| headers.get(name).map(|value: &HeaderValue| value.as_bytes().to_vec()).unwrap_or_default();
    let names_us =
        |list: Vec<u8>| list.trim_ascii() == b"*" || list.windows(TAG.len()).any(|tag| tag == TAG.as_bytes());
    match head.status().as_u16() {
        200 => assert_eq!(bytes, Some(0..length)),
        206 => {
            let part = bytes.clone().expect("a part");
            assert!(part.start < part.end && part.end <= length);
            let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            assert_eq!(shown(header::CONTENT_RANGE), Some(range.as_str()));
            assert!(headers.contains_key(header::RANGE));
            assert!(!headers.contains_key(header::IF_RANGE) || given(header::IF_RANGE) == TAG.as_bytes());
        }
        304 => assert!(bytes.is_none() && names_us(given(header::IF_NONE_MATCH))),
        412 => assert!(bytes.is_none() && headers.contains_key(header::IF_MATCH)),
        416 => {
            assert!(bytes.is_none());
            assert_eq!(shown(header::CONTENT_RANGE), Some(format!("bytes */{length}").as_str()));
        }
        other => panic!("HTTP {other}"),
    }
    assert_eq!(shown(header::ETAG), Some(TAG));
    if let Some(bytes) = bytes {
        let announced = (bytes.end - bytes.start).to_string();
        assert_eq!(shown(header::CONTENT_LENGTH), Some(announced.as_str()));
    }
});
