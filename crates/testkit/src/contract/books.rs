//! Contract tests of books: how they are created and keep their schema.

use panaversity_model::audit::AuditDraft;
use panaversity_model::change::Verdict;
use panaversity_model::ids::ChangeId;
use panaversity_model::ports::Creation;
use panaversity_model::{Layer, Refusal, Schema, View};

use uuid::Uuid;

use super::Setup;
use super::fixture::{ContractFixture, run_concurrently};
use crate::samples::{book, change_set, creation, draft, lesson, overlay, write};

/// The first write creates the book, with the schema of that write.
pub async fn the_first_write_creates_the_book(setup: &Setup) {
    for schema in [Schema::Strict, Schema::Docusaurus] {
        let fixture = ContractFixture::new(setup);
        let before = fixture.journal.now().await.unwrap();
        let mut set = change_set(&fixture.book, &overlay("reader"), vec![write(&lesson(1), b"a", None)]);
        set.schema = schema;
        assert!(matches!(fixture.journal.commit(set).await.unwrap(), Verdict::Committed(_)));
        let found = fixture.journal.book(&fixture.book).await.unwrap().unwrap();
        assert_eq!((found.id, found.schema), (fixture.book.clone(), schema));
        assert!(found.created_at >= before && found.created_at <= fixture.journal.now().await.unwrap());
    }
}

/// R1: a set whose paths were admitted by another schema than the book has is refused.
pub async fn r1_a_set_admitted_by_another_schema_is_refused(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.journal.create_book(&fixture.book, Some(Schema::Docusaurus), &creation()).await.unwrap();
    let (_, refusal) = fixture.refused(&Layer::Base, vec![write(&lesson(1), b"a", None)]).await;
    assert!(matches!(refusal, Refusal::Conflict { current: None, .. }), "{refusal:?}");
    assert_eq!(fixture.chains().await, vec![]);
}

/// Creating a book again succeeds, and the default schema is `strict` for a new book only.
pub async fn creating_a_book_is_idempotent(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let fixture = &fixture;
    let create =
        |schema| async move { fixture.journal.create_book(&fixture.book, schema, &creation()).await };
    let Creation::Created(made) = create(None).await.unwrap() else { panic!("new") };
    assert_eq!((&made.id, made.schema), (&fixture.book, Schema::Strict));
    assert_eq!(create(Some(Schema::Strict)).await.unwrap(), Creation::Existed(made.clone()));
    assert_eq!(create(None).await.unwrap(), Creation::Existed(made.clone()));
    assert_eq!(fixture.journal.book(&fixture.book).await.unwrap(), Some(made));
    let other = ContractFixture::new(setup);
    let created =
        other.journal.create_book(&other.book, Some(Schema::Docusaurus), &creation()).await.unwrap();
    let Creation::Created(made) = created else { panic!("new") };
    assert_eq!(made.schema, Schema::Docusaurus);
    let again = other.journal.create_book(&other.book, None, &creation()).await.unwrap();
    assert_eq!(again, Creation::Existed(made), "no schema asked for leaves it as it is");
}

/// A book without files accepts another schema; one with files keeps its own. Files in overlays
/// prevent only a change to a narrower schema, so that callers do not learn of them otherwise.
pub async fn a_book_keeps_its_schema_once_it_has_files(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let fixture = &fixture;
    let create =
        |schema| async move { fixture.journal.create_book(&fixture.book, Some(schema), &creation()).await };
    fixture.put(&overlay("reader"), &lesson(1), b"a").await;
    assert!(matches!(create(Schema::Docusaurus).await.unwrap(), Creation::Changed(_)));
    assert!(matches!(create(Schema::Strict).await.unwrap(), Creation::Fixed(_)));
    let fixture = ContractFixture::new(setup);
    let fixture = &fixture;
    let create =
        |schema| async move { fixture.journal.create_book(&fixture.book, Some(schema), &creation()).await };
    create(Schema::Docusaurus).await.unwrap();
    let Creation::Changed(now) = create(Schema::Strict).await.unwrap() else { panic!("empty") };
    assert_eq!(now.schema, Schema::Strict);
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    assert_eq!(create(Schema::Docusaurus).await.unwrap(), Creation::Fixed(now.clone()));
    assert_eq!(create(Schema::Strict).await.unwrap(), Creation::Existed(now.clone()));
    assert_eq!(fixture.journal.book(&fixture.book).await.unwrap(), Some(now));
    fixture.delete(&Layer::Base, &lesson(1)).await;
    let Creation::Changed(now) = create(Schema::Docusaurus).await.unwrap() else { panic!("empty again") };
    assert_eq!(now.schema, Schema::Docusaurus);
}

/// R1: a change of the schema is never interleaved with a write to the book.
pub async fn r1_a_schema_never_changes_under_a_write(setup: &Setup) {
    for _ in 0..10 {
        let fixture = ContractFixture::new(setup);
        fixture.journal.create_book(&fixture.book, Some(Schema::Strict), &creation()).await.unwrap();
        let wrote = run_concurrently(2, |task| {
            let fixture = fixture.clone();
            async move {
                if task == 0 {
                    fixture
                        .journal
                        .create_book(&fixture.book, Some(Schema::Docusaurus), &creation())
                        .await
                        .unwrap();
                    return false;
                }
                let verdict = fixture.try_commit(&Layer::Base, vec![write(&lesson(1), b"a", None)]).await;
                matches!(verdict.unwrap(), Verdict::Committed(_))
            }
        })
        .await[1];
        let has = fixture.journal.book(&fixture.book).await.unwrap().unwrap().schema;
        assert_eq!(wrote, has == Schema::Strict, "the file was admitted by the schema the book has");
    }
}

/// Of concurrent creations of a book exactly one reports that it created it.
pub async fn of_concurrent_creators_of_a_book_one_made_it(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let created = run_concurrently(8, |_| {
        let fixture = fixture.clone();
        async move { fixture.journal.create_book(&fixture.book, None, &creation()).await.unwrap() }
    })
    .await;
    let makers = created.iter().filter(|one| matches!(one, Creation::Created(_))).count();
    assert_eq!(makers, 1, "{created:?}");
}

/// A book without files is deleted; one with files, in whatever layer, stays.
pub async fn a_book_is_deleted_only_without_files(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let delete = async || fixture.journal.delete_book(&fixture.book, &creation()).await.unwrap();
    assert!(!delete().await, "there is no such book");
    for layer in [Layer::Base, overlay("reader")] {
        fixture.put(&layer, &lesson(1), b"a").await;
        assert!(!delete().await, "it has a file");
        fixture.delete(&layer, &lesson(1)).await;
        assert!(delete().await);
        assert_eq!(fixture.journal.book(&fixture.book).await.unwrap(), None);
        assert!(!delete().await, "it is gone");
    }
}

/// A book is never deleted under a write: a file always has its book.
pub async fn a_book_is_never_deleted_under_a_write(setup: &Setup) {
    for _ in 0..10 {
        let fixture = ContractFixture::new(setup);
        fixture.journal.create_book(&fixture.book, None, &creation()).await.unwrap();
        run_concurrently(2, |task| {
            let fixture = fixture.clone();
            async move {
                if task == 0 {
                    fixture.journal.delete_book(&fixture.book, &creation()).await.unwrap();
                } else {
                    fixture.put(&Layer::Base, &lesson(1), b"a").await;
                }
            }
        })
        .await;
        assert!(
            fixture.journal.book(&fixture.book).await.unwrap().is_some(),
            "the write came last, or first"
        );
    }
}

/// Books are listed by id, page by page.
pub async fn books_are_listed_by_id(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mut ids: Vec<_> = (0..5).map(|_| book()).collect();
    ids.sort();
    for id in ids.iter().rev() {
        fixture.journal.create_book(id, None, &creation()).await.unwrap();
    }
    // The database may be shared: other books may be listed between these.
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.journal.books(after.as_ref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        assert!(after.is_none_or(|after| after < last.id), "a page goes on");
        after = Some(last.id.clone());
        seen.extend(page.into_iter().map(|book| book.id));
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "each once, in order");
    seen.retain(|id| ids.contains(id));
    assert_eq!(seen, ids);
    let unknown = fixture.journal.book(&fixture.book).await.unwrap();
    assert_eq!(unknown, None);
}

/// The time of a book's last change never decreases, whatever is removed; calls that change nothing
/// do not change it.
pub async fn a_book_knows_when_it_last_changed(setup: &Setup) {
    let fixture = ContractFixture { schema: Schema::Docusaurus, ..ContractFixture::new(setup) };
    let fixture = &fixture;
    let last = async || fixture.journal.last_changed(&fixture.book).await.unwrap();
    let create = async |schema| {
        let change = Some(ChangeId::new(Uuid::now_v7()));
        let record = AuditDraft { book: Some(fixture.book.clone()), change, ..creation() };
        fixture.journal.create_book(&fixture.book, Some(schema), &record).await.unwrap()
    };
    create(Schema::Strict).await;
    let created = last().await;
    assert!(created >= fixture.journal.book(&fixture.book).await.unwrap().map(|book| book.created_at));
    create(Schema::Docusaurus).await;
    let set = last().await;
    assert!(set > created, "another schema is a change");
    create(Schema::Docusaurus).await;
    fixture.put(&overlay("reader"), &lesson(1), b"a").await;
    fixture.journal.append(draft(Some(&fixture.book), Some(&lesson(1)), &Layer::Base)).await.unwrap();
    assert_eq!(last().await, set, "nothing of the base has changed");
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    fixture.put(&Layer::Base, &lesson(2), b"a").await;
    let written = last().await;
    assert!(written > set);
    fixture.put(&Layer::Base, &lesson(2), b"a").await;
    assert_eq!(last().await, written, "it holds the same bytes");
    fixture.delete(&Layer::Base, &lesson(2)).await;
    let deleted = last().await;
    assert!(deleted > written, "a deletion is a change");
    fixture.delete(&Layer::Base, &lesson(2)).await;
    fixture.delete(&overlay("reader"), &lesson(1)).await;
    assert_eq!(last().await, deleted);
    fixture.delete(&Layer::Base, &lesson(1)).await;
    assert!(last().await > deleted, "the book is empty, and has changed");
}

/// A book's last write time and number of rows are those of its base.
pub async fn a_book_knows_its_rows_and_when_it_was_written(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let last = || fixture.journal.last_changed(&fixture.book);
    assert_eq!(last().await.unwrap(), None);
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    fixture.put(&Layer::Base, &lesson(2), b"a").await;
    let second = fixture.find(&View::base(), &lesson(2)).await.unwrap().record;
    assert_eq!(last().await.unwrap(), Some(second.written_at));
    fixture.put(&overlay("reader"), &lesson(2), b"b").await;
    assert_eq!(last().await.unwrap(), Some(second.written_at), "overlays do not count");
    let counts = fixture.journal.journal_counts().await.unwrap();
    assert!(counts.contains(&(fixture.book.clone(), 3)), "overlays are rows too");
}
