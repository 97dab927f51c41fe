//! Requests that the handlers always refuse: calls that Retool does not support, and changes while changes
//! are off. The handlers read only a few fields of such a request. The codec validates the whole request, but
//! decodes only these fields.

use prost::DecodeError;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

/// The part of a request that its handler reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing: the handler takes the request as `_`.
    Nothing,
    /// Whether the message in the field with this number is present.
    Presence(u32),
    /// The text of the field with this number.
    Text(u32),
    /// The fields at the ends of these paths of numbers, as far as they fit into [`LIMIT`] bytes.
    Paths(&'static [&'static [u32]]),
}

/// Maximum number of bytes that are kept of a request. Fields that do not fit are left out. Each string of an
/// id has at most 1 KiB.
const LIMIT: usize = 4096;

/// The requests, and the part that the handler of each reads.
pub(super) const REFUSED: [(&str, Part); 12] = [
    ("c1.connector.v2.CreateResourceRequest", Part::Nothing),
    ("c1.connector.v2.DeleteResourceRequest", Part::Nothing),
    ("c1.connector.v2.DeleteResourceV2Request", Part::Nothing),
    // `identity_id`: a missing one has an error of its own.
    ("c1.connector.v2.IssueCredentialRequest", Part::Presence(1)),
    // `event_feed_id`, which the error names.
    ("c1.connector.v2.ListEventsRequest", Part::Text(5)),
    ("c1.connector.v2.RotateCredentialRequest", Part::Nothing),
    ("c1.connector.v2.TicketsServiceBulkCreateTicketsRequest", Part::Nothing),
    ("c1.connector.v2.TicketsServiceBulkGetTicketsRequest", Part::Nothing),
    ("c1.connector.v2.TicketsServiceCreateTicketRequest", Part::Nothing),
    ("c1.connector.v2.TicketsServiceGetTicketRequest", Part::Nothing),
    ("c1.connector.v2.TicketsServiceGetTicketSchemaRequest", Part::Nothing),
    ("c1.connector.v2.TicketsServiceListTicketSchemasRequest", Part::Nothing),
];

/// The requests for changes, and the part that the handler of each reads while changes are off: what the record
/// of changes contains.
pub(super) const CHANGES: [(&str, Part); 4] = [
    ("c1.connector.v2.CreateAccountRequest", Part::Nothing),
    // The ids of the entitlement and the principal, and the annotations with the id of the request.
    ("c1.connector.v2.GrantManagerServiceGrantRequest", Part::Paths(&[&[1, 2], &[2, 1], &[3]])),
    ("c1.connector.v2.GrantManagerServiceRevokeRequest", Part::Paths(&[&[1, 1, 2], &[1, 2, 1], &[2]])),
    // The name of the action, and the annotations.
    ("c1.connector.v2.InvokeActionRequest", Part::Paths(&[&[1], &[3]])),
];

impl Part {
    /// The part of the request with this name; `None` if its handler may read all of it.
    pub(super) fn of(full_name: &str, changes_are_off: bool) -> Option<Self> {
        let changes = if changes_are_off { &CHANGES[..] } else { &[] };
        let mut refused = REFUSED.iter().chain(changes);
        refused.find(|(name, _)| *name == full_name).map(|(_, part)| *part)
    }

    /// The encoding of this part alone.
    ///
    /// # Errors
    /// The bytes are not a message.
    pub(super) fn take_from(self, encoded: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut kept = Vec::new();
        match self {
            Self::Nothing => {}
            Self::Presence(field) => {
                if last_record(field, encoded)?.is_some() {
                    encode_key(field, WireType::LengthDelimited, &mut kept);
                    encode_varint(0, &mut kept);
                }
            }
            Self::Text(field) => {
                if let Some(record) = last_record(field, encoded)? {
                    encode_key(field, WireType::LengthDelimited, &mut kept);
                    kept.extend_from_slice(record);
                }
            }
            Self::Paths(paths) => {
                for path in paths {
                    keep(path, encoded, &mut kept)?;
                }
            }
        }
        Ok(kept)
    }
}

/// The last record of a field, without its key.
fn last_record(field: u32, encoded: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
    let mut found = None;
    each_record(field, encoded, |_, record| {
        found = Some(record);
        Ok(())
    })?;
    Ok(found)
}

/// Adds the records at the end of a path, each in its own copies of the messages on the path. Decoding merges
/// these.
fn keep(path: &[u32], encoded: &[u8], kept: &mut Vec<u8>) -> Result<(), DecodeError> {
    let [field, inner @ ..] = path else { return Ok(()) };
    each_record(*field, encoded, |wire_type, record| {
        let mut message = Vec::new();
        let record = if inner.is_empty() || wire_type != WireType::LengthDelimited {
            record
        } else {
            let mut content = record;
            decode_varint(&mut content)?;
            let mut part = Vec::new();
            keep(inner, content, &mut part)?;
            encode_varint(part.len() as u64, &mut message);
            message.append(&mut part);
            &message
        };
        if kept.len() + record.len() <= LIMIT {
            encode_key(*field, wire_type, kept);
            kept.extend_from_slice(record);
        }
        Ok(())
    })
}

/// Passes on each record of a field, without its key.
fn each_record<'a>(
    field: u32,
    encoded: &'a [u8],
    mut found: impl FnMut(WireType, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut rest = encoded;
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest)?;
        let content = rest;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        if number == field {
            found(wire_type, content.get(..content.len() - rest.len()).unwrap_or_default())?;
        }
    }
    Ok(())
}
