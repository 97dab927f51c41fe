//! Requests that are small on the wire and large in memory: every call, every repeatable field.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::support::messages::methods;
use crate::support::postgres::Database;
use crate::support::raw::{Ending, Raw, framed};
use crate::support::server::Server;
use crate::support::wire::Wire;
use crate::transport::validation::valid_request;

/// The most memory that one request may add to the server.
const RISE: u64 = 32 * 1024 * 1024;
/// Longest request of calls, and longest page token.
const MIB: usize = 1024 * 1024;
/// How often a field is repeated: as often as it fits, and up to the limits on elements and on memory.
const COUNTS: [usize; 3] = [usize::MAX, 40_000, 2_500];

/// A server whose memory is measured.
struct Watched {
    server: Server,
    raw: Raw,
    /// Before the first request; `None` without `/proc`.
    before: Option<u64>,
    /// The number of calls by status code.
    endings: BTreeMap<String, usize>,
}

/// A field, and the path of fields to it from the request.
struct Place {
    way: Vec<FieldDescriptor>,
    field: FieldDescriptor,
}

impl Watched {
    async fn start() -> Self {
        let database = Database::empty_schema().await;
        let server = Server::start(&database, &["--ticketing", "--provisioning"]);
        // This allocates the memory that every call needs once.
        let wire = Wire::to(&server).await;
        for (path, request) in methods() {
            let _ = wire.raw(&path, valid_request(&request).encode_to_vec()).await;
        }
        let raw = Raw::to(server.address()).await;
        let before = server.data_memory();
        Self { server, raw, before, endings: BTreeMap::new() }
    }

    async fn send(&mut self, path: &str, message: &[u8], compressed: bool, what: &str) -> Ending {
        let (body, headers) = if compressed {
            (in_gzip(message), &[("grpc-encoding", "gzip")][..])
        } else {
            (framed(message), &[][..])
        };
        let reset = self.server.reset_peak_memory();
        assert!(reset.is_some() || !cfg!(target_os = "linux"), "the peak of the memory cannot be reset");
        let held = reset.and_then(|()| self.server.data_memory());
        let ending = self.raw.send(path, headers, body).await;
        let ending = ending.unwrap_or_else(|error| panic!("{path} {what}: {error}"));
        let code = ending.code.clone().unwrap_or_default();
        *self.endings.entry(code).or_default() += 1;
        if let (Some(before), Some(held), Some(peak)) = (self.before, held, self.server.peak_data_memory()) {
            let rise = peak.saturating_sub(held);
            assert!(rise <= RISE, "{path} {what}: the server took {rise} bytes more");
            // The memory that the allocator keeps after all requests.
            let kept = peak.saturating_sub(before);
            assert!(kept <= 2 * RISE, "{path} {what}: {kept} bytes more than at the start");
        }
        ending
    }
}

#[tokio::test]
async fn requests_that_repeat_any_field_use_bounded_memory() {
    let mut watched = Watched::start().await;
    let mut tried = BTreeSet::new();
    for (path, request) in methods() {
        let longest = if request.get_field_by_name("page_token").is_some() { 2 * MIB } else { MIB };
        for place in places(&request) {
            let name = place.field.full_name().to_owned();
            let first = tried.insert(name.clone());
            let repeated = place.field.is_list() || place.field.is_map();
            for count in COUNTS.into_iter().take(if first { COUNTS.len() } else { usize::from(repeated) }) {
                let message = place.message(&request, longest, count);
                let what = format!("{name} {count} times");
                if first {
                    watched.send(&path, &message, false, &what).await;
                }
                // A compressed request also needs memory to be decompressed.
                if count == COUNTS[0] {
                    watched.send(&path, &message, true, &what).await;
                }
            }
        }
        for (what, piece) in
            [("unknown numbers", &[0x88, 0xf1, 0x04, 0][..]), ("unknown groups", &[0x8b, 0xf1, 0x04])]
        {
            let message = piece.repeat(longest / piece.len());
            watched.send(&path, &message, true, what).await;
        }
    }
    assert!(tried.len() > 100, "only {} fields", tried.len());
    // Requests were accepted and refused for the expected reasons, and none failed in another way.
    for code in ["3", "8"] {
        assert!(watched.endings.contains_key(code), "{:?}", watched.endings);
    }
    for code in ["", "2", "13"] {
        assert!(!watched.endings.contains_key(code), "{:?}", watched.endings);
    }
}

#[tokio::test]
async fn the_size_limit_applies_to_decompressed_requests() {
    // Compressed before the connection opens, because the server closes an idle one.
    let body = in_gzip(&vec![0; 200 * MIB]);
    let mut watched = Watched::start().await;
    let raw = &watched.raw;
    for (path, longest) in [
        ("c1.connector.v2.GrantManagerService/Grant", MIB),
        ("c1.connector.v2.GrantsService/ListGrants", 2 * MIB),
    ] {
        assert!(body.len() < longest);
        let ending = raw.send(path, &[("grpc-encoding", "gzip")], body.clone()).await.unwrap();
        assert_eq!(ending.code.as_deref(), Some("8"), "{path}: {ending:?}");
    }
    // A second message in a unary call counts together with the first.
    let twice = [framed(&vec![0; MIB]), framed(&vec![0; MIB])].concat();
    let ending = raw.send("c1.connector.v2.GrantManagerService/Grant", &[], twice.into()).await.unwrap();
    assert_ne!(ending.code.as_deref(), Some("0"), "{ending:?}");
    watched.send("c1.connector.v2.ConnectorService/GetMetadata", &[], false, "after these").await;
}

#[tokio::test]
async fn a_page_token_may_be_as_long_as_the_protocol_allows() {
    let mut watched = Watched::start().await;
    let path = "c1.connector.v2.ResourceTypesService/ListResourceTypes";
    for (length, code) in [(MIB, "3"), (MIB + 1, "3"), (3 * MIB, "8")] {
        let mut message = Vec::new();
        let request = methods().into_iter().find(|(of, _)| of == path).unwrap().1;
        let field = request.get_field_by_name("page_token").unwrap();
        delimited(field.number(), &vec![b'x'; length], &mut message);
        let ending = watched.send(path, &message, false, "a page token").await;
        assert_eq!(ending.code.as_deref(), Some(code), "{length}: {ending:?}");
        let broken_rule =
            ending.message.contains("page_token%20must") || ending.message.contains("page_token must");
        assert_eq!(broken_rule, length == MIB + 1, "{length}: {ending:?}");
    }
}

/// Every field of every message in the request, each once, with its shortest path.
fn places(request: &MessageDescriptor) -> Vec<Place> {
    let mut places = Vec::new();
    let mut seen = BTreeSet::from([request.full_name().to_owned()]);
    let mut level = vec![(request.clone(), Vec::new())];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (message, way) in level {
            for field in message.fields() {
                let entry = field.kind().as_message().filter(|_| field.is_map()).cloned();
                let value = entry.as_ref().map_or(field.kind(), |entry| entry.map_entry_value_field().kind());
                if let Some(nested) = value.as_message().filter(|it| seen.insert(it.full_name().to_owned())) {
                    let mut way: Vec<FieldDescriptor> = way.clone();
                    way.push(field.clone());
                    way.extend(entry.map(|entry| entry.map_entry_value_field()));
                    next.push((nested.clone(), way));
                }
                places.push(Place { way: way.clone(), field });
            }
        }
        level = next;
    }
    places
}

impl Place {
    /// A valid request, with the field repeated this many times if it fits.
    fn message(&self, request: &MessageDescriptor, longest: usize, count: usize) -> Vec<u8> {
        let mut content = self.repeated(longest - 4096, count);
        for field in self.way.iter().rev() {
            let mut outer = valid(field.parent_message());
            delimited(field.number(), &content, &mut outer);
            content = outer;
        }
        if self.way.is_empty() {
            content = [valid(request), content].concat();
        }
        content
    }

    fn repeated(&self, longest: usize, count: usize) -> Vec<u8> {
        let (field, number) = (&self.field, self.field.number());
        // If the message is the request itself, its other fields come with the request.
        let mut elements = if self.way.is_empty() { Vec::new() } else { valid(field.parent_message()) };
        let kind = field.kind();
        if field.is_list() && !matches!(kind, Kind::Message(_) | Kind::String | Kind::Bytes) {
            delimited(number, &vec![0; count.min(longest)], &mut elements);
            return elements;
        }
        if field.is_map() {
            for index in 0..count.min(longest / 9) {
                let mut entry = Vec::new();
                delimited(1, format!("{index:05x}").as_bytes(), &mut entry);
                delimited(number, &entry, &mut elements);
            }
        } else if matches!(kind, Kind::Message(_) | Kind::String | Kind::Bytes) {
            let mut record = Vec::new();
            delimited(number, &kind.as_message().map(valid).unwrap_or_default(), &mut record);
            elements.extend(record.repeat(count.min(longest / record.len())));
        }
        elements
    }
}

/// The bytes of the smallest valid message.
fn valid(message: &MessageDescriptor) -> Vec<u8> {
    if message.is_map_entry() { Vec::new() } else { valid_request(message).encode_to_vec() }
}

fn delimited(number: u32, content: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// A compressed gRPC frame of a message.
fn in_gzip(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message).unwrap();
    let compressed = encoder.finish().unwrap();
    let length = u32::try_from(compressed.len()).unwrap().to_be_bytes();
    [&[1], &length[..], &compressed].concat().into()
}
