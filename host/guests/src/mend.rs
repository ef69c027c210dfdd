//! What interpreters do wrong with handles, put right in the module between them and the world ([`crate::glue`]).
//!
//! The interface has three rules about them. A handle that was lent to a call is given back before the call returns; what a call is
//! given to keep is its own, and has to be dropped; and when the host drops the handle of an object, the object goes.

use std::path::Path;

use wasm_encoder::{BlockType, Instruction, MemArg};
use wit_parser::abi::AbiVariant;
use wit_parser::{
    Function, Handle, InterfaceId, Resolve, SizeAlign, Type, TypeDefKind, TypeOwner, WorldId, WorldItem,
};

use crate::error::Error;
use crate::glue::{self, Glue, Replaced, Replacement};
use crate::world;

/// The function of a world for Python that is told which object the host has dropped.
pub(crate) const LET_GO: &str = "let-go";

/// A handle that is lent to a call: where it is in the memory of its parameters, and how it is given back.
struct Lent {
    offset: u64,
    module: String,
    drop: String,
}

/// Mends what `componentize-qjs` 0.4.5 makes of a world, which is in a folder.
///
/// QuickJS gives lent handles back after the call has returned, and looks for an object that it is given to keep under its handle
/// instead of under the number that it has itself given it.
pub(crate) fn javascript(component: &[u8], wit: &Path) -> Result<Vec<u8>, Error> {
    let (resolve, world) = world::resolve(wit)?;
    let lending = lending(&resolve, world)?;
    glue::replace(component, &|glue| {
        let mut replacements = Vec::new();
        for (export, lent) in &lending {
            replacements.extend(giving_back(glue, export, lent)?);
        }
        for (export, function) in glue.exported() {
            if Resource::destroyed_by(export) {
                replacements.push(unless_taken(glue, export, function));
            } else if let Some(resource) = Resource::taken_by(export) {
                replacements.push(taking(glue, export, function, &resource)?);
            }
        }
        Ok(replacements)
    })
}

/// Mends what `componentize-py` 0.25.1 makes of a world.
///
/// Python never frees the memory of bytes that it hands out. It is not told that the host has dropped an object, and keeps the handle
/// of what it is given to keep; only a driver has such objects for long, and its world has [`LET_GO`].
pub(crate) fn python(component: &[u8]) -> Result<Vec<u8>, Error> {
    glue::replace(component, &|glue| {
        let mut replacements = vec![freeing(glue)?];
        if glue.export(LET_GO).is_err() {
            return Ok(replacements);
        }
        for (export, function) in glue.exported() {
            if Resource::destroyed_by(export) {
                replacements.push(telling(glue, export)?);
            } else if let Some(resource) = Resource::taken_by(export) {
                replacements.push(dropping(glue, export, function, &resource)?);
            }
        }
        Ok(replacements)
    })
}

/// A resource of the plugin's.
struct Resource<'a> {
    interface: &'a str,
    name: &'a str,
}

impl<'a> Resource<'a> {
    /// Whether a function is what is called when a handle of an object is dropped.
    fn destroyed_by(export: &str) -> bool {
        export.contains("#[dtor]")
    }

    /// The resource of which a function takes an object for good: in all worlds those are the static ones.
    fn taken_by(export: &'a str) -> Option<Resource<'a>> {
        if export.starts_with("cabi_post_") {
            return None;
        }
        let (interface, function) = export.split_once("#[static]")?;
        let (name, _) = function.split_once('.')?;
        Some(Resource { interface, name })
    }

    /// A function that the host has for it.
    fn builtin(&self, glue: &Glue, what: &str) -> Result<u32, Error> {
        let module = format!("[export]{}", self.interface);
        glue.imported(&module, &format!("[resource-{what}]{}", self.name))
    }
}

/// Calls the function, and then gives back what it was lent. What is left of the call stays for good: the world's only such function
/// is the last one that is called in its instance.
fn giving_back(glue: &Glue, export: &str, lent: &[Lent]) -> Result<[Replacement; 2], Error> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (local, handle) in (1..).zip(lent) {
        let place = MemArg {
            offset: handle.offset,
            align: 2,
            memory_index: 0,
        };
        before.extend([
            Instruction::LocalGet(0),
            Instruction::I32Load(place),
            Instruction::LocalSet(local),
        ]);
        let drop = glue.imported(&handle.module, &handle.drop)?;
        after.extend([Instruction::LocalGet(local), Instruction::Call(drop)]);
    }
    before.extend([Instruction::LocalGet(0), Instruction::Call(glue.export(export)?)]);
    before.extend(after);
    let call = Replacement {
        replaced: Replaced::Export(export.to_owned()),
        locals: lent.len() as u32,
        body: before,
    };
    let end = Replacement {
        replaced: Replaced::Export(format!("cabi_post_{export}")),
        locals: 0,
        body: Vec::new(),
    };
    Ok([call, end])
}

/// Destroys the object, unless its handle is dropped because a function has taken it.
fn unless_taken(glue: &Glue, export: &str, function: u32) -> Replacement {
    Replacement {
        replaced: Replaced::Export(export.to_owned()),
        locals: 0,
        body: vec![
            Instruction::GlobalGet(glue.flag()),
            Instruction::I32Eqz,
            Instruction::If(BlockType::Empty),
            Instruction::LocalGet(0),
            Instruction::Call(function),
            Instruction::End,
        ],
    }
}

/// Drops the handle of what the function takes, and calls it with the number of the object.
fn taking(glue: &Glue, export: &str, function: u32, resource: &Resource<'_>) -> Result<Replacement, Error> {
    let params = glue.params(function);
    let object = params;
    let mut body = vec![
        Instruction::LocalGet(0),
        Instruction::Call(resource.builtin(glue, "rep")?),
        Instruction::LocalSet(object),
        Instruction::I32Const(1),
        Instruction::GlobalSet(glue.flag()),
        Instruction::LocalGet(0),
        Instruction::Call(resource.builtin(glue, "drop")?),
        Instruction::I32Const(0),
        Instruction::GlobalSet(glue.flag()),
        Instruction::LocalGet(object),
    ];
    body.extend((1..params).map(Instruction::LocalGet));
    body.push(Instruction::Call(function));
    Ok(Replacement {
        replaced: Replaced::Export(export.to_owned()),
        locals: 1,
        body,
    })
}

/// Tells the plugin which object the host has dropped.
fn telling(glue: &Glue, export: &str) -> Result<Replacement, Error> {
    Ok(Replacement {
        replaced: Replaced::Export(export.to_owned()),
        locals: 0,
        body: vec![
            Instruction::LocalGet(0),
            Instruction::Call(glue.export(LET_GO)?),
            Instruction::Call(glue.export(&format!("cabi_post_{LET_GO}"))?),
        ],
    })
}

/// Calls the function, and drops the handle of what it has taken.
fn dropping(glue: &Glue, export: &str, function: u32, resource: &Resource<'_>) -> Result<Replacement, Error> {
    let mut body: Vec<Instruction<'_>> = (0..glue.params(function)).map(Instruction::LocalGet).collect();
    body.extend([
        Instruction::Call(function),
        Instruction::LocalGet(0),
        Instruction::Call(resource.builtin(glue, "drop")?),
    ]);
    Ok(Replacement {
        replaced: Replaced::Export(export.to_owned()),
        locals: 0,
        body,
    })
}

/// Takes a list from the interpreter, and has its memory freed at the end of the call if that is one piece: then they are bytes.
fn freeing(glue: &Glue) -> Result<Replacement, Error> {
    // Of `pop_list`: the call, the type, where the address of the piece goes; 0 is for none. It gives the length.
    let take = glue.imported("env", "wit_dylib_pop_list")?;
    // The call, the address, the length, the alignment, and whether it is for later.
    let free = glue.imported("env", "wit_dylib_dealloc_bytes")?;
    let (call, kind, place, length, address) = (0, 1, 2, 3, 4);
    let memory = MemArg {
        offset: 0,
        align: 2,
        memory_index: 0,
    };
    let body = vec![
        Instruction::LocalGet(call),
        Instruction::LocalGet(kind),
        Instruction::LocalGet(place),
        Instruction::Call(take),
        Instruction::LocalSet(length),
        Instruction::LocalGet(place),
        Instruction::I32Load(memory),
        Instruction::LocalSet(address),
        Instruction::LocalGet(address),
        Instruction::I32Eqz,
        Instruction::LocalGet(length),
        Instruction::I32Eqz,
        Instruction::I32Or,
        Instruction::If(BlockType::Empty),
        Instruction::Else,
        Instruction::LocalGet(call),
        Instruction::LocalGet(address),
        Instruction::LocalGet(length),
        Instruction::I32Const(1),
        Instruction::I32Const(1),
        Instruction::Call(free),
        Instruction::End,
        Instruction::LocalGet(length),
    ];
    Ok(Replacement {
        replaced: Replaced::Import(take),
        locals: 2,
        body,
    })
}

/// The functions of a world that are lent handles of the host's: the names of their exports, and what they are lent.
fn lending(resolve: &Resolve, world: WorldId) -> Result<Vec<(String, Vec<Lent>)>, Error> {
    let exports = &resolve.worlds[world].exports;
    let interfaces = exports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(*id),
        _ => None,
    });
    let interfaces: Vec<InterfaceId> = interfaces.collect();
    let mut sizes = SizeAlign::default();
    sizes.fill(resolve);
    let mut found = Vec::new();
    for id in &interfaces {
        for function in resolve.interfaces[*id].functions.values() {
            let types = function.params.iter().map(|param| &param.ty);
            let mut lent = Vec::new();
            for (offset, kind) in sizes.field_offsets(types) {
                let Some((owner, name)) = lent_resource(resolve, kind) else {
                    continue;
                };
                if !interfaces.contains(&owner) {
                    lent.push(Lent {
                        offset: offset.size_wasm32() as u64,
                        module: resolve.id_of(owner).unwrap_or_default(),
                        drop: format!("[resource-drop]{name}"),
                    });
                }
            }
            if !lent.is_empty() {
                found.push((export_of(resolve, *id, function)?, lent));
            }
        }
    }
    Ok(found)
}

/// The export of a function of which the parameters are in memory.
fn export_of(resolve: &Resolve, interface: InterfaceId, function: &Function) -> Result<String, Error> {
    let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
    if !signature.indirect_params {
        let text = format!("{} has its parameters elsewhere than expected", function.name);
        return Err(Error::Bindings(text));
    }
    let interface = resolve.id_of(interface).unwrap_or_default();
    Ok(format!("{interface}#{}", function.name))
}

/// The resource of which a type is a handle that is lent: the interface, and the name.
fn lent_resource<'a>(resolve: &'a Resolve, kind: &Type) -> Option<(InterfaceId, &'a str)> {
    let Type::Id(id) = kind else { return None };
    let TypeDefKind::Handle(Handle::Borrow(mut resource)) = resolve.types[*id].kind else {
        return None;
    };
    // One that is used from another interface is that one's.
    while let TypeDefKind::Type(Type::Id(used)) = resolve.types[resource].kind {
        resource = used;
    }
    let resource = &resolve.types[resource];
    match resource.owner {
        TypeOwner::Interface(owner) => Some((owner, resource.name.as_deref()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Kind;
    use crate::stage;
    use crate::world::tests::project;

    fn lending_of(kind: Kind) -> Vec<(String, Vec<Lent>)> {
        let folder = tempfile::tempdir().unwrap();
        stage::write(folder.path(), &world::files(&project(kind, &["inner"]))).unwrap();
        let (resolve, world) = world::resolve(folder.path()).unwrap();
        lending(&resolve, world).unwrap()
    }

    #[test]
    fn only_a_processor_is_lent_handles() {
        let found = lending_of(Kind::Processor);
        let [(export, lent)] = found.as_slice() else {
            panic!("{} functions", found.len());
        };
        assert_eq!(export, "transom:processor/stage@0.1.0#run");
        let names: Vec<&str> = lent.iter().map(|handle| handle.drop.as_str()).collect();
        assert_eq!(names, ["[resource-drop]reader", "[resource-drop]writer"]);
        assert!(
            lent.iter()
                .all(|handle| handle.module == "transom:common/io@0.1.0")
        );
        assert_eq!(lent[1].offset - lent[0].offset, 4);
        // The handles of a driver are of its own objects.
        assert!(lending_of(Kind::Driver).is_empty() && lending_of(Kind::Filter).is_empty());
    }

    #[test]
    fn functions_are_told_by_their_names() {
        let resource = Resource::taken_by("transom:storage/driver@0.1.0#[static]writer.commit-to").unwrap();
        assert_eq!(
            (resource.interface, resource.name),
            ("transom:storage/driver@0.1.0", "writer")
        );
        for other in [
            "transom:storage/driver@0.1.0#[method]writer.write",
            "cabi_post_transom:storage/driver@0.1.0#[static]writer.commit",
        ] {
            assert!(Resource::taken_by(other).is_none() && !Resource::destroyed_by(other));
        }
        assert!(Resource::destroyed_by(
            "transom:storage/driver@0.1.0#[dtor]writer"
        ));
    }
}
