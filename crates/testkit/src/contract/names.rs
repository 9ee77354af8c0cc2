//! Contract tests of names that a build machine may not distinguish: a book has at most one of the
//! names that differ only by case; and no file lies under another.

use panaversity_model::{BookPath, Layer, Refusal, Schema, View};

use super::Setup;
use super::fixture::ContractFixture;
use crate::samples::{delete, overlay, path, write};

fn pair() -> (BookPath, BookPath) {
    (path("static/img/Übersicht.PNG"), path("static/img/übersicht.png"))
}

/// A new path that differs only by case from one of its layer is refused and leaves nothing.
pub async fn a_name_that_differs_only_by_case_is_refused(setup: &Setup) {
    let (upper, lower) = pair();
    for layer in [Layer::Base, overlay("reader")] {
        let fixture = ContractFixture::new(setup);
        fixture.put(&layer, &upper, b"a").await;
        let (_, refusal) = fixture.refused(&layer, vec![write(&lower, b"b", None)]).await;
        assert!(matches!(refusal, Refusal::Conflict { current: None, .. }), "{refusal:?}");
        assert_eq!(fixture.holds(&layer, &lower).await, None);
        assert_eq!(fixture.file_chain(&lower, &layer).await, vec![]);
        // The existing file is not affected, and once it is deleted the name is free.
        fixture.put(&layer, &upper, b"c").await;
        fixture.delete(&layer, &upper).await;
        fixture.put(&layer, &lower, b"b").await;
    }
}

/// An overlay's new path must not differ only by case from one of the base.
pub async fn an_overlay_cannot_take_a_name_of_the_base_in_another_case(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (upper, lower) = pair();
    fixture.put(&Layer::Base, &upper, b"a").await;
    let (_, refusal) = fixture.refused(&overlay("reader"), vec![write(&lower, b"b", None)]).await;
    assert!(matches!(refusal, Refusal::Conflict { current: None, .. }), "{refusal:?}");
    fixture.put(&overlay("reader"), &upper, b"b").await;
}

/// R5: a file in an overlay does not block names for other users.
pub async fn r5_a_name_in_an_overlay_stands_in_nobody_else_s_way(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (upper, lower) = pair();
    fixture.put(&overlay("reader"), &upper, b"a").await;
    fixture.put(&overlay("other"), &lower, b"b").await;
    fixture.put(&Layer::Base, &lower, b"c").await;
    assert_eq!(fixture.paths(&View::base()).await, vec![lower]);
}

/// I10: two new paths of one set that differ only by case are refused together.
pub async fn i10_a_set_cannot_bring_two_names_that_differ_only_by_case(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (upper, lower) = pair();
    fixture.refused(&Layer::Base, vec![write(&upper, b"a", None), write(&lower, b"b", None)]).await;
    fixture.assert_untouched().await;
}

/// One set may delete a name and create it in another case.
pub async fn a_set_can_rename_a_file_to_another_case(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (upper, lower) = pair();
    fixture.put(&Layer::Base, &upper, b"a").await;
    fixture.commit(&Layer::Base, vec![delete(&upper, None), write(&lower, b"a", None)]).await;
    assert_eq!(fixture.paths(&View::base()).await, vec![lower]);
}

/// A deletion of what is not there takes no name from the rest of its set, and creates no book.
pub async fn an_unchanged_change_takes_no_name(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (upper, lower) = pair();
    fixture.commit_one(&Layer::Base, delete(&upper, None)).await;
    assert_eq!(fixture.journal.book(&fixture.book).await.unwrap(), None);
    fixture.commit(&Layer::Base, vec![delete(&upper, None), write(&lower, b"a", None)]).await;
    assert_eq!(fixture.paths(&View::base()).await, vec![lower]);
}

/// A file can't lie under another, nor another under it, in any case of letters: an asset in any
/// book, any file where the schema allows every name for files and folders alike.
pub async fn no_file_lies_under_another(setup: &Setup) {
    for (schema, file, below, beside) in [
        (Schema::Strict, "static/img/Chapter", "static/img/chapter/a.png", "static/img/chapter-2/a.png"),
        (Schema::Docusaurus, "content/v1.0", "content/V1.0/a.md", "content/v1.0.1/a.md"),
        (Schema::Docusaurus, "content/a/b.md", "content/a/b.md/c/d.csv", "content/a/b.mdx"),
    ] {
        let (file, below, beside) = (path(file), path(below), path(beside));
        for layer in [Layer::Base, overlay("reader")] {
            for (first, second) in [(&file, &below), (&below, &file)] {
                let fixture = ContractFixture { schema, ..ContractFixture::new(setup) };
                fixture.put(&layer, first, b"a").await;
                let (_, refusal) = fixture.refused(&layer, vec![write(second, b"b", None)]).await;
                assert!(matches!(refusal, Refusal::Conflict { current: None, .. }), "{refusal:?}");
                assert_eq!(fixture.holds(&layer, second).await, None);
                fixture.put(&layer, &beside, b"c").await;
                fixture.delete(&layer, first).await;
                fixture.put(&layer, second, b"b").await;
            }
        }
    }
}

/// An overlay's file can't lie under one of the base, nor above one; files in an overlay do not
/// block names for other users.
pub async fn no_file_of_an_overlay_lies_under_one_of_the_base(setup: &Setup) {
    for (first, second) in [("content/guide", "content/guide/a.md"), ("content/guide/a.md", "content/Guide")]
    {
        let fixture = ContractFixture { schema: Schema::Docusaurus, ..ContractFixture::new(setup) };
        let (first, second) = (path(first), path(second));
        fixture.put(&Layer::Base, &first, b"a").await;
        let (_, refusal) = fixture.refused(&overlay("reader"), vec![write(&second, b"b", None)]).await;
        assert!(matches!(refusal, Refusal::Conflict { current: None, .. }), "{refusal:?}");
        fixture.delete(&Layer::Base, &first).await;
        fixture.put(&overlay("reader"), &second, b"b").await;
        fixture.put(&Layer::Base, &first, b"c").await;
    }
}

/// One set may replace a file by a folder, and a folder by a file; it may not create both.
pub async fn a_set_can_turn_a_file_into_a_folder_and_back(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (file, below) = (path("static/img/chapter"), path("static/img/chapter/a.png"));
    let more = path("static/img/chapter/deep/b.png");
    fixture.refused(&Layer::Base, vec![write(&file, b"a", None), write(&below, b"b", None)]).await;
    fixture.put(&Layer::Base, &file, b"a").await;
    let grown = vec![delete(&file, None), write(&below, b"b", None), write(&more, b"c", None)];
    fixture.commit(&Layer::Base, grown).await;
    fixture.refused(&Layer::Base, vec![delete(&below, None), write(&file, b"a", None)]).await;
    fixture
        .commit(&Layer::Base, vec![delete(&below, None), delete(&more, None), write(&file, b"a", None)])
        .await;
    assert_eq!(fixture.holds(&Layer::Base, &below).await, None);
}
