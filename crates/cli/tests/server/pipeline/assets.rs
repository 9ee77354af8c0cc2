//! `--static-dir`, both ways: every file of a site's `static/` arrives unchanged, large ones too,
//! and nothing else is touched.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use panaversity_testkit::proxy::Proxy;
use serde_json::{Value, json};

use super::interrupted::meanwhile;
use super::{Ended, Tree, hydrate, ingest, lessons, plant, tree};
use crate::fixtures::BOOK;
use crate::harness::{TestBackend, TestEnv};
use crate::scenarios::on_every_backend;

on_every_backend!(
    a_static_folder_goes_in_and_comes_out_byte_for_byte_and_only_once,
    an_archive_whose_connection_breaks_goes_on_over_another,
);

/// Bytes that do not compress.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

fn site() -> Tree {
    let mut files = Tree::new();
    for (name, bytes) in [
        (".nojekyll", vec![]),
        ("CNAME", b"book.example".to_vec()),
        ("img/a b (1).svg", b"<svg/>".to_vec()),
        ("img/\u{dc}ber/logo.PNG", b"\x89PNG\r\n\0\xff".to_vec()),
        ("images/logo.png", noise(200_000)),
        ("videos/large.mp4", noise(3_500_001)),
    ] {
        files.insert(name.to_owned(), bytes);
    }
    files
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

async fn a_static_folder_goes_in_and_comes_out_byte_for_byte_and_only_once(backend: TestBackend) {
    let env = TestEnv::new(backend);
    let server = env.start().await;
    let folder = |name: &str| env.folder().join(name);
    let (pages, mut assets) = (lessons(12), site());
    let (source, statics) = (plant(&folder("docs"), &pages), plant(&folder("static"), &assets));
    let with = |path: &Path| ["--static-dir".to_owned(), path.to_str().unwrap().to_owned()];
    let run = |more: &[&str]| {
        let flags = with(&statics);
        let more: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        ingest(&env, &server, &source, &more)
    };
    let (output, built) = (folder("site/docs"), folder("site/static"));
    let hydrated = || {
        let flags = with(&built);
        hydrate(&env, &server, &output, &[flags[0].as_str(), flags[1].as_str()]).expect_ok()
    };

    let report = run(&["--schema", "docusaurus"]).expect_ok();
    assert_eq!(report["created"].as_array().unwrap().len(), 18);
    assert_eq!(hydrated()["transferred"], 18);
    assert!(tree(&output) == pages && tree(&built) == assets, "the site differs from the source");
    assert_eq!(run(&[]).expect_ok()["unchanged"], 18);
    assert_eq!((&hydrated()["transferred"], &hydrated()["unchanged"]), (&json!(0), &json!(18)));

    assets.insert("videos/large.mp4".to_owned(), noise(3_600_000));
    assets.insert("img/new.svg".to_owned(), b"<svg>new</svg>".to_vec());
    assets.remove("CNAME");
    plant(&statics, &assets);
    fs::remove_file(statics.join("CNAME")).unwrap();
    ingest(&env, &server, &source, &["--delete"]).expect_ok();
    assert_eq!(hydrated()["transferred"], 0, "assets are left alone unless they are named");
    let report = run(&["--delete"]).expect_ok();
    assert_eq!(names(&report["updated"]), ["static/videos/large.mp4"]);
    assert_eq!(names(&report["deleted"]), ["static/CNAME"]);
    let report = hydrated();
    assert_eq!(names(&report["modified"]), ["static/videos/large.mp4"]);
    assert_eq!(names(&report["added"]), ["static/img/new.svg"]);
    assert_eq!(names(&report["deleted"]), ["static/CNAME"]);
    assert!(tree(&output) == pages && tree(&built) == assets, "the site differs from the source");
}

/// The connection is reset in the middle of the archive, once; the rest is downloaded over another.
async fn an_archive_whose_connection_breaks_goes_on_over_another(backend: TestBackend) {
    let env = TestEnv::new(backend);
    let server = env.start().await;
    let folder = |name: &str| env.folder().join(name);
    let flag = |path: &Path| path.to_str().unwrap().to_owned();
    let assets = Tree::from([("videos/large.mp4".to_owned(), noise(4_000_000))]);
    let (source, statics) = (plant(&folder("docs"), &lessons(20)), plant(&folder("static"), &assets));
    ingest(&env, &server, &source, &["--static-dir", &flag(&statics)]).expect_ok();

    let proxy = Proxy::to(server.url().strip_prefix("http://").unwrap().parse().unwrap()).await;
    proxy.delay(Duration::from_millis(10));
    let (output, built) = (folder("site/docs"), folder("site/static"));
    let mut run = env.command();
    run.args(["hydrate", "--json", "--url", &format!("http://{}", proxy.address()), "--book-id", BOOK]);
    run.arg("--output-dir").arg(&output).arg("--static-dir").arg(&built);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let staging = folder("site/.docs.panaversity/staging");
    let in_the_middle =
        meanwhile(&mut run, async || tree(&staging).values().any(|part| !part.is_empty())).await;
    assert!(in_the_middle, "it was too fast");
    let there: usize = tree(&staging).values().map(Vec::len).sum();
    assert!(there < 4_000_000, "it was too fast");
    proxy.reset();
    proxy.delay(Duration::ZERO);
    let ended = tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
    Ended::of(&ended).expect_ok();
    assert!(tree(&built) == assets && tree(&output) == tree(&source), "the site differs from the source");
}
