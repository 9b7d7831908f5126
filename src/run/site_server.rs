//! Serves the report site from the store over HTTP: files, and the links to acknowledge with.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Request, Response, StatusCode, response};
use ring::digest;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::ack_desk::{self, AckDesk, Ask};
use super::clock::Clock;
use crate::report::publish_plan::{cache_control, content_type};
use crate::store::{Store, StoreError};

/// Nothing from elsewhere, nothing inline, no framing. The pages carry it as a `<meta>` too.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; worker-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A listening server.
pub struct SiteServer {
    listener: TcpListener,
    address: SocketAddr,
    site: Site,
}

#[derive(Clone)]
struct Site {
    store: Store,
    desk: Option<Arc<AckDesk>>,
    clock: Clock,
}

/// Starts listening; port 0 takes a free one. Without a `desk` no link is answered.
///
/// # Errors
/// When the address cannot be had.
pub async fn bind(
    store: Store,
    desk: Option<AckDesk>,
    clock: Clock,
    address: SocketAddr,
) -> anyhow::Result<SiteServer> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().context("the listening address is unknown")?;
    let site = Site { store, desk: desk.map(Arc::new), clock };
    Ok(SiteServer { listener, address, site })
}

impl SiteServer {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled.
    pub async fn serve(self, shutdown: CancellationToken) {
        let router = Router::new().fallback(answer).with_state(self.site);
        let server = axum::serve(self.listener, router);
        // Idle keep-alive connections need no draining, so the server just ends.
        let _ = shutdown.run_until_cancelled(server.into_future()).await;
    }
}

async fn answer(State(site): State<Site>, request: Request<Body>) -> Response<Body> {
    if let Some(desk) = site.desk.as_ref().filter(|_| request.uri().path().starts_with(ack_desk::PATH)) {
        return acknowledge(desk, site.clock.now_ms(), request).await;
    }
    let store = site.store;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    let path = request.uri().path();
    if path.ends_with('/') {
        // The pages link to …/index.html, as they must work from a bucket; this is for hand-typed URLs.
        // One slash first: with two the rest would name another host.
        return redirect(&format!("/{}index.html", path.trim_start_matches(['/', '\\'])));
    }
    match store.get_site(path.trim_start_matches('/')).await {
        Ok(Some(body)) => {
            let hash = digest::digest(&digest::SHA256, &body);
            let tag: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            let tag = format!("\"{tag}\"");
            let unchanged =
                request.headers().get(IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == tag.as_bytes());
            let response = headers(path).header(ETAG, tag);
            let (status, body) = if unchanged {
                (StatusCode::NOT_MODIFIED, Body::empty())
            } else {
                (StatusCode::OK, body.into())
            };
            finish(response.status(status), body)
        }
        // A path that is not clean names no file.
        Ok(None) | Err(StoreError::Body { .. }) => plain(StatusCode::NOT_FOUND, "not found"),
        Err(error) => {
            tracing::warn!(
                error = crate::model::chain(&error),
                path,
                "the site cannot be read from the store"
            );
            plain(StatusCode::BAD_GATEWAY, "the store cannot be read")
        }
    }
}

async fn acknowledge(desk: &AckDesk, now_ms: i64, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, ack_desk::BODY_BYTES_MAX).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "the form is too large");
    };
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let ask = Ask { method: head.method.as_str(), path, query, body: &body };
    let answer = desk.answer(ask, now_ms).await;
    let mut response = Response::builder().status(answer.status).header(CONTENT_TYPE, answer.content_type);
    for (name, value) in ack_desk::HEADERS {
        response = response.header(name, value);
    }
    finish(response, answer.body.into())
}

fn headers(path: &str) -> response::Builder {
    Response::builder()
        .header(CONTENT_TYPE, content_type(path))
        .header(CACHE_CONTROL, cache_control(path.trim_start_matches('/')))
        .header(CONTENT_SECURITY_POLICY, POLICY)
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(REFERRER_POLICY, "no-referrer")
}

fn redirect(to: &str) -> Response<Body> {
    finish(Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header(LOCATION, to), Body::empty())
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    finish(Response::builder().status(status).header(CONTENT_TYPE, "text/plain; charset=utf-8"), text.into())
}

/// A header value that does not parse is the only way this fails, and then the answer is a plain 500.
fn finish(response: response::Builder, body: Body) -> Response<Body> {
    response.body(body).unwrap_or_else(|_| {
        let mut broken = Response::new(Body::empty());
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}
