//! Benchmark of hostile callers: the latency of a well-behaved client beside each attack, the codes that the
//! attacker got, and the server's peak memory.
//!
//! Attackers have a token of their own where one is needed, and come from the same address, which is the
//! harder case. Both sides and the server share the machine's cores.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use panaversity_testkit::load::{Connection, Endpoint};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::authentication::{secured, token};
use crate::server::{BenchServer, BenchSettings};
use crate::table::{Table, say};

const LASTING: Duration = Duration::from_secs(5);
/// Pause of the well-behaved client between two calls.
const PAUSE: Duration = Duration::from_millis(10);
const ATTACKERS: usize = 8;
/// Connections of the attacks that only keep connections.
const IDLE_ATTACKERS: usize = 2_000;
const LESSON: &str = "content/01-Part/01-Chapter/01-lesson.md";
/// Greatest p95 of the well-behaved client: this often its p95 alone in the same minute, and these milliseconds,
/// as attackers and server share the cores.
const BAR: (f64, f64) = (3.0, 25.0);
/// Greatest peak of the server.
const BAR_MB: f64 = 300.0;

/// Number of answers by status and code.
type Tally = BTreeMap<String, usize>;

/// An attack: its name, and the body of the attacker's n-th request.
struct Flood {
    name: &'static str,
    body: fn(usize) -> String,
    /// What it may be answered with besides 429.
    answers: &'static [&'static str],
}

const FLOODS: &[Flood] = &[
    Flood { name: "tiny requests", body: |_| list(), answers: &["200"] },
    Flood {
        name: "traversal in every path",
        body: |n| {
            let path = [
                "../../etc/passwd",
                "content/../../x.md",
                "/etc/passwd",
                "content/%2e%2e/x.md",
                "~/x",
                "a\\..\\b",
            ][n % 6];
            match n % 3 {
                0 => call("read_content", json!({ "book_id": "bench-book", "path": path })),
                1 => call("write_content", json!({ "book_id": "bench-book", "path": path, "content": "x" })),
                _ => call(
                    "get_asset",
                    json!({ "book_id": "bench-book", "asset_type": "img", "filename": path }),
                ),
            }
        },
        answers: &["INVALID_PATH", "SCHEMA_VIOLATION", "INVALID_ARGUMENT"],
    },
    Flood {
        name: "control characters, long and deep names",
        body: |n| {
            let path = [
                "content/\u{7}.md".to_owned(),
                format!("content/{}.md", "x".repeat(100_000)),
                format!("content/{}x.md", "a/".repeat(5_000)),
                "content/e\u{301}.md".to_owned(),
            ];
            call("write_content", json!({ "book_id": "bench-book", "path": path[n % 4], "content": "x" }))
        },
        answers: &["INVALID_PATH", "SCHEMA_VIOLATION"],
    },
    Flood {
        name: "reserved names as ids",
        body: |n| {
            let name = ["__base__", "con", "..", "*", "' OR 1=1 --", "users/eve"][n % 6];
            call("read_content", json!({ "book_id": name, "path": LESSON, "user_id": name }))
        },
        answers: &["INVALID_ARGUMENT", "BOOK_NOT_FOUND", "FORBIDDEN"],
    },
    Flood {
        name: "pattern bombs",
        body: |n| {
            let pattern = [
                "{a,b}".repeat(200),
                "*a".repeat(1_000),
                format!("{}x{}", "{".repeat(500), "}".repeat(500)),
                "**/".repeat(2_000),
                "[a-z]".repeat(1_000),
            ];
            call("glob_search", json!({ "book_id": "bench-book", "pattern": pattern[n % 5] }))
        },
        answers: &["200", "INVALID_ARGUMENT", "INVALID_PATH"],
    },
    Flood {
        name: "deep JSON, duplicate keys, batches",
        body: |n| match n % 3 {
            0 => format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{}{}}}",
                "[".repeat(50_000),
                "]".repeat(50_000)
            ),
            1 => format!(
                "{{\"id\":1,{}\"jsonrpc\":\"2.0\",\"method\":\"tools/list\"}}",
                "\"id\":2,".repeat(5_000)
            ),
            _ => format!("[{}]", vec![list(); 200].join(",")),
        },
        answers: &["200", "INVALID_ARGUMENT"],
    },
    Flood {
        name: "bodies of 1 MB",
        body: |_| {
            call(
                "write_content",
                json!({ "book_id": "bench-book", "path": LESSON, "content": "x".repeat(1_000_000) }),
            )
        },
        answers: &["TOO_LARGE", "TIMEOUT"],
    },
];

fn list() -> String {
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#.to_owned()
}

fn call(tool: &str, arguments: Value) -> String {
    panaversity_testkit::load::call_body(tool, arguments)
}

/// Each attack beside a well-behaved client.
pub(crate) async fn beside_each(table: &mut Table) {
    // The limits of the defaults, and no token for the attackers of the last flood.
    let limits: BenchSettings = vec![
        ("PANAVERSITY_RATE_LIMIT_PER_SECOND", "1000".to_owned()),
        ("PANAVERSITY_RATE_LIMIT_BURST", "2000".to_owned()),
    ];
    let server = BenchServer::with_settings([secured(), limits].concat()).await;
    let good = Endpoint { address: server.address.clone(), token: Some(token("well-behaved")) };
    let lesson = json!({ "book_id": "bench-book", "path": LESSON, "content": "a lesson\n".repeat(200) });
    Connection::to(&good).await.call("write_content", lesson).await;
    for flood in FLOODS {
        let attack =
            join_all((0..ATTACKERS).map(|_| flooded(&server.address, Some(token("attacker")), flood.body)));
        row(table, &server, &good, flood.name, attack, flood.answers).await;
    }
    let guesses =
        join_all((0..ATTACKERS).map(|_| flooded(&server.address, Some("eyJ.guess".to_owned()), |_| list())));
    row(table, &server, &good, "guessed tokens", guesses, &["UNAUTHENTICATED"]).await;
    for (name, head, answers) in [
        (
            "heads that never end",
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned(),
            &["none", "408"][..],
        ),
        ("bodies that never end", slow_body(), &["none", "408", "TIMEOUT", "RATE_LIMITED", "503"]),
        ("connections that say nothing", String::new(), &["none"]),
    ] {
        let attack = join_all((0..IDLE_ATTACKERS).map(|_| stuck(&server.address, head.clone())));
        row(table, &server, &good, name, attack, answers).await;
    }
    let readers = join_all((0..200).map(|_| slow_reader(&server.address)));
    row(table, &server, &good, "answers that nobody reads", readers, &["none", "200"]).await;
}

fn slow_body() -> String {
    let token = token("attacker");
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{{\"a\":\""
    )
}

/// One attack's row: the client alone, then beside it.
async fn row(
    table: &mut Table,
    server: &BenchServer,
    good: &Endpoint,
    name: &str,
    attack: impl Future<Output = Vec<Tally>>,
    expected: &[&str],
) {
    let alone = paced(good).await;
    server.forget_peak();
    let (beside, tallies) = futures::join!(paced(good), attack);
    let (_, peak) = server.memory();
    let mut answers = Tally::new();
    for (answer, number) in tallies.into_iter().flatten() {
        *answers.entry(answer).or_default() += number;
    }
    let right = answers.keys().all(|answer| answer == "RATE_LIMITED" || expected.contains(&answer.as_str()));
    let limit = BAR.0 * alone[1] + BAR.1;
    let (quick, small) = (beside[1] < limit, peak < BAR_MB);
    say(&format!("  {name}: attackers got {answers:?}"));
    table.add(
        &format!("beside {name}"),
        format!("p50 {:.1}, p95 {:.1} ms; peak {peak:.0} MB", beside[0], beside[1]),
        format!("alone: p50 {:.1}, p95 {:.1} ms", alone[0], alone[1]),
        format!("p95 {limit:.0} ms, {BAR_MB} MB, right codes"),
        right && quick && small,
    );
}

/// A client that reads and writes at a sensible pace: median and p95 of its calls, in milliseconds.
async fn paced(endpoint: &Endpoint) -> [f64; 2] {
    let mut connection = Connection::to(endpoint).await;
    let (began, mut each) = (Instant::now(), Vec::new());
    while began.elapsed() < LASTING {
        tokio::time::sleep(PAUSE).await;
        let path = format!(
            "content/01-Part/01-Chapter/{:02}-own-{}.md",
            each.len() % 100,
            began.elapsed().as_nanos()
        );
        let body = if each.len().is_multiple_of(2) {
            call("read_content", json!({ "book_id": "bench-book", "path": LESSON }))
        } else {
            call("write_content", json!({ "book_id": "bench-book", "path": path, "content": "a line\n" }))
        };
        let start = Instant::now();
        let answer = connection.post(&body).await;
        assert!(!String::from_utf8_lossy(answer).contains("\"isError\":true"), "it is served");
        each.push(start.elapsed().as_secs_f64() * 1e3);
    }
    each.sort_by(f64::total_cmp);
    [each[each.len() / 2], each[each.len() * 95 / 100]]
}

/// Sends requests without a pause.
async fn flooded(address: &str, token: Option<String>, body: fn(usize) -> String) -> Tally {
    let (began, mut tally, mut sent) = (Instant::now(), Tally::new(), 0);
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    while began.elapsed() < LASTING {
        let body = body(sent);
        sent += 1;
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{authorization}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let written = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
        match written.ok().and(answer_of(&mut stream).await) {
            Some(answer) => *tally.entry(answer).or_default() += 1,
            None => stream = TcpStream::connect(address).await.expect("a connection"),
        }
    }
    tally
}

/// The next answer's error code, or its status if it has none; `None`: the connection was closed.
async fn answer_of(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        if body.len() < length.and_then(|length| length.parse().ok()).unwrap_or(0) {
            continue;
        }
        let status = head.split(' ').nth(1).unwrap_or("none").to_owned();
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        let error =
            [&answer["error"]["data"]["code"], &answer["result"]["structuredContent"]["error"]["code"]];
        return Some(error.iter().find_map(|code| code.as_str()).map_or(status, str::to_owned));
    }
}

/// Sends the begin of a request and waits.
async fn stuck(address: &str, head: String) -> Tally {
    let Ok(mut stream) = TcpStream::connect(address).await else { return Tally::new() };
    let _ = stream.write_all(head.as_bytes()).await;
    let answer = tokio::time::timeout(LASTING, answer_of(&mut stream)).await.ok().flatten();
    Tally::from([(answer.unwrap_or_else(|| "none".to_owned()), 1)])
}

/// Asks for answers again and again, and reads none.
async fn slow_reader(address: &str) -> Tally {
    let Ok(mut stream) = TcpStream::connect(address).await else { return Tally::new() };
    let body = list();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token("attacker"),
        body.len()
    );
    let asking = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    let _ = tokio::time::timeout(LASTING, asking).await;
    Tally::from([("none".to_owned(), 1)])
}
