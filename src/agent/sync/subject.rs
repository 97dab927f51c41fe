//! The subject of a call, for messages.

use std::fmt;

use crate::private_text::PrivateText;

/// A resource type, a resource, or a resource below another one.
///
/// The ids of a connector can be about people, for example if they are e-mail addresses. In `Display`, `...`
/// replaces an id, unless it is a lower-case letter followed by at most 10 digits, or a number of at most 6
/// digits, so that an error is safe to log. [`Error::for_caller`](crate::agent::sync::Error::for_caller)
/// includes it.
#[derive(Debug, Clone)]
pub struct Subject {
    whole: PrivateText,
    safe: String,
}

/// What is wrong with a response, with the resource that it is about, if there is one.
#[derive(Debug, Clone)]
pub struct Problem {
    about: Option<Subject>,
    text: String,
}

impl Problem {
    /// A problem of this subject, as the rest of a sentence.
    pub(crate) fn of(about: Subject, text: String) -> Self {
        Self { about: Some(about), text }
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self { about: None, text }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(about) = &self.about {
            write!(f, "{about} ")?;
        }
        f.write_str(&self.text)
    }
}

/// Replaces a part that is left out.
const LEFT_OUT: &str = "...";

impl Subject {
    /// One resource.
    pub(crate) fn resource(resource_type: &str, id: &str) -> Self {
        Self {
            whole: format!("{resource_type}/{id}").into(),
            safe: format!("{}/{}", safe_type(resource_type), safe_id(id)),
        }
    }

    /// All resources of a type.
    pub(crate) fn of_type(resource_type: &str) -> Self {
        Self {
            whole: format!("type {resource_type}").into(),
            safe: format!("type {}", safe_type(resource_type)),
        }
    }

    /// The subject, below a parent.
    pub(crate) fn below(self, parent: &Self) -> Self {
        let mut whole = String::new();
        for part in [&self, parent] {
            whole.push_str(if whole.is_empty() { "" } else { " below " });
            whole.push_str(&crate::private_text::reveal(part));
        }
        Self { whole: whole.into(), safe: format!("{} below {}", self.safe, parent.safe) }
    }
}

impl From<&'static str> for Subject {
    fn from(known: &'static str) -> Self {
        Self { whole: known.into(), safe: known.to_owned() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.whole.or(&self.safe))
    }
}

/// The id of a resource type, which is a word.
pub(crate) fn safe_type(id: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if id.len() <= 40 && id.bytes().all(is_plain) { id } else { LEFT_OUT }
}

/// The id if it is a letter and at most ten digits, or at most six digits, which is shorter than a phone
/// number. Otherwise a placeholder.
fn safe_id(id: &str) -> &str {
    let number = id.strip_prefix(|letter: char| letter.is_ascii_lowercase()).unwrap_or(id);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let longest = if number.len() < id.len() { 10 } else { 6 };
    if is_number && number.len() <= longest { id } else { LEFT_OUT }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_text::reveal;

    #[test]
    fn ids_that_can_be_about_people_are_shown_only_to_the_caller() {
        let below = |id: &str| Subject::of_type("user").below(&Subject::resource("org", id));
        assert_eq!(below("o1").to_string(), "type user below org/o1");
        assert_eq!(below("ann@example.com").to_string(), "type user below org/...");
        assert_eq!(reveal(&below("ann@example.com")), "type user below org/ann@example.com");
        for (id, shown) in [
            ("u10", "user/u10"),
            ("12", "user/12"),
            ("ann", "user/..."),
            ("u1234567890", "user/u1234567890"),
            ("ann1", "user/..."),
            ("4155550", "user/..."),
            ("Ann Lovelace", "user/..."),
            ("", "user/..."),
            ("4915112345678", "user/..."),
        ] {
            assert_eq!(Subject::resource("user", id).to_string(), shown);
        }
        assert_eq!(Subject::resource("Ann Lovelace", "u1").to_string(), ".../u1");
        assert_eq!(Subject::from("the connector").to_string(), "the connector");
        let problem = Problem::of(Subject::resource("user", "ann"), "lacks a name".to_owned());
        assert_eq!(problem.to_string(), "user/... lacks a name");
        assert_eq!(reveal(&problem), "user/ann lacks a name");
    }
}
