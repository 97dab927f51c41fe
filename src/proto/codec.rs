//! The codec of every generated client and server: protobuf, with validation of requests.
//!
//! Requests are validated here because every request of every service passes through the codec before a
//! handler gets it. A service that is added later is validated without further code; an interceptor or a call
//! in each handler could be forgotten. The protocol's own servers use the same order: a request that breaks a
//! rule is `InvalidArgument` before anything else is checked.

mod unread;

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::{Message, Name};
use tonic::codec::{DecodeBuf, EncodeBuf};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::proto::codec::unread::Part;
use crate::proto::log_text::logged_in_full;
use crate::proto::request_memory;
use crate::proto::validate::{self, ELEMENTS, Excess, MEMORY, RequestError, RequestRules, Violation};

/// Encodes `T` and decodes `U`: on a server the response and the request, on a client the request and the
/// response.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

/// The encoder of [`Codec`].
#[derive(Debug)]
pub struct Encoder<T>(PhantomData<T>);

/// The decoder of [`Codec`].
///
/// The type of a message decides whether it is validated: request messages of any rpc are, on both sides of a
/// connection. Responses are not validated, because a client cannot make its server send better ones.
#[derive(Debug)]
pub struct Decoder<U>(PhantomData<U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = Decoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decoder(PhantomData)
    }
}

impl<T: Message> tonic::codec::Encoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // One allocation for a large answer instead of repeated doubling.
        buf.reserve(item.encoded_len());
        item.encode_raw(buf);
        Ok(())
    }
}

impl<U: Name + Default> tonic::codec::Decoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    /// # Errors
    /// A request that cannot be decoded or breaks a rule is `InvalidArgument`, in the latter case with the
    /// field in the details. A request with too many elements is `ResourceExhausted`. A request for which
    /// other requests leave no memory is `Unavailable`. A response that cannot be decoded is `Internal`, and
    /// one of ConductorOne with too many elements is `ResourceExhausted`.
    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let encoded = buf.copy_to_bytes(buf.remaining());
        let name = U::full_name();
        let Some(rules) = validate::request_rules(&name) else {
            validate::check_answer(&name, &encoded)
                .map_err(|excess| Status::resource_exhausted(over(&name, excess)))?;
            return U::decode(encoded)
                .map(Some)
                .map_err(|error| Status::internal(undecodable(&name, &error)));
        };
        request(&name, rules, encoded).map(Some)
    }
}

/// Checks and decodes a request.
fn request<U: Message + Default>(name: &str, rules: RequestRules, encoded: Bytes) -> Result<U, Status> {
    let memory = rules.check(&encoded).map_err(|error| match error {
        RequestError::Malformed => malformed(undecodable(name, &"its bytes are not a message of this type")),
        RequestError::TooLarge(excess) => too_large(name, excess),
        RequestError::Invalid(violation) => refusal(violation),
    })?;
    let decoded = match Part::of(name, request_memory::changes_are_off()) {
        Some(part) => part.take_from(&encoded).and_then(|part| U::decode(part.as_slice())),
        None => {
            request_memory::settle(memory)?;
            U::decode(encoded)
        }
    };
    decoded.map_err(|error| malformed(undecodable(name, &error)))
}

fn malformed(message: String) -> Status {
    logged_in_full(Status::invalid_argument(message))
}

fn too_large(full_name: &str, excess: Excess) -> Status {
    logged_in_full(Status::resource_exhausted(format!(
        "{}: split the request into several calls",
        over(full_name, excess)
    )))
}

fn over(full_name: &str, excess: Excess) -> String {
    let name = simple(full_name);
    match excess {
        Excess::Elements => format!("{name} has more than {ELEMENTS} fields and items"),
        Excess::Memory => format!("{name} would take more than {MEMORY} bytes without its strings"),
    }
}

fn undecodable(full_name: &str, error: &dyn std::fmt::Display) -> String {
    format!("cannot decode {}: {error}", simple(full_name))
}

/// The name of a message without its package.
fn simple(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap_or(full_name)
}

fn refusal(violation: Violation) -> Status {
    let message = violation.to_string();
    let details = ErrorDetails::with_bad_request_violation(violation.field, violation.rule);
    logged_in_full(Status::with_error_details(Code::InvalidArgument, message, details))
}

#[cfg(test)]
mod tests;
