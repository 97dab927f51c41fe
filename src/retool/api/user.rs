//! Accounts in the format of the REST API.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::retool::api::message::Hidden;
use crate::retool::api::scalar::Scalar;
use crate::retool::id::UserId;

/// The API's identifier of an account: `users.sid`, such as `user_` and 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sid(String);

impl Sid {
    /// Longest sid in bytes, which is the limit of the column.
    const LONGEST: usize = 255;

    /// Parses a sid. Returns `None` for any text that is not exactly one segment of a URL path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let odd = |byte: u8| !(b' '..=b'~').contains(&byte) || b"/\\?#%;".contains(&byte);
        let fits = !text.is_empty()
            && text.len() <= Self::LONGEST
            && text.trim() == text
            && !text.bytes().all(|byte| byte == b'.')
            && !text.bytes().any(odd);
        fits.then(|| Self(text.to_owned()))
    }

    /// The sid as the database and the API write it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kind of user of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UserType {
    /// Uses and builds apps; billed.
    Default,
    /// Uses mobile apps only.
    Mobile,
    /// Uses embedded apps only.
    Embed,
}

impl UserType {
    /// All types, the usual one first.
    pub(crate) const ALL: [Self; 3] = [Self::Default, Self::Mobile, Self::Embed];

    /// The API's keyword for the type.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Mobile => "mobile",
            Self::Embed => "embed",
        }
    }

    /// The type with this keyword.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|user_type| user_type.as_str() == word)
    }
}

/// An account to create, in the API's format. It has only keys that the API knows, because the API refuses
/// others. Its `Debug` output has no personal data.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NewUser {
    /// Email address.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// If unset, Retool decides, with the same result as `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_type: Option<UserType>,
}

impl NewUser {
    pub(super) fn body(&self) -> Value {
        json!(self)
    }

    pub(super) fn hidden(&self) -> Hidden {
        Hidden::words([self.email.as_str(), &self.first_name, &self.last_name])
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("user_type", &self.user_type).finish_non_exhaustive()
    }
}

/// An account as the API returns it. Missing and invalid fields are `None`. Its `Debug` output has no
/// personal data.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiUser {
    /// `users.sid`
    #[serde(rename = "id", deserialize_with = "sid")]
    pub sid: Option<Sid>,
    /// `users.id`; a number in some versions of the API and a string in others.
    #[serde(deserialize_with = "legacy_id")]
    pub legacy_id: Option<UserId>,
    /// Email address.
    #[serde(deserialize_with = "text")]
    pub email: Option<String>,
    /// Given name.
    #[serde(deserialize_with = "text")]
    pub first_name: Option<String>,
    /// Family name.
    #[serde(deserialize_with = "text")]
    pub last_name: Option<String>,
    /// Whether the user may sign in.
    #[serde(deserialize_with = "flag")]
    pub active: Option<bool>,
    /// `default`, `mobile` or `embed`.
    #[serde(deserialize_with = "text")]
    pub user_type: Option<String>,
    /// When the account was created.
    #[serde(deserialize_with = "time")]
    pub created_at: Option<OffsetDateTime>,
    /// When the account was last used.
    #[serde(deserialize_with = "time")]
    pub last_active: Option<OffsetDateTime>,
}

fn sid<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Sid>, D::Error> {
    Ok(Scalar::deserialize(field)?.text().and_then(|text| Sid::parse(&text)))
}

/// Reads a text; `None` for an empty text.
fn text<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    Ok(Scalar::deserialize(field)?.text().filter(|text| !text.is_empty()))
}

fn flag<'de, D: Deserializer<'de>>(field: D) -> Result<Option<bool>, D::Error> {
    Ok(Scalar::deserialize(field)?.flag())
}

fn time<'de, D: Deserializer<'de>>(field: D) -> Result<Option<OffsetDateTime>, D::Error> {
    Ok(text(field)?.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok()))
}

fn legacy_id<'de, D: Deserializer<'de>>(field: D) -> Result<Option<UserId>, D::Error> {
    let number = match Scalar::deserialize(field)? {
        Scalar::Number(number) => Some(number),
        Scalar::Text(digits) => digits.parse().ok(),
        Scalar::Flag(_) | Scalar::Other => None,
    };
    Ok(number.and_then(|number| UserId::try_from(number).ok()))
}

impl ApiUser {
    /// Whether the user has this address, ignoring case.
    pub(crate) fn has_email(&self, email: &str) -> bool {
        self.email.as_deref().is_some_and(|own| own.to_lowercase() == email.to_lowercase())
    }
}

impl fmt::Debug for ApiUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiUser")
            .field("sid", &self.sid)
            .field("legacy_id", &self.legacy_id)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> ApiUser {
        ApiUser::deserialize(value).unwrap_or_default()
    }

    #[test]
    fn a_sid_is_always_one_path_segment() {
        for good in ["user_0123456789abcdef0123456789abcdef", "u", "a.b", "a:b@c", "a b"] {
            assert_eq!(Sid::parse(good).map(|sid| sid.0).as_deref(), Some(good));
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a%2fb",
            "a;b",
            " a",
            "a\n",
            "é",
            &"a".repeat(256),
        ] {
            assert_eq!(Sid::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_legacy_id_is_a_number_or_a_text_and_never_zero() {
        for (given, id) in [
            (json!(57), Some(57)),
            (json!("57"), Some(57)),
            (json!(0), None),
            (json!("0"), None),
            (json!("u57"), None),
            (json!(5.7), None),
            (json!(4_000_000_000_u64), None),
            (json!(null), None),
        ] {
            let user = read(&json!({"legacy_id": given}));
            assert_eq!(user.legacy_id.map(UserId::get), id, "{given}");
        }
        assert_eq!(read(&json!({"email": ["a"], "active": "yes", "id": {"a": [1]}})), ApiUser::default());
    }

    #[test]
    fn debug_output_has_no_personal_data() {
        let new = NewUser {
            email: "ada@example.com".to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            user_type: Some(UserType::Embed),
        };
        let made = read(&new.body());
        assert_eq!(made.email.as_deref(), Some("ada@example.com"));
        for text in [format!("{new:?}"), format!("{made:?}")] {
            assert!(!["ada", "Ada", "Lovelace"].iter().any(|name| text.contains(name)), "{text}");
        }
    }
}
