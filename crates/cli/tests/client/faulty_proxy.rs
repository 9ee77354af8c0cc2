//! A proxy between a client and the real server that misbehaves where a hook says so. What it does not
//! twist it passes on as it is; only links are numbered, so that they can be over.
//!
//! # A request
//! 1. It is noted by name, and the hook decides what happens to it.
//! 2. What never gets to the server ends here: a fault, silence, a link that is over, a tool that the
//!    server is said not to offer.
//! 3. It is forwarded, changed where an option says so (see [`tools`]).
//! 4. The answer is changed, lost or cut.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header, request};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::author::Author;

mod archive;
mod cut;
mod request_name;
mod tools;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twist {
    Honest,
    /// Somebody else writes this text at this path of the book just before.
    Overtaken(&'static str, &'static str),
    /// Somebody else deletes this file of the book just before.
    Removed(&'static str),
    /// HTTP 500, nothing done.
    Fault,
    /// The call is done, the answer lost.
    LostAnswer,
    /// Content differs from what was asked for; a list has lost its last file; an archive lies; an
    /// asset or an upload arrives with other bytes.
    Corrupt,
    /// A whole list names this path too, and its manifest hash is right.
    Listed(&'static str),
    /// So many bytes of a download come, then nothing more.
    Cut(usize),
    /// The link is over, and all others given before.
    Over,
    /// No answer, ever.
    Hang,
}

/// A call as a hook sees it: its number from 1, the tool or route and the path.
pub(crate) struct Call {
    pub(crate) number: usize,
    pub(crate) tool: String,
    pub(crate) path: String,
}

type Hook = Box<dyn FnMut(&Call) -> Twist + Send>;

/// A running proxy. Clones are the same one.
#[derive(Clone)]
pub(crate) struct FaultyProxy {
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    author: Author,
    rules: Mutex<Rules>,
    /// Calls that got no answer since the hook was set.
    hung: watch::Sender<usize>,
}

struct Rules {
    hook: Hook,
    calls: Vec<String>,
    options: Options,
    /// Links given so far, and the first of them that is not over.
    links: usize,
    first_valid: usize,
    /// Uploads that go to a bucket: where they lead really.
    uploads: HashMap<String, String>,
}

/// What the server is said to be like.
#[derive(Debug, Clone, Copy)]
struct Options {
    /// Files on a page of a plan, if not as many as the server gives.
    page: Option<usize>,
    /// Bytes of the largest asset inside a call, if not as many as the server takes.
    direct: Option<usize>,
    archives: bool,
    manifests: bool,
    bucket: bool,
}

/// A request on its way.
struct Exchange {
    parts: request::Parts,
    body: Bytes,
    twist: Twist,
    options: Options,
}

impl FaultyProxy {
    /// A proxy on a free port in front of the author's server.
    pub(crate) async fn start(author: Author) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let rules = Rules {
            hook: Box::new(|_| Twist::Honest),
            calls: Vec::new(),
            options: Options { page: None, direct: None, archives: true, manifests: true, bucket: false },
            links: 0,
            first_valid: 0,
            uploads: HashMap::new(),
        };
        let shared = Shared { url, author, rules: Mutex::new(rules), hung: watch::Sender::new(0) };
        let shared = Arc::new(shared);
        let app = Router::new().fallback(handle).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { shared }
    }

    /// What clients reach.
    pub(crate) fn url(&self) -> &str {
        &self.shared.url
    }

    /// Twists calls from now on.
    pub(crate) fn on_call(&self, hook: impl FnMut(&Call) -> Twist + Send + 'static) {
        self.shared.hung.send_replace(0);
        self.shared.rules().hook = Box::new(hook);
    }

    pub(crate) fn honest(&self) {
        self.on_call(|_| Twist::Honest);
    }

    /// Waits until so many calls since the hook was set have got no answer.
    pub(crate) async fn hung(&self, calls: usize) {
        self.shared.hung.subscribe().wait_for(|hung| *hung >= calls).await.unwrap();
    }

    /// The calls since the last time this was asked, by tool or route.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.rules().calls)
    }

    /// Plans come in pages of so many files.
    pub(crate) fn page_size(&self, files: usize) {
        self.shared.rules().options.page = Some(files);
    }

    /// Larger assets do not go inside a call.
    pub(crate) fn direct_limit(&self, bytes: usize) {
        self.shared.rules().options.direct = Some(bytes);
    }

    /// A server that gives no archives.
    pub(crate) fn no_archives(&self) {
        self.shared.rules().options.archives = false;
    }

    /// A server that knows no manifest that a client names.
    pub(crate) fn forget_manifests(&self) {
        self.shared.rules().options.manifests = false;
    }

    /// Uploads go to a bucket, as one with presigned links offers it: at an address of its own, with
    /// headers that are signed too.
    pub(crate) fn uploads_to_a_bucket(&self) {
        self.shared.rules().options.bucket = true;
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap()
    }
}

impl Rules {
    /// Notes a call and asks the hook what to do with it.
    fn twist(&mut self, tool: String, path: String) -> Twist {
        self.calls.push(tool.clone());
        (self.hook)(&Call { number: self.calls.len(), tool, path })
    }

    /// A link as it is given to the client: with its number.
    fn numbered(&mut self, link: &str) -> String {
        self.links += 1;
        format!("{link}&link={}", self.links)
    }

    /// Takes the number off a query; `None`: that link is over.
    fn opened(&self, query: &str) -> Option<String> {
        let Some((query, number)) = query.rsplit_once("&link=") else { return Some(query.to_owned()) };
        (number.parse::<usize>().unwrap() >= self.first_valid).then(|| query.to_owned())
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    // A client that was killed while it sent has made no call.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    // 1.
    let (tool, path, book) = request_name::of(&parts, &body);
    let (twist, options) = {
        let mut rules = shared.rules();
        (rules.twist(tool, path), rules.options)
    };
    let mut exchange = Exchange { parts, body, twist, options };

    // 2.
    match twist {
        Twist::Fault => return (StatusCode::INTERNAL_SERVER_ERROR, "down").into_response(),
        Twist::Hang => {
            shared.hung.send_modify(|hung| *hung += 1);
            std::future::pending::<()>().await;
        }
        Twist::Overtaken(path, text) => shared.author.put(&book, &[(path, text)]).await,
        Twist::Removed(path) => shared.author.remove(&book, path).await,
        _ => {}
    }
    if let Err(refusal) = exchange.open_link(&shared) {
        return refusal.into_response();
    }
    if let Some(answer) = tools::refused(&exchange) {
        return answer;
    }

    // 3. and 4.
    exchange.forward(&shared).await
}

impl Exchange {
    /// Checks the link that a request came by, and turns it to where it leads.
    fn open_link(&mut self, shared: &Shared) -> Result<(), StatusCode> {
        let mut rules = shared.rules();
        if self.twist == Twist::Over {
            rules.first_valid = rules.links + 1;
        }
        let path = self.parts.uri.path().to_owned();
        let query = rules.opened(self.parts.uri.query().unwrap_or_default()).ok_or(StatusCode::FORBIDDEN)?;
        let mut target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        if let Some(id) = path.strip_prefix("/bucket/uploads/") {
            let headers = &self.parts.headers;
            let is_signed = query == "X-Amz-Signature=yes" && headers.contains_key("x-must-be-there");
            let real = rules.uploads.get(id).filter(|_| is_signed);
            target = real.cloned().ok_or(StatusCode::FORBIDDEN)?;
            // Buckets take no upload whose length is not known before.
            if headers.get(header::CONTENT_LENGTH).is_none() {
                return Err(StatusCode::LENGTH_REQUIRED);
            }
        }
        self.parts.uri = target.parse::<Uri>().unwrap();
        Ok(())
    }

    async fn forward(mut self, shared: &Shared) -> Response {
        let page = tools::alter_request(&mut self);
        if self.twist == Twist::Corrupt && self.parts.method == Method::PUT {
            self.body = vec![b'?'; self.body.len()].into();
        }
        let Self { parts, body, twist, options } = self;
        let url = format!("{}{}", shared.author.server(), parts.uri);
        let sent = shared.author.http().request(parts.method, url).headers(passed_on(&parts.headers));
        let answer = sent.body(body).send().await.expect("the server answers");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        let mut body = answer.bytes().await.expect("a whole answer");

        if twist == Twist::LostAnswer {
            let lost = stream::iter([Err::<Bytes, _>(std::io::Error::other("lost"))]);
            return Response::new(Body::from_stream(lost));
        }
        if parts.uri.path() == "/mcp" {
            body = tools::alter_answer(shared, twist, options, page, &body);
            response.headers_mut().remove(header::CONTENT_LENGTH);
        } else if twist == Twist::Corrupt && parts.uri.path().ends_with("/archive.zip") {
            body = archive::lying(&body).into();
        } else if twist == Twist::Corrupt && response.status().is_success() {
            body = vec![b'?'; body.len()].into();
        }
        *response.body_mut() = match twist {
            Twist::Cut(after) => cut::after(&body, after),
            _ => body.into(),
        };
        response
    }
}

/// The headers that are not of the connection.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for of_connection in
        [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::EXPECT]
    {
        headers.remove(of_connection);
    }
    headers
}
