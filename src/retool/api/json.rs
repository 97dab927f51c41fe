//! Reads the required fields from a response's JSON in chunks. Other fields are skipped, so they take no
//! memory.

use std::fmt;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokio::sync::mpsc;

use crate::retool::api::scalar::{Scalar, passed_over};
use crate::retool::api::user::ApiUser;

/// The data to read from a response.
#[derive(Debug)]
pub(super) enum Want {
    /// Only `success`; the other fields only if it is not true.
    Success,
    /// The user in the response.
    User,
    /// The user with this email address in a list.
    UserWithEmail(String),
}

/// The fields of a response.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) success: Option<bool>,
    /// Retool's message.
    pub(super) message: Option<String>,
    /// The requested user.
    pub(super) user: Option<ApiUser>,
    /// Whether the response holds a list of users.
    pub(super) is_list: bool,
    pub(super) has_more: Option<bool>,
    pub(super) next_token: Option<String>,
}

/// The response is not JSON, or is truncated.
#[derive(Debug)]
pub(super) struct NotJson;

/// Parses a response, which ends when the channel is closed. Blocks, so it needs a thread of its own.
///
/// # Errors
/// See [`NotJson`].
pub(super) fn read(pieces: mpsc::Receiver<Bytes>, want: &Want) -> Result<Envelope, NotJson> {
    let mut json = serde_json::Deserializer::from_reader(Pieces { pieces, rest: Bytes::new() });
    let mut reading = Reading { want, envelope: Envelope::default(), enough: false };
    let read = (&mut reading).deserialize(&mut json).and_then(|()| json.end());
    // Once all required fields are read, the rest of the response may be anything.
    if read.is_ok() || reading.enough { Ok(reading.envelope) } else { Err(NotJson) }
}

/// The chunks of a response as they arrive.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let length = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The state of parsing a response.
struct Reading<'a> {
    want: &'a Want,
    envelope: Envelope,
    /// The required fields are complete.
    enough: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Success,
    Message,
    Data,
    HasMore,
    NextToken,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for &mut Reading<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let envelope = &mut self.envelope;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Success => envelope.success = map.next_value::<Scalar>()?.flag(),
                Key::Message => envelope.message = map.next_value::<Scalar>()?.text(),
                Key::HasMore => envelope.has_more = map.next_value::<Scalar>()?.flag(),
                Key::NextToken => envelope.next_token = map.next_value::<Scalar>()?.text(),
                Key::Data => match self.want {
                    Want::Success => drop(map.next_value::<IgnoredAny>()?),
                    Want::User => envelope.user = map.next_value::<MaybeUser>()?.0,
                    Want::UserWithEmail(email) => {
                        let found = map.next_value_seed(UserList { email })?;
                        envelope.is_list = found.is_some();
                        envelope.user = found.flatten();
                    }
                },
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
            if matches!(self.want, Want::Success) && envelope.success == Some(true) {
                self.enough = true;
                return Err(A::Error::custom("the rest is not needed"));
            }
        }
        Ok(())
    }

    passed_over!(list => ());
    passed_over!(scalar => ());
}

/// Finds the user with this address in a list. Skips entries that are not users.
struct UserList<'a> {
    email: &'a str,
}

impl<'de> DeserializeSeed<'de> for UserList<'_> {
    /// `None` for anything but a list.
    type Value = Option<Option<ApiUser>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UserList<'_> {
    type Value = Option<Option<ApiUser>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of users")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(MaybeUser(user)) = items.next_element()? {
            found = found.or(user.filter(|user| user.has_email(self.email)));
        }
        Ok(Some(found))
    }

    passed_over!(object => None);
    passed_over!(scalar => None);
}

/// A user; `None` for anything but an object.
struct MaybeUser(Option<ApiUser>);

impl<'de> Deserialize<'de> for MaybeUser {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(MaybeUserVisitor).map(Self)
    }
}

struct MaybeUserVisitor;

impl<'de> Visitor<'de> for MaybeUserVisitor {
    type Value = Option<ApiUser>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a user")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        ApiUser::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    passed_over!(list => None);
    passed_over!(scalar => None);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Parses a text that arrives in small chunks.
    fn said(text: &str, want: &Want) -> Result<Envelope, NotJson> {
        let (send, pieces) = mpsc::channel(text.len().max(1));
        for piece in text.as_bytes().chunks(3) {
            send.blocking_send(Bytes::copy_from_slice(piece)).unwrap();
        }
        drop(send);
        read(pieces, want)
    }

    #[test]
    fn reads_a_response_with_unknown_fields() {
        let one = r#"{"x":[{"a":[1.5,null]}],"data":{"email":"a@b","active":true,"groups":[{"id":1}]},"success":true}"#;
        let envelope = said(one, &Want::User).unwrap();
        assert_eq!(envelope.success, Some(true));
        assert_eq!(envelope.user.unwrap().email.as_deref(), Some("a@b"));
        for other in
            [r#"{"success":true,"data":[1]}"#, r#"{"success":true,"data":null}"#, r#"{"success":true}"#]
        {
            assert_eq!(said(other, &Want::User).unwrap().user, None);
        }
        for no_answer in ["[1,{}]", "\"text\"", "17", "null", r#"{"success":"true"}"#] {
            assert_eq!(said(no_answer, &Want::User).unwrap().success, None);
        }
        for no_json in ["", "<html>", r#"{"success":true"#, r#"{"success":true} x"#] {
            assert!(said(no_json, &Want::User).is_err(), "{no_json}");
        }
    }

    #[test]
    fn keeps_only_the_wanted_user_of_a_list() {
        let want = Want::UserWithEmail("B@x".to_owned());
        let list = r#"{"data":[7,{"email":"a@x"},{"email":"b@x","id":"user_1"},[]],"has_more":true,"next_token":"t","success":true}"#;
        let envelope = said(list, &want).unwrap();
        assert_eq!(envelope.user.unwrap().email.as_deref(), Some("b@x"));
        assert_eq!((envelope.is_list, envelope.has_more), (true, Some(true)));
        assert_eq!(envelope.next_token.as_deref(), Some("t"));
        assert!(!said(r#"{"data":{},"success":true}"#, &want).unwrap().is_list);
    }

    #[test]
    fn stops_reading_after_success_but_not_after_failure() {
        let envelope = said(r#"{"success":true,"data":[{"email":"#, &Want::Success).unwrap();
        assert_eq!(envelope.success, Some(true));
        let envelope = said(r#"{"success":false,"message":"no"}"#, &Want::Success).unwrap();
        assert_eq!((envelope.success, envelope.message.as_deref()), (Some(false), Some("no")));
        assert!(said(r#"{"success":false,"message":"no""#, &Want::Success).is_err());
    }
}
