//! Template text as pieces: plain text, and actions as tokens. Go's rules for blanks, quotes and `{{-`.

use super::TemplateError;
use super::value::Value;

/// Plain text, or what stands between `{{` and `}}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Whether a blank is before it: `$x .Name` are two operands, `$x.Name` is one.
    pub(super) spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A function or a keyword.
    Word(String),
    /// `.Name`, without its dot.
    Field(String),
    /// `$name`, without its `$`.
    Variable(String),
    Constant(Value),
    Nil,
    Dot,
    Pipe,
    Comma,
    Open,
    Close,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Cuts a template at its actions; comments are gone, blanks at `{{-` and `-}}` as well.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let unclosed = || TemplateError::Unclosed { text: text.to_owned() };
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trims = false;
    loop {
        let (before, tail) =
            rest.split_once("{{").map_or((rest, None), |(before, tail)| (before, Some(tail)));
        let mut before = if trims { before.trim_start() } else { before };
        let opening = tail.map(|tail| match tail.strip_prefix('-') {
            Some(trimmed) if trimmed.starts_with([' ', '\t', '\r', '\n']) => {
                (true, trimmed.get(1..).unwrap_or_default())
            }
            _ => (false, tail),
        });
        if opening.is_some_and(|(trims, _)| trims) {
            before = before.trim_end();
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some((_, inside)) = opening else { return Ok(pieces) };
        if let Some(comment) = inside.strip_prefix("/*") {
            let (_, after) = comment.split_once("*/").ok_or_else(unclosed)?;
            let blank = after.strip_prefix(char::is_whitespace).filter(|after| after.starts_with('-'));
            let closing = closing(blank.unwrap_or(after), after).ok_or_else(|| TemplateError::Syntax {
                text: "/* */".to_owned(),
                expected: "a comment is alone in its {{ }}".to_owned(),
            })?;
            (trims, rest) = closing;
        } else {
            let mut lexer = Lexer { rest: inside, whole: text };
            let tokens = lexer.tokens()?;
            (trims, rest) = closing(lexer.rest.trim_start(), lexer.rest).ok_or_else(unclosed)?;
            pieces.push(Piece::Action(tokens));
        }
    }
}

/// What is behind `}}`, and whether it loses its blanks; `spaced` is the text with the blanks before it.
fn closing<'a>(text: &'a str, spaced: &str) -> Option<(bool, &'a str)> {
    let is_spaced = spaced.len() > text.len();
    match text.strip_prefix("}}") {
        Some(rest) => Some((false, rest)),
        None => text.strip_prefix("-}}").filter(|_| is_spaced).map(|rest| (true, rest)),
    }
}

struct Lexer<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl<'a> Lexer<'a> {
    /// Tokens up to the `}}`, which stays.
    fn tokens(&mut self) -> Result<Vec<Token>, TemplateError> {
        let mut tokens = Vec::new();
        loop {
            let text = self.rest.trim_start();
            if closing(text, self.rest).is_some() {
                return Ok(tokens);
            }
            let spaced = text.len() < self.rest.len();
            let Some(first) = text.chars().next() else {
                return Err(TemplateError::Unclosed { text: self.whole.to_owned() });
            };
            self.rest = text;
            let kind = self.token(first)?;
            tokens.push(Token { kind, spaced });
        }
    }

    fn token(&mut self, first: char) -> Result<Kind, TemplateError> {
        for (mark, kind) in [
            (":=", Kind::Declare),
            ("=", Kind::Assign),
            ("|", Kind::Pipe),
            (",", Kind::Comma),
            ("(", Kind::Open),
            (")", Kind::Close),
        ] {
            if let Some(rest) = self.rest.strip_prefix(mark) {
                self.rest = rest;
                return Ok(kind);
            }
        }
        match first {
            '"' => self.quoted('"').map(|text| Kind::Constant(Value::Text(text))),
            '`' => {
                let raw = self.rest.get(1..).and_then(|rest| rest.split_once('`'));
                let (text, rest) = raw.ok_or_else(|| self.syntax("a text in ` ends with `"))?;
                self.rest = rest;
                Ok(Kind::Constant(Value::Text(text.to_owned())))
            }
            '\'' => {
                let text = self.quoted('\'')?;
                let mut letters = text.chars();
                match (letters.next(), letters.next()) {
                    (Some(letter), None) => Ok(Kind::Constant(Value::Int(i64::from(u32::from(letter))))),
                    _ => Err(self.syntax("one character stands in ' ', a text in \" \"")),
                }
            }
            '$' => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                Ok(Kind::Variable(self.word().to_owned()))
            }
            '.' if !self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let name = self.word();
                Ok(if name.is_empty() { Kind::Dot } else { Kind::Field(name.to_owned()) })
            }
            '0'..='9' | '+' | '-' | '.' => self.number(),
            letter if letter.is_alphabetic() || letter == '_' => Ok(match self.word() {
                "true" => Kind::Constant(Value::Bool(true)),
                "false" => Kind::Constant(Value::Bool(false)),
                "nil" => Kind::Nil,
                word => Kind::Word(word.to_owned()),
            }),
            _ => Err(self.syntax(&format!("{first:?} has no meaning here"))),
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// As Go reads constants: one with a point or an exponent is a float64, others are ints.
    fn number(&mut self) -> Result<Kind, TemplateError> {
        let mut before = ' ';
        let end = self
            .rest
            .char_indices()
            .find(|(at, c)| {
                let is_sign = matches!(c, '+' | '-') && (*at == 0 || matches!(before, 'e' | 'E'));
                before = *c;
                !(is_sign || c.is_alphanumeric() || matches!(c, '.' | '_'))
            })
            .map_or(self.rest.len(), |(at, _)| at);
        let (text, rest) = self.rest.split_at(end);
        let plain = text.replace('_', "");
        let hex = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X"));
        let value = match hex {
            Some(digits) => i64::from_str_radix(digits, 16).ok().map(Value::Int),
            None if plain.contains(['.', 'e', 'E']) => plain.parse().ok().map(Value::Float),
            None => plain.parse().ok().map(Value::Int),
        };
        let value = value.ok_or_else(|| self.syntax(&format!("{text} is no number")))?;
        self.rest = rest;
        Ok(Kind::Constant(value))
    }

    /// Between two `quote`s, with Go's escapes.
    fn quoted(&mut self, quote: char) -> Result<String, TemplateError> {
        let mut text = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                _ if letter == quote => {
                    self.rest = self.rest.get(at + letter.len_utf8()..).unwrap_or_default();
                    return Ok(text);
                }
                '\n' => break,
                '\\' => {
                    let Some((_, escape)) = letters.next() else { break };
                    let digits = match escape {
                        'x' => 2,
                        'u' => 4,
                        'U' => 8,
                        _ => 0,
                    };
                    let letter = if digits > 0 {
                        let code: String = letters.by_ref().take(digits).map(|(_, digit)| digit).collect();
                        u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)
                    } else {
                        ESCAPES.iter().find(|(name, _)| *name == escape).map(|(_, letter)| *letter)
                    };
                    text.push(letter.ok_or_else(|| self.syntax(&format!("\\{escape} is no escape")))?);
                }
                _ => text.push(letter),
            }
        }
        Err(self.syntax(&format!("a text in {quote} ends with {quote} on its line")))
    }

    fn syntax(&self, expected: &str) -> TemplateError {
        let line = self.rest.lines().next().unwrap_or_default();
        let text = line.split_once("}}").map_or(line, |(inside, _)| inside).trim().to_owned();
        TemplateError::Syntax { text, expected: expected.to_owned() }
    }
}

const ESCAPES: [(char, char); 10] = [
    ('a', '\u{7}'),
    ('b', '\u{8}'),
    ('f', '\u{c}'),
    ('n', '\n'),
    ('r', '\r'),
    ('t', '\t'),
    ('v', '\u{b}'),
    ('\\', '\\'),
    ('\'', '\''),
    ('"', '"'),
];
