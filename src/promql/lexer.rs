//! Text → tokens, each with its byte offset.

use super::error::ParseError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// An identifier or keyword, as written; may hold `:`.
    Word(String),
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    Text(String),
    /// Punctuation and operators: `( ) { } [ ] , : @ + - * / % ^ == != <= >= < > = =~ !~`.
    Symbol(&'static str),
    End,
}

/// Longest first, so that `=~` is not read as `=`.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "=~", "!~", "(", ")", "{", "}", "[", "]", ",", ":", "@", "+", "-", "*", "/", "%",
    "^", "<", ">", "=",
];

/// All tokens of `text`, the last one [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ParseError> {
    let mut lexer = Lexer { text, at: 0, brackets: 0 };
    let mut tokens = Vec::new();
    loop {
        let (start, token) = lexer.next()?;
        let end = token == Token::End;
        tokens.push((start, token));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Inside `[…]` a word may be a duration followed by `:`.
    brackets: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Result<(usize, Token), ParseError> {
        self.skip_blanks();
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok((start, Token::End)) };
        let token = match first {
            '"' | '\'' | '`' => self.quoted(first)?,
            '0'..='9' | '.' => self.number_or_duration()?,
            'a'..='z' | 'A'..='Z' | '_' => self.word(),
            // A recording rule's name may begin with a colon; a range's step may too.
            ':' if self.brackets == 0 => self.word(),
            _ => self.symbol()?,
        };
        Ok((start, token))
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn word(&mut self) -> Token {
        let colon = self.brackets == 0;
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':')))
            .unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default().to_owned();
        self.at += end;
        Token::Word(word)
    }

    fn symbol(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) else {
            let c = rest.chars().next().unwrap_or(' ');
            return Err(ParseError::at(self.text, self.at, format!("unexpected character {c:?}")));
        };
        self.at += symbol.len();
        match *symbol {
            "[" => self.brackets += 1,
            "]" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        Ok(Token::Symbol(symbol))
    }

    fn number_or_duration(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        let rest = self.rest();
        if rest.starts_with("0x") || rest.starts_with("0X") {
            let digits = rest.get(2..).unwrap_or_default();
            let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            let number = u64::from_str_radix(digits.get(..end).unwrap_or_default(), 16);
            self.at += 2 + end;
            return number
                .map(|number| Token::Number(number as f64))
                .map_err(|_| ParseError::at(self.text, start, "bad hexadecimal number"));
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        // `1e-3`: the sign belongs to the number.
        let mut end = end;
        if rest.get(..end).is_some_and(|t| {
            t.ends_with(['e', 'E'])
                && !t.contains(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'))
        }) && rest.get(end..).is_some_and(|t| t.starts_with(['+', '-']))
        {
            let tail = rest.get(end + 1..).unwrap_or_default();
            end += 1 + tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        }
        let text = rest.get(..end).unwrap_or_default();
        self.at += end;
        if let Ok(number) = text.parse::<f64>() {
            return Ok(Token::Number(number));
        }
        crate::model::unit::parse_duration(text)
            .ok()
            .and_then(|duration| i64::try_from(duration.as_millis()).ok())
            .map(Token::Duration)
            .ok_or_else(|| {
                ParseError::at(self.text, start, format!("{text:?} is neither a number nor a duration"))
            })
    }

    fn quoted(&mut self, quote: char) -> Result<Token, ParseError> {
        let start = self.at;
        let unterminated = || ParseError::at(self.text, start, "the string has no end");
        let mut value = String::new();
        let body = self.rest().get(1..).unwrap_or_default();
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += 1 + at + 1;
                return Ok(Token::Text(value));
            }
            if c == '\n' && quote != '`' {
                return Err(unterminated());
            }
            if c != '\\' || quote == '`' {
                value.push(c);
                continue;
            }
            let Some((_, escape)) = chars.next() else { return Err(unterminated()) };
            let unescaped = match escape {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                '\\' => '\\',
                c if c == quote => c,
                'x' => hex(&mut chars, 2).ok_or_else(unterminated)?,
                'u' => hex(&mut chars, 4).ok_or_else(unterminated)?,
                'U' => hex(&mut chars, 8).ok_or_else(unterminated)?,
                c => return Err(ParseError::at(self.text, start + 1 + at, format!("unknown escape \\{c}"))),
            };
            value.push(unescaped);
        }
        Err(unterminated())
    }
}

fn hex(chars: &mut std::str::CharIndices<'_>, digits: usize) -> Option<char> {
    let text: String = chars.take(digits).map(|(_, c)| c).collect();
    char::from_u32(u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits)?)
}
