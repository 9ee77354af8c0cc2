//! Smoke test on an independent S3 server: it fulfils the storages' contract too.

use std::sync::Arc;

use panaversity_model::ports::{Objects, Tree};
use panaversity_model::{ContentHash, Layer};
use panaversity_store::limits::BucketLimits;
use panaversity_store::{Backend, Bucket, S3Storage, StorageProbe};
use panaversity_testkit::contract::{ObjectsSetup, UploadStoreSetup};
use panaversity_testkit::{objects_contract, s3, samples, seaweed, upload_store_contract};
use tokio::sync::OnceCell;

fn settings() -> Bucket {
    let server = seaweed::shared();
    Bucket {
        backend: Backend::S3,
        name: server.bucket().to_owned(),
        region: s3::REGION.to_owned(),
        endpoint: Some(server.endpoint()),
        access_key_id: s3::ACCESS_KEY_ID.to_owned(),
        secret_access_key: s3::SECRET_ACCESS_KEY.into(),
        limits: BucketLimits::default(),
    }
}

/// All tests here share one bucket, so they share the store too.
async fn open() -> Arc<S3Storage> {
    static TAKEN: OnceCell<()> = OnceCell::const_new();
    let settings = settings();
    TAKEN.get_or_init(async || drop(S3Storage::open(&settings, "0193-store", true).await.unwrap())).await;
    S3Storage::open(&settings, "0193-store", false).await.unwrap()
}

async fn objects_setup() -> ObjectsSetup {
    ObjectsSetup::new(open().await, ())
}

async fn upload_store_setup() -> UploadStoreSetup {
    UploadStoreSetup::new(open().await, ())
}

objects_contract!(objects_setup);
upload_store_contract!(upload_store_setup);

#[tokio::test]
async fn a_trial_finds_it_in_order() {
    for (step, result) in StorageProbe::of_bucket(&settings()).unwrap().steps().await {
        assert!(result.is_ok(), "{step}: {result:?}");
    }
}

#[tokio::test]
async fn wrong_keys_are_told_from_wrong_names() {
    let good = settings();
    for (wrong, said) in [
        (Bucket { secret_access_key: "guess".into(), ..good.clone() }, "check the secret access key"),
        (Bucket { access_key_id: "NOBODY".into(), ..good.clone() }, "check the access key id"),
        (Bucket { name: "no-such-bucket".into(), ..good.clone() }, "check the bucket's name"),
    ] {
        let fault = S3Storage::open(&wrong, "0193-store", true).await.err().unwrap();
        assert!(fault.detail.contains(said), "{fault}");
    }
}

#[tokio::test]
async fn files_are_published_and_removed_whatever_their_names() {
    let storage = open().await;
    let book = samples::book();
    for name in [
        "content/README.md",
        "content/a b/c (1).md",
        "content/Grüße/你好.md",
        "static/img/a, b & c's @2x+.png",
    ] {
        let file = samples::key(&book, &samples::path(name), &Layer::Base);
        Tree::put(&*storage, &file, b"x").await.unwrap();
        storage.remove(&file).await.unwrap();
        storage.remove(&file).await.unwrap();
    }
    let hash = ContentHash::of(b"never put");
    assert_eq!(storage.stat(hash).await.unwrap(), None);
}
