//! `--static-dir`: which files are assets, how they go, and what is never deleted.

use super::*;

/// A server, a folder of pages and one of assets, and options that name both.
type Setup = (TestServer, TempDir, TempDir, IngestOptions);

/// The source of [`setup`], and a folder of assets.
async fn with_assets() -> Setup {
    let (server, source, mut args) = setup().await;
    let assets = TempDir::new().unwrap();
    for name in ["img/logo.svg", "img/Über (1).png", "images/logo.svg", "videos/a/b.mp4"] {
        put(assets.path(), name, name);
    }
    args.static_dir = Some(assets.path().to_owned());
    (server, source, assets, args)
}

async fn assets_of(server: &TestServer) -> Vec<String> {
    server.author.files(BOOK).await.into_keys().filter(|path| path.starts_with("static/")).collect()
}

#[tokio::test]
async fn assets_go_path_by_path_and_equal_ones_do_not_go_again() {
    let (server, _source, assets, args) = with_assets().await;
    put(assets.path(), "img/bytes.png", b"\x89PNG\r\n\0\xff");
    put(assets.path(), "img/empty.png", "");
    let first = server.ingest(&args).await.unwrap();
    assert_eq!(summary(&first), "ingest ai-python: 9 written, 0 deleted, 0 unchanged, 0 refused");
    assert_eq!(server.author.files(BOOK).await["static/img/bytes.png"], b"\x89PNG\r\n\0\xff"[..]);
    assert_eq!(server.author.files(BOOK).await["static/img/Über (1).png"], "img/Über (1).png");
    server.proxy.calls();
    let second = server.ingest(&args).await.unwrap();
    assert_eq!(
        (second.unchanged, server.proxy.calls()),
        (9, vec!["list_books".to_owned(), "plan_build".to_owned()])
    );
    put(assets.path(), "img/logo.svg", "changed");
    assert_eq!(server.ingest(&args).await.unwrap().updated, ["static/img/logo.svg"]);
    assert_eq!(server.proxy.calls(), ["list_books", "plan_build", "upload_asset"]);
}

#[tokio::test]
async fn every_file_that_is_no_asset_is_named_and_dot_files_of_a_site_go() {
    let (server, _source, assets, mut args) = with_assets().await;
    for name in [
        ".nojekyll",
        "CNAME",
        "img/a%20b.png",
        "img/Logo.SVG",
        ".well-known/x",
        ".git/config",
        "img/.DS_Store",
        ".gitkeep",
    ] {
        put(assets.path(), name, name);
    }
    std::os::unix::fs::symlink("logo.svg", assets.path().join("img/link.svg")).unwrap();
    let report = server.ingest(&args).await.unwrap();
    let lines = report.lines().join("\n");
    for part in [
        "refused static/CNAME: Path must match",
        "refused static/img/a%20b.png",
        "refused static/img/logo.svg: it differs only by case from static/img/Logo.SVG",
        "skipped static/.nojekyll: hidden",
        "skipped static/.well-known: hidden",
        "skipped static/.git: hidden",
        "skipped static/.gitkeep: hidden",
        "skipped static/img/.DS_Store: hidden",
        "skipped static/img/link.svg: a link",
    ] {
        assert!(lines.contains(part), "{part}\n{lines}");
    }
    assert!(!report.is_success());
    assert_eq!(
        assets_of(&server).await,
        ["static/images/logo.svg", "static/img/Logo.SVG", "static/img/Über (1).png", "static/videos/a/b.mp4"]
    );

    args.book_id = BookId::parse("a-site").unwrap();
    args.schema = Some(Schema::Docusaurus);
    let report = server.ingest(&args).await.unwrap();
    assert!(report.created.contains(&"static/.nojekyll".to_owned()), "{report:?}");
    assert!(report.created.contains(&"static/CNAME".to_owned()));
    assert!(report.created.iter().any(|path| path.starts_with("static/.well-known/")), "{report:?}");
    assert_eq!(report.skipped.len(), 4);
}

#[tokio::test]
async fn large_assets_are_put_where_the_server_says() {
    put_a_large_asset(with_assets().await).await;
}

#[tokio::test]
async fn large_assets_are_put_into_a_bucket_where_the_server_has_one() {
    let setup = with_assets().await;
    setup.0.proxy.uploads_to_a_bucket();
    put_a_large_asset(setup).await;
}

async fn put_a_large_asset((server, _source, assets, args): Setup) {
    let large: Vec<u8> = b"the bytes \xff of a film ".repeat(100_000);
    put(assets.path(), "videos/large.mp4", &large);
    let report = server.ingest(&args).await.unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(server.author.files(BOOK).await["static/videos/large.mp4"], large);
    let calls = server.proxy.calls();
    assert_eq!(calls.iter().filter(|call| *call == "upload").count(), 1);

    // Faults, a lost answer and a link that is over: the same file, in the end.
    put(assets.path(), "videos/large.mp4", &large[1..]);
    server.proxy.on_call(|call| match (call.number, call.tool.as_str()) {
        (4, "upload") => Twist::Fault,
        (5, "upload") => Twist::Over,
        (8, "complete_upload") => Twist::LostAnswer,
        _ => Twist::Honest,
    });
    let report = server.ingest(&args).await.unwrap();
    assert_eq!((report.updated, report.failed), (vec!["static/videos/large.mp4".to_owned()], vec![]));
    assert_eq!(server.author.files(BOOK).await["static/videos/large.mp4"], large[1..]);
    let calls = server.proxy.calls();
    let tail =
        ["upload_asset", "upload", "upload", "upload_asset", "upload", "complete_upload", "complete_upload"];
    assert_eq!(calls[2..], tail);
}

#[tokio::test]
async fn bytes_that_arrive_damaged_are_a_failure_and_not_the_asset() {
    let (server, _source, assets, args) = with_assets().await;
    put(assets.path(), "videos/large.mp4", vec![7; 2_000_000]);
    server.proxy.on_call(|call| if call.tool == "upload" { Twist::Corrupt } else { Twist::Honest });
    let report = server.ingest(&args).await.unwrap();
    assert!(report.failed[0].reason.contains("UPLOAD_INCOMPLETE"), "{report:?}");
    assert!(!assets_of(&server).await.contains(&"static/videos/large.mp4".to_owned()));
    server.proxy.honest();
    assert!(server.ingest(&args).await.unwrap().is_success());
}

#[tokio::test]
async fn a_server_that_takes_little_inside_a_call_gets_the_rest_the_other_way() {
    let (server, _source, _assets, args) = with_assets().await;
    server.proxy.direct_limit(5);
    assert!(server.ingest(&args).await.unwrap().is_success());
    assert_eq!(assets_of(&server).await.len(), 4);
}

#[tokio::test]
async fn an_asset_changed_by_somebody_else_meanwhile_is_not_overwritten() {
    let (server, _source, assets, args) = with_assets().await;
    server.ingest(&args).await.unwrap();
    put(assets.path(), "img/logo.svg", "mine");
    server.proxy.on_call(|call| match call.tool.as_str() {
        "upload_asset" => Twist::Overtaken("static/img/logo.svg", "theirs"),
        _ => Twist::Honest,
    });
    let report = server.ingest(&args).await.unwrap();
    assert!(report.refused.iter().any(|problem| problem.reason.contains("CONFLICT")), "{report:?}");
    assert_eq!(server.author.files(BOOK).await["static/img/logo.svg"], "theirs");
}

#[tokio::test]
async fn delete_takes_assets_only_with_their_folder_and_never_much_without_force() {
    let (server, _source, assets, mut args) = with_assets().await;
    server.ingest(&args).await.unwrap();
    args.delete = true;
    fs::remove_file(assets.path().join("img/logo.svg")).unwrap();
    let without = IngestOptions { static_dir: None, ..args.clone() };
    assert_eq!(server.ingest(&without).await.unwrap().deleted, Vec::<String>::new());
    assert_eq!(server.ingest(&args).await.unwrap().deleted, ["static/img/logo.svg"]);
    assert_eq!(assets_of(&server).await.len(), 3);

    // A rename in case, and a file that becomes a folder.
    fs::rename(assets.path().join("images/logo.svg"), assets.path().join("images/Logo.svg")).unwrap();
    assert_eq!(server.ingest(&args).await.unwrap().deleted, ["static/images/logo.svg"]);
    fs::rename(assets.path().join("images/Logo.svg"), assets.path().join("images/x")).unwrap();
    server.ingest(&args).await.unwrap();
    fs::remove_file(assets.path().join("images/x")).unwrap();
    put(assets.path(), "images/x/y.svg", "y");
    assert!(server.ingest(&args).await.unwrap().is_success());
    assert_eq!(assets_of(&server).await[0], "static/images/x/y.svg");

    let before = server.author.files(BOOK).await;
    fs::remove_dir_all(assets.path().join("images")).unwrap();
    fs::remove_dir_all(assets.path().join("videos")).unwrap();
    put(assets.path(), "img/new.png", "new");
    let failure = server.ingest(&args).await.unwrap_err();
    assert!(
        failure.message.contains("2 of the book's 3 files below static/. Check --static-dir"),
        "{}",
        failure.message
    );
    let empty = TempDir::new().unwrap();
    let other = IngestOptions { static_dir: Some(empty.path().to_owned()), ..args.clone() };
    assert!(server.ingest(&other).await.unwrap_err().message.contains("would empty the book's static/"));
    assert_eq!(server.author.files(BOOK).await, before, "not even a page or the new asset was written");
    args.force = true;
    assert_eq!(server.ingest(&args).await.unwrap().deleted.len(), 2);
}

#[tokio::test]
async fn a_dry_run_sends_no_asset() {
    let (server, _source, assets, mut args) = with_assets().await;
    put(assets.path(), "videos/large.mp4", vec![7; 2_000_000]);
    args.dry_run = true;
    assert_eq!(server.ingest(&args).await.unwrap().created.len(), 8);
    assert_eq!(server.proxy.calls(), ["list_books"]);
    args.static_dir = Some(assets.path().join("nowhere"));
    assert!(server.ingest(&args).await.unwrap_err().message.contains("--static-dir"));
}
