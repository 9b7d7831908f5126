//! The functions of templates: those of Prometheus (its documentation, "Template reference") and Go's own
//! (text/template, "Functions"), but `call`, which nothing here could be given to, and `tmpl`.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use super::value::{Sample, Value};
use super::{TemplateData, TemplateError, address, number, printf};
use crate::model::unit::parse_duration;
use crate::model::{Labels, pattern};

type Run = fn(&TemplateData<'_>, Vec<Value>) -> Result<Value, String>;

pub(super) struct Function {
    name: &'static str,
    pub(super) arguments: RangeInclusive<usize>,
    pub(super) run: Run,
}

const fn function(name: &'static str, arguments: RangeInclusive<usize>, run: Run) -> Function {
    Function { name, arguments, run }
}

const MANY: usize = usize::MAX;

const FUNCTIONS: &[Function] = &[
    // Prometheus: what was measured.
    function("query", 1..=1, |data, args| {
        let [query] = texts(&args)?;
        let samples = (data.query)(query)?;
        Ok(Value::Vector(samples.into_iter().map(|(labels, value)| Sample { labels, value }).collect()))
    }),
    function("first", 1..=1, |_, args| match args.as_slice() {
        [Value::Vector(samples)] => match samples.first() {
            Some(sample) => Ok(Value::Sample(sample.clone())),
            None => Err("first() called on vector with no elements".to_owned()),
        },
        _ => Err(expected("the result of a query", &args)),
    }),
    function("label", 2..=2, |_, args| match args.as_slice() {
        [Value::Text(name), Value::Sample(sample)] => Ok(label(&sample.labels, name)),
        _ => Err(expected("a label's name and a sample", &args)),
    }),
    function("value", 1..=1, |_, args| match args.as_slice() {
        [Value::Sample(sample)] => Ok(Value::Float(sample.value)),
        _ => Err(expected("a sample", &args)),
    }),
    function("strvalue", 1..=1, |_, args| match args.as_slice() {
        [Value::Sample(sample)] => Ok(label(&sample.labels, "__value__")),
        _ => Err(expected("a sample", &args)),
    }),
    function("sortByLabel", 2..=2, |_, args| match args.as_slice() {
        [Value::Text(name), Value::Vector(samples)] => {
            let mut samples = samples.clone();
            samples.sort_by(|a, b| a.labels.get(name).cmp(&b.labels.get(name)));
            Ok(Value::Vector(samples))
        }
        _ => Err(expected("a label's name and the result of a query", &args)),
    }),
    function("args", 0..=MANY, |_, args| {
        let named = args.into_iter().enumerate().map(|(at, value)| (format!("arg{at}"), value));
        Ok(Value::Map(named.collect()))
    }),
    // Prometheus: numbers.
    function("humanize", 1..=1, |_, args| print(&args, number::humanize)),
    function("humanize1024", 1..=1, |_, args| print(&args, number::humanize_1024)),
    function("humanizePercentage", 1..=1, |_, args| print(&args, number::humanize_percentage)),
    function("humanizeDuration", 1..=1, |_, args| print(&args, number::humanize_duration)),
    function("humanizeTimestamp", 1..=1, |_, args| {
        let [seconds] = numbers(&args)?;
        let text = if seconds.is_finite() {
            number::timestamp(number::ms_of(seconds)?)
        } else {
            number::digits(seconds, 4)
        };
        Ok(Value::Text(text))
    }),
    function("toTime", 1..=1, |_, args| {
        let [seconds] = numbers(&args)?;
        Ok(Value::Time(number::ms_of(seconds)?))
    }),
    function("parseDuration", 1..=1, |_, args| {
        let [duration] = texts(&args)?;
        match parse_duration(duration) {
            Ok(duration) => Ok(Value::Float(duration.as_secs_f64())),
            Err(_) => Err(format!("not a valid duration string: {duration:?}")),
        }
    }),
    // Prometheus: texts.
    function("title", 1..=1, |_, args| text(&args, title)),
    function("toUpper", 1..=1, |_, args| text(&args, |text| text.to_uppercase())),
    function("toLower", 1..=1, |_, args| text(&args, |text| text.to_lowercase())),
    function("match", 2..=2, |_, args| {
        let [pattern, text] = texts(&args)?;
        Ok(Value::Bool(pattern::unanchored(pattern)?.is_match(text)))
    }),
    function("reReplaceAll", 3..=3, |_, args| {
        let [pattern, replacement, text] = texts(&args)?;
        Ok(Value::Text(pattern::unanchored(pattern)?.replace_all(text, replacement).into_owned()))
    }),
    function("stripPort", 1..=1, |_, args| text(&args, address::without_port)),
    function("stripDomain", 1..=1, |_, args| text(&args, address::without_domain)),
    function("safeHtml", 1..=1, |_, args| text(&args, str::to_owned)),
    function("graphLink", 1..=1, |_, args| text(&args, |expr| address::graph_link(expr, 0))),
    function("tableLink", 1..=1, |_, args| text(&args, |expr| address::graph_link(expr, 1))),
    function("externalURL", 0..=0, |data, _| Ok(Value::Text(data.external_url.to_owned()))),
    function("pathPrefix", 0..=0, |data, _| Ok(Value::Text(address::path_of(data.external_url)))),
    // Go: logic.
    function("and", 1..=MANY, |_, args| Ok(args.into_iter().next_back().unwrap_or(Value::Nil))),
    function("or", 1..=MANY, |_, args| Ok(args.into_iter().next_back().unwrap_or(Value::Nil))),
    function("not", 1..=1, |_, args| Ok(Value::Bool(!args.iter().any(Value::is_true)))),
    function("eq", 2..=MANY, |_, args| {
        let (first, others) = args.split_first().ok_or("missing argument for comparison")?;
        for other in others {
            if first.equals(other)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
    function("ne", 2..=2, |_, args| match args.as_slice() {
        [a, b] => Ok(Value::Bool(!a.equals(b)?)),
        _ => Err("missing argument for comparison".to_owned()),
    }),
    function("lt", 2..=2, |_, args| {
        ordered(&args, |a, b| a.order(b).map(|order| order == Some(Ordering::Less)))
    }),
    function("le", 2..=2, |_, args| {
        ordered(&args, |a, b| a.order(b).map(|order| order.is_some_and(Ordering::is_le)))
    }),
    function("gt", 2..=2, |_, args| {
        ordered(&args, |a, b| a.order(b).map(|order| !order.is_some_and(Ordering::is_le)))
    }),
    function("ge", 2..=2, |_, args| {
        ordered(&args, |a, b| a.order(b).map(|order| order != Some(Ordering::Less)))
    }),
    // Go: parts.
    function("index", 1..=MANY, |_, args| {
        let (first, keys) = args.split_first().ok_or("index of untyped nil")?;
        keys.iter().try_fold(first.clone(), |value, key| value.at(key))
    }),
    function("len", 1..=1, |_, args| match args.as_slice() {
        [Value::Text(text)] => Ok(length(text.len())),
        [Value::Labels(labels)] => Ok(length(labels.len())),
        [Value::Vector(samples)] => Ok(length(samples.len())),
        [Value::Map(map)] => Ok(length(map.len())),
        _ => Err(format!("len of type {}", args.first().map_or("nil", Value::kind))),
    }),
    function("slice", 1..=3, |_, args| slice(&args)),
    // Go: printing.
    function("print", 0..=MANY, |_, args| Ok(Value::Text(printf::print(&args)))),
    function("println", 0..=MANY, |_, args| Ok(Value::Text(printf::println(&args)))),
    function("printf", 1..=MANY, |_, args| match args.split_first() {
        Some((Value::Text(format), args)) => Ok(Value::Text(printf::printf(format, args))),
        _ => Err(expected("a format in quotes", &args)),
    }),
    function("html", 0..=MANY, |_, args| Ok(Value::Text(address::html(&printf::print(&args))))),
    function("js", 0..=MANY, |_, args| Ok(Value::Text(address::js(&printf::print(&args))))),
    function("urlquery", 0..=MANY, |_, args| Ok(Value::Text(address::query_escaped(&printf::print(&args))))),
];

/// The function of that name.
pub(super) fn named(name: &str) -> Result<&'static Function, TemplateError> {
    FUNCTIONS.iter().find(|function| function.name == name).ok_or_else(|| {
        let meant = FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name));
        let hint = meant.map_or_else(
            || "there are those of Prometheus' template reference and of Go's text/template".to_owned(),
            |function| format!("did you mean {}?", function.name),
        );
        TemplateError::UnknownFunction { name: name.to_owned(), hint }
    })
}

fn expected(what: &str, args: &[Value]) -> String {
    let kinds: Vec<&str> = args.iter().map(Value::kind).collect();
    format!("wrong type for value; expected {what}; got {}", kinds.join(", "))
}

fn texts<const N: usize>(args: &[Value]) -> Result<[&str; N], String> {
    let mut found = [""; N];
    for (slot, value) in found.iter_mut().zip(args) {
        let Value::Text(text) = value else {
            return Err(format!("wrong type for value; expected string; got {}", value.kind()));
        };
        *slot = text;
    }
    Ok(found)
}

fn numbers<const N: usize>(args: &[Value]) -> Result<[f64; N], String> {
    let mut found = [0.0; N];
    for (slot, value) in found.iter_mut().zip(args) {
        *slot = value.number()?;
    }
    Ok(found)
}

fn print(args: &[Value], how: impl Fn(f64) -> String) -> Result<Value, String> {
    let [value] = numbers(args)?;
    Ok(Value::Text(how(value)))
}

fn text(args: &[Value], how: impl Fn(&str) -> String) -> Result<Value, String> {
    let [text] = texts(args)?;
    Ok(Value::Text(how(text)))
}

fn label(labels: &Labels, name: &str) -> Value {
    Value::Text(labels.get(name).unwrap_or_default().to_owned())
}

fn length(length: usize) -> Value {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

/// Go's `gt` is "not `le`", so that a NaN is greater than everything.
fn ordered(args: &[Value], is: fn(&Value, &Value) -> Result<bool, String>) -> Result<Value, String> {
    match args {
        [a, b] => Ok(Value::Bool(is(a, b)?)),
        _ => Err("missing argument for comparison".to_owned()),
    }
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let bound = |at: usize, otherwise: usize| match args.get(at) {
        None => Ok(otherwise),
        Some(Value::Int(bound)) => {
            usize::try_from(*bound).map_err(|_| format!("index out of range: {bound}"))
        }
        Some(other) => Err(format!("cannot index slice/array with type {}", other.kind())),
    };
    let missing = "index out of range".to_owned();
    match args.first() {
        Some(Value::Text(text)) => {
            let part = text.get(bound(1, 0)?..bound(2, text.len())?);
            part.map(|part| Value::Text(part.to_owned())).ok_or(missing)
        }
        Some(Value::Vector(samples)) => {
            let part = samples.get(bound(1, 0)?..bound(2, samples.len())?);
            part.map(|part| Value::Vector(part.to_vec())).ok_or(missing)
        }
        other => Err(format!("can't slice item of type {}", other.map_or("nil", Value::kind))),
    }
}

/// Every word with a large first letter, as Go's strings.Title.
fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .flat_map(|letter| {
            // Go takes other signs of ASCII and blanks for borders, and nothing else.
            let is_border = before.is_ascii() && !before.is_ascii_alphanumeric() && before != '_';
            let starts = is_border || before.is_whitespace();
            before = letter;
            let upper: Vec<char> = if starts { letter.to_uppercase().collect() } else { vec![letter] };
            upper
        })
        .collect()
}
