//! Contract tests of reading books in pages: children of folders, and changes by time.

use panaversity_model::browsing::{ChangeFilter, ChildPosition, FolderChild};
use panaversity_model::path::Folder;
use panaversity_model::{Layer, Schema, Timestamp, View};

use super::Setup;
use super::fixture::ContractFixture;
use crate::samples::{change_set, lesson, overlay, path, view, write};

/// Paths whose order differs from that of their folders: `-` and `!` sort before the slash, `0` behind it.
const PATHS: [&str; 10] = [
    "content/README.md",
    "content/a!.md",
    "content/a-b/x.md",
    "content/a/1.md",
    "content/a/deep/er/2.md",
    "content/a/deep/3.md",
    "content/a0.md",
    "content/ä ö/ü.md",
    "content/ä ö/日本.md",
    "content/日本/1.md",
];

async fn filled(setup: &Setup) -> ContractFixture {
    let mut fixture = ContractFixture::new(setup);
    fixture.schema = Schema::Docusaurus;
    for text in PATHS {
        fixture.put(&Layer::Base, &path(text), text.as_bytes()).await;
    }
    fixture
}

async fn names(fixture: &ContractFixture, folder: &str, view: &View, page: usize) -> Vec<String> {
    let folder = Folder::parse(folder).unwrap();
    let (mut names, mut after): (Vec<String>, Option<ChildPosition>) = (Vec::new(), None);
    loop {
        let children =
            fixture.journal.children(&fixture.book, &folder, view, after.as_ref(), page).await.unwrap();
        assert!(children.len() <= page);
        after = children.last().map(FolderChild::position);
        names.extend(children.iter().map(|child| child.position().as_str().to_owned()));
        if children.len() < page {
            return names;
        }
    }
}

/// A folder is a child once, however much lies below it.
pub async fn the_children_of_a_folder_are_its_files_and_what_has_files_below_it(setup: &Setup) {
    let fixture = filled(setup).await;
    let base = View::base();
    assert_eq!(names(&fixture, "", &base, 100).await, ["content/"]);
    let due = [
        "content/README.md",
        "content/a!.md",
        "content/a-b/",
        "content/a/",
        "content/a0.md",
        "content/ä ö/",
        "content/日本/",
    ];
    assert_eq!(names(&fixture, "content", &base, 100).await, due);
    assert_eq!(names(&fixture, "content/a", &base, 100).await, ["content/a/1.md", "content/a/deep/"]);
    assert_eq!(names(&fixture, "content/ä ö", &base, 100).await, ["content/ä ö/ü.md", "content/ä ö/日本.md"]);
    assert!(names(&fixture, "content/none", &base, 100).await.is_empty());
    let children = fixture.journal.children(&fixture.book, &Folder::content(), &base, None, 1).await.unwrap();
    let [FolderChild::File(record)] = &children[..] else { panic!("{children:?}") };
    assert_eq!((record.path.clone(), record.size), (path(PATHS[0]), PATHS[0].len() as u64));
}

/// Pages of every length give the same children.
pub async fn pages_of_children_join_to_the_whole(setup: &Setup) {
    let fixture = filled(setup).await;
    let mine = overlay("owner");
    fixture.put(&mine, &path("content/a/mine.md"), b"m").await;
    fixture.put(&mine, &path("content/b/mine.md"), b"m").await;
    for view in [View::base(), view(&mine)] {
        let whole = names(&fixture, "content", &view, 100).await;
        for page in 1..5 {
            assert_eq!(names(&fixture, "content", &view, page).await, whole, "{page}");
        }
    }
}

/// R5: an overlay's files are children for its owner, and for nobody else.
pub async fn r5_children_are_those_of_the_view(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (mine, other) = (overlay("owner"), overlay("other"));
    fixture.put(&Layer::Base, &lesson(1), b"base").await;
    fixture.put(&mine, &lesson(1), b"mine").await;
    fixture.put(&mine, &lesson(2), b"mine").await;
    let folder = Folder::holding(&lesson(1));
    let layers = async |view: View| {
        let children = fixture.journal.children(&fixture.book, &folder, &view, None, 9).await.unwrap();
        let layer = |child: &FolderChild| match child {
            FolderChild::File(record) => record.layer.clone(),
            FolderChild::Folder(folder) => panic!("{folder:?}"),
        };
        children.iter().map(layer).collect::<Vec<_>>()
    };
    assert_eq!(layers(view(&mine)).await, [mine.clone(), mine.clone()]);
    assert_eq!(layers(View::base()).await, [Layer::Base]);
    assert_eq!(layers(view(&other)).await, [Layer::Base]);
}

/// Files are counted with all below a folder, of one layer.
pub async fn files_are_counted_up_to_a_limit(setup: &Setup) {
    let fixture = filled(setup).await;
    fixture.put(&overlay("owner"), &path("content/a/mine.md"), b"m").await;
    let folders = ["content", "content/a", "content/a/deep", "content/none", ""];
    let folders: Vec<_> = folders.iter().map(|folder| Folder::parse(folder).unwrap()).collect();
    let counts = async |layer: &Layer, most| {
        fixture.journal.file_counts(&fixture.book, layer, &folders, most).await.unwrap()
    };
    assert_eq!(counts(&Layer::Base, 100).await, [10, 3, 2, 0, 10]);
    assert_eq!(counts(&Layer::Base, 2).await, [2, 2, 2, 0, 2]);
    assert_eq!(counts(&overlay("owner"), 100).await, [1, 1, 0, 0, 1]);
}

/// Entries of changes are found by time, or by their set; those of another layer are not.
pub async fn changes_are_read_newest_first_and_by_their_set(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let set = change_set(
        &fixture.book,
        &Layer::Base,
        vec![write(&lesson(1), b"a", None), write(&lesson(2), b"b", None)],
    );
    fixture.journal.commit(set.clone()).await.unwrap();
    fixture.put(&Layer::Base, &lesson(3), b"c").await;
    fixture.put(&overlay("owner"), &lesson(4), b"d").await;
    let all = ChangeFilter {
        book: fixture.book.clone(),
        layer: Layer::Base,
        from: Timestamp::from_micros(0),
        to: fixture.journal.now().await.unwrap(),
        change: None,
    };
    let paths = async |filter: &ChangeFilter, most, limit| {
        let entries = fixture.journal.change_entries(filter, most, limit).await.unwrap();
        assert!(entries.is_sorted_by(|newer, older| newer.timestamp >= older.timestamp));
        entries.into_iter().map(|entry| entry.path).collect::<Vec<_>>()
    };
    let found = paths(&all, 10, 10).await;
    assert_eq!((found.len(), found[0].as_str()), (3, lesson(3).as_str()));
    assert_eq!(paths(&all, 10, 1).await, [lesson(3).as_str()]);
    let of_set = ChangeFilter { change: Some(set.id), ..all.clone() };
    let mut found = paths(&of_set, 10, 10).await;
    found.sort();
    assert_eq!(found, [lesson(1).as_str(), lesson(2).as_str()]);
    assert!(paths(&of_set, 1, 10).await.is_empty(), "only the newest entry is looked at");
    let before = ChangeFilter { to: Timestamp::from_micros(1), ..all };
    assert!(paths(&before, 10, 10).await.is_empty());
}

/// Changes are counted under the day of their entries, for each book by itself.
pub async fn changes_are_counted_by_day(setup: &Setup) {
    const DAY: i64 = 86_400_000_000;
    let (fixture, other) = (ContractFixture::new(setup), ContractFixture::new(setup));
    let before = fixture.journal.now().await.unwrap();
    for n in 0..3 {
        fixture.put(&Layer::Base, &lesson(n), b"a").await;
    }
    fixture.put(&overlay("owner"), &lesson(1), b"mine").await;
    other.put(&Layer::Base, &lesson(1), b"a").await;
    let now = fixture.journal.now().await.unwrap();
    let books = [fixture.book.clone(), other.book.clone(), crate::samples::book()];
    let days = fixture.journal.changes_per_day(&books, before, 100).await.unwrap();
    let totals: Vec<u64> = days.iter().map(|days| days.iter().map(|day| day.changes).sum()).collect();
    assert_eq!(totals, [3, 1, 0]);
    let today = before.micros() / DAY..=now.micros() / DAY;
    assert!(days.iter().flatten().all(|day| today.contains(&day.day)), "{days:?}");
    let few = fixture.journal.changes_per_day(&books[..1], before, 2).await.unwrap();
    assert_eq!(few[0].iter().map(|day| day.changes).sum::<u64>(), 2);
}
