//! A real mail server (aiosmtpd) with STARTTLS and AUTH, and what is particular to mail.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Answer, Receiver, START_MS, Story};

/// The server's process; it records each accepted message as one file.
pub struct MailServer {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Receiver for MailServer {
    async fn start(answers: &[Answer]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/test-venv/bin/python");
        assert!(python.exists(), "{} is missing; get it with `make test-deps`", python.display());
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("written");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        let words = answers.iter().map(|answer| match answer {
            Answer::Accept => "accept",
            Answer::Busy(_) => "greylist",
            Answer::Refuse => "refuse",
            Answer::Hang => "hang",
        });
        let mut child = Command::new(python)
            .arg(root.join("tests/it/deliver/mail_server.py"))
            .arg(folder.path())
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
        Self { child, port, folder }
    }

    fn toml(&self) -> String {
        format!(
            "type = \"smtp\"\nhost = \"localhost\"\nport = {}\nca-file = {:?}\ntimeout = \"2s\"\n\
             username = \"monitor\"\npassword = {{ env = \"SMTP\" }}\n\
             from = \"etcd-monitor <monitor@example.com>\"\nto = [\"sre@example.com\"]",
            self.port,
            self.folder.path().join("cert.pem"),
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
