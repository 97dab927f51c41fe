//! One-shot operations: a single change or query on the command line, instead of a sync. An agent of
//! ConductorOne would receive the same operation as a task.
//!
//! [`OneShot`] is the requested operation, with ids; `lookup` resolves the ids, in a file or in the
//! connector. The operations support any connector: the agent uses the protocol over a `Channel`.

mod actions;
mod answer;
mod changes;
mod error;
mod events;
mod lookup;
mod settings;
mod tickets;

use tonic::transport::Channel;

pub(crate) use answer::{Answer, Outcome};
pub(crate) use error::OneShotError;
pub(crate) use lookup::{IdForms, Lookup};
pub(crate) use settings::OneShot;

/// Performs the operation on a connector and waits until it is done.
///
/// # Errors
/// [`OneShotError`] if the operation failed.
pub(crate) async fn run(
    asked: OneShot,
    lookup: &Lookup<'_>,
    connector: &Channel,
) -> Result<Answer, OneShotError> {
    match asked {
        OneShot::Grant { entitlement, principal, principal_type } => {
            changes::grant(lookup, connector, &entitlement, principal, principal_type).await
        }
        OneShot::Revoke { grant } => changes::revoke(lookup, connector, &grant).await,
        OneShot::CreateAccount { login, email, profile, resource_type } => {
            let account = changes::account(login, email, profile.as_deref())?;
            changes::create_account(connector, account, resource_type).await
        }
        OneShot::InvokeAction { name, args, resource_type } => {
            actions::invoke(connector, name, args.as_deref(), resource_type).await
        }
        OneShot::ListActions { resource_type } => actions::list(connector, resource_type).await,
        OneShot::DeleteResource { id, resource_type } => {
            changes::delete_resource(connector, id, resource_type).await
        }
        OneShot::RotateCredentials { id, resource_type } => {
            changes::rotate_credentials(connector, id, resource_type).await
        }
        OneShot::Events { feed, start_at, cursor } => {
            events::list(connector, feed, start_at.as_deref(), cursor).await
        }
        OneShot::ListTicketSchemas => tickets::list_schemas(connector).await,
        OneShot::CreateTicket { template } => tickets::create(connector, &template).await,
        OneShot::CreateTickets { template } => tickets::bulk_create(connector, &template).await,
        OneShot::GetTicket { id } => tickets::get(connector, id).await,
    }
}
