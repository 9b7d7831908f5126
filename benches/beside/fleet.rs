//! Whole etcd members of many clusters: `/metrics` as [`crate::replay`] serves them, and the gRPC calls of a reading on
//! the same port. Some clusters are dead: half of those refuse connections, the others take them and say nothing.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::{get, post};
use bytes::{BufMut, Bytes, BytesMut};
use etcd_monitor::etcd::wire::{
    AlarmResponse, HashKvResponse, Header, ListedMember, MemberListResponse, RangeResponse, StatusResponse,
};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;

use crate::replay::{Target, address};

const MEMBERS: usize = 3;
const TERM: u64 = 2;

struct Served {
    place: usize,
    port: u16,
    metrics: Target,
    began: Instant,
    /// Calls of Status, and fetches of metrics.
    counts: [AtomicU64; 2],
}

impl Served {
    fn id(place: usize) -> u64 {
        place as u64 + 1
    }

    fn cluster(&self) -> usize {
        self.place / MEMBERS
    }

    fn header(&self) -> Option<Header> {
        let revision = i64::try_from(self.index()).unwrap();
        let cluster_id = self.cluster() as u64 + 1_000;
        Some(Header { cluster_id, member_id: Self::id(self.place), revision, raft_term: TERM })
    }

    /// Grows as with a hundred writes a second.
    fn index(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 / 10
    }

    fn answer(&self, call: &str) -> Option<Vec<u8>> {
        let header = self.header();
        let first = self.cluster() * MEMBERS;
        Some(match call {
            "Status" => {
                self.counts[0].fetch_add(1, Ordering::Relaxed);
                let (raft_index, leader) = (self.index(), Self::id(first));
                StatusResponse {
                    header,
                    version: "3.5.30".to_owned(),
                    db_size: 50 << 20,
                    db_size_in_use: 40 << 20,
                    leader,
                    raft_index,
                    raft_term: TERM,
                    raft_applied_index: raft_index,
                    ..StatusResponse::default()
                }
                .encode_to_vec()
            }
            "MemberList" => {
                let listed = |place: usize| ListedMember {
                    id: Self::id(place),
                    name: format!("m{place}"),
                    peer_urls: vec![format!("http://{}:1", address(place, self.port).ip())],
                    client_urls: vec![format!("http://{}", address(place, self.port))],
                    is_learner: false,
                };
                let members = (first..first + MEMBERS).map(listed).collect();
                MemberListResponse { header, members }.encode_to_vec()
            }
            "Range" => RangeResponse { header, count: 0 }.encode_to_vec(),
            "Alarm" => AlarmResponse { header, alarms: Vec::new() }.encode_to_vec(),
            "HashKV" => HashKvResponse { header, hash: 7, ..HashKvResponse::default() }.encode_to_vec(),
            _ => return None,
        })
    }
}

/// Serves until killed; `http://127.0.0.1:PORT/counts` has a line `place status metrics` for each living member.
pub fn serve(port: u16, clusters: usize, dead: usize, interval_ms: i64) {
    crate::block_on(async {
        let mut living = Vec::new();
        for place in 0..clusters * MEMBERS {
            let cluster = place / MEMBERS;
            if cluster < dead {
                if cluster.is_multiple_of(2) {
                    tokio::spawn(say_nothing(address(place, port)));
                }
                continue;
            }
            let metrics = Target::new(place, interval_ms);
            let counts = [AtomicU64::new(0), AtomicU64::new(0)];
            let served = Arc::new(Served { place, port, metrics, began: Instant::now(), counts });
            living.push(Arc::clone(&served));
            let app = Router::new()
                .route("/metrics", get(scraped))
                .route("/{service}/{call}", post(called))
                .with_state(served);
            let listener = tokio::net::TcpListener::bind(address(place, port)).await.unwrap();
            tokio::spawn(axum::serve(listener, app).into_future());
        }
        let count = living.len();
        let app = Router::new().route("/counts", get(counted)).with_state(Arc::new(living));
        let control: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let listener = tokio::net::TcpListener::bind(control).await.unwrap();
        println!("serving={count}");
        axum::serve(listener, app).await.unwrap();
    });
}

async fn say_nothing(address: SocketAddr) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let mut open = Vec::new();
    while let Ok((connection, _)) = listener.accept().await {
        open.push(connection);
    }
}

async fn counted(State(living): State<Arc<Vec<Arc<Served>>>>) -> String {
    let mut text = String::new();
    for served in living.iter() {
        let [status, metrics] = served.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        writeln!(text, "{} {status} {metrics}", served.place).unwrap();
    }
    text
}

async fn scraped(State(served): State<Arc<Served>>, headers: HeaderMap) -> Response<Body> {
    served.counts[1].fetch_add(1, Ordering::Relaxed);
    served.metrics.answer(&headers)
}

/// A unary call: one message with its five bytes before it, and the status in the trailers.
async fn called(
    State(served): State<Arc<Served>>,
    Path((_, call)): Path<(String, String)>,
) -> Response<Body> {
    let answer = Response::builder().header("content-type", "application/grpc");
    let Some(message) = served.answer(&call) else {
        return answer.header("grpc-status", "12").body(Body::empty()).unwrap();
    };
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.extend_from_slice(&message);
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let frames = [Frame::<Bytes>::data(framed.freeze()), Frame::trailers(trailers)];
    let frames = futures::stream::iter(frames.map(Ok::<_, std::convert::Infallible>));
    answer.body(Body::new(StreamBody::new(frames))).unwrap()
}
