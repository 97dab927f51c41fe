//! Accounts as the REST API spells them.

use std::fmt;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::retool::api::message::Hidden;
use crate::retool::id::UserId;

/// What names an account to the API: `users.sid`, such as `user_` and 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sid(String);

impl Sid {
    /// Longest sid in bytes; the column holds no longer one.
    const LONGEST: usize = 255;

    /// Reads a sid. `None` for anything that would not be one part of a URL's path, whatever it is made of.
    pub fn parse(text: &str) -> Option<Self> {
        let odd = |byte: u8| !(b' '..=b'~').contains(&byte) || b"/\\?#%;".contains(&byte);
        let fits = !text.is_empty()
            && text.len() <= Self::LONGEST
            && text.trim() == text
            && !text.bytes().all(|byte| byte == b'.')
            && !text.bytes().any(odd);
        fits.then(|| Self(text.to_owned()))
    }

    /// As the database and the API spell it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which kind of user an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserType {
    /// Uses and builds apps; billed.
    Default,
    /// Uses mobile apps only.
    Mobile,
    /// Uses embedded apps only.
    Embed,
}

impl UserType {
    /// Every type, the usual one first.
    pub const ALL: [Self; 3] = [Self::Default, Self::Mobile, Self::Embed];

    /// The API's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Mobile => "mobile",
            Self::Embed => "embed",
        }
    }

    /// The type with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|user_type| user_type.as_str() == word)
    }
}

/// An account to be made. Its `Debug` says nothing about the person.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// An e-mail address.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Left out, Retool decides, which is as good as `default`.
    pub user_type: Option<UserType>,
}

impl NewUser {
    /// What the API takes: unknown keys are refused, so there are no others.
    pub(super) fn body(&self) -> Value {
        let fields = [
            ("email", Some(self.email.as_str())),
            ("first_name", Some(self.first_name.as_str())),
            ("last_name", Some(self.last_name.as_str())),
            ("user_type", self.user_type.map(UserType::as_str)),
        ];
        let given = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into())));
        Value::Object(given.collect::<Map<_, _>>())
    }

    pub(super) fn hidden(&self) -> Hidden {
        Hidden::words([self.email.as_str(), &self.first_name, &self.last_name])
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewUser").field("user_type", &self.user_type).finish_non_exhaustive()
    }
}

/// An account as the API tells of it. Fields that are not there, or not as they should be, are `None`. Its
/// `Debug` says nothing about the person.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ApiUser {
    /// `users.sid`
    pub sid: Option<Sid>,
    /// `users.id`; a number in some versions of the API and a text in others (D31).
    pub legacy_id: Option<UserId>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Whether the user may sign in.
    pub active: Option<bool>,
    /// `default`, `mobile` or `embed`.
    pub user_type: Option<String>,
    /// When the account was made.
    pub created_at: Option<OffsetDateTime>,
    /// When it was last used.
    pub last_active: Option<OffsetDateTime>,
}

impl ApiUser {
    /// Reads a user; `None` for anything but an object.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let time = |key: &str| text(key).and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let legacy_id = object.get("legacy_id").and_then(|id| match id {
            Value::Number(number) => number.as_i64(),
            Value::String(digits) => digits.parse().ok(),
            _ => None,
        });
        Some(Self {
            sid: text("id").and_then(Sid::parse),
            legacy_id: legacy_id.and_then(|id| UserId::try_from(id).ok()),
            email: text("email").map(str::to_owned),
            first_name: text("first_name").map(str::to_owned),
            last_name: text("last_name").map(str::to_owned),
            active: object.get("active").and_then(Value::as_bool),
            user_type: text("user_type").map(str::to_owned),
            created_at: time("created_at"),
            last_active: time("last_active"),
        })
    }

    /// Whether this is the user with that address, without regard to case.
    pub fn has_email(&self, email: &str) -> bool {
        self.email.as_deref().is_some_and(|own| own.to_lowercase() == email.to_lowercase())
    }
}

impl fmt::Debug for ApiUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ApiUser")
            .field("sid", &self.sid)
            .field("legacy_id", &self.legacy_id)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sid_never_leaves_its_place_in_the_path() {
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
    fn d31_a_legacy_id_is_a_number_or_a_text_and_never_zero() {
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
            let user = ApiUser::read(&json!({"legacy_id": given})).unwrap_or_default();
            assert_eq!(user.legacy_id.map(UserId::get), id, "{given}");
        }
        assert_eq!(ApiUser::read(&json!({})), Some(ApiUser::default()));
        assert_eq!(ApiUser::read(&json!([])), None);
    }

    #[test]
    fn nobody_is_in_a_debug_text() {
        let new = NewUser {
            email: "ada@example.com".to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            user_type: Some(UserType::Embed),
        };
        let made = ApiUser::read(&new.body()).unwrap_or_default();
        assert_eq!(made.email.as_deref(), Some("ada@example.com"));
        for text in [format!("{new:?}"), format!("{made:?}")] {
            assert!(!["ada", "Ada", "Lovelace"].iter().any(|name| text.contains(name)), "{text}");
        }
    }
}
