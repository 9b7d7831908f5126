//! A network of hosts on this machine: one network namespace each, joined by a bridge that the tests reach, so that
//! links between hosts can be cut while all hosts go on answering the tests.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Network {
    name: String,
    subnet: String,
    hosts: usize,
}

fn ip(args: &[&str]) {
    let out = Command::new("ip").args(args).output().expect("iproute2 is missing: run `make test-deps`");
    let why = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "ip {}: {why} (network namespaces need root)", args.join(" "));
}

static MADE: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// `hosts` hosts that reach each other and the tests. Names and addresses come from this process' id.
    pub fn new(hosts: usize) -> Self {
        let (pid, nth) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // An interface's name has at most 15 letters.
        let name = format!("em{:x}{:x}", pid & 0xff_ffff, nth & 0xf);
        let subnet = format!("10.{}.{}", 64 + (pid / 250 + nth) % 128, pid % 250);
        let network = Self { name, subnet, hosts };
        let bridge = network.name.as_str();
        ip(&["link", "add", bridge, "type", "bridge"]);
        ip(&["addr", "add", &format!("{}.254/24", network.subnet), "dev", bridge]);
        ip(&["link", "set", bridge, "up"]);
        for host in 0..hosts {
            let (space, cable) = (network.space(host), format!("{bridge}v{host}"));
            ip(&["netns", "add", &space]);
            ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &space]);
            ip(&["link", "set", &cable, "master", bridge, "up"]);
            let address = format!("{}/24", network.address(host));
            ip(&["-n", &space, "addr", "add", &address, "dev", "eth0"]);
            ip(&["-n", &space, "link", "set", "eth0", "up"]);
            ip(&["-n", &space, "link", "set", "lo", "up"]);
        }
        network
    }

    fn space(&self, host: usize) -> String {
        format!("{}h{host}", self.name)
    }

    pub fn address(&self, host: usize) -> String {
        format!("{}.{}", self.subnet, host + 1)
    }

    /// What runs `program` on a host.
    pub fn command(&self, host: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(host)]).arg(program);
        command
    }

    fn filter(&self, host: usize, args: &[&str]) {
        let mut command = self.command(host, std::path::Path::new("iptables"));
        let out = command.arg("-w").args(args).output().expect("iproute2 is missing: run `make test-deps`");
        let why = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "iptables {}: {why} (run `make test-deps`)", args.join(" "));
    }

    /// Packets from `from` do not arrive at `to` any more; nobody is told.
    pub fn lose(&self, from: usize, to: usize) {
        self.filter(to, &["-A", "INPUT", "-s", &self.address(from), "-j", "DROP"]);
    }

    /// Both ways.
    pub fn cut(&self, a: usize, b: usize) {
        self.lose(a, b);
        self.lose(b, a);
    }

    /// Of the packets that come from other hosts, `percent` of a hundred do not arrive.
    pub fn drop_some(&self, at: usize, percent: u8) {
        let share = format!("{:.2}", f64::from(percent) / 100.0);
        for from in (0..self.hosts).filter(|from| *from != at) {
            let source = self.address(from);
            let lottery = ["-m", "statistic", "--mode", "random", "--probability", &share];
            self.filter(at, &[&["-A", "INPUT", "-s", &source][..], &lottery, &["-j", "DROP"]].concat());
        }
    }

    /// All links are whole again.
    pub fn heal(&self) {
        for host in 0..self.hosts {
            self.filter(host, &["-F", "INPUT"]);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A cable goes with its namespace.
        for host in 0..self.hosts {
            let _ = Command::new("ip").args(["netns", "del", &self.space(host)]).output();
        }
        let _ = Command::new("ip").args(["link", "del", &self.name]).output();
    }
}
