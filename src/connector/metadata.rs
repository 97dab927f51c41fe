//! The connector's metadata. Of all settings, it depends only on the resource types that they leave out
//! (decision fixed-capabilities).

use crate::connector::resource_type::ResourceSyncer;
use crate::connector::types;
use crate::proto::connector::connector_account_creation_schema::{Field, StringField, field};
use crate::proto::connector::{
    Capability, CapabilityDetailCredentialOption, CapabilityPermissions, ConnectorAccountCreationSchema,
    ConnectorCapabilities, ConnectorMetadata, CredentialDetails, CredentialDetailsAccountProvisioning,
    ResourceTypeCapability,
};
use crate::retool::privileges::Scope;

pub(super) fn metadata(syncers: &[Box<dyn ResourceSyncer>]) -> ConnectorMetadata {
    ConnectorMetadata {
        display_name: "Retool".to_owned(),
        description: "Retool connector".to_owned(),
        capabilities: Some(capabilities(syncers)),
        account_creation_schema: Some(account_creation_schema()),
        ..Default::default()
    }
}

/// The connector's capabilities by resource type, for a configuration with this scope.
pub(crate) fn capabilities_of(scope: Scope) -> ConnectorCapabilities {
    capabilities(&types::of_scope(scope))
}

fn capabilities(syncers: &[Box<dyn ResourceSyncer>]) -> ConnectorCapabilities {
    let mut syncers: Vec<_> = syncers.iter().map(Box::as_ref).collect();
    syncers.sort_by_key(|syncer| syncer.kind().type_id());
    ConnectorCapabilities {
        resource_type_capabilities: syncers.into_iter().map(of_type).collect(),
        connector_capabilities: [
            Capability::Provision,
            Capability::Sync,
            Capability::AccountProvisioning,
            Capability::Actions,
            Capability::TargetedSync,
            Capability::ServiceModeTargetedSync,
        ]
        .map(i32::from)
        .to_vec(),
        credential_details: Some(CredentialDetails {
            capability_account_provisioning: Some(CredentialDetailsAccountProvisioning {
                supported_credential_options: vec![CapabilityDetailCredentialOption::NoPassword.into()],
                preferred_credential_option: CapabilityDetailCredentialOption::NoPassword.into(),
            }),
            ..Default::default()
        }),
    }
}

fn of_type(syncer: &dyn ResourceSyncer) -> ResourceTypeCapability {
    ResourceTypeCapability {
        resource_type: Some(syncer.describe()),
        capabilities: syncer.capabilities().iter().copied().map(i32::from).collect(),
        permissions: Some(CapabilityPermissions::default()),
        ..Default::default()
    }
}

/// The fields of a new account: four texts without default values.
fn account_creation_schema() -> ConnectorAccountCreationSchema {
    let text = |order, display_name: &str, required, placeholder: &str, description: &str| Field {
        display_name: display_name.to_owned(),
        required,
        description: description.to_owned(),
        placeholder: placeholder.to_owned(),
        order,
        field: Some(field::Field::StringField(StringField::default())),
        ..Default::default()
    };
    let fields = [
        ("email", text(1, "Email", true, "email@example.com", "The address that the user signs in with.")),
        ("first_name", text(2, "First Name", true, "First Name", "The user's given name.")),
        ("last_name", text(3, "Last Name", true, "Last Name", "The user's family name.")),
        (
            "user_type",
            text(
                4,
                "User Type",
                false,
                "default",
                "The type of the user: default (billable), mobile or embed. If omitted, it is default.",
            ),
        ),
    ];
    ConnectorAccountCreationSchema {
        field_map: fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect(),
    }
}
