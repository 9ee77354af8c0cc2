//! A private S3 for tests, in this process: real signatures, also in URLs, real HTTP, buckets in
//! memory, and troubles on demand. It knows `GetObject` (and the HEAD that it permits), `PutObject`
//! (and the copies and multipart uploads that it permits), `DeleteObject`, `ListBucket` and
//! `AbortMultipartUpload` only, so whatever asks for more of a bucket fails here.
//!
//! The server runs on a thread of its own as long as the process lives; every test makes itself a
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
use trouble::Plan;
pub use trouble::Trouble;

/// The region that requests must be signed for.
pub const REGION: &str = "test-region-1";
/// The key's public half.
pub const ACCESS_KEY_ID: &str = "AKTEST";
/// Its secret half.
pub const SECRET_ACCESS_KEY: &str = "SKTEST1234567890";

type Contents = BTreeMap<String, Held>;
type Buckets = Arc<Mutex<HashMap<String, State>>>;

/// What lies at a key.
#[derive(Clone)]
struct Held {
    bytes: Bytes,
    media_type: Option<String>,
    /// The `ETag`: another with every put.
    version: String,
}

impl Held {
    fn new(bytes: impl Into<Bytes>, media_type: Option<String>) -> Self {
        static PUTS: AtomicU64 = AtomicU64::new(0);
        let version = format!("v{}", PUTS.fetch_add(1, Ordering::Relaxed));
        Self { bytes: bytes.into(), media_type, version }
    }
}

/// What one bucket holds and how it behaves.
#[derive(Default)]
struct State {
    contents: Contents,
    /// Multipart uploads under way, by id.
    unfinished: BTreeMap<String, Unfinished>,
    /// What listings show while they are stale.
    shown: Option<Contents>,
    plan: Plan,
    /// Whoever asks without a key may get what lies below these prefixes.
    public: Vec<String>,
}

/// A running server.
pub struct S3 {
    endpoint: String,
    buckets: Buckets,
    made: AtomicU32,
}

/// The server of this process, started when first asked for.
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

    /// Makes an empty bucket.
    pub fn create_bucket(&'static self) -> Bucket {
        let bucket = self.reserve_bucket();
        bucket.create();
        bucket
    }

    /// A bucket that is not there before it is created.
    pub fn reserve_bucket(&'static self) -> Bucket {
        Bucket { s3: self, name: format!("bucket-{}", self.made.fetch_add(1, Ordering::Relaxed)) }
    }
}

/// A bucket; dropping it removes it.
pub struct Bucket {
    s3: &'static S3,
    name: String,
}

impl Bucket {
    /// Makes one that was only reserved.
    pub fn create(&self) {
        lock(&self.s3.buckets).insert(self.name.clone(), State::default());
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is reached: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.s3.endpoint
    }

    /// Everything in it, by key.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let bytes = |(key, held): (&String, &Held)| (key.clone(), held.bytes.to_vec());
        self.with(|state| state.contents.iter().map(bytes).collect())
    }

    /// The media type that something in it was put with.
    pub fn content_type(&self, key: &str) -> Option<String> {
        self.with(|state| state.contents.get(key).and_then(|held| held.media_type.clone()))
    }

    /// How many multipart uploads were begun and neither completed nor aborted.
    pub fn unfinished(&self) -> usize {
        self.with(|state| state.unfinished.len())
    }

    /// Puts something into it behind everybody's back.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        self.with(|state| state.contents.insert(key.to_owned(), Held::new(bytes.to_vec(), None)));
    }

    /// Removes something from it behind everybody's back.
    pub fn remove(&self, key: &str) {
        self.with(|state| state.contents.remove(key));
    }

    /// Every `every`th request from now on is in trouble; 1: every one.
    pub fn trouble(&self, trouble: Trouble, every: u32) {
        self.with(|state| {
            state.shown = matches!(trouble, Trouble::Stale).then(|| state.contents.clone());
            state.plan = Plan::new(trouble, every);
        });
    }

    /// Every request from now on that completes a multipart upload is in trouble.
    pub fn trouble_completing(&self, trouble: Trouble) {
        self.with(|state| state.plan = Plan::completing(trouble));
    }

    /// All is well again.
    pub fn calm(&self) {
        self.with(|state| {
            state.shown = None;
            state.plan = Plan::default();
        });
    }

    /// How many requests were in trouble since it was asked for.
    pub fn troubled(&self) -> u32 {
        self.with(|state| state.plan.troubled())
    }

    /// Lets everybody read what lies below a prefix, as a public policy or a CDN would.
    pub fn publish(&self, prefix: &str) {
        self.with(|state| state.public.push(prefix.to_owned()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(lock(&self.s3.buckets).get_mut(&self.name).expect("a bucket lives as long as its handle"))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        lock(&self.s3.buckets).remove(&self.name);
    }
}

fn lock(buckets: &Buckets) -> MutexGuard<'_, HashMap<String, State>> {
    buckets.lock().unwrap_or_else(PoisonError::into_inner)
}
