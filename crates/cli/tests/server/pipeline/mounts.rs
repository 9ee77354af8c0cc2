//! An output folder that is a mount of its own: a staged file can't be renamed into it, and is
//! copied to a file beside its target first.

use panaversity_testkit::disk::Disk;

use super::{Tree, hydrate, ingest, plant, tree};
use crate::faults::or_skip;
use crate::harness::{Db, TestEnv};

#[tokio::test(flavor = "multi_thread")]
async fn a_book_with_the_longest_names_fits_a_mount_and_leaves_nothing_else_there() {
    let env = TestEnv::new(Db::Sqlite);
    let out = env.folder().join("site/docs");
    let Some(_disk) = or_skip(Disk::small(&out, 8192)) else { return };
    let server = env.start().await;
    // With content/ and the ending 255 bytes, which is also the longest name of most disks.
    let (long, wide) = ("a".repeat(240), "\u{e9}".repeat(120));
    let mut book: Tree = Tree::new();
    for (name, text) in [
        (format!("{long}.md"), "# One"),
        (format!("{wide}.md"), "# One"),
        (format!("{long}.mdx"), "# Two"),
        ("short.md".to_owned(), "# One"),
    ] {
        book.insert(name, text.into());
    }
    book.insert("large.bin".to_owned(), vec![7; 1 << 20]);
    let source = plant(&env.folder().join("source"), &book);
    ingest(&env, &server, &source, &["--schema", "docusaurus"]).expect_ok();
    hydrate(&env, &server, &out, &[]).expect_ok();
    assert_eq!(tree(&out), book);

    let changed = format!("{long}.md");
    book.insert(changed.clone(), "# One, changed".into());
    book.remove("short.md");
    std::fs::remove_file(source.join("short.md")).unwrap();
    plant(&source, &Tree::from([(changed.clone(), book[&changed].clone())]));
    ingest(&env, &server, &source, &["--delete"]).expect_ok();
    hydrate(&env, &server, &out, &[]).expect_ok();
    assert_eq!(tree(&out), book);
    let staging = env.folder().join("site/.docs.panaversity/staging");
    assert!(!staging.exists(), "nothing is on its way any more");
}
