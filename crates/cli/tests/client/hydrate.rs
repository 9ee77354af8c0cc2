//! `hydrate`: what arrives, what is never touched, and what a fault leaves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use panaversity_client::SyncError;
use panaversity_client::hydrate::{HydrateOptions, HydrateReport};
use panaversity_client::progress::NoProgress;
use panaversity_client::report::Report;
use panaversity_model::{BookId, ContentHash};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::faulty_proxy::Twist;
use crate::test_server::{BOOK, TestServer};

mod archives;
mod assets;
mod kinds;

const A: &str = "01-Part/01-Chapter/01-a.md";
const B: &str = "01-Part/01-Chapter/02-b.md";
const C: &str = "02-Part/01-Chapter/03-c.md";

fn page(path: &str) -> String {
    format!("content/{path}")
}

/// A server with three pages and an asset, and a folder for the output.
async fn setup() -> (TestServer, TempDir, HydrateOptions) {
    setup_on(TestServer::start().await).await
}

/// The same on this server.
async fn setup_on(server: TestServer) -> (TestServer, TempDir, HydrateOptions) {
    server.author.create_docusaurus(BOOK).await;
    server
        .author
        .put(BOOK, &[(&page(A), "a"), (&page(B), "same"), (&page(C), "same"), ("static/img/x.png", "x")])
        .await;
    let folder = TempDir::new().unwrap();
    let args = HydrateOptions {
        book_id: BookId::parse(BOOK).unwrap(),
        output_dir: folder.path().join("out"),
        static_dir: None,
        full_rebuild: false,
        prune: false,
        force: false,
        progress: Arc::new(NoProgress),
    };
    (server, folder, args)
}

fn text(args: &HydrateOptions, name: &str) -> Option<String> {
    fs::read_to_string(args.output_dir.join(name)).ok()
}

/// Every file of the output, by name.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    files
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| {
            let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(entry.path()).unwrap_or_default())
        })
        .collect()
}

/// What the output must be.
async fn book(server: &TestServer) -> BTreeMap<String, String> {
    let files = server.author.files(BOOK).await.into_iter();
    files
        .filter_map(|(path, text)| {
            Some((path.strip_prefix("content/")?.to_owned(), String::from_utf8(text.into()).unwrap()))
        })
        .collect()
}

/// What the last run wrote down about its folders.
fn state(folder: &TempDir) -> Value {
    serde_json::from_slice(&fs::read(state_file(folder)).unwrap()).unwrap()
}

fn state_file(folder: &TempDir) -> PathBuf {
    folder.path().join(".out.panaversity/state.json")
}

fn hash(text: &str) -> String {
    ContentHash::of(text.as_bytes()).to_string()
}

fn summary(report: &HydrateReport) -> String {
    report.lines().pop().unwrap()
}

fn stopped(outcome: Result<HydrateReport, SyncError>) -> String {
    let failure = outcome.unwrap_err();
    assert!(!failure.is_usage);
    failure.files.iter().fold(failure.message, |text, problem| text + "\n" + &problem.line("-"))
}

/// Runs until so many calls hang, and kills the run there.
async fn killed(server: &TestServer, args: &HydrateOptions, hanging: usize) {
    tokio::select! {
        ended = server.hydrate(args) => panic!("it was not killed: {ended:?}"),
        () = server.proxy.hung(hanging) => {}
    }
}

/// Runs until the server is asked for something by this name, and kills the run there; what was
/// called by another name before is answered as `before` says.
async fn killed_at(
    server: &TestServer,
    args: &HydrateOptions,
    name: &'static str,
    before: impl Fn(&str) -> Twist + Send + 'static,
) {
    server.proxy.on_call(
        move |call| {
            if call.tool.starts_with(name) { Twist::Hang } else { before(&call.tool) }
        },
    );
    killed(server, args, 1).await;
    server.proxy.honest();
}

/// The first of a download, then a cut.
fn cut_at(bytes: usize) -> impl Fn(&str) -> Twist + Send + 'static {
    move |tool| if matches!(tool, "archive.zip" | "static") { Twist::Cut(bytes) } else { Twist::Honest }
}

#[tokio::test]
async fn the_second_run_transfers_nothing_and_the_third_only_what_changed() {
    let (server, _folder, args) = setup().await;
    server.proxy.page_size(2);
    let first = server.hydrate(&args).await.unwrap();
    assert_eq!(summary(&first), "hydrate ai-python: 3 fetched, 0 deleted, 0 unchanged");
    assert_eq!(first.transferred, 2, "the same bytes are read once");
    assert_eq!(tree(&args.output_dir), book(&server).await);
    server.proxy.calls();

    let second = server.hydrate(&args).await.unwrap();
    assert_eq!(summary(&second), "hydrate ai-python: 0 fetched, 0 deleted, 3 unchanged");
    assert_eq!(server.proxy.calls(), ["plan_build"]);

    server.author.put(BOOK, &[(&page(A), "A"), ("content/README.md", "new")]).await;
    server.author.remove(BOOK, &page(C)).await;
    fs::remove_file(args.output_dir.join(B)).unwrap();
    let third = server.hydrate(&args).await.unwrap();
    assert_eq!(
        third.lines(),
        [
            format!("added {B}"),
            "added README.md".to_owned(),
            format!("modified {A}"),
            format!("deleted {C}"),
            "hydrate ai-python: 3 fetched, 1 deleted, 0 unchanged".to_owned(),
        ]
    );
    assert_eq!(tree(&args.output_dir), book(&server).await);
    assert!(!args.output_dir.join("02-Part").exists(), "an emptied folder goes");
}

#[tokio::test]
async fn a_forgotten_manifest_means_the_whole_list_but_no_transfer() {
    let (server, _folder, args) = setup().await;
    server.hydrate(&args).await.unwrap();
    server.author.remove(BOOK, &page(C)).await;
    server.proxy.forget_manifests();
    server.proxy.calls();
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!(summary(&report), "hydrate ai-python: 0 fetched, 1 deleted, 2 unchanged");
    assert_eq!(server.proxy.calls(), ["plan_build", "plan_build"]);
}

#[tokio::test]
async fn a_list_that_lost_a_file_deletes_nothing() {
    let (server, _folder, args) = setup().await;
    server.hydrate(&args).await.unwrap();
    let before = tree(&args.output_dir);
    server.author.put(BOOK, &[("content/README.md", "new")]).await;
    server.proxy.forget_manifests();
    server.proxy.on_call(|call| if call.tool == "plan_build" { Twist::Corrupt } else { Twist::Honest });
    assert!(stopped(server.hydrate(&args).await).contains("manifest_hash"));
    assert_eq!(tree(&args.output_dir), before);
}

#[tokio::test]
async fn corrupt_content_is_never_installed() {
    let (server, _folder, args) = setup().await;
    server.proxy.no_archives();
    server.proxy.on_call(|call| if call.path == page(A) { Twist::Corrupt } else { Twist::Honest });
    let why = stopped(server.hydrate(&args).await);
    assert!(why.contains(A) && why.contains("instead of"), "{why}");
    assert_eq!(tree(&args.output_dir), BTreeMap::new());
    server.proxy.honest();
    server.proxy.calls();
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!(report.transferred, 1, "what was staged is used");
    assert_eq!(tree(&args.output_dir), book(&server).await);
}

#[tokio::test]
async fn a_damaged_staged_file_is_fetched_again() {
    let (server, folder, args) = setup().await;
    server.proxy.no_archives();
    server.proxy.on_call(|call| if call.path == page(A) { Twist::Corrupt } else { Twist::Honest });
    stopped(server.hydrate(&args).await);
    let staged = folder.path().join(".out.panaversity/staging").join(hash("same"));
    fs::write(staged, "").unwrap();
    server.proxy.honest();
    assert_eq!(server.hydrate(&args).await.unwrap().transferred, 2);
    assert_eq!(tree(&args.output_dir), book(&server).await);
}

#[tokio::test]
async fn a_foreign_file_in_the_way_stops_the_run_before_anything_is_touched() {
    let (server, _folder, args) = setup().await;
    server.hydrate(&args).await.unwrap();
    fs::write(args.output_dir.join(A), "my own work").unwrap();
    fs::write(args.output_dir.join("notes.txt"), "in nobody's way").unwrap();
    server.author.put(BOOK, &[(&page(A), "A"), (&page(B), "B")]).await;
    let before = tree(&args.output_dir);
    let why = stopped(server.hydrate(&args).await);
    assert!(why.contains("--full-rebuild") && why.contains(A), "{why}");
    assert_eq!(tree(&args.output_dir), before);

    let rebuild = HydrateOptions { full_rebuild: true, ..args.clone() };
    assert_eq!(server.hydrate(&rebuild).await.unwrap().modified.len(), 2);
    let mut after = book(&server).await;
    after.insert("notes.txt".to_owned(), "in nobody's way".to_owned());
    assert_eq!(tree(&args.output_dir), after);
    assert_eq!(server.hydrate(&args).await.unwrap().unchanged, 3);
}

#[tokio::test]
async fn a_file_that_holds_the_wanted_bytes_already_is_nobody_s_harm() {
    let (server, _folder, args) = setup().await;
    fs::create_dir_all(args.output_dir.join(A).parent().unwrap()).unwrap();
    fs::write(args.output_dir.join(A), "a").unwrap();
    assert_eq!(server.hydrate(&args).await.unwrap().unchanged, 1);
    server.author.remove(BOOK, &page(A)).await;
    assert_eq!(server.hydrate(&args).await.unwrap().deleted, [A]);
}

#[tokio::test]
async fn a_changed_file_is_not_deleted_with_its_page() {
    let (server, _folder, args) = setup().await;
    server.hydrate(&args).await.unwrap();
    fs::write(args.output_dir.join(A), "my own work").unwrap();
    server.author.remove(BOOK, &page(A)).await;
    assert!(stopped(server.hydrate(&args).await).contains(A));
    assert_eq!(text(&args, A).as_deref(), Some("my own work"));
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let (server, folder, args) = setup().await;
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("01-Chapter")).unwrap();
    fs::create_dir_all(&args.output_dir).unwrap();
    symlink(&elsewhere, args.output_dir.join("01-Part")).unwrap();
    for full_rebuild in [false, true] {
        let why = stopped(server.hydrate(&HydrateOptions { full_rebuild, ..args.clone() }).await);
        assert!(why.contains("is a link"), "{why}");
    }
    fs::remove_file(args.output_dir.join("01-Part")).unwrap();
    fs::write(folder.path().join("victim"), "victim").unwrap();
    fs::create_dir_all(args.output_dir.join("01-Part/01-Chapter")).unwrap();
    symlink(folder.path().join("victim"), args.output_dir.join(A)).unwrap();
    assert!(stopped(server.hydrate(&args).await).contains("it is a link"));
    assert_eq!(fs::read_to_string(folder.path().join("victim")).unwrap(), "victim");
    assert_eq!(tree(&elsewhere), BTreeMap::new());
}

#[tokio::test]
async fn a_path_that_is_not_safe_on_a_disk_is_never_joined_to_a_folder() {
    let (server, folder, args) = setup().await;
    for path in ["content/../../evil.md", "content//evil.md", "content/.git/config", "content/evil|x"] {
        server.proxy.on_call(move |_| Twist::Listed(path));
        assert!(stopped(server.hydrate(&args).await).contains("not safe"), "{path}");
    }
    assert!(!args.output_dir.exists() && !folder.path().join("evil.md").exists());
}

#[tokio::test]
async fn another_book_needs_a_full_rebuild() {
    let (server, _folder, args) = setup().await;
    server.hydrate(&args).await.unwrap();
    server.author.put("other-book", &[(&page(A), "other")]).await;
    let book_id = BookId::parse("other-book").unwrap();
    let mut other = HydrateOptions { book_id, ..args.clone() };
    assert!(stopped(server.hydrate(&other).await).contains("holds the book ai-python"));
    other.full_rebuild = true;
    server.hydrate(&other).await.unwrap();
    assert_eq!(tree(&args.output_dir), BTreeMap::from([(A.to_owned(), "other".to_owned())]));
}

#[tokio::test]
async fn two_runs_into_one_folder_do_not_meet() {
    let (server, _folder, args) = setup().await;
    server.proxy.on_call(|_| Twist::Hang);
    let mut first = Box::pin(server.hydrate(&args));
    tokio::select! {
        ended = &mut first => panic!("it does not hang: {ended:?}"),
        () = server.proxy.hung(1) => {}
    }
    server.proxy.honest();
    assert!(stopped(server.hydrate(&args).await).contains("another hydrate"));
    drop(first);
    server.hydrate(&args).await.unwrap();
}

#[tokio::test]
async fn a_missing_book_and_a_broken_server_leave_the_output_alone() {
    let (server, _folder, args) = setup().await;
    server.hydrate(&args).await.unwrap();
    let book_id = BookId::parse("no-such-book").unwrap();
    let output_dir = args.output_dir.with_file_name("other");
    let missing = HydrateOptions { book_id, output_dir, ..args.clone() };
    assert!(stopped(server.hydrate(&missing).await).contains("BOOK_NOT_FOUND"));
    assert!(!missing.output_dir.exists());

    server.author.put(BOOK, &[(&page(A), "A"), (&page(B), "B")]).await;
    let before = tree(&args.output_dir);
    server.proxy.on_call(|call| if call.path == page(B) { Twist::Fault } else { Twist::Honest });
    assert!(stopped(server.hydrate(&args).await).contains("HTTP 500"));
    assert_eq!(tree(&args.output_dir), before);
}

#[tokio::test]
async fn a_killed_transfer_is_completed_by_the_next_run() {
    let (server, _folder, args) = setup().await;
    server.proxy.no_archives();
    for n in 10..42 {
        server.author.put(BOOK, &[(&format!("content/01-Part/01-Chapter/{n}-x.md"), &format!("{n}"))]).await;
    }
    // When as many calls hang as are ever in flight, everything before has been dealt with.
    for (kill_at, hanging) in [(1, 1), (3, 16), (6, 16), (18, 16)] {
        server.proxy.calls();
        server.proxy.on_call(move |call| if call.number >= kill_at { Twist::Hang } else { Twist::Honest });
        killed(&server, &args, hanging).await;
        assert_eq!(tree(&args.output_dir), BTreeMap::new());
    }
    server.proxy.honest();
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!(report.transferred, 16, "of 34: 3 came before the third kill, 15 before the last");
    assert_eq!(tree(&args.output_dir), book(&server).await);
}

#[tokio::test]
async fn a_killed_installation_is_recognised_whatever_the_book_does_meanwhile() {
    let (server, folder, args) = setup().await;
    server.hydrate(&args).await.unwrap();
    let known = book(&server).await;
    // As a killed installation leaves it: A is new, B is old, D is there, and the intent says so.
    let mut state = state(&folder);
    state["manifest_hash"] = Value::Null;
    let d = "03-Part/01-Chapter/04-d.md";
    let gone = "04-Part/01-Chapter/05-gone.md";
    fs::create_dir_all(args.output_dir.join(d).parent().unwrap()).unwrap();
    fs::create_dir_all(args.output_dir.join(gone).parent().unwrap()).unwrap();
    state["files"][page(gone)] = state["files"][page(A)].clone();
    state["installing"] = json!({page(A): hash("A"), page(B): hash("B"), page(d): hash("d")});
    fs::write(state_file(&folder), state.to_string()).unwrap();
    fs::write(args.output_dir.join(A), "A").unwrap();
    fs::write(args.output_dir.join(d), "d").unwrap();
    assert_eq!(known.len(), 3);

    server.author.put(BOOK, &[(&page(A), "third"), (&page(B), "B")]).await;
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!((report.modified.len(), report.deleted), (2, vec![d.to_owned()]));
    assert_eq!(tree(&args.output_dir), book(&server).await);
    assert!(!args.output_dir.join("03-Part").exists() && !args.output_dir.join("04-Part").exists());
}

#[tokio::test]
async fn a_state_that_does_not_read_stops_the_run() {
    let (server, folder, args) = setup().await;
    server.hydrate(&args).await.unwrap();
    fs::write(state_file(&folder), "{").unwrap();
    assert!(stopped(server.hydrate(&args).await).contains("--full-rebuild"));
    assert!(server.hydrate(&HydrateOptions { full_rebuild: true, ..args }).await.is_ok());
}
