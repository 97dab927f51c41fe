//! Names, arguments and results of the actions.

use crate::connector::actions::action::Action;
use crate::connector::resource_kind::ResourceKind;
use crate::proto::config::{BoolField, Field, ResourceIdField, ResourceIdRules, field};
use crate::proto::connector::{ActionType, BatonActionSchema};

/// Both schemas, always in this order.
pub(crate) fn schemas() -> Vec<BatonActionSchema> {
    vec![
        schema(
            Action::EnableUser,
            "Enable User",
            "Enables a user's account in Retool: the user can sign in again, with the group memberships kept from before.",
            ActionType::AccountEnable,
        ),
        schema(
            Action::DisableUser,
            "Disable User",
            "Disables a user's account in Retool: the user can no longer sign in. Group memberships are kept.",
            ActionType::AccountDisable,
        ),
    ]
}

fn schema(action: Action, display_name: &str, description: &str, kind: ActionType) -> BatonActionSchema {
    BatonActionSchema {
        name: action.name().to_owned(),
        display_name: display_name.to_owned(),
        description: description.to_owned(),
        arguments: vec![Field {
            name: "user_id".to_owned(),
            display_name: "User".to_owned(),
            description: "The user who has the account.".to_owned(),
            is_required: true,
            field: Some(field::Field::ResourceIdField(ResourceIdField {
                rules: Some(ResourceIdRules {
                    allowed_resource_type_ids: vec![ResourceKind::User.type_id().to_owned()],
                }),
                ..Default::default()
            })),
            ..Default::default()
        }],
        return_types: vec![Field {
            name: "success".to_owned(),
            display_name: "Success".to_owned(),
            description: "Whether the account is now in the requested state.".to_owned(),
            field: Some(field::Field::BoolField(BoolField::default())),
            ..Default::default()
        }],
        action_type: vec![kind.into()],
        ..Default::default()
    }
}
