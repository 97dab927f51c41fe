//! The status of a call in a form that may be logged.
//!
//! The message of a status can contain text from the caller. The log therefore gets the text that is attached
//! to the status for it ([`crate::proto::log_text`]), or a fixed text per code for statuses of the libraries.

use std::borrow::Cow;

use http::{Extensions, HeaderMap};
use tonic::{Code, Status};

use crate::proto::log_text::log_text;

/// The result of a call, without any text from the caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LoggedStatus {
    pub(crate) code: Code,
    /// The reason; `None` on success.
    pub(crate) error: Option<Cow<'static, str>>,
}

/// Messages of the libraries that contain no input except numbers. The numbers are left out here.
const HARMLESS: [&str; 5] = [
    "Error, decoded message length too large: found  bytes, the limit is:  bytes",
    "Error, encoded message length too large: found  bytes, the limit is:  bytes",
    "Error decompressing: size limit, of  bytes, exceeded while decompressing message",
    "Internal Server Error",
    "service not registered",
];

impl LoggedStatus {
    /// The status in the headers or trailers of an answer; `None` if they have none. The extensions of the
    /// answer have the status as it was created.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Option<Self> {
        // A layer may have changed the code since, so the code in the headers is used.
        let sent = Status::from_header_map(headers)?;
        let code = sent.code();
        if code == Code::Ok {
            return Some(Self { code, error: None });
        }
        let text = extensions.get::<Status>().and_then(log_text);
        let error = match text {
            Some(text) => text.to_owned().into(),
            None if is_harmless(sent.message()) => sent.message().to_owned().into(),
            None => fixed_text(code).into(),
        };
        Some(Self { code, error: Some(error) })
    }

    /// The status of a call that was dropped before it was answered.
    pub(crate) fn without_answer(code: Code) -> Self {
        Self { code, error: Some(fixed_text(code).into()) }
    }
}

fn is_harmless(message: &str) -> bool {
    let without_numbers = message.replace(|character: char| character.is_ascii_digit(), "");
    HARMLESS.contains(&without_numbers.as_str())
}

/// The text for a code that a library has chosen.
fn fixed_text(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "the caller cancelled the call",
        Code::DeadlineExceeded => "the call took too long",
        Code::InvalidArgument => "reflection does not support the request",
        Code::NotFound => "reflection does not know the name",
        Code::Unimplemented => "the call does not exist, or its encoding is not supported",
        other => other.description(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::connector::error::{ArgumentProblem, Error};
    use crate::connector::page_token::Listing;
    use crate::connector::resource_kind::ResourceKind;
    use crate::retool::api::error::{ApiError, Problem};
    use crate::retool::api::rate_limit::RateLimit;

    /// The logged text for an answer with this status.
    fn logged(status: Status) -> String {
        let answer = status.into_http::<tonic::body::Body>();
        let status = LoggedStatus::of(answer.headers(), answer.extensions()).unwrap();
        status.error.unwrap().into_owned()
    }

    /// Caller input that must not appear in the log.
    const HOSTILE: [&str; 8] = [
        "ann@example.com",
        "x'ann@example.com",
        "'ann@example.com'",
        "\"ann@example.com",
        "\\\"ann@example.com\\",
        "`ann@example.com` is not",
        "a' 'ann@example.com' 'b",
        "\u{201c}ann@example.com\u{201d}\n",
    ];

    #[test]
    fn text_from_callers_is_not_logged() {
        let group = ResourceKind::Group;
        for given in HOSTILE.map(str::to_owned) {
            for (error, text) in [
                (
                    Error::UnknownAction { given: given.as_str().into() },
                    r#"action "..." does not exist; ListActionSchemas"#,
                ),
                (
                    Error::MalformedId { kind: group, given: given.as_str().into() },
                    r#""..." is not an id of type group"#,
                ),
                (Error::WrongParent { kind: group, given: given.as_str().into() }, r#"or absent, not "...""#),
                (Error::NotFound { kind: group, given: given.as_str().into() }, "group ... does not exist"),
                (Error::UnknownEventFeed { given: given.as_str().into() }, r#"feed id "..." not found"#),
                (
                    Error::UnknownRun { given: given.as_str().into(), kept: 7 },
                    r#"run "..." of an action does not exist: at most"#,
                ),
                (
                    Error::UnknownResourceType { given: given.as_str().into(), known: "org".to_owned() },
                    r#"type "..." does not exist; the resource types are: org"#,
                ),
                (
                    Error::Argument {
                        field: "entitlement.id",
                        problem: ArgumentProblem::UnknownEntitlement {
                            given: given.as_str().into(),
                            resource: given.as_str().into(),
                            known: "group:g7:member".to_owned(),
                        },
                    },
                    r#"entitlement.id: "..." is not an entitlement"#,
                ),
            ] {
                assert!(error.for_caller().contains("ann@example.com"), "{error}");
                let logged = logged(error.into());
                assert!(logged.contains(text) && !logged.contains("ann"), "{logged}");
            }
            for library in [
                Status::not_found(format!("symbol '{given}' not found")),
                Status::not_found(format!("file '{given}' not found")),
                Status::unimplemented(format!("Content is compressed with `{given}` which isn't supported")),
                Status::internal(format!("h2 protocol error: {given}")),
                Status::resource_exhausted(given.clone()),
                Status::unknown(given.clone()),
            ] {
                let code = library.code();
                assert_eq!(logged(library), fixed_text(code));
            }
        }
    }

    #[test]
    fn texts_of_retools_api_are_not_logged() {
        let said = "Ann Example already has this seat";
        for problem in [
            Problem::Refused { status: 400, message: Some(said.into()) },
            Problem::Declined { message: Some(said.into()) },
        ] {
            let error = ApiError { problem, rate_limit: RateLimit::UNKNOWN };
            let error = Error::Rest { error, uncertain: "" };
            assert!(error.for_caller().ends_with(&format!(": {said:?}")), "{}", error.for_caller());
            let logged = logged(error.into());
            assert!(logged.ends_with(": \"...\"") && logged.starts_with("Retool's REST API"), "{logged}");
        }
    }

    #[test]
    fn own_reasons_are_logged_in_full() {
        let token = Listing::new("ListUsers", &[]).position("stale").unwrap_err();
        for error in [Error::PageToken(token), Error::NoTickets, Error::PageSize { given: 251 }] {
            let message = error.to_string();
            assert_eq!(logged(error.into()), message);
        }
        for plain in [
            "Error, decoded message length too large: found 1025 bytes, the limit is: 1024 bytes",
            "service not registered",
        ] {
            assert_eq!(logged(Status::out_of_range(plain)), plain);
        }
    }

    #[test]
    fn the_code_comes_from_the_headers() {
        let mut answer = Status::out_of_range("").into_http::<tonic::body::Body>();
        answer.headers_mut().insert("grpc-status", "8".parse().unwrap());
        let status = LoggedStatus::of(answer.headers(), answer.extensions()).unwrap();
        assert_eq!(status.code, Code::ResourceExhausted);
        answer.headers_mut().insert("grpc-status", "0".parse().unwrap());
        let status = LoggedStatus::of(answer.headers(), answer.extensions());
        assert_eq!(status, Some(LoggedStatus { code: Code::Ok, error: None }));
        assert_eq!(LoggedStatus::of(&HeaderMap::new(), answer.extensions()), None);
    }
}
