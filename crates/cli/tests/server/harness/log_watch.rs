//! Search of all logs of this suite, and of what commands print, for secrets: no line may contain a secret that
//! a test has used, nor anything that has the form of one.
//!
//! Lines of servers are searched as they are read, events of servers in this process as they are made, and the
//! output of commands when they have ended.
//! A finding fails the test during which it is noticed, when its environment is dropped.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Begins of secrets and of parameters that are secret: API keys, those of webhooks, JWTs, signed links, presigned
/// URLs.
const FORMS: [&str; 6] = ["pfs_", "whsec_", "eyJ", "signature=", "X-Amz-Signature", "PRIVATE KEY"];
/// Shorter secrets would be found by chance, and are not allowed in tests.
const SHORTEST: usize = 8;

static SECRETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static SEARCHED: AtomicUsize = AtomicUsize::new(0);
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Adds a secret that no log may contain from now on.
#[track_caller]
pub(crate) fn secret(text: &str) {
    assert!(
        text.len() >= SHORTEST,
        "a secret of fewer than {SHORTEST} characters can't be searched for: {text}"
    );
    locked(&SECRETS).insert(text.to_owned());
}

/// Adds the secret among the settings of a server or a command.
pub(super) fn setting(name: &str, value: &str) {
    let ends = ["_SECRET", "_SIGNING_KEY", "_SECRET_ACCESS_KEY", "_TOKEN"];
    if ends.iter().any(|end| name.ends_with(end)) {
        value.split_whitespace().for_each(secret);
    }
    in_url(value);
}

/// Adds the secret in a value or argument that may be a URL.
pub(super) fn in_url(value: &str) {
    if let Some((credentials, _)) = value.split_once("://").and_then(|(_, rest)| rest.split_once('@')) {
        credentials.split(':').skip(1).for_each(secret);
    }
    for parameter in ["password=", "token="] {
        let after = value.split_once(parameter).map(|(_, after)| after);
        after.and_then(|after| after.split(['&', ' ']).next()).into_iter().for_each(secret);
    }
}

/// Begins to watch the events of servers in this process.
pub(super) fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let watch = tracing_subscriber::registry().with(EventWatch);
        tracing::subscriber::set_global_default(watch).expect("no other subscriber in this process");
    });
}

/// Searches a line; what is found fails a test later.
pub(super) fn search(line: &str) {
    SEARCHED.fetch_add(1, Ordering::Relaxed);
    if has_secret(line, &locked(&SECRETS)) {
        locked(&FOUND).push(line.to_owned());
    }
}

/// Fails if something was found.
pub(super) fn require_none() {
    let found = locked(&FOUND).clone();
    assert!(found.is_empty(), "secrets in a log or in the output of a command:\n{}", found.join("\n"));
}

fn has_secret(line: &str, secrets: &BTreeSet<String>) -> bool {
    FORMS.iter().any(|form| line.contains(form)) || secrets.iter().any(|secret| line.contains(secret))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Searches the fields of all events of this program.
struct EventWatch;

impl<S: Subscriber> Layer<S> for EventWatch {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("panaversity") {
            event.record(&mut FieldSearch);
        }
    }
}

struct FieldSearch;

impl Visit for FieldSearch {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        search(&format!("{value:?}"));
    }
}

#[test]
fn a_secret_in_a_line_is_found() {
    let secrets = BTreeSet::from(["hunter22".to_owned()]);
    assert!(has_secret("the password is hunter22.", &secrets));
    assert!(has_secret("GET /books/b/archive.zip?signature=00ff", &secrets));
    assert!(has_secret("token eyJhbGciOi", &secrets));
    assert!(!has_secret("write_content book_id=ai-python", &secrets));
}

#[test]
fn the_events_of_this_process_are_searched() {
    begin();
    let searched = SEARCHED.load(Ordering::Relaxed);
    tracing::info!(target: "panaversity_fs.auth", name = "a field", "a message");
    assert!(SEARCHED.load(Ordering::Relaxed) >= searched + 2);
}
