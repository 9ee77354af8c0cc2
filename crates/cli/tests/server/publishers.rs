//! Late publishers (R2): of two on one tree, one is paused in mid-copy, its lease ends, and the
//! other publishes a later version, or a removal. Whatever the late one still does to the tree when
//! it resumes, the later version and the removal win.

mod gate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use panaversity_model::audit::Operation;
use panaversity_model::permission::Principal;
use panaversity_model::ports::{Objects, Tree, UploadStore};
use panaversity_model::precondition::Effect;
use panaversity_model::{BookId, BookPath, ContentHash, Layer};
use panaversity_service::write::Write;
use panaversity_service::{Call, Engines, Limits, Service};
use panaversity_store::limits::BucketLimits;
use panaversity_store::{
    Backend, Bucket, Database, DatabaseUrl, FileStorage, PoolOptions, S3Storage, SqlJournal,
};
use panaversity_testkit::proxy::Proxy;
use panaversity_testkit::{TestClock, TestIds, postgres, s3, samples};
use serde_json::json;

use crate::fixtures::{BOOK, created, delete, sha256, write};
use crate::harness::{Db, Storage, TestBackend, TestClient, TestEnv, until};
use gate::Gate;

const BEFORE: &str = "before";

/// The change that the late publisher copies when it is paused, and the changes made meanwhile;
/// `None` is a deletion.
struct Course {
    late: Option<&'static str>,
    meanwhile: &'static [Option<&'static str>],
}

const COURSES: [Course; 5] = [
    Course { late: Some("late"), meanwhile: &[Some("later")] },
    Course { late: Some("late"), meanwhile: &[None] },
    Course { late: Some("late"), meanwhile: &[None, Some("later")] },
    Course { late: None, meanwhile: &[Some("later")] },
    Course { late: None, meanwhile: &[Some("later"), None, Some("latest")] },
];

/// The file of a course.
fn path(course: usize) -> BookPath {
    samples::lesson(course)
}

/// A server within this process, on the environment's database and storage, whose access to the
/// tree is blocked by a [`Gate`]. It has no background publisher.
async fn late_publisher(env: &TestEnv, storage: Storage) -> (Arc<Gate>, Service) {
    let url = DatabaseUrl::parse(env.database_url()).unwrap();
    let pool = PoolOptions { size: 5, overflow: 0, timeout: Duration::from_secs(10) };
    let database = Database::connect(&url, pool).await.unwrap();
    let backend = match storage {
        Storage::Fs => Backend::Fs,
        Storage::S3 => Backend::S3,
    };
    let journal = SqlJournal::open(database, backend).await.unwrap();
    let (objects, upload_store, tree): (Arc<dyn Objects>, Arc<dyn UploadStore>, Arc<dyn Tree>) = match storage
    {
        Storage::Fs => {
            let folder = FileStorage::open(&env.storage_root(), journal.store_id(), false).unwrap();
            (folder.clone(), folder.clone(), folder)
        }
        Storage::S3 => {
            let bucket = Bucket {
                backend,
                name: env.bucket().name().to_owned(),
                region: s3::REGION.to_owned(),
                endpoint: Some(env.bucket().endpoint().to_owned()),
                access_key_id: s3::ACCESS_KEY_ID.to_owned(),
                secret_access_key: s3::SECRET_ACCESS_KEY.into(),
                limits: BucketLimits::default(),
            };
            let bucket = S3Storage::open(&bucket, journal.store_id(), false).await.unwrap();
            (bucket.clone(), bucket.clone(), bucket)
        }
    };
    let gate = Gate::shut(tree);
    let engines = Engines {
        journal,
        objects,
        upload_store,
        tree: gate.clone(),
        clock: Arc::new(TestClock::new()),
        ids: Arc::new(TestIds),
    };
    (
        gate,
        Service::new(
            engines,
            Limits {
                inline_bytes: 128 * 1024,
                direct_bytes: 10 << 20,
                asset_bytes: 100 << 20,
                publish_overlays: true,
            },
        ),
    )
}

/// A change by the late publisher: acknowledged, and stopped before the tree.
async fn change_late(service: &Service, path: BookPath, text: Option<&str>) {
    let book = BookId::parse(BOOK).unwrap();
    let expected = Some(ContentHash::of(BEFORE.as_bytes()));
    let caller = service.caller(Principal::unrestricted(samples::agent("late-publisher")));
    let change = async |call: &mut Call| {
        let access = call.may_write(book, Layer::Base)?;
        match text {
            Some(text) => {
                let write = Write { access, path, content: text.to_owned(), expected };
                assert_eq!(call.write_content(write).await?.effect, Effect::Updated);
            }
            None => assert!(call.delete_content(&access, &path, expected).await?),
        }
        Ok(())
    };
    let operation = if text.is_some() { Operation::Write } else { Operation::Delete };
    service.run_unrecorded(caller, operation, change).await.result.unwrap();
}

/// Makes the other changes through the client of a real server; returns the final content.
async fn go_on(client: &TestClient, path: &str, course: &Course) -> Option<&'static str> {
    let mut now = course.late;
    for text in course.meanwhile {
        let more = now.map_or(json!({}), |now| json!({ "expected_hash": sha256(now) }));
        match text {
            Some(text) => write(client, path, text, more).await.expect_ok(),
            None => delete(client, path, more).await.expect_ok(),
        };
        now = *text;
    }
    now
}

/// Ends every lease in the environment's database at once, as if its time had passed.
pub(crate) fn end_leases(env: &TestEnv) {
    end_leases_in(env.database_url());
}

/// The same in the database with this URL.
pub(crate) fn end_leases_in(url: &str) {
    let sql = "UPDATE publications SET lease_until = '2001-01-01' WHERE lease IS NOT NULL";
    postgres::shared().query(url, sql);
}

/// The files of the tree as text.
fn published(env: &TestEnv) -> BTreeMap<String, String> {
    let files = env.published().into_iter();
    files.map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap())).collect()
}

async fn late_copies_do_not_win(storage: Storage) {
    let env = TestEnv::new(TestBackend::new(Db::Postgres, storage));
    let server = env.start().await;
    let client = server.client();
    for course in 0..COURSES.len() {
        created(&client, path(course).as_str(), BEFORE, json!({})).await;
    }
    server.all_published().await;
    let (gate, late) = late_publisher(&env, storage).await;
    let mut expected = BTreeMap::new();
    for (number, course) in COURSES.iter().enumerate() {
        change_late(&late, path(number), course.late).await;
        if let Some(text) = go_on(&client, path(number).as_str(), course).await {
            expected.insert(format!("{BOOK}/{}", path(number)), text.to_owned());
        }
    }
    assert_eq!(gate.waiting(), COURSES.len());
    end_leases(&env);
    until("the others have published", async || published(&env) == expected).await;
    server.all_published().await;
    gate.open();
    until("every late copy has reached the tree", async || gate.passed() == COURSES.len()).await;
    until("the later versions and the removals have won", async || published(&env) == expected).await;
    server.all_published().await;
    assert_eq!(published(&env), expected, "and nothing undoes them");
    assert_eq!(late.pending_publications().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_copy_that_reaches_the_folder_after_its_lease_does_not_win() {
    late_copies_do_not_win(Storage::Fs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_copy_that_reaches_the_bucket_after_its_lease_does_not_win() {
    late_copies_do_not_win(Storage::S3).await;
}

/// The same with a real process, paused (SIGSTOP) while its requests are on their way to the
/// bucket.
#[tokio::test(flavor = "multi_thread")]
async fn r2_a_server_that_is_stopped_in_mid_copy_does_not_win_when_it_goes_on() {
    let env = TestEnv::new(TestBackend::new(Db::Postgres, Storage::S3));
    let server = env.start().await;
    let bucket = env.bucket().endpoint().strip_prefix("http://").unwrap();
    let wire = Proxy::to(bucket.parse().unwrap()).await;
    let env = env.with("PANAVERSITY_S3_ENDPOINT", &format!("http://{}", wire.address()));
    let stopped = env.start_process().await;
    let (updated, deleted) = (path(0), path(1));
    let tree = |texts: &[(&BookPath, &str)]| -> BTreeMap<String, String> {
        texts.iter().map(|(path, text)| (format!("{BOOK}/{path}"), (*text).to_owned())).collect()
    };
    for path in [&updated, &deleted] {
        created(&server.client(), path.as_str(), BEFORE, json!({})).await;
    }
    server.all_published().await;

    wire.hold();
    for path in [&updated, &deleted] {
        let before = json!({ "expected_hash": sha256(BEFORE) });
        write(&stopped.client(), path.as_str(), "late", before).await.expect_ok();
    }
    // Its answers came without the bucket's: both copies are in flight.
    stopped.signal("-STOP");
    let late = json!({ "expected_hash": sha256("late") });
    write(&server.client(), updated.as_str(), "later", late.clone()).await.expect_ok();
    delete(&server.client(), deleted.as_str(), late).await.expect_ok();
    end_leases(&env);
    let expected = tree(&[(&updated, "later")]);
    until("the other has published", async || published(&env) == expected).await;
    server.all_published().await;

    wire.heal();
    let overwritten = tree(&[(&updated, "late"), (&deleted, "late")]);
    until("the late copies have arrived", async || published(&env) == overwritten).await;
    stopped.signal("-CONT");
    until("the later version and the removal have won", async || published(&env) == expected).await;
    for server in [stopped.client(), server.client()] {
        server.all_published().await;
    }
    assert_eq!(published(&env), expected, "and nothing undoes them");
}
