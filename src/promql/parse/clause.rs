//! The clauses around operators and after operands: grouping, matching, ranges, `offset`, `@`.

use super::{ParseError, Parser};
use crate::promql::ast::{
    At, BinaryOp, Cardinality, Expr, Grouping, Kind, Matching, RangeSelector, Shift, Subquery,
};
use crate::promql::lexer::Token;

/// `@` takes seconds within what an i64 holds as milliseconds.
const AT_SECONDS_MAX: f64 = 9.2e15;

impl Parser<'_> {
    /// `by (labels)` or `without (labels)`, if there.
    pub(super) fn grouping(&mut self) -> Result<Option<Grouping>, ParseError> {
        let without = self.at_keyword("without");
        if !without && !self.at_keyword("by") {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(Grouping { without, labels: self.label_names()? }))
    }

    /// `bool`, `on`/`ignoring`, `group_left`/`group_right` after an operator.
    pub(super) fn operator_modifiers(
        &mut self,
        op: BinaryOp,
    ) -> Result<(bool, Option<Matching>), ParseError> {
        let position = self.position();
        let return_bool = self.take_keyword("bool");
        if return_bool && !op.is_comparison() {
            return self.fail_at(position, "bool modifier can only be used on comparison operators");
        }
        let on = self.at_keyword("on");
        if !on && !self.at_keyword("ignoring") {
            return match self.at_keyword("group_left") || self.at_keyword("group_right") {
                true => self.fail("group_left and group_right need on or ignoring before them"),
                false => Ok((return_bool, None)),
            };
        }
        self.next += 1;
        let labels = self.label_names()?;
        let left = self.at_keyword("group_left");
        let cardinality = if left || self.at_keyword("group_right") {
            self.next += 1;
            let include = if self.at_symbol("(") { self.label_names()? } else { Vec::new() };
            if left { Cardinality::GroupLeft(include) } else { Cardinality::GroupRight(include) }
        } else {
            Cardinality::OneToOne
        };
        Ok((return_bool, Some(Matching { on, labels, cardinality })))
    }

    /// `(a, b,)`: label names, keywords allowed (but not `inf` and `nan`), a trailing comma allowed.
    fn label_names(&mut self) -> Result<Vec<String>, ParseError> {
        self.expect_symbol("(", "before the label names")?;
        let mut names = Vec::new();
        loop {
            if self.take_symbol(")") {
                return Ok(names);
            }
            match self.peek().clone() {
                Token::Word(word) if is_number(&word) => {
                    return self.fail(format!("expected a label name, found number {word}"));
                }
                Token::Word(word) if !word.contains(':') => names.push(word),
                Token::Text(_) => return self.fail("quoted label names are syntax of Prometheus 3"),
                token => return self.fail(format!("expected a label name, found {}", token.words())),
            }
            self.next += 1;
            if !self.take_symbol(",") && !self.at_symbol(")") {
                return self.fail(format!("expected \",\" or \")\", found {}", self.peek().words()));
            }
        }
    }

    /// Ranges, `offset` and `@`, which bind tighter than any operator.
    pub(super) fn suffixes(&mut self, mut expr: Expr, position: usize) -> Result<Expr, ParseError> {
        loop {
            if self.at_symbol("[") {
                expr = self.range(expr, position)?;
            } else if self.at_keyword("offset") {
                self.next += 1;
                let offset_ms = self.offset_ms()?;
                let place = self.shift_of(&mut expr, position, "offset")?;
                if place.offset_ms != 0 {
                    return self.fail_at(position, "offset may not be set multiple times");
                }
                place.offset_ms = offset_ms;
            } else if self.take_symbol("@") {
                let at = self.pinned_instant()?;
                let place = self.shift_of(&mut expr, position, "@")?;
                if place.at.is_some() {
                    return self.fail_at(position, "@ <timestamp> may not be set multiple times");
                }
                place.at = Some(at);
            } else {
                return Ok(expr);
            }
        }
    }

    fn shift_of<'e>(
        &self,
        expr: &'e mut Expr,
        position: usize,
        modifier: &str,
    ) -> Result<&'e mut Shift, ParseError> {
        match expr {
            Expr::Selector(selector) => Ok(&mut selector.shift),
            Expr::Range(range) => Ok(&mut range.selector.shift),
            Expr::Subquery(subquery) => Ok(&mut subquery.shift),
            _ => self.fail_at(
                position,
                format!(
                    "{modifier} modifier must be preceded by an instant vector selector or range vector \
                     selector or a subquery"
                ),
            ),
        }
    }

    /// `[range]` or `[range:step]`.
    fn range(&mut self, expr: Expr, position: usize) -> Result<Expr, ParseError> {
        self.next += 1;
        let range_ms = self.duration_ms("as the range")?;
        if self.take_symbol(":") {
            let step_ms =
                if self.at_symbol("]") { None } else { Some(self.duration_ms("as the subquery's step")?) };
            self.expect_symbol("]", "after the subquery's range")?;
            if expr.kind() != Kind::Vector {
                let kind = expr.kind().words();
                return self
                    .fail_at(position, format!("subquery is only allowed on instant vector, got {kind}"));
            }
            return Ok(Expr::Subquery(Box::new(Subquery {
                expr,
                range_ms,
                step_ms,
                shift: Shift::default(),
            })));
        }
        self.expect_symbol("]", "after the range")?;
        match expr {
            // `@ start()` and `@ end()` may stand before the range, other modifiers may not.
            Expr::Selector(selector)
                if selector.shift.offset_ms == 0 && !matches!(selector.shift.at, Some(At::Ms(_))) =>
            {
                Ok(Expr::Range(RangeSelector { selector, range_ms }))
            }
            Expr::Selector(selector) => {
                let modifier = if selector.shift.at.is_some() { "@" } else { "offset" };
                self.fail_at(position, format!("no {modifier} modifiers allowed before range"))
            }
            _ => self.fail_at(position, "ranges only allowed for vector selectors"),
        }
    }

    fn duration_ms(&mut self, place: &str) -> Result<i64, ParseError> {
        match self.peek().clone() {
            Token::DurationMs(0) => self.fail("duration must be greater than 0"),
            Token::DurationMs(ms) => {
                self.next += 1;
                Ok(ms)
            }
            Token::Number(_) => self.fail(format!("expected a duration with a unit (5m) {place}")),
            token => self.fail(format!("expected a duration {place}, found {}", token.words())),
        }
    }

    fn offset_ms(&mut self) -> Result<i64, ParseError> {
        let negative = self.take_symbol("-");
        let ms = self.duration_ms("after offset")?;
        Ok(if negative { -ms } else { ms })
    }

    /// After `@`: seconds since the Unix epoch, `start()` or `end()`.
    fn pinned_instant(&mut self) -> Result<At, ParseError> {
        for (keyword, at) in [("start", At::Start), ("end", At::End)] {
            if self.take_keyword(keyword) {
                self.expect_symbol("(", "after start or end")?;
                self.expect_symbol(")", "after start( or end(")?;
                return Ok(at);
            }
        }
        let position = self.position();
        let negative = self.take_symbol("-");
        if !negative {
            self.take_symbol("+");
        }
        match self.take() {
            Token::Number(seconds) if seconds.abs() < AT_SECONDS_MAX => {
                #[expect(clippy::cast_possible_truncation, reason = "bounded by the guard")]
                let ms = (seconds * 1000.0).round() as i64;
                Ok(At::Ms(if negative { -ms } else { ms }))
            }
            Token::Number(_) => self.fail_at(position, "timestamp out of bounds for @ modifier"),
            token => self.fail_at(
                position,
                format!("expected seconds, start() or end() after @, found {}", token.words()),
            ),
        }
    }
}

/// Names of numbers are numbers everywhere but in braces.
fn is_number(word: &str) -> bool {
    word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan")
}
