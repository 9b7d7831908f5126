//! Regular expressions as Prometheus writes them: RE2's syntax and meaning, over the `regex` crate.
//!
//! Owns: anchoring, what the two syntaxes spell differently, and what RE2 refuses.
//! Refuses: rewriting character classes beyond that; Unicode tables are those of the `regex` crate.

use regex::Regex;

/// RE2 refuses to repeat more often.
const REPEAT_MAX: u32 = 1000;

const NAMED_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Compiles `pattern` so that it matches whole texts only.
///
/// # Errors
/// With the reason, when RE2 or the `regex` crate refuses the pattern.
pub fn anchored(pattern: &str) -> Result<Regex, String> {
    compile(&format!("^(?:{})$", translated(pattern)?))
}

/// Compiles `pattern` so that it matches anywhere in a text.
///
/// # Errors
/// As [`anchored`].
pub fn unanchored(pattern: &str) -> Result<Regex, String> {
    compile(&translated(pattern)?)
}

fn translated(pattern: &str) -> Result<String, String> {
    let mut translation = Translation { rest: pattern, out: String::with_capacity(pattern.len()), depth: 0 };
    translation.run()?;
    Ok(translation.out)
}

fn compile(translated: &str) -> Result<Regex, String> {
    Regex::new(translated).map_err(|error| {
        // The crate draws the place over several lines; its last says what is wrong.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
    })
}

struct Translation<'a> {
    rest: &'a str,
    out: String,
    /// Open parentheses.
    depth: usize,
}

type Step = Result<(), String>;

impl Translation<'_> {
    fn run(&mut self) -> Step {
        while let Some(c) = self.take() {
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.open()?,
                // The anchors would make sense of what closes nothing.
                ')' => {
                    self.depth = self.depth.checked_sub(1).ok_or("unexpected )")?;
                    self.out.push(')');
                }
                '*' | '+' | '?' => {
                    self.out.push(c);
                    self.end_repeat()?;
                }
                '{' => match counts(self.rest) {
                    Some((length, most)) => {
                        if most > REPEAT_MAX {
                            return Err(format!("invalid repeat count: more than {REPEAT_MAX}"));
                        }
                        self.out.push('{');
                        self.copy(length);
                        self.end_repeat()?;
                    }
                    // A brace that counts nothing is a brace.
                    None => self.out.push_str("\\{"),
                },
                c => self.out.push(c),
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.skip(c.len_utf8());
        Some(c)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn copy(&mut self, bytes: usize) {
        self.out.push_str(self.rest.get(..bytes).unwrap_or_default());
        self.skip(bytes);
    }

    /// After a repetition: `?` may follow, another repetition may not.
    fn end_repeat(&mut self) -> Step {
        if self.rest.starts_with('?') {
            self.copy(1);
        }
        let counted = self.rest.strip_prefix('{').is_some_and(|counts_of| counts(counts_of).is_some());
        if counted || self.rest.starts_with(['*', '+', '?']) {
            return Err("invalid nested repetition operator".to_owned());
        }
        Ok(())
    }

    fn open(&mut self) -> Step {
        self.depth += 1;
        self.out.push('(');
        let Some(after) = self.rest.strip_prefix('?') else { return Ok(()) };
        if let Some(named) = after.strip_prefix("P<") {
            let name = named.split_once('>').map_or("", |(name, _)| name);
            let word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            return if word { Ok(()) } else { Err("invalid named capture".to_owned()) };
        }
        if after.starts_with(')') {
            self.skip(1);
            self.out.push_str("?:");
            return Ok(());
        }
        let end = after.find([':', ')']).ok_or("missing argument to (?")?;
        let flags = after.get(..end).unwrap_or_default();
        if !flags.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
            return Err(format!("invalid or unsupported syntax: (?{flags}"));
        }
        Ok(())
    }

    /// After `[`: up to and with the closing bracket.
    fn class(&mut self) -> Step {
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        if self.rest.starts_with(']') {
            self.skip(1);
            self.out.push_str("\\]");
        }
        loop {
            match self.take().ok_or("missing closing ]")? {
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' => self.named_class()?,
                // Doubled, these are operators on classes to the crate only.
                c @ ('&' | '~') => self.out.extend(['\\', c]),
                c => self.out.push(c),
            }
        }
    }

    /// After `[` in a class: `:alpha:]` and the like, or nothing special.
    fn named_class(&mut self) -> Step {
        let named =
            self.rest.strip_prefix(':').and_then(|rest| rest.find(":]").and_then(|end| rest.get(..end)));
        match named {
            None => self.out.push_str("\\["),
            Some(name) if NAMED_CLASSES.contains(&name.trim_start_matches('^')) => {
                self.out.push('[');
                self.copy(name.len() + 3);
            }
            Some(name) => return Err(format!("invalid character class range: [:{name}:]")),
        }
        Ok(())
    }

    /// After a backslash.
    fn escape(&mut self, in_class: bool) -> Step {
        let c = self.take().ok_or("trailing backslash at end of expression")?;
        let unknown = || Err(format!("invalid escape sequence: \\{c}"));
        match c {
            'd' | 'w' | 's' | 'D' | 'W' | 'S' => self.ascii_class(c, in_class),
            'b' if !in_class => self.out.push_str("(?-u:\\b)"),
            'B' | 'A' | 'z' if !in_class => self.out.extend(['\\', c]),
            'p' | 'P' | 'x' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' => {
                self.out.extend(['\\', c]);
                if matches!(c, 'p' | 'P' | 'x') && self.rest.starts_with('{') {
                    self.copy(self.rest.find('}').map_or(1, |end| end + 1));
                }
            }
            // Without its end it would quote the anchor too.
            'Q' if !in_class => {
                let end = self.rest.find("\\E").ok_or("\\Q without \\E")?;
                self.out.push_str(&regex::escape(self.rest.get(..end).unwrap_or_default()));
                self.skip(end + 2);
            }
            '0'..='7' => {
                let octal = self.rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                if c != '0' && octal == 0 {
                    return unknown();
                }
                let digits = format!("{c}{}", self.rest.get(..octal).unwrap_or_default());
                let code = u32::from_str_radix(&digits, 8).map_err(|error| error.to_string())?;
                self.skip(octal);
                self.out.push_str(&format!("\\x{{{code:x}}}"));
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => self.literal(c),
            _ => return unknown(),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    /// `\d`, `\w`, `\s` and their opposites mean ASCII.
    fn ascii_class(&mut self, letter: char, in_class: bool) {
        let members = match letter.to_ascii_lowercase() {
            'd' => "0-9",
            'w' => "0-9A-Za-z_",
            _ => "\\t\\n\\f\\r ",
        };
        let text = match (letter.is_ascii_uppercase(), in_class) {
            (false, true) => members.to_owned(),
            (false, false) => format!("[{members}]"),
            (true, _) => format!("[^{members}]"),
        };
        self.out.push_str(&text);
    }
}

/// The length of `n}`, `n,}` or `n,m}` at the start of `text`, and its larger number.
fn counts(text: &str) -> Option<(usize, u32)> {
    let end = text.find('}')?;
    let (least, most) = match text.get(..end)?.split_once(',') {
        None => (text.get(..end)?, None),
        Some((least, "")) => (least, None),
        Some((least, most)) => (least, Some(most)),
    };
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let least = number(least)?;
    let most = most.map_or(Some(least), number)?;
    Some((end + 1, least.max(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_what_re2_means() {
        for (pattern, text, expected) in [
            ("a.b", "a\nb", false),
            ("(?s)a.b", "a\nb", true),
            ("a|b", "ab", false),
            (r"\w+", "é", false),
            (r"\W", "é", true),
            (r"[\w-]+", "a-b", true),
            (r"[^\W]+", "a_1", true),
            (r"\d\s\D", "1 x", true),
            ("/api/{id}", "/api/{id}", true),
            ("a{2}{x", "aa{x", true),
            ("a{,2}", "a{,2}", true),
            (r"\Qa.b\E+", "a.bb", true),
            ("(?)a", "a", true),
            (r"\141", "a", true),
            (r"\x{61}\x62[\x{63}]", "abc", true),
            (r"\p{L}\PN[\p{Greek}]", "éxλ", true),
            (r"[[a]+", "[a", true),
            ("[]a]+", "]a", true),
            ("[a&&b]+", "&a", true),
            ("[[:digit:]x]+", "1x", true),
            (r"\_\<\-", "_<-", true),
            (r"a\b.*", "a b", true),
            ("(?i:A)b", "ab", true),
            ("(?P<n>a)", "a", true),
            ("", "", true),
        ] {
            assert_eq!(anchored(pattern).expect(pattern).is_match(text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn refuses_what_re2_refuses() {
        for pattern in [
            "(",
            ")",
            "a)|(b",
            "[",
            "a**",
            "a+{2}",
            "*",
            "a{1001}",
            r"\",
            r"\q",
            r"\1",
            r"\C",
            r"\u0041",
            "(?x)a",
            "(?=a)",
            "(?<n>a)",
            r"[\b]",
            "[z-a]",
            "[[:nothing:]]",
            r"\Qa",
            "(?P<a.>b)",
        ] {
            assert!(anchored(pattern).is_err(), "{pattern}");
        }
    }
}
