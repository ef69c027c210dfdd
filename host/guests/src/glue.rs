//! The module between a component's world and the interpreter in it, and how a function of it is replaced.
//!
//! Both `componentize-qjs` and `componentize-py` have it written by `wit-dylib`: a small module which exports what the world exports,
//! under the names of the canonical ABI, and calls the interpreter for each. A function that is added stands behind all others, so
//! that nothing else in the component has to change.

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{CodeSection, Encode, ExportKind, ExportSection, Function, Instruction, Section, ValType};
use wasmparser::{BinaryReader, CodeSectionReader, ExternalKind, Parser, Payload, TypeRef};

use crate::error::Error;

/// A function of the interpreter's that the module imports, and no other does.
const MARK: (&str, &str) = ("env", "wit_dylib_export_start");

/// The sections of modules and components that matter here.
mod section {
    pub(super) const FUNCTION: u8 = 3;
    pub(super) const GLOBAL: u8 = 6;
    pub(super) const EXPORT: u8 = 7;
    pub(super) const CODE: u8 = 10;
    pub(super) const CORE_MODULE: u8 = 1;
    pub(super) const COMPONENT: u8 = 4;
}

/// Bytes of the header of modules and components.
const HEADER: usize = 8;

/// A global variable: `(mut i32) (i32.const 0)`.
const FLAG: [u8; 5] = [0x7f, 0x01, 0x41, 0x00, 0x0b];

/// What is in the module.
#[derive(Debug, Default)]
pub(crate) struct Glue {
    /// Imported functions, in the order of their indices.
    imports: Vec<(String, String)>,
    /// Exports: the name, the kind, and the index.
    exports: Vec<(String, ExternalKind, u32)>,
    /// How many parameters each type of functions has.
    params: Vec<u32>,
    /// The type of each function, of imported ones first.
    functions: Vec<u32>,
    globals: u32,
}

/// A function that stands for another from now on. It has the parameters and the result of the other.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// The other.
    pub(crate) replaced: Replaced,
    /// Local variables beside the parameters, all of them `i32`.
    pub(crate) locals: u32,
    /// Its body, without the end. It may call the other.
    pub(crate) body: Vec<Instruction<'static>>,
}

/// What a function stands for.
#[derive(Debug)]
pub(crate) enum Replaced {
    /// An export.
    Export(String),
    /// An imported function, where the module's own functions call it.
    Import(u32),
}

/// Lets functions call others than before: the first of each pair is replaced by the second.
struct Calls(Vec<(u32, u32)>);

impl Reencode for Calls {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error<Self::Error>> {
        let mut calls = self.0.iter();
        let other = calls.find(|(replaced, _)| *replaced == function);
        Ok(other.map_or(function, |(_, by)| *by))
    }
}

impl Glue {
    fn read(module: &[u8]) -> Result<Glue, wasmparser::Error> {
        let mut glue = Glue::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(types) => {
                    for kind in types.into_iter_err_on_gc_types() {
                        glue.params.push(kind?.params().len() as u32);
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        glue.import(import.module, import.name, import.ty);
                    }
                }
                Payload::FunctionSection(functions) => {
                    for kind in functions {
                        glue.functions.push(kind?);
                    }
                }
                Payload::GlobalSection(globals) => glue.globals += globals.count(),
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        glue.exports
                            .push((export.name.to_owned(), export.kind, export.index));
                    }
                }
                _ => {}
            }
        }
        Ok(glue)
    }

    fn import(&mut self, module: &str, name: &str, kind: TypeRef) {
        match kind {
            TypeRef::Func(kind) => {
                self.imports.push((module.to_owned(), name.to_owned()));
                self.functions.push(kind);
            }
            TypeRef::Global(_) => self.globals += 1,
            _ => {}
        }
    }

    /// Whether it is the one.
    fn is_it(&self) -> bool {
        let mut imports = self.imports.iter();
        imports.any(|(module, name)| (module.as_str(), name.as_str()) == MARK)
    }

    /// The functions that it exports: names, and indices.
    pub(crate) fn exported(&self) -> impl Iterator<Item = (&str, u32)> {
        let exports = self.exports.iter();
        let functions = exports.filter(|(_, kind, _)| *kind == ExternalKind::Func);
        functions.map(|(name, _, index)| (name.as_str(), *index))
    }

    /// The function that it exports under a name.
    pub(crate) fn export(&self, wanted: &str) -> Result<u32, Error> {
        let mut exports = self.exported();
        let found = exports.find(|(name, _)| *name == wanted);
        found.map(|(_, index)| index).ok_or_else(|| missing(wanted))
    }

    /// The function that it imports under a name.
    pub(crate) fn imported(&self, module: &str, name: &str) -> Result<u32, Error> {
        let mut imports = self.imports.iter();
        let at = imports.position(|(from, import)| from == module && import == name);
        at.map(|at| at as u32).ok_or_else(|| missing(name))
    }

    /// How many parameters a function has.
    pub(crate) fn params(&self, function: u32) -> u32 {
        let kind = self.functions.get(function as usize);
        let params = kind.and_then(|kind| self.params.get(*kind as usize));
        params.copied().unwrap_or_default()
    }

    /// A global variable that is added: an `i32`, which begins as 0.
    pub(crate) fn flag(&self) -> u32 {
        self.globals
    }

    /// The module with other functions in the place of some.
    fn with(&self, module: &[u8], replacements: &[Replacement]) -> Result<Vec<u8>, Error> {
        let mut exports = self.exports.clone();
        let mut calls = Calls(Vec::new());
        let mut types = Vec::new();
        for (at, replacement) in (self.functions.len() as u32..).zip(replacements) {
            let replaced = match &replacement.replaced {
                Replaced::Import(function) => {
                    calls.0.push((*function, at));
                    *function
                }
                Replaced::Export(wanted) => {
                    let function = self.export(wanted)?;
                    let same = exports.iter_mut().filter(|(name, ..)| name == wanted);
                    same.for_each(|(_, _, index)| *index = at);
                    function
                }
            };
            types.push(self.functions[replaced as usize]);
        }
        let mut out = module[..HEADER].to_vec();
        let mut has_flag = false;
        for (id, payload) in sections(module)? {
            match id {
                section::FUNCTION => push(&mut out, id, &more(payload, &types)?),
                section::GLOBAL => push(&mut out, id, &with_flag(payload)?),
                section::EXPORT => {
                    if !has_flag {
                        push(&mut out, section::GLOBAL, &with_flag(&[0])?);
                    }
                    section_of(&exports).append_to(&mut out);
                }
                section::CODE => code(payload, &mut calls, replacements)?.append_to(&mut out),
                _ => push(&mut out, id, payload),
            }
            has_flag |= id == section::GLOBAL;
        }
        Ok(out)
    }
}

/// The component with other functions in the place of some of its module's.
pub(crate) fn replace(
    component: &[u8],
    arrange: &dyn Fn(&Glue) -> Result<Vec<Replacement>, Error>,
) -> Result<Vec<u8>, Error> {
    let mut found = false;
    let replaced = in_component(component, arrange, &mut found)?;
    match found {
        true => Ok(replaced),
        false => Err(missing(MARK.1)),
    }
}

fn in_component(
    component: &[u8],
    arrange: &dyn Fn(&Glue) -> Result<Vec<Replacement>, Error>,
    found: &mut bool,
) -> Result<Vec<u8>, Error> {
    let header = component.get(..HEADER).ok_or_else(|| missing("header"))?;
    let mut out = header.to_vec();
    for (id, payload) in sections(component)? {
        match id {
            section::COMPONENT => push(&mut out, id, &in_component(payload, arrange, found)?),
            section::CORE_MODULE => {
                let glue = Glue::read(payload).map_err(|error| unreadable(&error))?;
                if glue.is_it() {
                    *found = true;
                    push(&mut out, id, &glue.with(payload, &arrange(&glue)?)?);
                } else {
                    push(&mut out, id, payload);
                }
            }
            _ => push(&mut out, id, payload),
        }
    }
    Ok(out)
}

/// The sections of a module or a component: identifiers, and what is in them.
fn sections(binary: &[u8]) -> Result<Vec<(u8, &[u8])>, Error> {
    let mut reader = BinaryReader::new(binary, 0);
    let mut found = Vec::new();
    reader.read_bytes(HEADER).map_err(|error| unreadable(&error))?;
    while !reader.eof() {
        let id = reader.read_u8().map_err(|error| unreadable(&error))?;
        let length = reader.read_var_u32().map_err(|error| unreadable(&error))?;
        found.push((
            id,
            reader
                .read_bytes(length as usize)
                .map_err(|error| unreadable(&error))?,
        ));
    }
    Ok(found)
}

fn push(out: &mut Vec<u8>, id: u8, data: &[u8]) {
    out.push(id);
    data.encode(out);
}

/// A section of numbers with more of them behind those that it has.
fn more(payload: &[u8], numbers: &[u32]) -> Result<Vec<u8>, Error> {
    let mut items = Vec::new();
    numbers.iter().for_each(|number| number.encode(&mut items));
    append(payload, numbers.len(), &items)
}

/// A section of global variables with one more.
fn with_flag(payload: &[u8]) -> Result<Vec<u8>, Error> {
    append(payload, 1, &FLAG)
}

fn append(payload: &[u8], count: usize, items: &[u8]) -> Result<Vec<u8>, Error> {
    let mut reader = BinaryReader::new(payload, 0);
    let had = reader.read_var_u32().map_err(|error| unreadable(&error))?;
    let mut out = Vec::new();
    (had + count as u32).encode(&mut out);
    out.extend_from_slice(&payload[reader.original_position()..]);
    out.extend_from_slice(items);
    Ok(out)
}

/// The functions' bodies, with others behind them.
fn code(payload: &[u8], calls: &mut Calls, replacements: &[Replacement]) -> Result<CodeSection, Error> {
    let mut section = CodeSection::new();
    let bodies = CodeSectionReader::new(BinaryReader::new(payload, 0)).map_err(|error| unreadable(&error))?;
    calls
        .parse_code_section(&mut section, bodies)
        .map_err(|error| Error::Component(error.to_string()))?;
    for replacement in replacements {
        let mut function = Function::new([(replacement.locals, ValType::I32)]);
        for instruction in &replacement.body {
            function.instruction(instruction);
        }
        section.function(function.instruction(&Instruction::End));
    }
    Ok(section)
}

fn section_of(exports: &[(String, ExternalKind, u32)]) -> ExportSection {
    let mut section = ExportSection::new();
    for (name, kind, index) in exports {
        let kind = match kind {
            ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
            ExternalKind::Table => ExportKind::Table,
            ExternalKind::Memory => ExportKind::Memory,
            ExternalKind::Global => ExportKind::Global,
            ExternalKind::Tag => ExportKind::Tag,
        };
        section.export(name, kind, *index);
    }
    section
}

fn missing(what: &str) -> Error {
    Error::Component(format!("{what} is not in what the compiler made"))
}

fn unreadable(error: &wasmparser::Error) -> Error {
    Error::Component(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with a module that calls an interpreter, in another component and behind another module.
    const COMPONENT: &str = r#"(component
        (core module)
        (component
            (core module
                (import "env" "wit_dylib_export_start" (func (param i32) (result i32)))
                (import "env" "take" (func $take (param i32) (result i32)))
                (func (export "twice") (param i32) (result i32)
                    (call $take (call $take (local.get 0))))
                (func (export "other") (param i32) (result i32) (local.get 0)))))"#;

    /// The module in a component that is valid.
    fn module_of(component: &[u8]) -> Vec<u8> {
        wasmparser::Validator::new().validate_all(component).unwrap();
        let modules = Parser::new(0).parse_all(component).filter_map(|payload| {
            let Payload::ModuleSection {
                unchecked_range: range,
                ..
            } = payload.unwrap()
            else {
                return None;
            };
            Some(component[range].to_vec())
        });
        modules.last().unwrap()
    }

    /// The functions that each function calls.
    fn calls(module: &[u8]) -> Vec<Vec<u32>> {
        let bodies = Parser::new(0).parse_all(module).filter_map(|payload| {
            let Payload::CodeSectionEntry(body) = payload.unwrap() else {
                return None;
            };
            let operators = body.get_operators_reader().unwrap().into_iter();
            let called = operators.filter_map(|operator| match operator.unwrap() {
                wasmparser::Operator::Call { function_index } => Some(function_index),
                _ => None,
            });
            Some(called.collect())
        });
        bodies.collect()
    }

    #[test]
    fn an_export_and_an_import_are_replaced() {
        let component = wat::parse_str(COMPONENT).unwrap();
        let replaced = replace(&component, &|glue| {
            let (take, twice) = (glue.imported("env", "take")?, glue.export("twice")?);
            assert_eq!((take, twice, glue.params(twice), glue.flag()), (1, 2, 1, 0));
            let call = |function| vec![Instruction::LocalGet(0), Instruction::Call(function)];
            let mut with_flag = vec![Instruction::I32Const(1), Instruction::GlobalSet(glue.flag())];
            with_flag.extend(call(twice));
            Ok(vec![
                Replacement {
                    replaced: Replaced::Export("twice".to_owned()),
                    locals: 1,
                    body: with_flag,
                },
                Replacement {
                    replaced: Replaced::Import(take),
                    locals: 0,
                    body: call(take),
                },
            ])
        });
        let module = module_of(&replaced.unwrap());
        let glue = Glue::read(&module).unwrap();
        assert_eq!(
            (glue.export("twice").unwrap(), glue.export("other").unwrap()),
            (4, 3)
        );
        assert_eq!(calls(&module), [vec![5, 5], vec![], vec![2], vec![1]]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let said = |component: &[u8], wanted: &'static str| {
            let replaced = replace(component, &|glue| glue.export(wanted).map(|_| Vec::new()));
            replaced.unwrap_err().to_string()
        };
        let component = wat::parse_str(COMPONENT).unwrap();
        assert!(said(&component, "third").contains("third is not in"));
        let empty = wat::parse_str("(component (core module))").unwrap();
        assert!(said(&empty, "twice").contains("wit_dylib_export_start is not in"));
        assert!(matches!(
            replace(b"nonsense and more", &|_| Ok(Vec::new())),
            Err(Error::Component(_))
        ));
    }
}
