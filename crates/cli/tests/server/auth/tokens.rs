//! Tokens: the good ones are let in under their own names, all others are refused with the way to one.

use std::process::Output;
use std::time::Duration;

use panaversity_testkit::authorization_server::{AuthorizationServer, SigningKey, base64url};
use serde_json::{Value, json};

use super::{RESOURCE, SECRET, claims, holder, knock, now, secured, token};
use crate::fixtures::{LESSON, created, entries};
use crate::harness::{Db, Server, TestEnv};

async fn with_bearer(server: &Server, token: &str) -> (u16, String, String) {
    knock(server, &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_token_is_told_where_to_get_one() {
    let env = secured(Db::Sqlite).with("PANAVERSITY_AUTH_SERVER_URL", "https://login.example.com");
    let server = env.start().await;
    let (status, code, challenge) = knock(&server, &[]).await;
    assert_eq!((status, code.as_str()), (401, "UNAUTHENTICATED"));
    let metadata = "https://books.example.com/.well-known/oauth-protected-resource/mcp";
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
    assert!(challenge.contains("scope=\"read\"") && !challenge.contains("error"), "{challenge}");
    for path in ["", "/mcp"] {
        let document = server.get(&format!("/.well-known/oauth-protected-resource{path}")).await.json();
        assert_eq!(document["resource"], RESOURCE);
        assert_eq!(document["authorization_servers"], json!(["https://login.example.com"]));
        assert_eq!(document["scopes_supported"], json!(["read", "write", "admin"]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    }
    assert_eq!(server.get("/health").await.json()["auth"], "jwt-secret, jwks");
    assert_eq!(server.get("/health/ready").await.status, 200, "probes need no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authentication_there_is_no_metadata_and_health_says_so() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    assert_eq!(server.get("/.well-known/oauth-protected-resource").await.status, 404);
    assert_eq!(server.get("/health").await.json()["auth"], "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_the_agent_is_the_token_s_and_never_the_one_that_a_caller_claims_to_be() {
    for db in Db::both() {
        let env = secured(db);
        let server = env.start().await;
        let client = holder(&server, "admin", json!({ "sub": "signed-agent" })).of_agent("somebody-else");
        created(&client, LESSON, "one", json!({})).await;
        let agents: Vec<_> = entries(&client, json!({})).await;
        assert!(!agents.is_empty());
        assert!(agents.iter().all(|entry| entry["agent_id"] == "signed-agent"), "{agents:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_is_refused() {
    let env = secured(Db::Sqlite).with("PANAVERSITY_AUTH_ISSUER", "https://login.example.com");
    let server = env.start().await;
    let good = claims("read", json!({ "iss": "https://login.example.com" }));
    let secret = SigningKey::secret(SECRET);
    assert_eq!(with_bearer(&server, &secret.token("1", &good)).await.0, 200);
    assert_eq!(knock(&server, &[("x-api-key", &secret.token("1", &good))]).await.0, 200);

    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        secret.token("1", &claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        secret.token("1", &claims)
    };
    let unsigned =
        |header: Value| format!("{}.{}.", base64url(header.to_string()), base64url(good.to_string()));
    let public_rsa_key = SigningKey::rsa().jwk("1")["n"].as_str().unwrap().to_owned();
    let cut = secret.token("1", &good);
    let swapped = {
        let other = secret.token("1", &claims("admin", json!({ "iss": "https://login.example.com" })));
        let (from, to): (Vec<_>, Vec<_>) = (cut.split('.').collect(), other.split('.').collect());
        format!("{}.{}.{}", from[0], to[1], from[2])
    };
    for (what, token) in [
        ("expired", changed("exp", json!(now() - 60))),
        ("without an end", without("exp")),
        ("not valid yet", changed("nbf", json!(now() + 600))),
        ("for another server", changed("aud", json!("https://other.example.com/mcp"))),
        ("for nobody", without("aud")),
        ("for an address that only begins alike", changed("aud", json!(format!("{RESOURCE}.evil.example")))),
        ("by another issuer", changed("iss", json!("https://evil.example.com"))),
        ("by nobody", without("iss")),
        ("of no agent", without("sub")),
        ("of the agent system", changed("sub", json!("system"))),
        ("of an agent with a line break", changed("sub", json!("a\nb"))),
        ("of the user who is the base", changed("user_id", json!("__base__"))),
        ("of a user who is a path", changed("user_id", json!("../eve"))),
        (
            "signed by another secret",
            SigningKey::secret("another secret of 32 characters!").token("1", &good),
        ),
        ("signed by a public key", SigningKey::secret(&public_rsa_key).token("1", &good)),
        ("signed by a key nobody knows", SigningKey::rsa().token("1", &good)),
        (
            "of another algorithm",
            SigningKey::Secret(SECRET.into(), ring::hmac::HMAC_SHA512).token("1", &good),
        ),
        ("whose header names another algorithm", secret.signed(&json!({ "alg": "RS256" }), &good)),
        ("with other claims than it was signed for", swapped),
        ("without a signature", unsigned(json!({ "alg": "HS256" }))),
        (
            "with a critical header nobody knows",
            secret.signed(&json!({ "alg": "HS256", "crit": ["x"], "x": 1 }), &good),
        ),
    ] {
        let (status, code, challenge) = with_bearer(&server, &token).await;
        assert_eq!((status, code.as_str()), (401, "UNAUTHENTICATED"), "{what}");
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
    }
    for (what, token) in [
        ("of no algorithm", unsigned(json!({ "alg": "none" }))),
        ("of no algorithm, in capitals", unsigned(json!({ "alg": "NONE" }))),
        ("cut off", cut[..cut.len() / 2].to_owned()),
        ("of one word", "hunter22".to_owned()),
        ("too long", "x".repeat(20_000)),
    ] {
        assert_eq!(with_bearer(&server, &token).await.0, 401, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_wrong_place_is_refused_and_used_nowhere() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let good = token("admin", json!({}));
    let bearer = format!("Bearer {good}");
    let twice = [("authorization", bearer.as_str()), ("x-api-key", good.as_str())];
    assert_eq!(knock(&server, &twice).await.0, 400);
    for header in ["Basic d3JpdGVyOmh1bnRlcjI=", good.as_str()] {
        assert_eq!(knock(&server, &[("authorization", header)]).await.0, 401, "{header}");
    }
    assert_eq!(knock(&server, &[("authorization", "Bearer ")]).await.0, 401);
    for name in ["access_token", "token", "api_key"] {
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
        let path = format!("/mcp?{name}={good}");
        assert_eq!(server.post(&path, list, &[("authorization", &bearer)]).await.status, 400, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_are_accepted_while_one_replaces_the_other() {
    let other = "another secret_of_32_characters!!".replace(' ', "_");
    let env = secured(Db::Sqlite).with("PANAVERSITY_JWT_SECRET", &format!("{SECRET} {other}"));
    let server = env.start().await;
    for secret in [SECRET, &other] {
        let token = SigningKey::secret(secret).token("1", &claims("read", json!({})));
        assert_eq!(with_bearer(&server, &token).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_authorization_server_are_accepted_for_their_own_algorithm() {
    let keys = [("r", SigningKey::rsa()), ("e", SigningKey::ec_p256()), ("o", SigningKey::ed25519())];
    let issuer = AuthorizationServer::start(keys.iter().map(|(id, key)| key.jwk(id)).collect()).await;
    let env = TestEnv::new(Db::Sqlite)
        .with("PANAVERSITY_AUTH_SERVER_URL", issuer.url())
        .with("PANAVERSITY_RESOURCE_SERVER_URL", RESOURCE);
    let server = env.start().await;
    let good = claims("read", json!({ "iss": issuer.url() }));
    for (id, key) in &keys {
        assert_eq!(with_bearer(&server, &key.token(id, &good)).await.0, 200, "{}", key.algorithm());
        let foreign = claims("read", json!({ "iss": "https://evil.example.com" }));
        assert_eq!(with_bearer(&server, &key.token(id, &foreign)).await.0, 401, "its issuer is another");
        let slash =
            claims("read", json!({ "iss": format!("{}/", issuer.url()), "scope": ["read", "write"] }));
        assert_eq!(
            with_bearer(&server, &key.token(id, &slash)).await.0,
            200,
            "some issuers end with a slash"
        );
    }
    // The key exists, but under another algorithm.
    let (_, ec) = &keys[1];
    let header = json!({ "alg": "EdDSA", "kid": "e" });
    assert_eq!(with_bearer(&server, &ec.signed(&header, &good)).await.0, 401);
    // A secret is not configured, and no public key serves as one.
    let public = keys[2].1.jwk("o")["x"].as_str().unwrap().to_owned();
    assert_eq!(with_bearer(&server, &SigningKey::secret(&public).token("o", &good)).await.0, 401);
    for n in 0..20 {
        assert_eq!(with_bearer(&server, &keys[0].1.token(&format!("forged-{n}"), &good)).await.0, 401);
    }
    assert_eq!(issuer.fetches(), 1, "forged key ids cause no load");
    issuer.publish(None);
    assert_eq!(with_bearer(&server, &keys[0].1.token("r", &good)).await.0, 200, "cached keys go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_checked_now_is_answered_with_503() {
    let issuer = AuthorizationServer::start(Vec::new()).await;
    issuer.publish(None);
    let env = TestEnv::new(Db::Sqlite)
        .with("PANAVERSITY_AUTH_SERVER_URL", issuer.url())
        .with("PANAVERSITY_RESOURCE_SERVER_URL", RESOURCE);
    let server = env.start().await;
    let token = SigningKey::rsa().token("r", &claims("read", json!({ "iss": issuer.url() })));
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let bearer = format!("Bearer {token}");
    let reply = server.post("/mcp", list, &[("authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.headers["retry-after"].to_str().unwrap()), (503, "5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_and_hydrate_take_their_token_from_the_environment_or_a_file() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let (source, output, file) =
        (env.folder().join("in"), env.folder().join("out"), env.folder().join("token"));
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("README.md"), "# One\n").unwrap();
    let good = token("write", json!({ "sub": "pipeline" }));
    std::fs::write(&file, format!("{good}\n")).unwrap();
    let run = |arguments: [&str; 4], name: &str, value: &str| {
        let mut command = env.command();
        command.args(arguments).args(["--book-id", "ai-python", "--url", server.url()]).env(name, value);
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains(&good), "{said}");
        (output.status.code(), said)
    };
    let ingest = ["ingest", "--source-dir", source.to_str().unwrap(), "--json"];
    let (code, said) = run(ingest, "PANAVERSITY_LOG_LEVEL", "INFO");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("UNAUTHENTICATED") && said.contains("PANAVERSITY_TOKEN"), "{said}");
    let (code, said) = run(ingest, "PANAVERSITY_TOKEN", &good);
    assert_eq!(code, Some(0), "{said}");
    let hydrate = ["hydrate", "--output-dir", output.to_str().unwrap(), "--json"];
    let (code, said) = run(hydrate, "PANAVERSITY_TOKEN_FILE", file.to_str().unwrap());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(output.join("README.md")).unwrap(), "# One\n");
    let log = entries(&holder(&server, "admin", json!({})), json!({ "operation": "WRITE" })).await;
    assert_eq!(log[0]["agent_id"], "pipeline");
}

fn config_check(env: &TestEnv) -> Output {
    env.command().args(["config", "check"]).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_does_not_keep_the_keys_from_others() {
    let key = SigningKey::rsa();
    let issuer = AuthorizationServer::start(vec![key.jwk("r")]).await;
    issuer.answer_after(Duration::from_millis(300));
    let env = TestEnv::new(Db::Sqlite)
        .with("PANAVERSITY_AUTH_SERVER_URL", issuer.url())
        .with("PANAVERSITY_RESOURCE_SERVER_URL", RESOURCE);
    let server = env.start().await;
    let token = key.token("r", &claims("read", json!({ "iss": issuer.url() })));
    let gone = tokio::time::timeout(Duration::from_millis(100), with_bearer(&server, &token)).await;
    assert!(gone.is_err(), "it has gone away while the keys are fetched");
    assert_eq!(with_bearer(&server, &token).await.0, 200);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_a_large_body_first_still_learns_that_its_token_is_refused() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(8 << 20));
    for _ in 0..5 {
        let reply = server.post("/mcp", large.clone(), &[("authorization", "Bearer x")]).await;
        assert_eq!(reply.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_web_pages_of_the_configured_origins_may_call_the_server() {
    let app = "https://app.example.com";
    let env = secured(Db::Sqlite).with("PANAVERSITY_CORS_ORIGINS", &format!("{app}, http://localhost:3000"));
    let server = env.start().await;
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,mcp-protocol-version"),
        ];
        server.send("OPTIONS", "/mcp", &headers, "").await
    };
    let allowed = preflight(app).await;
    assert_eq!(
        (allowed.status, allowed.headers["access-control-allow-origin"].to_str().unwrap()),
        (200, app)
    );
    let headers = allowed.headers["access-control-allow-headers"].to_str().unwrap().to_owned();
    assert!(headers.contains("authorization") && headers.contains("mcp-protocol-version"), "{headers}");
    let bearer = format!("Bearer {}", token("read", json!({})));
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let reply = server.post("/mcp", list, &[("origin", app), ("authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.headers["access-control-allow-origin"].to_str().unwrap()), (200, app));
    assert!(!reply.headers.contains_key("access-control-allow-credentials"));
    let exposed = reply.headers["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(exposed.contains("www-authenticate"), "{exposed}");
    for foreign in
        ["https://evil.example", "http://app.example.com", "https://app.example.com.evil.example", "null"]
    {
        assert!(!preflight(foreign).await.headers.contains_key("access-control-allow-origin"), "{foreign}");
        let reply = server.post("/mcp", list, &[("origin", foreign), ("authorization", &bearer)]).await;
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{foreign}");
        assert_eq!(reply.status, 403, "{foreign}");
    }
    for bad in ["*", "app.example.com", "https://app.example.com/", "https://*.example.com"] {
        let output = config_check(&secured(Db::Sqlite).with("PANAVERSITY_CORS_ORIGINS", bad));
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_not_kept_by_caches_nor_guessed_at_by_browsers() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    for reply in [
        server.post("/mcp", list, &[]).await,
        server.get("/health").await,
        server.get("/nowhere").await,
        server.get("/books/ai-python/static/img/none.png").await,
    ] {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(reply.headers[name], value, "{reply:?}");
        }
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
    }
}

#[test]
fn production_needs_postgres_and_a_secret_needs_chance() {
    let production = |db| TestEnv::new(db).with("PANAVERSITY_ENV", "production");
    let secure = |env: TestEnv| {
        env.with("PANAVERSITY_JWT_SECRET", SECRET).with("PANAVERSITY_RESOURCE_SERVER_URL", RESOURCE)
    };
    let guessed = |secret: &str| secured(Db::Sqlite).with("PANAVERSITY_JWT_SECRET", secret);
    for (env, said) in [
        (secure(production(Db::Sqlite)), "the database is SQLite"),
        (guessed("too-short"), "can be guessed"),
        (guessed("secretsecretsecretsecretsecretsecret"), "can be guessed"),
        (guessed(&format!("{SECRET} {SECRET} {SECRET}")), "holds 3 secrets"),
        (TestEnv::new(Db::Sqlite).with("PANAVERSITY_JWT_SECRET", SECRET), "PANAVERSITY_RESOURCE_SERVER_URL"),
        (
            secured(Db::Sqlite).with("PANAVERSITY_AUTH_SERVER_URL", "http://login.example.com"),
            "http only for localhost",
        ),
        (secured(Db::Sqlite).with("PANAVERSITY_JWT_ALGORITHM", "none"), "HS256, HS384 or HS512"),
        (
            secured(Db::Sqlite).with("PANAVERSITY_RESOURCE_SERVER_URL", "https://books.example.com/{mcp}"),
            "its path of letters",
        ),
        (secured(Db::Sqlite).with("PANAVERSITY_JWT_ALGORITHM", "HS512"), "at least 64 characters"),
        (TestEnv::new(Db::Sqlite).with("PANAVERSITY_AUTH_ISSUER", "x"), "nobody would be authenticated"),
    ] {
        let output = config_check(&env);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert!(!stderr.contains(SECRET) && !stderr.contains("secretsecret"), "{stderr}");
    }
    assert!(config_check(&secure(production(Db::Postgres))).status.success());
}
