//! URLs of `PostgreSQL` in the forms that providers document: a server starts on them, writes and
//! reads.

use panaversity_testkit::postgres::Postgres;
use serde_json::json;

use crate::fixtures::{LESSON, created, read};
use crate::harness::{Db, TestEnv};
use crate::operations::starting::{one_line, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_works_over_a_unix_socket() {
    let cluster = Postgres::start();
    let socket = cluster.socket_url("postgres");
    let (folder, port) = socket.split_once("host=").unwrap().1.split_once("&port=").unwrap();
    for (n, url) in [
        format!("postgresql+asyncpg://postgres:unused-password@/DB?host={folder}/.s.PGSQL.{port}"),
        format!("postgresql://postgres@/DB?host={folder}&port={port}"),
        format!("postgresql://postgres@{}:{port}/DB?sslmode=require", folder.replace('/', "%2F")),
        format!("host={folder} port={port} user=postgres dbname=DB"),
    ]
    .iter()
    .enumerate()
    {
        cluster.query(&cluster.url("postgres"), &format!("CREATE DATABASE books_{n}"));
        let url = url.replace("DB", &format!("books_{n}"));
        let env = TestEnv::new(Db::Sqlite).with("DATABASE_URL", &url);
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        assert_eq!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"], "one", "{url}");
        server.stop().await;
        let files = cluster.query(&cluster.url(&format!("books_{n}")), "SELECT count(*) FROM file_journal");
        assert_eq!(files, "1", "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_the_one_that_can_be_written_to_is_used() {
    let (standby, primary) = (Postgres::start(), Postgres::start());
    standby.set_read_only(true);
    let url = format!(
        "postgresql+asyncpg://postgres@/postgres?host={}&host={}&target_session_attrs=read-write",
        standby.address(),
        primary.address()
    );
    let env = TestEnv::new(Db::Sqlite).with("DATABASE_URL", &url);
    let server = env.start().await;
    created(&server.client(), LESSON, "one", json!({})).await;
    let files = primary.query(&primary.url("postgres"), "SELECT count(*) FROM file_journal");
    assert_eq!(files, "1");
}

#[test]
fn what_a_password_must_not_hold_is_one_clear_line() {
    for (url, said) in [
        (
            "postgresql://u:hunter22#x@h/d",
            "DATABASE_URL is no database URL that can be used: in the user name or password, `#` must be written `%23`",
        ),
        ("postgresql+asyncpg://u:hunter22/x@h/d", "`/` must be written `%2F`"),
        ("postgresql://u:hunter22@h/d?sslmod=require", "did you mean `sslmode`?"),
    ] {
        let (exit, stderr) = refused(&TestEnv::new(Db::Sqlite).with("DATABASE_URL", url), &[]);
        assert_eq!(exit, Some(2), "{stderr}");
        one_line(&stderr, said);
        assert!(!stderr.contains("hunter22"), "{stderr}");
    }
}
