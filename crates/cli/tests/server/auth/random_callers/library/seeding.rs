//! Seeding of the library by an administrator, who is shown every marker.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Library, Marker, MarkerKind, Owner, SCRATCH_TEXTS, SEEDER, SeededFile};
use crate::auth::random_callers::answers::{follow, shown};
use crate::auth::token;
use crate::fixtures::{sha256, text, with};
use crate::harness::TestClient;

const CHAPTER: &str = "content/01-Part/01-Chapter";

impl Library {
    /// Seeds four books, of both schemas, and the overlays of three users.
    pub(in super::super) async fn seeded(server: &TestClient) -> Self {
        let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let mut library = Self {
            books: Vec::new(),
            users: Vec::new(),
            overlays: Vec::new(),
            files: Vec::new(),
            markers: Vec::new(),
            changes: Vec::new(),
            uploads: Vec::new(),
            links: Vec::new(),
            tools: Vec::new(),
            seeders_view: String::new(),
            scratch: BTreeMap::new(),
            scratch_assets: BTreeMap::new(),
            seeder: server.client().with_token(&token("admin", json!({ "sub": SEEDER }))),
            is_naming_scratch: false,
            seed,
        };
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
        let listed = library.seeder.rpc(list).await;
        library.tools.clone_from(listed["result"]["tools"].as_array().expect("the tools"));
        library.name_books_and_users();
        library.name_scratch();
        for (n, book) in library.books.clone().iter().enumerate() {
            let schema = if n % 2 == 0 { "strict" } else { "docusaurus" };
            library.call("create_book", json!({ "book_id": book, "schema": schema })).await;
            library.seed_base(book, schema).await;
        }
        for (book, user) in library.overlays.clone() {
            library.seed_overlay(&book, &user).await;
        }
        for book in library.books.clone() {
            library.look_at(&book).await;
        }
        library
    }

    fn name_books_and_users(&mut self) {
        for n in 0..4 {
            let word = self.word();
            let book = format!("book-{n}-{word}");
            self.mark(word, Owner::Base(book.clone()), MarkerKind::BookId, None);
            self.books.push(book);
        }
        for n in 0..3 {
            let word = self.word();
            let user = format!("user-{n}-{word}");
            self.mark(word, Owner::User(user.clone()), MarkerKind::UserId, None);
            self.users.push(user);
        }
        for (book, user) in [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (0, 2), (3, 2)] {
            self.overlays.push((self.books[book].clone(), self.users[user].clone()));
        }
    }

    /// Names what callers will write into each layer.
    fn name_scratch(&mut self) {
        self.is_naming_scratch = true;
        let users: Vec<_> = [None].into_iter().chain(self.users.iter().cloned().map(Some)).collect();
        for book in self.books.clone() {
            for user in &users {
                let word = self.word();
                self.scratch.insert((book.clone(), user.clone()), word.clone());
                self.mark(word, owner(&book, user.as_ref()), MarkerKind::Content, None);
                for n in 0..SCRATCH_TEXTS {
                    let hash = sha256(self.scratch_text(&book, user.as_deref(), n));
                    self.mark(hash, owner(&book, user.as_ref()), MarkerKind::Hash, None);
                }
            }
            let (word, url) = (self.word(), format!("/books/{book}/static/"));
            self.scratch_assets.insert(book.clone(), word.clone());
            self.mark(word, Owner::Base(book.clone()), MarkerKind::Content, Some(url.clone()));
            let hash = sha256(self.scratch_asset(&book));
            self.mark(hash, Owner::Base(book.clone()), MarkerKind::Hash, Some(url));
        }
        self.is_naming_scratch = false;
    }

    async fn seed_base(&mut self, book: &str, schema: &str) {
        let word = self.path_word(book, None);
        let (kept, gone) = (format!("{CHAPTER}/01-{word}.md"), format!("{CHAPTER}/02-{word}.md"));
        let first = self.write(book, None, &kept, None).await;
        self.plan(book).await;
        self.write(book, None, &kept, Some(first)).await;
        self.write(book, None, &format!("{CHAPTER}/README.md"), None).await;
        self.write(book, None, &gone, None).await;
        self.delete(book, None, &gone).await;
        let image = format!("{}.png", self.path_word(book, None));
        self.upload(book, "img", &image).await;
        if schema == "docusaurus" {
            self.upload(book, "content", &image).await;
        }
        for is_put in [false, true] {
            let filename = format!("pending-{}.png", self.path_word(book, None));
            let body = self.scratch_asset(book);
            let announced = json!({ "book_id": book, "asset_type": "img", "filename": filename,
                "file_size": body.len() });
            let begun = self.call("upload_asset", announced).await;
            let link = self.path_of(&begun["upload_url"]);
            if is_put {
                assert_eq!(self.seeder.send("PUT", &link, &[], body).await.status, 200);
            }
            self.uploads.push((book.to_owned(), text(&begun["upload_id"])));
            self.links.push((book.to_owned(), link));
        }
    }

    /// A page that only the overlay has, one over a page of the base, and one deleted.
    async fn seed_overlay(&mut self, book: &str, user: &str) {
        let over = self.files.iter().find(|file| file.book == book && file.user.is_none());
        let over = over.expect("a page of the base").path.clone();
        let word = self.path_word(book, Some(user));
        let (own, gone) = (format!("{CHAPTER}/03-{word}.md"), format!("{CHAPTER}/04-{word}.md"));
        let first = self.write(book, Some(user), &own, None).await;
        self.write(book, Some(user), &own, Some(first)).await;
        self.write(book, Some(user), &over, None).await;
        self.write(book, Some(user), &gone, None).await;
        self.delete(book, Some(user), &gone).await;
    }

    /// Reads all of the book, so that every marker of it is shown to the administrator.
    async fn look_at(&mut self, book: &str) {
        self.plan(book).await;
        let archive = self.call("get_book_archive", json!({ "book_id": book })).await;
        let link = self.path_of(&archive["archive_url"]);
        self.links.push((book.to_owned(), link));
        self.call("list_books", json!({ "book_id": book, "include_structure": "all" })).await;
        for user in [None].into_iter().chain(self.users.clone().into_iter().map(Some)) {
            let all = json!({ "book_id": book, "scope": "book", "user_id": user });
            self.call("read_content", all).await;
            self.call("query_audit_log", json!({ "book_id": book, "user_id": user })).await;
        }
        for file in self.files.clone().iter().filter(|file| file.book == book) {
            let version = json!({ "book_id": book, "path": file.path, "user_id": file.user,
                "hash": file.hash });
            if !file.path.starts_with("static/") {
                self.call("read_content", version).await;
            }
            let all = json!({ "book_id": book, "path": file.path, "user_id": file.user });
            let history = self.call("list_history", all).await;
            for version in history["versions"].as_array().expect("versions") {
                let change = (book.to_owned(), file.user.clone(), text(&version["change_id"]));
                self.changes.push(change);
            }
        }
        let all = self.call("list_assets", json!({ "book_id": book })).await;
        for asset in all["assets"].as_array().expect("assets") {
            let bytes = json!({ "book_id": book, "asset_type": asset["asset_type"],
                "filename": asset["filename"], "include_binary": true });
            let asset = self.call("get_asset", bytes).await;
            if asset["download_url"].is_string() {
                let link = self.path_of(&asset["download_url"]);
                self.links.push((book.to_owned(), link));
            }
        }
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let reply = self.seeder.post("/mcp", message.to_string(), &[]).await;
        self.seeders_view += &shown(&reply);
        let answer = reply.json()["result"].clone();
        assert_eq!(answer["isError"], false, "{tool} {arguments}: {answer}");
        for (_, followed) in follow(&self.seeder, &answer["structuredContent"], None).await {
            self.seeders_view += &shown(&followed);
        }
        answer["structuredContent"].clone()
    }

    async fn write(
        &mut self,
        book: &str,
        user: Option<&str>,
        path: &str,
        expected: Option<String>,
    ) -> String {
        let word = self.word();
        let content = format!("# {word}\n\nOf {path}.\n");
        let hash = sha256(&content);
        let user = user.map(str::to_owned);
        self.mark(word, owner(book, user.as_ref()), MarkerKind::Content, None);
        self.mark(hash.clone(), owner(book, user.as_ref()), MarkerKind::Hash, None);
        let file = json!({ "book_id": book, "path": path, "content": content, "user_id": user });
        self.call("write_content", with(file, json!({ "expected_hash": expected }))).await;
        let (book, path) = (book.to_owned(), path.to_owned());
        self.files.push(SeededFile { book, user, path, hash: hash.clone() });
        hash
    }

    async fn delete(&mut self, book: &str, user: Option<&str>, path: &str) {
        self.call("delete_content", json!({ "book_id": book, "path": path, "user_id": user })).await;
    }

    async fn upload(&mut self, book: &str, kind: &str, filename: &str) {
        let word = self.word();
        let bytes = [b"\x89PNG\r\n\x1a\n\x00\xff".as_slice(), word.as_bytes()].concat();
        let hash = sha256(&bytes);
        let path = if kind == "content" {
            format!("content/{filename}")
        } else {
            format!("static/{kind}/{filename}")
        };
        let url = path.starts_with("static/").then(|| format!("/books/{book}/{path}"));
        self.mark(word, Owner::Base(book.to_owned()), MarkerKind::Content, url.clone());
        self.mark(hash.clone(), Owner::Base(book.to_owned()), MarkerKind::Hash, url);
        let asset = json!({ "book_id": book, "asset_type": kind, "filename": filename });
        let bytes = json!({ "binary_data": BASE64_STANDARD.encode(bytes) });
        self.call("upload_asset", with(asset, bytes)).await;
        self.files.push(SeededFile { book: book.to_owned(), user: None, path, hash });
    }

    /// Marks the hash of the book's present state.
    async fn plan(&mut self, book: &str) {
        let plan = self.call("plan_build", json!({ "book_id": book })).await;
        self.mark(text(&plan["manifest_hash"]), Owner::Base(book.to_owned()), MarkerKind::Hash, None);
    }

    fn path_of(&self, link: &Value) -> String {
        text(link).strip_prefix(self.seeder.url()).expect("a link to this server").to_owned()
    }

    fn path_word(&mut self, book: &str, user: Option<&str>) -> String {
        let word = self.word();
        self.mark(word.clone(), owner(book, user.map(str::to_owned).as_ref()), MarkerKind::Path, None);
        word
    }

    /// A new word, which no hash can contain.
    fn word(&self) -> String {
        format!("m{}", &sha256(format!("{}/{}", self.seed, self.markers.len() + self.scratch.len()))[..11])
    }

    fn mark(&mut self, text: String, owner: Owner, kind: MarkerKind, published_at: Option<String>) {
        let is_scratch = self.is_naming_scratch;
        self.markers.push(Marker { text, owner, kind, is_scratch, published_at });
    }
}

fn owner(book: &str, user: Option<&String>) -> Owner {
    match user {
        None => Owner::Base(book.to_owned()),
        Some(user) => Owner::Overlay(book.to_owned(), user.clone()),
    }
}
