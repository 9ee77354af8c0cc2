//! Test on real servers: three server processes on one database and one bucket, one of them killed
//! every half second, and the assertions after all clients have finished.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clients::{FILES, Store};
use super::random_below;
use super::record::{Action, Content, Held, Operation, Outcome};
use crate::fixtures::{BOOK, about, entries, sha256, text};
use crate::harness::{Answer, Db, ServerProcess, Storage, TestBackend, TestClient, TestEnv};
use crate::publishers::end_leases_in;

const SERVERS: usize = 3;
const KILL_EVERY: Duration = Duration::from_millis(500);

/// Clients of the running servers, and the written contents by their hashes.
pub(super) struct Doors {
    /// The database may be away.
    may_fail: bool,
    open: Mutex<Vec<Option<TestClient>>>,
    contents: Mutex<HashMap<String, Content>>,
}

/// Path of the file with this number.
fn path(file: usize) -> String {
    format!("content/01-Part/01-Chapter/{file:02}-lesson.md")
}

impl Doors {
    /// A client of any running server; at most one is down.
    fn any(&self) -> TestClient {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<_> = open.iter().flatten().collect();
        open[random_below(open.len())].clone()
    }

    fn set(&self, server: usize, client: Option<TestClient>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)[server] = client;
    }

    /// Registers a content that is about to be written; returns its hash.
    fn hash(&self, content: Content) -> String {
        let hash = sha256(content.text());
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).insert(hash.clone(), content);
        hash
    }

    /// The content with a hash; `None` for no hash.
    fn content(&self, hash: Option<&Value>) -> Held {
        let hash = hash.and_then(Value::as_str)?;
        let known = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        Some(*known.get(hash).unwrap_or_else(|| panic!("nobody wrote {hash}")))
    }

    fn read(&self, answer: &Answer) -> Outcome {
        if answer.code() == "NOT_FOUND" {
            return Outcome::Found(None);
        }
        if self.has_failed(answer) {
            return Outcome::Failed;
        }
        let found = answer.clone().expect_ok();
        let content = Content::of(found["content"].as_str().unwrap());
        assert_eq!(content, self.content(found.get("file_hash_sha256")), "{found}");
        Outcome::Found(content)
    }

    /// True if the database was away, and nothing happened.
    fn has_failed(&self, answer: &Answer) -> bool {
        self.may_fail && ["DATABASE_UNAVAILABLE", "TIMEOUT"].contains(&answer.code())
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
            _ if self.has_failed(answer) => Outcome::Failed,
            _ => panic!("no answer that a change may have: {}", answer.value),
        }
    }
}

impl Store for Doors {
    async fn perform(&self, client: usize, file: usize, act: Action) -> Outcome {
        let client = self.any().of_agent(&format!("client-{client}"));
        let Action::Change { from, to } = act else {
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

/// Three servers in one environment.
pub(super) struct Cluster {
    env: TestEnv,
    /// URL of the database.
    database: String,
    servers: Vec<Option<ServerProcess>>,
    pub(super) doors: Arc<Doors>,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let env = TestEnv::new(TestBackend::new(Db::Postgres, Storage::S3));
        let database = env.database_url().to_owned();
        Self::start_on(env, database, false).await
    }

    /// Three servers on this database, which may be away at times.
    pub(super) async fn start_on(env: TestEnv, database: String, may_fail: bool) -> Self {
        let env = env.with("DATABASE_URL", &database);
        let env = env.with("DATABASE_POOL_SIZE", "5").with("DATABASE_MAX_OVERFLOW", "0");
        let (one, two, three) = tokio::join!(env.start_process(), env.start_process(), env.start_process());
        one.call("create_book", json!({ "book_id": BOOK })).await.expect_ok();
        let open = [&one, &two, &three].map(|server| Some(server.client())).to_vec();
        let servers = vec![Some(one), Some(two), Some(three)];
        let doors = Doors { may_fail, open: Mutex::new(open), contents: Mutex::default() };
        Self { env, database, servers, doors: Arc::new(doors) }
    }

    /// Kills and restarts one server after the other for this time; returns the number of kills.
    pub(super) async fn kill(&mut self, length: Duration) -> usize {
        let (mut kills, began) = (0, Instant::now());
        let mut moments = tokio::time::interval(KILL_EVERY);
        moments.tick().await;
        while began.elapsed() + KILL_EVERY < length {
            moments.tick().await;
            let victim = random_below(SERVERS);
            let server = self.servers[victim].take().unwrap();
            // New requests go to other servers; those in progress die with it.
            self.doors.set(victim, None);
            server.kill9().await;
            kills += 1;
            let server = self.env.start_process().await;
            self.doors.set(victim, Some(server.client()));
            self.servers[victim] = Some(server);
        }
        kills
    }

    /// Ends all leases, so that files which killed servers were publishing do not wait for their
    /// expiry.
    pub(super) fn end_leases(&self) {
        end_leases_in(&self.database);
    }

    fn any(&self) -> &ServerProcess {
        self.servers.iter().flatten().next().expect("a running server")
    }

    /// Asserts that the log has every acknowledged change, once, and none that nobody requested;
    /// that each change of a file starts from the result of the one before; and that the last one
    /// left the current content.
    pub(super) async fn assert_recorded(&self, history: &[Operation], holds: &[Held; FILES]) {
        for (file, holds) in holds.iter().enumerate() {
            let filter = json!({ "book_id": BOOK, "path": path(file), "limit": 1000 });
            let mut log = entries(&self.any().client(), filter).await;
            log.reverse();
            // A deletion of a missing file has an entry, too.
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

    /// Asserts of what readers of the feed got that it is the same, and has every acknowledged change once,
    /// each change of a file after the one that it starts from.
    pub(super) async fn assert_told(&self, history: &[Operation], readers: &[Vec<Value>]) {
        let whole = follow(&self.doors, "", async || true).await;
        for read in readers {
            assert_eq!(ids(read), ids(&whole), "readers of the feed get the same");
            assert_eq!(*read, whole);
        }
        let mut told: BTreeMap<usize, Vec<(Held, Held)>> = BTreeMap::new();
        for file in whole.iter().flat_map(|change| change["files"].as_array().unwrap()) {
            let name = file["path"].as_str().unwrap();
            let number = (0..FILES).find(|number| path(*number) == name).expect("a known file");
            let hash = |name: &str| self.doors.content(Some(&file[name]));
            told.entry(number).or_default().push((hash("old_hash"), hash("new_hash")));
        }
        for (file, changes) in &told {
            let mut now = None;
            for change in changes {
                assert_eq!(change.0, now, "the feed tells the changes of file {file} in another order");
                now = change.1;
            }
        }
        for operation in history {
            let Some(change) = operation.acknowledged() else { continue };
            let of_file = told.get(&operation.file).into_iter().flatten();
            let times = of_file.filter(|told| **told == change).count();
            assert_eq!(times, 1, "{change:?} of file {} was acknowledged", operation.file);
        }
        eprintln!("{} change sets told to {} readers", whole.len(), readers.len());
    }

    /// Asserts that the tree has the content of the files, once all is published. Files that a
    /// killed server was publishing wait for the end of their leases.
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

    /// Asserts that every server returns the same content of every file; returns it.
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

fn ids(changes: &[Value]) -> Vec<&str> {
    changes.iter().map(|change| change["change_id"].as_str().unwrap()).collect()
}

/// Reads the feed page by page, each from any server, until `is_last` says so and nothing is left.
pub(super) async fn follow(doors: &Doors, begin: &str, is_last: impl AsyncFn() -> bool) -> Vec<Value> {
    let (mut changes, mut cursor) = (Vec::<Value>::new(), begin.to_owned());
    let mut empty = 0;
    loop {
        // Whether it is the last look is asked before it is made; what was committed by then is told soon.
        let is_last = is_last().await;
        let limit = 1 + random_below(50);
        let page = doors.any().try_get(&format!("/books/{BOOK}/changes?since={cursor}&limit={limit}")).await;
        let Some(page) = page.filter(|page| page.status == 200).map(|page| page.json()) else { continue };
        let some = page["changes"].as_array().unwrap();
        changes.extend(some.iter().cloned());
        page["next"].as_str().unwrap().clone_into(&mut cursor);
        empty = if some.is_empty() { empty + 1 } else { 0 };
        if is_last && empty > 3 {
            return changes;
        }
        if empty > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
