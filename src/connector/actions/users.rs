//! Enables and disables an account through Retool's REST API, and verifies the result.

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::connector::actions::action::Action;
use crate::connector::actions::runs::RunResult;
use crate::connector::audit::Record;
use crate::connector::change::answer::Completed;
use crate::connector::context::Context;
use crate::connector::error::Error;
use crate::connector::ids;
use crate::connector::resource_kind::Spelled;
use crate::proto::connector::ResourceId;
use crate::repeats::Verdict;
use crate::retool::api::error::{ApiError, Problem};
use crate::retool::api::rate_limit::RateLimit;
use crate::retool::api::user::{ApiUser, Sid};
use crate::retool::api::{Answer, Api};
use crate::retool::change::{Mode, Outcome, Refusal};
use crate::retool::id::UserId;
use crate::retool::tables::{admins, users};

/// The argument of both actions.
const USER_ID: &str = "args.user_id";
/// Appended to an error after which the account may be in either state.
const UNCERTAIN: &str = "; the account may have been changed anyway, and retrying is safe";

/// Brings the account into the state that the action requests.
///
/// # Errors
/// Any cause that prevented the change or its verification.
pub(super) async fn run(
    context: &Context,
    action: Action,
    user: UserId,
    record: &mut Record,
    rate_limit: &mut Option<RateLimit>,
) -> Result<(RunResult, Completed), Error> {
    record.principal(Spelled(user).to_string());
    let api = context.api()?;
    users::require_sids(&context.database).await?;
    let account = users::account(&context.database, user).await?.ok_or(Refusal::NoUser(user))?;
    let sid = Sid::parse(&account.sid).ok_or(Refusal::NoSid(user))?;
    // Held until the end. When two runs disable the last two administrators, the second run must see the
    // change of the first. The lock works within this process only; it does not wait for other replicas.
    let _alone = match action {
        Action::DisableUser => keep_an_admin(context, user).await?,
        Action::EnableUser => None,
    };
    let enable = action.enables();
    let completed = |outcome| Completed { outcome, before: word(account.enabled), after: word(enable) };
    if context.mode == Mode::DryRun {
        return Ok(if account.enabled == enable {
            (RunResult::Unchanged { mode: context.mode }, completed(Outcome::Unchanged))
        } else {
            let verb = if enable { "enable" } else { "disable" };
            let would = format!("{verb} the account of user {}", Spelled(user));
            (RunResult::DryRun { would }, completed(Outcome::DryRun))
        });
    }
    record.announce(context.mode).await?;
    set(api, &sid, enable, record, rate_limit).await?;
    Ok(if account.enabled == enable {
        (RunResult::Unchanged { mode: context.mode }, completed(Outcome::Unchanged))
    } else {
        (RunResult::Complete, completed(Outcome::Changed))
    })
}

fn word(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

/// The user in the arguments: a resource id in either spelling.
///
/// # Errors
/// [`Error::Argument`], [`Error::MalformedId`]
pub(super) fn user_id(args: Option<&Struct>) -> Result<UserId, Error> {
    let wrong = |problem: &'static str| Error::Argument { field: USER_ID, problem: problem.into() };
    let given = args.and_then(|args| args.fields.get("user_id")).and_then(|value| value.kind.as_ref());
    let fields = match given {
        Some(Kind::StructValue(id)) => &id.fields,
        None | Some(Kind::NullValue(_)) => {
            return Err(wrong(
                "is required: a resource id such as {\"resource_type_id\": \"user\", \"resource_id\": \"u42\"}",
            ));
        }
        Some(_) => return Err(wrong("must be an object with resource_type_id and resource_id")),
    };
    let text = |[first, second]: [&str; 2]| -> Result<String, Error> {
        let there = |key: &str| fields.get(key).filter(|value| !is_empty(value));
        match there(first).or_else(|| there(second)).and_then(|value| value.kind.as_ref()) {
            Some(Kind::StringValue(text)) => Ok(text.clone()),
            Some(_) => {
                Err(Error::Argument { field: USER_ID, problem: format!("{first} must be a string").into() })
            }
            None => Err(Error::Argument { field: USER_ID, problem: format!("{first} is required").into() }),
        }
    };
    let resource_type = text(["resource_type_id", "resource_type"])?;
    let resource = text(["resource_id", "resource"])?;
    ids::parse(&ResourceId { resource_type, resource, ..Default::default() })
}

fn is_empty(value: &Value) -> bool {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => true,
        Some(Kind::StringValue(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// Refuses to disable the last administrator of an organization. With several administrators, waits for runs
/// that disable another one, and then checks again.
async fn keep_an_admin(
    context: &Context,
    user: UserId,
) -> Result<Option<tokio::sync::RwLockWriteGuard<'_, ()>>, Error> {
    if admins::groups_of(&context.database, user).await?.is_empty() {
        return Ok(None);
    }
    let alone = context.admin_lock.write().await;
    let groups = admins::groups_of(&context.database, user).await?;
    match groups.iter().find(|group| group.others == 0) {
        Some(last) => Err(Refusal::LastAdmin { group: last.group, user }.into()),
        None => Ok(Some(alone)),
    }
}

/// Requests the change from Retool. Succeeds only if Retool confirms the new state, in its response or when
/// it is read again.
async fn set(
    api: &Api,
    sid: &Sid,
    enable: bool,
    record: &Record,
    rate_limit: &mut Option<RateLimit>,
) -> Result<(), Error> {
    let answer = note(rate_limit, api.set_active(sid, enable).await);
    let unproven = match answer {
        Ok(user) if is_about(&user, sid) && user.active == Some(enable) => return Ok(()),
        Ok(user) => Error::Unverified { found: user.active.filter(|_| is_about(&user, sid)) },
        Err(error) if is_final(&error) => return Err(error.into()),
        Err(error) => {
            let uncertain = if error.may_have_happened() { UNCERTAIN } else { "" };
            Error::Rest { error, uncertain }
        }
    };
    // The rate limits of the first response count unless a later one replaces them.
    let mut later = None;
    let found = note(&mut later, api.user(sid).await);
    match found {
        Ok(user) if is_about(&user, sid) && user.active == Some(enable) => {
            *rate_limit = later;
            Ok(())
        }
        Ok(user) => Err(match unproven {
            Error::Unverified { .. } => {
                Error::Unverified { found: user.active.filter(|_| is_about(&user, sid)) }
            }
            other => other,
        }),
        Err(error) => {
            let error = Error::from(error);
            if let Verdict::Log { left_out } = record.judge_warning("verify") {
                tracing::warn!(%error, left_out, "could not check whether the account was changed");
            }
            Err(unproven)
        }
    }
}

/// Stores the rate limits of the last response, on success and on failure.
fn note<T>(noted: &mut Option<RateLimit>, answer: Result<Answer<T>, ApiError>) -> Result<T, ApiError> {
    match answer {
        Ok(answer) => {
            *noted = Some(answer.rate_limit);
            Ok(answer.value)
        }
        Err(error) => {
            *noted = Some(error.rate_limit);
            Err(error)
        }
    }
}

/// Whether the response is about this account. A response about another account proves nothing; one without a
/// sid is assumed to be about this account.
fn is_about(user: &ApiUser, sid: &Sid) -> bool {
    user.sid.as_ref().is_none_or(|own| own == sid)
}

/// Whether the response proves that nothing was changed.
fn is_final(error: &ApiError) -> bool {
    match &error.problem {
        Problem::Refused { status, .. } => matches!(status, 401 | 403 | 404 | 429),
        Problem::Unreachable { .. } | Problem::Untrusted { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{number, string, structure};

    fn args(fields: &[(&str, Value)]) -> Struct {
        let id = structure(fields.iter().map(|(key, value)| (*key, value.clone())));
        structure([("user_id", Value { kind: Some(Kind::StructValue(id)) })])
    }

    fn read(fields: &[(&str, Value)]) -> Result<i32, String> {
        user_id(Some(&args(fields))).map(UserId::get).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_both_spellings_of_a_resource_id_and_prefers_the_first() {
        let (user, id) = (string("user"), string("u42"));
        for fields in [
            [("resource_type_id", user.clone()), ("resource_id", id.clone())],
            [("resource_type", user.clone()), ("resource", id.clone())],
            [("resource_type", user.clone()), ("resource_id", id.clone())],
        ] {
            assert_eq!(read(&fields), Ok(42));
        }
        let both = [
            ("resource_type_id", user.clone()),
            ("resource_type", string("group")),
            ("resource_id", string("")),
            ("resource", id),
            ("baton_resource", Value { kind: Some(Kind::BoolValue(true)) }),
        ];
        assert_eq!(read(&both), Ok(42));
    }

    #[test]
    fn any_other_user_id_is_an_invalid_argument() {
        let user = ("resource_type_id", string("user"));
        for (id, words) in [
            (string("g42"), "not an id of type user"),
            (string("u042"), "not an id of type user"),
            (string("u-5"), "not an id of type user"),
            (string("42"), "not an id of type user"),
            (number(42.0), "resource_id must be a string"),
            (string(""), "resource_id is required"),
        ] {
            let error = read(&[user.clone(), ("resource_id", id)]).err().unwrap_or_default();
            assert!(error.contains(words), "{error}");
        }
        let error = read(&[("resource_id", string("u42"))]).err().unwrap_or_default();
        assert!(error.contains("resource_type_id is required"), "{error}");
        let error = read(&[("resource_type_id", string("group")), ("resource_id", string("u42"))]);
        assert!(error.err().unwrap_or_default().contains("not an id of type user"));
        for args in [None, Some(structure([("user_id", string("u42"))])), Some(Struct::default())] {
            assert!(matches!(user_id(args.as_ref()), Err(Error::Argument { field: USER_ID, .. })));
        }
    }
}
