//! HTTP server of the buckets. It checks signatures and regions, and injects the troubles.

use std::io;
use std::sync::Arc;
use std::thread;

use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

use super::objects::Shelves;
use super::{ACCESS_KEY_ID, Buckets, REGION, SECRET_ACCESS_KEY, Trouble, lock};

/// Ends the connection without an answer.
#[derive(Debug)]
struct HangUp;

impl std::fmt::Display for HangUp {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("hung up")
    }
}

impl std::error::Error for HangUp {}

/// Starts the server on a thread of its own; returns its address.
pub(super) fn start(buckets: &Buckets) -> String {
    let mut builder = S3ServiceBuilder::new(Shelves(buckets.clone()));
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    let (service, buckets) = (builder.build(), buckets.clone());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket that does not block");
    let address = listener.local_addr().expect("a bound socket");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(accept(listener, service, buckets));
    });
    format!("http://{address}")
}

async fn accept(listener: std::net::TcpListener, service: S3Service, buckets: Buckets) {
    let listener = TcpListener::from_std(listener).expect("a listening socket");
    let service = Arc::new(service);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let (service, buckets) = (service.clone(), buckets.clone());
        tokio::spawn(async move {
            let serve = service_fn(move |request| answer(service.clone(), buckets.clone(), request));
            // A client that closed the connection, or whose connection was closed, is no failure.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve)
                .await;
        });
    }
}

async fn answer(
    service: Arc<S3Service>,
    buckets: Buckets,
    request: Request<Incoming>,
) -> Result<Response<Body>, HangUp> {
    let path = request.uri().path().to_owned();
    let (bucket, key) =
        path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let completes = request.method() == Method::POST
        && request.uri().query().is_some_and(|query| query.contains("uploadId="));
    let trouble = lock(&buckets).get_mut(bucket).and_then(|state| state.plan.next(completes));
    match trouble {
        None | Some(Trouble::Stale) => respond(&service, &buckets, (bucket, key), request).await,
        Some(Trouble::Busy) => {
            // An answer in the middle of a body would reach the client as a closed connection or as a
            // refusal, whichever it sees first.
            drop(request.into_body().collect().await);
            Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"))
        }
        Some(Trouble::Slow(late)) => {
            let answer = respond(&service, &buckets, (bucket, key), request).await;
            tokio::time::sleep(late).await;
            answer
        }
        Some(Trouble::Cut) => respond(&service, &buckets, (bucket, key), request).await.map(cut),
        Some(Trouble::AppliedThenError) => {
            respond(&service, &buckets, (bucket, key), request).await?;
            Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"))
        }
        Some(Trouble::Gone) => Err(HangUp),
        Some(Trouble::Silent) => std::future::pending().await,
    }
}

async fn respond(
    service: &S3Service,
    buckets: &Buckets,
    (bucket, key): (&str, &str),
    request: Request<Incoming>,
) -> Result<Response<Body>, HangUp> {
    match request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default()) {
        None if request.uri().query().is_none() && request.method() == Method::GET => {
            Ok(anonymous(buckets, bucket, key))
        }
        Some(signed) if !signed.contains(&format!("/{REGION}/s3/")) => {
            Ok(refusal(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed"))
        }
        Some(_) => service.call(request.map(Body::from)).await.map_err(|_| HangUp),
        // The body of a refused request is read to the end first: a client whose connection is
        // closed while it sends may never see the answer.
        None => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| HangUp)?.to_bytes();
            service.call(Request::from_parts(head, Body::from(body))).await.map_err(|_| HangUp)
        }
    }
}

/// The response to a request without a signature.
fn anonymous(buckets: &Buckets, bucket: &str, key: &str) -> Response<Body> {
    let buckets = lock(buckets);
    let open = buckets.get(bucket).filter(|state| state.public.iter().any(|prefix| key.starts_with(prefix)));
    match open.map(|state| state.contents.get(key)) {
        None => refusal(StatusCode::FORBIDDEN, "AccessDenied"),
        Some(None) => refusal(StatusCode::NOT_FOUND, "NoSuchKey"),
        Some(Some(held)) => Response::new(Body::from(held.bytes.clone())),
    }
}

fn refusal(status: StatusCode, code: &str) -> Response<Body> {
    let document =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>");
    let mut response = Response::new(Body::from(document));
    *response.status_mut() = status;
    response
}

/// The same response, whose body ends in the middle although its full length is announced.
fn cut(response: Response<Body>) -> Response<Body> {
    if !response.headers().contains_key(CONTENT_LENGTH) {
        return response;
    }
    response.map(|body| {
        let half = stream::once(async move {
            let whole =
                BodyExt::collect(body).await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok::<_, io::Error>(Frame::data(whole.slice(..whole.len() / 2)))
        });
        let end = stream::once(async { Err::<Frame<Bytes>, _>(io::Error::other("cut")) });
        Body::http_body_unsync(StreamBody::new(half.chain(end)))
    })
}
