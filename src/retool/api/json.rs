//! What is needed of an answer's JSON, read piece by piece. Whatever else an answer holds is passed over, so
//! that it takes no memory.

use std::fmt;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokio::sync::mpsc;

use crate::retool::api::scalar::{Scalar, passed_over};
use crate::retool::api::user::ApiUser;

/// What is wanted of an answer.
#[derive(Debug)]
pub(super) enum Want {
    /// Whether it says `success`; the rest only when it does not.
    Success,
    /// The user that it is about.
    User,
    /// Of its users, the one with this e-mail address.
    UserWithEmail(String),
}

/// What an answer says.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) success: Option<bool>,
    /// Retool's words.
    pub(super) message: Option<String>,
    /// The user that was asked for.
    pub(super) user: Option<ApiUser>,
    /// Whether there is a list of users.
    pub(super) is_list: bool,
    pub(super) has_more: Option<bool>,
    pub(super) next_token: Option<String>,
}

/// The answer is not JSON, or ends too soon.
#[derive(Debug)]
pub(super) struct NotJson;

/// Reads an answer, which ends when the channel is closed. Runs in a thread that may wait.
///
/// # Errors
/// See [`NotJson`].
pub(super) fn read(pieces: mpsc::Receiver<Bytes>, want: &Want) -> Result<Envelope, NotJson> {
    let mut json = serde_json::Deserializer::from_reader(Pieces { pieces, rest: Bytes::new() });
    let mut reading = Reading { want, envelope: Envelope::default(), enough: false };
    let read = (&mut reading).deserialize(&mut json).and_then(|()| json.end());
    // The rest of an answer that has said enough may be anything.
    if read.is_ok() || reading.enough { Ok(reading.envelope) } else { Err(NotJson) }
}

/// The pieces of an answer as they come.
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

/// An answer that is being read.
struct Reading<'a> {
    want: &'a Want,
    envelope: Envelope,
    /// The rest is of no interest.
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

/// A list of users, of which the one with this address is wanted. Entries that are no users are passed over.
struct UserList<'a> {
    email: &'a str,
}

impl<'de> DeserializeSeed<'de> for UserList<'_> {
    /// Nothing for anything but a list.
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

/// A user; nothing for anything but an object.
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

    /// What is read of a text that comes in small pieces.
    fn said(text: &str, want: &Want) -> Result<Envelope, NotJson> {
        let (send, pieces) = mpsc::channel(text.len().max(1));
        for piece in text.as_bytes().chunks(3) {
            send.blocking_send(Bytes::copy_from_slice(piece)).unwrap();
        }
        drop(send);
        read(pieces, want)
    }

    #[test]
    fn an_answer_is_read_whatever_else_it_holds() {
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
    fn of_a_list_only_the_wanted_user_is_kept() {
        let want = Want::UserWithEmail("B@x".to_owned());
        let list = r#"{"data":[7,{"email":"a@x"},{"email":"b@x","id":"user_1"},[]],"has_more":true,"next_token":"t","success":true}"#;
        let envelope = said(list, &want).unwrap();
        assert_eq!(envelope.user.unwrap().email.as_deref(), Some("b@x"));
        assert_eq!((envelope.is_list, envelope.has_more), (true, Some(true)));
        assert_eq!(envelope.next_token.as_deref(), Some("t"));
        assert!(!said(r#"{"data":{},"success":true}"#, &want).unwrap().is_list);
    }

    #[test]
    fn a_success_ends_the_reading_and_a_failure_does_not() {
        let envelope = said(r#"{"success":true,"data":[{"email":"#, &Want::Success).unwrap();
        assert_eq!(envelope.success, Some(true));
        let envelope = said(r#"{"success":false,"message":"no"}"#, &Want::Success).unwrap();
        assert_eq!((envelope.success, envelope.message.as_deref()), (Some(false), Some("no")));
        assert!(said(r#"{"success":false,"message":"no""#, &Want::Success).is_err());
    }
}
