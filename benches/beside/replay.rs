//! Serves members on loopback addresses, for two scrapers at once: whoever asks within one interval gets the
//! same text.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use bytes::Bytes;

use crate::members::Member;

struct Target {
    member: Mutex<(Member, i64, Bytes)>,
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
            let member = Member::new(n, 0.0);
            let text = Bytes::from(member.text());
            let target = Target { member: Mutex::new((member, 0, text)), began: Instant::now(), interval_ms };
            let app = Router::new().route("/metrics", get(metrics)).with_state(Arc::new(target));
            let listener = tokio::net::TcpListener::bind(address(n, port)).await.unwrap();
            tokio::spawn(axum::serve(listener, app).into_future());
        }
        println!("serving={targets}");
        std::future::pending::<()>().await;
    });
}

async fn metrics(State(target): State<Arc<Target>>) -> Bytes {
    let due = i64::try_from(target.began.elapsed().as_millis()).unwrap() / target.interval_ms;
    let mut at = target.member.lock().unwrap();
    let (member, step, text) = &mut *at;
    if *step < due {
        while *step < due {
            member.step();
            *step += 1;
        }
        *text = Bytes::from(member.text());
    }
    text.clone()
}
