//! Contract tests of reading files: layers, versions and lists. R5: only its owner sees an overlay.

use panaversity_model::asset::AssetType;
use panaversity_model::blob::{BlobLocation, BlobState};
use panaversity_model::change::ChangeSet;
use panaversity_model::file::FileMetadata;
use panaversity_model::path::{Folder, Prefix};
use panaversity_model::{BookId, BookPath, ContentHash, Layer, View};

use super::Setup;
use super::fixture::{ContractFixture, unpack};
use crate::samples::{agent, book, change_set, key, lesson, overlay, path, view, write};

/// R5: an overlay hides the base for its owner, and for nobody else.
pub async fn r5_an_overlay_is_found_by_its_owner_and_nobody_else(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (mine, other) = (overlay("owner"), overlay("other"));
    fixture.put(&Layer::Base, &lesson(1), b"base").await;
    fixture.put(&mine, &lesson(1), b"mine").await;
    fixture.put(&mine, &lesson(2), b"only mine").await;
    let found = fixture.find(&view(&mine), &lesson(1)).await.unwrap();
    assert_eq!((unpack(&found), found.record.layer), (b"mine".to_vec(), mine.clone()));
    for stranger in [View::base(), view(&other)] {
        let found = fixture.find(&stranger, &lesson(1)).await.unwrap();
        assert_eq!((unpack(&found), found.record.layer), (b"base".to_vec(), Layer::Base));
        assert_eq!(fixture.find(&stranger, &lesson(2)).await, None);
        assert_eq!(fixture.paths(&stranger).await, vec![lesson(1)]);
    }
    assert_eq!(fixture.paths(&view(&mine)).await, vec![lesson(1), lesson(2)]);
    fixture.delete(&mine, &lesson(1)).await;
    assert_eq!(fixture.read(&view(&mine), &lesson(1)).await, Some(b"base".to_vec()), "the base shows again");
}

/// R5: neither a hash nor a listing nor a manifest reveals another user's overlay.
pub async fn r5_no_version_of_an_overlay_is_found_by_anybody_else(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (mine, other) = (overlay("owner"), overlay("other"));
    let secret = ContentHash::of(b"mine");
    fixture.put(&Layer::Base, &lesson(1), b"base").await;
    let stamp = fixture.journal.stamp(&fixture.book, &Layer::Base).await.unwrap();
    fixture.put(&mine, &lesson(1), b"mine").await;
    fixture.put(&mine, &lesson(1), b"mine, later").await;
    let found = fixture.version(&view(&mine), &lesson(1), secret).await.unwrap();
    assert_eq!((unpack(&found), found.record.layer), (b"mine".to_vec(), mine.clone()));
    for stranger in [View::base(), view(&other)] {
        assert_eq!(fixture.version(&stranger, &lesson(1), secret).await, None);
    }
    assert_eq!(fixture.journal.stamp(&fixture.book, &Layer::Base).await.unwrap(), stamp);
    assert_eq!(fixture.journal.rows(&fixture.book, &Layer::Base, 0).await.unwrap().1.len(), 1);
}

/// A publisher reads exactly the layer it publishes.
pub async fn holding_looks_at_one_layer_only(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mine = overlay("owner");
    let holds = async |layer: &Layer, path: &BookPath| {
        let found = fixture.journal.current_file(&key(&fixture.book, path, layer)).await.unwrap();
        let keys = [key(&fixture.book, path, layer)];
        let metadata = fixture.journal.current_metadata(&keys).await.unwrap().remove(0);
        let expected = found.as_ref().map(|found| FileMetadata {
            record: found.record.clone(),
            state: BlobState::Live,
            in_object: matches!(found.blob.blob.location, BlobLocation::Object(_)),
        });
        assert_eq!(metadata, expected);
        found.map(|found| (unpack(&found), found.record.layer))
    };
    fixture.put(&Layer::Base, &lesson(1), b"base").await;
    assert_eq!(holds(&mine, &lesson(1)).await, None);
    fixture.put(&mine, &lesson(1), b"mine").await;
    assert_eq!(holds(&Layer::Base, &lesson(1)).await, Some((b"base".to_vec(), Layer::Base)));
    assert_eq!(holds(&mine, &lesson(1)).await, Some((b"mine".to_vec(), mine.clone())));
}

/// Every version stays readable by its hash, after updates and deletion alike.
pub async fn every_version_is_found_by_its_hash(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let texts: [&[u8]; 3] = [b"one", b"two, longer", b"three"];
    let mut times = Vec::new();
    for text in texts {
        fixture.put(&Layer::Base, &lesson(1), text).await;
        times.push(fixture.find(&View::base(), &lesson(1)).await.unwrap().record);
    }
    fixture.delete(&Layer::Base, &lesson(1)).await;
    for (text, record) in texts.iter().zip(&times) {
        let found = fixture.version(&View::base(), &lesson(1), ContentHash::of(text)).await.unwrap();
        assert_eq!(unpack(&found), *text);
        assert_eq!((found.record.hash, found.record.size), (record.hash, text.len() as u64));
        assert_eq!(found.record.written_at, record.written_at);
        assert_eq!((&found.record.path, &found.record.layer), (&record.path, &record.layer));
    }
    // Bytes that are written a second time are found with the time of the second write.
    fixture.put(&Layer::Base, &lesson(1), texts[0]).await;
    let found = fixture.version(&View::base(), &lesson(1), ContentHash::of(texts[0])).await.unwrap();
    let now = fixture.find(&View::base(), &lesson(1)).await.unwrap();
    assert_eq!(found.record.written_at, now.record.written_at);
    assert!(found.record.written_at > times[2].written_at);
}

/// A hash is honored for its own book, path and layer only.
pub async fn a_hash_names_a_version_of_its_own_path_only(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let hash = ContentHash::of(b"one");
    fixture.put(&Layer::Base, &lesson(1), b"one").await;
    fixture.put(&Layer::Base, &lesson(2), b"two").await;
    assert_eq!(fixture.version(&View::base(), &lesson(2), hash).await, None);
    assert_eq!(fixture.version(&View::base(), &lesson(3), hash).await, None);
    assert_eq!(fixture.version(&View::base(), &lesson(1), ContentHash::of(b"never")).await, None);
    let elsewhere = ContractFixture { book: book(), ..fixture.clone() };
    elsewhere.put(&Layer::Base, &lesson(1), b"two").await;
    assert_eq!(elsewhere.version(&View::base(), &lesson(1), hash).await, None);
    // A view reaches the base's versions too, below its own.
    let reader = view(&overlay("reader"));
    assert_eq!(fixture.version(&reader, &lesson(1), hash).await.unwrap().record.layer, Layer::Base);
}

/// A path that was never written is not found, in any book.
pub async fn what_was_never_written_is_not_found(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for view in [View::base(), view(&overlay("reader"))] {
        assert_eq!(fixture.find(&view, &lesson(1)).await, None);
        assert_eq!(fixture.version(&view, &lesson(1), ContentHash::of(b"")).await, None);
        assert_eq!(fixture.paths(&view).await, vec![]);
    }
}

fn scattered() -> Vec<BookPath> {
    // In bytewise order, which is neither that of a locale nor that of folders.
    [
        "content/01-Part/01-Chapter/01-a.md",
        "content/01-Part/01-Chapter/01-b.md",
        "content/01-Part/01-Chapter/02-B.md",
        "content/01-Part/01-Chapter/02-_.md",
        "content/01-Part/01-Chapter/README.md",
        "content/01-Part/01-Chapter2/01-a.md",
        "content/01-Part/README.md",
        "content/02-Part/01-Chapter/01-a.md",
        "content/README.md",
        "static/img/Zebra.png",
        "static/img/a b.png",
        "static/img/ä.png",
        "static/img/你好.png",
    ]
    .map(path)
    .to_vec()
}

/// Lists are in the order of the paths' bytes, whatever the order of writing.
pub async fn a_list_is_in_bytewise_order(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for path in scattered().iter().rev() {
        fixture.put(&Layer::Base, path, b"a").await;
    }
    assert_eq!(fixture.paths(&View::base()).await, scattered());
}

/// Pages together are the whole list, overlay and base merged, each path once.
pub async fn pages_of_a_list_join_to_the_whole(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mine = overlay("owner");
    for (n, path) in scattered().iter().enumerate() {
        if n % 3 != 0 {
            fixture.put(&Layer::Base, path, b"base").await;
        }
        if n % 3 != 1 {
            fixture.put(&mine, path, b"mine, longer").await;
        }
    }
    for limit in [1, 4, 100] {
        let (mut files, mut after) = (Vec::new(), None);
        loop {
            let everything = Folder::everything();
            let page = fixture
                .journal
                .list(&fixture.book, &everything, &view(&mine), after.as_ref(), limit)
                .await
                .unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            assert!(after.is_none_or(|after| after < last.path), "a page goes on");
            after = Some(last.path.clone());
            files.extend(page);
        }
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(paths, scattered(), "limit {limit}");
        for (n, file) in files.into_iter().enumerate() {
            let layer = if n % 3 == 1 { Layer::Base } else { mine.clone() };
            assert_eq!(file.layer, layer, "the overlay wins");
            let found = fixture.find(&view(&mine), &file.path).await.unwrap();
            assert_eq!(found.record, file, "a list says what finding says");
        }
    }
}

/// A folder's list contains what lies below it and nothing beside it.
pub async fn a_folder_s_list_holds_exactly_what_lies_below_it(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for path in scattered() {
        fixture.put(&Layer::Base, &path, b"a").await;
    }
    let chapter = Folder::holding(&scattered()[0]);
    for folder in [chapter.parent().unwrap(), chapter, Folder::content(), Folder::everything()] {
        let files = fixture.journal.list(&fixture.book, &folder, &View::base(), None, 100).await.unwrap();
        let listed: Vec<_> = files.into_iter().map(|file| file.path).collect();
        let below = |path: &BookPath| {
            folder.as_str().is_empty() || path.as_str().starts_with(&format!("{}/", folder.as_str()))
        };
        let due: Vec<_> = scattered().into_iter().filter(below).collect();
        assert_eq!(listed, due, "{}", folder.as_str());
    }
}

/// All paths of a book with a prefix, read in pages of `limit`.
async fn paths(fixture: &ContractFixture, prefix: &str, view: &View, limit: usize) -> Vec<BookPath> {
    let prefix = Prefix::parse(prefix).unwrap();
    let mut found: Vec<(BookId, BookPath)> = Vec::new();
    loop {
        let page =
            fixture.journal.paths(Some(&fixture.book), &prefix, view, found.last(), limit).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            assert!(found.iter().all(|(book, _)| *book == fixture.book));
            return found.into_iter().map(|(_, path)| path).collect();
        }
        found.extend(page);
    }
}

/// Paths are found by prefix, in bytewise order, each once over all pages.
pub async fn paths_are_those_with_the_prefix_each_once(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mine = overlay("owner");
    for path in scattered() {
        fixture.put(&Layer::Base, &path, b"a").await;
        fixture.put(&mine, &path, b"b").await;
    }
    for prefix in ["", "content/", "content/01-Part/01-Chapter", "static/img/\u{e4}", "static/img/Z", "x"] {
        let due: Vec<_> = scattered().into_iter().filter(|path| path.as_str().starts_with(prefix)).collect();
        for limit in [1, 3, 100] {
            assert_eq!(paths(&fixture, prefix, &view(&mine), limit).await, due, "{prefix}");
            assert_eq!(paths(&fixture, prefix, &View::base(), limit).await, due, "{prefix}");
        }
    }
    // Over all books the order is by book, then by path.
    let other = ContractFixture { book: book(), ..fixture.clone() };
    other.put(&Layer::Base, &lesson(1), b"a").await;
    let last = (fixture.book.clone(), scattered().pop().unwrap());
    let everything = Prefix::parse("").unwrap();
    let next = fixture.journal.paths(None, &everything, &View::base(), Some(&last), 100_000).await.unwrap();
    assert!(next.is_sorted() && next.contains(&(other.book.clone(), lesson(1))));
    assert!(next.iter().all(|found| *found > last));
    // A place in an earlier book leaves out nothing of a later one.
    let earlier = (fixture.book.clone(), lesson(2));
    let found =
        fixture.journal.paths(Some(&other.book), &everything, &View::base(), Some(&earlier), 10).await;
    assert_eq!(found.unwrap(), [(other.book.clone(), lesson(1))]);
}

/// R5: neither a path nor its absence reveals another user's overlay.
pub async fn r5_paths_are_those_of_the_view(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mine = overlay("owner");
    fixture.put(&Layer::Base, &lesson(1), b"base").await;
    fixture.put(&mine, &lesson(1), b"mine").await;
    fixture.put(&mine, &lesson(2), b"mine").await;
    assert_eq!(paths(&fixture, "", &view(&mine), 10).await, [lesson(1), lesson(2)]);
    for stranger in [View::base(), view(&overlay("other"))] {
        assert_eq!(paths(&fixture, "", &stranger, 10).await, [lesson(1)]);
        let all = fixture.journal.paths(None, &Prefix::parse("").unwrap(), &stranger, None, 100_000).await;
        assert!(!all.unwrap().contains(&(fixture.book.clone(), lesson(2))));
    }
}

/// R5: assets are those of the base below a folder, in bytewise order, each with the agent that
/// wrote its current content.
pub async fn r5_assets_are_those_of_the_base_with_who_put_them_there(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let [audio, cover, logo] =
        ["audio/a.mp3", "img/cover.png", "img/a/logo.png"].map(|name| path(&format!("static/{name}")));
    for (path, text, who) in
        [(&audio, "a", "ann"), (&cover, "b", "bob"), (&logo, "c", "ann"), (&cover, "d", "eve")]
    {
        let now = fixture.holds(&Layer::Base, path).await;
        let set = change_set(&fixture.book, &Layer::Base, vec![write(path, text.as_bytes(), now)]);
        fixture.journal.commit(ChangeSet { agent: agent(who), ..set }).await.unwrap();
    }
    fixture.put(&Layer::Base, &lesson(1), b"no asset").await;
    fixture.put(&overlay("owner"), &cover, b"mine").await;
    fixture.put(&overlay("owner"), &path("static/img/mine.png"), b"mine").await;

    let listed = async |folder: &Folder, after: Option<&BookPath>, limit| {
        let found = fixture.journal.assets(&fixture.book, folder, after, limit).await.unwrap();
        found
            .into_iter()
            .map(|asset| (asset.record.path, asset.agent.as_str().to_owned()))
            .collect::<Vec<_>>()
    };
    let due =
        [(audio, "ann"), (logo, "ann"), (cover.clone(), "eve")].map(|(path, who)| (path, who.to_owned()));
    assert_eq!(listed(&Folder::assets(), None, 10).await, due);
    assert_eq!(listed(&Folder::assets(), Some(&due[0].0), 1).await, due[1..2]);
    assert_eq!(listed(&AssetType::Img.folder(), None, 10).await, due[1..]);
    assert_eq!(listed(&AssetType::Images.folder(), None, 10).await, []);
    let found = fixture.journal.asset(&fixture.book, &cover).await.unwrap().unwrap();
    assert_eq!((found.record.hash, &found.agent), (ContentHash::of(b"d"), &agent("eve")));
    let (same, stored) = fixture.journal.find_asset(&fixture.book, &cover).await.unwrap().unwrap();
    assert_eq!((same, stored.blob.hash), (found, ContentHash::of(b"d")));
    assert_eq!(fixture.journal.find_asset(&book(), &cover).await.unwrap(), None);
    assert_eq!(fixture.journal.asset(&fixture.book, &path("static/img/mine.png")).await.unwrap(), None);
    assert_eq!(fixture.journal.asset(&book(), &cover).await.unwrap(), None);
}
