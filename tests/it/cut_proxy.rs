//! A proxy before an HTTP server that kills a process at the n-th request: before the server hears of it, or when it has
//! done it and the process does not know yet.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// When the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Before(usize),
    After(usize),
    Never,
}

pub struct CutProxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    cut: Cut,
    delay: Duration,
    requests: AtomicUsize,
    /// 0 until it is started.
    victim: AtomicU32,
}

impl CutProxy {
    pub fn to(upstream: u16, cut: Cut) -> Self {
        Self::start(upstream, cut, Duration::ZERO)
    }

    /// Kills nobody, and takes its time for every request.
    pub fn slow(upstream: u16, delay: Duration) -> Self {
        Self::start(upstream, Cut::Never, delay)
    }

    fn start(upstream: u16, cut: Cut, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            upstream,
            cut,
            delay,
            requests: AtomicUsize::new(0),
            victim: AtomicU32::new(0),
        });
        let of_threads = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_threads);
                // What breaks off is the point of it.
                std::thread::spawn(move || drop(shared.carry(client)));
            }
        });
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn victim(&self, pid: u32) {
        self.shared.victim.store(pid, Ordering::SeqCst);
    }

    /// Requests that came so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// One request and its answer; the connection ends with it.
    fn carry(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        let head = loop {
            if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let count = client.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            request.extend_from_slice(&buffer[..count]);
        };
        let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |length| length.trim().parse().expect("a number"));
        while request.len() < head + length {
            let count = client.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            request.extend_from_slice(&buffer[..count]);
        }
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        if self.cut == Cut::Before(number) {
            self.kill();
            return Ok(());
        }
        std::thread::sleep(self.delay);
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        let line = request.windows(2).position(|two| two == b"\r\n").unwrap_or(0) + 2;
        server.write_all(&request[..line])?;
        server.write_all(b"Connection: close\r\n")?;
        server.write_all(&request[line..])?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        if self.cut == Cut::After(number) {
            self.kill();
            return Ok(());
        }
        client.write_all(&answer)
    }

    fn kill(&self) {
        let pid = loop {
            match self.victim.load(Ordering::SeqCst) {
                0 => std::thread::sleep(Duration::from_millis(1)),
                pid => break pid,
            }
        };
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process");
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
