//! Git applies the unified diff of two texts, and gets the one from the other.

use panaversity_model::line_diff::unified;
use proptest::prelude::*;

use crate::repository::{git, text};
use crate::texts::{any_edit, any_text, edited};

/// The text that git makes from another with a diff.
fn applied(before: &str, diff: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, before).unwrap();
    std::fs::write(folder.path().join("diff"), format!("--- a/file\n+++ b/file\n{diff}")).unwrap();
    text(git(folder.path(), &["apply", "--whitespace=nowarn", "diff"]));
    std::fs::read_to_string(&file).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn git_gets_the_one_text_from_the_other_by_their_unified_diff(
        before in any_text(), edits in prop::collection::vec(any_edit(), 1..5),
    ) {
        let after = edits.iter().fold(before.clone(), |text, edit| edited(&text, edit));
        let diff = unified(&before, &after);
        prop_assert_eq!(diff.is_empty(), before == after);
        if !diff.is_empty() && !before.is_empty() && !after.is_empty() {
            prop_assert_eq!(applied(&before, &diff), after);
        }
    }
}
