//! Contract tests of the inventory: the journal's records of files and objects, for comparison with
//! the storage.

use panaversity_model::blob::BlobState;
use panaversity_model::publication::{Attempt, FileKey};
use panaversity_model::storage_listing::PublishedFile;
use panaversity_model::{BookPath, ContentHash, Layer, Schema};

use super::Setup;
use super::fixture::ContractFixture;
use crate::samples::{book, key, lease, lesson, object, overlay, path, write};

/// All records of the fixture's book, page by page.
async fn records(fixture: &ContractFixture) -> Vec<PublishedFile> {
    let mut all: Vec<PublishedFile> = Vec::new();
    loop {
        let after = all.last().map(|record| record.key.clone());
        let page = fixture.journal.records(Some(&fixture.book), after.as_ref(), 3).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Every file of every layer is recorded once, with its content.
pub async fn every_file_of_every_layer_is_recorded_once(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mut due = Vec::new();
    for n in 0..8 {
        for layer in [Layer::Base, overlay("ann"), overlay("bob")] {
            let bytes = format!("{layer} {n}").into_bytes();
            fixture.put(&layer, &lesson(n), &bytes).await;
            due.push((
                key(&fixture.book, &lesson(n), &layer),
                Some((ContentHash::of(&bytes), bytes.len() as u64)),
            ));
        }
    }
    let mut found: Vec<_> =
        records(&fixture).await.into_iter().map(|record| (record.key, record.held)).collect();
    found.sort();
    due.sort();
    assert_eq!(found, due);
    let keys: Vec<FileKey> = due.iter().map(|(key, _)| key.clone()).collect();
    let mut found: Vec<_> = fixture.journal.records_of(&keys).await.unwrap();
    found.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(found.into_iter().map(|record| (record.key, record.held)).collect::<Vec<_>>(), due);
    let nobody = key(&book(), &lesson(1), &Layer::Base);
    assert_eq!(fixture.journal.records_of(&[nobody]).await.unwrap(), []);
    assert_eq!(fixture.journal.records_of(&[]).await.unwrap(), []);
    let everywhere = fixture.journal.records(None, Some(&keys[0]), 1).await.unwrap();
    assert_eq!(everywhere.len(), 1, "without a book it goes on with any");
}

/// The conflicting path for which a commit would refuse a new one is returned beforehand; other
/// users' overlays are not considered.
pub async fn a_path_in_the_way_of_a_new_one_is_told(setup: &Setup) {
    for layer in [Layer::Base, overlay("ann")] {
        let fixture = ContractFixture { schema: Schema::Docusaurus, ..ContractFixture::new(setup) };
        for held in ["content/v1/Intro.md", "content/data"] {
            fixture.put(&layer, &path(held), b"a").await;
        }
        fixture.put(&overlay("bob"), &path("content/faq/a.md"), b"a").await;
        for (new, in_the_way) in [
            ("content/V1/intro.MD", Some("content/v1/Intro.md")),
            ("content/Data/a/b.csv", Some("content/data")),
            ("content/V1", Some("content/v1/Intro.md")),
            ("content/v1/Intro.md", None),
            ("content/v1/Intro.mdx", None),
            ("content/data2/a.csv", None),
            ("content/faq", None),
            ("content/FAQ/A.md", None),
        ] {
            let asked = key(&fixture.book, &path(new), &layer);
            let told = fixture.journal.conflicting_path(&asked).await.unwrap();
            assert_eq!(told.as_ref().map(BookPath::as_str), in_the_way, "{new}");
            if told.is_some() {
                fixture.refused(&layer, vec![write(&path(new), b"b", None)]).await;
            }
        }
    }
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &path("static/img/A.png"), b"a").await;
    fixture.put(&Layer::Base, &path("static/img/dir"), b"a").await;
    for (new, in_the_way) in [
        ("static/img/a.png", "static/img/A.png"),
        ("static/img/dir/x.png", "static/img/dir"),
        ("static/img", "static/img/A.png"),
    ] {
        let asked = key(&fixture.book, &path(new), &overlay("ann"));
        let told = fixture.journal.conflicting_path(&asked).await.unwrap();
        assert!(told.is_some_and(|told| told.as_str() == in_the_way), "an overlay above the base: {new}");
        fixture.refused(&overlay("ann"), vec![write(&path(new), b"b", None)]).await;
    }
}

/// A pending path is distinguished from a published one, also when its file is deleted.
pub async fn what_is_on_its_way_is_told_from_what_has_arrived(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let file = key(&fixture.book, &lesson(1), &Layer::Base);
    let record = async || fixture.journal.records_of(std::slice::from_ref(&file)).await.unwrap().pop();
    let publication = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    assert!(record().await.unwrap().pending);
    assert!(records(&fixture).await[0].pending);
    fixture.journal.acknowledge(&publication, Attempt::Done).await.unwrap();
    let arrived = record().await.unwrap();
    assert_eq!((arrived.pending, arrived.version), (false, publication.version));
    assert_eq!(records(&fixture).await, [arrived]);
    let publication = fixture.delete(&Layer::Base, &lesson(1)).await.publication.unwrap();
    let leaving = record().await.unwrap();
    assert_eq!((leaving.held, leaving.pending), (None, true));
    assert_eq!(records(&fixture).await, [], "it exists no more");
    fixture.journal.acknowledge(&publication, Attempt::Done).await.unwrap();
    assert_eq!(record().await, None);
}

/// Objects are listed while some version names them, whatever their health.
pub async fn objects_are_listed_while_a_version_names_them(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let blobs: Vec<_> = (0..5).map(|n| object(format!("{} {n}", fixture.book).as_bytes())).collect();
    for (n, blob) in blobs.iter().enumerate().skip(1) {
        fixture.put_object(&lesson(n), blob).await;
    }
    fixture.stage(&blobs[0]).await;
    fixture.delete(&Layer::Base, &lesson(1)).await;
    fixture.journal.mark(blobs[2].hash, BlobState::Missing).await.unwrap();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.journal.retained_objects(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.blob.hash);
        listed.extend(page.into_iter().map(|stored| stored.blob));
    }
    listed.retain(|blob| blobs.contains(blob));
    let mut due = blobs[1..].to_vec();
    due.sort_by_key(|blob| blob.hash);
    assert_eq!(listed, due, "the deleted file's version names it still, nobody names the staged one");
    for (n, holders) in [(0, 0), (1, 0), (2, 1)] {
        assert_eq!(fixture.journal.files_with_hash(blobs[n].hash, 9).await.unwrap().len(), holders);
        assert_eq!(fixture.journal.is_referenced(blobs[n].hash).await.unwrap(), n > 0);
    }
}

/// A file that was made pending again is claimed at its version, whoever had its lease. Runs alone.
pub async fn a_file_made_pending_again_is_claimed(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let file = key(&fixture.book, &lesson(1), &Layer::Base);
    let publication = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    let gone = key(&fixture.book, &lesson(2), &Layer::Base);
    for _ in 0..2 {
        fixture.journal.republish(&[file.clone(), gone.clone()]).await.unwrap();
        let leases: Vec<_> = (0..1_000).map(|_| lease()).collect();
        let claimed = fixture.journal.claim(&leases).await.unwrap();
        assert!(claimed.iter().any(|claim| claim.key == file && claim.version == publication.version));
        assert!(claimed.iter().all(|claim| claim.key != gone));
        for claim in claimed {
            fixture.journal.acknowledge(&claim, Attempt::Done).await.unwrap();
        }
    }
}
