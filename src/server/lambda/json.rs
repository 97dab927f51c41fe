//! Converts packed messages from and to JSON with the descriptors of the protocol.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};
use prost_types::{Any, DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::proto::descriptor_pool;

/// The key that holds the type of a packed message.
const TYPE: &str = "@type";
/// The key of lists that can hold packed messages of unknown types.
const ANNOTATIONS: &str = "annotations";

/// The types of packed messages: those of the protocol, and the details of a status.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = descriptor_pool().clone();
    if let Err(error) = add_details(&mut pool) {
        tracing::warn!(error, "cannot encode the details of a status as JSON");
    }
    pool
});

/// Adds the messages of `google.rpc` that describe errors. The protocol already contains `Status`.
fn add_details(pool: &mut DescriptorPool) -> Result<(), String> {
    let set =
        FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).map_err(|error| error.to_string())?;
    let is_new = |file: &FileDescriptorProto| {
        let name = |message: &DescriptorProto| format!("{}.{}", file.package(), message.name());
        file.message_type.iter().all(|message| pool.get_message_by_name(&name(message)).is_none())
    };
    let files: Vec<_> = set.file.iter().filter(|file| is_new(file)).cloned().collect();
    pool.add_file_descriptor_protos(files).map_err(|error| error.to_string())
}

/// A packed message that serializes as JSON.
pub(super) struct Packed(DynamicMessage);

/// Reads a packed message; `None` for null.
///
/// Unknown fields are ignored. If reading fails, it is repeated without the annotations of unknown types.
///
/// # Errors
/// The reason why the text is invalid.
pub(super) fn unpacked(text: &str) -> Result<Option<Any>, String> {
    let first = match read(&mut serde_json::Deserializer::from_str(text)) {
        Ok(message) => return Ok(Some(message)),
        Err(error) => error,
    };
    let mut value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match &value {
        Value::Null => return Ok(None),
        // The check of the request's type refuses an empty message.
        Value::Object(fields) if fields.is_empty() => return Ok(Some(Any::default())),
        _ => {}
    }
    if !drop_unknown(&mut value) {
        return Err(first);
    }
    read(value).map(Some)
}

fn read<'de>(text: impl serde::Deserializer<'de, Error = serde_json::Error>) -> Result<Any, String> {
    const OPTIONS: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(any()?, text, &OPTIONS)
        .map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}

/// Removes packed messages of unknown types from annotations. Returns whether there were any.
fn drop_unknown(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |dropped, item| drop_unknown(item) | dropped),
        Value::Object(fields) => {
            let mut dropped = false;
            for (name, value) in fields.iter_mut() {
                if let Value::Array(items) = value
                    && name == ANNOTATIONS
                    && items.iter().any(|item| type_of(item).is_some())
                {
                    let before = items.len();
                    items.retain(|item| type_of(item).is_some_and(is_known));
                    dropped |= items.len() < before;
                }
                dropped |= drop_unknown(value);
            }
            dropped
        }
        _ => false,
    }
}

fn type_of(packed: &Value) -> Option<&str> {
    packed.get(TYPE)?.as_str()
}

fn is_known(type_url: &str) -> bool {
    let name = type_url.rsplit('/').next().unwrap_or_default();
    type_url.contains('/') && POOL.get_message_by_name(name).is_some()
}

fn any() -> Result<MessageDescriptor, String> {
    POOL.get_message_by_name("google.protobuf.Any").ok_or_else(|| "the descriptors have no Any".to_owned())
}

impl Packed {
    /// # Errors
    /// The reason why the message is invalid.
    pub(super) fn of(message: &Any) -> Result<Self, String> {
        let mut packed = DynamicMessage::new(any()?);
        packed.transcode_from(message).map_err(|error| error.to_string())?;
        Ok(Self(packed))
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
