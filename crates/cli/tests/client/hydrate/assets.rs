//! Assets: into a folder of their own, as safely as pages, or not at all.

use super::*;

/// The server of [`setup`] with more assets, and a folder for them.
async fn with_assets() -> (TestServer, TempDir, HydrateOptions) {
    let (server, folder, mut args) = setup().await;
    server.author.put(BOOK, &[("static/.nojekyll", ""), ("static/img/a b (1).svg", "<svg/>")]).await;
    args.static_dir = Some(folder.path().join("static"));
    (server, folder, args)
}

fn assets(args: &HydrateOptions) -> BTreeMap<String, String> {
    tree(args.static_dir.as_ref().unwrap())
}

/// What the folder of assets must be.
async fn held(server: &TestServer) -> BTreeMap<String, String> {
    let files = server.author.files(BOOK).await.into_iter();
    files
        .filter_map(|(path, bytes)| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Some((path.strip_prefix("static/")?.to_owned(), text))
        })
        .collect()
}

#[tokio::test]
async fn assets_come_with_the_pages_and_only_what_changed_comes_again() {
    let (server, _folder, args) = with_assets().await;
    let first = server.hydrate(&args).await.unwrap();
    assert_eq!(server.proxy.calls(), ["plan_build", "get_book_archive", "archive.zip"]);
    assert_eq!(summary(&first), "hydrate ai-python: 6 fetched, 0 deleted, 0 unchanged");
    assert_eq!((tree(&args.output_dir), assets(&args)), (book(&server).await, held(&server).await));

    server.author.put(BOOK, &[("static/img/a b (1).svg", "<svg>changed</svg>"), (&page(A), "A")]).await;
    server.author.remove(BOOK, "static/img/x.png").await;
    let second = server.hydrate(&args).await.unwrap();
    assert_eq!(second.modified, [A, "static/img/a b (1).svg"]);
    assert_eq!((second.deleted, second.transferred), (vec!["static/img/x.png".to_owned()], 2));
    let mut calls = server.proxy.calls();
    calls.sort();
    assert_eq!(calls, ["plan_build", "read_content", "static"]);
    assert_eq!((tree(&args.output_dir), assets(&args)), (book(&server).await, held(&server).await));

    assert_eq!(server.hydrate(&args).await.unwrap().unchanged, 5);
    assert_eq!(server.proxy.calls(), ["plan_build"]);
}

#[tokio::test]
async fn assets_are_left_alone_unless_a_folder_is_named() {
    let (server, folder, args) = with_assets().await;
    let without = HydrateOptions { static_dir: None, ..args.clone() };
    server.hydrate(&without).await.unwrap();
    assert!(!folder.path().join("static").exists());

    // Named later, they come, though no page has changed.
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!((report.added.len(), report.unchanged), (3, 3));
    assert_eq!(assets(&args), held(&server).await);

    // Not named again, they stay as they are, and are known as ours when they are named again.
    let before = assets(&args);
    server.author.put(BOOK, &[("static/img/x.png", "changed"), (&page(A), "A")]).await;
    server.author.remove(BOOK, "static/.nojekyll").await;
    assert_eq!(server.hydrate(&without).await.unwrap().modified, [A]);
    assert_eq!(assets(&args), before);
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!(
        (report.modified, report.deleted),
        (vec!["static/img/x.png".to_owned()], vec!["static/.nojekyll".to_owned()])
    );
    assert_eq!(assets(&args), held(&server).await);

    // In another folder all of them come, and the first keeps what it has.
    let other = HydrateOptions { static_dir: Some(folder.path().join("other")), ..args.clone() };
    server.hydrate(&other).await.unwrap();
    assert_eq!((assets(&other), assets(&args)), (held(&server).await, held(&server).await));
}

#[tokio::test]
async fn folders_that_were_moved_together_are_known_again() {
    let (server, folder, mut args) = with_assets().await;
    args.static_dir = Some(folder.path().join("public/static"));
    args.output_dir = folder.path().join("docs/out");
    for round in ["first", "second"] {
        server.author.put(BOOK, &[("static/img/x.png", round), (&page(A), round)]).await;
        server.hydrate(&args).await.unwrap();
        assert_eq!((tree(&args.output_dir), assets(&args)), (book(&server).await, held(&server).await));
        let moved = folder.path().join(format!("after-the-{round}"));
        fs::create_dir(&moved).unwrap();
        for (dir, below) in [(&mut args.output_dir, "docs"), (args.static_dir.as_mut().unwrap(), "public")] {
            let name = dir.file_name().unwrap().to_owned();
            fs::rename(dir.parent().unwrap(), moved.join(below)).unwrap();
            *dir = moved.join(below).join(name);
        }
    }
}

#[tokio::test]
async fn an_installation_killed_among_assets_is_completed_whatever_runs_next() {
    let (server, folder, args) = with_assets().await;
    server.hydrate(&args).await.unwrap();
    server.author.put(BOOK, &[("static/img/x.png", "new"), (&page(A), "A")]).await;
    // As a killed installation leaves it: the intent is there, nothing else is.
    let mut state = state(&folder);
    state["manifest_hash"] = Value::Null;
    state["assets"]["manifest_hash"] = Value::Null;
    state["installing"] = json!({"static/img/x.png": hash("new"), page(A): hash("A")});
    fs::write(state_file(&folder), state.to_string()).unwrap();

    server.hydrate(&HydrateOptions { static_dir: None, ..args.clone() }).await.unwrap();
    assert_eq!(assets(&args)["img/x.png"], "x");
    server.hydrate(&args).await.unwrap();
    assert_eq!((tree(&args.output_dir), assets(&args)), (book(&server).await, held(&server).await));
}

#[tokio::test]
async fn a_state_from_before_there_were_assets_is_understood() {
    let (server, folder, args) = with_assets().await;
    let without = HydrateOptions { static_dir: None, ..args.clone() };
    server.hydrate(&without).await.unwrap();
    let state = state(&folder);
    let known: Vec<_> = state.as_object().unwrap().keys().collect();
    assert_eq!(known, ["book_id", "files", "manifest_hash", "version"], "it reads as it always did");
    server.proxy.calls();
    server.hydrate(&without).await.unwrap();
    assert_eq!(server.proxy.calls(), ["plan_build"]);
    server.hydrate(&args).await.unwrap();
    assert_eq!(assets(&args), held(&server).await);
}

#[tokio::test]
async fn foreign_assets_stop_the_run_and_links_are_not_followed() {
    let (server, folder, args) = with_assets().await;
    let folder = folder.path().join("static");
    fs::create_dir_all(folder.join("img")).unwrap();
    fs::write(folder.join("img/x.png"), "my own work").unwrap();
    let why = stopped(server.hydrate(&args).await);
    assert!(why.contains("static/img/x.png") && why.contains("--full-rebuild"), "{why}");
    assert!(!args.output_dir.exists(), "no page was touched either");
    fs::remove_file(folder.join("img/x.png")).unwrap();
    fs::remove_dir(folder.join("img")).unwrap();
    symlink("/tmp", folder.join("img")).unwrap();
    assert!(stopped(server.hydrate(&args).await).contains("is a link"));
    fs::remove_file(folder.join("img")).unwrap();
    fs::write(folder.join("mine.txt"), "in nobody's way").unwrap();
    server.hydrate(&args).await.unwrap();
    let mut expected = held(&server).await;
    expected.insert("mine.txt".to_owned(), "in nobody's way".to_owned());
    assert_eq!(assets(&args), expected);
}

#[tokio::test]
async fn one_folder_is_not_in_the_other_and_git_is_not_written_to() {
    let (server, folder, args) = with_assets().await;
    for static_dir in ["out", "out/static", ""] {
        let args = HydrateOptions { static_dir: Some(folder.path().join(static_dir)), ..args.clone() };
        let failure = server.hydrate(&args).await.unwrap_err();
        assert!(failure.is_usage && failure.message.contains("one inside the other"), "{}", failure.message);
    }
    for path in ["static/.git/config", "static/x/.GIT/hooks/post-checkout", "static/../x"] {
        server.proxy.on_call(move |_| Twist::Listed(path));
        assert!(stopped(server.hydrate(&args).await).contains("not safe"), "{path}");
    }
    server.proxy.honest();
    server.hydrate(&args).await.unwrap();
}

#[tokio::test]
async fn an_asset_changed_since_the_plan_comes_out_of_the_plan_s_archive() {
    for gone in [false, true] {
        let (server, _folder, args) = with_assets().await;
        server.hydrate(&args).await.unwrap();
        server
            .author
            .put(BOOK, &[("static/img/x.png", "second"), ("static/img/a b (1).svg", "second too")])
            .await;
        let mut expected = held(&server).await;
        server.proxy.on_call(move |call| match call.path.as_str() {
            "static/img/x.png" if gone => Twist::Removed("static/img/x.png"),
            "static/img/x.png" => Twist::Overtaken("static/img/x.png", "third"),
            _ => Twist::Honest,
        });
        server.proxy.calls();
        server.hydrate(&args).await.unwrap();
        assert!(server.proxy.calls().contains(&"get_book_archive".to_owned()));
        assert_eq!(assets(&args), expected, "exactly the state of the plan");
        server.proxy.honest();
        server.hydrate(&args).await.unwrap();
        expected = held(&server).await;
        assert_eq!(assets(&args), expected);
    }
}

#[tokio::test]
async fn a_large_asset_goes_on_where_it_was_cut_also_after_a_kill() {
    let (server, _folder, args) = with_assets().await;
    server.hydrate(&args).await.unwrap();
    let large: Vec<u8> = b"the bytes of a film ".repeat(150_000);
    server.author.put(BOOK, &[("static/videos/large.mp4", &large)]).await;
    server.proxy.calls();
    killed_at(&server, &args, "static from", cut_at(1_000_000)).await;
    let calls = server.proxy.calls();
    assert!(calls.last().unwrap().starts_with("static from "), "{calls:?}");
    server.hydrate(&args).await.unwrap();
    assert_eq!(server.proxy.calls()[1..], calls[2..], "asked on from the same byte");
    assert_eq!(fs::read(args.static_dir.unwrap().join("videos/large.mp4")).unwrap(), large);
}

#[tokio::test]
async fn wrong_bytes_of_an_asset_are_never_installed() {
    let (server, _folder, args) = with_assets().await;
    server.hydrate(&args).await.unwrap();
    let before = assets(&args);
    server.author.put(BOOK, &[("static/img/x.png", "second")]).await;
    server.proxy.on_call(|call| if call.tool == "static" { Twist::Corrupt } else { Twist::Honest });
    stopped(server.hydrate(&args).await);
    assert_eq!(assets(&args), before);
    server.proxy.honest();
    server.hydrate(&args).await.unwrap();
    assert_eq!(assets(&args), held(&server).await);
}
