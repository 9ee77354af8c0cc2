//! Reading: folders page by page, versions, suggestions. Proves R5 and R2 for whole folders.

use panaversity_model::path::Folder;
use panaversity_model::{BookPath, ContentHash, Error, ErrorCode, Layer, Refusal};
use panaversity_service::json_size::PAGE_BYTES;
use panaversity_service::read::{FileContent, PAGE_FILES, ReadFile};
use panaversity_service::{Call, Service};
use panaversity_testkit::samples::{book, lesson, overlay, path};

use crate::fixture::{Files, ServiceFixture, create_book, layers, reading, want};
use crate::invariants::readable;

fn text(content: FileContent) -> Vec<u8> {
    content.into_text().unwrap_or_default().into_bytes()
}

/// All files that a layer's owner reads below `content/`, and the number of files on each page.
async fn pages(
    fixture: &ServiceFixture,
    server: &Service,
    layer: &Layer,
) -> (Vec<(BookPath, Vec<u8>)>, Vec<usize>) {
    let (mut files, mut sizes, mut after) = (Vec::new(), Vec::new(), None::<BookPath>);
    loop {
        let read = async |call: &mut Call| {
            let access = call.may_read(fixture.book.clone(), layer.clone())?;
            call.read_folder(&access, &Folder::content(), after.as_ref()).await
        };
        let page = reading(server, read).await.unwrap();
        sizes.push(page.files.len());
        files.extend(page.files.into_iter().map(|file| (file.record.path, text(file.content))));
        after = page.next;
        if after.is_none() {
            return (files, sizes);
        }
    }
}

/// Files that a layer's owner should see.
fn shown(files: &Files, layer: &Layer) -> Vec<(BookPath, Vec<u8>)> {
    let mut shown = std::collections::BTreeMap::new();
    for from in [&Layer::Base, layer] {
        let mine = files.iter().filter(|((layer, _), _)| layer == from);
        shown.extend(mine.map(|((_, path), bytes)| (path.clone(), bytes.clone())));
    }
    shown.into_iter().collect()
}

#[tokio::test]
async fn r5_a_folder_read_page_by_page_is_the_base_below_ones_own_overlay() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let set = (0..=PAGE_FILES).map(|n| want(&lesson(n), Some(&format!("base {n}")), None)).collect();
    fixture.change(&server, &Layer::Base, set).await;
    for (user, n) in [("ann", 5), ("ann", PAGE_FILES + 7), ("bob", 5), ("bob", 6)] {
        fixture.put(&server, &overlay(user), &lesson(n), &format!("{user}'s {n}")).await;
    }
    let files = readable(&fixture, &server).await;
    for (layer, sizes) in layers().into_iter().zip([[1000, 1], [1000, 2], [1000, 1]]) {
        assert_eq!(
            pages(&fixture, &server, &layer).await,
            (shown(&files, &layer), sizes.to_vec()),
            "{layer}"
        );
    }
}

#[tokio::test]
async fn a_page_holds_no_more_bytes_of_text_than_it_may() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let most = usize::try_from(PAGE_BYTES).unwrap();
    let text = |bytes: usize| "x".repeat(bytes);
    // The second is too large to be text, so only its row is read.
    let lengths = [most / 2, most + 1, most / 2 - 5_000, 2, 1, most / 2];
    let set = lengths.iter().zip(1..).map(|(length, n)| want(&lesson(n), Some(&text(*length)), None));
    fixture.change(&server, &Layer::Base, set.collect()).await;
    let (files, sizes) = pages(&fixture, &server, &Layer::Base).await;
    assert_eq!(sizes, [5, 1], "also paths, hashes and times take room");
    let read = lengths.map(|length| if length > most { 0 } else { length });
    assert_eq!(files.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), read);
}

#[tokio::test]
async fn a_page_is_measured_by_what_its_texts_take_in_json() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    // A control character takes six bytes, a quote two, other characters as many as in UTF-8.
    let texts = ["\u{1}".repeat(120_000), "\"".repeat(120_000), "\u{e9}".repeat(60_000)];
    let set = (0..9).map(|n| want(&lesson(n), Some(&texts[n / 3]), None));
    fixture.change(&server, &Layer::Base, set.collect()).await;
    let (files, sizes) = pages(&fixture, &server, &Layer::Base).await;
    assert_eq!(sizes, [1, 1, 1, 3, 3]);
    assert_eq!(files.len(), 9);
    assert!(files.iter().enumerate().all(|(n, (_, text))| *text == texts[n / 3].as_bytes()));
}

#[tokio::test]
async fn a_missing_file_is_answered_with_its_nearest_neighbours() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let near = path("content/01-Part/01-Chapter/01-install.md");
    let far = path("content/02-Other/01-Chapter/01-install.md");
    let hidden = path("content/01-Part/01-Chapter/02-instal.md");
    for known in [&near, &far] {
        fixture.put(&server, &Layer::Base, known, "a").await;
    }
    fixture.put(&server, &overlay("ann"), &hidden, "R5: ann's own").await;
    let suggested = async |missing: &str, layer: &Layer| {
        let read = async |call: &mut Call| {
            let access = call.may_read(fixture.book.clone(), layer.clone())?;
            call.read_file(&ReadFile::whole(access, path(missing))).await
        };
        match reading(&server, read).await {
            Err(Error::Refused(Refusal::NotFound { suggestions, .. })) => suggestions,
            other => panic!("{other:?}"),
        }
    };
    let typo = "content/01-Part/01-Chapter/01-instal.md";
    assert_eq!(suggested(typo, &Layer::Base).await, [near.as_str()], "R5: no other's overlay is named");
    let mine = suggested(typo, &overlay("ann")).await;
    assert_eq!(mine, [near.as_str(), hidden.as_str()], "the owner is shown it");
    let wrong_folder = "content/02-Other/02-Chapter/01-install.md";
    assert_eq!(suggested(wrong_folder, &Layer::Base).await[0], far.as_str(), "a folder above is searched");
}

#[tokio::test]
async fn what_there_is_not_is_refused_by_name() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let read = async |folder: Folder| {
        let read = async |call: &mut Call| {
            let access = call.may_read(fixture.book.clone(), Layer::Base)?;
            call.read_folder(&access, &folder, None).await
        };
        reading(&server, read).await
    };
    let nowhere = read(Folder::content()).await;
    assert_eq!(nowhere.unwrap_err().code(), ErrorCode::BookNotFound);
    let none = fixture.delete(&server, &Layer::Base, &lesson(1)).await;
    assert_eq!(none.unwrap_err().code(), ErrorCode::BookNotFound);
    create_book(&server, &fixture.book, None).await.unwrap();
    let empty = read(Folder::content()).await.unwrap();
    assert!(empty.files.is_empty() && empty.next.is_none(), "an empty book is one");
    let nothing = read(Folder::holding(&path("content/07-None/x"))).await;
    assert_eq!(nothing.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(fixture.delete(&server, &Layer::Base, &lesson(1)).await, Ok(false), "R3: deleting is success");
}

#[tokio::test]
async fn r2_an_old_version_is_read_by_its_hash_in_its_own_book_and_layer_only() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let old = fixture.put(&server, &overlay("ann"), &lesson(1), "ann's first").await.hash.unwrap();
    fixture.delete(&server, &overlay("ann"), &lesson(1)).await.unwrap();
    let other_book = book();
    create_book(&server, &other_book, None).await.unwrap();
    let version = async |book: &panaversity_model::BookId, n: usize, layer: &Layer| {
        let read = async |call: &mut Call| {
            let access = call.may_read(book.clone(), layer.clone())?;
            call.read_file(&ReadFile { version: Some(old), ..ReadFile::whole(access, lesson(n)) }).await
        };
        let file = reading(&server, read).await;
        file.ok().map(|file| text(file.content))
    };
    assert_eq!(version(&fixture.book, 1, &overlay("ann")).await, Some(b"ann's first".to_vec()));
    for layer in [Layer::Base, overlay("bob")] {
        assert_eq!(version(&fixture.book, 1, &layer).await, None, "R5");
    }
    assert_eq!(version(&fixture.book, 2, &overlay("ann")).await, None);
    assert_eq!(version(&other_book, 1, &overlay("ann")).await, None);
}

#[tokio::test]
async fn a_file_that_still_has_the_hash_is_answered_without_its_bytes() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let hash = fixture.put(&server, &Layer::Base, &lesson(1), "a").await.hash.unwrap();
    for (unless, due) in
        [(hash, FileContent::Unchanged), (ContentHash::of(b"b"), FileContent::Text("a".to_owned()))]
    {
        let read = async |call: &mut Call| {
            let access = call.may_read(fixture.book.clone(), Layer::Base)?;
            call.read_file(&ReadFile { unless: Some(unless), ..ReadFile::whole(access, lesson(1)) }).await
        };
        let file = reading(&server, read).await.unwrap();
        assert_eq!(file.content, due);
    }
}
