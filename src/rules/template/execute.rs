//! A tree and the data of one alert become text.

use super::TemplateData;
use super::function;
use super::tree::{Command, GIVEN, Node, Operand, Pipeline, Tree};
use super::value::Value;

/// Templates within templates; Go stops at 100,000, which is more than our stack holds.
const DEPTH_MAX: usize = 100;

pub(super) fn execute(tree: &Tree, data: &TemplateData<'_>) -> Result<String, String> {
    let root = data.root();
    let mut variables = vec![(String::new(), root.clone())];
    for (name, field) in GIVEN {
        variables.push((name.to_owned(), root.field(field)?));
    }
    let mut run = Run { tree, data, variables, text: String::new(), depth: 0 };
    run.nodes(&tree.nodes, &root)?;
    Ok(run.text)
}

enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    tree: &'a Tree,
    data: &'a TemplateData<'a>,
    /// Innermost last.
    variables: Vec<(String, Value)>,
    text: String,
    depth: usize,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, String> {
        for node in nodes {
            match self.node(node, dot)? {
                Flow::On => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::On)
    }

    /// Nodes with variables of their own.
    fn scope(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, String> {
        let outer = self.variables.len();
        let flow = self.nodes(nodes, dot);
        self.variables.truncate(outer);
        flow
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, String> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.text.push_str(&if value == Value::Nil {
                        "<no value>".to_owned()
                    } else {
                        value.text()
                    });
                }
            }
            Node::If { condition, then, otherwise } => {
                let outer = self.variables.len();
                let is_true = self.pipeline(condition, dot)?.is_true();
                let flow = self.scope(if is_true { then } else { otherwise }, dot);
                self.variables.truncate(outer);
                return flow;
            }
            Node::With { condition, then, otherwise } => {
                let outer = self.variables.len();
                let value = self.pipeline(condition, dot)?;
                let flow =
                    if value.is_true() { self.scope(then, &value) } else { self.scope(otherwise, dot) };
                self.variables.truncate(outer);
                return flow;
            }
            Node::Range { over, each, otherwise } => {
                let outer = self.variables.len();
                let flow = self.range(over, each, otherwise, dot);
                self.variables.truncate(outer);
                return flow;
            }
            Node::Call { name, with } => self.call(name, with.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        each: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, String> {
        // The variables belong to each element, not to the whole.
        let names = over.variables.as_slice();
        let bare = Pipeline { variables: Vec::new(), ..over.clone() };
        let elements: Vec<(Value, Value)> = match self.pipeline(&bare, dot)? {
            Value::Nil => Vec::new(),
            Value::Vector(samples) => {
                let samples = samples.into_iter().zip(0_i64..);
                samples.map(|(sample, at)| (Value::Int(at), Value::Sample(sample))).collect()
            }
            Value::Labels(labels) => labels
                .iter()
                .map(|label| (Value::Text(label.name.to_string()), Value::Text(label.value.to_string())))
                .collect(),
            Value::Map(map) => map.into_iter().map(|(name, value)| (Value::Text(name), value)).collect(),
            other => return Err(format!("range can't iterate over {}", other.kind())),
        };
        if elements.is_empty() {
            return self.scope(otherwise, dot);
        }
        let outer = self.variables.len();
        for (key, element) in elements {
            match (names, over.sets) {
                ([], _) => {}
                ([only], false) => self.variables.push((only.clone(), element.clone())),
                ([only], true) => self.set(only, &element),
                ([index, item, ..], false) => {
                    self.variables.push((index.clone(), key));
                    self.variables.push((item.clone(), element.clone()));
                }
                ([index, item, ..], true) => {
                    self.set(index, &key);
                    self.set(item, &element);
                }
            }
            let flow = self.nodes(each, &element)?;
            self.variables.truncate(outer);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn call(&mut self, name: &str, with: Option<&Pipeline>, dot: &Value) -> Result<(), String> {
        let dot = with.map_or(Ok(Value::Nil), |with| self.pipeline(with, dot))?;
        let Some(nodes) = self.tree.defined.get(name) else { return Err(format!("no template {name:?}")) };
        if self.depth == DEPTH_MAX {
            return Err(format!("exceeded maximum template depth ({DEPTH_MAX})"));
        }
        self.depth += 1;
        // Of the caller's variables it sees none.
        let callers = std::mem::replace(&mut self.variables, vec![(String::new(), dot.clone())]);
        let done = self.nodes(nodes, &dot);
        self.variables = callers;
        self.depth -= 1;
        done.map(drop)
    }

    fn set(&mut self, name: &str, value: &Value) {
        if let Some((_, there)) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            there.clone_from(value);
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(match command {
                Command::Operand(Operand::Nil) => return Err("nil is not a command".to_owned()),
                Command::Operand(operand) => self.operand(operand, dot)?,
                Command::Function { name, arguments } => self.function(name, arguments, last, dot)?,
            });
        }
        let value = last.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            if pipeline.sets {
                self.set(name, &value);
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn function(
        &mut self,
        name: &str,
        arguments: &[Operand],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value, String> {
        let function = function::named(name).map_err(|error| error.to_string())?;
        let given = arguments.len() + usize::from(last.is_some());
        if !function.arguments.contains(&given) {
            let (least, most) = (function.arguments.start(), function.arguments.end());
            let wanted = if least == most { least.to_string() } else { format!("at least {least}") };
            return Err(format!("wrong number of args for {name}: want {wanted} got {given}"));
        }
        let mut values = Vec::with_capacity(given);
        for argument in arguments {
            let value = self.operand(argument, dot)?;
            // The first that decides: those behind it are not computed.
            if matches!((name, value.is_true()), ("and", false) | ("or", true)) {
                return Ok(value);
            }
            values.push(value);
        }
        values.extend(last);
        (function.run)(self.data, values).map_err(|message| format!("error calling {name}: {message}"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone()).ok_or_else(|| format!("undefined variable ${name}"))
            }
            Operand::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            Operand::Function(name) => self.function(name, &[], None, dot),
            Operand::Fields(base, names) => {
                let base = self.operand(base, dot)?;
                names.iter().try_fold(base, |value, name| value.field(name))
            }
        }
    }
}
