//! Starts a private `PostgreSQL`, bucket and authorization server for scripts: prints the settings of a server
//! on them as lines `NAME=VALUE`, then an empty line, and ends with its standard input.
//!
//! Whoever signs in at the authorization server gets a token with the scopes `read` and `write`.

#![allow(clippy::print_stdout, reason = "the settings are its output")]

use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use panaversity_testkit::authorization_server::{AuthorizationServer, SigningKey};
use panaversity_testkit::{postgres, s3};
use serde_json::json;

const RESOURCE: &str = "https://books.example.com/mcp";
const CLIENT: &str = "pages";

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let database = postgres::shared().create_database();
    let bucket = s3::shared().create_bucket();
    let key = SigningKey::ec_p256();
    let issuer = AuthorizationServer::start(vec![key.jwk("1")]).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = json!({
        "iss": issuer.url(), "aud": RESOURCE, "sub": "ann", "scope": "read write", "exp": now + 3_600,
    });
    issuer.offer_code_flow(CLIENT, RESOURCE, &key.token("1", &claims));
    let settings = [
        ("DATABASE_URL", database.as_str()),
        ("PANAVERSITY_AUTH_SERVER_URL", issuer.url()),
        ("PANAVERSITY_RESOURCE_SERVER_URL", RESOURCE),
        ("PANAVERSITY_WEB_CLIENT_ID", CLIENT),
    ];
    for (name, value) in settings.into_iter().chain(bucket.settings()) {
        println!("{name}={value}");
    }
    println!();
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
