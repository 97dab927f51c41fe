//! The requested one-shot operation, from its settings.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// One change or query, with ids. `Debug` shows only the operation, because some of them contain personal
/// data.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Given")]
pub(crate) enum OneShot {
    /// Grants an entitlement to a principal.
    Grant {
        /// The entitlement's id.
        entitlement: String,
        /// The principal's id.
        principal: String,
        /// The principal's resource type.
        principal_type: String,
    },
    /// Revokes a grant.
    Revoke {
        /// The grant's id.
        grant: String,
    },
    /// Creates an account.
    CreateAccount {
        /// The login.
        login: String,
        /// The e-mail address.
        email: Option<String>,
        /// The profile, a JSON object.
        profile: Option<String>,
        /// The resource type.
        resource_type: String,
    },
    /// Runs an action to its end.
    InvokeAction {
        /// Its name.
        name: String,
        /// Its arguments, a JSON object.
        args: Option<String>,
        /// The resource type that it belongs to, or empty.
        resource_type: String,
    },
    /// Lists the actions.
    ListActions {
        /// Only actions of this resource type; empty for actions without a resource type.
        resource_type: String,
    },
    /// Deletes a resource.
    DeleteResource {
        /// Its id.
        id: String,
        /// Its type.
        resource_type: String,
    },
    /// Rotates the credentials of a resource.
    RotateCredentials {
        /// Its id.
        id: String,
        /// Its type.
        resource_type: String,
    },
    /// Lists events.
    Events {
        /// The feed; empty for the default one.
        feed: String,
        /// The start of the range, in RFC 3339 format.
        start_at: Option<String>,
        /// The cursor at which to continue, or empty.
        cursor: String,
    },
    /// Lists the ticket schemas.
    ListTicketSchemas,
    /// Creates one ticket.
    CreateTicket {
        /// The file that describes it.
        template: PathBuf,
    },
    /// Creates several tickets.
    CreateTickets {
        /// The file that describes them.
        template: PathBuf,
    },
    /// Shows a ticket.
    GetTicket {
        /// Its id.
        id: String,
    },
}

/// One field for each setting.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Given {
    grant_entitlement: Option<String>,
    #[serde(default)]
    grant_principal: String,
    #[serde(default)]
    grant_principal_type: String,
    revoke_grant: Option<String>,
    create_account_login: Option<String>,
    create_account_email: Option<String>,
    create_account_profile: Option<String>,
    create_account_resource_type: Option<String>,
    invoke_action: Option<String>,
    invoke_action_args: Option<String>,
    #[serde(default)]
    invoke_action_resource_type: String,
    list_action_schemas: bool,
    #[serde(default)]
    list_action_schemas_resource_type: String,
    delete_resource: Option<String>,
    #[serde(default)]
    delete_resource_type: String,
    rotate_credentials: Option<String>,
    #[serde(default)]
    rotate_credentials_type: String,
    event_feed: bool,
    #[serde(default)]
    event_feed_id: String,
    event_feed_start_at: Option<String>,
    #[serde(default)]
    event_feed_cursor: String,
    list_ticket_schemas: bool,
    create_ticket: bool,
    #[serde(default)]
    ticket_template_path: PathBuf,
    bulk_create_ticket: bool,
    #[serde(default)]
    bulk_ticket_template_path: PathBuf,
    #[serde(default)]
    ticket_id: String,
}

impl OneShot {
    /// The name of the operation.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::Grant { .. } => "grant",
            Self::Revoke { .. } => "revoke",
            Self::CreateAccount { .. } => "create_account",
            Self::InvokeAction { .. } => "invoke_action",
            Self::ListActions { .. } => "list_action_schemas",
            Self::DeleteResource { .. } => "delete_resource",
            Self::RotateCredentials { .. } => "rotate_credentials",
            Self::Events { .. } => "event_feed",
            Self::ListTicketSchemas => "list_ticket_schemas",
            Self::CreateTicket { .. } => "create_ticket",
            Self::CreateTickets { .. } => "bulk_create_ticket",
            Self::GetTicket { .. } => "get_ticket",
        }
    }

    /// Whether the operation is a query.
    pub(crate) fn is_a_query(&self) -> bool {
        matches!(
            self,
            Self::ListActions { .. } | Self::Events { .. } | Self::ListTicketSchemas | Self::GetTicket { .. }
        )
    }

    /// Whether the operation concerns tickets.
    pub(crate) fn is_about_tickets(&self) -> bool {
        matches!(
            self,
            Self::ListTicketSchemas
                | Self::CreateTicket { .. }
                | Self::CreateTickets { .. }
                | Self::GetTicket { .. }
        )
    }
}

impl fmt::Debug for OneShot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation())
    }
}

impl From<Given> for OneShot {
    /// The reader of the settings ensures that exactly one operation is requested.
    fn from(given: Given) -> Self {
        let account = [
            &given.create_account_login,
            &given.create_account_email,
            &given.create_account_profile,
            &given.create_account_resource_type,
        ];
        if let Some(entitlement) = given.grant_entitlement {
            let (principal, principal_type) = (given.grant_principal, given.grant_principal_type);
            Self::Grant { entitlement, principal, principal_type }
        } else if let Some(grant) = given.revoke_grant {
            Self::Revoke { grant }
        } else if account.into_iter().any(Option::is_some) {
            Self::CreateAccount {
                login: given.create_account_login.unwrap_or_default(),
                email: given.create_account_email,
                profile: given.create_account_profile,
                resource_type: given.create_account_resource_type.unwrap_or_default(),
            }
        } else if let Some(name) = given.invoke_action {
            let (args, resource_type) = (given.invoke_action_args, given.invoke_action_resource_type);
            Self::InvokeAction { name, args, resource_type }
        } else if given.list_action_schemas {
            Self::ListActions { resource_type: given.list_action_schemas_resource_type }
        } else if let Some(id) = given.delete_resource {
            Self::DeleteResource { id, resource_type: given.delete_resource_type }
        } else if let Some(id) = given.rotate_credentials {
            Self::RotateCredentials { id, resource_type: given.rotate_credentials_type }
        } else if given.event_feed {
            let (start_at, cursor) = (given.event_feed_start_at, given.event_feed_cursor);
            Self::Events { feed: given.event_feed_id, start_at, cursor }
        } else if given.list_ticket_schemas {
            Self::ListTicketSchemas
        } else if given.create_ticket {
            Self::CreateTicket { template: given.ticket_template_path }
        } else if given.bulk_create_ticket {
            Self::CreateTickets { template: given.bulk_ticket_template_path }
        } else {
            Self::GetTicket { id: given.ticket_id }
        }
    }
}
