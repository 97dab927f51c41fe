//! Requests of calls that Retool does not support. Their handlers refuse them and read at most one field, so
//! the codec checks these requests but decodes no other part.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field};

/// The part of a request that its handler reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing: the handler takes the request as `_`.
    Nothing,
    /// Whether the message in the field with this number is present.
    Presence(u32),
    /// The text of the field with this number.
    Text(u32),
}

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

impl Part {
    /// The part of the request with this name; `None` if its handler may read all of it.
    pub(super) fn of(full_name: &str) -> Option<Self> {
        REFUSED.iter().find(|(name, _)| *name == full_name).map(|(_, part)| *part)
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
        }
        Ok(kept)
    }
}

/// The last record of a field, without its key.
fn last_record(field: u32, encoded: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
    let mut found = None;
    let mut rest = encoded;
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest)?;
        let content = rest;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        if number == field {
            found = content.get(..content.len() - rest.len());
        }
    }
    Ok(found)
}
