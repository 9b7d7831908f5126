//! Progress on a terminal, and nowhere else.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::program;

/// A bucket that lets each request wait for longer than work may go on without progress, then refuses it.
fn slow_bucket() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            std::thread::sleep(Duration::from_millis(2500));
            let _ =
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    url
}

fn with_bucket(mut command: Command, terminal: &str) -> Command {
    command
        .env("AWS_ENDPOINT_URL", slow_bucket())
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "id")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("TERM", terminal)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// Everything the program shows on a terminal of its own.
fn on_a_terminal(arguments: &str, terminal: &str) -> String {
    let line = format!("{} --store s3://bucket/prefix {arguments}", env!("CARGO_BIN_EXE_etcd-monitor"));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let output = with_bucket(command, terminal).output();
    let output = output.expect("script of util-linux is missing: apt-get install -y bsdutils");
    let text = program::stdout(&output);
    assert!(text.contains("etcd-monitor: "), "the refusal is told: {text}");
    text
}

#[test]
fn long_work_shows_on_a_terminal_what_it_does_and_cleans_up() {
    for (arguments, wanted) in [
        ("store verify", "verify, 2s"),
        ("query up --since 30d", "query, 2s"),
        ("report --out unused", "report, 2s"),
        ("run compact --endpoints http://127.0.0.1:1", "compact, 2s"),
    ] {
        let text = on_a_terminal(arguments, "xterm");
        assert!(text.contains(wanted), "{arguments}: {text:?}");
        assert!(!text.contains("\u{1b}[3"), "NO_COLOR is respected: {text:?}");
        let last = text.rfind(wanted).expect("found above");
        assert!(text[last..].contains("\u{1b}[2K"), "the line is taken off the terminal: {text:?}");
    }
}

#[test]
fn progress_is_only_for_people_who_want_it() {
    for (arguments, terminal) in
        [("store verify --quiet", "xterm"), ("store verify --json", "xterm"), ("store verify", "dumb")]
    {
        let text = on_a_terminal(arguments, terminal);
        assert!(!text.contains("verify, "), "{arguments} on {terminal}: {text:?}");
    }
    let piped = program::command(&["--store", "s3://bucket/prefix", "store", "verify"]);
    let output = with_bucket(piped, "xterm").output().expect("the binary starts");
    let text = program::stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.lines().count() == 1 && text.starts_with("etcd-monitor: "), "{text:?}");
}
