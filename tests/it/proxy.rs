//! A TCP proxy that delays and cuts, and servers that are no etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Forwards to one address; in both directions every piece arrives `delay` later.
pub struct Proxy {
    port: u16,
    delay_ms: Arc<AtomicU64>,
    cut: Arc<AtomicBool>,
    date_shift_s: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("address").port();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let cut = Arc::new(AtomicBool::new(false));
        let date_shift_s = Arc::new(AtomicI64::new(0));
        let (delay, cutting, shift) = (Arc::clone(&delay_ms), Arc::clone(&cut), Arc::clone(&date_shift_s));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (there, back) = (Arc::new(AtomicI64::new(0)), Arc::clone(&shift));
                tokio::spawn(pump(from_client, to_server, (Arc::clone(&delay), Arc::clone(&cutting), there)));
                tokio::spawn(pump(from_server, to_client, (Arc::clone(&delay), Arc::clone(&cutting), back)));
            }
        });
        Self { port, delay_ms, cut, date_shift_s, task }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The dates of HTTP answers are so much later, as of a machine whose clock is ahead.
    pub fn shift_dates(&self, seconds: i64) {
        self.date_shift_s.store(seconds, Ordering::Relaxed);
    }

    pub fn delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Ends each connection at its next byte.
    pub fn cut(&self, on: bool) {
        self.cut.store(on, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    (delay_ms, cut, date_shift_s): (Arc<AtomicU64>, Arc<AtomicBool>, Arc<AtomicI64>),
) {
    // A line of constant length: what comes next does not wait for what is on its way.
    let (entered, mut leaves) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(1_024);
    let carry = async move {
        while let Some((due, piece)) = leaves.recv().await {
            tokio::time::sleep_until(due).await;
            if cut.load(Ordering::Relaxed) || to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let take = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            let piece = with_date(&buffer[..n], date_shift_s.load(Ordering::Relaxed));
            if entered.send((due, piece)).await.is_err() {
                return;
            }
        }
    };
    // The end of either side reaches the other when all that is on its way has arrived.
    let mut carry = std::pin::pin!(carry);
    tokio::select! {
        () = &mut carry => {}
        () = take => carry.await,
    }
}

/// The piece with the `Date` in it, if there is one, so many seconds later.
fn with_date(piece: &[u8], seconds: i64) -> Vec<u8> {
    const NAME: &[u8] = b"\r\nDate: ";
    let mut piece = piece.to_vec();
    if seconds != 0
        && let Some(at) = piece.windows(NAME.len()).position(|window| window == NAME)
        && let Some(date) = piece.get_mut(at + NAME.len()..at + NAME.len() + 29)
    {
        let text = std::str::from_utf8(date).expect("a date");
        let own = chrono::DateTime::parse_from_rfc2822(text).expect("a date").to_utc();
        let shifted = own + chrono::TimeDelta::seconds(seconds);
        date.copy_from_slice(shifted.format("%a, %d %b %Y %H:%M:%S GMT").to_string().as_bytes());
    }
    piece
}

/// Answers every HTTP/1 request with `body`, and anything else as well.
pub struct Canned {
    port: u16,
    task: JoinHandle<()>,
}

impl Canned {
    pub async fn new(body: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("address").port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let body = body.clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&body).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { port, task }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}
