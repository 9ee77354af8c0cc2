//! First builds: one archive, gone on with wherever it was cut, and never trusted.

use super::*;

/// A server whose archive is large enough to be cut in many places.
async fn large() -> (TestServer, TempDir, HydrateOptions) {
    let (server, folder, args) = setup().await;
    write_large(&server).await;
    (server, folder, args)
}

async fn write_large(server: &TestServer) {
    for n in 10..20 {
        let text =
            (0..15_000u64).fold(String::new(), |text, k| text + &(k.wrapping_mul(n + 7) * k).to_string());
        server.author.put(BOOK, &[(format!("content/01-Part/01-Chapter/{n}-x.md").as_str(), &text)]).await;
    }
}

/// Downloads among the calls.
fn downloads(server: &TestServer) -> Vec<String> {
    server.proxy.calls().into_iter().filter(|call| call.starts_with("archive.zip")).collect()
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
    let (server, folder, args) = large().await;
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!(report.transferred, 12);
    assert_eq!(server.proxy.calls(), ["plan_build", "get_book_archive", "archive.zip"]);
    assert_eq!(tree(&args.output_dir), book(&server).await);
    assert!(!staging(&folder).exists());
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was_cut() {
    let (server, _folder, args) = large().await;
    let mut cuts = 0;
    server.proxy.on_call(move |call| {
        if !call.tool.starts_with("archive.zip") || cuts == 6 {
            return Twist::Honest;
        }
        cuts += 1;
        Twist::Cut(30_000 + cuts)
    });
    server.hydrate(&args).await.unwrap();
    assert_eq!(tree(&args.output_dir), book(&server).await);
    let downloads = downloads(&server);
    assert_eq!((downloads.len(), downloads[0].as_str()), (7, "archive.zip"));
    let starts: Vec<usize> =
        downloads[1..].iter().map(|call| call.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    let expected: Vec<usize> = (1..=6).map(|cuts| cuts * 30_000 + cuts * (cuts + 1) / 2).collect();
    assert_eq!(starts, expected, "each where the one before was cut");
}

#[tokio::test]
async fn a_killed_download_is_gone_on_with_by_the_next_run() {
    let (server, folder, args) = large().await;
    killed_at(&server, &args, "archive.zip from", cut_at(100_000)).await;
    let length = there(&folder);
    assert_eq!(length, 100_000, "what came was written");
    server.proxy.calls();
    server.hydrate(&args).await.unwrap();
    assert_eq!(downloads(&server), [format!("archive.zip from {length}")]);
    assert_eq!(tree(&args.output_dir), book(&server).await);
}

#[tokio::test]
async fn an_archive_that_is_all_there_is_not_downloaded_again() {
    let (server, folder, args) = large().await;
    // As a run leaves it that was killed while it unpacked.
    let plan = server.author.call("plan_build", json!({"book_id": BOOK})).await;
    let arguments = json!({"book_id": BOOK, "scope": "content", "manifest_hash": plan["manifest_hash"]});
    let link = server.author.call("get_book_archive", arguments).await;
    let (etag, bytes) = server.author.download(link["archive_url"].as_str().unwrap()).await;
    fs::create_dir_all(staging(&folder)).unwrap();
    fs::write(staging(&folder).join(format!("archive-{etag}.part")), &bytes).unwrap();
    server.proxy.calls();
    server.hydrate(&args).await.unwrap();
    assert_eq!(downloads(&server), [format!("archive.zip from {}", bytes.len())], "and nothing follows");
    assert!(!server.proxy.calls().contains(&"read_content".to_owned()));
    assert_eq!(tree(&args.output_dir), book(&server).await);
}

#[tokio::test]
async fn the_archive_of_another_state_is_begun_anew() {
    let (server, folder, args) = large().await;
    killed_at(&server, &args, "archive.zip from", cut_at(100_000)).await;
    assert!(there(&folder) > 0);
    server.author.put(BOOK, &[(&page(A), "changed since")]).await;
    server.hydrate(&args).await.unwrap();
    assert_eq!(tree(&args.output_dir), book(&server).await);
    assert!(!staging(&folder).exists());
}

#[tokio::test]
async fn a_link_that_is_over_is_asked_for_again() {
    let (server, _folder, args) = large().await;
    server.proxy.on_call(|call| match call.number {
        3 => Twist::Cut(50_000),
        4 => Twist::Over,
        _ => Twist::Honest,
    });
    server.hydrate(&args).await.unwrap();
    let calls = server.proxy.calls();
    assert_eq!(calls.iter().filter(|call| *call == "get_book_archive").count(), 2);
    assert_eq!(calls.last(), calls.get(3), "the new link goes on where the old one was cut: {calls:?}");
    assert_eq!(tree(&args.output_dir), book(&server).await);
}

#[tokio::test]
async fn a_download_that_does_not_go_on_fails_and_changes_nothing() {
    let (server, folder, args) = large().await;
    server.proxy.on_call(|call| match call.tool.as_str() {
        "archive.zip" => Twist::Cut(50_000),
        tool if tool.starts_with("archive.zip") => Twist::Cut(0),
        _ => Twist::Honest,
    });
    let why = stopped(server.hydrate(&args).await);
    assert!(why.contains("nothing was changed") && why.contains("does not go on after"), "{why}");
    assert!(!args.output_dir.exists() && there(&folder) > 0);
}

#[tokio::test]
async fn a_lying_archive_harms_nothing() {
    let (server, folder, args) = large().await;
    server.proxy.on_call(|call| if call.tool == "archive.zip" { Twist::Corrupt } else { Twist::Honest });
    server.hydrate(&args).await.unwrap();
    let calls = server.proxy.calls();
    let read = calls.iter().filter(|call| *call == "read_content").count();
    assert_eq!(read, 2, "one had other bytes, one was missing: {calls:?}");
    assert_eq!(tree(&args.output_dir), book(&server).await);
    assert!(!folder.path().join("x").exists() && !folder.path().join(".out.panaversity/x").exists());
}

#[tokio::test]
async fn what_no_archive_can_hold_is_reported_and_nothing_is_changed() {
    // All files lie in objects, and one is gone.
    let server = TestServer::start_with(&[("PANAVERSITY_INLINE_LIMIT_KB", "0")]).await;
    let (server, _folder, args) = setup_on(server).await;
    write_large(&server).await;
    server.author.put(BOOK, &[(&page(C), "lost")]).await;
    server.author.lose_object(&hash("lost"));
    let why = stopped(server.hydrate(&args).await);
    assert!(why.contains("nothing was changed: 1 file could not be fetched"), "{why}");
    assert!(why.contains(C) && why.contains("its stored bytes are missing"), "{why}");
    assert!(!args.output_dir.exists());
}

#[tokio::test]
async fn without_an_archive_files_come_one_by_one() {
    let (server, _folder, args) = large().await;
    server.proxy.no_archives();
    server.hydrate(&args).await.unwrap();
    assert_eq!(tree(&args.output_dir), book(&server).await);
}

#[tokio::test]
async fn a_few_changes_are_no_archive_and_many_are() {
    let (server, _folder, args) = setup().await;
    let change = async |count: usize, text: &str| {
        let files: Vec<_> = (100..100 + count)
            .map(|n| (format!("content/01-Part/01-Chapter/10-{n}.md"), format!("{n} {text}")))
            .collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text)).collect();
        server.author.put(BOOK, &files).await;
    };
    change(160, "first").await;
    server.hydrate(&args).await.unwrap();
    server.proxy.calls();
    change(100, "a hundred").await;
    server.hydrate(&args).await.unwrap();
    assert_eq!(downloads(&server), Vec::<String>::new());
    change(101, "one more").await;
    server.hydrate(&args).await.unwrap();
    assert_eq!(downloads(&server), ["archive.zip"]);
    // Many, but little of the book.
    server.author.put(BOOK, &[("content/README.md", "x".repeat(400_000))]).await;
    change(101, "and again").await;
    server.hydrate(&args).await.unwrap();
    assert_eq!(downloads(&server), ["archive.zip"]);
    change(101, "for the last time").await;
    server.hydrate(&args).await.unwrap();
    assert_eq!(downloads(&server), Vec::<String>::new());
    assert_eq!(tree(&args.output_dir), book(&server).await);
}
