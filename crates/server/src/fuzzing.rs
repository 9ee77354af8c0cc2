//! Private parsers of this crate, as the fuzz targets call them. Built only with the feature `fuzzing`.

use crate::signed_url::SignedUrls;

pub use crate::auth::fuzzing::TokenParser;
pub use crate::http::fuzzing::evaluate;
pub use crate::mcp::fuzzing::{
    ParsedGlob, ParsedMessage, count_argument, is_message, parse_glob, parse_message, rejection,
};

/// Names of the parameters of the links that [`sign`] signs.
const FIELDS: [&str; 2] = ["hash", "agent"];

/// Signs a link with these parameters; `None` if the server has no base for links.
pub fn sign(links: &SignedUrls, path: &str, values: [&str; 2]) -> Option<String> {
    let fields: Vec<_> = FIELDS.into_iter().zip(values).collect();
    links.signed(path, &fields).ok().map(|(url, _)| url)
}

/// The parameters of a link, if it is valid.
pub fn open(links: &SignedUrls, path: &str, query: &str) -> Option<[String; 2]> {
    links.open(path, query, FIELDS).ok()
}
