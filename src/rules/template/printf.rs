//! Go's `fmt` verbs, for the types that templates have.

use super::number;
use super::value::Value;

/// `print`: blanks between two operands of which neither is a text.
pub(super) fn print(args: &[Value]) -> String {
    let mut text = String::new();
    let mut after_text = true;
    for value in args {
        let is_text = matches!(value, Value::Text(_));
        if !after_text && !is_text {
            text.push(' ');
        }
        after_text = is_text;
        text.push_str(&value.text());
    }
    text
}

pub(super) fn println(args: &[Value]) -> String {
    let texts: Vec<String> = args.iter().map(Value::text).collect();
    format!("{}\n", texts.join(" "))
}

/// One verb's flags, width and precision.
#[derive(Debug, Default)]
struct Verb {
    minus: bool,
    plus: bool,
    space: bool,
    zero: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Wider than any message, and small enough to pad.
const WIDTH_MAX: usize = 1_000;

/// `printf`: what does not fit its verb is shown in Go's way, `%!d(float64=1.5)`.
pub(super) fn printf(format: &str, args: &[Value]) -> String {
    let mut text = String::new();
    let mut letters = format.chars().peekable();
    let mut args_left = args.iter();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = letters.next_if(|letter| "-+ 0#".contains(*letter)) {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                ' ' => verb.space = true,
                '0' => verb.zero = true,
                _ => verb.sharp = true,
            }
        }
        let mut count = || {
            let mut count = None;
            while let Some(digit) = letters.next_if(char::is_ascii_digit).and_then(|digit| digit.to_digit(10))
            {
                let digit = usize::try_from(digit).unwrap_or_default();
                count = Some((count.unwrap_or(0) * 10 + digit).min(WIDTH_MAX));
            }
            count
        };
        verb.width = count().unwrap_or(0);
        if letters.next_if_eq(&'.').is_some() {
            let mut digits = None;
            while let Some(digit) = letters.next_if(char::is_ascii_digit).and_then(|digit| digit.to_digit(10))
            {
                let digit = usize::try_from(digit).unwrap_or_default();
                digits = Some((digits.unwrap_or(0) * 10 + digit).min(WIDTH_MAX));
            }
            verb.precision = Some(digits.unwrap_or(0));
        }
        match letters.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(name) => match args_left.next() {
                None => text.push_str(&format!("%!{name}(MISSING)")),
                Some(value) => text.push_str(&verb.format(name, value)),
            },
        }
    }
    let extra: Vec<String> = args_left
        .map(|value| match value {
            Value::Nil => "<nil>".to_owned(),
            value => format!("{}={}", value.kind(), value.text()),
        })
        .collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    text
}

impl Verb {
    fn format(&self, verb: char, value: &Value) -> String {
        let formatted = match (value, verb) {
            (Value::Bool(is), 't') => is.to_string(),
            (Value::Float(value), _) => match self.float(verb, *value) {
                Some(digits) => return self.padded_number(digits, value.is_finite()),
                None => return self.bad(verb, &Value::Float(*value)),
            },
            (Value::Int(value), _) => match self.int(verb, *value) {
                Some(digits) => return self.padded_number(digits, self.precision.is_none()),
                None => return self.bad(verb, &Value::Int(*value)),
            },
            (Value::Text(text), 's' | 'v') => {
                let most = self.precision.unwrap_or(usize::MAX);
                if verb == 'v' && self.sharp { quoted(text) } else { text.chars().take(most).collect() }
            }
            (Value::Text(text), 'q') => quoted(text),
            (Value::Text(text), 'x') => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            (Value::Text(text), 'X') => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            (Value::Nil, 'v') => "<nil>".to_owned(),
            (Value::Nil, _) => return format!("%!{verb}(<nil>)"),
            (value, 'v') => value.text(),
            (Value::Labels(_) | Value::Map(_) | Value::Time(_), 's') => value.text(),
            (value, _) => return self.bad(verb, value),
        };
        self.padded(formatted)
    }

    /// As Go shows what does not fit its verb.
    fn bad(&self, verb: char, value: &Value) -> String {
        format!("%!{verb}({}={})", value.kind(), self.format('v', value))
    }

    fn float(&self, verb: char, value: f64) -> Option<String> {
        let digits = match verb {
            'v' | 'g' | 'G' => match self.precision {
                Some(precision) => number::digits(value, precision.max(1)),
                None => number::shortest(value),
            },
            'f' | 'F' => number::fixed(value, self.precision.unwrap_or(6)),
            'e' | 'E' => number::exponent(value, self.precision.unwrap_or(6)),
            _ => return None,
        };
        let is_large = matches!(verb, 'G' | 'E') && value.is_finite();
        Some(match (value.is_infinite() && self.space, digits.strip_prefix('+')) {
            (true, Some(digits)) => format!(" {digits}"),
            _ => self.signed(if is_large { digits.to_uppercase() } else { digits }),
        })
    }

    fn int(&self, verb: char, value: i64) -> Option<String> {
        let digits = match verb {
            'v' | 'd' => value.unsigned_abs().to_string(),
            'b' => format!("{:b}", value.unsigned_abs()),
            'o' => format!("{:o}", value.unsigned_abs()),
            'O' => format!("0o{:o}", value.unsigned_abs()),
            'x' => format!("{:x}", value.unsigned_abs()),
            'X' => format!("{:X}", value.unsigned_abs()),
            'c' => return char::from_u32(u32::try_from(value).ok()?).map(String::from),
            'q' => return char::from_u32(u32::try_from(value).ok()?).map(|letter| format!("'{letter}'")),
            'U' => return Some(format!("U+{value:04X}")),
            _ => return None,
        };
        let digits = format!("{digits:0>least$}", least = self.precision.unwrap_or(0));
        Some(self.signed(if value < 0 { format!("-{digits}") } else { digits }))
    }

    /// With the sign that the flags want for what is not negative.
    fn signed(&self, digits: String) -> String {
        match (digits.starts_with(['-', '+']), self.plus, self.space) {
            (false, true, _) => format!("+{digits}"),
            (false, false, true) => format!(" {digits}"),
            _ => digits,
        }
    }

    fn padded_number(&self, digits: String, may_zero: bool) -> String {
        let missing = self.width.saturating_sub(digits.chars().count());
        if missing == 0 || !self.zero || self.minus || !may_zero {
            return self.padded(digits);
        }
        let sign = digits.find(|c: char| !matches!(c, '-' | '+' | ' ')).unwrap_or(0);
        let (sign, digits) = digits.split_at(sign);
        format!("{sign}{}{digits}", "0".repeat(missing))
    }

    fn padded(&self, text: String) -> String {
        let missing = " ".repeat(self.width.saturating_sub(text.chars().count()));
        if self.minus { text + &missing } else { missing + &text }
    }
}

/// As Go quotes a text.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\0'..='\u{1f}' | '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(letter))),
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}
