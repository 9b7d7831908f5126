//! Query text to a type-checked tree: a precedence-climbing parser over the lexer's tokens.
//!
//! Owns: the grammar of Prometheus 2.42 and its error messages with their place.
//! Refuses: syntax of later versions, by name where one can tell.

mod check;
mod clause;
mod error;
mod print;
mod selector;

pub use error::ParseError;

use super::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, Unary};
use super::function::Function;
use super::lexer::{Placed, Token, tokens};

/// Deeper nesting is refused: a query this deep is no query, and the stack is finite.
const DEPTH_MAX: usize = 200;

/// Parses and type-checks `query`.
///
/// # Errors
/// With the place and the reason of the first thing that is wrong.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser { query, tokens: tokens(query)?, next: 0, depth: 0 };
    if *parser.peek() == Token::End {
        return parser.fail("no expression found in input");
    }
    let expr = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(expr),
        token => parser.fail(format!("unexpected {}", token.words())),
    }
}

struct Parser<'a> {
    query: &'a str,
    tokens: Vec<Placed>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |placed| &placed.token)
    }

    fn position(&self) -> usize {
        self.tokens.get(self.next).map_or(self.query.len(), |placed| placed.position)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        self.fail_at(self.position(), message)
    }

    fn fail_at<T>(&self, position: usize, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.query, position, message))
    }

    fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(s) if *s == symbol)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let there = self.at_symbol(symbol);
        self.next += usize::from(there);
        there
    }

    fn expect_symbol(&mut self, symbol: &str, place: &str) -> Result<(), ParseError> {
        if self.take_symbol(symbol) {
            return Ok(());
        }
        self.fail(format!("expected \"{symbol}\" {place}, found {}", self.peek().words()))
    }

    /// Whether the next token is the keyword; keywords are not case sensitive.
    fn at_keyword(&self, keyword: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let there = self.at_keyword(keyword);
        self.next += usize::from(there);
        there
    }

    /// An expression of operators that bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Expr, ParseError> {
        let entry = self.depth;
        self.deepen()?;
        let mut lhs = self.unary()?;
        while let Some(op) = self.peek_operator()
            && op.precedence() >= least
        {
            // A chain of operators is a tree as deep as it is long.
            self.deepen()?;
            let position = self.position();
            self.next += 1;
            let (return_bool, matching) = self.operator_modifiers(op)?;
            // `^` groups to the right, all others to the left.
            let right = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let rhs = self.expression(right)?;
            let binary = Binary { op, lhs, rhs, return_bool, matching };
            check::binary(&binary).or_else(|message| self.fail_at(position, message))?;
            lhs = Expr::Binary(Box::new(binary));
        }
        self.depth = entry;
        Ok(lhs)
    }

    fn deepen(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fail(format!("the expression is nested deeper than {DEPTH_MAX} levels"));
        }
        Ok(())
    }

    fn peek_operator(&self) -> Option<BinaryOp> {
        match self.peek() {
            Token::Symbol(symbol) => print::operator_of(symbol),
            Token::Word(word) => print::operator_of(&word.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// A sign binds like `*`: tighter than `+`, looser than `^`.
    fn unary(&mut self) -> Result<Expr, ParseError> {
        let position = self.position();
        let negative = self.at_symbol("-");
        if !negative && !self.at_symbol("+") {
            let expr = self.primary()?;
            return self.suffixes(expr, position);
        }
        self.next += 1;
        match self.expression(BinaryOp::Pow.precedence())? {
            Expr::Number(number) => Ok(Expr::Number(if negative { -number } else { number })),
            expr => {
                check::unary(&expr).or_else(|message| self.fail_at(position, message))?;
                Ok(Expr::Unary(Box::new(Unary { negative, expr })))
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, ParseError> {
        match self.peek().clone() {
            Token::Number(number) => {
                self.next += 1;
                Ok(Expr::Number(number))
            }
            Token::Text(text) => {
                self.next += 1;
                Ok(Expr::Text(text))
            }
            Token::Symbol("(") => {
                self.next += 1;
                let expr = self.expression(0)?;
                self.expect_symbol(")", "after the expression in parentheses")?;
                Ok(Expr::Paren(Box::new(expr)))
            }
            Token::Symbol("{") => self.selector(None),
            Token::Word(word) => self.word(word),
            Token::DurationMs(_) => self.fail("a duration is no value; it belongs in [] or after offset"),
            token => self.fail(format!("expected an expression, found {}", token.words())),
        }
    }

    /// A name: of a number, an aggregation, a function or a metric.
    fn word(&mut self, word: String) -> Result<Expr, ParseError> {
        let position = self.position();
        self.next += 1;
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "inf" => return Ok(Expr::Number(f64::INFINITY)),
            "nan" => return Ok(Expr::Number(f64::NAN)),
            "bool" | "on" | "ignoring" | "group_left" | "group_right" | "atan2" => {
                return self.fail_at(position, format!("unexpected keyword {lower}"));
            }
            _ => {}
        }
        let grouped = self.at_keyword("by") || self.at_keyword("without");
        if let Some(op) = print::aggregate_of(&lower)
            && (grouped || self.at_symbol("("))
        {
            return self.aggregate(op, position);
        }
        if self.at_symbol("(") {
            return self.call(&word, position);
        }
        self.selector(Some(word))
    }

    fn aggregate(&mut self, op: AggregateOp, position: usize) -> Result<Expr, ParseError> {
        let mut grouping = self.grouping()?;
        let mut args = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let name = print::aggregate_name(op);
        let expected = if check::aggregate_param(op).is_some() { 2 } else { 1 };
        if args.len() != expected {
            let message =
                format!("wrong number of arguments for {name}: expected {expected}, got {}", args.len());
            return self.fail_at(position, message);
        }
        let Some(expr) = args.pop() else { return self.fail_at(position, "no arguments") };
        let aggregate = Aggregate { op, grouping, param: args.pop(), expr };
        check::aggregate(&aggregate).or_else(|message| self.fail_at(position, message))?;
        Ok(Expr::Aggregate(Box::new(aggregate)))
    }

    fn call(&mut self, name: &str, position: usize) -> Result<Expr, ParseError> {
        let function = Function::named(name).or_else(|message| self.fail_at(position, message))?;
        let call = Call { function, args: self.arguments()? };
        check::call(&call).or_else(|message| self.fail_at(position, message))?;
        Ok(Expr::Call(call))
    }

    /// `(a, b)`; a trailing comma is refused.
    fn arguments(&mut self) -> Result<Vec<Expr>, ParseError> {
        self.expect_symbol("(", "before the arguments")?;
        let mut args = Vec::new();
        if self.take_symbol(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            if !self.take_symbol(",") {
                self.expect_symbol(")", "after the arguments")?;
                return Ok(args);
            }
            if self.at_symbol(")") {
                return self.fail("trailing commas are not allowed in arguments");
            }
        }
    }
}

#[cfg(test)]
mod tests;
