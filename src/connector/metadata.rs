//! What the connector says of itself (spec 2.5). None of it depends on the settings but for the resource
//! types that they leave out.

use super::ids::ResourceKind;
use super::{group, organization, page, resource, user};
use crate::proto::connector::connector_account_creation_schema::{Field, StringField, field};
use crate::proto::connector::{
    Capability, CapabilityDetailCredentialOption, CapabilityPermissions, ConnectorAccountCreationSchema,
    ConnectorCapabilities, ConnectorMetadata, CredentialDetails, CredentialDetailsAccountProvisioning,
    ResourceType, ResourceTypeCapability,
};

pub(super) fn metadata(kinds: impl Iterator<Item = ResourceKind>) -> ConnectorMetadata {
    ConnectorMetadata {
        display_name: "Retool".to_owned(),
        description: "Retool connector".to_owned(),
        capabilities: Some(capabilities(kinds)),
        account_creation_schema: Some(account_creation_schema()),
        ..Default::default()
    }
}

fn capabilities(kinds: impl Iterator<Item = ResourceKind>) -> ConnectorCapabilities {
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_by_key(|kind| kind.type_id());
    ConnectorCapabilities {
        resource_type_capabilities: kinds.into_iter().map(of_type).collect(),
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

/// Targeted sync is GetResource, which the former program lacked (D59).
fn of_type(kind: ResourceKind) -> ResourceTypeCapability {
    let own = match kind {
        ResourceKind::Group | ResourceKind::Page => Some(Capability::Provision),
        ResourceKind::User => Some(Capability::AccountProvisioning),
        ResourceKind::Organization | ResourceKind::Resource => None,
    };
    let capabilities = [Some(Capability::Sync), own, Some(Capability::TargetedSync)];
    ResourceTypeCapability {
        resource_type: Some(describe(kind)),
        capabilities: capabilities.into_iter().flatten().map(i32::from).collect(),
        permissions: Some(CapabilityPermissions::default()),
        ..Default::default()
    }
}

fn describe(kind: ResourceKind) -> ResourceType {
    match kind {
        ResourceKind::Organization => organization::describe(),
        ResourceKind::User => user::describe(),
        ResourceKind::Group => group::describe(),
        ResourceKind::Page => page::describe(),
        ResourceKind::Resource => resource::describe(),
    }
}

/// What a new account needs: four texts without default values.
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
                "What kind of user: default (billable), mobile or embed. Left out, it is default.",
            ),
        ),
    ];
    ConnectorAccountCreationSchema {
        field_map: fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect(),
    }
}
