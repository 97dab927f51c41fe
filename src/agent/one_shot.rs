//! One change, or one question, in place of a sync: what an agent of ConductorOne would be given as a task, asked for
//! on a command line.
//!
//! [`OneShot`] is what is asked for, by ids; `lookup` finds what they name, in a file or in the connector. Any connector
//! can be asked: the agent speaks the protocol over a `Channel`.

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

/// Asks a connector for it and waits until it is done.
///
/// # Errors
/// [`OneShotError`]: it was not done.
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
