//! First builds: one archive, gone on with wherever it was cut, and never trusted.

use std::path::PathBuf;

use super::*;
use crate::client::archive::Scope;
use crate::client::download::{DownloadResponse, RangeRequest};

/// A server whose archive is large enough to be cut in many places.
async fn large() -> (Fake, TempDir, HydrateArgs) {
    let (fake, folder, args) = setup().await;
    for n in 10..20 {
        let text =
            (0..15_000u64).fold(String::new(), |text, k| text + &(k.wrapping_mul(n + 7) * k).to_string());
        fake.put(BOOK, &[(format!("content/01-Part/01-Chapter/{n}-x.md").as_str(), &text)]);
    }
    (fake, folder, args)
}

/// Downloads among the calls.
fn downloads(fake: &Fake) -> Vec<String> {
    fake.calls().into_iter().filter(|call| call.starts_with("archive.zip")).collect()
}

fn staging(folder: &TempDir) -> PathBuf {
    folder.path().join(".out.panaversity/staging")
}

/// Bytes of the archive that are there.
fn there(folder: &TempDir) -> u64 {
    let files = fs::read_dir(staging(folder)).into_iter().flatten().map(Result::unwrap);
    let mut parts = files.filter(|file| file.file_name().to_str().unwrap().starts_with("archive-"));
    let length = parts.next().map_or(0, |file| file.metadata().unwrap().len());
    assert!(parts.next().is_none(), "one archive at a time");
    length
}

#[tokio::test]
async fn a_first_build_is_one_download_and_leaves_no_archive_behind() {
    let (fake, folder, args) = large().await;
    let report = hydrate(&args).await.unwrap();
    assert_eq!(report.transferred, 12);
    assert_eq!(fake.calls(), ["plan_build", "get_book_archive", "archive.zip"]);
    assert_eq!(tree(&args.output_dir), book(&fake));
    assert!(!staging(&folder).exists());
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was_cut() {
    let (fake, _folder, args) = large().await;
    let mut cuts = 0;
    fake.on_call(move |call| {
        if !call.tool.starts_with("archive.zip") || cuts == 6 {
            return Twist::Honest;
        }
        cuts += 1;
        Twist::Cut(30_000 + cuts)
    });
    hydrate(&args).await.unwrap();
    assert_eq!(tree(&args.output_dir), book(&fake));
    let downloads = downloads(&fake);
    assert_eq!((downloads.len(), downloads[0].as_str()), (7, "archive.zip"));
    let starts: Vec<usize> =
        downloads[1..].iter().map(|call| call.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(starts.is_sorted_by(|a, b| a < b) && starts[5] > 100_000, "{starts:?}");
}

#[tokio::test]
async fn a_killed_download_is_gone_on_with_by_the_next_run() {
    let (fake, folder, args) = large().await;
    killed_at(&fake, &args, "archive.zip from", cut_at(100_000)).await;
    let length = there(&folder);
    assert!(length > 0, "something was written");
    fake.calls();
    hydrate(&args).await.unwrap();
    assert_eq!(downloads(&fake), [format!("archive.zip from {length}")]);
    assert_eq!(tree(&args.output_dir), book(&fake));
}

#[tokio::test]
async fn an_archive_that_is_all_there_is_not_downloaded_again() {
    let (fake, folder, args) = large().await;
    // As a run leaves it that was killed while it unpacked.
    let client = args.server.client("test").unwrap();
    let manifest = client.plan(&args.book_id, None).await.unwrap().manifest_hash;
    let link = client.archive(&args.book_id, Scope::Content, manifest).await.unwrap();
    let wish = RangeRequest { url: &link.url, from: 0, etag: None, only: false };
    let DownloadResponse::Whole(mut body, Some(etag)) = client.get(wish).await else { panic!("no archive") };
    let mut bytes = Vec::new();
    while let Some(part) = body.next().await.unwrap() {
        bytes.extend_from_slice(&part);
    }
    fs::create_dir_all(staging(&folder)).unwrap();
    fs::write(staging(&folder).join(format!("archive-{etag}.part")), &bytes).unwrap();
    fake.calls();
    hydrate(&args).await.unwrap();
    assert_eq!(downloads(&fake), [format!("archive.zip from {}", bytes.len())], "and nothing follows");
    assert!(!fake.calls().contains(&"read_content".to_owned()));
    assert_eq!(tree(&args.output_dir), book(&fake));
}

#[tokio::test]
async fn the_archive_of_another_state_is_begun_anew() {
    let (fake, folder, args) = large().await;
    killed_at(&fake, &args, "archive.zip from", cut_at(100_000)).await;
    assert!(there(&folder) > 0);
    fake.put(BOOK, &[(&page(A), "changed since")]);
    hydrate(&args).await.unwrap();
    assert_eq!(tree(&args.output_dir), book(&fake));
    assert!(!staging(&folder).exists());
}

#[tokio::test]
async fn a_link_that_is_over_is_asked_for_again() {
    let (fake, _folder, args) = large().await;
    fake.on_call(|call| match call.number {
        3 => Twist::Cut(50_000),
        4 => Twist::Over,
        _ => Twist::Honest,
    });
    hydrate(&args).await.unwrap();
    let calls = fake.calls();
    assert_eq!(calls.iter().filter(|call| *call == "get_book_archive").count(), 2);
    assert_eq!(calls.last(), calls.get(3), "the new link goes on where the old one was cut: {calls:?}");
    assert_eq!(tree(&args.output_dir), book(&fake));
}

#[tokio::test]
async fn a_download_that_does_not_go_on_fails_and_changes_nothing() {
    let (fake, folder, args) = large().await;
    fake.on_call(|call| match call.tool.as_str() {
        "archive.zip" => Twist::Cut(50_000),
        tool if tool.starts_with("archive.zip") => Twist::Cut(0),
        _ => Twist::Honest,
    });
    let why = stopped(hydrate(&args).await);
    assert!(why.contains("nothing was changed") && why.contains("does not go on after"), "{why}");
    assert!(!args.output_dir.exists() && there(&folder) > 0);
}

#[tokio::test]
async fn a_lying_archive_harms_nothing() {
    let (fake, folder, args) = large().await;
    fake.on_call(|call| if call.tool == "archive.zip" { Twist::Corrupt } else { Twist::Honest });
    hydrate(&args).await.unwrap();
    let calls = fake.calls();
    let read = calls.iter().filter(|call| *call == "read_content").count();
    assert_eq!(read, 2, "one had other bytes, one was missing: {calls:?}");
    assert_eq!(tree(&args.output_dir), book(&fake));
    assert!(!folder.path().join("x").exists() && !folder.path().join(".out.panaversity/x").exists());
}

#[tokio::test]
async fn what_no_archive_can_hold_is_reported_and_nothing_is_changed() {
    let (fake, _folder, args) = large().await;
    fake.on_call(|call| if call.tool == "get_book_archive" { Twist::Corrupt } else { Twist::Honest });
    let why = stopped(hydrate(&args).await);
    assert!(why.contains("nothing was changed: 1 file could not be fetched"), "{why}");
    assert!(why.contains(C) && why.contains("its blob is missing"), "{why}");
    assert!(!args.output_dir.exists());
}

#[tokio::test]
async fn without_an_archive_files_come_one_by_one() {
    let (fake, _folder, args) = large().await;
    fake.no_archives();
    hydrate(&args).await.unwrap();
    assert_eq!(tree(&args.output_dir), book(&fake));
}

#[tokio::test]
async fn a_few_changes_are_no_archive_and_many_are() {
    let (fake, _folder, args) = setup().await;
    let change = |count: usize, text: &str| {
        for n in 100..100 + count {
            fake.put(
                BOOK,
                &[(format!("content/01-Part/01-Chapter/10-{n}.md").as_str(), format!("{n} {text}"))],
            );
        }
    };
    change(160, "first");
    hydrate(&args).await.unwrap();
    fake.calls();
    change(100, "a hundred");
    hydrate(&args).await.unwrap();
    assert_eq!(downloads(&fake), Vec::<String>::new());
    change(101, "one more");
    hydrate(&args).await.unwrap();
    assert_eq!(downloads(&fake), ["archive.zip"]);
    // Many, but little of the book.
    fake.put(BOOK, &[("content/README.md", "x".repeat(400_000))]);
    change(101, "and again");
    hydrate(&args).await.unwrap();
    assert_eq!(downloads(&fake), ["archive.zip"]);
    change(101, "for the last time");
    hydrate(&args).await.unwrap();
    assert_eq!(downloads(&fake), Vec::<String>::new());
    assert_eq!(tree(&args.output_dir), book(&fake));
}
