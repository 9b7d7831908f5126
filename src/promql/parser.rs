//! Tokens → a type-checked tree: a Pratt parser over Prometheus 2.42's grammar.

use super::ast::{
    AGGREGATES, Aggregate, AggregateOp, At, BINARY_OPS, Binary, BinaryOp, Expr, Function, Group, Matching,
    Selector, Shift, Subquery, ValueType,
};
use super::error::ParseError;
use super::lexer::{Token, tokens};
use super::signature;
use crate::model::{METRIC_NAME, MatchOp, Matcher};

/// Nesting that no honest expression reaches; deeper ones would use up the stack.
const MAX_DEPTH: usize = 100;

/// Parses and type-checks an expression.
///
/// # Errors
/// [`ParseError`] at the first place that does not fit.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser { text: query, tokens: tokens(query)?, at: 0, depth: 0 };
    let expr = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(expr),
        other => Err(parser.error(format!("unexpected {} after the end of the expression", shown(other)))),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, ParseError>;

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("{word:?}"),
        Token::Number(number) => format!("number {number}"),
        Token::Duration(_) => "a duration".to_owned(),
        Token::Text(text) => format!("string {text:?}"),
        Token::Symbol(symbol) => format!("{symbol:?}"),
        Token::End => "end of the expression".to_owned(),
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn position(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |(at, _)| *at)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::at(self.text, self.position(), message)
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.eat(symbol) {
            Ok(())
        } else {
            Err(self.error(format!("expected {symbol:?}, found {}", shown(self.peek()))))
        }
    }

    /// The next word, if it is this keyword in any case.
    fn eat_word(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        let name = match self.peek() {
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::Word(word) => word.to_ascii_lowercase(),
            _ => return None,
        };
        BINARY_OPS.iter().find(|(text, _)| *text == name).map(|(_, op)| *op)
    }

    /// Precedence climbing: everything that binds at least as strongly as `least`.
    fn expression(&mut self, least: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("the expression is nested too deeply"));
        }
        let mut left = self.unary()?;
        while let Some(op) = self.binary_op().filter(|op| op.precedence() >= least) {
            let at = self.position();
            self.next();
            let (bool, matching) = self.modifiers(op)?;
            let tighter = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.expression(tighter)?;
            let binary = Binary { op, left, right, bool, matching };
            self.check_binary(&binary, at)?;
            left = Expr::Binary(Box::new(binary));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.position();
        let negative = self.is("-");
        if !(negative || self.is("+")) {
            return self.postfix();
        }
        self.next();
        // `-2^2` is -(2^2): the sign binds like `*`.
        let inner = self.expression(BinaryOp::Pow.precedence())?;
        if !matches!(inner.value_type(), ValueType::Scalar | ValueType::Vector) {
            let found = inner.value_type().as_str();
            return Err(ParseError::at(
                self.text,
                at,
                format!("a sign takes a scalar or an instant vector, not a {found}"),
            ));
        }
        Ok(match inner {
            inner if !negative => inner,
            Expr::Number(number) => Expr::Number(-number),
            inner => Expr::Negate(Box::new(inner)),
        })
    }

    /// A primary with what may follow: `[range]`, `[range:step]`, `offset`, `@`.
    fn postfix(&mut self) -> Parsed<Expr> {
        let at = self.position();
        let mut expr = self.primary()?;
        while self.is("[") {
            expr = self.range_of(expr, at)?;
        }
        while let Some(shift) = self.shift()? {
            apply_shift(&mut expr, shift).map_err(|message| ParseError::at(self.text, at, message))?;
        }
        if self.is("[") && !matches!(expr, Expr::Range(..)) {
            expr = self.range_of(expr, at)?;
            while let Some(shift) = self.shift()? {
                apply_shift(&mut expr, shift).map_err(|message| ParseError::at(self.text, at, message))?;
            }
        }
        Ok(expr)
    }

    fn range_of(&mut self, expr: Expr, at: usize) -> Parsed<Expr> {
        self.expect("[")?;
        let range_ms = self.duration()?;
        if range_ms == 0 {
            return Err(self.error("a range must be longer than nothing"));
        }
        if self.eat(":") {
            let step_ms = if self.is("]") { None } else { Some(self.duration()?) };
            self.expect("]")?;
            if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
                let found = expr.value_type().as_str();
                return Err(ParseError::at(
                    self.text,
                    at,
                    format!("a subquery is over an instant vector, not a {found}"),
                ));
            }
            return Ok(Expr::Subquery(Box::new(Subquery {
                expr,
                range_ms,
                step_ms,
                shift: Shift::default(),
            })));
        }
        self.expect("]")?;
        match expr {
            Expr::Vector(selector) if selector.shift == Shift::default() => {
                Ok(Expr::Range(selector, range_ms))
            }
            Expr::Vector(_) => Err(ParseError::at(self.text, at, "write the range before offset and @")),
            _ => Err(ParseError::at(
                self.text,
                at,
                "a range is only possible on a selector; write [range:step] for a subquery",
            )),
        }
    }

    fn duration(&mut self) -> Parsed<i64> {
        match self.peek() {
            Token::Duration(ms) => {
                let ms = *ms;
                self.next();
                Ok(ms)
            }
            other => Err(self.error(format!("expected a duration like 5m, found {}", shown(other)))),
        }
    }

    fn shift(&mut self) -> Parsed<Option<Shift>> {
        if self.eat_word("offset") {
            let negative = self.eat("-");
            let ms = self.duration()?;
            return Ok(Some(Shift { offset_ms: if negative { -ms } else { ms }, at: None }));
        }
        if !self.eat("@") {
            return Ok(None);
        }
        let negative = self.eat("-");
        let at = match self.next() {
            Token::Number(seconds) => {
                let ms = (if negative { -seconds } else { seconds }) * 1000.0;
                if !(ms.is_finite() && ms.abs() < i64::MAX as f64) {
                    return Err(self.error("the time after @ is out of range"));
                }
                At::Time(ms.round() as i64)
            }
            Token::Word(word) if word == "start" || word == "end" => {
                self.expect("(")?;
                self.expect(")")?;
                if word == "start" { At::Start } else { At::End }
            }
            other => {
                return Err(
                    self.error(format!("@ takes a time in seconds, start() or end(), not {}", shown(&other)))
                );
            }
        };
        Ok(Some(Shift { offset_ms: 0, at: Some(at) }))
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let at = self.position();
        match self.next() {
            Token::Number(number) => Ok(Expr::Number(number)),
            Token::Text(text) => Ok(Expr::Text(text)),
            Token::Symbol("(") => {
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(Expr::Paren(Box::new(inner)))
            }
            Token::Symbol("{") => {
                self.at -= 1;
                self.selector(None, at)
            }
            Token::Word(word) => self.word(word, at),
            other => {
                Err(ParseError::at(self.text, at, format!("expected an expression, found {}", shown(&other))))
            }
        }
    }

    fn word(&mut self, word: String, at: usize) -> Parsed<Expr> {
        let lower = word.to_ascii_lowercase();
        let next_is_grouping = matches!(self.peek(), Token::Word(w) if ["by", "without"].contains(&w.to_ascii_lowercase().as_str()));
        if let Some((_, op)) = AGGREGATES.iter().find(|(name, _)| *name == lower)
            && (self.is("(") || next_is_grouping)
        {
            return self.aggregate(*op, at);
        }
        if self.is("(") {
            return self.call(&word, at);
        }
        match lower.as_str() {
            "inf" => return Ok(Expr::Number(f64::INFINITY)),
            "nan" => return Ok(Expr::Number(f64::NAN)),
            _ if BINARY_OPS.iter().any(|(name, _)| *name == lower)
                || ["offset", "bool", "on", "ignoring"].contains(&lower.as_str()) =>
            {
                return Err(ParseError::at(
                    self.text,
                    at,
                    format!("{word:?} is a keyword and has nothing before it"),
                ));
            }
            _ => {}
        }
        self.selector(Some(word), at)
    }

    fn selector(&mut self, name: Option<String>, at: usize) -> Parsed<Expr> {
        let mut matchers = Vec::new();
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        if self.eat("{") {
            while !self.is("}") {
                let matcher = self.matcher()?;
                if name.is_some() && matcher.name == METRIC_NAME {
                    return Err(ParseError::at(self.text, at, "the metric's name is there twice"));
                }
                matchers.push(matcher);
                if !self.eat(",") {
                    break;
                }
            }
            self.expect("}")?;
        }
        if matchers.iter().all(|matcher| matcher.matches_value("")) {
            return Err(ParseError::at(
                self.text,
                at,
                "a selector must have at least one matcher that does not match the empty string",
            ));
        }
        Ok(Expr::Vector(Selector { matchers, shift: Shift::default() }))
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let at = self.position();
        let Token::Word(label) = self.next() else {
            return Err(ParseError::at(self.text, at, "expected a label's name"));
        };
        let op = match self.next() {
            Token::Symbol("=") => MatchOp::Equal,
            Token::Symbol("!=") => MatchOp::NotEqual,
            Token::Symbol("=~") => MatchOp::Regex,
            Token::Symbol("!~") => MatchOp::NotRegex,
            other => {
                return Err(ParseError::at(
                    self.text,
                    at,
                    format!("expected =, !=, =~ or !~ after {label:?}, found {}", shown(&other)),
                ));
            }
        };
        let Token::Text(value) = self.next() else {
            return Err(ParseError::at(
                self.text,
                at,
                format!("the value of {label:?} must be a string in quotes"),
            ));
        };
        Matcher::new(&label, op, &value).map_err(|error| ParseError::at(self.text, at, error.to_string()))
    }

    fn call(&mut self, name: &str, at: usize) -> Parsed<Expr> {
        let Some(signature) = signature::find(name) else {
            let refused = signature::REFUSED.iter().find(|(refused, _)| *refused == name);
            let message = refused.map_or_else(
                || format!("there is no function {name:?}"),
                |(_, why)| format!("the function {name:?} cannot be used: {why}"),
            );
            return Err(ParseError::at(self.text, at, message));
        };
        self.expect("(")?;
        let mut arguments = Vec::new();
        while !self.is(")") {
            arguments.push((self.position(), self.expression(0)?));
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        let most = if signature.variadic { usize::MAX } else { signature.arguments.len() };
        let least = signature.arguments.len() - signature.optional;
        if !(least..=most).contains(&arguments.len()) {
            let message = format!(
                "{name} takes {least}{} argument(s), not {}",
                if most > least { " or more" } else { "" },
                arguments.len()
            );
            return Err(ParseError::at(self.text, at, message));
        }
        for (n, (at, argument)) in arguments.iter().enumerate() {
            let wanted = signature.arguments.get(n).or(signature.arguments.last());
            if wanted.is_some_and(|wanted| *wanted != argument.value_type()) {
                let (wanted, found) = (wanted.map_or("", |w| w.as_str()), argument.value_type().as_str());
                return Err(ParseError::at(
                    self.text,
                    *at,
                    format!("{name} wants a {wanted} here, this is a {found}"),
                ));
            }
        }
        Ok(Expr::Call(Function(signature), arguments.into_iter().map(|(_, argument)| argument).collect()))
    }

    fn aggregate(&mut self, op: AggregateOp, at: usize) -> Parsed<Expr> {
        let mut grouping = self.grouping()?;
        self.expect("(")?;
        let mut arguments = vec![self.expression(0)?];
        while self.eat(",") && !self.is(")") {
            arguments.push(self.expression(0)?);
        }
        self.expect(")")?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let wrong = |message: String| ParseError::at(self.text, at, message);
        let expr = arguments.pop().ok_or_else(|| wrong("an aggregation needs an expression".to_owned()))?;
        let parameter = arguments.pop();
        if op.takes_parameter() != parameter.is_some() || !arguments.is_empty() {
            let wanted =
                if op.takes_parameter() { "a parameter and an expression" } else { "one expression" };
            return Err(wrong(format!("{} takes {wanted}", op.as_str())));
        }
        if expr.value_type() != ValueType::Vector {
            return Err(wrong(format!(
                "{} is over an instant vector, not a {}",
                op.as_str(),
                expr.value_type().as_str()
            )));
        }
        let wanted = if op == AggregateOp::CountValues { ValueType::Text } else { ValueType::Scalar };
        if let Some(found) = parameter.as_ref().map(Expr::value_type).filter(|found| *found != wanted) {
            return Err(wrong(format!(
                "the parameter of {} is a {}, not a {}",
                op.as_str(),
                wanted.as_str(),
                found.as_str()
            )));
        }
        let (without, labels) = grouping.unwrap_or_default();
        Ok(Expr::Aggregate(Box::new(Aggregate { op, expr, parameter, without, labels })))
    }

    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = self.eat_word("without");
        if without || self.eat_word("by") { Ok(Some((without, self.label_list()?))) } else { Ok(None) }
    }

    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect("(")?;
        let mut labels = Vec::new();
        while !self.is(")") {
            match self.next() {
                Token::Word(label) => labels.push(label),
                other => return Err(self.error(format!("expected a label's name, found {}", shown(&other)))),
            }
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(labels)
    }

    /// `bool`, `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)`.
    fn modifiers(&mut self, op: BinaryOp) -> Parsed<(bool, Matching)> {
        let bool = self.eat_word("bool");
        if bool && !op.is_comparison() {
            return Err(self.error("bool goes with comparisons only"));
        }
        let mut matching = Matching::default();
        let on = self.eat_word("on");
        if on || self.eat_word("ignoring") {
            matching = Matching { on, labels: self.label_list()?, explicit: true, group: Group::OneToOne };
            let left = self.eat_word("group_left");
            if left || self.eat_word("group_right") {
                if op.is_set() {
                    return Err(self.error("set operations cannot be grouped"));
                }
                let labels = if self.is("(") { self.label_list()? } else { Vec::new() };
                if let Some(label) = labels.iter().find(|label| on && matching.labels.contains(label)) {
                    return Err(self.error(format!("the label {label:?} is in both on and group")));
                }
                matching.group = if left { Group::Left(labels) } else { Group::Right(labels) };
            }
        }
        Ok((bool, matching))
    }

    fn check_binary(&self, binary: &Binary, at: usize) -> Parsed<()> {
        let wrong = |message: String| Err(ParseError::at(self.text, at, message));
        let (left, right) = (binary.left.value_type(), binary.right.value_type());
        for side in [left, right] {
            if !matches!(side, ValueType::Scalar | ValueType::Vector) {
                return wrong(format!(
                    "{} is between scalars and instant vectors, not a {}",
                    binary.op.as_str(),
                    side.as_str()
                ));
            }
        }
        let both_vectors = left == ValueType::Vector && right == ValueType::Vector;
        if binary.op.is_set() && !both_vectors {
            return wrong(format!("{} is between instant vectors only", binary.op.as_str()));
        }
        if binary.matching.explicit && !both_vectors {
            return wrong("on and ignoring are between instant vectors only".to_owned());
        }
        if binary.op.is_comparison()
            && !binary.bool
            && left == ValueType::Scalar
            && right == ValueType::Scalar
        {
            return wrong("comparisons between scalars must use bool".to_owned());
        }
        Ok(())
    }
}

fn apply_shift(expr: &mut Expr, shift: Shift) -> Result<(), String> {
    let target = match expr {
        Expr::Vector(selector) | Expr::Range(selector, _) => &mut selector.shift,
        Expr::Subquery(subquery) => &mut subquery.shift,
        _ => return Err("offset and @ follow a selector or a subquery".to_owned()),
    };
    if shift.at.is_some() {
        if target.at.is_some() {
            return Err("@ is there twice".to_owned());
        }
        target.at = shift.at;
    } else {
        if target.offset_ms != 0 {
            return Err("offset is there twice".to_owned());
        }
        target.offset_ms = shift.offset_ms;
    }
    Ok(())
}
