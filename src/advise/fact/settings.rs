//! Facts of the flags that members run with. What is not set has etcd's default, of the member's version where that differs.

use std::collections::BTreeMap;

use super::{Fact, Known};
use crate::model::Instance;
use crate::model::unit::{human_bytes, human_seconds};

/// What a periodic compaction must leave, by the rule that counts what was not compacted.
const REVISIONS_KEPT_MAX: f64 = 10_000.0;

/// Members with a round trip below this are near to each other.
const NEAR_SECONDS: f64 = 0.02;

const FLAGS: &str = "tr '\\0' '\\n' < /proc/$(pgrep -x etcd)/cmdline";

/// etcd's flags of one member.
struct Flags<'a> {
    instance: &'a Instance,
    settings: &'a BTreeMap<String, String>,
    version: Option<(u64, u64, u64)>,
}

impl Flags<'_> {
    fn get(&self, flag: &str) -> Option<&str> {
        self.settings.get(flag).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn is_on(&self, flag: &str) -> bool {
        self.get(flag).is_some_and(|value| matches!(value, "true" | "1" | "t" | "T" | "TRUE" | "True"))
    }

    fn number(&self, flag: &str) -> Option<f64> {
        self.get(flag)?.parse().ok()
    }

    fn word(&self, key: &str, word: &str, said: String) -> Fact {
        Fact::word(key, self.instance.as_str(), word, said, FLAGS)
    }

    /// Whether a flag that is off by default is set.
    fn switch(&self, flag: &str) -> Fact {
        let on = self.is_on(flag);
        let said = if on { format!("the member runs with --{flag}") } else { format!("--{flag} is not set") };
        self.word(&format!("setting.{flag}"), if on { "true" } else { "false" }, said)
    }
}

pub(super) fn facts(known: &Known<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let of = |(instance, settings)| Flags { instance, settings, version: known.version_of(instance) };
    let all: Vec<Flags<'_>> = known.sources.settings.iter().map(of).collect();
    for flags in &all {
        facts.extend(switches(flags));
        facts.extend(sizes(flags));
        facts.extend(security(flags));
        facts.extend(timing(known, flags));
        facts.extend(compaction(known, flags));
        facts.extend(gone(flags));
    }
    facts.extend(differing(known, &all));
    facts
}

fn switches(flags: &Flags<'_>) -> Vec<Fact> {
    let mut facts: Vec<Fact> =
        ["unsafe-no-fsync", "force-new-cluster", "enable-pprof"].map(|flag| flags.switch(flag)).into();
    // `--debug` is what 3.4 has besides.
    let level = if flags.is_on("debug") { "debug" } else { flags.get("log-level").unwrap_or("info") };
    facts.push(flags.word("setting.log-level", level, format!("the member logs at {level}")));
    let strict = flags.get("strict-reconfig-check").is_none() || flags.is_on("strict-reconfig-check");
    let said = format!("changes of members are {}", if strict { "checked" } else { "not checked" });
    facts.push(flags.word("setting.strict-reconfig-check", if strict { "true" } else { "false" }, said));
    let gates = flags.get("feature-gates").unwrap_or_default();
    let checks = flags.is_on("experimental-initial-corrupt-check")
        || flags.is_on("initial-corrupt-check")
        || gates.split(',').any(|gate| gate.trim() == "InitialCorruptCheck=true");
    let said = format!(
        "the member {} its data with the others' when it starts",
        if checks { "compares" } else { "does not compare" }
    );
    let suggested = match flags.version {
        Some(version) if version >= (3, 6, 0) => "--feature-gates=InitialCorruptCheck=true",
        _ => "--experimental-initial-corrupt-check=true",
    };
    let fact = flags.word("setting.initial-corrupt-check", if checks { "on" } else { "off" }, said);
    facts.push(fact.suggest(suggested));
    facts
}

fn sizes(flags: &Flags<'_>) -> Vec<Fact> {
    let subject = flags.instance.as_str();
    let mut facts = Vec::new();
    let by_default = flags.version.map(|version| if version >= (3, 6, 0) { 10_000.0 } else { 100_000.0 });
    if let Some(count) = flags.number("snapshot-count").or(by_default) {
        let said = format!("the log is cut after {count} entries (--snapshot-count)");
        facts.push(Fact::number("setting.snapshot-count", subject, count, said, FLAGS));
    }
    let kept = |flag| flags.number(flag).unwrap_or(5.0);
    let (snapshots, logs) = (kept("max-snapshots"), kept("max-wals"));
    let word = if snapshots == 0.0 || logs == 0.0 { "unlimited" } else { "limited" };
    let said = format!("--max-snapshots is {snapshots}, --max-wals is {logs} (0 is without limit)");
    facts.push(flags.word("setting.kept-files", word, said));
    let largest = flags.number("max-request-bytes").unwrap_or(1_572_864.0);
    let said = format!("a request may be {} (--max-request-bytes)", human_bytes(largest));
    facts.push(Fact::number("setting.max-request-bytes", subject, largest, said, FLAGS));
    facts
}

fn security(flags: &Flags<'_>) -> Vec<Fact> {
    let auto: Vec<&str> =
        ["auto-tls", "peer-auto-tls"].into_iter().filter(|flag| flags.is_on(flag)).collect();
    let said = match auto.as_slice() {
        [] => "certificates are configured, or TLS is off".to_owned(),
        flags => format!("the member makes its own certificates (--{})", flags.join(", --")),
    };
    let mut facts =
        vec![flags.word("setting.auto-tls", if auto.is_empty() { "false" } else { "true" }, said)];
    // Without TLS there is nothing to ask for a certificate.
    if flags.get("cert-file").is_some() || flags.get("client-transport-security.cert-file").is_some() {
        let asks =
            flags.is_on("client-cert-auth") || flags.is_on("client-transport-security.client-cert-auth");
        let said = format!("clients are {} for a certificate", if asks { "asked" } else { "not asked" });
        facts.push(flags.word("setting.client-cert-auth", if asks { "true" } else { "false" }, said));
    }
    facts
}

/// Heartbeat interval and election timeout, seconds.
fn times(flags: &Flags<'_>) -> (f64, f64) {
    let seconds = |flag, default: f64| flags.number(flag).unwrap_or(default) / 1e3;
    (seconds("heartbeat-interval", 100.0), seconds("election-timeout", 1_000.0))
}

fn timing(known: &Known<'_>, flags: &Flags<'_>) -> Vec<Fact> {
    let Some(trip) = known.asked_of("round-trip-long", flags.instance).filter(|trip| *trip > 0.0) else {
        return Vec::new();
    };
    let (heartbeat, election) = times(flags);
    let subject = flags.instance.as_str();
    let trips = format!("nine of ten round trips take up to {}", human_seconds(trip));
    // In steps that people set.
    let rounded = |seconds: f64| ((seconds * 1e3 / 50.0).ceil() * 50.0).max(100.0);
    let mut facts = vec![
        Fact::number(
            "timing.heartbeat-over-round-trip",
            subject,
            heartbeat / trip,
            format!("the heartbeat interval is {}, and {trips}", human_seconds(heartbeat)),
            FLAGS,
        )
        .suggest(rounded(trip).to_string()),
        Fact::number(
            "timing.election-over-round-trip",
            subject,
            election / trip,
            format!("the election timeout is {}, and {trips}", human_seconds(election)),
            FLAGS,
        )
        .suggest(rounded(trip * 10.0).to_string()),
    ];
    if trip < NEAR_SECONDS {
        let said = format!("the election timeout is {}, though {trips}", human_seconds(election));
        facts.push(Fact::number("timing.election-seconds-near", subject, election, said, FLAGS));
    }
    facts
}

fn differing(known: &Known<'_>, all: &[Flags<'_>]) -> Option<Fact> {
    let mut kinds: Vec<(f64, f64)> = all.iter().map(times).collect();
    kinds.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    kinds.dedup();
    // One alone differs from nobody.
    (all.len() > 1).then(|| {
        let shown: Vec<String> = kinds
            .iter()
            .map(|(beat, election)| format!("{} and {}", human_seconds(*beat), human_seconds(*election)))
            .collect();
        let said = format!("heartbeat interval and election timeout are {}", shown.join(", elsewhere "));
        let word = if kinds.len() > 1 { "differs" } else { "same" };
        Fact::word("timing.differs", known.cluster.as_str(), word, said, FLAGS)
    })
}

fn compaction(known: &Known<'_>, flags: &Flags<'_>) -> Option<Fact> {
    let left = known.asked.get("compaction-missing")?.first().map(|(_, left)| *left)?;
    let retention = flags.get("auto-compaction-retention").unwrap_or("0");
    let (word, said) = match retention {
        "0" | "0s" | "0m" | "0h" if left > REVISIONS_KEPT_MAX => {
            ("off", format!("auto-compaction is off, and none of a day's {left:.0} revisions was compacted"))
        }
        "0" | "0s" | "0m" | "0h" => {
            ("clients", "auto-compaction is off, and a client compacts or little is written".to_owned())
        }
        retention => ("on", format!("auto-compaction keeps {retention}")),
    };
    Some(flags.word("compaction.automatic", word, said))
}

/// Flags that the next minor release refuses.
fn gone(flags: &Flags<'_>) -> Option<Fact> {
    let version = flags.version?;
    let is_gone = |flag: &&String| match (version.0, version.1) {
        (3, 4) => matches!(flag.as_str(), "debug" | "log-output"),
        (3, 5) => {
            flag.starts_with("proxy") || matches!(flag.as_str(), "enable-v2" | "experimental-enable-v2v3")
        }
        (3, 6) => flag.starts_with("experimental-"),
        _ => false,
    };
    let found: Vec<String> = flags.settings.keys().filter(is_gone).map(|flag| format!("--{flag}")).collect();
    let next = format!("{}.{}", version.0, version.1 + 1);
    let said = match found.as_slice() {
        [] => format!("every flag is known to {next}"),
        found => format!("{next} does not have {}", found.join(", ")),
    };
    let fact = Fact::number("version.gone-flags", flags.instance.as_str(), found.len() as f64, said, FLAGS);
    Some(fact.suggest(found.join(" ")))
}
