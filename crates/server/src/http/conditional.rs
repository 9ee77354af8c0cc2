//! Conditional and range requests (RFC 9110 §13, §14), evaluated against a file's length and strong
//! entity tag. Pure; used for every file served by parts.
//!
//! 1. `If-Match` without our tag: precondition failed.
//! 2. `If-None-Match` with our tag: not modified.
//! 3. `Range` applies to GET only, and with an `If-Range` only if that is our tag. One that does not
//!    parse, or asks for several ranges, is ignored.
//! 4. A range that begins beyond the end is not satisfiable.
//!
//! There is no `Last-Modified`, so a condition by date never matches and never refuses.

use std::ops::Range;

use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_range_header::{SyntacticallyCorrectRange, parse_range_header};

/// Result of evaluating a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// The whole file.
    Whole,
    /// A range, at least one byte.
    Part(Range<u64>),
    /// Not modified: the client has the file.
    Unchanged,
    /// Not satisfiable: the range begins beyond the end.
    Beyond,
    /// Precondition failed: the client expects another state of the file.
    Another,
}

impl Selection {
    /// Evaluates a request for a file of this length and entity tag, which includes its quotes.
    pub(super) fn of(method: &Method, headers: &HeaderMap, length: u64, tag: &str) -> Self {
        if !names(headers, &IF_MATCH, |given| given == tag).unwrap_or(true) {
            return Self::Another;
        }
        let weakly = |given: &str| given.strip_prefix("W/").unwrap_or(given) == tag;
        if names(headers, &IF_NONE_MATCH, weakly).unwrap_or(false) {
            return Self::Unchanged;
        }
        let in_range = !headers.contains_key(IF_RANGE) || only(headers, &IF_RANGE) == Some(tag);
        match only(headers, &RANGE) {
            Some(range) if *method == Method::GET && in_range => Self::range(range, length),
            _ => Self::Whole,
        }
    }

    fn range(text: &str, length: u64) -> Self {
        let ranges = parse_range_header(text).map(http_range_header::ParsedRanges::into_ranges);
        let Ok([range]) = ranges.as_deref() else { return Self::Whole };
        let range = match *range {
            SyntacticallyCorrectRange::FromStart(from) => from..length,
            SyntacticallyCorrectRange::FromLast(0) => return Self::Beyond,
            SyntacticallyCorrectRange::FromLast(_) if length == 0 => return Self::Whole,
            SyntacticallyCorrectRange::FromLast(last) => length.saturating_sub(last)..length,
            SyntacticallyCorrectRange::Indexed(from, to) => from..to.saturating_add(1).min(length),
        };
        if range.start < length { Self::Part(range) } else { Self::Beyond }
    }

    /// Response with the status, and the headers that follow from the file's length, entity tag and media
    /// type; `cache` is the value of `Cache-Control`.
    pub(super) fn response<T>(
        &self,
        body: T,
        length: u64,
        tag: &str,
        media_type: &str,
        cache: &str,
    ) -> Response<T> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        let mut put = |name, value: &str| {
            // Tags, lengths and types are ASCII.
            response.headers_mut().extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        };
        put(ETAG, tag);
        put(ACCEPT_RANGES, "bytes");
        put(CACHE_CONTROL, cache);
        if let Some(range) = self.bytes(length) {
            put(CONTENT_TYPE, media_type);
            put(CONTENT_LENGTH, &(range.end - range.start).to_string());
        }
        if let Some(unsent) = self.unsent_length(length) {
            put(CONTENT_LENGTH, &unsent.to_string());
        }
        if let Some(range) = self.content_range(length) {
            put(CONTENT_RANGE, &range);
        }
        response
    }

    /// Status of the response.
    fn status(&self) -> StatusCode {
        match self {
            Self::Whole => StatusCode::OK,
            Self::Part(_) => StatusCode::PARTIAL_CONTENT,
            Self::Unchanged => StatusCode::NOT_MODIFIED,
            Self::Beyond => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Another => StatusCode::PRECONDITION_FAILED,
        }
    }

    /// Range in the response to a GET; `None`: no bytes of the file.
    pub(super) fn bytes(&self, length: u64) -> Option<Range<u64>> {
        match self {
            Self::Whole => Some(0..length),
            Self::Part(range) => Some(range.clone()),
            Self::Unchanged | Self::Beyond | Self::Another => None,
        }
    }

    /// The `Content-Length` of a 304, which is that of the corresponding 200 (RFC 9110 §8.6). Without it
    /// the empty body would announce 0.
    fn unsent_length(&self, length: u64) -> Option<u64> {
        (*self == Self::Unchanged).then_some(length)
    }

    /// Value of `Content-Range`, if the response has one.
    fn content_range(&self, length: u64) -> Option<String> {
        match self {
            Self::Part(range) => Some(format!("bytes {}-{}/{length}", range.start, range.end - 1)),
            Self::Beyond => Some(format!("bytes */{length}")),
            Self::Whole | Self::Unchanged | Self::Another => None,
        }
    }
}

/// True if a list of entity tags, or `*`, names the file; `None`: there is no such header.
fn names(headers: &HeaderMap, name: &HeaderName, is_ours: impl Fn(&str) -> bool) -> Option<bool> {
    let mut given = headers.get_all(name).iter().peekable();
    given.peek()?;
    Some(given.any(|list| list.to_str().is_ok_and(|list| list.trim() == "*" || tags(list).any(&is_ours))))
}

/// The entity tags of a list, with their quotes and weakness marks; anything else ends the iteration.
fn tags(mut list: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        list = list.trim_start_matches([' ', '\t', ',']);
        let open = if list.starts_with("W/\"") { 3 } else { usize::from(list.starts_with('"')) };
        let close = list.get(open..).filter(|_| open > 0)?.find('"')?;
        let (tag, rest) = list.split_at(open + close + 1);
        list = rest;
        Some(tag)
    })
}

/// The value of a header that occurs once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    first.to_str().ok().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAG: &str = "\"abc\"";

    fn asked(method: &Method, length: u64, given: &[(HeaderName, &str)]) -> Selection {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name, value.parse().unwrap());
        }
        Selection::of(method, &headers, length, TAG)
    }

    fn range(text: &str, length: u64) -> Selection {
        asked(&Method::GET, length, &[(RANGE, text)])
    }

    #[test]
    fn one_range_is_given_as_far_as_the_file_goes() {
        assert_eq!(range("bytes=0-0", 10), Selection::Part(0..1));
        assert_eq!(range("bytes=2-5", 10), Selection::Part(2..6));
        assert_eq!(range("bytes=5-", 10), Selection::Part(5..10));
        assert_eq!(range("bytes=5-99999999999999999999999", 10), Selection::Part(5..10));
        assert_eq!(range("bytes=-3", 10), Selection::Part(7..10));
        assert_eq!(range("bytes=-30", 10), Selection::Part(0..10));
    }

    #[test]
    fn what_begins_beyond_the_end_is_refused_with_the_length() {
        for text in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(range(text, 10), Selection::Beyond, "{text}");
        }
        assert_eq!(Selection::Beyond.content_range(10).as_deref(), Some("bytes */10"));
        assert_eq!(range("bytes=0-", 0), Selection::Beyond);
        assert_eq!(range("bytes=-5", 0), Selection::Whole);
    }

    #[test]
    fn what_is_no_single_range_counts_as_left_out() {
        for text in ["bytes=0-1,4-5", "bytes=5-2", "bytes=x-1", "lines=0-1", "0-1", "bytes=", "bytes 0-1"] {
            assert_eq!(range(text, 10), Selection::Whole, "{text}");
        }
        let twice = [(RANGE, "bytes=0-1"), (RANGE, "bytes=2-3")];
        assert_eq!(asked(&Method::GET, 10, &twice), Selection::Whole);
        assert_eq!(asked(&Method::HEAD, 10, &[(RANGE, "bytes=0-1")]), Selection::Whole);
    }

    #[test]
    fn if_range_lets_a_range_through_for_our_tag_alone() {
        let beside = |given| asked(&Method::GET, 10, &[(RANGE, "bytes=0-1"), (IF_RANGE, given)]);
        assert_eq!(beside(TAG), Selection::Part(0..2));
        for other in ["\"abd\"", "W/\"abc\"", "abc", "*", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(beside(other), Selection::Whole, "{other}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for given in [TAG, "W/\"abc\"", "*", "\"x\", \"abc\"", "\"a,b\" ,W/\"abc\""] {
            assert_eq!(asked(&Method::GET, 10, &[(IF_NONE_MATCH, given)]), Selection::Unchanged, "{given}");
        }
        for given in ["\"x\"", "abc", "\"abc", "", "\"ab\"c\""] {
            assert_eq!(asked(&Method::GET, 10, &[(IF_NONE_MATCH, given)]), Selection::Whole, "{given}");
        }
    }

    #[test]
    fn who_insists_on_another_state_is_refused() {
        assert_eq!(asked(&Method::GET, 10, &[(IF_MATCH, TAG)]), Selection::Whole);
        assert_eq!(asked(&Method::HEAD, 10, &[(IF_MATCH, "*")]), Selection::Whole);
        for given in ["\"x\"", "W/\"abc\"", "abc"] {
            let both = [(IF_MATCH, given), (IF_NONE_MATCH, TAG), (RANGE, "bytes=0-1")];
            assert_eq!(asked(&Method::GET, 10, &both), Selection::Another, "{given}");
        }
    }

    /// One range as a client may write it.
    #[derive(Debug, Clone, Copy)]
    enum RangeSpec {
        Indexed(u64, u64),
        FromStart(u64),
        FromLast(u64),
    }

    impl RangeSpec {
        fn text(self) -> String {
            match self {
                Self::Indexed(from, to) => format!("{from}-{to}"),
                Self::FromStart(from) => format!("{from}-"),
                Self::FromLast(last) => format!("-{last}"),
            }
        }

        /// Reference implementation: the answer by the bytes of the file that the range names.
        fn selection(self, length: u64) -> Selection {
            let named: Vec<u64> = match self {
                // Invalid, and so ignored (RFC 9110, section 14.1.2).
                Self::Indexed(from, to) if to < from => return Selection::Whole,
                Self::FromLast(last) if last > 0 && length == 0 => return Selection::Whole,
                Self::Indexed(from, to) => (0..length).filter(|byte| (from..=to).contains(byte)).collect(),
                Self::FromStart(from) => (0..length).filter(|byte| *byte >= from).collect(),
                Self::FromLast(last) => (0..length).rev().zip(0..last).map(|(byte, _)| byte).collect(),
            };
            match (named.iter().min(), named.iter().max()) {
                (Some(first), Some(last)) => Selection::Part(*first..last + 1),
                _ => Selection::Beyond,
            }
        }
    }

    fn spec() -> impl Strategy<Value = RangeSpec> {
        let number = || prop_oneof![8 => 0..30_u64, 1 => Just(u64::MAX), 1 => any::<u64>()];
        prop_oneof![
            (number(), number()).prop_map(|(from, to)| RangeSpec::Indexed(from, to)),
            number().prop_map(RangeSpec::FromStart),
            number().prop_map(RangeSpec::FromLast),
        ]
    }

    fn length() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 0..200_u64, 1 => any::<u64>()]
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_file(
            text in prop_oneof!["(bytes=)?[-0-9, ]{0,12}", "bytes=[0-9]{0,22}-[0-9]{0,22}", "[ -~]{0,20}"],
            length in length(),
        ) {
            let asked = range(&text, length);
            if let Some(bytes) = asked.bytes(length) {
                prop_assert!(bytes.start <= bytes.end && bytes.end <= length, "{bytes:?}");
            }
            if let Selection::Part(part) = &asked {
                prop_assert!(part.start < part.end, "{part:?}");
                let shown = asked.content_range(length).unwrap();
                prop_assert_eq!(shown, format!("bytes {}-{}/{length}", part.start, part.end - 1));
            }
        }

        #[test]
        fn one_range_selects_the_bytes_that_it_names_and_several_the_whole_file(
            specs in prop::collection::vec(spec(), 1..4),
            length in 0..40_u64,
        ) {
            let text = specs.iter().map(|spec| spec.text()).collect::<Vec<_>>().join(",");
            let expected = if let [spec] = specs[..] { spec.selection(length) } else { Selection::Whole };
            prop_assert_eq!(range(&format!("bytes={text}"), length), expected, "{}", text);
        }

        #[test]
        fn any_headers_select_something_and_only_our_tag_withholds_it(
            given in prop::collection::vec(
                (
                    prop::sample::select(vec![RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH]),
                    prop_oneof![
                        prop::collection::vec(prop_oneof![b' '..=b'~', 128..=255_u8], 0..20),
                        "(W/|bytes=|)[\"abcW/*,0-3 -]{0,9}".prop_map(String::into_bytes),
                    ],
                ),
                0..4,
            ),
            length in length(),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &given {
                headers.append(name, HeaderValue::from_bytes(value).unwrap());
            }
            let answer = Selection::of(&Method::GET, &headers, length, TAG);
            let has = |name: HeaderName| headers.contains_key(name);
            let names_it = |value: &[u8]| value.windows(TAG.len()).any(|part| part == TAG.as_bytes()) || value.contains(&b'*');
            match answer {
                Selection::Another => prop_assert!(has(IF_MATCH)),
                Selection::Unchanged => prop_assert!(headers.get_all(IF_NONE_MATCH).iter().any(|value| names_it(value.as_bytes()))),
                Selection::Part(_) | Selection::Beyond => prop_assert!(has(RANGE)),
                Selection::Whole => {}
            }
            prop_assert!(answer.bytes(length).is_none_or(|bytes| bytes.end <= length));
            prop_assert!(answer.response((), length, TAG, "text/plain", "no-store").headers().contains_key(ETAG));
        }
    }
}
