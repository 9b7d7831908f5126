//! What somebody reads whose machine lacks something: the messages of `infra/*.sh`, on machines made of a PATH.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What any system has, and the scripts may use without asking.
const BASE: [&str; 15] = [
    "awk", "cat", "chmod", "dirname", "env", "find", "grep", "head", "mktemp", "printf", "rm", "sed", "sort",
    "tail", "tee",
];

/// A folder that is a whole PATH.
struct Machine(TempDir);

impl Machine {
    /// A machine with the base tools and `programs`, each a shell script's text; run as user `uid`.
    fn new(uid: u32, programs: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().expect("folder"));
        for name in BASE {
            symlink(which(name), machine.0.path().join(name)).expect("link");
        }
        symlink("/bin/sh", machine.0.path().join("sh")).expect("link");
        let id = format!("echo {uid}");
        for (name, script) in programs.iter().chain([&("id", id.as_str())]) {
            let path = machine.0.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("program");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        machine
    }

    /// The exit code of a script of infra/ and what it says.
    fn run(&self, script: &str) -> (Option<i32>, String) {
        let output = Command::new("/bin/sh")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .env_clear()
            .env("PATH", self.0.path())
            .env("HOME", self.0.path())
            .output()
            .expect("sh starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH");
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is on no machine's PATH: run `make test-deps`"))
}

const CARGO: (&str, &str) = ("cargo", "echo cargo 1.95.0");
const RUSTC: (&str, &str) = ("rustc", "echo 'rustc 1.95.0 (0123456789 2026-01-01)'");
const OLD_RUSTC: (&str, &str) = ("rustc", "echo 'rustc 1.63.0'");
const RUSTUP: (&str, &str) = ("rustup", "");
const CURL: (&str, &str) = ("curl", "");
const PROTOC: (&str, &str) = ("protoc", "");
const REFUSING_APT: (&str, &str) = ("apt-get", "echo 'E: no route to the mirror' >&2; exit 100");

#[test]
fn a_missing_or_old_rust_is_told_with_the_command_that_gets_one() {
    for (programs, wanted) in [
        (vec![CURL], "missing: Rust 1.89 or newer. Get it from https://rustup.rs: curl"),
        (vec![CARGO, CURL], "missing: Rust 1.89"),
        (vec![REFUSING_APT], "apt-get install -y curl ca-certificates && curl"),
        (vec![CARGO, OLD_RUSTC, RUSTUP], "Rust 1.63.0 is older than 1.89, which etcd-monitor needs"),
        (vec![CARGO, OLD_RUSTC, RUSTUP], "run: rustup update stable"),
        (
            vec![CARGO, OLD_RUSTC, CURL],
            "your system's package is too old; get Rust from https://rustup.rs: curl",
        ),
        (
            vec![CARGO, ("rustc", "echo 'error: no default toolchain' >&2; exit 1"), RUSTUP],
            "no default toolchain",
        ),
        (vec![CARGO, ("rustc", "exit 1"), RUSTUP], "run: rustup default stable"),
    ] {
        let (code, text) = Machine::new(0, &programs).run("infra/build-deps.sh");
        assert!(code == Some(1) && text.contains(wanted), "{programs:?}\nwanted {wanted}\n{text}");
    }
}

#[test]
fn a_rust_outside_the_path_is_found() {
    let machine = Machine::new(0, &[]);
    let bin = machine.0.path().join(".cargo/bin");
    fs::create_dir_all(&bin).expect("folder");
    symlink("/bin/true", bin.join("cargo")).expect("link");
    let (code, text) = machine.run("infra/build-deps.sh");
    assert!(code == Some(1) && text.contains("Run: . \"$HOME/.cargo/env\""), "{text}");
}

#[test]
fn missing_packages_are_named_with_the_systems_own_command() {
    for (manager, wanted) in [
        (None, "these are Debian's package names"),
        (Some("dnf"), "run: dnf install -y gcc glibc-devel protobuf-compiler"),
        (Some("apk"), "run: apk add gcc musl-dev protobuf-dev"),
        (Some("pacman"), "run: pacman -S --needed gcc protobuf"),
        (Some("brew"), "run: brew install gcc protobuf"),
    ] {
        let programs: Vec<_> = [CARGO, RUSTC].into_iter().chain(manager.map(|name| (name, ""))).collect();
        let (code, text) = Machine::new(0, &programs).run("infra/build-deps.sh");
        assert!(text.contains("missing to build: gcc libc6-dev protobuf-compiler"), "{text}");
        assert!(code == Some(1) && text.contains(wanted), "{manager:?}: {text}");
    }
}

#[test]
fn without_root_and_sudo_the_command_for_root_is_told_and_nothing_is_run() {
    let apt = ("apt-get", "echo it ran >&2");
    let (code, text) = Machine::new(1000, &[CARGO, RUSTC, apt, PROTOC]).run("infra/build-deps.sh");
    let wanted = "as root, run: apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev";
    assert!(code == Some(1) && text.contains(wanted) && !text.contains("it ran"), "{text}");
}

#[test]
fn with_sudo_packages_are_installed_and_a_refusal_is_shown() {
    // Runs nothing on this machine: it only writes down what it was asked.
    let folder = tempfile::tempdir().expect("folder");
    let log = folder.path().join("log");
    let sudo = format!("echo \"$*\" >>'{}'", log.display());
    let machine = Machine::new(1000, &[CARGO, RUSTC, PROTOC, ("apt-get", ""), ("sudo", &sudo)]);
    let (code, text) = machine.run("infra/build-deps.sh");
    assert_eq!(code, Some(0), "{text}");
    let log = fs::read_to_string(&log).expect("log");
    assert!(log.contains("apt-get update"), "{log}");
    assert!(log.contains("install -y -qq --no-install-recommends gcc libc6-dev"), "{log}");

    let refusing = format!("case \"$*\" in *apt-get*) {} ;; esac", REFUSING_APT.1);
    let machine = Machine::new(1000, &[CARGO, RUSTC, PROTOC, REFUSING_APT, ("sudo", &refusing)]);
    let (code, text) = machine.run("infra/build-deps.sh");
    assert_eq!(code, Some(1));
    for wanted in ["E: no route to the mirror", "could not install to build: gcc", "sudo apt-get install -y"]
    {
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn the_demo_names_the_etcd_it_lacks() {
    let (code, text) = Machine::new(0, &[]).run("infra/demo/demo.sh");
    assert_eq!(code, Some(1));
    for wanted in ["missing for the demo: etcd-server", "cargo run -- run --endpoints"] {
        assert!(text.contains(wanted), "{text}");
    }
    let (_, text) = Machine::new(0, &[("brew", "")]).run("infra/demo/demo.sh");
    assert!(text.contains("run: brew install etcd"), "{text}");
}
