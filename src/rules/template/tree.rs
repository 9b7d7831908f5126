//! Pieces become a tree. Unknown functions and variables, and blocks without an end, are errors here: when
//! the rule file is loaded, not when an alert fires.

use std::collections::BTreeMap;

use super::TemplateError;
use super::function;
use super::lexer::{Kind, Piece, Token};
use super::value::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// Prints its result, unless it declares or sets a variable.
    Action(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `.` is the condition's value within.
    With {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        each: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// A template of a `define`, with its `.`.
    Call {
        name: String,
        with: Option<Pipeline>,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// Two only in `range`: the index and the element.
    pub(super) variables: Vec<String>,
    /// `=` and not `:=`.
    pub(super) sets: bool,
    /// Each gets the result of the one before it as its last argument. Never empty.
    pub(super) commands: Vec<Command>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Operand(Operand),
    Function { name: String, arguments: Vec<Operand> },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Dot,
    Nil,
    Constant(Value),
    Variable(String),
    Pipeline(Box<Pipeline>),
    /// A function without arguments, as an argument.
    Function(String),
    /// `.A.B` of another operand.
    Fields(Box<Operand>, Vec<String>),
}

/// The nodes outside of every `define`, and those of each.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

/// Variables of every template, from Prometheus: what each stands for in its data.
pub(super) const GIVEN: [(&str, &str); 4] = [
    ("labels", "Labels"),
    ("externalLabels", "ExternalLabels"),
    ("externalURL", "ExternalURL"),
    ("value", "Value"),
];

pub(super) fn tree(pieces: Vec<Piece>) -> Result<Tree, TemplateError> {
    let mut parser = Parser {
        pieces: pieces.into_iter(),
        defined: BTreeMap::new(),
        called: Vec::new(),
        variables: given_variables(),
        loops: 0,
    };
    let nodes = match parser.nodes()? {
        (nodes, Stop::EndOfText) => nodes,
        (_, stop) => return Err(syntax(stop.word(), "it closes nothing")),
    };
    match parser.called.iter().find(|name| !parser.defined.contains_key(*name)) {
        Some(name) => Err(syntax(&format!("template {name:?}"), "no such template is defined")),
        None => Ok(Tree { nodes, defined: parser.defined }),
    }
}

fn given_variables() -> Vec<String> {
    let root = String::new();
    GIVEN.iter().map(|(name, _)| (*name).to_owned()).chain([root]).collect()
}

fn syntax(text: &str, expected: &str) -> TemplateError {
    TemplateError::Syntax { text: text.to_owned(), expected: expected.to_owned() }
}

/// What ended a list of nodes.
enum Stop {
    EndOfText,
    End,
    Else(Tokens),
}

impl Stop {
    fn word(&self) -> &'static str {
        match self {
            Self::EndOfText => "the end of the template",
            Self::End => "end",
            Self::Else(_) => "else",
        }
    }
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    defined: BTreeMap<String, Vec<Node>>,
    /// Templates that are used.
    called: Vec<String>,
    /// In scope, innermost last.
    variables: Vec<String>,
    /// Around the current place.
    loops: usize,
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let mut tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens.into_iter().peekable(),
            };
            let keyword = match tokens.peek().map(|token| &token.kind) {
                Some(Kind::Word(word)) if KEYWORDS.contains(&word.as_str()) => word.clone(),
                _ => {
                    nodes.push(Node::Action(self.whole_pipeline(tokens, "an action")?));
                    continue;
                }
            };
            tokens.next();
            match keyword.as_str() {
                "end" => return no_more(tokens, "end").map(|()| (nodes, Stop::End)),
                "else" => return Ok((nodes, Stop::Else(tokens))),
                "define" => self.define(tokens)?,
                "block" => nodes.push(self.block(tokens)?),
                "template" => {
                    let name = self.name(&mut tokens, "template")?;
                    let with = tokens
                        .peek()
                        .is_some()
                        .then(|| self.whole_pipeline(tokens, "template"))
                        .transpose()?;
                    nodes.push(self.call(name, with));
                }
                "break" | "continue" => {
                    no_more(tokens, &keyword)?;
                    if self.loops == 0 {
                        return Err(syntax(&keyword, "it is in no range"));
                    }
                    nodes.push(if keyword == "break" { Node::Break } else { Node::Continue });
                }
                _ => nodes.push(self.branch(&keyword, tokens)?),
            }
        }
        Ok((nodes, Stop::EndOfText))
    }

    /// `if`, `with` or `range`, up to its `end`.
    fn branch(&mut self, keyword: &str, tokens: Tokens) -> Result<Node, TemplateError> {
        let scope = self.variables.len();
        let pipeline = self.whole_pipeline(tokens, keyword)?;
        if pipeline.variables.len() > 1 && keyword != "range" {
            return Err(syntax(keyword, "two variables are only for range"));
        }
        let is_loop = usize::from(keyword == "range");
        self.loops += is_loop;
        let (then, stop) = self.nodes()?;
        self.loops -= is_loop;
        let otherwise = match stop {
            Stop::End => Vec::new(),
            Stop::Else(mut tokens) => {
                let inner = self.variables.len();
                match tokens.next().map(|token| token.kind) {
                    None => match self.nodes()? {
                        (nodes, Stop::End) => {
                            self.variables.truncate(inner);
                            nodes
                        }
                        (_, stop) => return Err(syntax(keyword, &unended(&stop))),
                    },
                    // Ends with the one `end` of both.
                    Some(Kind::Word(word)) if word == "if" && keyword == "if" => {
                        vec![self.branch("if", tokens)?]
                    }
                    Some(_) => {
                        return Err(syntax("else", "only `else` or, in an if, `else if` with a condition"));
                    }
                }
            }
            stop @ Stop::EndOfText => return Err(syntax(keyword, &unended(&stop))),
        };
        self.variables.truncate(scope);
        Ok(match keyword {
            "if" => Node::If { condition: pipeline, then, otherwise },
            "with" => Node::With { condition: pipeline, then, otherwise },
            _ => Node::Range { over: pipeline, each: then, otherwise },
        })
    }

    fn define(&mut self, mut tokens: Tokens) -> Result<(), TemplateError> {
        let name = self.name(&mut tokens, "define")?;
        no_more(tokens, "define")?;
        self.body(name, "define")
    }

    fn block(&mut self, mut tokens: Tokens) -> Result<Node, TemplateError> {
        let name = self.name(&mut tokens, "block")?;
        let with = self.whole_pipeline(tokens, "block")?;
        self.body(name.clone(), "block")?;
        Ok(self.call(name, Some(with)))
    }

    /// The nodes of a `define` or `block`. Each has its own variables.
    fn body(&mut self, name: String, keyword: &str) -> Result<(), TemplateError> {
        let variables = std::mem::replace(&mut self.variables, vec![String::new()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, stop) = self.nodes()?;
        if !matches!(stop, Stop::End) {
            return Err(syntax(keyword, &unended(&stop)));
        }
        (self.variables, self.loops) = (variables, loops);
        self.defined.insert(name, nodes);
        Ok(())
    }

    fn call(&mut self, name: String, with: Option<Pipeline>) -> Node {
        self.called.push(name.clone());
        Node::Call { name, with }
    }

    fn name(&self, tokens: &mut Tokens, keyword: &str) -> Result<String, TemplateError> {
        match tokens.next().map(|token| token.kind) {
            Some(Kind::Constant(Value::Text(name))) => Ok(name),
            _ => Err(syntax(keyword, "the template's name follows, in quotes")),
        }
    }

    fn whole_pipeline(&mut self, mut tokens: Tokens, of: &str) -> Result<Pipeline, TemplateError> {
        let pipeline = self.pipeline(&mut tokens, of)?;
        no_more(tokens, of)?;
        Ok(pipeline)
    }

    /// Up to the end or a `)`, which stays.
    fn pipeline(&mut self, tokens: &mut Tokens, of: &str) -> Result<Pipeline, TemplateError> {
        let (variables, sets) = self.declaration(tokens)?;
        let mut commands = vec![self.command(tokens, of)?];
        while tokens.next_if(|token| token.kind == Kind::Pipe).is_some() {
            match self.command(tokens, of)? {
                Command::Operand(_) => return Err(syntax("|", "behind a | comes a function")),
                command @ Command::Function { .. } => commands.push(command),
            }
        }
        // The new variables are not known to the expression that makes them.
        if !sets {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, sets, commands })
    }

    /// `$a :=`, `$a, $b :=` or `$a =`.
    fn declaration(&self, tokens: &mut Tokens) -> Result<(Vec<String>, bool), TemplateError> {
        let mut ahead = tokens.clone();
        let mut names = Vec::new();
        loop {
            match ahead.next().map(|token| token.kind) {
                Some(Kind::Variable(name)) => names.push(name),
                _ => return Ok((Vec::new(), false)),
            }
            let sets = match ahead.next().map(|token| token.kind) {
                Some(Kind::Comma) if names.len() == 1 => continue,
                Some(Kind::Declare) => false,
                Some(Kind::Assign) => true,
                _ => return Ok((Vec::new(), false)),
            };
            if sets && let Some(unknown) = names.iter().find(|name| !self.variables.contains(name)) {
                return Err(undefined(unknown));
            }
            *tokens = ahead;
            return Ok((names, sets));
        }
    }

    fn command(&mut self, tokens: &mut Tokens, of: &str) -> Result<Command, TemplateError> {
        let is_end = |token: &Token| matches!(token.kind, Kind::Pipe | Kind::Close);
        let mut operands = Vec::new();
        while tokens.peek().is_some_and(|token| !is_end(token)) {
            operands.push(self.operand(tokens)?);
        }
        let mut operands = operands.into_iter();
        let first = operands.next().ok_or_else(|| syntax(of, "an expression is missing"))?;
        let arguments: Vec<Operand> = operands.collect();
        match first {
            Operand::Function(name) => Ok(Command::Function { name, arguments }),
            first if arguments.is_empty() => Ok(Command::Operand(first)),
            _ => Err(syntax(of, "only functions take arguments")),
        }
    }

    fn operand(&mut self, tokens: &mut Tokens) -> Result<Operand, TemplateError> {
        let Some(token) = tokens.next() else { return Err(syntax("", "an expression is missing")) };
        let base = match token.kind {
            Kind::Dot => Operand::Dot,
            Kind::Nil => Operand::Nil,
            Kind::Constant(value) => Operand::Constant(value),
            Kind::Field(name) => Operand::Fields(Box::new(Operand::Dot), vec![name]),
            Kind::Variable(name) if self.variables.contains(&name) => Operand::Variable(name),
            Kind::Variable(name) => return Err(undefined(&name)),
            Kind::Word(name) => {
                function::named(&name)?;
                Operand::Function(name)
            }
            Kind::Open => {
                let pipeline = self.pipeline(tokens, "( )")?;
                if tokens.next_if(|token| token.kind == Kind::Close).is_none() {
                    return Err(syntax("(", "it is never closed"));
                }
                Operand::Pipeline(Box::new(pipeline))
            }
            Kind::Close => return Err(syntax(")", "it closes nothing")),
            Kind::Pipe | Kind::Comma | Kind::Declare | Kind::Assign => {
                return Err(syntax("", "an expression starts with a value or a function"));
            }
        };
        let mut fields = Vec::new();
        while let Some(Token { kind: Kind::Field(name), .. }) =
            tokens.next_if(|token| !token.spaced && matches!(token.kind, Kind::Field(_)))
        {
            fields.push(name);
        }
        Ok(match (base, fields.is_empty()) {
            (base, true) => base,
            (Operand::Fields(base, mut first), false) => {
                first.append(&mut fields);
                Operand::Fields(base, first)
            }
            (base, false) => Operand::Fields(Box::new(base), fields),
        })
    }
}

fn undefined(name: &str) -> TemplateError {
    let known = GIVEN.map(|(name, _)| format!("${name}")).join(", ");
    syntax(&format!("${name}"), &format!("no such variable; from the start there are {known}"))
}

fn unended(stop: &Stop) -> String {
    format!("it ends with {{{{ end }}}}, not with {}", stop.word())
}

fn no_more(mut tokens: Tokens, of: &str) -> Result<(), TemplateError> {
    match tokens.next() {
        None => Ok(()),
        Some(Token { kind: Kind::Close, .. }) => Err(syntax(")", "it closes nothing")),
        Some(_) => Err(syntax(of, "there is more than it takes")),
    }
}

const KEYWORDS: [&str; 10] =
    ["if", "else", "end", "range", "with", "define", "block", "template", "break", "continue"];
