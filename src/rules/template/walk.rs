//! Looking through a tree: what it queries, and its constants.

use super::tree::{Command, Node, Operand, Pipeline, Tree};
use super::value::Value;

/// Every `query`; `None` for one whose words are no constant.
pub(super) fn queries(tree: &Tree) -> Vec<Option<&str>> {
    let mut queries = Vec::new();
    for nodes in std::iter::once(&tree.nodes).chain(tree.defined.values()) {
        of_nodes(nodes, &mut queries);
    }
    queries
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

/// Calls `take` with every constant.
pub(super) fn each_constant(tree: &mut Tree, take: &mut dyn FnMut(&mut Value)) {
    for nodes in std::iter::once(&mut tree.nodes).chain(tree.defined.values_mut()) {
        in_nodes(nodes, take);
    }
}

fn in_nodes(nodes: &mut [Node], take: &mut dyn FnMut(&mut Value)) {
    for node in nodes {
        match node {
            Node::Action(pipeline) | Node::Call { with: Some(pipeline), .. } => in_pipeline(pipeline, take),
            Node::If { condition: pipeline, then, otherwise }
            | Node::With { condition: pipeline, then, otherwise }
            | Node::Range { over: pipeline, each: then, otherwise } => {
                in_pipeline(pipeline, take);
                in_nodes(then, take);
                in_nodes(otherwise, take);
            }
            Node::Text(_) | Node::Call { with: None, .. } | Node::Break | Node::Continue => {}
        }
    }
}

fn in_pipeline(pipeline: &mut Pipeline, take: &mut dyn FnMut(&mut Value)) {
    for command in &mut pipeline.commands {
        match command {
            Command::Operand(operand) => in_operand(operand, take),
            Command::Function { arguments, .. } => {
                arguments.iter_mut().for_each(|operand| in_operand(operand, take));
            }
        }
    }
}

fn in_operand(operand: &mut Operand, take: &mut dyn FnMut(&mut Value)) {
    match operand {
        Operand::Constant(value) => take(value),
        Operand::Pipeline(pipeline) => in_pipeline(pipeline, take),
        Operand::Fields(base, _) => in_operand(base, take),
        Operand::Dot | Operand::Nil | Operand::Variable(_) | Operand::Function(_) => {}
    }
}
