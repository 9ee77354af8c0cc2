//! Tests of the `.env` parser: files as they are in use, and inputs that must be refused or
//! skipped.

use proptest::prelude::*;

use super::*;

const NAMES: Names = Names {
    is_ours: |name| name.starts_with("OUR_") || name == "PORT",
    is_public: |name| name != "OUR_SECRET",
};

fn read_bytes(bytes: &[u8]) -> Result<DotEnv, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    std::fs::write(&file, bytes).unwrap();
    let inherited = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    let found = super::read(&file, NAMES, inherited);
    let shown = format!("{}", file.display());
    let short = |text: String| text.replace(&shown, ".env");
    let found = found.map_err(|ConfigError(why)| short(why))?;
    Ok(DotEnv { warnings: found.warnings.into_iter().map(short).collect(), ..found })
}

fn found(text: &str) -> DotEnv {
    read_bytes(text.as_bytes()).unwrap_or_else(|why| panic!("{text:?}: {why}"))
}

/// The value of `OUR_X`, and the warnings.
fn value(line: &str) -> (String, Vec<String>) {
    let mut found = found(line);
    (found.values.remove("OUR_X").unwrap_or_else(|| panic!("{line:?} sets nothing")), found.warnings)
}

fn refused(text: &str) -> String {
    read_bytes(text.as_bytes()).map_or_else(|why| why, |found| panic!("{text:?} gave {found:?}"))
}

#[test]
fn values_are_read_as_people_expect() {
    for (line, wanted) in [
        ("OUR_X=1", "1"),
        ("export OUR_X=1", "1"),
        ("  export\tOUR_X = 1  ", "1"),
        ("OUR_X=", ""),
        ("OUR_X=''", ""),
        ("OUR_X=\"\"", ""),
        ("OUR_X=a # b", "a"),
        ("OUR_X= # b", ""),
        ("OUR_X=a#b", "a#b"),
        ("OUR_X=#b", "#b"),
        ("OUR_X='a # b'   # c", "a # b"),
        ("OUR_X=\"a 'b' c\"", "a 'b' c"),
        (r#"OUR_X="a \"b\" \\ \$c\td""#, "a \"b\" \\ $c\td"),
        (r#"OUR_X="C:\data""#, r"C:\data"),
        (r"OUR_X='a\nb $HOME'", r"a\nb $HOME"),
        ("OUR_X=postgresql://u:p@h/d?a=b&c=d", "postgresql://u:p@h/d?a=b&c=d"),
        ("OUR_X=a==", "a=="),
        ("OUR_X=Grüße", "Grüße"),
        ("OUR_X=1\nOUR_X=2", "2"),
        ("OUR_X=\"a\n b\r\n\nc\"", "a\n b\n\nc"),
        ("OUR_X='-----BEGIN\nabcd==\n-----END'", "-----BEGIN\nabcd==\n-----END"),
    ] {
        assert_eq!(value(line), (wanted.to_owned(), Vec::new()), "{line:?}");
    }
}

#[test]
fn variables_come_from_the_environment_and_from_earlier_lines() {
    for (text, wanted) in [
        ("OUR_X=$HOME/x", "/home/me/x"),
        ("OUR_X=${HOME}x", "/home/mex"),
        ("OUR_X=\"${HOME} x\"", "/home/me x"),
        ("BASE=/srv\nOUR_X=${BASE}/x", "/srv/x"),
        ("HOME=/other\nOUR_X=$HOME", "/home/me"),
        ("OUR_X=${NONE:-a}${NONE-b}${HOME:-c}", "ab/home/me"),
        ("EMPTY=\nOUR_X=${EMPTY:-a}${EMPTY-b}", "a"),
        (r"OUR_X=pa\$HOME", "pa$HOME"),
        ("OUR_X=$5$-$$", "$5$-$$"),
    ] {
        assert_eq!(value(text), (wanted.to_owned(), Vec::new()), "{text:?}");
    }
    let (text, warnings) = value("# x\nOUR_X=./a$b");
    assert_eq!(text, "./a");
    let said = ".env line 2: OUR_X names $b, which is not set, and reads as empty there; \
                for a $ as it is, write \\$ or put the value in single quotes";
    assert_eq!(warnings, [said]);
    let secret = found("OUR_SECRET=pa$word").warnings.remove(0);
    assert!(
        secret.contains("OUR_SECRET names a variable that is not set") && !secret.contains("word"),
        "{secret}"
    );
}

#[test]
fn lines_of_others_stop_nothing_and_swallow_nothing() {
    for (line, is_read) in [
        ("APP_NAME=My AppState", false),
        ("MOTTO=don't stop", false),
        ("MOTTO='don't stop'", false),
        ("X={\"a\": 1}", false),
        ("P=C:\\new\\temp", false),
        ("A=\"never closed", false),
        ("A='never closed", false),
        ("A=${", false),
        ("just words", false),
        ("{", false),
        ("=x", false),
        ("A B=c", false),
        ("<<<<<<< HEAD", false),
        ("a.b-c=1", true),
        ("A=$none", true),
        ("A=\"a\\\"b\"", true),
        ("PEM=\"-----BEGIN\nMII=\n\n-----END\"", true),
        ("X='{\n \"a\": 1\n}'", true),
    ] {
        let found = found(&format!("OUR_A=1\n{line}\nOUR_B=2\n"));
        assert_eq!(found.values.len(), 2, "{line:?}");
        let said = ".env line 2 cannot be read and is skipped: no setting of this program is there";
        assert_eq!(found.warnings, if is_read { vec![] } else { vec![said] }, "{line:?}");
    }
    let never_closed = found("A=\"open\nOUR_B=2\nC=\"x\"\nD='\nOUR_E=3\nF=\n");
    assert_eq!(never_closed.values.keys().collect::<Vec<_>>(), ["OUR_B", "OUR_E"]);
    assert!(never_closed.warnings[0].starts_with(".env lines 1, 4 cannot"), "{never_closed:?}");
    let many = found(&"x y\n".repeat(12)).warnings;
    assert!(many[0].starts_with(".env lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more cannot"), "{many:?}");
}

#[test]
fn a_value_of_others_that_closes_is_one_value_and_sets_nothing_of_ours() {
    for (value, is_read) in [
        ("\"one\nOUR_B=2\nend\"", true),
        ("'one\nexport OUR_B = 2\nend' # c", true),
        ("'\nOUR_B=2\nF='", true),
        ("\"\\\"\nOUR_B=2\n\\\"\n\"", true),
        ("\"${\nOUR_B=2\nend\"", false),
        ("\"\0\nOUR_B=2\nend\"", false),
        ("`one\nOUR_B=2\nend`", false),
    ] {
        let found = found(&format!("OUR_A=1\nA={value}\nOUR_C=3"));
        assert_eq!(found.values.keys().collect::<Vec<_>>(), ["OUR_A", "OUR_C"], "{value:?}");
        let held = ".env line 3: OUR_B is not set, for it stands in the quotes that line 2 opens";
        assert!(found.warnings[0].starts_with(held), "{found:?}");
        assert_eq!(found.warnings.len(), if is_read { 1 } else { 2 }, "{found:?}");
    }
    let latin = read_bytes(b"A=\"\xe9\nOUR_B=2\n\xe9\"\nOUR_C=3").unwrap();
    assert_eq!(latin.values.keys().collect::<Vec<_>>(), ["OUR_C"]);
    let other_name = found("A B='\nOUR_B=2\n'\nOUR_C=3");
    assert_eq!(other_name.values.keys().collect::<Vec<_>>(), ["OUR_C"]);
}

#[test]
fn a_line_of_ours_that_cannot_be_read_is_refused_with_its_number() {
    for (line, said) in [
        ("OUR_X=hun ter2", "put the value in single quotes"),
        ("OUR_X=hun'ter2", "put the value in single quotes"),
        ("OUR_X=hun\\ter2", "put the value in single quotes"),
        ("OUR_X=\"hunter2", "its quote does not end"),
        ("OUR_X=\"hunter2\nOUR_Y=\"", "its quote does not end"),
        ("OUR_X='hun'ter2", "something follows its quotes"),
        ("OUR_X=${hunter2", "a name and } must stand"),
        ("OUR_X=${hunter2+x}", "a name and } must stand"),
        ("OUR_X: hunter2", "it must read NAME=value"),
        ("export OUR_X", "it must read NAME=value"),
    ] {
        let why = refused(&format!("A=1\n\n{line}\n"));
        assert!(
            why.starts_with(".env line 3: OUR_X cannot be read: ") && why.contains(said),
            "{line:?}: {why}"
        );
        assert!(!why.contains("hun") && !why.contains("ter2"), "{why}");
    }
}

#[test]
fn files_of_any_editor_are_read() {
    let windows = read_bytes(b"\xef\xbb\xbfOUR_X=1\r\n\r\n# c\r\nOUR_Y='a b'\r\n").unwrap();
    assert_eq!((windows.values["OUR_X"].as_str(), windows.values["OUR_Y"].as_str()), ("1", "a b"));
    assert!(windows.warnings.is_empty());
    let latin = read_bytes(b"NAME=\xe9t\xe9\n\xff\nOUR_X=1\nC=\"\xe9\"\n").unwrap();
    assert_eq!((latin.values.len(), latin.warnings.len()), (1, 1));
    assert!(latin.warnings[0].starts_with(".env lines 1, 2, 4 "), "{latin:?}");
    let ours = read_bytes(b"OUR_X=\xe9\n").unwrap_err();
    assert_eq!(ours, ".env line 1: OUR_X cannot be read: it is not UTF-8");
    assert_eq!(read_bytes(b"\xff\xfeO\0U\0R\0").unwrap_err(), ".env is UTF-16: save it as UTF-8");
    assert_eq!(read_bytes(b"").unwrap(), DotEnv::default());
}

#[test]
fn a_file_that_is_none_is_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let ConfigError(why) = super::read(folder.path(), NAMES, |_| None).unwrap_err();
    assert!(why.contains("is a folder: remove it"), "{why}");
    assert_eq!(super::read(&folder.path().join("none"), NAMES, |_| None).unwrap(), DotEnv::default());
}

/// A value as a line in double quotes, with its escapes.
fn in_double_quotes(value: &str) -> String {
    let escaped = value.chars().map(|character| match character {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '"' | '\\' | '$' => format!("\\{character}"),
        plain => plain.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// A line of a file: its text, and whether it can be read.
fn line() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        "(# ?[ !#-&(-_a-~]{0,12}| {0,3}|(export )?[A-Z]{1,5}=[a-z0-9]{0,5}|A=\"x\" # y|OUR_[A-Z]=[0-9]{1,3})"
            .prop_map(|text| (text, true)),
        "([a-z]{1,5} [a-z]{1,5}|=x|[A-C]{1,5}=[a-z] [a-z]|A=\"[a-z]{1,3}|<<< [A-Z]{1,4})"
            .prop_map(|text| (text, false)),
    ]
}

proptest! {
    #[test]
    fn whatever_stands_in_a_line_of_others_ours_are_read_or_told(line in "[^\n]{0,40}", more in "[^\n]{0,40}") {
        let text = format!("OUR_A=1\nX={line}\nOUR_B=2\nY={more}\nOUR_C=3");
        let found = found(&text);
        let is_told = found.warnings.iter().any(|said| said.contains("line 3: OUR_B is not set"));
        prop_assert!(found.values.contains_key("OUR_A") && found.values.contains_key("OUR_C"));
        prop_assert!(found.values.contains_key("OUR_B") != is_told, "{:?}", found);
    }

    #[test]
    fn what_stands_in_single_quotes_is_the_value(text in "[^'\0\r]{0,40}") {
        prop_assume!(!text.lines().any(|line| (NAMES.is_ours)(name_of(line.as_bytes()))));
        prop_assert_eq!(value(&format!("OUR_X='{text}'")).0, text);
    }

    #[test]
    fn any_value_that_is_printed_in_double_quotes_is_read_again(
        first in "[^\0]{0,40}",
        second in "[\"'\\\\$\n\r\t #=a{}`]{0,12}",
    ) {
        let text = format!("OUR_X={}\nOUR_Y={} # c\n", in_double_quotes(&first), in_double_quotes(&second));
        let found = found(&text);
        prop_assert_eq!((&found.values["OUR_X"], &found.values["OUR_Y"]), (&first, &second));
        prop_assert!(found.warnings.is_empty(), "{found:?}");
    }

    #[test]
    fn any_bytes_are_a_file_and_no_message_quotes_them(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        alike in "((export |# )?(OUR_[A-C]|PORT|[A-Z.]{0,3})[ =:]{0,2}[\"'`$\\\\{}a-c #=\r]{0,9}\n?){0,6}",
        secret in "~[g-z]{12}",
        at: prop::sample::Index,
    ) {
        let _ = read_bytes(&bytes);
        let _ = read_bytes(alike.as_bytes());
        let mut with_secret = alike;
        with_secret.insert_str(at.index(with_secret.len() + 1), &secret);
        let said = match read_bytes(with_secret.as_bytes()) {
            Ok(found) => found.warnings.join("\n"),
            Err(why) => why,
        };
        prop_assert!(!said.contains(&secret), "{said}");
    }

    #[test]
    fn a_message_has_the_number_of_its_line(
        lines in prop::collection::vec(line(), 0..9),
        bad in "OUR_[A-Z](=[a-z] [a-z]|: [a-z]|=\"[a-z]|=\\$\\{[a-z])",
        windows: bool,
        bom: bool,
    ) {
        let end = if windows { "\r\n" } else { "\n" };
        let mut text = if bom { "\u{feff}" } else { "" }.to_owned();
        for (line, _) in &lines {
            text.extend([line, end]);
        }
        let unread: Vec<_> = (1..).zip(&lines).filter(|(_, line)| !line.1).map(|(n, _)| n.to_string()).collect();
        let warnings = found(&text).warnings;
        if unread.is_empty() {
            prop_assert!(warnings.is_empty(), "{warnings:?}");
        } else {
            let (lines, are) = if unread.len() == 1 { ("line", "is") } else { ("lines", "are") };
            let said = format!(".env {lines} {} cannot be read and {are} skipped", unread.join(", "));
            prop_assert!(warnings.len() == 1 && warnings[0].starts_with(&said), "{warnings:?}: {said}");
        }
        let why = refused(&format!("{text}{bad}{end}"));
        let said = format!(".env line {}: OUR_", lines.len() + 1);
        prop_assert!(why.starts_with(&said), "{why}: {said}");
    }
}
