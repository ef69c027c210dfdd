//! The variables that an expression uses and does not define itself: a misspelt one is told at once, not when a record
//! is reached that it decides about.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};

/// The variables that must come from outside.
pub(crate) fn free(expression: &IdedExpr) -> impl Iterator<Item = &str> {
    let mut found = Vec::new();
    walk(expression, &mut Vec::new(), &mut found);
    found.into_iter()
}

fn walk<'e>(expression: &'e IdedExpr, bound: &mut Vec<&'e str>, found: &mut Vec<&'e str>) {
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            if !name.starts_with('@') && !bound.contains(&name.as_str()) {
                found.push(name);
            }
        }
        Expr::Call(call) => {
            let target = call.target.iter().map(Box::as_ref);
            target.chain(&call.args).for_each(|part| walk(part, bound, found));
        }
        Expr::List(list) => list.elements.iter().for_each(|part| walk(part, bound, found)),
        Expr::Map(map) => map
            .entries
            .iter()
            .for_each(|entry| entry_of(&entry.expr, bound, found)),
        Expr::Struct(structure) => {
            let entries = structure.entries.iter();
            entries.for_each(|entry| entry_of(&entry.expr, bound, found));
        }
        Expr::Select(select) => walk(&select.operand, bound, found),
        Expr::Comprehension(all) => {
            walk(&all.iter_range, bound, found);
            walk(&all.accu_init, bound, found);
            let outside = bound.len();
            bound.push(&all.iter_var);
            bound.extend(all.iter_var2.as_deref());
            bound.push(&all.accu_var);
            for part in [&all.loop_cond, &all.loop_step, &all.result] {
                walk(part, bound, found);
            }
            bound.truncate(outside);
        }
    }
}

fn entry_of<'e>(entry: &'e EntryExpr, bound: &mut Vec<&'e str>, found: &mut Vec<&'e str>) {
    match entry {
        EntryExpr::StructField(field) => walk(&field.value, bound, found),
        EntryExpr::MapEntry(entry) => {
            walk(&entry.key, bound, found);
            walk(&entry.value, bound, found);
        }
    }
}
