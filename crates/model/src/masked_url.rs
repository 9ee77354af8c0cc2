//! Masking of refused URLs for display, without the parts that may contain secrets.

/// The URL, which need not parse, with user and password, and query and fragment, each replaced by
/// `***`.
pub fn mask(given: &str) -> String {
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let (scheme, rest) = match given.find("://").map(|at| given.split_at(at + 3)) {
        Some((scheme, rest)) if is_scheme(scheme.trim_end_matches("://")) => (scheme, rest),
        _ => ("", given),
    };
    // A password may contain any of the separators, so it ends at the last `@`.
    match (rest.rfind('@'), rest.find(['?', '#'])) {
        (None, None) => given.to_owned(),
        (None, Some(query)) => format!("{scheme}{}?***", &rest[..query]),
        (Some(at), None) => format!("{scheme}***{}", &rest[at..]),
        (Some(at), Some(query)) if at < query => format!("{scheme}***{}?***", &rest[at..query]),
        // The `@` may be part of the query.
        (Some(_), Some(_)) => format!("{scheme}***"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_may_be_a_secret_in_a_url_is_not_shown() {
        for (given, shown) in [
            ("http://127.0.0.1:8000/mcp", "http://127.0.0.1:8000/mcp"),
            ("nonsense", "nonsense"),
            ("http://ada:s3cret@host:8000/x", "http://***@host:8000/x"),
            ("ada:s3cret@host", "***@host"),
            ("https://host/mcp?token=s3cret", "https://host/mcp?***"),
            ("https://host/mcp#s3cret", "https://host/mcp?***"),
            ("https://ada:s3@cret@host/?s3cret", "https://***@host/?***"),
            ("https://host/mcp?token=s3@cret", "https://***"),
            ("http://ada:s3?#@cret", "http://***"),
            ("ada:s3cret@x://host", "***@x://host"),
            ("ada:s3://cret@host", "***@host"),
        ] {
            assert_eq!(super::mask(given), shown, "{given}");
        }
    }
}
