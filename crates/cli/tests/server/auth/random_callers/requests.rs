//! Random requests: every tool of the tool list with arguments for each name in its schema, every other
//! method of MCP, and every HTTP route; those of pages are in `pages`.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::answers::shown_json;
use super::arguments::{book_name, forged_cursor, hash, path_name, spare_seeded_files, value};
use super::dice::Dice;
use super::library::{Library, SeededFile};
use super::pages::{PAGES, page_request};

/// The HTTP routes other than `/mcp` and those of pages, as the server declares them.
pub(super) const ROUTES: [&str; 9] = [
    "/books/{book}/changes",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/books/{book}/static/{*path}",
    "/books/{book}/content/{*path}",
    "/uploads/{id}",
    "/books/{book}/archive.zip",
];
/// Paths that are routes of other methods, of servers of another kind, or none.
const NO_ROUTES: [&str; 9] = [
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/",
    "/mcp",
    "/books",
    "/books/{book}",
    "/books/{book}/{path}",
    "/books/{book}/users/{user}/{path}",
    "/.panaversity/objects/{hash}",
];
/// Route that asks who its caller is.
const FEED: &str = "/books/{book}/changes";
/// Methods of MCP beside `tools/call`, and two that do not exist.
const METHODS: [&str; 12] = [
    "resources/read",
    "completion/complete",
    "resources/list",
    "prompts/get",
    "tools/list",
    "resources/templates/list",
    "prompts/list",
    "initialize",
    "ping",
    "server/discover",
    "resources/lst",
    "tools/cal",
];

/// A request of a caller.
#[derive(Debug)]
pub(super) enum Request {
    Tool {
        name: String,
        arguments: Value,
    },
    Method {
        method: &'static str,
        params: Value,
        is_modern: bool,
    },
    /// To the feed of changes, by an identified caller.
    Feed {
        path: String,
    },
    /// For a page, by an identified caller.
    Page {
        method: &'static str,
        path: String,
        /// True if the caller signs in first and sends the cookie alone.
        signs_in: bool,
    },
    /// To a route that knows no caller.
    Http {
        method: &'static str,
        path: String,
        header: Option<(&'static str, String)>,
        link_of: Option<String>,
    },
}

impl Request {
    pub(super) fn random(library: &Library, dice: &mut Dice) -> Self {
        match dice.below(13) {
            0..6 => {
                let tool = dice.pick(&library.tools);
                tool_call(library, dice, tool)
            }
            6..8 => {
                let method = dice.pick(&METHODS);
                method_call(library, dice, method)
            }
            8 => link_request(library, dice),
            9..12 => {
                let page = dice.below(PAGES.len());
                page_request(library, dice, page)
            }
            _ if dice.often(20) => route_request(library, dice, FEED),
            _ => {
                let route = dice.pick(&[&ROUTES[..], &NO_ROUTES].concat()).to_owned();
                route_request(library, dice, route)
            }
        }
    }

    /// One request to each tool, method and path, about one file after the other from this one on.
    pub(super) fn to_everything(library: &Library, first_file: u16) -> Vec<Self> {
        let mut file = first_file;
        let mut numbers = || {
            file += 1;
            // The first choice of a request is its file.
            [file]
        };
        let tools = library.tools.iter();
        let mut all: Vec<_> =
            tools.map(|tool| tool_call(library, &mut Dice::new(&numbers()), tool)).collect();
        all.extend(METHODS.map(|method| method_call(library, &mut Dice::new(&numbers()), method)));
        let routes = ROUTES.into_iter().chain(NO_ROUTES);
        all.extend(routes.map(|route| route_request(library, &mut Dice::new(&numbers()), route)));
        let pages = 0..PAGES.len();
        all.extend(pages.map(|page| page_request(library, &mut Dice::new(&numbers()), page)));
        all
    }

    /// All that the caller sends, as text.
    pub(super) fn sent(&self) -> String {
        match self {
            Self::Tool { name, arguments } => shown_json(&json!([name, arguments])),
            Self::Method { params, .. } => shown_json(params),
            Self::Feed { path } => path.clone(),
            Self::Page { path, .. } => {
                let (path, query) = path.split_once('?').expect("a query");
                let values = form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value);
                format!("{path} {}", values.collect::<Vec<_>>().join(" "))
            }
            Self::Http { path, header, .. } => format!("{path} {header:?}"),
        }
    }
}

fn tool_call(library: &Library, dice: &mut Dice, tool: &Value) -> Request {
    let (name, schema) = (tool["name"].as_str().expect("a name"), &tool["inputSchema"]);
    let file = dice.pick(&library.files);
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let mut arguments = Map::new();
    for (argument, schema) in schema["properties"].as_object().expect("properties") {
        let likelihood = match argument.as_str() {
            _ if required.iter().any(|required| *required == argument) => 97,
            "book_id" => 75,
            "cursor" => 12,
            _ => 40,
        };
        if dice.often(likelihood) {
            arguments.insert(argument.clone(), value(library, dice, argument, schema, file));
        }
    }
    if tool["annotations"]["readOnlyHint"] == false {
        spare_seeded_files(library, dice, &mut arguments, &schema["properties"]);
    }
    if arguments.contains_key("cursor") {
        let cursor = forged_cursor(library, dice, name, &arguments, file);
        arguments.insert("cursor".to_owned(), cursor.into());
    }
    Request::Tool { name: name.to_owned(), arguments: arguments.into() }
}

fn method_call(library: &Library, dice: &mut Dice, method: &'static str) -> Request {
    let file = dice.pick(&library.files);
    let (book, path) = (book_name(library, dice, &file.book), path_name(library, dice, &file.path));
    let uri = format!("book://{book}/{path}");
    let params = match method {
        "resources/read" => json!({ "uri": uri }),
        "resources/list" if dice.often(50) => {
            let position = json!({ "book": "aaa", "path": "content/A.md" }).to_string();
            json!({ "cursor": BASE64_URL_SAFE_NO_PAD.encode(position) })
        }
        "prompts/get" => json!({ "name": dice.pick(&["edit_lesson", "summarise_chapter", "edit_leson"]),
            "arguments": { "book_id": book, "path": path } }),
        "completion/complete" => {
            let name = *dice.pick(&["path", "book_id", "task"]);
            let typed = *dice.pick(&["", "content/01-Part/01-Chapter/0", "static/", "book-", "b"]);
            let reference = if dice.often(50) {
                json!({ "type": "ref/resource", "uri": "book://{book_id}/{+path}" })
            } else {
                json!({ "type": "ref/prompt", "name": "edit_lesson" })
            };
            json!({ "ref": reference, "argument": { "name": name, "value": typed },
                "context": { "arguments": { "book_id": book } } })
        }
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "caller", "version": "1" } }),
        "resources/lst" | "tools/cal" => json!({ "uri": uri, "name": "read_content" }),
        _ => json!({}),
    };
    // Both eras of the protocol.
    Request::Method { method, params, is_modern: !dice.often(60) }
}

/// A method and a header of a request to a path.
fn method_and_header(
    library: &Library,
    dice: &mut Dice,
    file: &SeededFile,
) -> (&'static str, Option<(&'static str, String)>) {
    let header = match dice.below(6) {
        1 => Some(("range", "bytes=0-40".to_owned())),
        2 => Some(("if-none-match", format!("\"{}\"", hash(library, dice, file)))),
        _ => None,
    };
    (*dice.pick(&["GET", "GET", "HEAD", "PUT", "POST"]), header)
}

/// A request to a link that another caller was given, or to one that nobody was.
fn link_request(library: &Library, dice: &mut Dice) -> Request {
    let file = dice.pick(&library.files);
    let (method, header) = method_and_header(library, dice, file);
    let (book, link) = dice.pick(&library.links);
    let path = if dice.often(30) { link.clone() } else { forged_link(library, dice, link, file) };
    let link_of = (path == *link).then(|| book.clone());
    Request::Http { method, path, header, link_of }
}

fn route_request(library: &Library, dice: &mut Dice, route: &str) -> Request {
    let file = dice.pick(&library.files);
    let (method, header) = method_and_header(library, dice, file);
    let (book, path) = (book_name(library, dice, &file.book), path_name(library, dice, &file.path));
    let name = path.split_once('/').map_or("", |(_, name)| name);
    if route == FEED {
        let user = dice.pick::<String>(&library.users);
        let (user, since) =
            (dice.often(60).then(|| format!("user_id={user}")), dice.often(20).then_some("since=now"));
        let query: Vec<String> = user.into_iter().chain(since.map(str::to_owned)).collect();
        return Request::Feed { path: format!("{}?{}", route.replace("{book}", &book), query.join("&")) };
    }
    let path = route
        .replace("{book}", &book)
        .replace("{*path}", name)
        .replace("{path}", &path)
        .replace("{user}", dice.pick::<String>(&library.users))
        .replace("{hash}", &format!("{}/{}", &file.hash[..2], file.hash))
        .replace("{id}", &dice.pick(&library.uploads).1);
    Request::Http { method, path, header, link_of: None }
}

/// A real link with one part changed.
fn forged_link(library: &Library, dice: &mut Dice, link: &str, file: &SeededFile) -> String {
    let other_book = dice.pick(&library.books);
    let user = dice.pick(&library.users);
    match dice.below(6) {
        0 => library.books.iter().fold(link.to_owned(), |link, book| link.replace(book, other_book)),
        1 => link.replace("user=__base__", &format!("user={user}")),
        2 => {
            let (start, query) = link.split_once('?').expect("a query");
            let pairs = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name @ ("hash" | "manifest" | "layout"), _)) => format!("{name}={}", file.hash),
                _ => pair.to_owned(),
            });
            format!("{start}?{}", pairs.collect::<Vec<_>>().join("&"))
        }
        3 => link.split_once("&signature").expect("a signature").0.to_owned(),
        4 => format!("/books/{}/{}?{}", file.book, file.path, link.split_once('?').expect("a query").1),
        _ => format!("{link}0"),
    }
}
