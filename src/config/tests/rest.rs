//! Retool's REST API.

use super::*;

#[test]
fn accepts_a_secret_that_starts_with_a_dash() {
    let flags = ["--retool-api-token", "-x", "--retool-api-base-url", "https://h"];
    let rest = Setup::new().flags(flags).settings().rest.unwrap();
    assert_eq!(rest.token.expose_secret(), "-x");
}

#[test]
fn the_error_of_a_single_rest_setting_names_the_other() {
    let url = Setup::new().variable("BATON_RETOOL_API_BASE_URL", "https://h");
    assert_eq!(
        url.error(),
        "retool-api-base-url (variable BATON_RETOOL_API_BASE_URL) requires retool-api-token: set the flag \
         --retool-api-token, the variable BATON_RETOOL_API_TOKEN or the key retool-api-token in the config file; \
         accepted: both or neither"
    );
    let token = Setup::new().file("retool-api-token: s3cret\n").error();
    let expected = "retool-api-token (key retool-api-token of .baton.yaml) requires retool-api-base-url";
    assert!(token.starts_with(expected), "{token}");
    let emptied = url.variable("BATON_RETOOL_API_TOKEN", "x").flags(["--retool-api-token", ""]);
    assert!(emptied.error().contains("requires retool-api-token"));
}

#[test]
fn warns_about_plain_http_to_another_machine() {
    let with = |url: &str| {
        Setup::new()
            .variable("BATON_RETOOL_API_TOKEN", "x")
            .variable("BATON_RETOOL_API_BASE_URL", url)
            .warnings()
    };
    let expected = "retool-api-base-url: http sends the API token to retool.internal unencrypted; use https";
    assert_eq!(with("http://retool.internal:3000/"), [expected]);
    for url in ["http://localhost:3000", "http://127.0.0.9", "http://[::1]:3000", "https://retool.internal"] {
        assert_eq!(with(url), [""; 0], "{url}");
    }
}

#[test]
fn rejects_an_invalid_url_or_token_without_quoting_it() {
    let with = |url: &str, token: &str| {
        let setup = Setup::new().variable("BATON_RETOOL_API_TOKEN", token);
        setup.variable("BATON_RETOOL_API_BASE_URL", url).error()
    };
    let url = with("https://user:hunter2@h", "x");
    assert!(
        url.starts_with(
            "retool-api-base-url (variable BATON_RETOOL_API_BASE_URL): the URL must not contain credentials"
        ),
        "{url}"
    );
    assert!(!url.contains("hunter2"));
    let token = with("https://h", "hunter2 hunter3");
    assert!(
        token.starts_with("retool-api-token (variable BATON_RETOOL_API_TOKEN): the token has"),
        "{token}"
    );
    assert!(!token.contains("hunter"));
    let number =
        Setup::new().variable("BATON_RETOOL_API_BASE_URL", "https://h").file("retool-api-token: 4242\n");
    assert!(number.error().contains("a number without quotes is not text"), "{}", number.error());
    assert!(!number.error().contains("4242"));
}

#[test]
fn removes_the_line_break_after_a_token() {
    let setup = Setup::new().variable("BATON_RETOOL_API_TOKEN", "abc\n");
    let rest = setup.variable("BATON_RETOOL_API_BASE_URL", "https://h").settings().rest.unwrap();
    assert_eq!(rest.token.expose_secret(), "abc");
}
