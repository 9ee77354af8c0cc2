//! Power cuts on `SQLite`: data acknowledged as durable exists afterwards (I9). PostgreSQL's own
//! durability is not tested.

use panaversity_model::ports::{AuditLog, Changes, GarbageCollection, Manifests};
use panaversity_model::{ContentHash, Layer};
use panaversity_testkit::disk::Disk;
use panaversity_testkit::samples::{book, change_set, lesson, write};
use tempfile::TempDir;

use crate::engines::open;

#[tokio::test]
async fn i9_what_a_link_to_an_archive_stands_on_survives_a_power_cut() {
    let folder = TempDir::new().unwrap();
    let at = folder.path().join("disk");
    let disk = match Disk::with_power(&folder.path().join("image"), &at, 256) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped, as disks cannot be mounted here: {why}"),
    };
    let url = format!("sqlite:{}", at.join("journal.db").display());
    let (book, text, state) = (book(), ContentHash::of(b"text"), ContentHash::of(b"state"));
    let version = [(lesson(1).to_string(), text)];
    let named = [(version[0].0.as_str(), text)];
    for round in 0..2 {
        let (db, journal) = open(&url).await;
        if round == 0 {
            let set = change_set(&book, &Layer::Base, vec![write(&lesson(1), b"text", None)]);
            journal.commit(set).await.unwrap();
            let until = journal.now().await.unwrap().after(std::time::Duration::from_hours(1));
            journal.pin(&book, until, &named).await.unwrap();
        } else {
            journal.keep(&book, state, b"encoded").await.unwrap();
        }
        disk.cut_power();
        journal.close().await;
        db.close().await;
        drop((journal, db));
        disk.restart();
        let (db, journal) = open(&url).await;
        let metadata = journal.blob_metadata(&book, &named).await.unwrap()[0].unwrap();
        assert!(metadata.kept_until.is_some(), "the pin is there");
        if round == 1 {
            assert_eq!(journal.kept(&book, state).await.unwrap().as_deref(), Some(b"encoded".as_slice()));
        }
        journal.close().await;
        db.close().await;
    }
}
