//! A private S3 for tests, in this process: real signatures, also in URLs, real HTTP, buckets in
//! memory, and troubles on demand. It supports only `GetObject` (and the HEAD that it permits),
//! `PutObject` (and the copies and multipart uploads that it permits), `DeleteObject`, `ListBucket`
//! and `AbortMultipartUpload`, so code that needs more permissions on a bucket fails here.
//!
//! The server runs on a thread of its own as long as the process lives; every test creates its own
//! bucket.

mod multipart;
mod objects;
mod serving;
mod trouble;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hyper::body::Bytes;
use multipart::Unfinished;
use trouble::OutagePlan;
pub use trouble::Trouble;

/// Region that requests must be signed for.
pub const REGION: &str = "test-region-1";
/// Access key id.
pub const ACCESS_KEY_ID: &str = "AKTEST";
/// Secret access key.
pub const SECRET_ACCESS_KEY: &str = "SKTEST1234567890";

type BucketContents = BTreeMap<String, Held>;
type Buckets = Arc<Mutex<HashMap<String, BucketState>>>;

/// An object of a bucket.
#[derive(Clone)]
struct Held {
    bytes: Bytes,
    media_type: Option<String>,
    /// The `ETag`, a new one with every put.
    version: String,
}

impl Held {
    fn new(bytes: impl Into<Bytes>, media_type: Option<String>) -> Self {
        static PUTS: AtomicU64 = AtomicU64::new(0);
        let version = format!("v{}", PUTS.fetch_add(1, Ordering::Relaxed));
        Self { bytes: bytes.into(), media_type, version }
    }
}

/// Content and behavior of one bucket.
#[derive(Default)]
struct BucketState {
    contents: BucketContents,
    /// Multipart uploads in progress, by id.
    unfinished: BTreeMap<String, Unfinished>,
    /// Content that listings show while they are stale.
    shown: Option<BucketContents>,
    plan: OutagePlan,
    /// Prefixes below which anonymous reads are allowed.
    public: Vec<String>,
}

/// A running server.
pub struct S3 {
    endpoint: String,
    buckets: Buckets,
    made: AtomicU32,
}

/// The server of this process, started on first use.
pub fn shared() -> &'static S3 {
    static SHARED: OnceLock<S3> = OnceLock::new();
    SHARED.get_or_init(S3::start)
}

impl S3 {
    fn start() -> Self {
        let buckets = Buckets::default();
        let endpoint = serving::start(&buckets);
        Self { endpoint, buckets, made: AtomicU32::new(0) }
    }

    /// Creates an empty bucket.
    pub fn create_bucket(&'static self) -> TestBucket {
        let bucket = self.reserve_bucket();
        bucket.create();
        bucket
    }

    /// Reserves the name of a bucket that does not exist until it is created.
    pub fn reserve_bucket(&'static self) -> TestBucket {
        TestBucket { s3: self, name: format!("bucket-{}", self.made.fetch_add(1, Ordering::Relaxed)) }
    }
}

/// A bucket; dropping it removes it.
pub struct TestBucket {
    s3: &'static S3,
    name: String,
}

impl TestBucket {
    /// Creates a bucket that was only reserved.
    pub fn create(&self) {
        lock(&self.s3.buckets).insert(self.name.clone(), BucketState::default());
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.s3.endpoint
    }

    /// Settings of a server that keeps its files here, named as in the environment.
    pub fn settings(&self) -> [(&'static str, &str); 6] {
        [
            ("PANAVERSITY_STORAGE_BACKEND", "s3"),
            ("PANAVERSITY_S3_BUCKET", self.name()),
            ("PANAVERSITY_S3_ENDPOINT", self.endpoint()),
            ("PANAVERSITY_S3_REGION", REGION),
            ("PANAVERSITY_S3_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("PANAVERSITY_S3_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ]
    }

    /// All its objects, by key.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let bytes = |(key, held): (&String, &Held)| (key.clone(), held.bytes.to_vec());
        self.with(|state| state.contents.iter().map(bytes).collect())
    }

    /// The media type that an object was put with.
    pub fn content_type(&self, key: &str) -> Option<String> {
        self.with(|state| state.contents.get(key).and_then(|held| held.media_type.clone()))
    }

    /// Number of multipart uploads that were begun and neither completed nor aborted.
    pub fn unfinished(&self) -> usize {
        self.with(|state| state.unfinished.len())
    }

    /// Puts an object directly, bypassing the S3 protocol.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        self.with(|state| state.contents.insert(key.to_owned(), Held::new(bytes.to_vec(), None)));
    }

    /// Removes an object directly, bypassing the S3 protocol.
    pub fn remove(&self, key: &str) {
        self.with(|state| state.contents.remove(key));
    }

    /// From now on, every `every`-th request fails with `trouble`; 1 means all of them.
    pub fn trouble(&self, trouble: Trouble, every: u32) {
        self.with(|state| {
            state.shown = matches!(trouble, Trouble::Stale).then(|| state.contents.clone());
            state.plan = OutagePlan::new(trouble, every);
        });
    }

    /// From now on, every request that completes a multipart upload fails with `trouble`.
    pub fn trouble_completing(&self, trouble: Trouble) {
        self.with(|state| state.plan = OutagePlan::completing(trouble));
    }

    /// Ends the trouble.
    pub fn calm(&self) {
        self.with(|state| {
            state.shown = None;
            state.plan = OutagePlan::default();
        });
    }

    /// Number of requests that failed since the trouble was set.
    pub fn troubled(&self) -> u32 {
        self.with(|state| state.plan.troubled())
    }

    /// Allows anonymous reads below a prefix, as a public policy or a CDN would.
    pub fn publish(&self, prefix: &str) {
        self.with(|state| state.public.push(prefix.to_owned()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut BucketState) -> T) -> T {
        act(lock(&self.s3.buckets).get_mut(&self.name).expect("a bucket lives as long as its handle"))
    }
}

impl Drop for TestBucket {
    fn drop(&mut self) {
        lock(&self.s3.buckets).remove(&self.name);
    }
}

fn lock(buckets: &Buckets) -> MutexGuard<'_, HashMap<String, BucketState>> {
    buckets.lock().unwrap_or_else(PoisonError::into_inner)
}
