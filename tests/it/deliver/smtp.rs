//! A real mail server (aiosmtpd) with STARTTLS and AUTH, and what is particular to mail.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Answer, Receiver, START_MS, Story};

/// The server's process; it records each accepted message as one file.
pub struct MailServer {
    child: Child,
    port: u16,
    security: &'static str,
    folder: tempfile::TempDir,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl MailServer {
    /// `security` as the channel's: starttls, tls or none.
    pub fn start_with(security: &'static str, answers: &[Answer]) -> Self {
        let words = answers.iter().map(|answer| match answer {
            Answer::Accept => "accept",
            Answer::Busy(_) => "greylist",
            Answer::Refuse => "refuse",
            Answer::Hang => "hang",
            Answer::Garbage | Answer::Unauthorized | Answer::Redirect => panic!("only over HTTP"),
        });
        Self::told(security, &words.collect::<Vec<_>>())
    }

    /// `words` as `mail_server.py` has them.
    pub fn told(security: &'static str, words: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/test-venv/bin/python");
        assert!(python.exists(), "{} is missing; get it with `make test-deps`", python.display());
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("written");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        let mut child = Command::new(python)
            .arg(root.join("tests/it/deliver/mail_server.py"))
            .arg(folder.path())
            .arg(security)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
        let Ok(port) = line.trim().parse() else {
            let mut why = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut why);
            panic!("the mail server did not start ({why}); get it with `make test-deps`");
        };
        Self { child, port, security, folder }
    }
}

impl Receiver for MailServer {
    async fn start(answers: &[Answer]) -> Self {
        Self::start_with("starttls", answers)
    }

    fn toml(&self) -> String {
        let protected = format!(
            "ca-file = {:?}\nusername = \"monitor\"\npassword = {{ env = \"SMTP\" }}\n",
            self.folder.path().join("cert.pem"),
        );
        let protected = if self.security == "none" { String::new() } else { protected };
        format!(
            "type = \"smtp\"\nhost = \"localhost\"\nport = {}\nsecurity = {:?}\ntimeout = \"2s\"\n{protected}\
             from = \"etcd-monitor <monitor@example.com>\"\nto = [\"sre@example.com\"]",
            self.port, self.security,
        )
    }

    fn accepted(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .expect("readable")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect();
        names.sort();
        names.iter().map(|path| std::fs::read_to_string(path).expect("a message")).collect()
    }
}

fn header<'a>(mail: &'a str, name: &str) -> &'a str {
    let line = mail.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {mail}"))
}

#[tokio::test]
async fn a_story_is_one_thread_of_readable_mails() {
    let server = MailServer::start(&[]).await;
    let story = Story::new(server.config());
    story.down(START_MS).await;
    story.removed(START_MS + 120_000).await;
    let mails = server.accepted();
    assert_eq!(mails.len(), 2);
    assert_eq!(header(&mails[0], "Subject"), "[FIRING:1] EtcdMemberDown prod-eu-1 (critical)");
    assert_eq!(header(&mails[1], "Subject"), "[RESOLVED] EtcdMemberDown prod-eu-1 (critical)");
    assert_eq!(header(&mails[0], "References"), header(&mails[1], "References"));
    assert_ne!(header(&mails[0], "Message-ID"), header(&mails[1], "Message-ID"));
    for part in ["text/plain", "text/html", "&lt;down&gt;", "docs/runbooks/EtcdMemberDown.md"] {
        assert!(mails[0].contains(part), "no {part} in {}", mails[0]);
    }
    assert!(mails[1].contains("cluster prod-eu-1 removed"), "{}", mails[1]);
}

/// A mail without what differs from run to run.
fn stable(mail: &str) -> String {
    let boundary =
        mail.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    assert!(!boundary.is_empty(), "{mail}");
    // The key ends with the writer and the group's number, the thread with its hash.
    let kept = |line: &&str| !["Date: ", "X-Peer: ", "Received: "].iter().any(|name| line.starts_with(name));
    let text = mail.lines().filter(kept).collect::<Vec<_>>().join("\n");
    text.replace(boundary, "BOUNDARY")
}

#[tokio::test]
async fn what_a_mail_looks_like() {
    let server = MailServer::start(&[]).await;
    let story = Story::new(server.config());
    let labels = |instance: &'static str, severity: &'static str| {
        [
            ("alertname", "EtcdMemberDown"),
            ("cluster", "prod-eu-1"),
            ("instance", instance),
            ("severity", severity),
        ]
    };
    let mut warning = Story::finding(&labels("10.0.0.2:2379", "warning"), "member 10.0.0.2:2379 is slow");
    warning
        .annotations
        .insert("runbook_url".to_owned(), "https://runbooks.example.com/EtcdMemberDown".to_owned());
    let critical = Story::finding(&labels("10.0.0.1:2379", "critical"), "member 10.0.0.1:2379 is <down>");
    story.find(vec![critical.clone(), warning], START_MS).await;
    story.find(vec![critical], START_MS + 120_000).await;
    story.removed(START_MS + 240_000).await;
    let mails = server.accepted();
    // To look at: `chromium --headless --screenshot=mail.png --window-size=700,900 mail.html`.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mail");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (n, mail) in mails.iter().enumerate() {
        let html = mail.find("<!doctype html>").and_then(|at| mail.get(at..)).expect("an HTML part");
        let html = html.split("</html>").next().expect("an end");
        std::fs::write(folder.join(format!("{n}.html")), html).expect("written");
    }
    let text: Vec<String> = mails.iter().map(|mail| stable(mail)).collect();
    insta::assert_snapshot!("mails", text.join("\n======\n"));
}

#[tokio::test]
async fn mail_goes_out_under_every_protection() {
    for security in ["starttls", "tls", "none"] {
        let server = MailServer::start_with(security, &[]);
        let report = Story::new(server.config()).down(START_MS).await;
        assert_eq!((report.accepted.len(), server.accepted().len()), (1, 1), "{security}: {report:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_or_not_protected_gets_no_mail() {
    let (tls, plain) = (MailServer::start_with("tls", &[]), MailServer::start_with("none", &[]));
    let with_ca = tls.toml();
    let without_ca: Vec<&str> = with_ca.lines().filter(|line| !line.starts_with("ca-file")).collect();
    let downgraded = plain.toml().replace("\"none\"", "\"starttls\"");
    for (toml, hint) in [(without_ca.join("\n"), "certificate"), (downgraded, "STARTTLS")] {
        let config = toml::from_str(&toml).expect("a valid channel");
        let report = Story::new(config).down(START_MS).await;
        assert!(report.accepted.is_empty() && report.undelivered == 1, "{report:?}");
        let said = report.failures[0].error.to_string();
        assert!(said.contains(hint), "{said}");
    }
    assert!(tls.accepted().is_empty() && plain.accepted().is_empty());
}

#[tokio::test]
async fn a_wrong_password_names_the_channel_and_loses_nothing() {
    for security in ["starttls", "tls"] {
        let server = MailServer::start_with(security, &[]);
        let wrong = server.toml().replace("\"SMTP\"", "\"OTHER\"");
        let report = Story::new(toml::from_str(&wrong).expect("a valid channel")).down(START_MS).await;
        let failure = &report.failures[0];
        assert_eq!((failure.channel.as_str(), report.undelivered), ("way", 1), "{report:?}");
        let said = failure.error.to_string();
        assert!(said.contains("check username and password") && said.contains("535"), "{said}");
        assert!(!said.contains("secret of"), "{said}");
        assert!(server.accepted().is_empty());
    }
    let unprotected = MailServer::start_with("none", &[]);
    let toml = format!("{}\nusername = \"u\"\npassword = {{ env = \"SMTP\" }}", unprotected.toml());
    let config =
        std::collections::BTreeMap::from([("mail".to_owned(), toml::from_str(&toml).expect("valid"))]);
    let secret = |_: &etcd_monitor::model::SecretRef| Ok("secret".into());
    let refused = etcd_monitor::deliver::open(&config, &secret).err().expect("no password in the clear");
    assert!(refused[0].to_string().contains("channel mail: a password is not sent"), "{refused:?}");
}

#[tokio::test]
async fn labels_cannot_add_headers() {
    let server = MailServer::start(&[]).await;
    let story = Story::new(server.config());
    let evil = "Evil\r\nBcc: victim@example.com\r\n\r\n<b>\u{2028}X-Evil: 1";
    let labels = [("alertname", evil), ("cluster", "prod\nX-Evil: 2"), ("instance", "m\r\nX-Evil: 3")];
    let report = story.fires(&[&labels[..], &[("severity", "critical")]].concat(), START_MS).await;
    assert_eq!(report.accepted.len(), 1, "{report:?}");
    let mail = &server.accepted()[0];
    let headers = mail.split("\n\n").next().expect("headers");
    for line in headers.lines() {
        let name = line.split(':').next().unwrap_or_default();
        assert!(!matches!(name, "Bcc" | "X-Evil"), "{headers}");
    }
    assert!(header(mail, "Subject").starts_with("[FIRING:1] Evil"), "{headers}");
}
