//! Whether the machine's clock is kept right: certificates and leases end by it, and logs are compared by it.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::model::{Check, Level};

const PATIENCE: Duration = Duration::from_secs(5);

/// Who may know, how to ask, and how to read the answer: whether it is kept right.
type Source = (&'static str, &'static [&'static str], fn(&str) -> Option<bool>);

const SOURCES: [Source; 3] = [
    ("timedatectl", &["show", "--property=NTPSynchronized", "--value"], of_timedatectl),
    ("chronyc", &["-n", "tracking"], of_chronyc),
    ("ntpq", &["-c", "rv 0 leap"], of_ntpq),
];

fn of_timedatectl(said: &str) -> Option<bool> {
    match said.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn of_chronyc(said: &str) -> Option<bool> {
    let status = said.lines().find_map(|line| line.strip_prefix("Leap status")?.split_once(':'))?;
    Some(status.1.trim() != "Not synchronised")
}

/// `leap=00`; 3 is a clock that nobody sets.
fn of_ntpq(said: &str) -> Option<bool> {
    let leap = said.split("leap=").nth(1)?.trim();
    Some(!(leap.starts_with("11") || leap.starts_with("leap_alarm")))
}

/// Asks whoever sets the clock on this machine.
pub async fn synchronised() -> Check {
    for (program, arguments, read) in SOURCES {
        let asked = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
        let Ok(Ok(output)) = tokio::time::timeout(PATIENCE, asked).await else { continue };
        if !output.status.success() {
            continue;
        }
        if let Some(is_kept) = read(&String::from_utf8_lossy(&output.stdout)) {
            return said(Some((program, is_kept)));
        }
    }
    said(None)
}

fn said(answer: Option<(&str, bool)>) -> Check {
    let (level, found) = match answer {
        Some((program, true)) => (Level::Pass, format!("the clock is synchronised ({program})")),
        Some((program, false)) => (Level::Critical, format!("the clock is not synchronised ({program})")),
        None => {
            let programs = SOURCES.map(|(program, ..)| program).join(", ");
            (
                Level::Unknown,
                format!("nobody says whether the clock is synchronised ({programs} do not answer)"),
            )
        }
    };
    let advice = "Install chrony, or timedatectl set-ntp true: certificates and leases end by the clock";
    Check::new(
        "clock",
        level,
        found,
        "synchronised",
        "etcd warns of peers whose clocks are more than a second apart",
        advice,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_answers_are_read() {
        assert_eq!(
            (of_timedatectl("yes\n"), of_timedatectl("no\n"), of_timedatectl("")),
            (Some(true), Some(false), None)
        );
        let tracking =
            "Reference ID    : A9FEA97B (169.254.169.123)\nStratum         : 4\nLeap status     : Normal\n";
        assert_eq!(of_chronyc(tracking), Some(true));
        assert_eq!(of_chronyc(&tracking.replace("Normal", "Not synchronised")), Some(false));
        assert_eq!(of_chronyc("506 Cannot talk to daemon\n"), None);
        assert_eq!(
            (of_ntpq("leap=00\n"), of_ntpq("leap=11\n"), of_ntpq("nothing")),
            (Some(true), Some(false), None)
        );
    }

    #[test]
    fn who_cannot_say_is_unknown_and_a_wrong_clock_critical() {
        assert_eq!(said(None).level, Level::Unknown);
        assert_eq!(said(Some(("chronyc", false))).level, Level::Critical);
        assert_eq!(
            (said(Some(("chronyc", true))).level, said(Some(("chronyc", true))).advice),
            (Level::Pass, String::new())
        );
    }
}
