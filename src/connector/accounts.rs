//! Creates accounts through Retool's REST API (decision accounts-by-rest).
//!
//! The account may already exist, Retool does not document how it reports that, and the response may be lost.
//! A refused request therefore leads to a look-up (decision existing-accounts). A new account is read back
//! from the database, where the next listing finds it.

mod form;

use std::time::Duration;

use backon::Retryable;
use prost_types::Any;
use tokio::time::timeout;

use crate::connector::audit::{Caller, Record};
use crate::connector::change::answer::{Completed, dry_run};
use crate::connector::context::Context;
use crate::connector::error::Error;
use crate::connector::resource_kind::{ResourceKind, Spelled};
use crate::connector::types::user;
use crate::connector::{Connector, rate_limit};
use crate::proto::connector::create_account_response::{
    ActionRequiredResult, AlreadyExistsResult, InProgressResult, Result as Answered, SuccessResult,
};
use crate::proto::connector::credential_options::Options;
use crate::proto::connector::{CreateAccountRequest, CreateAccountResponse, CredentialOptions, Resource};
use crate::repeats::Verdict;
use crate::retool::api::Api;
use crate::retool::api::error::{ApiError, Problem};
use crate::retool::api::rate_limit::RateLimit;
use crate::retool::api::user::{ApiUser, NewUser, UserType};
use crate::retool::change::{Mode, Outcome};
use crate::retool::id::OrganizationId;
use crate::retool::tables::users::User;
use crate::retool::tables::{Page, Users, organizations, users};

/// Waits between attempts to find a new account in the database: about five seconds in total.
const READ_BACK: [Duration; 7] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(1500),
    Duration::from_millis(1600),
];
/// Timeout of these attempts, including the database's response times.
const LONGEST_READ_BACK: Duration = Duration::from_secs(6);
/// Limit of the pages that a look-up reads. A Retool that ignores the filter lists all users.
const MAX_PAGES: usize = 20;
/// Appended to an error after which the account may exist.
const UNCERTAIN: &str = "; the account may have been created anyway, and retrying is safe";
/// Appended to a refusal because the address is taken.
const UNKNOWN_WHICH: &str =
    "; another account has the address, and looking it up failed: search for it in Retool, or retry";

impl Connector {
    /// Creates an account in Retool, or returns the existing account with the address.
    ///
    /// # Errors
    /// [`Error::ProvisioningDisabled`], [`Error::NotImplemented`], [`Error::Argument`], [`Error::NoRest`],
    /// [`Error::Rest`], [`Error::Database`]
    pub(crate) async fn create_account(
        &self,
        request: &CreateAccountRequest,
        caller: &Caller,
    ) -> Result<CreateAccountResponse, Error> {
        let changes = &self.context.changes;
        let mut record = Record::begin(changes, "create_account", caller, String::new(), String::new());
        let created = match self.gate() {
            Ok(()) => create(&self.context, request, &mut record).await,
            Err(error) => Err(error),
        };
        record.close(created.as_ref().map(|(_, completed)| completed)).await;
        created.map(|(response, _)| response)
    }
}

/// Creates the account, or finds the existing one.
///
/// # Errors
/// The request is invalid, or Retool did not create the account and has none with this address.
async fn create(
    context: &Context,
    request: &CreateAccountRequest,
    record: &mut Record,
) -> Result<(CreateAccountResponse, Completed), Error> {
    accept_type(&request.resource_type_id)?;
    accept_credential(request.credential_options.as_ref())?;
    let new = form::new_user(request)?;
    let api = context.api()?;
    // Checked before the account is created, because a new account could not be found without the sids.
    users::require_sids(&context.database).await?;
    if context.mode == Mode::DryRun {
        return rehearse(context, api, &new, record).await;
    }
    record.announce(context.mode).await?;
    match api.create_user(&new).await {
        Ok(answer) => {
            let made = Some(&answer.value).filter(|made| is_for(made, &new));
            if made.is_none()
                && let Verdict::Log { left_out } = record.judge_warning("other_account")
            {
                tracing::warn!(
                    left_out,
                    "Retool's REST API answered with an account that has another address"
                );
            }
            // A slow database counts as one that does not show the account.
            let row = timeout(LONGEST_READ_BACK, read_back(context, made, &new, record)).await;
            let row = row.ok().flatten();
            Ok(created(context, row, made, answer.rate_limit, record).await)
        }
        Err(error) if may_be_a_duplicate(&error) => {
            let mut rate_limit = error.rate_limit;
            let (found, undecided) = match find(api, &new, &mut rate_limit).await {
                Ok(found) => (found, None),
                Err(look_up) => (None, Some(look_up)),
            };
            let taken = matches!(error.problem, Problem::Refused { status: 409, .. });
            match (existing(context, found, &new, taken).await?, undecided) {
                (Some(found), _) => Ok(already_exists(found, Some(rate_limit), record)),
                (None, None) => Err(ApiError { rate_limit, ..error }.into()),
                (None, Some(look_up)) if taken => {
                    let look_up = Error::from(look_up);
                    if let Verdict::Log { left_out } = record.judge_warning("look_up") {
                        let error = &look_up;
                        tracing::warn!(%error, left_out, "could not look up the account that has the address");
                    }
                    let error = ApiError { rate_limit, ..error };
                    Err(Error::Rest { error, uncertain: UNKNOWN_WHICH })
                }
                // It is unknown whether Retool has the account. Nothing was created, so a retry is safe.
                (None, Some(look_up)) => Err(look_up.into()),
            }
        }
        Err(error) => {
            let uncertain = if error.may_have_happened() { UNCERTAIN } else { "" };
            Err(Error::Rest { error, uncertain })
        }
    }
}

fn accept_type(type_id: &str) -> Result<(), Error> {
    if type_id.is_empty() || type_id == ResourceKind::User.type_id() {
        return Ok(());
    }
    Err(Error::NotImplemented { what: "Retool has accounts of resource type user only" })
}

/// Retool invites users, who then choose how to sign in. Every option is therefore accepted, except a
/// password that the caller relies on.
fn accept_credential(options: Option<&CredentialOptions>) -> Result<(), Error> {
    let wrong =
        |problem: &'static str| Err(Error::Argument { field: "credential_options", problem: problem.into() });
    match options.map(|options| options.options.as_ref()) {
        None | Some(Some(Options::NoPassword(_) | Options::RandomPassword(_) | Options::Sso(_))) => Ok(()),
        Some(None) => wrong("must have one of its options set; set no_password"),
        Some(Some(Options::EncryptedPassword(_))) => {
            wrong("Retool's REST API accepts no password: set no_password")
        }
    }
}

/// Whether Retool may have refused because it has the account. How it reports that is not established.
fn may_be_a_duplicate(error: &ApiError) -> bool {
    matches!(error.problem, Problem::Refused { status: 400 | 409 | 422, .. } | Problem::Declined { .. })
}

/// The new account in the database; `None` if it does not appear in time.
async fn read_back(
    context: &Context,
    made: Option<&ApiUser>,
    new: &NewUser,
    record: &Record,
) -> Option<User> {
    // `Err(None)` means that the account has not appeared yet.
    let look = || async { row_of(context, made, new, false).await.map_err(Some)?.ok_or(None) };
    let warn = |missing: &Option<Error>| {
        if let Some(error) = missing
            && let Verdict::Log { left_out } = record.judge_warning("read_back")
        {
            tracing::warn!(%error, left_out, "could not look up the new account");
        }
    };
    let found = look.retry(READ_BACK.into_iter()).notify(|missing, _| warn(missing)).await;
    found.inspect_err(warn).ok()
}

/// The row of the account that the API returned, or of the account with the address.
async fn row_of(
    context: &Context,
    known: Option<&ApiUser>,
    new: &NewUser,
    taken: bool,
) -> Result<Option<User>, Error> {
    let database = &context.database;
    Ok(match known.map(|known| (&known.sid, known.legacy_id)) {
        Some((Some(sid), _)) => {
            users::get_by_sid(database, sid.as_str()).await?.filter(|row| has_address(row, &new.email))
        }
        Some((None, Some(id))) => {
            users::get(database, id, Users::All).await?.filter(|row| has_address(row, &new.email))
        }
        // The API covers one organization only. In another organization, the address belongs to another user,
        // unless Retool reports the address as taken and exactly one user has it.
        Some((None, None)) | None if taken || only_organization(context).await?.is_some() => {
            users::get_by_email(database, &new.email).await?
        }
        Some((None, None)) | None => None,
    })
}

fn has_address(row: &User, email: &str) -> bool {
    row.email.as_ref().is_some_and(|own| own.to_lowercase() == email.to_lowercase())
}

/// Whether the response describes an account with the requested address, or does not show its address. An
/// account with another address is not the new one, whatever its ids are.
fn is_for(made: &ApiUser, new: &NewUser) -> bool {
    made.email.is_none() || made.has_email(&new.email)
}

/// The organization, if there is exactly one.
async fn only_organization(context: &Context) -> Result<Option<OrganizationId>, Error> {
    Ok(match organizations::list(&context.database, Page { from: 0, limit: 2 }).await?.as_slice() {
        [only] => Some(only.id),
        _ => None,
    })
}

async fn created(
    context: &Context,
    row: Option<User>,
    made: Option<&ApiUser>,
    rate_limit: RateLimit,
    record: &mut Record,
) -> (CreateAccountResponse, Completed) {
    let found = match (row, made) {
        (Some(row), _) => Some(Found::InDatabase(row)),
        // Without the row the answer has no id, but the account exists.
        (None, Some(made)) => {
            provisional(context, made).await.inspect_err(|error| warn(error, record)).ok().flatten()
        }
        (None, None) => None,
    };
    let after = match &found {
        Some(Found::InDatabase(row)) => state(row.enabled),
        // Only Retool's answer shows that the account exists.
        Some(Found::InAnswer(_)) | None => "unverified",
    };
    let resource = found.as_ref().map(|found| known(found.user(), record));
    let answered = match found {
        Some(Found::InDatabase(_)) => Answered::Success(SuccessResult {
            resource,
            is_create_account_result: true,
            ..Default::default()
        }),
        Some(Found::InAnswer(_)) | None => {
            Answered::InProgress(InProgressResult { resource, is_create_account_result: true })
        }
    };
    let completed = Completed { outcome: Outcome::Changed, before: "absent", after };
    (response(answered, vec![rate_limit::annotation(&rate_limit)]), completed)
}

fn warn(error: &Error, record: &Record) {
    if let Verdict::Log { left_out } = record.judge_warning("provisional") {
        tracing::warn!(%error, left_out, "could not determine the id of the new account");
    }
}

/// Where an account was found.
enum Found {
    InDatabase(User),
    /// Only in Retool's response.
    InAnswer(User),
}

impl Found {
    fn user(&self) -> &User {
        match self {
            Self::InDatabase(user) | Self::InAnswer(user) => user,
        }
    }

    fn into_user(self) -> User {
        match self {
            Self::InDatabase(user) | Self::InAnswer(user) => user,
        }
    }
}

/// The account from Retool's response, while the database does not show it. `None` if the response has no
/// number, because the account would have no id.
///
/// # Errors
/// [`Error::DifferentRetools`] if another user has that number in the database; [`Error::Database`].
async fn provisional(context: &Context, made: &ApiUser) -> Result<Option<Found>, Error> {
    let Some(id) = made.legacy_id else { return Ok(None) };
    match users::get(&context.database, id, Users::All).await? {
        // The database shows it now.
        Some(row) if made.email.as_deref().is_some_and(|email| has_address(&row, email)) => {
            return Ok(Some(Found::InDatabase(row)));
        }
        Some(_) => return Err(Error::DifferentRetools),
        None => {}
    }
    // With one organization, the account belongs to it. With several, the API does not report which.
    let organization = only_organization(context).await.ok().flatten();
    Ok(Some(Found::InAnswer(User {
        id,
        organization,
        email: made.email.clone(),
        first_name: made.first_name.clone(),
        last_name: made.last_name.clone(),
        user_name: None,
        enabled: made.active.unwrap_or(true),
        last_logged_in: None,
        created_at: made.created_at,
        last_active: made.last_active,
        user_type: made.user_type.clone(),
    })))
}

/// The account with this address, if the API finds one. The result must match the address, ignoring case,
/// regardless of how the API compares.
async fn find(api: &Api, new: &NewUser, rate_limit: &mut RateLimit) -> Result<Option<ApiUser>, ApiError> {
    let lower = new.email.to_lowercase();
    let spellings = [Some(new.email.as_str()), Some(lower.as_str()).filter(|lower| *lower != new.email)];
    for spelling in spellings.into_iter().flatten() {
        let mut next = None;
        for _ in 0..MAX_PAGES {
            let answer = api.user_with_email(spelling, next.as_deref()).await.inspect_err(|error| {
                *rate_limit = error.rate_limit;
            })?;
            *rate_limit = answer.rate_limit;
            if answer.value.user.is_some() {
                return Ok(answer.value.user);
            }
            next = answer.value.next;
            if next.is_none() {
                break;
            }
        }
    }
    Ok(None)
}

/// The existing account in the database, found by the API or by its address. `taken` is true if Retool has
/// reported the address as taken.
async fn existing(
    context: &Context,
    found: Option<ApiUser>,
    new: &NewUser,
    taken: bool,
) -> Result<Option<User>, Error> {
    match (row_of(context, found.as_ref(), new, taken).await?, found) {
        (Some(row), _) => Ok(Some(row)),
        (None, Some(found)) => Ok(provisional(context, &found).await?.map(Found::into_user)),
        (None, None) => Ok(None),
    }
}

fn already_exists(
    row: User,
    rate_limit: Option<RateLimit>,
    record: &mut Record,
) -> (CreateAccountResponse, Completed) {
    let state = state(row.enabled);
    let resource = Some(known(&row, record));
    let answered = Answered::AlreadyExists(AlreadyExistsResult { resource, is_create_account_result: true });
    let annotations = rate_limit.iter().map(rate_limit::annotation).collect();
    (response(answered, annotations), Completed { outcome: Outcome::Unchanged, before: state, after: state })
}

/// Describes the change without making it.
async fn rehearse(
    context: &Context,
    api: &Api,
    new: &NewUser,
    record: &mut Record,
) -> Result<(CreateAccountResponse, Completed), Error> {
    let mut rate_limit = RateLimit::UNKNOWN;
    let found = find(api, new, &mut rate_limit).await?;
    if let Some(row) = existing(context, found, new, false).await? {
        let (mut response, completed) = already_exists(row, Some(rate_limit), record);
        response.annotations.insert(0, dry_run("change nothing"));
        return Ok((response, completed));
    }
    let user_type = new.user_type.unwrap_or(UserType::Default);
    let would = format!("create an account of type {} in Retool and invite its user", user_type.as_str());
    let answered = Answered::ActionRequired(ActionRequiredResult {
        message: format!("dry run: would {would}; nothing was done"),
        is_create_account_result: true,
        ..Default::default()
    });
    let completed = Completed { outcome: Outcome::DryRun, before: "absent", after: "created" };
    Ok((response(answered, vec![dry_run(&would), rate_limit::annotation(&rate_limit)]), completed))
}

/// The user as the next listing shows it. Also sets the principal of the change record.
fn known(row: &User, record: &mut Record) -> Resource {
    record.principal(Spelled(row.id).to_string());
    user::resource(row)
}

fn state(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

fn response(result: Answered, annotations: Vec<Any>) -> CreateAccountResponse {
    CreateAccountResponse { annotations, result: Some(result), ..Default::default() }
}
