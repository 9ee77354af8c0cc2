//! Globs: a line with a pattern, and a line with a path. Laws: every match begins with the prefix by which
//! files are searched; a pattern without special characters matches itself alone; one without `**`, braces,
//! classes and escapes matches only paths with as many folders.

#![no_main]

use libfuzzer_sys::fuzz_target;
use panaversity_server::fuzzing::parse_glob;

fuzz_target!(|text: &str| {
    let (pattern, path) = text.split_once('\n').unwrap_or((text, text));
    let Some(glob) = parse_glob(pattern) else { return };
    let matches = glob.accepts(path);
    let mut bare = pattern;
    while let Some(rest) = bare.strip_prefix("./").or_else(|| bare.strip_prefix('/')) {
        bare = rest;
    }
    if matches {
        let (from, to) = glob.prefix().range();
        assert!(
            path >= from && to.is_none_or(|to| path < to.as_str()),
            "{path:?} lies outside of its prefix"
        );
    }
    if bare.contains(['[', ']', '{', '}', '\\']) {
        return;
    }
    if !bare.contains(['*', '?']) {
        assert_eq!(matches, bare == path);
    }
    if matches && !bare.contains("**") {
        assert_eq!(bare.matches('/').count(), path.matches('/').count());
    }
});
