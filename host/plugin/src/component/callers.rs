//! Which functions pull an import in: the call graph of the core modules, walked from the import back to a function that
//! somebody wrote.
//!
//! Toolchains give the core module's imports the names of the component's. Where a module of the toolchain stands in
//! between (an adapter for WASI preview 1, say), the walk goes on from its export to the import of the same name in the
//! other modules.

use std::collections::{BTreeMap, HashSet, VecDeque};

use wasmparser::{FunctionBody, Name, Operator, Parser, Payload, TypeRef};

use crate::limits::{CALL_PATH_MAX, CALL_SEARCH_MAX, COMPONENT_ITEMS_MAX};

/// The core modules of a component, ready for questions.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    modules: Vec<Module>,
}

#[derive(Debug, Default)]
struct Module {
    /// Imported functions, by index: the module and the name they are imported by.
    imports: Vec<(String, String)>,
    exports: Vec<(String, u32)>,
    names: BTreeMap<u32, String>,
    /// For each function, which functions call it or take its address.
    callers: BTreeMap<u32, Vec<u32>>,
    bodies: u32,
}

impl Callers {
    /// Reads the core modules. What cannot be read is left out: the answer helps a person, nothing depends on it.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut modules = Vec::new();
        // The modules and components that the parser is inside of; the outermost component has none.
        let mut open: Vec<Option<Module>> = Vec::new();
        for payload in Parser::new(0).parse_all(bytes) {
            let Ok(payload) = payload else { break };
            match payload {
                Payload::ModuleSection { .. } => open.push(Some(Module::default())),
                Payload::ComponentSection { .. } => open.push(None),
                Payload::End(_) => modules.extend(open.pop().flatten()),
                other => {
                    if let Some(Some(module)) = open.last_mut() {
                        module.take(other);
                    }
                }
            }
            if modules.len() == COMPONENT_ITEMS_MAX {
                break;
            }
        }
        Self { modules }
    }

    /// The functions of an imported interface that core modules import.
    pub(crate) fn functions(&self, interface: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .modules
            .iter()
            .flat_map(|module| &module.imports)
            .filter(|(from, _)| from == interface)
            .map(|(_, name)| name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The way to an imported function from one that somebody wrote, caller first. Empty if nothing calls it.
    pub(crate) fn path(&self, interface: &str, function: &str) -> Vec<String> {
        let mut queue: VecDeque<(usize, u32, Vec<String>)> = VecDeque::new();
        let mut seen: HashSet<(usize, u32)> = HashSet::new();
        for (at, index) in self.importers(Some(interface), function) {
            seen.insert((at, index));
            queue.push_back((at, index, Vec::new()));
        }
        let mut longest = Vec::new();
        while let Some((at, index, path)) = queue.pop_front() {
            if path.len() > longest.len() {
                longest.clone_from(&path);
            }
            let callers = self.callers_of(at, index);
            // What another module imports is an adapter's, whatever its name, and that import has none of its own.
            let is_import = (index as usize) < self.modules[at].imports.len();
            let passed_on = is_import || callers.iter().any(|(other, ..)| *other != at);
            let written = !passed_on && path.last().is_some_and(|name| is_somebodys(name));
            if written || path.len() == CALL_PATH_MAX || seen.len() > CALL_SEARCH_MAX {
                longest = path;
                break;
            }
            for (at, caller, name) in callers {
                if seen.insert((at, caller)) {
                    let mut path = path.clone();
                    path.extend(name);
                    queue.push_back((at, caller, path));
                }
            }
        }
        longest.reverse();
        longest
    }

    /// Where a function is imported, from any module if `from` is not given.
    fn importers(&self, from: Option<&str>, function: &str) -> Vec<(usize, u32)> {
        let mut places = Vec::new();
        for (at, module) in self.modules.iter().enumerate() {
            for (index, (interface, name)) in (0u32..).zip(&module.imports) {
                if name == function && from.is_none_or(|from| from == interface) {
                    places.push((at, index));
                }
            }
        }
        places
    }

    /// Who calls a function, with the caller's name; an import of the same function elsewhere has none of its own.
    fn callers_of(&self, at: usize, index: u32) -> Vec<(usize, u32, Option<String>)> {
        let module = &self.modules[at];
        let mut found: Vec<_> = module
            .callers
            .get(&index)
            .into_iter()
            .flatten()
            .map(|caller| (at, *caller, Some(module.name(*caller))))
            .collect();
        if index as usize >= module.imports.len() {
            for (export, _) in module.exports.iter().filter(|(_, exported)| *exported == index) {
                let elsewhere = self
                    .importers(None, export)
                    .into_iter()
                    .filter(|(other, _)| *other != at);
                found.extend(elsewhere.map(|(other, index)| (other, index, None)));
            }
        }
        found
    }
}

impl Module {
    fn take(&mut self, payload: Payload<'_>) {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports().flatten() {
                    if let TypeRef::Func(_) = import.ty {
                        self.imports
                            .push((import.module.to_owned(), import.name.to_owned()));
                    }
                }
            }
            Payload::ExportSection(section) => {
                let functions = section.into_iter().flatten();
                let functions = functions.filter(|export| export.kind == wasmparser::ExternalKind::Func);
                self.exports
                    .extend(functions.map(|export| (export.name.to_owned(), export.index)));
            }
            Payload::CodeSectionEntry(body) => self.body(&body),
            Payload::CustomSection(section) => {
                if let wasmparser::KnownCustom::Name(names) = section.as_known() {
                    for name in names.into_iter().flatten() {
                        if let Name::Function(functions) = name {
                            let named = functions.into_iter().flatten();
                            self.names
                                .extend(named.map(|name| (name.index, name.name.to_owned())));
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn body(&mut self, body: &FunctionBody<'_>) {
        let caller = self.imports.len() as u32 + self.bodies;
        self.bodies += 1;
        let Ok(mut operators) = body.get_operators_reader() else {
            return;
        };
        while let Ok(operator) = operators.read() {
            if let Operator::Call {
                function_index: callee,
            }
            | Operator::ReturnCall {
                function_index: callee,
            }
            | Operator::RefFunc {
                function_index: callee,
            } = operator
            {
                let callers = self.callers.entry(callee).or_default();
                if callers.last() != Some(&caller) {
                    callers.push(caller);
                }
            }
            if operators.eof() {
                break;
            }
        }
    }

    fn name(&self, index: u32) -> String {
        let exported = || {
            self.exports
                .iter()
                .find(|(_, exported)| *exported == index)
                .map(|(name, _)| name)
        };
        match self.names.get(&index).or_else(exported) {
            Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
            None => format!("function {index}"),
        }
    }
}

/// Whether a name looks like an author's own and not like a part of a language's library.
fn is_somebodys(name: &str) -> bool {
    const LIBRARIES: [&str; 8] = [
        "std::",
        "core::",
        "alloc::",
        "__",
        "wasi",
        "wit_bindgen",
        "cabi_",
        "function ",
    ];
    let inner = name.trim_start_matches(['<', '&']);
    !LIBRARIES.iter().any(|library| inner.starts_with(library)) && !inner.contains("__wasi_")
}
