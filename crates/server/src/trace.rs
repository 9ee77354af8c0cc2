//! Trace ids of requests, from the header `traceparent` (W3C Trace Context): they join the log lines of
//! this server with those of the caller. A header that cannot be read counts as none, as the standard
//! asks for.

use std::fmt;

use axum::http::HeaderMap;

/// Trace id: 32 hexadecimal digits, not all zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceId(String);

impl TraceId {
    /// The trace id that the headers name.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get("traceparent")?.to_str().ok()?.split('-');
        let (version, trace, parent, flags) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_some = |text: &str| text.bytes().any(|byte| byte != b'0');
        // A later version may have more fields.
        let ends = version != "00" || fields.next().is_none();
        let is_sound = is_hex(version, 2) && version != "ff" && is_hex(flags, 2) && ends;
        let has_ids = is_hex(trace, 32) && is_hex(parent, 16) && is_some(trace) && is_some(parent);
        (is_sound && has_ids).then(|| Self(trace.to_owned()))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(header: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", header.parse().unwrap());
        TraceId::of(&headers).map(|id| id.to_string())
    }

    #[test]
    fn a_trace_id_is_read_from_a_sound_header_only() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let sound = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(id_of(&sound).as_deref(), Some(id));
        assert_eq!(id_of(&sound.replacen("00", "cc", 1).replace("-01", "-01-more")).as_deref(), Some(id));
        for bad in [
            "",
            "00",
            &sound.replacen("00", "ff", 1),
            &sound.to_uppercase(),
            &format!("{sound}-more"),
            &sound.replace(id, &"0".repeat(32)),
            &sound.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &sound.replace(id, &id[1..]),
        ] {
            assert_eq!(id_of(bad), None, "{bad}");
        }
        assert_eq!(TraceId::of(&HeaderMap::new()), None);
    }
}
