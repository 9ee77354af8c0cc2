//! `hydrate` against the fake server: what arrives, what is never touched, and what a fault leaves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::super::STATIC;
use super::super::fake::{Fake, Twist};
use super::*;

mod archives;
mod assets;
mod kinds;

const A: &str = "01-Part/01-Chapter/01-a.md";
const B: &str = "01-Part/01-Chapter/02-b.md";
const C: &str = "02-Part/01-Chapter/03-c.md";
const BOOK: &str = "ai-python";

fn page(path: &str) -> String {
    format!("content/{path}")
}

/// A server with three pages and an asset, and a folder for the output.
async fn setup() -> (Fake, TempDir, HydrateArgs) {
    let fake = Fake::start().await;
    fake.put(BOOK, &[(&page(A), "a"), (&page(B), "same"), (&page(C), "same"), ("static/img/x.png", "x")]);
    let folder = TempDir::new().unwrap();
    let args = HydrateArgs {
        book_id: BookId::parse(BOOK).unwrap(),
        output_dir: folder.path().join("out"),
        static_dir: None,
        full_rebuild: false,
        prune: false,
        force: false,
        server: ServerArgs { url: Some(fake.url.clone()) },
        json: false,
    };
    (fake, folder, args)
}

fn text(args: &HydrateArgs, name: &str) -> Option<String> {
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
fn book(fake: &Fake) -> BTreeMap<String, String> {
    let files = fake.files(BOOK).into_iter();
    files
        .filter_map(|(path, text)| {
            Some((path.strip_prefix(CONTENT)?.to_owned(), String::from_utf8(text.into()).unwrap()))
        })
        .collect()
}

fn summary(report: &HydrateReport) -> String {
    report.lines().pop().unwrap()
}

fn stopped(outcome: Result<HydrateReport, Failure>) -> String {
    let failure = outcome.unwrap_err();
    assert!(!failure.is_usage);
    failure.files.iter().fold(failure.message, |text, problem| text + "\n" + &problem.line("-"))
}

/// Runs until the server is asked for something by this name, and kills the run there; what was
/// called by another name before is answered as `before` says.
async fn killed_at(
    fake: &Fake,
    args: &HydrateArgs,
    name: &'static str,
    before: impl Fn(&str) -> Twist + Send + 'static,
) {
    let reached = Arc::new(tokio::sync::Notify::new());
    let asked = reached.clone();
    fake.on_call(move |call| {
        if !call.tool.starts_with(name) {
            return before(&call.tool);
        }
        asked.notify_one();
        Twist::Hang
    });
    tokio::select! {
        ended = hydrate(args) => panic!("it was not killed: {ended:?}"),
        () = reached.notified() => {}
    }
    fake.honest();
}

/// The first of a download, then a cut.
fn cut_at(bytes: usize) -> impl Fn(&str) -> Twist + Send + 'static {
    move |tool| if matches!(tool, "archive.zip" | "static") { Twist::Cut(bytes) } else { Twist::Honest }
}

#[tokio::test]
async fn the_second_run_transfers_nothing_and_the_third_only_what_changed() {
    let (fake, _folder, args) = setup().await;
    fake.page_size(2);
    let first = hydrate(&args).await.unwrap();
    assert_eq!(summary(&first), "hydrate ai-python: 3 fetched, 0 deleted, 0 unchanged");
    assert_eq!(first.transferred, 2, "the same bytes are read once");
    assert_eq!(tree(&args.output_dir), book(&fake));
    fake.calls();

    let second = hydrate(&args).await.unwrap();
    assert_eq!(summary(&second), "hydrate ai-python: 0 fetched, 0 deleted, 3 unchanged");
    assert_eq!(fake.calls(), ["plan_build"]);

    fake.put(BOOK, &[(&page(A), "A"), ("content/README.md", "new")]);
    fake.remove(BOOK, &page(C));
    fs::remove_file(args.output_dir.join(B)).unwrap();
    let third = hydrate(&args).await.unwrap();
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
    assert_eq!(tree(&args.output_dir), book(&fake));
    assert!(!args.output_dir.join("02-Part").exists(), "an emptied folder goes");
}

#[tokio::test]
async fn a_forgotten_manifest_means_the_whole_list_but_no_transfer() {
    let (fake, _folder, args) = setup().await;
    hydrate(&args).await.unwrap();
    fake.remove(BOOK, &page(C));
    fake.forget_manifests();
    fake.calls();
    let report = hydrate(&args).await.unwrap();
    assert_eq!(summary(&report), "hydrate ai-python: 0 fetched, 1 deleted, 2 unchanged");
    assert_eq!(fake.calls(), ["plan_build", "plan_build"]);
}

#[tokio::test]
async fn a_list_that_lost_a_file_deletes_nothing() {
    let (fake, _folder, args) = setup().await;
    hydrate(&args).await.unwrap();
    let before = tree(&args.output_dir);
    fake.put(BOOK, &[("content/README.md", "new")]);
    fake.forget_manifests();
    fake.on_call(|call| if call.tool == "plan_build" { Twist::Corrupt } else { Twist::Honest });
    assert!(stopped(hydrate(&args).await).contains("manifest_hash"));
    assert_eq!(tree(&args.output_dir), before);
}

#[tokio::test]
async fn corrupt_content_is_never_installed() {
    let (fake, _folder, args) = setup().await;
    fake.no_archives();
    fake.on_call(|call| if call.path == page(A) { Twist::Corrupt } else { Twist::Honest });
    let why = stopped(hydrate(&args).await);
    assert!(why.contains(A) && why.contains("instead of"), "{why}");
    assert_eq!(tree(&args.output_dir), BTreeMap::new());
    fake.honest();
    fake.calls();
    let report = hydrate(&args).await.unwrap();
    assert_eq!(report.transferred, 1, "what was staged is used");
    assert_eq!(tree(&args.output_dir), book(&fake));
}

#[tokio::test]
async fn a_damaged_staged_file_is_fetched_again() {
    let (fake, folder, args) = setup().await;
    fake.no_archives();
    fake.on_call(|call| if call.path == page(A) { Twist::Corrupt } else { Twist::Honest });
    stopped(hydrate(&args).await);
    let staged = folder.path().join(".out.panaversity/staging").join(ContentHash::of(b"same").to_string());
    fs::write(staged, "").unwrap();
    fake.honest();
    assert_eq!(hydrate(&args).await.unwrap().transferred, 2);
    assert_eq!(tree(&args.output_dir), book(&fake));
}

#[tokio::test]
async fn a_foreign_file_in_the_way_stops_the_run_before_anything_is_touched() {
    let (fake, _folder, args) = setup().await;
    hydrate(&args).await.unwrap();
    fs::write(args.output_dir.join(A), "my own work").unwrap();
    fs::write(args.output_dir.join("notes.txt"), "in nobody's way").unwrap();
    fake.put(BOOK, &[(&page(A), "A"), (&page(B), "B")]);
    let before = tree(&args.output_dir);
    let why = stopped(hydrate(&args).await);
    assert!(why.contains("--full-rebuild") && why.contains(A), "{why}");
    assert_eq!(tree(&args.output_dir), before);

    let rebuild = HydrateArgs { full_rebuild: true, ..args.clone() };
    assert_eq!(hydrate(&rebuild).await.unwrap().modified.len(), 2);
    let mut after = book(&fake);
    after.insert("notes.txt".to_owned(), "in nobody's way".to_owned());
    assert_eq!(tree(&args.output_dir), after);
    assert_eq!(hydrate(&args).await.unwrap().unchanged, 3);
}

#[tokio::test]
async fn a_file_that_holds_the_wanted_bytes_already_is_nobody_s_harm() {
    let (fake, _folder, args) = setup().await;
    fs::create_dir_all(args.output_dir.join(A).parent().unwrap()).unwrap();
    fs::write(args.output_dir.join(A), "a").unwrap();
    assert_eq!(hydrate(&args).await.unwrap().unchanged, 1);
    fake.remove(BOOK, &page(A));
    assert_eq!(hydrate(&args).await.unwrap().deleted, [A]);
}

#[tokio::test]
async fn a_changed_file_is_not_deleted_with_its_page() {
    let (fake, _folder, args) = setup().await;
    hydrate(&args).await.unwrap();
    fs::write(args.output_dir.join(A), "my own work").unwrap();
    fake.remove(BOOK, &page(A));
    assert!(stopped(hydrate(&args).await).contains(A));
    assert_eq!(text(&args, A).as_deref(), Some("my own work"));
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let (_fake, folder, args) = setup().await;
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("01-Chapter")).unwrap();
    fs::create_dir_all(&args.output_dir).unwrap();
    symlink(&elsewhere, args.output_dir.join("01-Part")).unwrap();
    for full_rebuild in [false, true] {
        let why = stopped(hydrate(&HydrateArgs { full_rebuild, ..args.clone() }).await);
        assert!(why.contains("is a link"), "{why}");
    }
    fs::remove_file(args.output_dir.join("01-Part")).unwrap();
    fs::write(folder.path().join("victim"), "victim").unwrap();
    fs::create_dir_all(args.output_dir.join("01-Part/01-Chapter")).unwrap();
    symlink(folder.path().join("victim"), args.output_dir.join(A)).unwrap();
    assert!(stopped(hydrate(&args).await).contains("it is a link"));
    assert_eq!(fs::read_to_string(folder.path().join("victim")).unwrap(), "victim");
    assert_eq!(tree(&elsewhere), BTreeMap::new());
}

#[tokio::test]
async fn a_path_that_is_not_safe_on_a_disk_is_never_joined_to_a_folder() {
    let (fake, folder, args) = setup().await;
    for path in ["content/../../evil.md", "content//evil.md", "content/.git/config", "content/evil|x"] {
        fake.put(BOOK, &[(path, "evil")]);
        assert!(stopped(hydrate(&args).await).contains("not safe"), "{path}");
        fake.remove(BOOK, path);
    }
    assert!(!args.output_dir.exists() && !folder.path().join("evil.md").exists());
}

#[tokio::test]
async fn another_book_needs_a_full_rebuild() {
    let (fake, _folder, args) = setup().await;
    hydrate(&args).await.unwrap();
    fake.put("other-book", &[(&page(A), "other")]);
    let book_id = BookId::parse("other-book").unwrap();
    let mut other = HydrateArgs { book_id, ..args.clone() };
    assert!(stopped(hydrate(&other).await).contains("holds the book ai-python"));
    other.full_rebuild = true;
    hydrate(&other).await.unwrap();
    assert_eq!(tree(&args.output_dir), BTreeMap::from([(A.to_owned(), "other".to_owned())]));
}

#[tokio::test]
async fn two_runs_into_one_folder_do_not_meet() {
    let (_fake, _folder, args) = setup().await;
    let place = Workspace::open(&args.output_dir, None).unwrap();
    assert!(stopped(hydrate(&args).await).contains("another hydrate"));
    drop(place);
    hydrate(&args).await.unwrap();
}

#[tokio::test]
async fn a_missing_book_and_a_broken_server_leave_the_output_alone() {
    let (fake, _folder, args) = setup().await;
    hydrate(&args).await.unwrap();
    let book_id = BookId::parse("no-such-book").unwrap();
    let output_dir = args.output_dir.with_file_name("other");
    let missing = HydrateArgs { book_id, output_dir, ..args.clone() };
    assert!(stopped(hydrate(&missing).await).contains("BOOK_NOT_FOUND"));
    assert!(!missing.output_dir.exists());

    fake.put(BOOK, &[(&page(A), "A"), (&page(B), "B")]);
    let before = tree(&args.output_dir);
    fake.on_call(|call| if call.path == page(B) { Twist::Fault } else { Twist::Honest });
    assert!(stopped(hydrate(&args).await).contains("HTTP 500"));
    assert_eq!(tree(&args.output_dir), before);
}

#[tokio::test]
async fn a_killed_transfer_is_completed_by_the_next_run() {
    let (fake, _folder, args) = setup().await;
    fake.no_archives();
    for n in 10..40 {
        fake.put(BOOK, &[(&format!("content/01-Part/01-Chapter/{n}-x.md"), &format!("{n}"))]);
    }
    for kill_at in [1, 3, 6, 18] {
        fake.calls();
        fake.on_call(move |call| if call.number >= kill_at { Twist::Hang } else { Twist::Honest });
        let killed = tokio::time::timeout(Duration::from_millis(300), hydrate(&args)).await;
        assert!(killed.is_err());
        assert_eq!(tree(&args.output_dir), BTreeMap::new());
    }
    fake.honest();
    let report = hydrate(&args).await.unwrap();
    assert!(report.transferred <= 16, "{}", report.transferred);
    assert_eq!(tree(&args.output_dir), book(&fake));
}

#[tokio::test]
async fn a_killed_installation_is_recognised_whatever_the_book_does_meanwhile() {
    let (fake, folder, args) = setup().await;
    hydrate(&args).await.unwrap();
    let (place, known) = (folder.path().join(".out.panaversity"), book(&fake));
    // As a killed installation leaves it: A is new, B is old, D is there, and the intent says so.
    let mut state: State = serde_json::from_slice(&fs::read(place.join("state.json")).unwrap()).unwrap();
    state.manifest_hash = None;
    let d = "03-Part/01-Chapter/04-d.md";
    let gone = "04-Part/01-Chapter/05-gone.md";
    fs::create_dir_all(args.output_dir.join(d).parent().unwrap()).unwrap();
    fs::create_dir_all(args.output_dir.join(gone).parent().unwrap()).unwrap();
    let entry = state.files[&page(A)].clone();
    state.files.insert(page(gone), entry);
    for (path, text) in [(A, "A"), (B, "B"), (d, "d")] {
        state.installing.insert(page(path), ContentHash::of(text.as_bytes()).to_string());
    }
    fs::write(place.join("state.json"), serde_json::to_vec(&state).unwrap()).unwrap();
    fs::write(args.output_dir.join(A), "A").unwrap();
    fs::write(args.output_dir.join(d), "d").unwrap();
    assert_eq!(known.len(), 3);

    fake.put(BOOK, &[(&page(A), "third"), (&page(B), "B")]);
    let report = hydrate(&args).await.unwrap();
    assert_eq!((report.modified.len(), report.deleted), (2, vec![d.to_owned()]));
    assert_eq!(tree(&args.output_dir), book(&fake));
    assert!(!args.output_dir.join("03-Part").exists() && !args.output_dir.join("04-Part").exists());
}

#[tokio::test]
async fn a_state_that_does_not_read_stops_the_run() {
    let (_fake, folder, args) = setup().await;
    hydrate(&args).await.unwrap();
    fs::write(folder.path().join(".out.panaversity/state.json"), "{").unwrap();
    assert!(stopped(hydrate(&args).await).contains("--full-rebuild"));
    assert!(hydrate(&HydrateArgs { full_rebuild: true, ..args }).await.is_ok());
}
