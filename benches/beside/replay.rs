//! Serves members on loopback addresses, for two scrapers at once: whoever asks within one interval gets the
//! same text, compressed if it asks for that, as etcd does.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::members::Member;

/// One `/metrics` text, plain and compressed.
struct Text {
    plain: Bytes,
    gzip: Bytes,
}

impl Text {
    fn of(member: &Member) -> Self {
        let plain = Bytes::from(member.text());
        // Go's compressor has this level by default.
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        gzip.write_all(&plain).unwrap();
        Self { plain, gzip: gzip.finish().unwrap().into() }
    }
}

/// A member that moves with the time.
pub struct Target {
    member: Mutex<(Member, i64, Text)>,
    began: Instant,
    interval_ms: i64,
}

/// The address of target `n` (from 0).
pub fn address(n: usize, port: u16) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 1, u8::try_from(n + 1).unwrap()), port).into()
}

pub fn serve(port: u16, targets: usize, interval_ms: i64) {
    crate::block_on(async {
        for n in 0..targets {
            let target = Target::new(n, interval_ms);
            let app = Router::new().route("/metrics", get(metrics)).with_state(Arc::new(target));
            let listener = tokio::net::TcpListener::bind(address(n, port)).await.unwrap();
            tokio::spawn(axum::serve(listener, app).into_future());
        }
        println!("serving={targets}");
        std::future::pending::<()>().await;
    });
}

async fn metrics(State(target): State<Arc<Target>>, headers: HeaderMap) -> Response<Body> {
    target.answer(&headers)
}

impl Target {
    pub fn new(n: usize, interval_ms: i64) -> Self {
        let member = Member::new(n, 0.0);
        let text = Text::of(&member);
        Self { member: Mutex::new((member, 0, text)), began: Instant::now(), interval_ms }
    }

    pub fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let due = i64::try_from(self.began.elapsed().as_millis()).unwrap() / self.interval_ms;
        let mut at = self.member.lock().unwrap();
        let (member, step, text) = &mut *at;
        if *step < due {
            while *step < due {
                member.step();
                *step += 1;
            }
            *text = Text::of(member);
        }
        let gzip = |accepted: &axum::http::HeaderValue| accepted.to_str().unwrap().contains("gzip");
        let asked = headers.get("accept-encoding").is_some_and(gzip);
        let answer = Response::builder().header("content-type", "text/plain; version=0.0.4; charset=utf-8");
        if asked {
            answer.header("content-encoding", "gzip").body(Body::from(text.gzip.clone())).unwrap()
        } else {
            answer.body(Body::from(text.plain.clone())).unwrap()
        }
    }
}
