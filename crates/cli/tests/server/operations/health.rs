//! Health endpoints: live touches nothing, ready follows the engines, and an unreachable database
//! is an error to callers, not the end of the server.

use panaversity_testkit::postgres::{Postgres, shared};
use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, created, fresh, read, write};
use crate::harness::{Db, TestEnv, logged, until};

#[tokio::test(flavor = "multi_thread")]
async fn health_has_every_field_of_the_contract() {
    for (db, backend) in [(Db::Sqlite, "sqlite"), (Db::Postgres, "postgresql")] {
        let (_env, server, client) = fresh(db).await;
        created(&client, LESSON, "one", json!({})).await;
        let passed =
            async || server.get("/health").await.json()["audit_chain"]["full_pass_age_seconds"].is_u64();
        until("the chains were verified once", passed).await;
        server.all_published().await;
        let mut health = server.get("/health").await.json();
        for engine in ["database", "storage"] {
            let latency = health[engine].as_object_mut().unwrap().remove("latency_ms").unwrap();
            assert!(latency.as_f64().unwrap() >= 0.0);
        }
        assert!(
            health["uptime_seconds"].is_u64() && health["audit_chain"]["checked_at"].is_string(),
            "{health}"
        );
        assert_eq!((&health["status"], &health["auth"]), (&json!("ok"), &json!("none")));
        assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(health["database"], json!({ "status": "ok", "backend": backend }));
        assert_eq!(health["storage"], json!({ "status": "ok", "backend": "fs" }));
        assert_eq!(
            (&health["pending_publications"], &health["audit_chain"]["valid"]),
            (&json!(0), &json!(true))
        );
        let ready = server.get("/health/ready").await;
        assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ok")));
        let live = server.get("/health/live").await;
        assert_eq!((live.status, live.json()), (200, json!({ "status": "ok" })));
        for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
            let foreign = server.client().post(path, "{}", &[]).await;
            assert_eq!(foreign.status, 405, "{path} is only read");
        }
    }
}

/// Asserts that a scrape says which of the engines is up.
fn assert_up(scraped: &str, database: u8, storage: u8) {
    for (engine, up) in [("database", database), ("storage", storage)] {
        let sample = format!("panaversityfs_{engine}_up {up}");
        assert!(scraped.lines().any(|line| line == sample), "no {sample} in {scraped}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_makes_a_server_unready_but_not_dead() {
    let postgres = Postgres::start();
    let env = TestEnv::new(Db::Sqlite)
        .with("DATABASE_URL", &postgres.create_database())
        .with("DATABASE_POOL_TIMEOUT", "1");
    let server = env.start().await;
    let client = server.client();
    created(&client, LESSON, "one", json!({})).await;
    let scraped = server.get("/metrics").await.text();
    drop(postgres);
    until("it is unready", async || server.get("/health/ready").await.status == 503).await;
    let ready = server.get("/health/ready").await.json();
    assert_eq!(
        (&ready["status"], &ready["database"]["status"]),
        (&json!("unavailable"), &json!("unavailable"))
    );
    assert_eq!(ready["storage"]["status"], "ok");
    let health = server.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("unavailable")));
    assert_eq!(health.json()["pending_publications"], Value::Null, "what is not known is not said");
    assert_eq!(server.get("/health/live").await.status, 200);

    for answer in [
        read(&client, LESSON, json!({})).await,
        write(&client, "content/README.md", "x", json!({})).await,
        client.call("list_books", json!({})).await,
    ] {
        assert_eq!(answer.code(), "DATABASE_UNAVAILABLE", "{}", answer.value);
        let error = &answer.value["error"];
        assert!(
            error["request_id"].is_string() && error["hint"].as_str().unwrap().contains("Repeat"),
            "{error}"
        );
        let told = error.to_string().to_lowercase();
        for inside in ["postgres", "sqlx", "127.0.0.1", "refused", "pool", "select"] {
            assert!(!told.contains(inside), "{inside} in {error}");
        }
    }
    let names = |text: &str| {
        text.lines().filter(|line| line.starts_with("# TYPE")).map(str::to_owned).collect::<Vec<_>>()
    };
    let without = server.get("/metrics").await.text();
    assert_eq!(names(&without), names(&scraped), "metrics are there without it");
    assert_up(&scraped, 1, 1);
    assert_up(&without, 0, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_gone_makes_a_server_unready() {
    let (env, server, client) = fresh(Db::Sqlite).await;
    created(&client, LESSON, "one", json!({})).await;
    server.all_published().await;
    // A file in place of its folder for new files: every write fails.
    let (root, moved) = (env.storage_root(), env.folder().join("moved"));
    let temporary = root.join(".panaversity/tmp");
    std::fs::rename(&temporary, &moved).unwrap();
    std::fs::write(&temporary, "in the way").unwrap();
    until("it is unready", async || server.get("/health/ready").await.status == 503).await;
    assert_eq!(server.get("/health").await.json()["storage"]["status"], "unavailable");
    assert_up(&server.get("/metrics").await.text(), 1, 0);
    assert_eq!(
        read(&client, LESSON, json!({})).await.expect_ok()["content"],
        "one",
        "small files need no folder"
    );
    let large = write(&client, "content/README.md", &"large\n".repeat(30_000), json!({})).await;
    assert_eq!(large.code(), "STORAGE_UNAVAILABLE", "{}", large.value);
    assert!(!large.value.to_string().contains(root.to_str().unwrap()));
    std::fs::remove_file(&temporary).unwrap();
    std::fs::rename(&moved, &temporary).unwrap();
    until("it is ready again", async || server.get("/health/ready").await.status == 200).await;
    created(&client, "content/README.md", &"large\n".repeat(30_000), json!({})).await;
    assert_up(&server.get("/metrics").await.text(), 1, 1);
}

#[test]
fn a_storage_that_was_moved_away_or_emptied_makes_a_server_unready() {
    logged("INFO", async |log| {
        let (env, server, client) = fresh(Db::Sqlite).await;
        created(&client, LESSON, "one", json!({})).await;
        let (home, moved) = (env.storage_root().join(".panaversity"), env.folder().join("moved"));
        std::fs::rename(&home, &moved).unwrap();
        until("it is unready", async || server.get("/health/ready").await.status == 503).await;
        assert_eq!(server.get("/health/ready").await.json()["storage"]["status"], "unavailable");
        until("the log says so", async || log.count("moved away or emptied") > 0).await;
        // The server's own probes may make folders there again at any moment.
        let put_back = async || {
            let _ = std::fs::remove_dir_all(&home);
            std::fs::rename(&moved, &home).is_ok()
        };
        until("the folder is back", put_back).await;
        until("it is ready again", async || server.get("/health/ready").await.status == 200).await;
    });
}

/// Whether another folder takes its place, as when a backup is restored, or none.
#[tokio::test(flavor = "multi_thread")]
async fn i9_a_storage_folder_that_was_renamed_takes_no_write_that_a_restart_would_lose() {
    for replaced in [false, true] {
        let (env, server, client) = fresh(Db::Sqlite).await;
        let large = "large\n".repeat(30_000);
        created(&client, LESSON, "one", json!({})).await;
        server.all_published().await;
        let (root, moved) = (env.storage_root(), env.folder().join("moved"));
        std::fs::rename(&root, &moved).unwrap();
        if replaced {
            let copied = std::process::Command::new("cp").arg("-a").args([&moved, &root]).status().unwrap();
            assert!(copied.success());
        }
        until("it is unready", async || server.get("/health/ready").await.status == 503).await;
        assert_eq!(server.get("/health/ready").await.json()["storage"]["status"], "unavailable");
        let lost = write(&client, "content/README.md", &large, json!({})).await;
        assert_eq!(lost.code(), "STORAGE_UNAVAILABLE", "{replaced}: {}", lost.value);
        if replaced {
            std::fs::remove_dir_all(&root).unwrap();
        }
        std::fs::rename(&moved, &root).unwrap();
        until("it is ready again", async || server.get("/health/ready").await.status == 200).await;
        created(&client, "content/README.md", &large, json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_was_moved_away_makes_a_server_unready() {
    let (env, server, client) = fresh(Db::Sqlite).await;
    created(&client, LESSON, "one", json!({})).await;
    let (file, moved) = (env.folder().join("journal.db"), env.folder().join("moved.db"));
    std::fs::rename(&file, &moved).unwrap();
    until("it is unready", async || server.get("/health/ready").await.status == 503).await;
    assert_eq!(server.get("/health/ready").await.json()["database"]["status"], "unavailable");
    std::fs::rename(&moved, &file).unwrap();
    until("it is ready again", async || server.get("/health/ready").await.status == 200).await;
}

#[test]
fn a_schema_that_is_not_the_program_s_is_told_from_a_database_that_is_away() {
    logged("INFO", async |log| {
        let (env, server, client) = fresh(Db::Postgres).await;
        created(&client, LESSON, "one", json!({})).await;
        server.all_published().await;
        let sql = |sql: &str| shared().query(env.database_url(), sql);
        sql("ALTER TABLE file_journal RENAME TO elsewhere");
        for answer in [
            read(&client, LESSON, json!({})).await,
            write(&client, "content/README.md", "x", json!({})).await,
            client.call("plan_build", json!({ "book_id": BOOK })).await,
        ] {
            let error = &answer.value["error"];
            assert_eq!(answer.code(), "DATABASE_UNAVAILABLE", "{error}");
            assert!(error["message"].as_str().unwrap().contains("schema does not fit"), "{error}");
            let hint = error["hint"].as_str().unwrap();
            assert!(hint.contains("panaversity-fs migrate") && !hint.contains("Repeat the same"), "{hint}");
            assert!(!error.to_string().contains("file_journal"), "{error}");
        }
        let log = log.lines().join("\n");
        assert!(log.contains("file_journal") && log.contains("`panaversity-fs migrate current`"), "{log}");
        let ready = server.get("/health/ready").await;
        assert_eq!((ready.status, &ready.json()["database"]["status"]), (503, &json!("unavailable")));
        sql("ALTER TABLE elsewhere RENAME TO file_journal");
        assert_eq!(server.get("/health/ready").await.status, 200);
        assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "one");

        sql("ALTER TABLE uploads RENAME TO elsewhere");
        assert_eq!(server.get("/health/ready").await.status, 503, "also of a table that is seldom used");
        sql("ALTER TABLE elsewhere RENAME TO uploads");
        sql("DELETE FROM schema_migrations WHERE revision = (SELECT max(revision) FROM schema_migrations)");
        assert_eq!(server.get("/health/ready").await.status, 503, "an older schema is another");
        sql(
            "INSERT INTO schema_migrations (revision, name, applied_at) VALUES (9999, 'later', '2030-01-01')",
        );
        assert_eq!(
            server.get("/health/ready").await.status,
            200,
            "a server beside this one was upgraded first"
        );
    });
}
