//! The start of the function up to its first answer.

use std::process::Stdio;
use std::time::{Duration, Instant};

use baton_retool::proto::connector::{
    ConnectorServiceGetMetadataRequest, ConnectorServiceGetMetadataResponse,
    ResourceTypesServiceListResourceTypesRequest, ResourceTypesServiceListResourceTypesResponse,
    TicketsServiceGetTicketRequest,
};
use serde_json::{Map, Value, json};

use crate::support::hosted::caller::Form;
use crate::support::hosted::runtime::Lambda;
use crate::support::hosted::stage::{NOWHERE, Parts, Stage, other_program, tested_program};
use crate::support::hosted::{Config, sealed_for_another};
use crate::support::server::Server;

const METADATA: &str = "ConnectorService/GetMetadata";

pub(crate) async fn metadata(stage: &Stage) {
    let answered = stage.call(METADATA, &ConnectorServiceGetMetadataRequest::default(), Form::Dual).await;
    let answer: ConnectorServiceGetMetadataResponse = answered.message();
    assert_eq!(answer.metadata.unwrap().display_name, "Retool");
}

/// A variable and its value; `None` if it is not set.
pub(crate) type Variable<'a> = (&'a str, Option<&'a str>);

/// The failure of a start with these variables: the exit code and the message of the last line.
pub(crate) fn failure(parts: &Parts, variables: &[Variable<'_>]) -> (i32, String) {
    let mut program = parts.program("lambda");
    for (name, value) in variables {
        match value {
            Some(value) => program.env(name, value),
            None => program.env_remove(name),
        };
    }
    let output = program.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty());
    let secret = parts.hosted.secret().rsplit(':').next().unwrap();
    assert!(!text.contains(secret) && !text.contains("not-a-real"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let last = lines.last().expect("stderr is empty");
    assert_eq!((&last["level"], &last["tenant_id"]), (&json!("error"), &json!("tenant-7")));
    (output.status.code().unwrap(), last["msg"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_fetches_its_settings_and_answers() {
    let stage = Stage::nowhere().await;
    metadata(&stage).await;
    assert_eq!(stage.parts.hosted.asked(), [""]);
    // The first request was answered with a nonce.
    assert_eq!(stage.parts.hosted.token_requests(), 2);
    let line = stage.function.wait_for_log(|line| line["msg"] == "waiting for events");
    assert_eq!((&line["tenant_id"], &line["configuration"]), (&json!("tenant-7"), &json!("cv-1")));
    let (status, _) = stage.function.stop();
    assert!(status.success());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_program_named_bootstrap_needs_no_arguments() {
    let parts = Parts::new(NOWHERE).await;
    let bootstrap = parts.folder.path().join("bootstrap");
    std::os::unix::fs::symlink(tested_program(), &bootstrap).unwrap();
    let stage = Stage { function: Server::run(parts.program_at(&bootstrap)), parts };
    metadata(&stage).await;
    stage.function.wait_for_log(|line| line["msg"] == "waiting for events");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_setting_ends_the_function_with_one_line() {
    let parts = Parts::new(NOWHERE).await;
    const SIGNER: &str = "BATON_LAMBDA_AUTH_JWT_SIGNER";
    const JWKS: &str = "BATON_LAMBDA_AUTH_JWT_JWKS_URL";
    let both = (JWKS, Some("http://127.0.0.1:1/jwks"));
    let cases: &[(&[Variable<'_>], &str)] = &[
        (&[("BATON_LAMBDA_CLIENT_ID", None)], "lambda-client-id is required"),
        (&[("BATON_LAMBDA_CLIENT_ID", Some(""))], "lambda-client-id is required"),
        (&[("BATON_LAMBDA_CLIENT_ID", Some("name"))], "invalid client id"),
        (&[("BATON_LAMBDA_CLIENT_SECRET", None)], "lambda-client-secret is required"),
        (&[("BATON_LAMBDA_CLIENT_SECRET", Some("a:b:v2:c"))], "BATON_LAMBDA_CLIENT_SECRET"),
        (&[("BATON_LAMBDA_AUTH_JWT_EXPECTED_ISSUER", None)], "expected-issuer is required"),
        (&[("BATON_LAMBDA_AUTH_JWT_EXPECTED_SUBJECT", None)], "expected-subject is required"),
        (&[("BATON_LAMBDA_AUTH_JWT_EXPECTED_AUDIENCE", None)], "expected-audience is required"),
        (&[(SIGNER, None)], "must specify exactly one of lambda-auth-jwt-signer or lambda-auth-jwt-jwks-url"),
        (&[both], "mutually exclusive"),
        (
            &[(SIGNER, None), (JWKS, Some("keys.example.com/hunter2"))],
            "lambda-auth-jwt-jwks-url is not an http or https URL",
        ),
        (&[(SIGNER, Some("{}"))], "lambda-auth-jwt-signer: its type is not"),
        (&[(SIGNER, Some(r#"{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}"#))], "it is a private key"),
        (&[("BATON_LAMBDA_TOKEN_HOST", Some(""))], "BATON_LAMBDA_TOKEN_HOST"),
        (&[("BATON_LAMBDA_CONFIGURATION_HOST", Some("a b"))], "BATON_LAMBDA_CONFIGURATION_HOST"),
        (&[("BATON_LAMBDA_CA_CERT_PATH", Some("/no/such/file"))], "BATON_LAMBDA_CA_CERT_PATH"),
        (&[("AWS_REGION", None)], "AWS_REGION is not set"),
        (&[("AWS_ACCESS_KEY_ID", None)], "AWS_ACCESS_KEY_ID is not set"),
        (&[("AWS_SECRET_ACCESS_KEY", Some(""))], "AWS_SECRET_ACCESS_KEY is not set"),
        (&[("AWS_LAMBDA_RUNTIME_API", None)], "AWS_LAMBDA_RUNTIME_API is not set"),
    ];
    for (variables, word) in cases {
        let (code, said) = failure(&parts, variables);
        assert!(code == 2 && said.contains(word), "{variables:?}: {code} {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    // All errors were found without a request.
    assert!(parts.hosted.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_token_or_configuration_ends_the_function_with_one_line() {
    let parts = Parts::new(NOWHERE).await;
    let answered = |status, nonce, body, word: &str| {
        parts.hosted.plan(|plan| {
            plan.answers.clear();
            plan.answers.push_back((status, nonce, body));
            plan.answers.push_back((status, nonce, body));
        });
        let (code, said) = failure(&parts, &[]);
        assert!(code == 1 && said.contains(word), "{code} {said}");
    };
    let challenge = r#"{"error":"use_dpop_nonce"}"#;
    answered(400, Some("n"), challenge, "a second use_dpop_nonce");
    answered(400, None, challenge, "use_dpop_nonce without the header DPoP-Nonce");
    answered(401, None, r#"{"error":"invalid_client"}"#, "answered 401 (invalid_client)");
    answered(403, None, r#"{"error":"Who are you?"}"#, "answered 403;");
    answered(200, None, "{}", "a token of an unknown type");
    answered(200, None, r#"{"token_type":"DPoP"}"#, "an empty token");
    answered(200, None, r#"{"token_type":"mac","access_token":"t"}"#, "a token of an unknown type");
    answered(200, None, "no JSON", "an invalid JSON response");
    parts.hosted.plan(|plan| plan.answers.clear());

    let served = |config: Config, code: i32, word: &str| {
        parts.hosted.serve("cv-1", config);
        let (found, said) = failure(&parts, &[]);
        assert!(found == code && said.contains(word), "{found} {said}");
    };
    let sealed = Config { sealed: Some(b"age-encryption.org/v1\n".to_vec()), ..Config::default() };
    served(sealed, 1, "cannot decrypt the served configuration");
    let settings = json!({ "connection-string": NOWHERE });
    let foreign = Config { sealed: Some(sealed_for_another(&settings)), ..Config::default() };
    served(foreign, 1, "cannot decrypt the served configuration: No matching keys found");
    let plain = Config { sealed: Some(settings.to_string().into_bytes()), ..Config::default() };
    served(plain, 1, "cannot decrypt the served configuration");
    let many = Config { sealed: Some(vec![b'x'; 5 * 1024 * 1024]), ..Config::default() };
    served(many, 1, "configuration service answered OutOfRange");
    served(Config::of("cv-1", json!([1])), 1, "is not a JSON object");
    let many: Map<String, Value> = (0..1001).map(|number| (format!("k{number}"), json!(1))).collect();
    served(Config::of("cv-1", many.into()), 1, "the served configuration has more than 1000 keys");
    served(Config::of("cv-1", json!({ "x".repeat(1024 * 1024): 1 })), 2, "connection-string is required");
    served(Config::of("cv-1", json!({})), 2, "connection-string is required");
    let wrong = json!({ "connection-string": NOWHERE, "skip-pages": "perhaps" });
    served(Config::of("cv-1", wrong), 2, "skip-pages (key skip-pages of the served configuration)");
    served(Config::of("cv-1", json!({ "connection-string": "postgres://h:x/" })), 2, "connection-string");
    let wrong = json!({ "connection-string": NOWHERE, "log-level-debug-expires-at": "soon" });
    served(Config::of("cv-1", wrong), 2, "log-level-debug-expires-at");
    let hosts = [("BATON_LAMBDA_CONFIGURATION_HOST", Some("127.0.0.1:1"))];
    let (code, said) = failure(&parts, &hosts);
    assert!(code == 1 && said.contains("cannot reach ConductorOne's configuration service"), "{said}");
    let (code, said) = failure(&parts, &[("BATON_LAMBDA_CA_CERT_PATH", None)]);
    assert!(code == 1 && said.contains("cannot reach"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn served_settings_override_other_sources() {
    let parts = Parts::new(NOWHERE).await;
    parts.hosted.serve(
        "cv-1",
        Config::of(
            "cv-1",
            json!({
                "connection-string": NOWHERE, "Skip-Pages": true, "max-requests": 7.0, "log-level": "debug",
                "no-such-setting": 1, "auth-method": "x", "sync-resource-types": ["user"],
                "session-store-maximum-size": 1,
            }),
        ),
    );
    let mut program = parts.program("lambda");
    program.env("BATON_SKIP_PAGES", "false").env("BATON_SKIP_RESOURCES", "true");
    let stage = Stage { function: Server::run(program), parts };
    let request = ResourceTypesServiceListResourceTypesRequest::default();
    let answered = stage.call("ResourceTypesService/ListResourceTypes", &request, Form::Json).await;
    let answer: ResourceTypesServiceListResourceTypesResponse = answered.message();
    let names: Vec<&str> = answer.list.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(names, ["org", "user", "group"]);
    let in_force = |name: &str| {
        let line = stage.function.wait_for_log(|line| line["setting"] == name);
        (line["value"].as_str().unwrap().to_owned(), line["origin"].as_str().unwrap().to_owned())
    };
    let served = |name: &str| format!("key {name} of the served configuration");
    assert_eq!(in_force("skip-pages"), ("true".to_owned(), served("skip-pages")));
    assert_eq!(in_force("max-requests"), ("7".to_owned(), served("max-requests")));
    assert_eq!(in_force("skip-resources").1, "variable BATON_SKIP_RESOURCES");
    let unknown = stage.function.wait_for_log(|line| {
        line["msg"]
            .as_str()
            .is_some_and(|text| text.starts_with("served configuration: an unknown key is ignored"))
    });
    assert_eq!(unknown["level"], "warn");
    let (_, lines) = stage.function.stop();
    let unknown = |line: &&Value| line["msg"].as_str().is_some_and(|text| text.contains("unknown key"));
    assert_eq!(lines.iter().filter(unknown).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn served_settings_can_be_strings() {
    let parts = Parts::new(NOWHERE).await;
    let settings = json!({
        "connection-string": NOWHERE, "skip-pages": "true", "skip-resources": "false", "max-requests": "7",
        "log-level": "debug",
    });
    parts.hosted.serve("cv-1", Config::of("cv-1", settings));
    let stage = parts.run();
    let request = ResourceTypesServiceListResourceTypesRequest::default();
    let answered = stage.call("ResourceTypesService/ListResourceTypes", &request, Form::Json).await;
    let answer: ResourceTypesServiceListResourceTypesResponse = answered.message();
    assert_eq!(answer.list.len(), 4);
    let line = stage.function.wait_for_log(|line| line["setting"] == "max-requests");
    assert_eq!(line["value"], "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_have_the_served_limits() {
    let request = TicketsServiceGetTicketRequest { id: "x".repeat(64 * 1024), ..Default::default() };
    for limit in [16 * 1024, 128 * 1024] {
        let parts = Parts::new(NOWHERE).await;
        let settings = json!({ "connection-string": NOWHERE, "max-request-bytes": limit });
        parts.hosted.serve("cv-1", Config::of("cv-1", settings));
        let stage = parts.run();
        let answered = stage.call("TicketsService/GetTicket", &request, Form::Frame).await;
        if limit < request.id.len() {
            answered.assert_failed(8, "--max-request-bytes");
        } else {
            // The request is read; there are no tickets.
            assert!(!matches!(answered.status.code, 0 | 8), "{answered:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_of_a_release_build_arrives_within_300_ms() {
    const STARTS: usize = 10;
    // A test build takes several times as long as a release build, and longer on a busy machine.
    let is_release = other_program().is_some() || !cfg!(debug_assertions);
    let limit = Duration::from_millis(if is_release { 300 } else { 20_000 });
    let mut parts = Parts::new(NOWHERE).await;
    let mut times = Vec::new();
    // The machine may be busy for a while, so the fastest start counts.
    while times.len() < STARTS || (times[0] >= limit && times.len() < 3 * STARTS) {
        let begun = Instant::now();
        let stage = parts.run();
        metadata(&stage).await;
        times.push(begun.elapsed());
        times.sort_unstable();
        let Stage { function, parts: left } = stage;
        drop(function);
        parts = left;
        // The double of Lambda could still hand the next event to the ended function.
        parts.lambda = Lambda::start().await;
    }
    let (fastest, median) = (times[0], times[times.len() / 2]);
    eprintln!("from exec to the first answer: fastest {fastest:?}, median {median:?} of {}", times.len());
    assert!(fastest < limit, "{fastest:?}");
}
