//! Classification and explanation of a bucket's errors. The codes are those of
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use opendal::ErrorKind;

/// Answer to a failed request, from which its later effect follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// It refused: the request will have no later effect.
    Yes,
    /// It did not answer, and the request may still take effect.
    No,
}

/// Determines if an error is the storage's own answer. A request that could not be sent counts as
/// answered: it cannot arrive later.
pub(super) fn answered(error: &opendal::Error) -> Answered {
    if error.kind() != ErrorKind::Unexpected {
        return Answered::Yes;
    }
    match of_http(error) {
        Some(http) if http.is_connect() || http.is_builder() => Answered::Yes,
        Some(_) => Answered::No,
        None if is_timeout(error) => Answered::No,
        // Without an S3 code it is the timeout of a gateway; the server behind it may continue.
        None if error.is_temporary() && code_of(error.message()).is_empty() => Answered::No,
        None => Answered::Yes,
    }
}

/// True if a retry may succeed later without intervention: the bucket is unreachable, temporarily
/// overloaded or failing, or not created yet.
pub(super) fn is_transient(error: &opendal::Error) -> bool {
    if let Some(http) = of_http(error) {
        return !http.is_builder();
    }
    // opendal clears the temporary flag after retries have failed.
    let passes = error.is_temporary() || error.kind() == ErrorKind::RateLimited || is_timeout(error);
    let known =
        ["NoSuchBucket", "InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "Throttling"];
    passes
        || known.contains(&code_of(error.message()))
        || status_of(error).is_some_and(|status| status >= 500)
}

/// HTTP status of the answer, extracted from opendal's error text.
fn status_of(error: &opendal::Error) -> Option<u16> {
    let text = error.to_string();
    text.split_once("Parts { status: ")?.1.get(..3)?.parse().ok()
}

/// The problem and what to check, as the end of a sentence about the bucket.
pub(crate) fn explain(error: &opendal::Error) -> String {
    if let Some(http) = of_http(error) {
        return format!("does not answer: {} (check the endpoint)", root_cause(http));
    }
    let code = code_of(error.message());
    let known = match code {
        "InvalidAccessKeyId" | "NotSignedUp" => "does not know the access key (check the access key id)",
        "SignatureDoesNotMatch" => "refuses the signature (check the secret access key)",
        "NoSuchBucket" | "InvalidBucketName" => "does not exist (check the bucket's name and the endpoint)",
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => "is in another region (check the region)",
        "RequestTimeTooSkewed" => "refuses requests from a clock that is wrong (set this machine's clock)",
        "SlowDown" | "ServiceUnavailable" | "Throttling" => "is asked for too much at once, or is busy",
        _ if error.kind() == ErrorKind::PermissionDenied => {
            "refuses the request (the key needs GetObject, PutObject, DeleteObject, ListBucket and AbortMultipartUpload; check that it is the right one)"
        }
        _ if is_timeout(error) => "did not answer in time",
        _ => return format!("gave an error: {error}"),
    };
    if code.is_empty() { known.to_owned() } else { format!("{known} [{code}]") }
}

/// The HTTP client's error that caused it, if there was no answer.
fn of_http(error: &opendal::Error) -> Option<&reqwest::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(here) = cause {
        if let Some(http) = here.downcast_ref::<reqwest::Error>() {
            return Some(http);
        }
        cause = here.source();
    }
    None
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn is_timeout(error: &opendal::Error) -> bool {
    error.message().contains("timeout reached")
}

/// Code in opendal's message for an error document: `S3Error { code: "X", ...`.
fn code_of(message: &str) -> &str {
    message.split_once("code: \"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: ErrorKind, code: &str) -> opendal::Error {
        opendal::Error::new(kind, format!("S3Error {{ code: \"{code}\", message: \"m\" }}"))
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_check() {
        for (kind, code, said) in [
            (
                ErrorKind::PermissionDenied,
                "InvalidAccessKeyId",
                "(check the access key id) [InvalidAccessKeyId]",
            ),
            (ErrorKind::PermissionDenied, "SignatureDoesNotMatch", "(check the secret access key)"),
            (
                ErrorKind::PermissionDenied,
                "AccessDenied",
                "needs GetObject, PutObject, DeleteObject, ListBucket and AbortMultipartUpload",
            ),
            (ErrorKind::ConfigInvalid, "NoSuchBucket", "(check the bucket's name and the endpoint)"),
            (ErrorKind::Unexpected, "AuthorizationHeaderMalformed", "(check the region)"),
            (ErrorKind::RateLimited, "SlowDown", "is busy"),
        ] {
            let text = explain(&refused(kind, code));
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_an_operator_must_mend() {
        for (kind, code, passes) in [
            (ErrorKind::ConfigInvalid, "NoSuchBucket", true),
            (ErrorKind::RateLimited, "SlowDown", true),
            (ErrorKind::PermissionDenied, "InvalidAccessKeyId", false),
            (ErrorKind::PermissionDenied, "AccessDenied", false),
            (ErrorKind::Unexpected, "AuthorizationHeaderMalformed", false),
            (ErrorKind::ConfigInvalid, "InvalidBucketName", false),
        ] {
            assert_eq!(is_transient(&refused(kind, code)), passes, "{code}");
        }
        let broken = refused(ErrorKind::Unexpected, "InternalError").set_persistent();
        assert!(is_transient(&broken));
        let forbidden = refused(ErrorKind::PermissionDenied, "AccessDenied").set_persistent();
        assert!(!is_transient(&forbidden));
        let gateway = |status: &str| {
            let answer = opendal::Error::new(ErrorKind::Unexpected, "<h1>an error page</h1>");
            answer
                .with_context("response", format!("Parts {{ status: {status}, version: HTTP/1.1 }}"))
                .set_persistent()
        };
        assert!(is_transient(&gateway("502")) && !is_transient(&gateway("400")));
        assert!(is_transient(&opendal::Error::new(ErrorKind::Unexpected, "io operation timeout reached")));
    }

    #[test]
    fn only_silence_leaves_the_outcome_open() {
        assert_eq!(answered(&refused(ErrorKind::Unexpected, "InternalError")), Answered::Yes);
        assert_eq!(answered(&refused(ErrorKind::RateLimited, "SlowDown")), Answered::Yes);
        let late = opendal::Error::new(ErrorKind::Unexpected, "io operation timeout reached");
        assert_eq!(answered(&late), Answered::No);
        let gateway = opendal::Error::new(ErrorKind::Unexpected, "<h1>504 Gateway Time-out</h1>");
        assert_eq!(answered(&gateway.set_temporary()), Answered::No);
    }
}
