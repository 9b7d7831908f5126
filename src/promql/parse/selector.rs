//! Series selectors: `name{label="value", …}`.

use super::{ParseError, Parser};
use crate::model::{METRIC_NAME, MatchOp, Matcher};
use crate::promql::ast::{Expr, Selector, Shift};
use crate::promql::lexer::Token;

impl Parser<'_> {
    /// The selector whose name, if any, was just taken.
    pub(super) fn selector(&mut self, name: Option<String>) -> Result<Expr, ParseError> {
        let position = self.position();
        let mut matchers = if self.at_symbol("{") { self.matchers()? } else { Vec::new() };
        if let Some(name) = &name {
            if let Some(second) = matchers.iter().find(|m| m.name == METRIC_NAME) {
                return self.fail_at(
                    position,
                    format!("metric name must not be set twice: {:?} or {name:?}", second.value),
                );
            }
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        // Selecting everything by accident costs too much.
        if matchers.iter().all(|matcher| matcher.matches_value("")) {
            return self.fail_at(position, "vector selector must contain at least one non-empty matcher");
        }
        Ok(Expr::Selector(Selector { name, matchers, shift: Shift::default() }))
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>, ParseError> {
        self.next += 1;
        let mut matchers = Vec::new();
        loop {
            if self.take_symbol("}") {
                return Ok(matchers);
            }
            matchers.push(self.matcher()?);
            if !self.take_symbol(",") && !self.at_symbol("}") {
                return self.fail(format!("expected \",\" or \"}}\", found {}", self.peek().words()));
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher, ParseError> {
        let name = match self.peek().clone() {
            Token::Word(word) if !word.contains(':') => word,
            Token::Text(_) => return self.fail("quoted names in braces are syntax of Prometheus 3"),
            token => return self.fail(format!("expected a label name, found {}", token.words())),
        };
        self.next += 1;
        let op = match self.peek() {
            Token::Symbol("=") => MatchOp::Equal,
            Token::Symbol("!=") => MatchOp::NotEqual,
            Token::Symbol("=~") => MatchOp::Regex,
            Token::Symbol("!~") => MatchOp::NotRegex,
            token => {
                return self.fail(format!("expected one of =, !=, =~, !~, found {}", token.words()));
            }
        };
        self.next += 1;
        let position = self.position();
        match self.take() {
            Token::Text(value) => {
                Matcher::new(&name, op, &value).or_else(|error| self.fail_at(position, error.to_string()))
            }
            token => {
                self.fail_at(position, format!("expected a string as label value, found {}", token.words()))
            }
        }
    }
}
