//! Encrypted connections to PostgreSQL: every `sslmode` against a server whose certificate, for
//! `localhost`, is of an authority in `tls/authority.pem`.

use std::path::PathBuf;

use panaversity_store::{Database, DatabaseUrl, migrations};
use panaversity_testkit::postgres::Postgres;

use crate::engines::POOL;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store/tls").join(name)
}

/// Connects with these parameters; the error is that of the operator.
async fn connect(cluster: &Postgres, host: &str, parameters: &str) -> Result<bool, String> {
    let port = cluster.address().port();
    let parameters = parameters.replace("FILES", &file("").display().to_string());
    let url = format!("postgresql://postgres:right@{host}:{port}/postgres?{parameters}");
    let db = Database::connect(&DatabaseUrl::parse(&url).unwrap(), POOL).await;
    let db = db.map_err(|fault| fault.detail)?;
    assert!(migrations::current(&db).await.is_ok());
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE ssl AND application_name = 'panaversity-fs'";
    let encrypted = cluster.query(&cluster.socket_url("postgres"), encrypted);
    db.close().await;
    Ok(encrypted != "0")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_encrypts_and_verifies_as_libpq_does() {
    let cluster = Postgres::start();
    for (mode, said) in [("prefer", Ok(false)), ("require", Err("does not support TLS"))] {
        let result = connect(&cluster, "localhost", &format!("sslmode={mode}")).await;
        match said {
            Ok(encrypted) => assert_eq!(result, Ok(encrypted), "{mode} without TLS at the server"),
            Err(said) => assert!(result.unwrap_err().contains(said), "{mode}"),
        }
    }
    cluster.encrypt(&file("server.pem"), &file("server.key"));
    for (host, parameters, encrypted) in [
        ("localhost", "sslmode=disable", false),
        ("localhost", "sslmode=allow", false),
        ("127.0.0.1", "", true),
        ("127.0.0.1", "sslmode=prefer", true),
        ("127.0.0.1", "sslmode=require", true),
        ("127.0.0.1", "sslmode=require&sslrootcert=FILES/authority.pem", true),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=FILES/authority.pem", true),
        ("localhost", "sslmode=verify-full&sslrootcert=FILES/authority.pem", true),
    ] {
        assert_eq!(connect(&cluster, host, parameters).await, Ok(encrypted), "{host} {parameters}");
    }
    for (host, parameters, said) in [
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=FILES/authority.pem", "not valid for"),
        ("localhost", "sslmode=verify-full&sslrootcert=FILES/stranger.pem", "UnknownIssuer"),
        ("localhost", "sslmode=verify-ca&sslrootcert=FILES/stranger.pem", "UnknownIssuer"),
        ("localhost", "sslmode=require&sslrootcert=FILES/stranger.pem", "UnknownIssuer"),
        ("localhost", "sslmode=verify-full", "UnknownIssuer"),
        ("localhost", "sslrootcert=system", "UnknownIssuer"),
        ("localhost", "sslmode=verify-ca&sslrootcert=FILES/nothing.pem", "nothing.pem"),
        ("localhost", "sslmode=require&sslcert=FILES/server.pem", "must be given together"),
    ] {
        let why = connect(&cluster, host, parameters).await.unwrap_err();
        assert!(why.contains(said), "{host} {parameters}: {why}");
    }
    cluster.require_encryption("right");
    assert_eq!(connect(&cluster, "localhost", "sslmode=allow").await, Ok(true), "it was refused without");
    let why = connect(&cluster, "localhost", "sslmode=disable").await.unwrap_err();
    assert!(why.contains("no encryption"), "{why}");
    let certificate = "sslmode=require&sslcert=FILES/server.pem&sslkey=FILES/server.key";
    assert_eq!(connect(&cluster, "localhost", certificate).await, Ok(true));
}
