//! Selects records by expressions of the Common Expression Language, over everything that is known of a record.
//!
//! Read this file, then `names` (which variables an expression uses) and `fields` (what they are of a record).

mod fields;
mod names;

use cel::{Context, ExecutionError, ParseErrors, Program, Value};
use transom_sdk::{Error, Filter, FilterInfo, Matcher, Record};

use fields::{FIELDS, Fields};

/// The longest expression, in bytes. A person does not write longer ones, and the parser is slow.
const EXPRESSION_BYTES: usize = 8 << 10;

/// Brackets within brackets. The parser recurses dozens of times for each.
const DEPTH: usize = 12;

/// The filter. See `plugin.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Cel;

/// An expression that was understood.
pub struct Expression {
    program: Program,
    /// The functions of the language, which every record's context stands on.
    language: Context<'static, 'static>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.program.fmt(f)
    }
}

impl Filter for Cel {
    type Matcher = Expression;

    fn describe() -> FilterInfo {
        let example = r#"size > 1000000 && "tier" in labels && labels.tier == "gold""#;
        FilterInfo::new("cel", env!("CARGO_PKG_VERSION"), example)
    }

    fn compile(expression: &str) -> Result<Expression, Error> {
        if expression.len() > EXPRESSION_BYTES {
            let size = expression.len();
            return Err(Error::Limit(format!(
                "the expression has {size} bytes, the limit is {EXPRESSION_BYTES}"
            )));
        }
        if depth(expression) > DEPTH {
            return Err(Error::Limit(format!("brackets are nested deeper than {DEPTH}")));
        }
        let program = Program::compile(expression).map_err(|errors| wrong(&errors))?;
        if let Some(unknown) = names::free(program.expression()).find(|name| !FIELDS.contains(name)) {
            return Err(Error::Other(format!(
                "there is no variable {unknown:?}; there are {}",
                FIELDS.join(", ")
            )));
        }
        Ok(Expression {
            program,
            language: Context::default(),
        })
    }
}

impl Matcher for Expression {
    fn matches(&self, record: &Record<'_>) -> Result<bool, Error> {
        let fields = Fields(*record);
        let mut context = self.language.new_inner_scope();
        context.set_variable_resolver(&fields);
        match self.program.execute(&context) {
            Ok(Value::Bool(matches)) => Ok(matches),
            Ok(other) => Err(Error::Other(format!(
                "the expression gives a value of type {}, neither true nor false",
                other.type_of()
            ))),
            Err(ExecutionError::NoSuchKey(key)) => Err(Error::Other(format!(
                "there is no {key:?}; ask for it first: {key:?} in labels && …"
            ))),
            Err(error) => Err(Error::Other(error.to_string())),
        }
    }
}

/// How deep brackets are nested; those in quoted texts count, too, as far as they are not closed there.
fn depth(expression: &str) -> usize {
    let (mut open, mut deepest) = (0usize, 0);
    for byte in expression.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// What is wrong with an expression, in one line.
fn wrong(errors: &ParseErrors) -> Error {
    let lines = errors.errors.iter().take(3).map(|error| {
        let (line, column) = error.pos;
        format!("line {line}, column {column}: {}", error.msg.replace('\n', " "))
    });
    Error::Other(lines.collect::<Vec<_>>().join("; "))
}

transom_sdk::register_filter!(Cel);
