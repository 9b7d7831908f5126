//! The way to the other planned members: round trips of connections, and the ports that etcd will listen on.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, lookup_host};

use crate::model::unit::human_seconds;
use crate::model::{Check, Level, PeerTrip};

/// A round trip that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(25);

/// Round trips, seconds: what is wanted, and etcd's default heartbeat interval.
const GOOD: f64 = 0.010;
const HEARTBEAT: f64 = 0.100;

/// Connects to each peer (`host:port`) `count` times; who refuses has answered.
pub async fn trips(peers: &[String], count: u64) -> Vec<PeerTrip> {
    futures::future::join_all(peers.iter().map(|peer| trip(peer, count))).await
}

async fn trip(peer: &str, count: u64) -> PeerTrip {
    let mut result =
        PeerTrip { peer: peer.to_owned(), sent: 0, answered: 0, p50: None, p99: None, problem: None };
    let address = match lookup_host(peer).await.map(|mut found| found.next()) {
        Ok(Some(address)) => address,
        Ok(None) => return PeerTrip { problem: Some("its name has no address".to_owned()), ..result },
        Err(error) => return PeerTrip { problem: Some(error.to_string()), ..result },
    };
    let mut took = Vec::new();
    for _ in 0..count {
        result.sent += 1;
        match once(address).await {
            Ok(seconds) => took.push(seconds),
            Err(problem) => result.problem = Some(problem),
        }
        // Who never answers is not asked for a minute.
        if took.is_empty() && result.sent >= 3 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    took.sort_by(f64::total_cmp);
    result.answered = took.len() as u64;
    let at = |share: f64| {
        let last = took.len().checked_sub(1)?;
        took.get(((last as f64) * share).round() as usize).copied()
    };
    (result.p50, result.p99) = (at(0.5), at(0.99));
    result
}

async fn once(address: SocketAddr) -> Result<f64, String> {
    let began = Instant::now();
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(began.elapsed().as_secs_f64()),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Ok(began.elapsed().as_secs_f64()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "no answer within {}: a firewall drops it, or the machine is off",
            human_seconds(PATIENCE.as_secs_f64())
        )),
    }
}

/// What the round trips mean: a check per peer.
pub fn round_trips(trips: &[PeerTrip]) -> Vec<Check> {
    let rule = "p99 below 10 ms; above etcd's heartbeat interval (100 ms by default) elections begin";
    let source = "the tuning checklist, and etcd's tuning guide";
    if trips.is_empty() {
        let found = "no other planned member was given".to_owned();
        return vec![Check::new("round-trip", Level::Unknown, found, rule, source, "Give --peers")];
    }
    let check = |trip: &PeerTrip| {
        let lost = trip.sent - trip.answered;
        let problem = trip.problem.as_deref().unwrap_or("no answer");
        let (level, found) = match trip.p99 {
            None => (Level::Critical, format!("{}: {problem}", trip.peer)),
            Some(p99) => {
                let level = match p99 {
                    p99 if p99 >= HEARTBEAT => Level::Critical,
                    p99 if p99 >= GOOD || lost > 0 => Level::Warning,
                    _ => Level::Pass,
                };
                let p50 = human_seconds(trip.p50.unwrap_or(p99));
                let lost = if lost > 0 {
                    format!(", {lost} of {} lost ({problem})", trip.sent)
                } else {
                    String::new()
                };
                (level, format!("{}: p50 {p50}, p99 {}{lost}", trip.peer, human_seconds(p99)))
            }
        };
        Check::new("round-trip", level, found, rule, source, &tuned(trip))
    };
    trips.iter().map(check).collect()
}

/// The settings that go with a round trip: a heartbeat of one and a half, an election timeout of ten heartbeats.
fn tuned(trip: &PeerTrip) -> String {
    match trip.p99 {
        None => "Open the ports between the members (2379, 2380), and start again".to_owned(),
        Some(p99) => {
            let heartbeat = (p99 * 1.5e3 / 50.0).ceil().max(2.0) * 50.0;
            let election = (heartbeat * 10.0).min(50_000.0);
            format!(
                "Put members nearer to each other, or set --heartbeat-interval={heartbeat:.0} --election-timeout={election:.0} on all of them"
            )
        }
    }
}

/// Whether so many members make sense.
pub fn cluster_size(members: usize) -> Check {
    let (level, advice) = match members {
        3 | 5 | 7 => (Level::Pass, ""),
        1 => (Level::Warning, "One member bears no failure: plan three"),
        2 => (Level::Warning, "Two members bear no failure, and each stops both: plan three"),
        even if even % 2 == 0 => (
            Level::Warning,
            "An even number bears no more failures than one member less: plan one more or less",
        ),
        _ => (Level::Warning, "More than seven make every write slower: add learners, or a proxy"),
    };
    let found = format!("{members} member(s) are planned, and {} may fail", members.saturating_sub(1) / 2);
    Check::new("cluster-size", level, found, "3, 5 or 7", "etcd's FAQ", advice)
}

/// Whether etcd can listen on its ports.
pub async fn ports(ports: &[u16]) -> Vec<Check> {
    let mut checks = Vec::new();
    for port in ports {
        let (level, found) = match TcpListener::bind(("0.0.0.0", *port)).await {
            Ok(_) => (Level::Pass, format!("port {port} is free")),
            Err(error) => (Level::Warning, format!("port {port} cannot be listened on: {error}")),
        };
        let advice = format!("ss -ltnp sport = :{port} says who has it");
        checks.push(Check::new("ports", level, found, "free for etcd", "etcd's default ports", &advice));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(p99_ms: f64, sent: u64, answered: u64) -> (Level, String) {
        let p99 = (answered > 0).then_some(p99_ms / 1e3);
        let trip = PeerTrip { peer: "b:2380".to_owned(), sent, answered, p50: p99, p99, problem: None };
        let check = round_trips(&[trip]).remove(0);
        (check.level, check.advice)
    }

    #[test]
    fn round_trips_have_two_limits_and_loss_counts() {
        assert_eq!(of(0.3, 20, 20), (Level::Pass, String::new()));
        assert_eq!(of(9.9, 20, 20).0, Level::Pass);
        assert_eq!(of(10.0, 20, 20).0, Level::Warning);
        assert_eq!(of(0.3, 20, 19).0, Level::Warning);
        assert_eq!(of(100.0, 20, 20).0, Level::Critical);
        assert_eq!(of(0.0, 3, 0).0, Level::Critical);
        assert!(of(80.0, 20, 20).1.contains("--heartbeat-interval=150 --election-timeout=1500"));
        assert!(of(20.0, 20, 20).1.contains("--heartbeat-interval=100 --election-timeout=1000"));
        assert_eq!(round_trips(&[]).remove(0).level, Level::Unknown);
    }

    #[test]
    fn odd_sizes_pass() {
        let passes: Vec<usize> =
            (1..=9).filter(|members| cluster_size(*members).level == Level::Pass).collect();
        assert_eq!(passes, [3, 5, 7]);
    }

    #[tokio::test]
    async fn who_refuses_has_answered_and_a_taken_port_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let refused = {
            let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            free.local_addr().expect("an address").to_string()
        };
        let peers = [format!("127.0.0.1:{port}"), refused, "no-such-host.invalid:2380".to_owned()];
        let found = trips(&peers, 5).await;
        assert_eq!(found.iter().map(|trip| trip.answered).collect::<Vec<_>>(), [5, 5, 0], "{found:?}");
        assert!(found.iter().take(2).all(|trip| trip.p99 >= trip.p50 && trip.p50.is_some()));
        let levels: Vec<Level> = ports(&[port]).await.into_iter().map(|check| check.level).collect();
        assert_eq!(levels, [Level::Warning]);
    }
}
