//! Tests of the search of one text, against a line by line search with the `regex` crate.

use proptest::prelude::*;
use regex::RegexBuilder;

use super::*;
use crate::grep::text_cache::searchable;

fn scanned(text: &str, pattern: &str, context: usize) -> Vec<LineMatch> {
    let text = searchable(text.as_bytes().to_vec()).unwrap();
    let mut scanner = Scanner::new(Pattern::parse(pattern, false).unwrap(), context, &|| true);
    scanner.scan(&text, usize::MAX).unwrap().lines
}

/// Numbers and lines that match.
fn lines(text: &str, pattern: &str) -> Vec<(u64, String)> {
    scanned(text, pattern, 0).into_iter().map(|found| (found.number, found.line)).collect()
}

/// The lines of a text: `\n` or `\r\n` ends one.
fn split(text: &str) -> Vec<&str> {
    let ended = text.split_inclusive('\n');
    ended
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => line.strip_suffix('\r').unwrap_or(line),
            None => line,
        })
        .collect()
}

#[test]
fn anchors_match_at_the_ends_of_a_line_whatever_its_end_is() {
    let text = "one\r\ntwo\nthree\r\n\r\nfour";
    for (pattern, numbers) in [
        ("^t", vec![2, 3]),
        ("e$", vec![1, 3]),
        (r"\Aone\z", vec![1]),
        ("^$", vec![4]),
        ("^four$", vec![5]),
        ("o.", vec![1, 5]),
        (r"\s", vec![]),
        (r"\r", vec![]),
        ("(?s)e.t", vec![]),
        ("[^a]", vec![1, 2, 3, 5]),
        ("x*", vec![1, 2, 3, 4, 5]),
        (r"\bt\w*", vec![2, 3]),
    ] {
        let found: Vec<_> = lines(text, pattern).into_iter().map(|(number, _)| number).collect();
        assert_eq!(found, numbers, "{pattern}");
    }
    assert_eq!(lines("", "x*"), []);
    assert_eq!(lines("\n", "^$"), [(1, String::new())]);
    assert_eq!(lines("\u{feff}# Title\n", "^# "), [(1, "# Title".to_owned())]);
}

#[test]
fn a_match_has_the_lines_around_it_also_where_they_match_too() {
    let found = scanned("a\nb1\nb2\nc\n\nd", "b", 2);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].before.join(","), found[0].after.join(",")), ("a".into(), "b2,c".into()));
    assert_eq!((found[1].before.join(","), found[1].after.join(",")), ("a,b1".into(), "c,".into()));
    let ends = scanned("a\n\nd\n", "[ad]", 9);
    assert_eq!((ends[0].before.len(), &ends[0].after[..]), (0, &[String::new(), "d".to_owned()][..]));
    assert_eq!((&ends[1].before[..], ends[1].after.len()), (&["a".to_owned(), String::new()][..], 0));
}

#[test]
fn of_a_long_line_the_part_around_its_first_match_is_shown() {
    let long = format!("{}needle{}", "ä".repeat(400), "ö".repeat(400));
    let found = &scanned(&format!("x\n{long}\n{long}"), "needle", 1)[0];
    assert!(found.is_cut && found.line.contains("needle") && found.line.len() <= LINE_BYTES);
    assert!(found.line.starts_with("ää") && found.line.ends_with("öö") && long.contains(&found.line));
    assert_eq!(found.before, ["x"]);
    assert!(found.after[0].len() <= LINE_BYTES && long.starts_with(&found.after[0]));
    let early = &scanned(&format!("needle{long}"), "needle", 0)[0];
    assert!(early.line.starts_with("needle") && early.is_cut);
    let late = &scanned(&format!("{}needle", "x".repeat(2_000)), "needle", 0)[0];
    assert!(late.line.ends_with("needle") && late.line.len() == LINE_BYTES);
    let whole = &scanned(&"x".repeat(LINE_BYTES), "x+", 0)[0];
    assert!(whole.line.len() == LINE_BYTES && !whole.is_cut);
}

#[test]
fn a_search_ends_at_the_most_matches_and_when_it_may_not_go_on() {
    let text = "a line that is searched\n".repeat(10_000);
    let pattern = || Pattern::parse("line", false).unwrap();
    let found = Scanner::new(pattern(), 0, &|| true).scan(&text, 7).unwrap();
    assert_eq!((found.lines.len(), found.is_whole), (7, true));
    let asked = std::cell::Cell::new(0);
    let twice = || {
        asked.set(asked.get() + 1);
        asked.get() <= 2
    };
    let found = Scanner::new(pattern(), 0, &twice).scan(&text, usize::MAX).unwrap();
    assert!(!found.is_whole && found.lines.len() > 1_000 && found.lines.len() < 2_000);
}

#[test]
fn patterns_that_take_others_forever_take_milliseconds() {
    let text = format!("{}!\n", "a".repeat(100_000));
    let began = std::time::Duration::from_millis(cpu_ms());
    for pattern in ["(a+)+$", "(a|aa)+$", "(a|a?)+b", "(.*)*x", r"^(([a-z])+.)+[A-Z]([a-z])+$"] {
        assert_eq!(lines(&text, pattern), [], "{pattern}");
    }
    let took = cpu_ms() - u64::try_from(began.as_millis()).unwrap();
    assert!(took < 2_000, "{took} ms");
}

/// Processor time of this thread, which other tests do not lengthen.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<u64>().unwrap() / 1_000_000
}

fn patterns() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        Just("a"),
        Just("b"),
        Just("B"),
        Just("ä"),
        Just("\\w"),
        Just("\\s"),
        Just("."),
        Just("[^a]"),
        Just("\\d"),
        Just("^"),
        Just("$"),
        Just("\\b"),
        Just("\\B"),
        Just("\\A"),
        Just("\\z"),
        Just("(?:ab|ä)"),
        Just("[a-c]"),
        Just("\\r"),
        Just(" "),
        Just("(?i:B)"),
        Just("(?s:.)"),
        Just("\\x{1F469}"),
        Just("\\PL"),
    ];
    let repeated = (
        atom,
        prop_oneof![4 => Just(""), 1 => Just("*"), 1 => Just("+"), 1 => Just("?"), 1 => Just("{2}"), 1 => Just("+?")],
    );
    let piece = repeated.prop_map(|(atom, times)| format!("(?:{atom}){times}"));
    let side = prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat());
    prop::collection::vec(side, 1..3)
        .prop_map(|sides| sides.join("|"))
        .prop_filter("empty", |raw| !raw.is_empty())
}

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just("b"),
        Just("B"),
        Just("ab"),
        Just("ä"),
        Just("Ä"),
        Just(" "),
        Just("1"),
        Just("\n"),
        Just("\r\n"),
        Just("\r"),
        Just("\n\n"),
        Just("\u{feff}"),
        Just("\u{1F469}"),
        Just("\0"),
        Just("_"),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_line_matches_if_the_regular_expression_does(
        text in texts(),
        pattern in patterns(),
        ignore_case in any::<bool>(),
        times in prop_oneof![9 => Just(1_usize), 1 => Just(1_000)],
    ) {
        let text = text.repeat(times);
        let seen = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let regex = RegexBuilder::new(&pattern).case_insensitive(ignore_case).build().unwrap();
        let due: Vec<_> = (1..).zip(split(seen)).filter(|(_, line)| regex.is_match(line)).collect();
        let form = searchable(text.as_bytes().to_vec()).unwrap();
        let mut scanner = Scanner::new(Pattern::parse(&pattern, ignore_case).unwrap(), 0, &|| true);
        let found = scanner.scan(&form, usize::MAX).unwrap().lines;
        prop_assert_eq!(found.len(), due.len());
        for (found, (number, line)) in found.iter().zip(due) {
            prop_assert_eq!(found.number, number);
            prop_assert!(found.line == line || found.is_cut && line.contains(&found.line));
        }
    }

    #[test]
    fn the_context_of_a_match_is_the_lines_around_it(
        text in texts(),
        pattern in patterns(),
        context in 0..4_usize,
    ) {
        let seen = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let all = split(seen);
        for found in scanned(&text, &pattern, context) {
            let at = usize::try_from(found.number).unwrap() - 1;
            prop_assert_eq!(&found.before[..], &all[at.saturating_sub(context)..at]);
            prop_assert_eq!(&found.after[..], &all[at + 1..(at + 1 + context).min(all.len())]);
        }
    }
}
