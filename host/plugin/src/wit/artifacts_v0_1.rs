//! `transom:artifacts@0.1`.

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::transom::artifacts::documents;
use crate::documents::Number;
use crate::limits::{DOCUMENT_WRITE_BYTES_MAX, DOCUMENTS_MAX};
use crate::state::State;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        missing_debug_implementations,
        reason = "generated"
    )]
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/common", "../../wit/artifacts"],
        world: "transom:artifacts/reporter",
        imports: { default: trappable },
        with: {
            "transom:common/types": crate::wit::v0_1::common_interfaces::types,
            "transom:artifacts/documents.document": crate::documents::Number,
        },
    });
}

/// Defines what the guest imports.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    documents::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl documents::Host for State {}

impl documents::HostDocument for State {
    fn new(&mut self, media_type: String, annotations: Vec<(String, String)>) -> Result<Resource<Number>> {
        let documents = self.documents()?;
        let Some(number) = documents.begin(media_type, annotations) else {
            return Err(wasmtime::Error::msg(format!(
                "it makes more than {DOCUMENTS_MAX} documents"
            )));
        };
        Ok(documents.table.push(number)?)
    }

    fn write(&mut self, document: Resource<Number>, bytes: Vec<u8>) -> Result<bool> {
        if bytes.len() > DOCUMENT_WRITE_BYTES_MAX {
            return Err(wasmtime::Error::msg(format!(
                "it wrote {} bytes of a document at once, the limit is {DOCUMENT_WRITE_BYTES_MAX}",
                bytes.len()
            )));
        }
        let documents = self.documents()?;
        let number = *documents.table.get(&document)?;
        Ok(documents.write(number, &bytes))
    }

    fn drop(&mut self, document: Resource<Number>) -> Result<()> {
        self.documents()?.table.delete(document)?;
        Ok(())
    }
}
