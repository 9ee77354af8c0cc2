//! Books: creating them, and listing them with their files page by page. Proves R5 for lists.

use panaversity_model::audit::Operation;
use panaversity_model::{BookId, ErrorCode, Layer, Schema};
use panaversity_service::books::{BookPosition, FolderNames, Structure};
use panaversity_service::{Call, Service};
use panaversity_testkit::samples::{lesson, overlay, path};

use crate::fixture::{ServiceFixture, create_book, reading, unrecorded, want};

/// All pages of a list: the folders of each book, in order, and the number of pages.
async fn listed(
    server: &Service,
    only: Option<&BookId>,
    structure: Structure,
) -> (Vec<(BookId, Vec<FolderNames>)>, usize) {
    let (mut books, mut pages, mut after) =
        (Vec::<(BookId, Vec<FolderNames>)>::new(), 0, None::<BookPosition>);
    loop {
        let list = async |call: &mut Call| {
            let access = call.may_search(only.cloned(), Layer::Base)?;
            call.list_books(&access, structure, after).await
        };
        let page = reading(server, list).await.unwrap();
        pages += 1;
        for summary in page.books {
            match books.last_mut().filter(|(id, _)| *id == summary.book.id) {
                Some((_, folders)) => folders.extend(summary.folders),
                None => books.push((summary.book.id, summary.folders)),
            }
        }
        after = page.next;
        if after.is_none() {
            return (books, pages);
        }
    }
}

#[tokio::test]
async fn a_list_of_books_goes_on_where_it_stopped_and_leaves_out_none() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let ids: Vec<_> = (0..205).map(|n| BookId::parse(&format!("book-{n:03}")).unwrap()).collect();
    for id in &ids {
        create_book(&server, id, None).await.unwrap();
    }
    let (books, pages) = listed(&server, None, Structure::All).await;
    assert_eq!(books.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ids);
    assert_eq!(pages, 3);
    assert_eq!(listed(&server, Some(&ids[7]), Structure::All).await, (vec![(ids[7].clone(), vec![])], 1));
    let list = async |call: &mut Call| {
        let access = call.may_search(Some(fixture.book.clone()), Layer::Base)?;
        call.list_books(&access, Structure::All, None).await
    };
    let none = reading(&server, list).await;
    assert_eq!(none.unwrap_err().code(), ErrorCode::BookNotFound);
}

#[tokio::test]
async fn the_folders_of_books_go_on_where_they_stopped_and_none_is_left_out() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let (first, last) = (BookId::parse("aaa").unwrap(), BookId::parse("zzz-zzz").unwrap());
    let folder = |n: usize| format!("content/{:02}-Part/{:02}-Chapter", n / 100, n % 100);
    for (book, folders) in [(&first, 2), (&fixture.book, 1_050), (&last, 1)] {
        let wanted = (0..folders).map(|n| want(&path(&format!("{}/01-a.md", folder(n))), Some("a"), None));
        let change = async |call: &mut Call| {
            let access = call.may_write(book.clone(), Layer::Base)?;
            call.change(&access, wanted.collect()).await
        };
        unrecorded(&server, Operation::Write, change).await.unwrap();
    }
    let (books, pages) = listed(&server, None, Structure::Content).await;
    assert_eq!(pages, 2);
    let due = [(&first, 2), (&fixture.book, 1_050), (&last, 1)].map(|(book, folders)| {
        let folders = (0..folders).map(|n| FolderNames { folder: folder(n), names: vec!["01-a.md".into()] });
        (book.clone(), folders.collect::<Vec<_>>())
    });
    assert_eq!(books, due);
    assert_eq!(listed(&server, Some(&fixture.book), Structure::Content).await.0, due[1..2]);
}

#[tokio::test]
async fn r5_a_book_is_summed_up_by_its_base_alone() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    fixture.put(&server, &Layer::Base, &lesson(1), "four").await;
    let asset = vec![want(&path("static/img/a.png"), Some("six"), None)];
    fixture.change(&server, &Layer::Base, asset).await;
    fixture.put(&server, &overlay("ann"), &lesson(2), "nobody else's business").await;
    let names = async |structure| {
        let list = async |call: &mut Call| {
            let access = call.may_search(Some(fixture.book.clone()), Layer::Base)?;
            call.list_books(&access, structure, None).await
        };
        let page = reading(&server, list).await.unwrap();
        let book = &page.books[0];
        assert_eq!((book.files, book.bytes), (2, 7));
        book.folders.iter().flat_map(|folder| folder.names.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(Structure::Nothing).await, [""; 0]);
    assert_eq!(names(Structure::Assets).await, ["a.png"]);
    assert_eq!(names(Structure::Content).await, ["01-lesson-00001.md"]);
    assert_eq!(names(Structure::All).await, ["01-lesson-00001.md", "a.png"]);
}

#[tokio::test]
async fn creating_a_book_again_is_harmless_and_its_schema_stays_once_it_has_files() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let create = async |schema| create_book(&server, &fixture.book, schema).await;
    assert!(create(None).await.unwrap().1, "it is new");
    let (book, new) = create(Some(Schema::Docusaurus)).await.unwrap();
    assert_eq!((book.schema, new), (Schema::Docusaurus, false), "without files it takes another");
    fixture.put(&server, &Layer::Base, &path("content/intro.md"), "a").await;
    assert_eq!(create(None).await.unwrap().0.schema, Schema::Docusaurus);
    assert_eq!(create(Some(Schema::Strict)).await.unwrap_err().code(), ErrorCode::Conflict);
}
