//! The real thing: three server processes on one database and one bucket, one of them killed at
//! every half second, and what must be true of them when everybody has gone home.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clients::{FILES, Store};
use super::random_below;
use super::record::{Act, Content, Held, Operation, Outcome};
use crate::fixtures::{BOOK, about, entries, sha256, text};
use crate::harness::{Answer, Db, Server, Storage, TestBackend, TestClient, TestEnv};
use crate::publishers::end_leases;

const SERVERS: usize = 3;
const KILL_EVERY: Duration = Duration::from_millis(500);

/// The way to the servers that run at the moment, and the contents by their hashes.
pub(super) struct Doors {
    open: Mutex<Vec<Option<TestClient>>>,
    contents: Mutex<HashMap<String, Content>>,
}

/// The file with this number.
fn path(file: usize) -> String {
    format!("content/01-Part/01-Chapter/{file:02}-lesson.md")
}

impl Doors {
    /// Any that is open; at most one is not.
    fn any(&self) -> TestClient {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<_> = open.iter().flatten().collect();
        open[random_below(open.len())].clone()
    }

    fn set(&self, server: usize, client: Option<TestClient>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)[server] = client;
    }

    /// The hash of a content that is about to be written.
    fn hash(&self, content: Content) -> String {
        let hash = sha256(content.text());
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).insert(hash.clone(), content);
        hash
    }

    /// The content with a hash; none for no hash.
    fn content(&self, hash: Option<&Value>) -> Held {
        let hash = hash.and_then(Value::as_str)?;
        let known = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        Some(*known.get(hash).unwrap_or_else(|| panic!("nobody wrote {hash}")))
    }

    fn read(&self, answer: &Answer) -> Outcome {
        if answer.code() == "NOT_FOUND" {
            return Outcome::Found(None);
        }
        let found = answer.clone().expect_ok();
        let content = Content::of(found["content"].as_str().unwrap());
        assert_eq!(content, self.content(found.get("file_hash_sha256")), "{found}");
        Outcome::Found(content)
    }

    fn changed(&self, answer: &Answer) -> Outcome {
        match answer.code() {
            "" if answer.value["existed"] == false => Outcome::Found(None),
            "" => Outcome::Changed,
            "NOT_FOUND" => Outcome::Found(None),
            "CONFLICT" | "HASH_REQUIRED" => {
                Outcome::Found(self.content(answer.value["error"].get("current_hash")))
            }
            _ if answer.value["error"]["outcome"] == "unknown" => Outcome::Unknown,
            _ => panic!("no answer that a change may have: {}", answer.value),
        }
    }
}

impl Store for Doors {
    async fn perform(&self, client: usize, file: usize, act: Act) -> Outcome {
        let client = self.any().of_agent(&format!("client-{client}"));
        let Act::Change { from, to } = act else {
            let answer = client.try_call("read_content", about(&path(file), json!({}))).await;
            return answer.map_or(Outcome::Unknown, |answer| self.read(&answer));
        };
        let mut more = json!({});
        if let Some(from) = from {
            more["expected_hash"] = self.hash(from).into();
        }
        let tool = if let Some(to) = to {
            self.hash(to);
            more["content"] = to.text().into();
            "write_content"
        } else {
            "delete_content"
        };
        let answer = client.try_call(tool, about(&path(file), more)).await;
        answer.map_or(Outcome::Unknown, |answer| self.changed(&answer))
    }
}

/// Three servers in one env.
pub(super) struct Cluster {
    env: TestEnv,
    servers: Vec<Option<Server>>,
    pub(super) doors: Arc<Doors>,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let env = TestEnv::new(TestBackend::new(Db::Postgres, Storage::S3))
            .with("DATABASE_POOL_SIZE", "5")
            .with("DATABASE_MAX_OVERFLOW", "0");
        let (one, two, three) = tokio::join!(env.start(), env.start(), env.start());
        one.call("create_book", json!({ "book_id": BOOK })).await.expect_ok();
        let open = [&one, &two, &three].map(|server| Some(server.client())).to_vec();
        let servers = vec![Some(one), Some(two), Some(three)];
        let doors = Doors { open: Mutex::new(open), contents: Mutex::default() };
        Self { env, servers, doors: Arc::new(doors) }
    }

    /// Kills one server after the other, and starts it again, for that long; gives how often.
    pub(super) async fn kill(&mut self, length: Duration) -> usize {
        let (mut kills, began) = (0, Instant::now());
        let mut moments = tokio::time::interval(KILL_EVERY);
        moments.tick().await;
        while began.elapsed() + KILL_EVERY < length {
            moments.tick().await;
            let victim = random_below(SERVERS);
            let server = self.servers[victim].take().unwrap();
            // What comes from now on goes elsewhere; what is under way dies with it.
            self.doors.set(victim, None);
            server.kill9().await;
            kills += 1;
            let server = self.env.start().await;
            self.doors.set(victim, Some(server.client()));
            self.servers[victim] = Some(server);
        }
        kills
    }

    /// What killed servers were publishing need not wait for the end of their leases.
    pub(super) fn end_leases(&self) {
        end_leases(&self.env);
    }

    fn any(&self) -> &Server {
        self.servers.iter().flatten().next().expect("a running server")
    }

    /// The log has every acknowledged change, once, and none that nobody asked for; each change of
    /// a file begins with what the one before left, and the last one left what the file holds.
    pub(super) async fn assert_recorded(&self, history: &[Operation], holds: &[Held; FILES]) {
        for (file, holds) in holds.iter().enumerate() {
            let filter = json!({ "book_id": BOOK, "path": path(file), "limit": 1000 });
            let mut log = entries(&self.any().client(), filter).await;
            log.reverse();
            // A deletion that found nothing left its entry, too.
            log.retain(|entry| {
                entry.get("old_content_hash").is_some() || entry.get("new_content_hash").is_some()
            });
            let hash = |entry: &Value, name| self.doors.content(entry.get(name));
            let changes: Vec<(Held, Held)> = log
                .iter()
                .map(|entry| (hash(entry, "old_content_hash"), hash(entry, "new_content_hash")))
                .collect();
            let mut now = None;
            for (change, entry) in changes.iter().zip(&log) {
                assert_eq!(change.0, now, "the lineage of file {file} breaks at {entry}");
                now = change.1;
            }
            assert_eq!(now, *holds, "file {file} does not hold what its last change left");
            let of_file = |operation: &&Operation| operation.file == file;
            let acknowledged: Vec<_> =
                history.iter().filter(of_file).filter_map(Operation::acknowledged).collect();
            let maybe: BTreeSet<_> = history.iter().filter(of_file).filter_map(Operation::in_doubt).collect();
            let recorded: BTreeSet<_> = changes.iter().copied().collect();
            assert_eq!(recorded.len(), changes.len(), "a change of file {file} is recorded twice");
            for change in &acknowledged {
                assert!(recorded.contains(change), "{change:?} of file {file} was acknowledged and is lost");
            }
            for change in recorded.iter().filter(|change| !acknowledged.contains(change)) {
                assert!(maybe.contains(change), "nobody asked for {change:?} of file {file}");
            }
        }
        let verified = self.any().call("verify_audit_chain", json!({})).await.expect_ok();
        assert_eq!(verified["valid"], true, "{verified}");
    }

    /// The tree holds what the files hold, once it has caught up: what a killed server was about
    /// to publish waits for the end of its lease.
    pub(super) async fn assert_published(&self, holds: &[Held; FILES]) {
        self.any().all_published().await;
        let expected: BTreeMap<String, String> = holds
            .iter()
            .enumerate()
            .filter_map(|(file, held)| Some((format!("{BOOK}/{}", path(file)), (*held)?.text())))
            .collect();
        let published = self.env.published().into_iter();
        let published: BTreeMap<_, _> =
            published.map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap())).collect();
        assert_eq!(published, expected);
    }

    /// Every server says the same of every file; gives what that is.
    pub(super) async fn holds(&self) -> [Held; FILES] {
        let mut holds = [None; FILES];
        for (file, held) in holds.iter_mut().enumerate() {
            let mut said = BTreeSet::new();
            for server in self.servers.iter().flatten() {
                let answer = server.call("read_content", about(&path(file), json!({}))).await;
                said.insert(match answer.code() {
                    "NOT_FOUND" => None,
                    _ => Content::of(&text(&answer.expect_ok()["content"])),
                });
            }
            assert_eq!(said.len(), 1, "the servers disagree about file {file}: {said:?}");
            *held = said.into_iter().next().flatten();
        }
        holds
    }
}
