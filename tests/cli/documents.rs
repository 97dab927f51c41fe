//! `capabilities` and `config`: the documents for ConductorOne's tools.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::server::program;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    program().args(arguments).envs(variables.iter().copied()).current_dir(folder.path()).output().unwrap()
}

fn document(arguments: &[&str], variables: &[(&str, &str)]) -> (String, Value) {
    let output = run(arguments, variables);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// The capabilities of each resource type, in the order of the document.
fn types(document: &Value) -> Vec<(&str, Vec<&str>)> {
    let types = document["resourceTypeCapabilities"].as_array().unwrap();
    types
        .iter()
        .map(|one| (one["resourceType"]["id"].as_str().unwrap(), names(&one["capabilities"])))
        .collect()
}

#[test]
fn capabilities_need_neither_settings_nor_a_database() {
    let (text, document) = document(&["capabilities"], &[]);
    assert_eq!(document["@type"], "type.googleapis.com/c1.connector.v2.ConnectorCapabilities");
    assert!(text.starts_with("{\n  \"@type\"") && text.ends_with('}'), "{text}");
    let keys: Vec<_> = document.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["@type", "resourceTypeCapabilities", "connectorCapabilities", "credentialDetails"]);
    let expected: [(&str, &str, &[&str], &[&str]); 5] = [
        ("group", "Group", &["TRAIT_GROUP"], &["CAPABILITY_SYNC", "CAPABILITY_PROVISION"]),
        ("org", "Organization", &[], &["CAPABILITY_SYNC"]),
        ("page", "Page", &[], &["CAPABILITY_SYNC", "CAPABILITY_PROVISION"]),
        ("resource", "Resource", &[], &["CAPABILITY_SYNC"]),
        ("user", "User", &["TRAIT_USER"], &["CAPABILITY_SYNC", "CAPABILITY_ACCOUNT_PROVISIONING"]),
    ];
    assert_eq!(types(&document).len(), expected.len());
    for ((id, display_name, traits, capabilities), found) in
        expected.iter().zip(document["resourceTypeCapabilities"].as_array().unwrap())
    {
        let resource_type = &found["resourceType"];
        assert_eq!(
            (resource_type["id"].as_str(), resource_type["displayName"].as_str()),
            (Some(*id), Some(*display_name))
        );
        let given = resource_type.get("traits").map(names).unwrap_or_default();
        assert_eq!(given, *traits, "{id}");
        let found_capabilities = names(&found["capabilities"]);
        assert!(
            capabilities.iter().all(|one| found_capabilities.contains(one)),
            "{id}: {found_capabilities:?}"
        );
        assert_eq!(found["permissions"], json!({}), "{id}");
    }
    let of_connector = names(&document["connectorCapabilities"]);
    for one in ["PROVISION", "SYNC", "ACCOUNT_PROVISIONING", "ACTIONS"] {
        assert!(of_connector.contains(&format!("CAPABILITY_{one}").as_str()), "{one}: {of_connector:?}");
    }
    let option = "CAPABILITY_DETAIL_CREDENTIAL_OPTION_NO_PASSWORD";
    assert_eq!(
        document["credentialDetails"]["capabilityAccountProvisioning"],
        json!({"supportedCredentialOptions": [option], "preferredCredentialOption": option})
    );
}

#[test]
fn capabilities_omit_skipped_resource_types() {
    let (_, by_flags) = document(&["capabilities", "--skip-pages", "--skip-resources"], &[]);
    let (_, before) = document(&["--skip-pages", "--skip-resources", "capabilities"], &[]);
    let variables = [("BATON_SKIP_PAGES", "true"), ("BATON_SKIP_RESOURCES", "1")];
    let (_, by_variables) = document(&["capabilities"], &variables);
    for document in [by_flags, before, by_variables] {
        let ids: Vec<_> = types(&document).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["group", "org", "user"]);
    }
    // Settings of a release do not change the document.
    document(&["capabilities", "--connection-string", "x", "--provisioning"], &[]);
    assert_eq!(run(&["capabilities", "--skip-pages=banana"], &[]).status.code(), Some(2));
}

/// The fields that tools know, in order: the name, whether it is an operational setting, and the kind with
/// its default.
const FIELDS: &[(&str, bool, &str, Option<&str>)] = &[
    ("log-level", true, "stringField", Some("info")),
    ("log-level-debug-expires-at", true, "stringField", None),
    ("session-store-maximum-size", true, "intField", Some("15728640")),
    ("otel-collector-endpoint", true, "stringField", None),
    ("otel-collector-endpoint-tls-cert-path", true, "stringField", None),
    ("otel-collector-endpoint-tls-cert", true, "stringField", None),
    ("otel-collector-endpoint-tls-insecure", true, "boolField", None),
    ("otel-tracing-disabled", true, "boolField", None),
    ("otel-logging-disabled", true, "boolField", None),
    ("health-check", true, "boolField", None),
    ("health-check-port", true, "intField", Some("8081")),
    ("health-check-bind-address", true, "stringField", Some("127.0.0.1")),
    ("http-timeout-seconds", true, "intField", Some("30")),
    ("connection-string", false, "stringField", None),
    ("skip-pages", false, "boolField", None),
    ("skip-resources", false, "boolField", None),
    ("skip-disabled-users", false, "boolField", None),
    ("retool-api-base-url", false, "stringField", None),
    ("retool-api-token", false, "stringField", None),
];

#[test]
fn the_configuration_schema_has_the_fields_that_tools_expect() {
    let (text, document) = document(&["config"], &[]);
    assert!(text.starts_with("{\n  \"fields\"") && text.ends_with('}'), "{text}");
    assert_eq!(document["displayName"], "Retool");
    assert_eq!(document["helpUrl"], "/docs/baton/retool");
    assert_eq!(document["iconUrl"], "/static/app-icons/retool.svg");
    let fields = document["fields"].as_array().unwrap();
    let found: Vec<_> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(found, FIELDS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for ((name, is_ops, kind, default), field) in FIELDS.iter().zip(fields) {
        assert_eq!(field.get("isOps").is_some(), *is_ops, "{name}");
        assert!(!field["description"].as_str().unwrap().is_empty(), "{name}");
        let value = field.get(*kind).unwrap_or_else(|| panic!("{name} is no {kind}: {field}"));
        if let Some(default) = default {
            assert_eq!(value["defaultValue"], *default, "{name}");
        }
        if *kind == "boolField" {
            assert_eq!(value, &json!({}), "{name}");
        }
    }
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    let rules = &field("http-timeout-seconds")["intField"]["rules"];
    assert_eq!((&rules["gte"], &rules["lte"]), (&json!("1"), &json!("1800")), "64-bit numbers are texts");
    let connection = field("connection-string");
    assert_eq!((&connection["isRequired"], &connection["isSecret"]), (&json!(true), &json!(true)));
    assert_eq!(connection["stringField"], json!({"rules": {"isRequired": true}}));
    assert_eq!(field("retool-api-token")["isSecret"], true);
    assert_eq!(field("retool-api-token")["displayName"], "Retool API Token");
    assert_eq!(field("retool-api-base-url")["displayName"], "Retool API Base URL");
    assert!(field("log-level").get("isSecret").is_none());
    let together = json!([{
        "kind": "CONSTRAINT_KIND_REQUIRED_TOGETHER",
        "fieldNames": ["retool-api-base-url", "retool-api-token"],
    }]);
    assert_eq!(document["constraints"], together);
}
