//! Query text to tokens.
//!
//! Owns: words, numbers, durations, strings with their escapes, operators, comments.
//! Refuses: what a word means in its place (see `parse`).

use super::parse::ParseError;
use crate::model::unit;

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or keyword as written; `:` is allowed in it.
    Word(String),
    Number(f64),
    DurationMs(i64),
    Text(String),
    /// One of the operators and brackets of [`SYMBOLS`].
    Symbol(&'static str),
    End,
}

impl Token {
    /// How an error message names it.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Word(word) => format!("{word:?}"),
            Self::Number(number) => format!("number {number}"),
            Self::DurationMs(_) => "a duration".to_owned(),
            Self::Text(text) => format!("string {text:?}"),
            Self::Symbol(symbol) => format!("\"{symbol}\""),
            Self::End => "the end of the query".to_owned(),
        }
    }
}

/// A token and the byte it starts at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) position: usize,
}

/// Longer symbols first, so that `=~` is not read as `=`.
const SYMBOLS: [&str; 25] = [
    "==", "!=", ">=", "<=", "=~", "!~", "=", ">", "<", "+", "-", "*", "/", "%", "^", "(", ")", "{", "}", "[",
    "]", ",", ":", "@", "!",
];

/// All tokens of `query`, the last one [`Token::End`].
pub(super) fn tokens(query: &str) -> Result<Vec<Placed>, ParseError> {
    let mut lexer = Lexer { query, position: 0, brackets: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let position = lexer.position;
        let token = lexer.next()?;
        let end = token == Token::End;
        tokens.push(Placed { token, position });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    query: &'a str,
    position: usize,
    /// Open `[`: inside, `:` parts range and step and does not start a name.
    brackets: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.query.get(self.position..).unwrap_or("")
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.query, self.position, message))
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            self.position += blank;
            if !self.rest().starts_with('#') {
                return;
            }
            self.position += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn next(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(first) = chars.next() else { return Ok(Token::End) };
        let second = chars.next().unwrap_or(' ');
        if matches!(first, '"' | '\'' | '`') {
            return self.text(first);
        }
        if first.is_ascii_digit() || first == '.' && second.is_ascii_digit() {
            return self.number();
        }
        let starts_word = first.is_ascii_alphabetic() || first == '_' || first == ':' && self.brackets == 0;
        if starts_word {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
            let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
            self.position += word.len();
            return Ok(Token::Word(word.to_owned()));
        }
        let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) else {
            return self.fail(format!("unexpected character {first:?}"));
        };
        self.position += symbol.len();
        match symbol {
            "[" => self.brackets += 1,
            "]" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        Ok(Token::Symbol(symbol))
    }

    /// A number, or a duration when unit letters follow the digits.
    fn number(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let alphanumeric = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        let mut end = rest.find(|c| !alphanumeric(c)).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or(rest);
        let hexadecimal = word.starts_with("0x") || word.starts_with("0X");
        if !hexadecimal && word.ends_with(['e', 'E']) {
            // A signed exponent: 1e-3.
            if let Some(exponent) = rest.get(end..).and_then(|tail| tail.strip_prefix(['+', '-'])) {
                let digits = exponent.find(|c: char| !c.is_ascii_digit()).unwrap_or(exponent.len());
                end += if digits > 0 { 1 + digits } else { 0 };
            }
        }
        let word = rest.get(..end).unwrap_or(rest);
        let token = match read_number(word) {
            Some(number) => Token::Number(number),
            None => match unit::parse_duration(word).ok().and_then(|d| i64::try_from(d.as_millis()).ok()) {
                Some(ms) => Token::DurationMs(ms),
                None => return self.fail(format!("bad number or duration {word:?}")),
            },
        };
        self.position += end;
        Ok(token)
    }

    fn text(&mut self, quote: char) -> Result<Token, ParseError> {
        let body = self.rest().get(1..).unwrap_or("");
        if quote == '`' {
            let Some(end) = body.find('`') else { return self.fail("unterminated raw string") };
            self.position += end + 2;
            return Ok(Token::Text(body.get(..end).unwrap_or("").to_owned()));
        }
        let mut text = Vec::new();
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\n' => break,
                c if c == quote => {
                    self.position += at + 2;
                    return match String::from_utf8(text) {
                        Ok(text) => Ok(Token::Text(text)),
                        Err(_) => self.fail("the string's escapes do not make valid UTF-8"),
                    };
                }
                '\\' => {
                    let Some(used) = unescape(body.get(at + 1..).unwrap_or(""), quote, &mut text) else {
                        self.position += at + 1;
                        return self.fail("unknown escape sequence in string");
                    };
                    // `used` counts ASCII characters, so it is a number of characters too.
                    chars.by_ref().take(used).for_each(drop);
                }
                c => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.fail("unterminated string")
    }
}

/// The number `word` is, in Go's notation: decimal, `0x` hexadecimal, and octal after a leading zero.
fn read_number(word: &str) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a number literal is a float")]
    let integer = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(|n| n as f64);
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return integer(digits, 16);
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') || word.contains('_') {
        return None;
    }
    if let Some(digits) = word.strip_prefix('0')
        && !digits.is_empty()
        && digits.bytes().all(|b| (b'0'..=b'7').contains(&b))
    {
        return integer(digits, 8);
    }
    if word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        // Like Go's, too large a number is no number.
        return word.parse().ok().filter(|number: &f64| number.is_finite());
    }
    None
}

/// Decodes the escape after a backslash into `text`; how many characters it took.
fn unescape(after: &str, quote: char, text: &mut Vec<u8>) -> Option<usize> {
    let first = after.chars().next()?;
    let code = |from: usize, digits: usize, radix| {
        let number = after.get(from..from + digits)?;
        number.chars().all(|c| c.is_digit(radix)).then(|| u32::from_str_radix(number, radix).ok())?
    };
    let mut unicode = |digits: usize| {
        let c = char::from_u32(code(1, digits, 16)?)?;
        text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Some(1 + digits)
    };
    match first {
        'u' => return unicode(4),
        'U' => return unicode(8),
        _ => {}
    }
    let (byte, used) = match first {
        'a' => (7, 1),
        'b' => (8, 1),
        'f' => (12, 1),
        'n' => (b'\n', 1),
        'r' => (b'\r', 1),
        't' => (b'\t', 1),
        'v' => (11, 1),
        '\\' => (b'\\', 1),
        c if c == quote => (u8::try_from(quote).ok()?, 1),
        'x' => (u8::try_from(code(1, 2, 16)?).ok()?, 3),
        '0'..='7' => (u8::try_from(code(0, 3, 8)?).ok()?, 3),
        _ => return None,
    };
    text.push(byte);
    Some(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &[Token]) {
        let mut tokens: Vec<_> = tokens(query).expect(query).into_iter().map(|placed| placed.token).collect();
        assert_eq!(tokens.pop(), Some(Token::End), "{query}");
        assert_eq!(tokens, expected, "{query}");
    }

    #[test]
    fn numbers_and_durations() {
        for (query, number) in [
            ("1", 1.0),
            (".5", 0.5),
            ("1e3", 1e3),
            ("2.5E-3", 2.5e-3),
            ("0x1f", 31.0),
            ("010", 8.0),
            ("08", 8.0),
        ] {
            check(query, &[Token::Number(number)]);
        }
        check("1h30m", &[Token::DurationMs(5_400_000)]);
    }

    #[test]
    fn words_symbols_and_comments() {
        let word = |w: &str| Token::Word(w.to_owned());
        check("a:b #x\n=~ c", &[word("a:b"), Token::Symbol("=~"), word("c")]);
        check(
            "[5m:]",
            &[Token::Symbol("["), Token::DurationMs(300_000), Token::Symbol(":"), Token::Symbol("]")],
        );
    }

    #[test]
    fn strings() {
        let text = |t: &str| Token::Text(t.to_owned());
        check(r#""a\"\n\x41\101\u00e9é""#, &[text("a\"\nAAéé")]);
        check(r"'it\'s'", &[text("it's")]);
        check(r"`a\b`", &[text(r"a\b")]);
        for bad in ["\"a", "'\\q'", "\"\\xff\"", "`", "1.2.3", "5parsecs", "$", "1e310"] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }
}
