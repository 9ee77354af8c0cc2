//! Whole sites: everything in a Docusaurus site's `docs/` and `static/` is ingested and hydrated
//! byte for byte, whatever its kind and its name, on every combination.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Ended, Tree, hydrate, ingest, plant, tree};
use crate::fixtures::BOOK;
use crate::harness::{Db, Server, TestBackend, TestEnv};
use crate::scenarios::on_every_backend;

on_every_backend!(
    a_site_goes_in_whole_and_comes_out_byte_for_byte,
    a_path_that_changes_its_kind_changes_it_everywhere,
);

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";

/// Bytes that are not text and do not compress.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

/// Files beside pages, and names as people choose them.
fn docs() -> Tree {
    let files: [(&str, Vec<u8>); 32] = [
        ("index.md", b"# A\n\n![i](./img/p.png)\n".to_vec()),
        ("img/p.png", b"\x89PNG\r\n\x1a\n\x00\xff".to_vec()),
        ("img/empty.png", vec![]),
        ("img/Screenshot 2025-04-23 at 2.40.40\u{202f}PM.png", noise(300_000)),
        ("manual.pdf", noise(1_800_000)),
        ("data.csv", b"a,b\n1,2\n".to_vec()),
        ("latin.csv", b"caf\xe9;1\r\n".to_vec()),
        ("huge.csv", b"0123456789,abcdef\n".repeat(70_000)),
        ("long.md", "# Long\n\nmany words\u{e9} \n".repeat(25_000).into_bytes()),
        ("comp.jsx", b"export default () => <b/>;\n".to_vec()),
        ("comp.tsx", b"export const A = (): void => {};\n".to_vec()),
        ("code.ts", b"export const a: number = 1;\n".to_vec()),
        ("styles.module.css", b".a { color: red }\n".to_vec()),
        ("openapi.json", b"{\"a\": 1}".to_vec()),
        ("tags.yml", b"a:\n  label: A\n".to_vec()),
        ("_category_.json", b"{\"label\": \"Top\"}".to_vec()),
        ("film.mp4", noise(70_000)),
        ("font.woff2", noise(5_000)),
        ("archive.tar.gz", noise(2_000)),
        ("LICENSE", b"free\n".to_vec()),
        ("Dockerfile", b"FROM scratch\n".to_vec()),
        ("v1.0/notes.md", b"# 1.0\n".to_vec()),
        ("next.js/page.md", b"# next.js\n".to_vec()),
        ("设置（高级）.md", b"# s\n".to_vec()),
        ("it\u{2019}s new.md", b"# n\n".to_vec()),
        ("a\u{2013}b.md", b"# ab\n".to_vec()),
        ("🚀 start.md", b"# go\n".to_vec()),
        ("👩\u{200d}💻/الدليل.mdx", b"# rtl\n".to_vec()),
        ("हिन्दी/ภาษาไทย.md", b"# marks\n".to_vec()),
        ("a=b&c;d$e^f`g{h}~i@j,k+l'm(n).md", b"# odd\n".to_vec()),
        ("README.MD", b"not a page of Docusaurus\n".to_vec()),
        ("content/static/content.md", b"# folders of the same names\n".to_vec()),
    ];
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

fn statics() -> Tree {
    let files: [(&str, Vec<u8>); 10] = [
        (".nojekyll", vec![]),
        (".well-known/security.txt", b"Contact: book.example\n".to_vec()),
        ("CNAME", b"book.example".to_vec()),
        ("img/Screenshot 2025-04-23 at 2.40.40\u{202f}PM.png", noise(3_000)),
        ("img/图（一）.png", noise(100)),
        ("img/static/img/x.png", noise(10)),
        ("static/static.txt", b"static below static\n".to_vec()),
        ("data", b"no extension\n".to_vec()),
        ("🚀.svg", b"<svg/>".to_vec()),
        ("videos/part.ts", noise(200_000)),
    ];
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// An environment, its server, and the four folders of a site.
struct Site {
    env: TestEnv,
    server: Server,
    docs: PathBuf,
    statics: PathBuf,
    built: PathBuf,
    built_static: PathBuf,
}

impl Site {
    async fn new(on: impl Into<TestBackend>, docs: &Tree, statics: &Tree) -> Self {
        let env = TestEnv::new(on);
        let server = env.start().await;
        let folder = |name: &str| env.folder().join(name);
        let (built, built_static) = (folder("site/docs"), folder("site/static"));
        let (docs, statics) = (plant(&folder("docs"), docs), plant(&folder("static"), statics));
        Self { env, server, docs, statics, built, built_static }
    }

    fn ingest(&self, more: &[&str]) -> Ended {
        let flags = ["--schema", "docusaurus", "--static-dir", self.statics.to_str().unwrap()];
        ingest(&self.env, &self.server, &self.docs, &[&flags, more].concat())
    }

    fn hydrate(&self, more: &[&str]) -> Ended {
        let flags = ["--static-dir", self.built_static.to_str().unwrap()];
        hydrate(&self.env, &self.server, &self.built, &[&flags, more].concat())
    }

    #[track_caller]
    fn comes_out_as_it_went_in(&self) {
        for (source, built) in [(&self.docs, &self.built), (&self.statics, &self.built_static)] {
            let diff = Command::new("diff").arg("-r").args([source, built]).output().unwrap();
            assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
        }
    }
}

fn paths(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one.as_str().or(one["path"].as_str()).unwrap()).collect()
}

async fn a_site_goes_in_whole_and_comes_out_byte_for_byte(backend: TestBackend) {
    let site = Site::new(backend, &docs(), &statics()).await;
    let count = docs().len() + statics().len();
    let dry = site.ingest(&["--dry-run"]).expect_ok();
    assert_eq!(dry["created"].as_array().unwrap().len(), count, "{dry}");
    let report = site.ingest(&[]).expect_ok();
    assert_eq!(report["created"].as_array().unwrap().len(), count, "{report}");
    assert_eq!(site.ingest(&[]).expect_ok()["unchanged"], count);
    let report = site.hydrate(&[]).expect_ok();
    assert_eq!((&report["unknown"], report["added"].as_array().unwrap().len()), (&json!([]), count));
    site.comes_out_as_it_went_in();
    assert_eq!(site.hydrate(&[]).expect_ok()["unchanged"], count);

    // Everything is published under its own name, unless a bucket encodes names differently.
    site.server.all_published().await;
    let published = site.env.published();
    for (name, bytes) in &docs() {
        assert!(published.get(&format!("{BOOK}/content/{name}")) == Some(bytes), "{name}");
    }

    // A few changes are fetched one by one, each by its own route: as text, by a link, from
    // static/.
    for (name, bytes) in
        [("img/p.png", noise(90)), ("latin.csv", b"\xe9\n".to_vec()), ("data.csv", b"3\n".to_vec())]
    {
        fs::write(site.docs.join(name), bytes).unwrap();
    }
    fs::write(site.docs.join("manual.pdf"), noise(1_900_000)).unwrap();
    fs::write(site.statics.join("img/图（一）.png"), noise(101)).unwrap();
    fs::remove_file(site.docs.join("film.mp4")).unwrap();
    let report = site.ingest(&["--delete"]).expect_ok();
    assert_eq!(paths(&report["deleted"]), ["content/film.mp4"]);
    assert_eq!(report["updated"].as_array().unwrap().len(), 5);
    let report = site.hydrate(&[]).expect_ok();
    assert_eq!((&report["transferred"], &report["deleted"]), (&json!(5), &json!(["film.mp4"])));
    site.comes_out_as_it_went_in();
}

async fn a_path_that_changes_its_kind_changes_it_everywhere(backend: TestBackend) {
    let (docs, statics) = (docs(), statics());
    let site = Site::new(backend, &docs, &statics).await;
    site.ingest(&[]).expect_ok();
    site.hydrate(&[]).expect_ok();
    let swap = |folder: &Path, name: &str, inner: Option<&str>| {
        let path = folder.join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        match inner {
            Some(inner) => plant(&path, &[(inner.to_owned(), noise(200_000))].into()),
            None => plant(folder, &[(name.to_owned(), b"a file\n".to_vec())].into()),
        };
    };
    for full in [&[][..], &["--full-rebuild"]] {
        for inner in [Some("deep/x.txt"), None] {
            swap(&site.statics, "data", inner);
            swap(&site.docs, "LICENSE", inner);
            site.ingest(&["--delete"]).expect_ok();
            let report = site.hydrate(full).expect_ok();
            assert_eq!(report["deleted"].as_array().unwrap().len(), 2, "{report}");
            site.comes_out_as_it_went_in();
            site.server.all_published().await;
            let published = site.env.published();
            let due: Tree = [("content", &site.docs), ("static", &site.statics)]
                .into_iter()
                .flat_map(|(part, folder)| {
                    tree(folder)
                        .into_iter()
                        .map(move |(name, bytes)| (format!("{BOOK}/{part}/{name}"), bytes))
                })
                .collect();
            assert!(published == due, "the tree has another kind");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_about_a_file_is_said_and_it_goes_in_all_the_same() {
    let odd: Tree = [
        ("cafe\u{301}.md", b"# nfd\n".to_vec()),
        ("aux.md", b"# device\n".to_vec()),
        ("img/big.png", POINTER.as_bytes().to_vec()),
        ("plain.md", b"# plain\n".to_vec()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into();
    let site = Site::new(Db::Sqlite, &odd, &[("lfs.bin".to_owned(), POINTER.into())].into()).await;
    for _ in 0..2 {
        let report = site.ingest(&[]).expect_ok();
        assert_eq!(
            paths(&report["warnings"]),
            ["content/aux.md", "content/caf\u{e9}.md", "content/img/big.png", "static/lfs.bin"]
        );
        for (n, said) in ["Windows", "NFD", "git lfs pull", "git lfs pull"].iter().enumerate() {
            assert!(report["warnings"][n]["reason"].as_str().unwrap().contains(said), "{report}");
        }
    }
    site.hydrate(&[]).expect_ok();
    assert_eq!(fs::read(site.built.join("caf\u{e9}.md")).unwrap(), b"# nfd\n");
    // Two names that differ only in normalization can't both be the file.
    fs::write(site.docs.join("caf\u{e9}.md"), "# nfc").unwrap();
    let report = site.ingest(&[]).expect_failed();
    assert_eq!(paths(&report["refused"]), ["content/caf\u{e9}.md"]);
    assert!(report["refused"][0]["reason"].as_str().unwrap().contains("NFC and NFD"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_site_is_refused_by_name_with_the_rule_of_its_folder() {
    let bad: Tree = ["a#b.md", "a[b].md", "a?.md", "a!.png", "trailing .csv ", "plain.md"]
        .map(|name| (name.to_owned(), b"x".to_vec()))
        .into();
    let statics: Tree = [("a|b.png".to_owned(), b"x".to_vec())].into();
    let site = Site::new(Db::Sqlite, &bad, &statics).await;
    let report = site.ingest(&[]).expect_failed();
    assert_eq!(paths(&report["created"]), ["content/plain.md"]);
    let refused = report["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 6, "{report}");
    for problem in refused {
        let (path, reason) = (problem["path"].as_str().unwrap(), problem["reason"].as_str().unwrap());
        let rule =
            if path.starts_with("static/") { "static/{path}:" } else { "content/{path}, at most 8 deep:" };
        assert!(reason.starts_with(&format!("Path must match {rule}")), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_folder_by_hand_is_adopted_whatever_its_kind() {
    let site = Site::new(Db::Sqlite, &docs(), &statics()).await;
    site.ingest(&[]).expect_ok();
    site.server.all_published().await;
    let book = site.env.storage_root().join("books").join(BOOK);
    let by_hand: Tree = [
        ("content/img/new（新）.png", noise(200_000)),
        ("content/latin-2.csv", b"\xe9".to_vec()),
        ("content/long-2.md", b"many words \n".repeat(60_000)),
        ("static/new.bin", noise(10)),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into();
    plant(&book, &by_hand);
    fs::write(book.join("content/img/p.png"), noise(77)).unwrap();
    fs::write(book.join("content/latin.md"), b"\xe9").unwrap();
    let output = site.env.command().args(["reconcile", "--adopt", "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcome = |outcome: &str| {
        let all = said["findings"].as_array().unwrap().iter().filter(|finding| finding["outcome"] == outcome);
        all.count()
    };
    assert_eq!((outcome("adopted"), outcome("refused")), (5, 1), "{said}");
    site.hydrate(&[]).expect_ok();
    let built = tree(&site.built);
    assert!(built["img/new（新）.png"] == noise(200_000) && built["img/p.png"] == noise(77));
    assert!(built["latin-2.csv"] == b"\xe9" && built["long-2.md"].len() == 720_000);
    assert!(tree(&site.built_static)["new.bin"] == noise(10));
}
