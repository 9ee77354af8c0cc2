//! Books: creating them, and listing them with their files page by page. Proves R5 for lists.

use panaversity_model::audit::Operation;
use panaversity_model::path::Prefix;
use panaversity_model::permission::{Principal, Scope};
use panaversity_model::{BookId, BookPath, ErrorCode, Layer, Schema};
use panaversity_service::books::{BookPosition, FolderNames, Structure};
use panaversity_service::{Call, Service};
use panaversity_testkit::samples::{agent, lesson, overlay, path};

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

#[tokio::test]
async fn r5_a_search_in_all_books_goes_page_by_page_through_those_that_may_be_read() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let books = ["aaa", "bbb", "ccc", "ddd"].map(|id| BookId::parse(id).unwrap());
    for book in &books {
        let wanted = (0..1_100).map(|n| want(&lesson(n), Some("a"), None)).collect();
        let change = async |call: &mut Call| {
            let access = call.may_write(book.clone(), Layer::Base)?;
            call.change(&access, wanted).await
        };
        unrecorded(&server, Operation::Write, change).await.unwrap();
    }
    let scopes = Scope::parse_list("read:ddd write:bbb overlay:any read:nothing-here");
    let reader = Principal::limited(agent("reader"), scopes, None);
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let search = async |call: &mut Call| {
            let access = call.may_search(None, Layer::Base)?;
            call.glob_search(&access, &Prefix::content(), after, |_| true).await
        };
        let caller = server.caller(reader.clone());
        let page = server.run_unrecorded(caller, Operation::Search, search).await.result.unwrap();
        found.extend(page.matches);
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    let mut due: Vec<_> =
        [1, 3].into_iter().flat_map(|at| (0..1_100).map(move |n| (at, lesson(n)))).collect();
    due.sort();
    assert_eq!((found.len(), pages), (2_200, 3));
    let is_due = |((book, path), (at, lesson)): (&(BookId, BookPath), &(usize, BookPath))| {
        *book == books[*at] && path == lesson
    };
    assert!(found.iter().zip(&due).all(is_due), "every path once, in order");
    let list = async |call: &mut Call| {
        let access = call.may_search(None, Layer::Base)?;
        call.list_books(&access, Structure::Nothing, None).await
    };
    let listed = server.run_unrecorded(server.caller(reader), Operation::List, list).await.result.unwrap();
    let listed: Vec<_> = listed.books.into_iter().map(|summary| summary.book.id).collect();
    assert_eq!(listed, [books[1].clone(), books[3].clone()]);
}

/// A server writes by the schema that the book had a moment ago; another may have given it another one since.
#[tokio::test]
async fn a_schema_that_another_server_has_changed_admits_nothing_that_it_should_not() {
    let fixture = ServiceFixture::new();
    let (here, there) = (fixture.server(), fixture.server());
    let thesis = path("content/thesis.md");
    let write = async || fixture.write(&here, &Layer::Base, &thesis, "x", None).await;
    create_book(&there, &fixture.book, Some(Schema::Strict)).await.unwrap();
    assert_eq!(write().await.unwrap_err().code(), ErrorCode::SchemaViolation);
    create_book(&there, &fixture.book, Some(Schema::Docusaurus)).await.unwrap();
    write().await.expect("what was seen does not admit it, so it is looked at again");
    assert!(fixture.delete(&here, &Layer::Base, &thesis).await.unwrap());
    create_book(&there, &fixture.book, Some(Schema::Strict)).await.unwrap();
    assert_eq!(write().await.unwrap_err().code(), ErrorCode::Conflict, "the commit knows better");
    assert_eq!(write().await.unwrap_err().code(), ErrorCode::SchemaViolation);
    assert_eq!(fixture.holds(&Layer::Base, &thesis).await, None);
}
