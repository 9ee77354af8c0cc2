//! `config check`: it shows the effective settings, tests them, and leaves nothing behind.

use serde_json::{Value, json};

use crate::fixtures::{LESSON, created};
use crate::harness::{Db, Storage, TestBackend, TestEnv};

const EVERY_GROUND: [TestBackend; 4] = [
    TestBackend::new(Db::Sqlite, Storage::Fs),
    TestBackend::new(Db::Sqlite, Storage::S3),
    TestBackend::new(Db::Postgres, Storage::Fs),
    TestBackend::new(Db::Postgres, Storage::S3),
];

/// Returns true if all checks succeeded, and the output.
fn check(env: &TestEnv, more: &[&str]) -> (bool, String) {
    let output = env.command().args(["config", "check"]).args(more).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code() == Some(0), String::from_utf8(said).unwrap())
}

fn checks(env: &TestEnv) -> Vec<Value> {
    let output = env.command().args(["config", "check", "--json"]).output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    printed["checks"].as_array().unwrap().clone()
}

fn outcome(checks: &[Value], what: &str) -> String {
    let found = checks.iter().find(|one| one["check"] == what);
    found.map_or_else(|| panic!("no {what} in {checks:?}"), |one| one["outcome"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_this_machine_s_is_found_before_the_start() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    assert_eq!(outcome(&checks(&env), "address"), "\"ok\"");
    assert_eq!(outcome(&checks(&env.with("PANAVERSITY_SERVER_PORT", &port)), "address"), "\"note\"");
    let env = TestEnv::new(Db::Sqlite).with("PANAVERSITY_SERVER_HOST", "192.0.2.1");
    assert_eq!(outcome(&checks(&env), "address"), "\"failed\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ground_in_use_is_found_in_order_and_left_as_it_was() {
    for backend in EVERY_GROUND {
        let env = TestEnv::new(backend);
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        server.all_published().await;
        let before = env.everything();
        let (fine, said) = check(&env, &[]);
        assert!(fine, "{backend:?}: {said}");
        for done in [
            "ok     database: ",
            "ok     put: ",
            "ok     get: ",
            "ok     list: ",
            "ok     delete: ",
            "ok     pair: ",
        ] {
            assert!(said.contains(done), "{done} is not in {said}");
        }
        assert_eq!(env.everything(), before, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_masked_and_every_value_names_its_source() {
    let env = TestEnv::new(TestBackend::new(Db::Sqlite, Storage::S3));
    let env = env.with("PANAVERSITY_S3_SECRET_ACCESS_KEY", "hunter22").with("PANAVERSITY_S3_BUKET", "x");
    let (fine, said) = check(&env, &["--server-port", "8123"]);
    assert!(!fine && !said.contains("hunter22"), "{said}");
    for line in [
        "PANAVERSITY_S3_SECRET_ACCESS_KEY=***  (PANAVERSITY_S3_SECRET_ACCESS_KEY)",
        "PANAVERSITY_SERVER_PORT=8123  (--server-port)",
        "PANAVERSITY_SERVER_HOST=127.0.0.1  (default)",
        "FAILED put: ",
        "check the secret access key",
        "did you mean PANAVERSITY_S3_BUCKET?",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_of_another_database_is_found() {
    let one = TestEnv::new(TestBackend::new(Db::Sqlite, Storage::S3));
    let two = TestEnv::new(TestBackend::new(Db::Sqlite, Storage::S3));
    let (server, _other) = (one.start().await, two.start().await);
    created(&server.client(), LESSON, "one", json!({})).await;
    let crossed = one.with("PANAVERSITY_S3_BUCKET", two.bucket().name());
    assert_eq!(outcome(&checks(&crossed), "pair"), "\"failed\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cdn_shows_is_looked_at() {
    let env = TestEnv::new(TestBackend::new(Db::Sqlite, Storage::S3));
    let base = format!("{}/{}", env.bucket().endpoint(), env.bucket().name());
    let env = env.with("PANAVERSITY_CDN_BASE_URL", &base);
    let nothing = env.everything();
    assert_eq!(outcome(&checks(&env), "CDN"), "\"failed\"", "it shows nothing at all");

    env.bucket().publish("books/");
    let (fine, said) = check(&env, &[]);
    assert!(!fine && said.contains("FAILED CDN: shows overlays to everybody"), "{said}");
    assert!(
        said.contains("ok     CDN: shows books/") && said.contains("ok     CDN: hides objects"),
        "{said}"
    );

    env.bucket().publish(".panaversity/");
    assert!(check(&env, &[]).1.contains("FAILED CDN: shows objects to everybody"));
    assert_eq!(env.everything(), nothing);
}
