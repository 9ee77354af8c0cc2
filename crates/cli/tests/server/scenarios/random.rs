//! Property test of R2: after any sequence of writes, deletions and refusals, reads return what a
//! plain map would, and once the publisher is idle the tree has exactly that content.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::fixtures::{NO_HASH, sha256, with};
use crate::harness::{TestBackend, TestClient, TestEnv};

on_every_backend!(r2_a_random_history_reads_and_publishes_what_a_map_would);

const PATHS: [&str; 4] = [
    "content/README.md",
    "content/01-Part/README.md",
    "content/01-Part/01-Chapter/01-lesson.md",
    "content/01-Part/01-Chapter/01-lesson.summary.md",
];
const USERS: [Option<&str>; 3] = [None, Some("eve"), Some("bob")];

/// Hash that a caller sends as the precondition.
#[derive(Debug, Clone, Copy)]
enum Said {
    Nothing,
    Right,
    Wrong,
}

#[derive(Debug, Clone)]
struct Step {
    path: &'static str,
    user: Option<&'static str>,
    said: Said,
    /// The text to write; `None`: delete.
    content: Option<String>,
}

/// Content of each user's layer, by user and path.
type Model = BTreeMap<(Option<&'static str>, &'static str), String>;

fn step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![3 => Just(Said::Right), 2 => Just(Said::Nothing), 1 => Just(Said::Wrong)];
    let small = "[a-c]{0,2}".prop_map(Some);
    let large = (1_500usize..2_500).prop_map(|size| Some("large\u{e9}\n".repeat(size * 10)));
    let content = prop_oneof![8 => small, 1 => large, 3 => Just(None)];
    (prop::sample::select(&PATHS[..]), prop::sample::select(&USERS[..]), said, content)
        .prop_map(|(path, user, said, content)| Step { path, user, said, content })
}

/// The outcome of a step by the contract; updates the model.
fn expected(model: &mut Model, step: &Step) -> &'static str {
    let key = (step.user, step.path);
    let now = model.get(&key).cloned();
    match (now, &step.content, step.said) {
        (Some(now), Some(new), _) if now == *new => "unchanged",
        (Some(_), _, Said::Wrong) => "CONFLICT",
        (Some(_), Some(_), Said::Nothing) => "HASH_REQUIRED",
        (Some(_), Some(new), Said::Right) => {
            model.insert(key, new.clone());
            "updated"
        }
        (Some(_), None, _) => {
            model.remove(&key);
            "deleted"
        }
        (None, None, _) => "not there",
        (None, Some(_), Said::Wrong) => "NOT_FOUND",
        (None, Some(new), _) => {
            model.insert(key, new.clone());
            "created"
        }
    }
}

async fn carry_out(client: &TestClient, book: &str, model: &Model, step: &Step) -> String {
    let mut arguments = json!({ "book_id": book, "path": step.path, "user_id": step.user });
    match (step.said, model.get(&(step.user, step.path))) {
        (Said::Wrong, _) => arguments["expected_hash"] = NO_HASH.into(),
        (Said::Right, Some(now)) => arguments["expected_hash"] = sha256(now).into(),
        _ => {}
    }
    let answer = match &step.content {
        Some(content) => client.call("write_content", with(arguments, json!({ "content": content }))).await,
        None => client.call("delete_content", arguments).await,
    };
    match (answer.ok, &answer.value["mode"], &answer.value["existed"]) {
        (false, ..) => answer.code().to_owned(),
        (_, Value::String(mode), _) => mode.clone(),
        (_, _, Value::Bool(true)) => "deleted".to_owned(),
        _ => "not there".to_owned(),
    }
}

async fn check_reads(client: &TestClient, book: &str, model: &Model, step: &Step) {
    for user in USERS {
        let arguments = json!({ "book_id": book, "path": step.path, "user_id": user });
        let answer = client.call("read_content", arguments).await;
        let base = model.get(&(None, step.path));
        let content = model.get(&(user, step.path)).or(base);
        assert_eq!(answer.value["content"].as_str(), content.map(String::as_str), "{user:?} after {step:?}");
        assert_eq!(answer.ok, content.is_some());
    }
}

async fn check_tree(env: &TestEnv, client: &TestClient, book: &str, model: &Model) {
    crate::harness::until("everything is published", async || {
        client.get("/health").await.json()["pending_publications"] == 0
    })
    .await;
    let mine = |(name, bytes): (String, Vec<u8>)| {
        let name = name.strip_prefix(&format!("{book}/"))?.to_owned();
        Some((name, bytes))
    };
    let published: BTreeMap<String, Vec<u8>> = env.published().into_iter().filter_map(mine).collect();
    let wanted = |((user, path), text): (&(Option<&str>, &str), &String)| {
        let folder = user.map(|user| format!("users/{user}/")).unwrap_or_default();
        (format!("{folder}{path}"), text.clone().into_bytes())
    };
    let wanted: BTreeMap<String, Vec<u8>> = model.iter().map(wanted).collect();
    assert!(published == wanted, "{:?} instead of {:?}", published.keys(), wanted.keys());
}

async fn r2_a_random_history_reads_and_publishes_what_a_map_would(on: TestBackend) {
    let env = TestEnv::new(on);
    let server = env.start().await;
    let client = server.client();
    let (mut case, runtime) = (0, Handle::current());
    let mut runner = TestRunner::new(Config { cases: 5, max_shrink_iters: 60, ..Config::default() });
    let history = prop::collection::vec(step(), 1..60);
    let mut one = |steps: Vec<Step>| {
        case += 1;
        let book = format!("book-{case:03}");
        runtime.block_on(async {
            client.call("create_book", json!({ "book_id": book })).await.expect_ok();
            let mut model = Model::new();
            for step in &steps {
                let got = carry_out(&client, &book, &model, step).await;
                assert_eq!(got, expected(&mut model, step), "{step:?}");
                check_reads(&client, &book, &model, step).await;
            }
            check_tree(&env, &client, &book, &model).await;
        });
    };
    let case = std::cell::RefCell::new(&mut one);
    tokio::task::block_in_place(|| {
        runner
            .run(&history, |steps| {
                (case.borrow_mut())(steps);
                Ok(())
            })
            .unwrap();
    });
}
