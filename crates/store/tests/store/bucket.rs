//! The bucket fulfils the contract of objects and trees (I11), belongs to one database, explains its
//! errors, and recovers from transient ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use panaversity_model::ports::{Objects, Tree, UploadStore};
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{Kind, TreePath};
use panaversity_model::upload::{Permit, UploadEntry};
use panaversity_model::{ContentHash, Fault, Layer};
use panaversity_store::limits::BucketLimits;
use panaversity_store::{Backend, Bucket, S3Storage};
use panaversity_testkit::contract::{ObjectsSetup, TreeSetup, UploadStoreSetup, whole};
use panaversity_testkit::memory::in_parts;
use panaversity_testkit::s3::{self, Trouble};
use panaversity_testkit::{client, objects_contract, samples, tree_contract, upload_store_contract};

const STORE: &str = "0193-store";

/// Settings of a bucket of the test server.
fn settings(bucket: &s3::TestBucket) -> Bucket {
    Bucket {
        backend: Backend::S3,
        name: bucket.name().to_owned(),
        region: s3::REGION.to_owned(),
        endpoint: Some(bucket.endpoint().to_owned()),
        access_key_id: s3::ACCESS_KEY_ID.to_owned(),
        secret_access_key: s3::SECRET_ACCESS_KEY.into(),
        limits: BucketLimits::default(),
    }
}

async fn open(bucket: &s3::TestBucket) -> Arc<S3Storage> {
    S3Storage::open(&settings(bucket), STORE, true).await.unwrap()
}

async fn refused(settings: &Bucket) -> Fault {
    S3Storage::open(settings, STORE, true).await.err().expect("a bucket that cannot be used")
}

fn lesson() -> FileKey {
    samples::key(&samples::book(), &samples::lesson(1), &Layer::Base)
}

fn large(byte: u8) -> (ContentHash, Vec<u8>) {
    let bytes = vec![byte; 300_000];
    (ContentHash::of(&bytes), bytes)
}

async fn objects_setup() -> ObjectsSetup {
    let bucket = s3::shared().create_bucket();
    ObjectsSetup::new(open(&bucket).await, bucket)
}

async fn upload_store_setup() -> UploadStoreSetup {
    let bucket = s3::shared().create_bucket();
    UploadStoreSetup::new(open(&bucket).await, bucket)
}

async fn tree_setup() -> TreeSetup {
    let bucket = Arc::new(s3::shared().create_bucket());
    let looked_at = bucket.clone();
    let look = move || {
        let mut contents = looked_at.contents();
        contents.retain(|key, _| key.starts_with("books/"));
        contents
    };
    TreeSetup::new(open(&bucket).await, look, bucket)
}

objects_contract!(objects_setup);
upload_store_contract!(upload_store_setup);
tree_contract!(tree_setup);

#[tokio::test]
async fn a_bucket_belongs_to_one_database() {
    let bucket = s3::shared().create_bucket();
    open(&bucket).await;
    let settings = settings(&bucket);
    assert!(S3Storage::open(&settings, STORE, false).await.is_ok());
    let other = S3Storage::open(&settings, "another-store", true).await.err().unwrap();
    assert!(other.detail.contains("belongs to another database"), "{other}");
    bucket.remove(".panaversity/store-id");
    let lost = S3Storage::open(&settings, STORE, false).await.err().unwrap();
    assert!(lost.detail.contains("is not the storage that this database is kept with"), "{lost}");
}

#[tokio::test]
async fn a_bucket_whose_id_changes_under_a_server_is_not_ready() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    storage.ping().await.unwrap();
    bucket.put(".panaversity/store-id", b"another-store\n");
    assert!(storage.ping().await.is_err());
    bucket.remove(".panaversity/store-id");
    assert!(storage.ping().await.is_err());
}

#[tokio::test]
async fn what_is_wrong_with_a_bucket_is_said_with_what_to_check() {
    let bucket = s3::shared().create_bucket();
    let good = settings(&bucket);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wrong = [
        (Bucket { access_key_id: "NOBODY".into(), ..good.clone() }, "check the access key id"),
        (Bucket { secret_access_key: "guess".into(), ..good.clone() }, "check the secret access key"),
        (Bucket { name: "no-such-bucket".into(), ..good.clone() }, "check the bucket's name"),
        (Bucket { region: "elsewhere-1".into(), ..good.clone() }, "check the region"),
        (Bucket { endpoint: Some(format!("http://{closed}")), ..good.clone() }, "check the endpoint"),
    ];
    for (settings, said) in wrong {
        let fault = refused(&settings).await;
        assert!(fault.detail.contains(said) && fault.detail.contains(&settings.name), "{fault}");
        assert!(!fault.detail.contains("guess"), "{fault}");
    }
    assert!(bucket.contents().is_empty());
}

/// Transient errors that a bucket may return for any single request.
const IN_PASSING: [Trouble; 5] = [
    Trouble::Busy,
    Trouble::AppliedThenError,
    Trouble::Cut,
    Trouble::Gone,
    Trouble::Slow(Duration::from_millis(50)),
];

#[tokio::test]
async fn objects_get_over_troubles_in_passing() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    for (n, trouble) in IN_PASSING.into_iter().enumerate() {
        let (hash, bytes) = large(u8::try_from(n).unwrap());
        bucket.trouble(trouble, 2);
        for _ in 0..3 {
            Objects::put(&*storage, hash, &bytes).await.unwrap();
            assert_eq!(storage.stat(hash).await.unwrap(), Some(300_000), "{trouble:?}");
            assert!(storage.get(hash, 0..300_001).await.unwrap().as_ref() == Some(&bytes), "{trouble:?}");
        }
        assert!(bucket.troubled() > 0, "{trouble:?}");
    }
}

/// Bytes of more than two parts.
fn three_parts(seed: u8) -> Vec<u8> {
    (0..(12 << 20)).map(|n: u32| u8::try_from(n % 249).unwrap() ^ seed).collect()
}

/// Waits until no aborted upload is left.
async fn all_aborted(bucket: &s3::TestBucket) {
    let aborted = async {
        while bucket.unfinished() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), aborted).await.expect("what was dropped is aborted");
}

#[tokio::test]
async fn what_comes_in_parts_gets_over_troubles_in_passing() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    for (n, trouble) in IN_PASSING.into_iter().enumerate() {
        let bytes = three_parts(u8::try_from(n).unwrap());
        let (hash, id) = (ContentHash::of(&bytes), samples::upload_id());
        bucket.trouble(trouble, 2);
        let mut staging = storage.stage().await.unwrap();
        let mut receiving = storage.receive(id).await.unwrap();
        for part in bytes.chunks(1 << 20) {
            staging.write(part).await.unwrap();
            receiving.write(part).await.unwrap();
        }
        staging.promote(hash).await.unwrap();
        receiving.finish().await.unwrap();
        assert!(storage.get(hash, 0..u64::MAX).await.unwrap().as_ref() == Some(&bytes), "{trouble:?}");
        assert!(whole(UploadStore::open(&*storage, id).await.unwrap()).await == Some(bytes), "{trouble:?}");
        assert!(bucket.troubled() > 0, "{trouble:?}");
    }
    bucket.calm();
    assert!(!bucket.contents().into_keys().any(|key| key.starts_with(".panaversity/staging/")));
}

#[tokio::test]
async fn who_goes_on_reading_after_a_cut_never_reads_another_version() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let (id, older) = (samples::upload_id(), three_parts(0));
    let key = format!(".panaversity/uploads/{id}");
    for replaced in [false, true] {
        bucket.put(&key, &older);
        // The first request reads the version; the second is cut in the middle of its response.
        bucket.trouble(Trouble::Cut, 2);
        let mut parts = UploadStore::open(&*storage, id).await.unwrap().unwrap();
        bucket.calm();
        let mut read = parts.try_next().await.unwrap().unwrap();
        if replaced {
            bucket.put(&key, &three_parts(1));
        }
        let fault = loop {
            match parts.try_next().await {
                Ok(Some(part)) => read.extend(part),
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        assert_eq!(fault.is_some(), replaced, "{fault:?}");
        assert!(older.starts_with(&read) && (replaced || read.len() == older.len()));
        assert!(!replaced || parts.try_next().await.is_err(), "what was lost does not end like a whole");
    }
}

#[tokio::test]
async fn what_comes_in_parts_and_is_dropped_leaves_nothing() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let before = bucket.contents();
    let bytes = three_parts(0);
    let mut staging = storage.stage().await.unwrap();
    let mut receiving = storage.receive(samples::upload_id()).await.unwrap();
    staging.write(&bytes).await.unwrap();
    receiving.write(&bytes).await.unwrap();
    assert_eq!(bucket.unfinished(), 2);
    drop((staging, receiving));
    let short = in_parts(&bytes);
    assert!(storage.put_parts(&lesson(), short, bytes.len() as u64 + 1).await.is_err());
    all_aborted(&bucket).await;
    assert!(bucket.contents() == before);
}

#[tokio::test]
async fn a_large_publication_is_completed_once_and_says_whether_it_was_answered() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let (file, bytes) = (lesson(), three_parts(0));
    let key = format!("books/{}/{}", file.book, file.path);
    let put = async || storage.put_parts(&file, in_parts(&bytes), bytes.len() as u64).await;
    // Only a refused request is sent again.
    for (trouble, unknown, sent) in
        [(Trouble::Gone, true, 1), (Trouble::Busy, false, 4), (Trouble::AppliedThenError, false, 4)]
    {
        bucket.put(&key, b"what was there");
        bucket.trouble_completing(trouble);
        let fault = put().await.unwrap_err();
        assert_eq!((fault.outcome_unknown, bucket.troubled()), (unknown, sent), "{trouble:?}: {fault}");
        assert_eq!(bucket.contents()[&key] == bytes, trouble == Trouble::AppliedThenError, "{trouble:?}");
        all_aborted(&bucket).await;
    }
    // The parts may be sent again, because they are not visible.
    bucket.trouble(Trouble::Busy, 2);
    put().await.unwrap();
    assert!(bucket.contents()[&key] == bytes && bucket.troubled() > 0);
}

#[tokio::test]
async fn what_is_published_carries_its_media_type() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let book = samples::book();
    let large = three_parts(0);
    for (path, media_type) in [
        ("content/README.md", "text/markdown; charset=utf-8"),
        ("static/img/cover.png", "image/png"),
        ("static/videos/talk.mp4", "video/mp4"),
    ] {
        let file = samples::key(&book, &samples::path(path), &Layer::Base);
        let key = format!("books/{book}/{path}");
        Tree::put(&*storage, &file, b"x").await.unwrap();
        assert_eq!(bucket.content_type(&key).as_deref(), Some(media_type));
        bucket.remove(&key);
        for bytes in [&large[..9], &large] {
            storage.put_parts(&file, in_parts(bytes), bytes.len() as u64).await.unwrap();
            assert_eq!(bucket.content_type(&key).as_deref(), Some(media_type));
            bucket.remove(&key);
        }
    }
    let file = samples::key(&book, &samples::path("static/img/cover.png"), &Layer::Base);
    Tree::put(&*storage, &file, b"x").await.unwrap();
    assert!(storage.set_aside(&TreePath::of(&file), "then").await.unwrap());
    let aside = format!(".panaversity/lost+found/then/{book}/static/img/cover.png");
    assert_eq!(bucket.content_type(&aside).as_deref(), Some("image/png"));
}

#[tokio::test]
async fn a_signed_url_that_has_expired_takes_nothing() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let id = samples::upload_id();
    let permit = Permit { size: 1, media_type: "image/png", valid_for: Duration::from_secs(1) };
    let signed = storage.presign(id, &permit).await.unwrap().unwrap();
    let began = Instant::now();
    while client::put(&signed, b"x").await == 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "it never expires");
        tokio::time::sleep(Duration::from_millis(100)).await;
        storage.discard(id).await.unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(900) || storage.arrived(id).await.unwrap().is_none());
    assert_eq!(storage.arrived(id).await.unwrap(), None);
    assert!(!signed.url.contains(s3::SECRET_ACCESS_KEY));
}

#[tokio::test]
async fn what_a_dead_server_left_among_the_staged_is_listed_and_swept() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let id = samples::upload_id();
    for name in ["staging/left".to_owned(), format!("uploads/{id}"), "uploads/note".to_owned()] {
        bucket.put(&format!(".panaversity/{name}"), b"x");
    }
    let (mut listing, mut seen) = (storage.list_arrived(), Vec::new());
    while let Some(page) = listing.try_next().await.unwrap() {
        seen.extend(page);
    }
    let named: Vec<_> = seen.iter().map(|seen| (seen.name.clone(), seen.id)).collect();
    let due =
        [(format!("uploads/{id}"), Some(id)), ("uploads/note".into(), None), ("staging/left".into(), None)];
    assert_eq!(named, due);
    for seen in &seen {
        storage.sweep(seen).await.unwrap();
    }
    storage.sweep(&UploadEntry { name: "store-id".into(), ..seen[0].clone() }).await.unwrap();
    assert_eq!(bucket.contents().into_keys().collect::<Vec<_>>(), [".panaversity/store-id"]);
}

#[tokio::test]
async fn what_is_set_aside_is_copied_by_the_bucket() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let file = lesson();
    let key = format!("books/{}/{}", file.book, file.path);
    let bytes = three_parts(0);
    bucket.put(&key, &bytes);
    assert!(storage.set_aside(&TreePath::of(&file), "then").await.unwrap());
    let aside = key.replace("books/", ".panaversity/lost+found/then/");
    assert!(bucket.contents().get(&aside) == Some(&bytes));
    assert!(!bucket.contents().contains_key(&key));
    assert!(!storage.set_aside(&TreePath::of(&file), "then").await.unwrap(), "nothing lies there any more");
}

#[tokio::test]
async fn what_is_too_much_for_one_request_is_copied_in_parts() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let file = lesson();
    let key = format!("books/{}/{}", file.book, file.path);
    let bytes = three_parts(0).repeat(6);
    assert!(bytes.len() > 64 << 20);
    bucket.put(&key, &bytes);
    assert!(storage.set_aside(&TreePath::of(&file), "then").await.unwrap());
    let aside = key.replace("books/", ".panaversity/lost+found/then/");
    assert!(bucket.contents().get(&aside) == Some(&bytes));
    assert_eq!(bucket.unfinished(), 0);
}

#[tokio::test]
async fn a_publication_is_sent_once_and_says_whether_it_was_answered() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let file = lesson();
    for (trouble, unknown) in
        [(Trouble::Busy, false), (Trouble::AppliedThenError, false), (Trouble::Gone, true)]
    {
        bucket.trouble(trouble, 1);
        let put = Tree::put(&*storage, &file, b"x").await.unwrap_err();
        let removed = storage.remove(&file).await.unwrap_err();
        assert_eq!((put.outcome_unknown, removed.outcome_unknown), (unknown, unknown), "{trouble:?}: {put}");
        assert_eq!(bucket.troubled(), 2, "{trouble:?}: nothing is sent again");
    }
    bucket.calm();
    Tree::put(&*storage, &file, b"x").await.unwrap();
}

#[tokio::test]
async fn a_silent_bucket_is_given_up_in_bounded_time() {
    let bucket = s3::shared().create_bucket();
    let limits = BucketLimits {
        request_timeout: Duration::from_millis(200),
        large_request_timeout: Duration::from_millis(200),
        operation_timeout: Duration::from_secs(1),
        single_attempt_timeout: Duration::from_millis(400),
        ..BucketLimits::default()
    };
    let settings = Bucket { limits, ..settings(&bucket) };
    let storage = S3Storage::open(&settings, STORE, true).await.unwrap();
    bucket.trouble(Trouble::Silent, 1);
    let (hash, bytes) = large(1);
    let (began, file) = (Instant::now(), lesson());
    let (put, published) =
        tokio::join!(Objects::put(&*storage, hash, &bytes), Tree::put(&*storage, &file, b"x"));
    assert!(!put.unwrap_err().outcome_unknown, "an object may be put again at will");
    assert!(published.unwrap_err().outcome_unknown);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn supabase_s_keys_are_spelled_in_what_it_admits() {
    let bucket = s3::shared().create_bucket();
    let settings = Bucket { backend: Backend::Supabase, ..settings(&bucket) };
    let storage = S3Storage::open(&settings, STORE, true).await.unwrap();
    assert_eq!(storage.backend(), "supabase");
    let file = samples::key(&samples::book(), &samples::path("content/Grüße.md"), &Layer::Base);
    Tree::put(&*storage, &file, b"x").await.unwrap();
    let key = format!("books/{}/content/Gr=C3=BC=C3=9Fe.md", file.book);
    assert!(bucket.contents().contains_key(&key), "{:?}", bucket.contents().keys());
    storage.remove(&file).await.unwrap();
    assert!(!bucket.contents().contains_key(&key));
}

#[tokio::test]
async fn a_key_that_would_be_asked_for_as_another_is_never_moved() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let file = lesson();
    Tree::put(&*storage, &file, b"x").await.unwrap();
    let good = format!("books/{}/{}", file.book, file.path);
    for odd in [good.replace("/content/", "/content//"), format!("{good} ")] {
        bucket.put(&odd, b"stranger");
    }
    let mut listing = storage.list_files(Some(&file.book));
    let mut specials = 0;
    while let Some(page) = listing.try_next().await.unwrap() {
        for seen in page.iter().filter(|seen| seen.kind == Kind::Special) {
            specials += 1;
            assert!(!storage.set_aside(&seen.spot, "now").await.unwrap(), "{}", seen.spot.shown());
        }
    }
    assert_eq!((specials, bucket.contents().contains_key(&good)), (2, true));
}
