//! Paths that change their kind between two runs, and files that nobody knows.

use super::*;

/// Another asset folder, filled with the book's assets.
async fn with_static() -> (TestServer, TempDir, HydrateOptions) {
    let (server, folder, mut args) = setup().await;
    args.static_dir = Some(folder.path().join("static"));
    server.hydrate(&args).await.unwrap();
    (server, folder, args)
}

fn assets(args: &HydrateOptions) -> BTreeMap<String, String> {
    tree(args.static_dir.as_ref().unwrap())
}

fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[tokio::test]
async fn a_file_that_becomes_a_folder_and_back_is_replaced_in_both_parts() {
    let (server, _folder, mut args) = with_static().await;
    let flat = [("static/data", "file"), ("content/guide", "file")];
    let deep = [
        ("static/data/x.txt", "x"),
        ("static/data/deep/er/y.txt", "y"),
        ("content/guide/a.md", "a"),
        ("content/guide/img/p.svg", "p"),
    ];
    let put = async |new: &[(&str, &str)], old: &[(&str, &str)]| {
        let held = server.author.files(BOOK).await;
        for (path, _) in old.iter().filter(|(path, _)| held.contains_key(*path)) {
            server.author.remove(BOOK, path).await;
        }
        server.author.put(BOOK, new).await;
    };
    for full_rebuild in [false, true, false] {
        args.full_rebuild = full_rebuild;
        put(&flat, &deep).await;
        server.hydrate(&args).await.unwrap();
        assert_eq!(assets(&args), files(&[("data", "file"), ("img/x.png", "x")]));
        assert_eq!(text(&args, "guide").as_deref(), Some("file"));

        put(&deep, &flat).await;
        let report = server.hydrate(&args).await.unwrap();
        assert_eq!(report.deleted, ["guide", "static/data"]);
        assert_eq!(
            assets(&args),
            files(&[("data/deep/er/y.txt", "y"), ("data/x.txt", "x"), ("img/x.png", "x")])
        );
        assert_eq!(tree(&args.output_dir), book(&server).await);
    }
}

#[tokio::test]
async fn what_is_not_ours_keeps_a_folder_from_becoming_a_file() {
    let (server, _folder, mut args) = with_static().await;
    server.author.put(BOOK, &[("static/data/x.txt", "x")]).await;
    server.hydrate(&args).await.unwrap();
    let data = args.static_dir.as_ref().unwrap().join("data");
    fs::write(data.join("mine.txt"), "mine").unwrap();
    server.author.remove(BOOK, "static/data/x.txt").await;
    server.author.put(BOOK, &[("static/data", "file")]).await;
    for full_rebuild in [false, true] {
        args.full_rebuild = full_rebuild;
        let why = stopped(server.hydrate(&args).await);
        assert!(why.contains("in the way") && why.contains("mine.txt"), "{why}");
        assert_eq!(fs::read_to_string(data.join("x.txt")).unwrap(), "x", "nothing was touched");
    }
    // Deleted on demand, or moved away.
    args.full_rebuild = false;
    args.prune = true;
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!(
        (report.pruned, report.deleted),
        (vec!["static/data/mine.txt".to_owned()], vec!["static/data/x.txt".to_owned()])
    );
    assert_eq!(assets(&args), files(&[("data", "file"), ("img/x.png", "x")]));
}

#[tokio::test]
async fn an_empty_folder_or_a_strange_file_where_the_other_is_to_come_goes() {
    let (server, folder, mut args) = setup().await;
    args.static_dir = Some(folder.path().join("static"));
    fs::create_dir_all(folder.path().join("static/data/empty")).unwrap();
    server.author.put(BOOK, &[("static/data", "file")]).await;
    server.hydrate(&args).await.unwrap();
    assert_eq!(assets(&args)["data"], "file");

    // Without what the last run knew, the file is a stranger's.
    fs::remove_dir_all(folder.path().join(".out.panaversity")).unwrap();
    server.author.remove(BOOK, "static/data").await;
    server.author.put(BOOK, &[("static/data/x.txt", "x")]).await;
    assert!(stopped(server.hydrate(&args).await).contains("not a folder"));
    args.full_rebuild = true;
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!(report.pruned, ["static/data"]);
    assert_eq!(assets(&args), files(&[("data/x.txt", "x"), ("img/x.png", "x")]));
}

#[tokio::test]
async fn files_that_nobody_knows_are_named_and_go_with_prune_alone() {
    let (server, folder, mut args) = with_static().await;
    let out = &args.output_dir.clone();
    fs::create_dir_all(out.join("old/deep")).unwrap();
    for name in ["old/deep/page.md", "old/note.txt", ".hidden.md"] {
        fs::write(out.join(name), "stale").unwrap();
    }
    for name in ["stale.png", ".well-known", ".DS_Store", ".gitkeep"] {
        fs::write(folder.path().join("static").join(name), "stale").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", out.join("link.md")).unwrap();
    let unknown = ["link.md", "old/deep/page.md", "old/note.txt", "static/stale.png"];
    for _ in 0..2 {
        let report = server.hydrate(&args).await.unwrap();
        assert!(report.is_success());
        assert_eq!(report.unknown, unknown);
        let lines = report.lines().join("\n");
        assert!(lines.contains("unknown old/deep/page.md: not the book's, stays there"), "{lines}");
        assert!(lines.contains("4 files unknown: --prune deletes"), "{lines}");
    }
    args.prune = true;
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!((report.pruned, report.unknown.len()), (unknown.map(str::to_owned).to_vec(), 0));
    assert!(!out.join("old").exists() && out.join(".hidden.md").exists());
    assert!(fs::exists("/etc/passwd").unwrap(), "a link is removed, not followed");
    assert!(
        folder.path().join("static/.gitkeep").exists() && folder.path().join("static/.well-known").exists()
    );
    let report = server.hydrate(&args).await.unwrap();
    assert_eq!((report.pruned.len(), report.unknown.len(), report.unchanged), (0, 0, 4));
}

#[tokio::test]
async fn a_folder_with_far_more_files_than_the_book_is_not_pruned_without_force() {
    let (server, _folder, mut args) = setup().await;
    server.hydrate(&args).await.unwrap();
    for n in 0..=100 {
        fs::write(args.output_dir.join(format!("{n}.txt")), "mine").unwrap();
    }
    args.prune = true;
    let why = stopped(server.hydrate(&args).await);
    assert!(why.contains("--prune would delete 101 files, and the book has 3"), "{why}");
    assert!(args.output_dir.join("0.txt").exists());
    args.force = true;
    assert_eq!(server.hydrate(&args).await.unwrap().pruned.len(), 101);
    assert_eq!(server.hydrate(&args).await.unwrap().unchanged, 3);

    // Where no run was before, few are too many.
    let other = HydrateOptions { output_dir: args.output_dir.with_file_name("other"), force: false, ..args };
    fs::create_dir(&other.output_dir).unwrap();
    for n in 0..=10 {
        fs::write(other.output_dir.join(format!("{n}.txt")), "mine").unwrap();
    }
    assert!(stopped(server.hydrate(&other).await).contains("--prune would delete 11 files"));
    fs::remove_file(other.output_dir.join("0.txt")).unwrap();
    assert_eq!(server.hydrate(&other).await.unwrap().pruned.len(), 10);
}
