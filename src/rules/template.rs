//! Templates of labels and annotations: the part of Prometheus' template language that rule files use.
//!
//! `{{ $labels.name }}`, `{{ $value }}`, text in quotes, and functions, in front of their argument or behind
//! a pipe: `{{ $value | humanizePercentage }}`, `{{ printf "%.2f" $value }}`. There are no conditions, loops
//! or queries; what is not known is an error when the file is loaded, never when an alert fires.

mod number;

use crate::model::Labels;

/// Text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the template {text:?} has {{{{ without }}}}")]
    Unclosed { text: String },
    #[error("the template has the unknown function {name:?}; known are: {known}")]
    UnknownFunction { name: String, known: String },
    #[error("the template expression {text:?} is not understood; {expected}")]
    Syntax { text: String, expected: &'static str },
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Expression(Source, Vec<Function>),
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Value,
    Label(String),
    Literal(String),
    Number(f64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Function {
    Humanize,
    Humanize1024,
    HumanizePercentage,
    HumanizeDuration,
    ToUpper,
    ToLower,
    /// `text` around one verb; `decimals` of `%f`.
    Printf {
        before: String,
        verb: Verb,
        after: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Fixed(usize),
    General,
    Text,
}

const FUNCTIONS: [(&str, Function); 6] = [
    ("humanize", Function::Humanize),
    ("humanize1024", Function::Humanize1024),
    ("humanizePercentage", Function::HumanizePercentage),
    ("humanizeDuration", Function::HumanizeDuration),
    ("toUpper", Function::ToUpper),
    ("toLower", Function::ToLower),
];

impl Template {
    /// A template of `text` and nothing to fill in.
    pub fn literal(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// # Errors
    /// When the text has an unclosed `{{`, an unknown function or an expression of another kind.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once("{{") {
            let unclosed = || TemplateError::Unclosed { text: text.to_owned() };
            let (inside, after) = tail.split_once("}}").ok_or_else(unclosed)?;
            let (trims_left, inside) = inside.strip_prefix("- ").map_or((false, inside), |s| (true, s));
            let (trims_right, inside) = inside.strip_suffix(" -").map_or((false, inside), |s| (true, s));
            let before = if trims_left { before.trim_end() } else { before };
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(expression(inside.trim())?);
            rest = if trims_right { after.trim_start() } else { after };
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The template with every literal `from` replaced by `to`, and whether there was one: a rule's text says
    /// its limit as a number literal (`{{ 0.01 | humanizeDuration }}`), so that it follows the limit in effect.
    pub fn with_number(&self, from: f64, to: f64) -> (Self, bool) {
        let mut changed = self.clone();
        let mut found = false;
        for part in &mut changed.0 {
            if let Part::Expression(Source::Number(number), _) = part
                && *number == from
            {
                (*number, found) = (to, true);
            }
        }
        (changed, found)
    }

    /// The template with `text`, taken literally, at its end.
    #[must_use]
    pub fn followed_by(mut self, text: &str) -> Self {
        self.0.push(Part::Text(text.to_owned()));
        self
    }

    /// The text for one series. A label that the series does not have is empty.
    pub fn render(&self, labels: &Labels, value: f64) -> String {
        let mut rendered = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Expression(source, functions) => {
                    let start = match source {
                        Source::Value => Operand::Number(value),
                        Source::Label(name) => Operand::Text(labels.get(name).unwrap_or("").to_owned()),
                        Source::Literal(text) => Operand::Text(text.clone()),
                        Source::Number(number) => Operand::Number(*number),
                    };
                    let end = functions.iter().fold(start, |operand, function| function.apply(operand));
                    rendered.push_str(&end.into_text());
                }
            }
        }
        rendered
    }
}

enum Operand {
    Number(f64),
    Text(String),
}

impl Operand {
    fn into_text(self) -> String {
        match self {
            Self::Number(value) => number::plain(value),
            Self::Text(text) => text,
        }
    }

    /// As in Prometheus, text that is a number may be given to the functions that print numbers.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

impl Function {
    fn apply(&self, operand: Operand) -> Operand {
        let printed = |print: fn(f64) -> String| operand.number().map(print);
        let text = match self {
            Self::Humanize => printed(number::humanize),
            Self::Humanize1024 => printed(number::humanize_1024),
            Self::HumanizePercentage => printed(number::humanize_percentage),
            Self::HumanizeDuration => printed(number::humanize_duration),
            Self::ToUpper => return Operand::Text(operand.into_text().to_uppercase()),
            Self::ToLower => return Operand::Text(operand.into_text().to_lowercase()),
            Self::Printf { before, verb, after } => {
                let middle = match (verb, operand.number()) {
                    (Verb::Fixed(decimals), Some(value)) => format!("{value:.decimals$}"),
                    (Verb::General, Some(value)) => number::plain(value),
                    _ => operand.into_text(),
                };
                return Operand::Text(format!("{before}{middle}{after}"));
            }
        };
        text.map_or(operand, Operand::Text)
    }
}

fn expression(text: &str) -> Result<Part, TemplateError> {
    let syntax = |expected| TemplateError::Syntax { text: text.to_owned(), expected };
    let mut stages = split_pipes(text).into_iter();
    let first = tokens(stages.next().unwrap_or_default());
    let mut functions = Vec::new();
    let source = match first.as_slice() {
        [only] => source(only),
        [name, argument] => {
            functions.push(function(name, None)?);
            source(argument)
        }
        [name, format, argument] => {
            functions.push(function(name, Some(format))?);
            source(argument)
        }
        _ => None,
    };
    let source = source.ok_or_else(|| {
        if let [name] = first.as_slice()
            && name.chars().all(char::is_alphanumeric)
        {
            return syntax("a function needs an argument, like humanize $value");
        }
        syntax(
            "it starts with $value, $labels.name, a number, a text in quotes or a function with its argument",
        )
    })?;
    for stage in stages {
        match tokens(stage).as_slice() {
            [name] => functions.push(function(name, None)?),
            [name, format] => functions.push(function(name, Some(format))?),
            _ => return Err(syntax("behind a | comes one function")),
        }
    }
    Ok(Part::Expression(source, functions))
}

fn source(token: &str) -> Option<Source> {
    if matches!(token, "$value" | ".Value") {
        return Some(Source::Value);
    }
    if let Some(name) = token.strip_prefix("$labels.").or_else(|| token.strip_prefix(".Labels.")) {
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        return is_name.then(|| Source::Label(name.to_owned()));
    }
    if token.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return token.parse().ok().map(Source::Number);
    }
    unquoted(token).map(|text| Source::Literal(text.to_owned()))
}

fn function(name: &str, format: Option<&str>) -> Result<Function, TemplateError> {
    if name == "printf" {
        let format = format.and_then(unquoted);
        return format.and_then(printf).ok_or_else(|| TemplateError::Syntax {
            text: format!("printf {}", format.unwrap_or("")),
            expected: "printf takes a text with one of %.2f, %f, %g, %v, %s and one argument",
        });
    }
    match FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, function)) if format.is_none() => Ok(function.clone()),
        Some(_) => Err(TemplateError::Syntax { text: name.to_owned(), expected: "it takes one argument" }),
        None => {
            let mut known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
            known.push("printf");
            Err(TemplateError::UnknownFunction { name: name.to_owned(), known: known.join(", ") })
        }
    }
}

fn printf(format: &str) -> Option<Function> {
    let (before, tail) = format.split_once('%')?;
    let letter = tail.find(|c: char| c.is_ascii_alphabetic())?;
    let (flags, tail) = tail.split_at(letter);
    let verb = match (flags.strip_prefix('.'), tail.chars().next()?) {
        (Some(decimals), 'f') => Verb::Fixed(decimals.parse().ok().filter(|decimals| *decimals <= 20)?),
        (None, 'f') if flags.is_empty() => Verb::Fixed(6),
        (None, 'g' | 'v') if flags.is_empty() => Verb::General,
        (None, 's') if flags.is_empty() => Verb::Text,
        _ => return None,
    };
    let after = tail.get(1..)?;
    let is_plain = |text: &str| !text.replace("%%", "").contains('%');
    is_plain(after).then(|| Function::Printf {
        before: before.to_owned(),
        verb,
        after: after.replace("%%", "%"),
    })
}

fn unquoted(token: &str) -> Option<&str> {
    let inside = |quote| token.strip_prefix(quote).and_then(|text: &str| text.strip_suffix(quote));
    inside('"').or_else(|| inside('`'))
}

/// Splits at `|` outside of quotes.
fn split_pipes(text: &str) -> Vec<&str> {
    split_outside_quotes(text, |c| c == '|')
}

/// Splits at blanks outside of quotes; no empty tokens.
fn tokens(text: &str) -> Vec<&str> {
    split_outside_quotes(text, char::is_whitespace).into_iter().filter(|token| !token.is_empty()).collect()
}

fn split_outside_quotes(text: &str, is_border: impl Fn(char) -> bool) -> Vec<&str> {
    let mut quote: Option<char> = None;
    text.split(|c: char| {
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '"' || c == '`' => quote = Some(c),
            _ => {}
        }
        quote.is_none() && is_border(c)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders() {
        let labels = Labels::from_pairs([("instance", "m1:2379"), ("cluster", "prod")]);
        for (template, value, text) in [
            ("plain", 1.0, "plain"),
            ("{{ $labels.cluster }}/{{$labels.instance}}", 1.0, "prod/m1:2379"),
            ("[{{ $labels.nope }}]", 1.0, "[]"),
            ("{{ .Labels.cluster | toUpper }} {{ .Value }}", 2.5, "PROD 2.5"),
            ("{{ $value | humanize }}", 1_234_567.0, "1.235M"),
            ("{{ humanize $value }}", 0.0028, "2.8m"),
            ("{{ $value | humanize1024 }}B", 2_147_483_648.0, "2GiB"),
            ("{{ $value | humanizePercentage }}", 0.8351, "83.51%"),
            ("{{ $value | humanizeDuration }}", 0.0284, "28.4ms"),
            ("{{ $value | humanizeDuration }}", 3_725.0, "1h 2m 5s"),
            ("{{ $value | printf \"%.2f\" }}", 1.005_1, "1.01"),
            ("{{ printf \"%.0f | 100%%\" $value }}", 7.0, "7 | 100%"),
            ("{{ \"a | b\" }}", 7.0, "a | b"),
            ("{{ 0.01 | humanizeDuration }} {{ humanizePercentage 0.8 }} {{ 3 }}", 7.0, "10ms 80% 3"),
            ("a {{- $value -}} b", 7.0, "a7b"),
            ("a {{- $value }} b", 7.0, "a7 b"),
        ] {
            let parsed = Template::parse(template).expect(template);
            assert_eq!(parsed.render(&labels, value), text, "{template}");
        }
    }

    #[test]
    fn a_literal_number_follows_the_limit_in_effect() {
        let parsed = Template::parse("over {{ 0.01 | humanizeDuration }} in {{ $value }}").expect("valid");
        let (changed, found) = parsed.with_number(0.01, 0.02);
        assert!(found && changed.followed_by(" {{").render(&Labels::default(), 1.0) == "over 20ms in 1 {{");
        assert_eq!(parsed.with_number(0.5, 1.0), (parsed.clone(), false));
    }

    #[test]
    fn what_is_not_known_is_an_error_at_load() {
        for (bad, says) in [
            ("{{ $value", "without"),
            ("{{ $value | shout }}", "\"shout\""),
            ("{{ if $value }}x{{ end }}", "\"if\""),
            ("{{ humanize }}", "needs an argument"),
            ("{{ query \"up\" }}", "\"query\""),
            ("{{ printf \"%d\" $value }}", "%.2f"),
            ("{{ }}", "starts with"),
            ("{{ $labels }}", "starts with"),
            ("{{ $value | humanize 2 }}", "one argument"),
        ] {
            let error = Template::parse(bad).expect_err(bad).to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
