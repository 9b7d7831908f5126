//! What template expressions compute with: the few types of Go that Prometheus' templates see.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::number;
use crate::model::Labels;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Labels(Labels),
    /// One series of a query's result.
    Sample(Sample),
    /// The result of `query`.
    Vector(Vec<Sample>),
    /// What `args` makes.
    Map(BTreeMap<String, Value>),
    /// The template's own data, by field.
    Data([(&'static str, Box<Value>); 4]),
    /// An instant, ms since the epoch, UTC.
    Time(i64),
}

/// One series of a query's result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

impl Value {
    /// The type's name in Go, for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Labels(_) => "map[string]string",
            Self::Sample(_) => "*template.sample",
            Self::Vector(_) => "template.queryResult",
            Self::Map(_) => "map[string]interface {}",
            Self::Data(_) => "struct { Labels, ExternalLabels, ExternalURL, Value }",
            Self::Time(_) => "*time.Time",
        }
    }

    /// What `if` and `with` ask: whether it is not its type's zero.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(is) => *is,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Labels(labels) => labels.iter().next().is_some(),
            Self::Vector(samples) => !samples.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Sample(_) | Self::Time(_) | Self::Data(_) => true,
        }
    }

    /// As `%v` prints it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Bool(is) => is.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => number::shortest(*value),
            Self::Text(text) => text.clone(),
            Self::Labels(labels) => labels_text(labels),
            Self::Sample(sample) => sample.text(),
            Self::Vector(samples) => {
                let samples: Vec<String> = samples.iter().map(Sample::text).collect();
                format!("[{}]", samples.join(" "))
            }
            Self::Map(map) => {
                let pairs: Vec<String> =
                    map.iter().map(|(name, value)| format!("{name}:{}", value.text())).collect();
                format!("map[{}]", pairs.join(" "))
            }
            Self::Data(fields) => {
                let fields = fields.each_ref().map(|(_, value)| value.text());
                format!("{{{}}}", fields.join(" "))
            }
            Self::Time(ms) => number::timestamp(*ms),
        }
    }

    /// A number, or a text that is one: what the functions that print numbers take.
    pub(super) fn number(&self) -> Result<f64, String> {
        match self {
            Self::Float(value) => Ok(*value),
            #[expect(clippy::cast_precision_loss, reason = "as Go converts it")]
            Self::Int(value) => Ok(*value as f64),
            Self::Text(text) => text.parse().map_err(|_| format!("{text:?} is no number")),
            other => Err(format!("can't convert {} to float", other.kind())),
        }
    }

    /// `.name` of it.
    pub(super) fn field(&self, name: &str) -> Result<Self, String> {
        match (self, name) {
            (Self::Labels(labels), _) => Ok(Self::Text(labels.get(name).unwrap_or_default().to_owned())),
            (Self::Map(map), _) => Ok(map.get(name).cloned().unwrap_or(Self::Nil)),
            (Self::Sample(sample), "Labels") => Ok(Self::Labels(sample.labels.clone())),
            (Self::Sample(sample), "Value") => Ok(Self::Float(sample.value)),
            (Self::Data(fields), _) if fields.iter().any(|(known, _)| *known == name) => {
                let field = fields.iter().find(|(known, _)| *known == name);
                Ok(field.map_or(Self::Nil, |(_, value)| (**value).clone()))
            }
            (Self::Nil, _) => Err(format!("nil data; no entry for key {name:?}")),
            _ => Err(format!("can't evaluate field {name} in type {}", self.kind())),
        }
    }

    /// `index` by one key.
    pub(super) fn at(&self, key: &Self) -> Result<Self, String> {
        match (self, key) {
            (Self::Labels(_) | Self::Map(_), Self::Text(name)) => self.field(name),
            (Self::Vector(samples), Self::Int(at)) => {
                let sample = usize::try_from(*at).ok().and_then(|at| samples.get(at));
                sample.map(|sample| Self::Sample(sample.clone())).ok_or_else(|| out_of_range(*at))
            }
            (Self::Text(text), Self::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                byte.map(|byte| Self::Int(i64::from(*byte))).ok_or_else(|| out_of_range(*at))
            }
            (Self::Labels(_) | Self::Map(_) | Self::Vector(_) | Self::Text(_), _) => {
                Err(format!("cannot index {} with {}", self.kind(), key.kind()))
            }
            _ => Err(format!("can't index item of type {}", self.kind())),
        }
    }

    /// Equal or not, where Go compares the two types at all.
    pub(super) fn equals(&self, other: &Self) -> Result<bool, String> {
        match (self, other) {
            (Self::Nil, Self::Nil) => Ok(true),
            (Self::Nil, _) | (_, Self::Nil) => Ok(false),
            (Self::Bool(a), Self::Bool(b)) => Ok(a == b),
            _ => self.order(other).map(|order| order == Some(Ordering::Equal)),
        }
    }

    /// Smaller or greater, where Go orders the two types; `None` with a NaN.
    pub(super) fn order(&self, other: &Self) -> Result<Option<Ordering>, String> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Ok(Some(a.cmp(b))),
            (Self::Float(a), Self::Float(b)) => Ok(a.partial_cmp(b)),
            (Self::Text(a), Self::Text(b)) => Ok(Some(a.cmp(b))),
            (
                Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_),
                Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_),
            ) => Err(format!(
                "incompatible types for comparison: {} and {} (write 5.0 to compare with a value)",
                self.kind(),
                other.kind()
            )),
            _ => Err("invalid type for comparison".to_owned()),
        }
    }
}

fn out_of_range(at: i64) -> String {
    format!("index out of range: {at}")
}

fn labels_text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|label| format!("{}:{}", label.name, label.value)).collect();
    format!("map[{}]", pairs.join(" "))
}

impl Sample {
    fn text(&self) -> String {
        format!("{{{} {}}}", labels_text(&self.labels), number::shortest(self.value))
    }
}
