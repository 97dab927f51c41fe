//! The settings of a connector that ConductorOne hosts. They have flags on the command `lambda` alone, and a program
//! without that command passes over them.

use crate::config::declaration::text;
use crate::config::setting::{Fallback, Group, Relation, Setting};

/// The settings of a hosted connector.
pub(crate) const HOSTED: &[Setting] = &[
    Setting {
        fallback: Fallback::Required,
        value_name: "ID",
        ..text("lambda-client-id", Group::Hosted, "Which client of ConductorOne the function is")
    },
    Setting {
        fallback: Fallback::Required,
        value_name: "SECRET",
        secret: true,
        ..text("lambda-client-secret", Group::Hosted, "The key of that client")
    },
    Setting {
        value_name: "JWK",
        relation: Some(Relation::Excludes("lambda-auth-jwt-jwks-url")),
        ..text(
            "lambda-auth-jwt-signer",
            Group::Hosted,
            "The public key that callers sign with, as a JSON Web Key; this or lambda-auth-jwt-jwks-url",
        )
    },
    Setting {
        value_name: "URL",
        ..text(
            "lambda-auth-jwt-jwks-url",
            Group::Hosted,
            "Where the public keys are that callers sign with; this or lambda-auth-jwt-signer",
        )
    },
    Setting {
        fallback: Fallback::Required,
        value_name: "ISSUER",
        ..text("lambda-auth-jwt-expected-issuer", Group::Hosted, "Who issues the tokens of callers")
    },
    Setting {
        fallback: Fallback::Required,
        value_name: "SUBJECT",
        ..text("lambda-auth-jwt-expected-subject", Group::Hosted, "What the tokens of callers are about")
    },
    Setting {
        fallback: Fallback::Required,
        value_name: "AUDIENCE",
        ..text("lambda-auth-jwt-expected-audience", Group::Hosted, "For whom the tokens of callers are")
    },
];
