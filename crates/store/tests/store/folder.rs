//! The folder fulfils the contract of objects and trees, belongs to one database, does not follow
//! links, and is left clean.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use panaversity_model::ports::{Objects, Tree, UploadStore};
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{Kind, TreePath};
use panaversity_model::upload::UploadEntry;
use panaversity_model::{BookId, BookPath, ContentHash, Layer};
use panaversity_store::FileStorage;
use panaversity_testkit::contract::{ObjectsSetup, TreeSetup, UploadStoreSetup, whole};
use panaversity_testkit::disk::Disk;
use panaversity_testkit::memory::in_parts;
use panaversity_testkit::samples;
use panaversity_testkit::{objects_contract, tree_contract, upload_store_contract};
use tempfile::TempDir;

fn key(book: &str, path: &str) -> FileKey {
    samples::key(&BookId::parse(book).unwrap(), &BookPath::parse(path).unwrap(), &Layer::Base)
}

const STORE: &str = "0193-store";

fn open(root: &Path) -> Arc<FileStorage> {
    FileStorage::open(root, STORE, true).unwrap()
}

/// All files below a folder, by relative path.
pub(crate) fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn published(root: &Path) -> BTreeMap<String, Vec<u8>> {
    files_below(root).into_iter().filter(|(name, _)| name.starts_with("books/")).collect()
}

#[allow(clippy::unused_async, reason = "setups are async")]
async fn objects_setup() -> ObjectsSetup {
    let folder = TempDir::new().unwrap();
    ObjectsSetup::new(open(folder.path()), folder)
}

#[allow(clippy::unused_async, reason = "setups are async")]
async fn upload_store_setup() -> UploadStoreSetup {
    let folder = TempDir::new().unwrap();
    UploadStoreSetup::new(open(folder.path()), folder)
}

#[allow(clippy::unused_async, reason = "setups are async")]
async fn tree_setup() -> TreeSetup {
    let folder = TempDir::new().unwrap();
    let root = folder.path().to_path_buf();
    TreeSetup::new(open(folder.path()), move || published(&root), folder)
}

objects_contract!(objects_setup);
upload_store_contract!(upload_store_setup);
tree_contract!(tree_setup);

#[test]
fn a_folder_belongs_to_one_database() {
    let folder = TempDir::new().unwrap();
    open(folder.path());
    assert!(FileStorage::open(folder.path(), STORE, false).is_ok());
    let other = FileStorage::open(folder.path(), "another-store", true).err().unwrap();
    assert!(other.detail.contains("belongs to another database"), "{other}");
    let empty = TempDir::new().unwrap();
    let lost = FileStorage::open(empty.path(), STORE, false).err().unwrap();
    assert!(lost.detail.contains("is not the storage that this database is kept with"), "{lost}");
}

#[tokio::test]
async fn a_link_in_the_tree_is_never_followed() {
    let (folder, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let storage = open(folder.path());
    let key = key("linked-book", "content/README.md");
    std::fs::create_dir_all(folder.path().join("books")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("books/linked-book")).unwrap();
    assert!(Tree::put(&*storage, &key, b"x").await.is_err());
    assert!(files_below(outside.path()).is_empty());

    std::fs::remove_file(folder.path().join("books/linked-book")).unwrap();
    let target = outside.path().join("target");
    std::fs::write(&target, b"kept").unwrap();
    std::fs::create_dir_all(folder.path().join("books/linked-book/content")).unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join("books/linked-book/content/README.md")).unwrap();
    Tree::put(&*storage, &key, b"x").await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"kept", "the link is replaced, not written through");
    assert_eq!(published(folder.path())["books/linked-book/content/README.md"], b"x");
}

#[tokio::test]
async fn removing_the_last_file_removes_its_folders_but_not_the_book() {
    let folder = TempDir::new().unwrap();
    let storage = open(folder.path());
    let key = key("a-book", "content/01-Part/01-Chapter/01-lesson.md");
    Tree::put(&*storage, &key, b"x").await.unwrap();
    Tree::remove(&*storage, &key).await.unwrap();
    assert!(folder.path().join("books/a-book").is_dir());
    assert!(!folder.path().join("books/a-book/content").exists());
}

#[tokio::test]
async fn i9_temporary_files_of_a_server_that_is_gone_are_swept() {
    let folder = TempDir::new().unwrap();
    let temporary = folder.path().join(".panaversity/tmp");
    std::fs::create_dir_all(temporary.join("gone")).unwrap();
    std::fs::write(temporary.join("gone.lock"), b"").unwrap();
    std::fs::write(temporary.join("gone/7"), b"half a fi").unwrap();
    std::fs::create_dir_all(temporary.join("lockless")).unwrap();

    let here = open(folder.path());
    Objects::put(&*here, ContentHash::of(b"x"), b"x").await.unwrap();
    let beside = open(folder.path());
    Tree::put(&*here, &key("a-book", "content/README.md"), b"x").await.unwrap();
    drop((here, beside));
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_written_in_parts_leaves_no_temporary_behind() {
    let folder = TempDir::new().unwrap();
    let storage = open(folder.path());
    let temporaries = || {
        let all = files_below(&folder.path().join(".panaversity/tmp")).into_keys();
        all.filter(|name| name.contains('/')).count()
    };
    let mut staging = storage.stage().await.unwrap();
    staging.write(b"half of an object").await.unwrap();
    let mut receiving = storage.receive(samples::upload_id()).await.unwrap();
    receiving.write(b"half of an upload").await.unwrap();
    assert_eq!(temporaries(), 2);
    drop((staging, receiving));
    assert_eq!(temporaries(), 0);
    let parts = in_parts(b"more than was told");
    assert!(storage.put_parts(&key("a-book", "content/README.md"), parts, 4).await.is_err());
    let staging = storage.stage().await.unwrap();
    staging.promote(ContentHash::of(b"")).await.unwrap();
    assert_eq!(temporaries(), 0);
}

#[tokio::test]
async fn i9_what_was_promoted_or_has_arrived_survives_a_power_cut() {
    let folder = TempDir::new().unwrap();
    let at = folder.path().join("disk");
    let disk = match Disk::with_power(&folder.path().join("image"), &at, 256) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped, as disks cannot be mounted here: {why}"),
    };
    let bytes: Vec<u8> = (0..(8 << 20)).map(|n: u32| u8::try_from(n % 241).unwrap()).collect();
    let hash = ContentHash::of(&bytes);
    let storage = open(&at);
    let mut staging = storage.stage().await.unwrap();
    for part in bytes.chunks(1 << 20) {
        staging.write(part).await.unwrap();
    }
    staging.promote(hash).await.unwrap();
    let id = samples::upload_id();
    let mut receiving = storage.receive(id).await.unwrap();
    for part in bytes.chunks(1 << 20) {
        receiving.write(part).await.unwrap();
    }
    receiving.finish().await.unwrap();
    disk.cut_power();
    drop(storage);
    disk.restart();
    let storage = open(&at);
    assert!(storage.get(hash, 0..u64::MAX).await.unwrap().as_ref() == Some(&bytes));
    assert!(whole(UploadStore::open(&*storage, id).await.unwrap()).await == Some(bytes));
}

#[tokio::test]
async fn a_stranger_s_link_among_the_uploads_is_no_upload() {
    let (folder, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let storage = open(folder.path());
    let id = samples::upload_id();
    let uploads = folder.path().join(".panaversity/uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    std::fs::write(outside.path().join("secret"), b"kept").unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), uploads.join(id.to_string())).unwrap();
    assert_eq!(storage.arrived(id).await.unwrap(), None);
    assert!(UploadStore::open(&*storage, id).await.unwrap().is_none());
    let mut receiving = storage.receive(id).await.unwrap();
    receiving.write(b"x").await.unwrap();
    receiving.finish().await.unwrap();
    assert_eq!(whole(UploadStore::open(&*storage, id).await.unwrap()).await, Some(b"x".to_vec()));
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"kept");
}

#[tokio::test]
async fn only_what_was_left_among_the_uploads_is_swept() {
    let folder = TempDir::new().unwrap();
    let storage = open(folder.path());
    let left = |name: &str| UploadEntry { id: None, name: name.to_owned(), size: 0, put_at: None };
    std::fs::create_dir_all(folder.path().join(".panaversity/uploads")).unwrap();
    std::fs::write(folder.path().join(".panaversity/uploads/note.txt"), b"x").unwrap();
    let mut listing = storage.list_arrived();
    let seen = listing.try_next().await.unwrap().unwrap();
    assert_eq!((seen[0].id, seen[0].name.as_str()), (None, "uploads/note.txt"));
    storage.sweep(&seen[0]).await.unwrap();
    assert!(!folder.path().join(".panaversity/uploads/note.txt").exists());
    for name in ["store-id", "uploads", "uploadsx", "objects/aa", "../books/x"] {
        storage.sweep(&left(name)).await.unwrap();
    }
    assert!(storage.sweep(&left("uploads/../store-id")).await.is_err());
    storage.ping().await.unwrap();
}

/// All entries listed below the books.
async fn listed(storage: &FileStorage) -> Vec<(Vec<u8>, Kind)> {
    let (mut listing, mut all) = (storage.list_files(None), Vec::new());
    while let Some(page) = listing.try_next().await.unwrap() {
        all.extend(page.into_iter().map(|seen| (seen.spot.as_bytes().to_vec(), seen.kind)));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

#[tokio::test]
async fn what_a_stranger_wrote_is_listed_and_moved_whatever_its_name_and_kind() {
    let (folder, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let storage = open(folder.path());
    std::fs::write(outside.path().join("secret"), b"kept").unwrap();
    let book = folder.path().join("books/a-book");
    std::fs::create_dir_all(book.join("deep/er")).unwrap();
    let odd = OsStr::from_bytes(b"caf\xe9\n.md");
    std::fs::write(book.join(odd), b"odd").unwrap();
    std::fs::write(book.join("deep/er/x"), b"x").unwrap();
    std::os::unix::fs::symlink(outside.path(), book.join("link")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(book.join("pipe")).status().unwrap().success());
    let due = [
        (b"a-book/caf\xe9\n.md".to_vec(), Kind::File),
        (b"a-book/deep/er/x".to_vec(), Kind::File),
        (b"a-book/link".to_vec(), Kind::Special),
        (b"a-book/pipe".to_vec(), Kind::Special),
    ];
    assert_eq!(listed(&storage).await, due);
    for (place, kind) in due {
        let spot = TreePath::new(place);
        let read = whole(Tree::open(&*storage, &spot).await.unwrap()).await;
        assert_eq!(read.is_some(), kind == Kind::File, "{}: neither link nor pipe is read", spot.shown());
        assert!(storage.set_aside(&spot, "then").await.unwrap());
    }
    assert_eq!(listed(&storage).await, []);
    assert!(!book.join("deep").exists(), "folders that became empty are gone");
    let aside = folder.path().join(".panaversity/lost+found/then/a-book");
    assert_eq!(std::fs::read(aside.join(odd)).unwrap(), b"odd");
    assert!(aside.join("link").is_symlink());
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"kept");
    let way_out = TreePath::new(b"../../outside".to_vec());
    assert!(
        storage.set_aside(&way_out, "then").await.is_err() && Tree::open(&*storage, &way_out).await.is_err()
    );
}

#[tokio::test]
async fn folders_deeper_than_any_book_are_shown_and_not_entered() {
    let folder = TempDir::new().unwrap();
    let storage = open(folder.path());
    let deep = "d/".repeat(80);
    std::fs::create_dir_all(folder.path().join("books").join(&deep)).unwrap();
    std::fs::write(folder.path().join("books").join(&deep).join("x"), b"x").unwrap();
    let seen = listed(&storage).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].1, Kind::Special);
}

#[tokio::test]
async fn a_file_among_the_objects_is_the_object_it_is_named_as_only_in_its_place() {
    let folder = TempDir::new().unwrap();
    let storage = open(folder.path());
    let hash = ContentHash::of(b"x");
    Objects::put(&*storage, hash, b"x").await.unwrap();
    let objects = folder.path().join(".panaversity/objects");
    std::fs::create_dir_all(objects.join("zz")).unwrap();
    std::fs::write(objects.join("zz").join(hash.to_string()), b"x").unwrap();
    std::fs::write(objects.join("note.txt"), b"x").unwrap();
    let (mut listing, mut hashes) = (storage.list_objects(), Vec::new());
    while let Some(page) = listing.try_next().await.unwrap() {
        hashes.extend(page.into_iter().map(|seen| seen.hash));
    }
    hashes.sort();
    assert_eq!(hashes, [None, None, Some(hash)]);
}

#[tokio::test]
async fn a_folder_that_was_emptied_or_exchanged_while_it_is_used_is_noticed() {
    let folder = TempDir::new().unwrap();
    let storage = open(folder.path());
    storage.ping().await.unwrap();
    let id = folder.path().join(".panaversity/store-id");
    std::fs::write(&id, b"another").unwrap();
    assert!(storage.ping().await.unwrap_err().detail.contains("another database"));
    std::fs::rename(folder.path().join(".panaversity"), folder.path().join("moved")).unwrap();
    assert!(storage.ping().await.is_err());
    std::fs::create_dir_all(folder.path().join(".panaversity")).unwrap();
    std::fs::write(&id, STORE).unwrap();
    storage.ping().await.unwrap();
}
