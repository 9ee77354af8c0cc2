//! Contract tests of the tree: the published copy as an ordinary folder.

use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::ports::ByteStream;
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{Kind, TreeEntry, TreePath};
use panaversity_model::{BookId, BookPath, Fault, Layer};

use super::fixture::run_concurrently;
use super::{TreeSetup, whole};
use crate::memory::{in_parts, location};
use crate::samples::{book, key, lesson, overlay, path};

/// The files of the tree below a book, relative to the book's folder.
fn published(setup: &TreeSetup, book: &BookId) -> Vec<(String, Vec<u8>)> {
    let prefix = format!("books/{book}/");
    let files = setup.files().into_iter();
    files.filter_map(|(at, bytes)| Some((at.strip_prefix(&prefix)?.to_owned(), bytes))).collect()
}

/// The content of a path.
async fn read(setup: &TreeSetup, spot: &TreePath) -> Option<Vec<u8>> {
    whole(setup.tree.open(spot).await.unwrap()).await
}

/// R2: a path has the content that was put last, whatever its length.
pub async fn r2_a_path_holds_what_was_put_last(setup: &TreeSetup) {
    let book = book();
    let file = key(&book, &lesson(1), &Layer::Base);
    for bytes in [b"first, and longer".to_vec(), b"second".to_vec(), Vec::new(), vec![0; 300_000]] {
        setup.tree.put(&file, &bytes).await.unwrap();
        assert!(published(setup, &book) == [(lesson(1).as_str().to_owned(), bytes)], "and nothing beside it");
    }
}

/// R2: a file put in parts is stored as a whole, and read back in parts.
pub async fn r2_a_file_in_parts_is_put_as_a_whole(setup: &TreeSetup) {
    let book = book();
    let file = key(&book, &path("static/img/large.png"), &Layer::Base);
    setup.tree.put(&file, b"what was there").await.unwrap();
    for size in [0, 1, 70_000, (6 << 20) + 1, 12 << 20] {
        let bytes: Vec<u8> = (0..size).map(|n: usize| u8::try_from(n % 253).unwrap()).collect();
        setup.tree.put_parts(&file, in_parts(&bytes), size as u64).await.unwrap();
        assert!(published(setup, &book) == [("static/img/large.png".to_owned(), bytes.clone())], "{size}");
        assert!(read(setup, &TreePath::of(&file)).await == Some(bytes), "{size}");
    }
}

/// Parts that fail, or are more or fewer than announced, leave the previous content.
pub async fn parts_that_fail_leave_what_was_there(setup: &TreeSetup) {
    let book = book();
    let (file, new) = (key(&book, &lesson(1), &Layer::Base), key(&book, &lesson(2), &Layer::Base));
    setup.tree.put(&file, b"what was there").await.unwrap();
    for size in [9, 12 << 20] {
        for told in [size - 1, size + 1] {
            for file in [&file, &new] {
                let parts = in_parts(&vec![7; size]);
                let fault = setup.tree.put_parts(file, parts, told as u64).await.unwrap_err();
                assert!(!fault.outcome_unknown, "{fault}");
            }
        }
        for file in [&file, &new] {
            let fault = setup.tree.put_parts(file, failing_after(size), 20 << 20).await.unwrap_err();
            assert!(fault.detail.contains("no more parts") && !fault.outcome_unknown, "{fault}");
        }
    }
    assert_eq!(published(setup, &book), [(lesson(1).as_str().to_owned(), b"what was there".to_vec())]);
}

/// This number of bytes, then a fault.
fn failing_after(size: usize) -> ByteStream {
    let parts = in_parts(&vec![7; size]);
    parts.chain(stream::once(async { Err(Fault::storage("no more parts")) })).boxed()
}

/// R3: removing is idempotent and touches nothing else.
pub async fn r3_removing_twice_is_fine(setup: &TreeSetup) {
    let book = book();
    let (gone, kept) = (key(&book, &lesson(1), &Layer::Base), key(&book, &lesson(2), &Layer::Base));
    setup.tree.remove(&gone).await.unwrap();
    setup.tree.put(&gone, b"a").await.unwrap();
    setup.tree.put(&kept, b"b").await.unwrap();
    setup.tree.remove(&gone).await.unwrap();
    setup.tree.remove(&gone).await.unwrap();
    assert_eq!(published(setup, &book), [(lesson(2).as_str().to_owned(), b"b".to_vec())]);
    setup.tree.remove(&kept).await.unwrap();
    setup.tree.put(&gone, b"c").await.unwrap();
    assert_eq!(published(setup, &book), [(lesson(1).as_str().to_owned(), b"c".to_vec())]);
}

/// R5: layers and books never share a location.
pub async fn r5_layers_and_books_lie_apart(setup: &TreeSetup) {
    let files: Vec<FileKey> = [book(), book()]
        .iter()
        .flat_map(|book| {
            [Layer::Base, overlay("ann"), overlay("Ann"), overlay("content")]
                .map(|layer| key(book, &lesson(1), &layer))
        })
        .collect();
    for (n, file) in files.iter().enumerate() {
        setup.tree.put(file, format!("{n}").as_bytes()).await.unwrap();
    }
    let holds = || setup.files();
    for (n, file) in files.iter().enumerate() {
        assert_eq!(holds().get(&location(file)), Some(&format!("{n}").into_bytes()), "{}", location(file));
    }
    setup.tree.remove(&files[1]).await.unwrap();
    let left: Vec<bool> = files.iter().map(|file| holds().contains_key(&location(file))).collect();
    assert_eq!(left, [true, false, true, true, true, true, true, true]);
}

/// Every path that a book may admit can be published under its own name.
pub async fn a_name_is_kept_as_it_is(setup: &TreeSetup) {
    let book = book();
    let longest = format!("static/img/{}/{}.png", "d".repeat(120), "n".repeat(119));
    assert_eq!(longest.len(), 255);
    let names: [&str; 7] = [
        "content/README.md",
        "content/a b/c (1).md",
        "content/Grüße/你好.md",
        "static/.nojekyll",
        "static/CNAME",
        "static/img/a, b & c's @2x+.png",
        &longest,
    ];
    for name in names {
        setup.tree.put(&key(&book, &path(name), &Layer::Base), name.as_bytes()).await.unwrap();
    }
    let mut due: Vec<_> = names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect();
    due.sort();
    assert_eq!(published(setup, &book), due);
}

/// Many files of one new folder can be put and removed at once.
pub async fn neighbours_do_not_hinder_each_other(setup: &TreeSetup) {
    let book = book();
    let paths: Vec<BookPath> = (0..32).map(lesson).collect();
    for round in 0..3 {
        run_concurrently(32, |n| {
            let (tree, file) = (setup.tree.clone(), key(&book, &paths[n], &Layer::Base));
            async move {
                tree.put(&file, b"a").await.unwrap();
                if (n + round) % 2 == 0 {
                    tree.remove(&file).await.unwrap();
                }
            }
        })
        .await;
        assert_eq!(published(setup, &book).len(), 16, "round {round}");
    }
}

/// A clean point can be made at any time, also when there is nothing to make durable.
pub async fn a_clean_point_can_be_made_at_any_time(setup: &TreeSetup) {
    let file = key(&book(), &lesson(1), &Layer::Base);
    setup.tree.sync().await.unwrap();
    setup.tree.put(&file, b"a").await.unwrap();
    setup.tree.sync().await.unwrap();
    setup.tree.remove(&file).await.unwrap();
    setup.tree.sync().await.unwrap();
    setup.tree.ping().await.unwrap();
    assert!(!setup.tree.backend().is_empty());
}

/// The tree's list of a book, in order.
async fn listed(setup: &TreeSetup, book: Option<&BookId>) -> Vec<TreeEntry> {
    let (mut listing, mut listed) = (setup.tree.list_files(book), Vec::new());
    while let Some(page) = listing.try_next().await.unwrap() {
        listed.extend(page);
    }
    listed.sort_by(|one, other| one.spot.cmp(&other.spot));
    listed
}

/// Files that were put are read back and listed, of one book or of all, each once.
pub async fn what_was_put_is_read_and_listed(setup: &TreeSetup) {
    let (book, other) = (book(), book());
    assert_eq!(listed(setup, Some(&book)).await, []);
    let mut due = Vec::new();
    for n in 0..30 {
        let layer = if n % 3 == 0 { overlay("ann") } else { Layer::Base };
        let file = key(&book, &lesson(n), &layer);
        setup.tree.put(&file, &vec![b'x'; n]).await.unwrap();
        let spot = TreePath::of(&file);
        assert_eq!(read(setup, &spot).await, Some(vec![b'x'; n]));
        due.push(TreeEntry { spot, kind: Kind::File, size: n as u64 });
    }
    setup.tree.put(&key(&other, &lesson(1), &Layer::Base), b"other").await.unwrap();
    due.sort_by(|one, other| one.spot.cmp(&other.spot));
    assert_eq!(listed(setup, Some(&book)).await, due);
    let all = listed(setup, None).await;
    assert!(due.iter().all(|seen| all.iter().filter(|other| *other == seen).count() == 1));
    assert_eq!(read(setup, &TreePath::of(&key(&book, &lesson(99), &Layer::Base))).await, None);
    assert_eq!(read(setup, &TreePath::new(book.as_str().as_bytes().to_vec())).await, None, "a folder");
}

/// Setting a file aside removes it from its location and changes nothing else; a second time finds
/// nothing.
pub async fn what_is_set_aside_is_kept_elsewhere(setup: &TreeSetup) {
    let book = book();
    let (moved, kept) = (key(&book, &lesson(1), &Layer::Base), key(&book, &lesson(2), &Layer::Base));
    setup.tree.put(&moved, b"a").await.unwrap();
    setup.tree.put(&kept, b"b").await.unwrap();
    let spot = TreePath::of(&moved);
    assert!(setup.tree.set_aside(&spot, "then").await.unwrap());
    assert!(!setup.tree.set_aside(&spot, "then").await.unwrap());
    assert_eq!(read(setup, &spot).await, None);
    assert_eq!(published(setup, &book), [(lesson(2).as_str().to_owned(), b"b".to_vec())]);
    setup.tree.put(&moved, b"c").await.unwrap();
    assert_eq!(read(setup, &spot).await, Some(b"c".to_vec()));
}

/// A late removal of a path that changed its kind finds no file where a folder is by now, nor below
/// a file, and removes nothing else.
pub async fn r2_a_late_removal_of_a_path_that_changed_its_kind_takes_nothing(setup: &TreeSetup) {
    let book = book();
    let at = |name: &str| key(&book, &path(name), &Layer::Base);
    let (flat, deep) = (at("static/data"), at("static/data/deep/x.txt"));
    setup.tree.put(&deep, b"deep").await.unwrap();
    setup.tree.remove(&flat).await.unwrap();
    assert_eq!(published(setup, &book), [("static/data/deep/x.txt".to_owned(), b"deep".to_vec())]);
    assert_eq!(read(setup, &TreePath::of(&flat)).await, None);
    setup.tree.remove(&deep).await.unwrap();
    setup.tree.put(&flat, b"flat").await.unwrap();
    setup.tree.remove(&deep).await.unwrap();
    assert_eq!(published(setup, &book), [("static/data".to_owned(), b"flat".to_vec())]);
    assert_eq!(read(setup, &TreePath::of(&deep)).await, None);
}
