//! Templates of labels and annotations: Prometheus' template language, which is Go's with functions added.
//!
//! Owns: the language whole, with conditions, loops, variables, defined templates and queries; what Go and
//! Prometheus print for the same data.
//! Refuses: `call` and `tmpl`, and methods of Go's types (`.Format` of a time). Unknown functions and
//! variables are errors when the file is loaded; what goes wrong with an alert's own data stands in the text,
//! as with Prometheus: `<error expanding template: …>`. An alert is never lost for its words.

mod address;
mod execute;
mod function;
mod lexer;
mod number;
mod printf;
mod tree;
mod value;

use self::tree::{Command, Node, Operand, Pipeline, Tree};
use self::value::Value;
use crate::model::Labels;

/// Text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the template {text:?} has {{{{ without }}}}")]
    Unclosed { text: String },
    #[error("the template has the unknown function {name:?}; {hint}")]
    UnknownFunction { name: String, hint: String },
    #[error("the template expression {text:?} is not understood: {expected}")]
    Syntax { text: String, expected: String },
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Tree);

/// What `query` gives: series and their values now, or why there are none.
pub type QueryResult = Result<Vec<(Labels, f64)>, String>;

/// What a template is filled with.
pub struct TemplateData<'a> {
    /// `$labels`: those of the series that the rule found.
    pub labels: &'a Labels,
    /// `$value`.
    pub value: f64,
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
    /// `$externalURL`: where people reach this program's pages.
    pub external_url: &'a str,
    /// `query "…"`, at the time of the evaluation.
    pub query: &'a dyn Fn(&str) -> QueryResult,
}

impl TemplateData<'_> {
    /// `.` at the start.
    fn root(&self) -> Value {
        Value::Data([
            ("Labels", Box::new(Value::Labels(self.labels.clone()))),
            ("ExternalLabels", Box::new(Value::Labels(self.external_labels.clone()))),
            ("ExternalURL", Box::new(Value::Text(self.external_url.to_owned()))),
            ("Value", Box::new(Value::Float(self.value))),
        ])
    }
}

impl Template {
    /// # Errors
    /// When the text has an unclosed `{{` or block, an unknown function or variable, or is otherwise not in
    /// the language.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self(tree::tree(lexer::pieces(text)?)?))
    }

    /// The text for one series.
    pub fn render(&self, data: &TemplateData<'_>) -> String {
        execute::execute(&self.0, data)
            .unwrap_or_else(|message| format!("<error expanding template: {message}>"))
    }

    /// The text of a template without any expression.
    pub fn constant(&self) -> Option<&str> {
        match self.0.nodes.as_slice() {
            [] => Some(""),
            [Node::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Every `query` in it; `None` for one whose words depend on the alert.
    pub fn queries(&self) -> Vec<Option<&str>> {
        let mut queries = Vec::new();
        for nodes in std::iter::once(&self.0.nodes).chain(self.0.defined.values()) {
            of_nodes(nodes, &mut queries);
        }
        queries
    }
}

fn of_nodes<'a>(nodes: &'a [Node], queries: &mut Vec<Option<&'a str>>) {
    for node in nodes {
        match node {
            Node::Action(pipeline) | Node::Call { with: Some(pipeline), .. } => {
                of_pipeline(pipeline, queries);
            }
            Node::If { condition: pipeline, then, otherwise }
            | Node::With { condition: pipeline, then, otherwise }
            | Node::Range { over: pipeline, each: then, otherwise } => {
                of_pipeline(pipeline, queries);
                of_nodes(then, queries);
                of_nodes(otherwise, queries);
            }
            Node::Text(_) | Node::Call { with: None, .. } | Node::Break | Node::Continue => {}
        }
    }
}

fn of_pipeline<'a>(pipeline: &'a Pipeline, queries: &mut Vec<Option<&'a str>>) {
    let mut before: Option<&Operand> = None;
    for command in &pipeline.commands {
        let operands = match command {
            Command::Operand(operand) => std::slice::from_ref(operand),
            Command::Function { name, arguments } => {
                if name == "query" {
                    queries.push(match arguments.first().or(before) {
                        Some(Operand::Constant(Value::Text(query))) => Some(query),
                        _ => None,
                    });
                }
                arguments
            }
        };
        operands.iter().for_each(|operand| of_operand(operand, queries));
        before = if let Command::Operand(operand) = command { Some(operand) } else { None };
    }
}

fn of_operand<'a>(operand: &'a Operand, queries: &mut Vec<Option<&'a str>>) {
    match operand {
        Operand::Pipeline(pipeline) => of_pipeline(pipeline, queries),
        Operand::Fields(base, _) => of_operand(base, queries),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
