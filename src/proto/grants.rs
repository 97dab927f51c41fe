//! The response of ListGrants, optimized for large pages.
//!
//! Every grant embeds its entitlement, and every entitlement embeds its resource, so most of a response
//! consists of copies of one resource. A server therefore provides an encoded response, with the resource
//! encoded once and copied. On the wire it is exactly the message that `proto/c1/connector/v2/grant.proto`
//! declares, and a client decodes it as this message.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{
    DecodeContext, WireType, decode_key, encode_key, encode_varint, encoded_len_varint, key_len, message,
    skip_field, string,
};
use prost::{DecodeError, Message, Name};
use prost_types::Any;

use crate::proto::connector::{Grant, Resource};

/// One page of grants: `c1.connector.v2.GrantsServiceListGrantsResponse`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GrantsServiceListGrantsResponse {
    /// The grants of the page.
    pub list: GrantList,
    /// Empty on the last page.
    pub next_page_token: String,
    /// Annotations of the page.
    pub annotations: Vec<Any>,
}

/// Grants, either as messages, which is the form of received and of small lists, or as the bytes that a
/// [`GrantListBuilder`] wrote.
///
/// Two lists are equal if they encode to the same bytes, whatever their form.
#[derive(Clone)]
pub struct GrantList(Form);

#[derive(Clone)]
enum Form {
    Messages(Vec<Grant>),
    /// Whole records of the response's field, one per grant.
    Records {
        bytes: Bytes,
        count: usize,
    },
}

/// The parts of a grant that differ between grants on the same resource.
#[derive(Debug, Clone, Copy)]
pub struct GrantParts<'a> {
    /// The id of the grant.
    pub id: &'a str,
    /// The id of the entitlement on the builder's resource.
    pub entitlement_id: &'a str,
    /// The resource type of the principal.
    pub principal_type: &'a str,
    /// The resource id of the principal.
    pub principal_id: &'a str,
    /// The annotations of the grant, encoded by [`encode_grant_annotations`]; empty for none.
    pub annotations: &'a [u8],
}

/// Writes the grants on one resource, up to a number of bytes.
///
/// ```
/// use baton_retool::proto::connector::Resource;
/// use baton_retool::proto::grants::{GrantListBuilder, GrantParts};
///
/// let mut grants = GrantListBuilder::new(&Resource::default(), 1 << 20);
/// let taken = grants.push(GrantParts {
///     id: "group:g1:member:user:u7",
///     entitlement_id: "group:g1:member",
///     principal_type: "user",
///     principal_id: "u7",
///     annotations: &[],
/// });
/// assert!(taken);
/// assert_eq!(grants.finish().into_grants()?[0].id, "group:g1:member:user:u7");
/// # Ok::<(), prost::DecodeError>(())
/// ```
pub struct GrantListBuilder {
    /// The resource as a whole record of the entitlement.
    resource: Vec<u8>,
    budget: usize,
    records: BytesMut,
    count: usize,
}

/// Encodes annotations for [`GrantParts`]. Grants with the same annotations can share the result.
pub fn encode_grant_annotations(annotations: &[Any]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(message::encoded_len_repeated(tag::grant::ANNOTATIONS, annotations));
    message::encode_repeated(tag::grant::ANNOTATIONS, annotations, &mut encoded);
    encoded
}

// ===== impl GrantListBuilder =====

impl GrantListBuilder {
    /// Starts a list of grants whose entitlements all belong to `resource`. The budget is the most bytes of
    /// the grants in the response; its page token and annotations are not included.
    pub fn new(resource: &Resource, budget: usize) -> Self {
        let mut encoded = Vec::with_capacity(message::encoded_len(tag::entitlement::RESOURCE, resource));
        message::encode(tag::entitlement::RESOURCE, resource, &mut encoded);
        Self { resource: encoded, budget, records: BytesMut::new(), count: 0 }
    }

    /// Adds a grant. Returns false, and changes nothing, if the grant would exceed the budget. The first
    /// grant is always added, so that every page makes progress.
    #[must_use = "a grant that was not taken has to open the next page"]
    pub fn push(&mut self, grant: GrantParts<'_>) -> bool {
        let principal_id = text_len(tag::resource_id::RESOURCE_TYPE, grant.principal_type)
            + text_len(tag::resource_id::RESOURCE, grant.principal_id);
        let principal = record_len(tag::resource::ID, principal_id);
        let entitlement = self.resource.len() + text_len(tag::entitlement::ID, grant.entitlement_id);
        let body = record_len(tag::grant::ENTITLEMENT, entitlement)
            + record_len(tag::grant::PRINCIPAL, principal)
            + text_len(tag::grant::ID, grant.id)
            + grant.annotations.len();
        let whole = record_len(tag::response::LIST, body);
        if self.count > 0 && self.records.len() + whole > self.budget {
            return false;
        }

        let out = &mut self.records;
        out.reserve(whole);
        open_record(tag::response::LIST, body, out);
        open_record(tag::grant::ENTITLEMENT, entitlement, out);
        out.put_slice(&self.resource);
        put_text(tag::entitlement::ID, grant.entitlement_id, out);
        open_record(tag::grant::PRINCIPAL, principal, out);
        open_record(tag::resource::ID, principal_id, out);
        put_text(tag::resource_id::RESOURCE_TYPE, grant.principal_type, out);
        put_text(tag::resource_id::RESOURCE, grant.principal_id, out);
        put_text(tag::grant::ID, grant.id, out);
        out.put_slice(grant.annotations);
        self.count += 1;
        true
    }

    /// How many grants were added.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no grant was added yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the list of the added grants.
    pub fn finish(self) -> GrantList {
        GrantList(Form::Records { bytes: self.records.freeze(), count: self.count })
    }
}

impl fmt::Debug for GrantListBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantListBuilder")
            .field("count", &self.count)
            .field("bytes", &self.records.len())
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// The length of a whole record with a content of `content` bytes.
fn record_len(tag: u32, content: usize) -> usize {
    key_len(tag) + encoded_len_varint(content as u64) + content
}

/// Writes the key and the length before the content of a record.
fn open_record(tag: u32, content: usize, out: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(content as u64, out);
}

/// An empty string field is not sent, as always in proto3.
fn text_len(tag: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { record_len(tag, text.len()) }
}

fn put_text(tag: u32, text: &str, out: &mut BytesMut) {
    if !text.is_empty() {
        open_record(tag, text.len(), out);
        out.put_slice(text.as_bytes());
    }
}

// ===== impl GrantList =====

impl GrantList {
    /// The number of grants.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Messages(grants) => grants.len(),
            Form::Records { count, .. } => *count,
        }
    }

    /// Whether there are no grants.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the grants as messages.
    ///
    /// # Errors
    /// A builder wrote the list from bytes that were not encoded annotations. No other list fails.
    pub fn into_grants(self) -> Result<Vec<Grant>, DecodeError> {
        match self.0 {
            Form::Messages(grants) => Ok(grants),
            Form::Records { mut bytes, count } => {
                let mut grants = Vec::with_capacity(count);
                while bytes.has_remaining() {
                    let (_, wire_type) = decode_key(&mut bytes)?;
                    message::merge_repeated(wire_type, &mut grants, &mut bytes, DecodeContext::default())?;
                }
                Ok(grants)
            }
        }
    }
}

impl From<Vec<Grant>> for GrantList {
    fn from(grants: Vec<Grant>) -> Self {
        Self(Form::Messages(grants))
    }
}

impl Default for GrantList {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl PartialEq for GrantList {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Messages(ours), Form::Messages(theirs)) => ours == theirs,
            (Form::Records { bytes: ours, .. }, Form::Records { bytes: theirs, .. }) => ours == theirs,
            (Form::Messages(grants), Form::Records { bytes, .. })
            | (Form::Records { bytes, .. }, Form::Messages(grants)) => {
                let mut encoded = Vec::new();
                message::encode_repeated(tag::response::LIST, grants, &mut encoded);
                encoded == *bytes
            }
        }
    }
}

impl fmt::Debug for GrantList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Messages(grants) => f.debug_list().entries(grants).finish(),
            Form::Records { bytes, count } => write!(f, "[{count} grants in {} bytes]", bytes.len()),
        }
    }
}

// ===== impl GrantsServiceListGrantsResponse =====

impl Message for GrantsServiceListGrantsResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        match &self.list.0 {
            Form::Messages(grants) => message::encode_repeated(tag::response::LIST, grants, buf),
            Form::Records { bytes, .. } => buf.put_slice(bytes),
        }
        if !self.next_page_token.is_empty() {
            string::encode(tag::response::NEXT_PAGE_TOKEN, &self.next_page_token, buf);
        }
        message::encode_repeated(tag::response::ANNOTATIONS, &self.annotations, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let named = |field| {
            move |mut error: DecodeError| {
                error.push(Self::NAME, field);
                error
            }
        };
        match tag {
            tag::response::LIST => {
                let mut grants = std::mem::take(&mut self.list).into_grants()?;
                message::merge_repeated(wire_type, &mut grants, buf, ctx).map_err(named("list"))?;
                self.list = GrantList::from(grants);
                Ok(())
            }
            tag::response::NEXT_PAGE_TOKEN => string::merge(wire_type, &mut self.next_page_token, buf, ctx)
                .map_err(named("next_page_token")),
            tag::response::ANNOTATIONS => message::merge_repeated(wire_type, &mut self.annotations, buf, ctx)
                .map_err(named("annotations")),
            _ => skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let list = match &self.list.0 {
            Form::Messages(grants) => message::encoded_len_repeated(tag::response::LIST, grants),
            Form::Records { bytes, .. } => bytes.len(),
        };
        list + text_len(tag::response::NEXT_PAGE_TOKEN, &self.next_page_token)
            + message::encoded_len_repeated(tag::response::ANNOTATIONS, &self.annotations)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Name for GrantsServiceListGrantsResponse {
    const NAME: &'static str = "GrantsServiceListGrantsResponse";
    const PACKAGE: &'static str = "c1.connector.v2";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}

/// Field numbers of the messages that the code above encodes.
mod tag {
    pub(crate) mod response {
        pub(crate) const LIST: u32 = 1;
        pub(crate) const NEXT_PAGE_TOKEN: u32 = 2;
        pub(crate) const ANNOTATIONS: u32 = 3;
    }
    pub(crate) mod grant {
        pub(crate) const ENTITLEMENT: u32 = 1;
        pub(crate) const PRINCIPAL: u32 = 2;
        pub(crate) const ID: u32 = 3;
        pub(crate) const ANNOTATIONS: u32 = 4;
    }
    pub(crate) mod entitlement {
        pub(crate) const RESOURCE: u32 = 1;
        pub(crate) const ID: u32 = 2;
    }
    pub(crate) mod resource {
        pub(crate) const ID: u32 = 1;
    }
    pub(crate) mod resource_id {
        pub(crate) const RESOURCE_TYPE: u32 = 1;
        pub(crate) const RESOURCE: u32 = 2;
    }
}

#[cfg(test)]
mod tests;
