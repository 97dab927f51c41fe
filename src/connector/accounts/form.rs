//! Reads the form of a new account. Invalid fields are reported before Retool is called.

use prost_types::Value;
use prost_types::value::Kind;

use crate::connector::error::Error;
use crate::proto::connector::CreateAccountRequest;
use crate::proto::validate::is_email;
use crate::retool::api::user::{NewUser, UserType};

/// Longest text in characters, which is the limit of Retool's columns.
const LONGEST: usize = 255;

const EMAIL: &str = "account_info.profile.email";
const FIRST_NAME: &str = "account_info.profile.first_name";
const LAST_NAME: &str = "account_info.profile.last_name";
const USER_TYPE: &str = "account_info.profile.user_type";

/// Reads the requested account. Only the profile is used; texts are trimmed.
///
/// # Errors
/// [`Error::Argument`] with the first invalid field. No value is repeated.
pub(super) fn new_user(request: &CreateAccountRequest) -> Result<NewUser, Error> {
    let email = required(request, EMAIL)?;
    if !is_email(email) {
        return Err(wrong(EMAIL, "must be one e-mail address, without a display name"));
    }
    Ok(NewUser {
        email: email.to_owned(),
        first_name: required(request, FIRST_NAME)?.to_owned(),
        last_name: required(request, LAST_NAME)?.to_owned(),
        user_type: match text(request, USER_TYPE)? {
            Some(word) => Some(
                UserType::from_word(word)
                    .ok_or_else(|| wrong(USER_TYPE, "must be default, mobile or embed, or omitted"))?,
            ),
            None => None,
        },
    })
}

fn required<'a>(request: &'a CreateAccountRequest, field: &'static str) -> Result<&'a str, Error> {
    text(request, field)?.ok_or_else(|| wrong(field, "is required"))
}

/// The text of a profile field; `None` if it is absent or blank.
fn text<'a>(request: &'a CreateAccountRequest, field: &'static str) -> Result<Option<&'a str>, Error> {
    let key = field.rsplit('.').next().unwrap_or_default();
    let profile = request.account_info.as_ref().and_then(|info| info.profile.as_ref());
    let kind = profile.and_then(|profile| profile.fields.get(key)).and_then(|Value { kind }| kind.as_ref());
    let text = match kind {
        None | Some(Kind::NullValue(_)) => return Ok(None),
        Some(Kind::StringValue(text)) => text.trim(),
        Some(Kind::NumberValue(_)) => return Err(wrong(field, "must be a string, is a number")),
        Some(Kind::BoolValue(_)) => return Err(wrong(field, "must be a string, is a boolean")),
        Some(Kind::StructValue(_)) => return Err(wrong(field, "must be a string, is an object")),
        Some(Kind::ListValue(_)) => return Err(wrong(field, "must be a string, is a list")),
    };
    if text.chars().nth(LONGEST).is_some() {
        return Err(wrong(field, "must have at most 255 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong(field, "must be one line without control characters"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn wrong(field: &'static str, problem: &'static str) -> Error {
    Error::Argument { field, problem: problem.into() }
}
