//! The bucket keeps the contract of objects and trees (I11), belongs to one database, says what is
//! wrong with it, and gets over troubles in passing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use panaversity_model::drift::Kind;
use panaversity_model::ports::{Objects, Tree};
use panaversity_model::publication::FileKey;
use panaversity_model::{ContentHash, Fault, Layer};
use panaversity_store::{Backend, Bucket, S3Storage};
use panaversity_testkit::contract::{ObjectsSetup, TreeSetup};
use panaversity_testkit::s3::{self, Trouble};
use panaversity_testkit::{objects_contract, samples, tree_contract};

const STORE: &str = "0193-store";

/// How to reach a bucket of the private server.
fn settings(bucket: &s3::Bucket) -> Bucket {
    Bucket {
        backend: Backend::S3,
        name: bucket.name().to_owned(),
        region: s3::REGION.to_owned(),
        endpoint: Some(bucket.endpoint().to_owned()),
        access_key_id: s3::ACCESS_KEY_ID.to_owned(),
        secret_access_key: s3::SECRET_ACCESS_KEY.to_owned(),
    }
}

async fn open(bucket: &s3::Bucket) -> Arc<S3Storage> {
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

#[tokio::test]
async fn objects_get_over_troubles_in_passing() {
    let bucket = s3::shared().create_bucket();
    let storage = open(&bucket).await;
    let troubles = [
        Trouble::Busy,
        Trouble::AppliedThenError,
        Trouble::Cut,
        Trouble::Gone,
        Trouble::Slow(Duration::from_millis(50)),
    ];
    for (n, trouble) in troubles.into_iter().enumerate() {
        let (hash, bytes) = large(u8::try_from(n).unwrap());
        bucket.trouble(trouble, 2);
        for _ in 0..3 {
            Objects::put(&*storage, hash, &bytes).await.unwrap();
            assert_eq!(storage.stat(hash).await.unwrap(), Some(300_000), "{trouble:?}");
            assert!(storage.get(hash, 300_001).await.unwrap().as_ref() == Some(&bytes), "{trouble:?}");
        }
        assert!(bucket.troubled() > 0, "{trouble:?}");
    }
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
    let storage = open(&bucket).await;
    bucket.trouble(Trouble::Silent, 1);
    let (hash, bytes) = large(1);
    let (began, file) = (Instant::now(), lesson());
    let (put, published) =
        tokio::join!(Objects::put(&*storage, hash, &bytes), Tree::put(&*storage, &file, b"x"));
    assert!(!put.unwrap_err().outcome_unknown, "an object may be put again at will");
    assert!(published.unwrap_err().outcome_unknown);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
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
    while let Some(page) = listing.next().await.unwrap() {
        for seen in page.iter().filter(|seen| seen.kind == Kind::Special) {
            specials += 1;
            assert!(!storage.set_aside(&seen.spot, "now").await.unwrap(), "{}", seen.spot.shown());
        }
    }
    assert_eq!((specials, bucket.contents().contains_key(&good)), (2, true));
}
