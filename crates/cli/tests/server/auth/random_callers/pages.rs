//! Random requests for pages: to every route of them, with values for each name of its query.

use super::Request;
use super::arguments::{book_name, hash, path_name, pattern, user_name};
use super::dice::Dice;
use super::library::{Library, SEEDER, SeededFile};

/// The routes of the pages, as the server declares them, each with the names that its query may have.
pub(super) const PAGES: [(&str, &[&str]); 24] = [
    ("/", &["after"]),
    ("/ui", &[]),
    ("/ui/books/{book}", &["user", "folder", "after"]),
    ("/ui/books/{book}/files/{*path}", &["user", "version", "view", "from"]),
    ("/ui/books/{book}/bytes/{*path}", &["user", "version"]),
    ("/ui/books/{book}/history/{*path}", &["user", "at", "before"]),
    ("/ui/books/{book}/compare/{*path}", &["user", "from", "to", "view"]),
    ("/ui/books/{book}/blame/{*path}", &["user", "from"]),
    ("/ui/books/{book}/restore/{*path}", &["user"]),
    ("/ui/books/{book}/changes", &["user", "until"]),
    ("/ui/books/{book}/changes/{change}", &["user", "at", "view", "from"]),
    ("/ui/books/{book}/assets", &["user", "after"]),
    ("/ui/books/{book}/build", &["archive"]),
    ("/ui/agents/{agent}", &["all", "at", "id"]),
    ("/ui/search", &["q", "in", "book", "user", "glob", "regex", "case"]),
    ("/ui/audit", LOG_FILTERS),
    ("/ui/audit/export", LOG_FILTERS),
    ("/ui/state", &[]),
    ("/ui/{*rest}", &[]),
    ("/ui/sign-in", &["next"]),
    ("/ui/sign-in/start", &["next"]),
    ("/ui/sign-in/callback", &["state", "code"]),
    ("/ui/sign-out", &[]),
    ("/ui/assets/{name}", &[]),
];
/// Names of a query of the audit log.
const LOG_FILTERS: &[&str] =
    &["book_id", "user", "path", "agent_id", "operation", "status", "since", "until", "at", "id"];

/// A request for the page of a route: by the caller's token, or by the cookie that it signs in for.
pub(super) fn page_request(library: &Library, dice: &mut Dice, route: usize) -> Request {
    let (route, names) = PAGES[route];
    let file = dice.pick(&library.files);
    let mut query = form_urlencoded::Serializer::new(String::new());
    for &name in names {
        let likelihood = match name {
            "user" | "q" | "from" | "to" => 70,
            _ => 25,
        };
        if dice.often(likelihood) {
            query.append_pair(name, &value(library, dice, route, name, file));
        }
    }
    let fitting = |change: &&(String, Option<String>, String)| change.0 == file.book && change.1 == file.user;
    let changes: Vec<_> = library.changes.iter().filter(fitting).collect();
    let change = if dice.often(80) { *dice.pick(&changes) } else { dice.pick(&library.changes) };
    let path = path_name(library, dice, &file.path);
    let is_form = route.contains("/restore/") || ["/ui/sign-in", "/ui/sign-out"].contains(&route);
    let path = route
        .replace("{book}", &book_name(library, dice, &file.book))
        .replace("{*path}", &path)
        .replace("{*rest}", &path)
        .replace("{name}", path.rsplit('/').next().unwrap_or_default())
        .replace("{change}", &change.2)
        .replace("{agent}", dice.pick::<&str>(&[SEEDER, "writer-7", "caller-1", "visitor-1"]));
    let method = if is_form && dice.often(80) { "POST" } else { "GET" };
    Request::Page { method, path: format!("{path}?{}", query.finish()), signs_in: dice.often(40) }
}

/// A value for a name of the query of a page, mostly one about this file.
fn value(library: &Library, dice: &mut Dice, route: &str, name: &str, file: &SeededFile) -> String {
    let fixed: &[&str] = match name {
        "folder" => &["content/01-Part/01-Chapter", "content", "static", "users"],
        "from" if !route.contains("/compare/") => &["1", "2", "0"],
        "view" => &["text", "inline"],
        "archive" => &["all", "content", "assets"],
        "before" => &["9223372036854775807", "1", "x"],
        "since" | "until" | "at" if !route.contains("/history/") => &["2100-01-01", "2020-01-01", "now"],
        "id" => &["", "a"],
        "in" => &["paths"],
        "all" | "regex" | "case" => &["1"],
        "agent_id" => &[SEEDER, "writer-7"],
        "operation" => &["WRITE", "READ", "DELETE", "UPLOAD"],
        "status" => &["success", "refused", "failed"],
        "next" => &["/ui/state", "//elsewhere.example"],
        "state" | "code" => &["x"],
        _ => &[],
    };
    if !fixed.is_empty() {
        return (*dice.pick(fixed)).to_owned();
    }
    match name {
        "book" | "book_id" => book_name(library, dice, &file.book),
        "after" if route == "/" => library.near_miss(dice.pick::<String>(&library.books)),
        "after" | "at" => path_name(library, dice, &file.path),
        "user" => user_name(library, dice, file),
        "version" | "from" | "to" => hash(library, dice, file),
        "glob" | "path" => pattern(library, dice, file),
        "q" => (*dice.pick(&["m", "e", ".", "lesson", "Of content"])).to_owned(),
        _ => panic!("the name `{name}` needs random values"),
    }
}
