//! Advice for one cluster: what to change, by which evidence, what became of it, and the health score.

use serde::{Deserialize, Serialize};

use super::ClusterName;

/// The version of this shape, as it is stored.
pub const ADVICE_FORMAT: u32 = 1;

/// All that is advised for one cluster, and what it looks like without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    pub format: u32,
    pub cluster: ClusterName,
    /// When it was worked out, ms since the epoch, UTC.
    pub made_ms: i64,
    /// What is open first, the most important first of all; then what is ignored, then what is done.
    pub items: Vec<Recommendation>,
    /// Rules that found nothing to change, with what they saw.
    pub passed: Vec<PassedRule>,
    /// Rules that could not be judged, with what they need.
    pub unknown: Vec<UnknownRule>,
    pub score: HealthScore,
}

/// One thing to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The rule's id.
    pub rule: String,
    pub title: String,
    pub area: AdviceArea,
    pub state: AdviceState,
    /// Since when it is so advised, ms since the epoch, UTC.
    pub since_ms: i64,
    /// When its evidence was seen last.
    pub seen_ms: i64,
    /// Since when its evidence is gone; `None` while it is there.
    pub clear_since_ms: Option<i64>,
    /// When the state became what it is.
    pub changed_ms: i64,
    /// Who changed the state; `None` where its evidence did.
    pub by: Option<String>,
    /// Why it is ignored, or what was done.
    pub note: Option<String>,
    /// When what is ignored is open again, ms since the epoch; `None` for never.
    pub until_ms: Option<i64>,
    /// The rule that explains this one: what helps there should help here.
    pub caused_by: Option<String>,
    /// What it is worth, 1 to 100.
    pub weight: u32,
    pub evidence: Vec<Evidence>,
    pub why: String,
    /// Commands that do it, with the names of this cluster.
    pub commands: Vec<String>,
    /// What is expected of it.
    pub gain: String,
    pub effort: Effort,
    pub confidence: Confidence,
    pub link: String,
    /// What it changed, once it is done.
    pub help: Option<Help>,
}

/// What a rule saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// A member's instance, the cluster's name, or what else it is about.
    pub subject: String,
    /// What was seen, with figures, in one sentence.
    pub text: String,
    /// In the rule's unit; `None` for what is no number.
    pub value: Option<f64>,
    /// The PromQL expression or the command that shows it.
    pub shown_by: String,
}

/// A rule that found nothing to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassedRule {
    pub rule: String,
    pub title: String,
    pub area: AdviceArea,
    /// What it saw.
    pub text: String,
}

/// A rule that could not be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnknownRule {
    pub rule: String,
    pub title: String,
    pub area: AdviceArea,
    /// What it needs.
    pub needs: String,
}

/// What a recommendation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdviceArea {
    Hardware,
    Etcd,
    OperatingSystem,
    Practice,
}

impl AdviceArea {
    pub const ALL: [Self; 4] = [Self::Hardware, Self::Etcd, Self::OperatingSystem, Self::Practice];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Etcd => "etcd",
            Self::OperatingSystem => "operating-system",
            Self::Practice => "practice",
        }
    }
}

/// What became of a recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdviceState {
    Open,
    Ignored,
    Done,
}

impl AdviceState {
    pub const ALL: [Self; 3] = [Self::Open, Self::Ignored, Self::Done];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ignored => "ignored",
            Self::Done => "done",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// How much work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// Minutes, while everything runs.
    Low,
    /// Members are restarted one by one.
    Medium,
    /// New machines, disks or networks.
    High,
}

impl Effort {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// How sure it is that the evidence means what the rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    Low,
    Medium,
    High,
}

impl Confidence {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A figure before and after a recommendation was followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Help {
    /// What is compared: `WAL fsync p99`.
    pub what: String,
    /// With its unit, for people.
    pub before: String,
    pub after: String,
    /// Both figures are over so long, ms.
    pub span_ms: i64,
    /// Nothing more is measured.
    pub is_final: bool,
    pub verdict: HelpVerdict,
}

/// Whether it helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HelpVerdict {
    Helped,
    NoDifference,
    Worse,
    /// One of both figures is missing.
    Unknown,
}

impl HelpVerdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Helped => "helped",
            Self::NoDifference => "no-difference",
            Self::Worse => "worse",
            Self::Unknown => "unknown",
        }
    }
}

/// How well a cluster is, from 0 to 100, and what it lost points for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthScore {
    /// `None` while nothing is known of any term.
    pub value: Option<u32>,
    pub terms: Vec<ScoreTerm>,
    /// What keeps the whole score low, however well the rest is: with the most that it leaves.
    pub cap: Option<(u32, String)>,
}

/// One part of the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreTerm {
    pub name: String,
    /// The points it has at best.
    pub most: u32,
    /// Those it has; `None` where nothing is known of it, and then it does not count.
    pub points: Option<u32>,
    /// How many of its rules could be judged, of how many.
    pub judged: usize,
    pub rules: usize,
    /// What it lost points for, the most first.
    pub lost: Vec<LostPoints>,
}

/// Points that a term lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LostPoints {
    pub rule: String,
    pub points: u32,
    pub text: String,
}

/// One recommendation as it was when something of it changed: a row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct AdviceRow {
    pub cluster: ClusterName,
    pub rule: String,
    /// When it changed, ms since the epoch.
    pub ts_ms: i64,
    pub area: AdviceArea,
    pub state: AdviceState,
    pub since_ms: i64,
    pub by: Option<String>,
    pub note: Option<String>,
    pub caused_by: Option<String>,
    /// The first of its evidence.
    pub subject: Option<String>,
    pub evidence: Option<String>,
    pub value: Option<f64>,
    pub help: Option<HelpVerdict>,
    /// Of the cluster at that time.
    pub score: Option<u32>,
}

impl Advice {
    /// What is open, the most important first.
    pub fn open(&self) -> impl Iterator<Item = &Recommendation> {
        self.items.iter().filter(|item| item.state == AdviceState::Open)
    }

    pub fn item(&self, rule: &str) -> Option<&Recommendation> {
        self.items.iter().find(|item| item.rule == rule)
    }

    /// What is new since `before`: recommendations that came or whose state, cause or verdict changed.
    pub fn changes<'a>(&'a self, before: Option<&'a Self>) -> Vec<&'a Recommendation> {
        let is_news = |item: &&Recommendation| {
            let before = before.and_then(|before| before.item(&item.rule));
            before.is_none_or(|before| {
                let of = |item: &Recommendation| {
                    (
                        item.state,
                        item.since_ms,
                        item.caused_by.clone(),
                        item.note.clone(),
                        item.help.as_ref().map(|help| help.verdict),
                    )
                };
                of(before) != of(item)
            })
        };
        self.items.iter().filter(is_news).collect()
    }

    /// The row of one of its recommendations.
    pub fn row(&self, item: &Recommendation) -> AdviceRow {
        let evidence = item.evidence.first();
        AdviceRow {
            cluster: self.cluster.clone(),
            rule: item.rule.clone(),
            ts_ms: self.made_ms,
            area: item.area,
            state: item.state,
            since_ms: item.since_ms,
            by: item.by.clone(),
            note: item.note.clone(),
            caused_by: item.caused_by.clone(),
            subject: evidence.map(|evidence| evidence.subject.clone()),
            evidence: evidence.map(|evidence| evidence.text.clone()),
            value: evidence.and_then(|evidence| evidence.value),
            help: item.help.as_ref().map(|help| help.verdict),
            score: self.score.value,
        }
    }
}
