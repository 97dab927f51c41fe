//! The settings of a connector that ConductorOne hosts. Only the command `lambda` has flags for them, and a program
//! without that command ignores them.

use crate::config::declaration::text;
use crate::config::setting::{Fallback, Group, Relation, Setting};

/// The settings of a hosted connector.
pub(crate) const HOSTED: &[Setting] = &[
    Setting {
        fallback: Fallback::Required,
        value_name: "ID",
        ..text("lambda-client-id", Group::Hosted, "OAuth client of the function at ConductorOne")
    },
    Setting {
        fallback: Fallback::Required,
        value_name: "SECRET",
        secret: true,
        ..text("lambda-client-secret", Group::Hosted, "Private key of the client lambda-client-id")
    },
    Setting {
        value_name: "JWK",
        relation: Some(Relation::Excludes("lambda-auth-jwt-jwks-url")),
        ..text(
            "lambda-auth-jwt-signer",
            Group::Hosted,
            "Public key of the callers' tokens, as a JSON Web Key; set this or lambda-auth-jwt-jwks-url",
        )
    },
    Setting {
        value_name: "URL",
        ..text(
            "lambda-auth-jwt-jwks-url",
            Group::Hosted,
            "URL of the public keys of the callers' tokens; set this or lambda-auth-jwt-signer",
        )
    },
    Setting {
        fallback: Fallback::Required,
        value_name: "ISSUER",
        ..text("lambda-auth-jwt-expected-issuer", Group::Hosted, "Issuer that the callers' tokens must have")
    },
    Setting {
        fallback: Fallback::Required,
        value_name: "SUBJECT",
        ..text(
            "lambda-auth-jwt-expected-subject",
            Group::Hosted,
            "Subject that the callers' tokens must have",
        )
    },
    Setting {
        fallback: Fallback::Required,
        value_name: "AUDIENCE",
        ..text(
            "lambda-auth-jwt-expected-audience",
            Group::Hosted,
            "Audience that the callers' tokens must have",
        )
    },
];
