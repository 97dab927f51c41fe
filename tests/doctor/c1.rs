//! Checks of the connection to ConductorOne: the credentials, the network, and the token.

use crate::support::c1::{C1, Method};
use crate::support::faulty_http::ConnectProxy;

/// The status and text of the check of ConductorOne. `variables` override those of the double.
fn line(c1: &C1, variables: &[(&str, &str)]) -> (String, String) {
    let mut command = c1.program("postgres://baton@127.0.0.1:1/retool");
    command.args(["doctor", "--output", "json"]).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["check"] == "c1").unwrap();
    let text = found.to_string();
    assert!(!text.contains(c1.secret().rsplit(':').next().unwrap()), "{text}");
    (found["status"].as_str().unwrap().to_owned(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_client_gets_a_token_without_a_hello_call() {
    let c1 = C1::start().await;
    let (status, text) = line(&c1, &[]);
    assert_eq!(status, "ok", "{text}");
    assert!(text.contains("tall-tree-1"), "{text}");
    let methods: Vec<Method> = c1.calls().iter().map(|call| call.method).collect();
    assert_eq!(methods, [Method::Token]);
    let proxy = ConnectProxy::start().await;
    let behind = [("HTTPS_PROXY", proxy.url()), ("BATON_C1_API_HOST", c1.name())];
    let (status, text) = line(&c1, &behind.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert!(status == "ok" && text.contains("through the proxy"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_problem_of_the_client_is_reported() {
    let c1 = C1::start().await;
    let other = C1::start().await;
    let authority = other.authority().display().to_string();
    let other_secret = other.secret();
    for (variables, word) in [
        (&[("BATON_CLIENT_SECRET", "a:b:v2:c")][..], "not of version v1"),
        (&[("BATON_CLIENT_ID", "name")], "name@host/path"),
        (&[("BATON_CLIENT_ID", "")], "client-secret"),
        (&[("BATON_C1_API_HOST", "no-such-host.invalid")], "cannot be resolved"),
        (&[("BATON_C1_API_HOST", "127.0.0.1:1")], "cannot be reached"),
        (&[("SSL_CERT_FILE", authority.as_str())], "does not trust"),
    ] {
        let (status, text) = line(&c1, variables);
        assert_eq!(status, "failed", "{text}");
        assert!(text.contains(word), "{variables:?}: {text}");
    }
    assert!(c1.calls().is_empty());
    let (status, text) = line(&c1, &[("BATON_CLIENT_SECRET", &other_secret)]);
    assert!(status == "failed" && text.contains("refuses this client"), "{text}");
    c1.forgive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_token_endpoint_is_reported() {
    for (answer, word) in [
        ((500, String::new()), "answered 500 Internal Server Error instead of an access token"),
        ((200, "<html>a portal</html>".to_owned()), "an invalid JSON response"),
    ] {
        let c1 = C1::start().await;
        // The first request and its retries.
        c1.plan(|plan| plan.token_answers.extend(vec![answer; 4]));
        let (status, text) = line(&c1, &[]);
        assert!(status == "failed" && text.contains(word), "{text}");
        assert!(text.contains("run this again in a minute") && !text.contains("a portal"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_reported() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.clock_ahead_by = 4000);
    let (status, text) = line(&c1, &[]);
    assert!(status == "failed" && text.contains(" is 1 h 6 min behind: correct it"), "{text}");
    assert!(text.contains("correct this machine's clock"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cannot_be_used_is_reported() {
    let c1 = C1::start().await;
    let proxy = ConnectProxy::refusing().await;
    let name = c1.name();
    let refusing = proxy.url().replace("http://", "http://user:hunter2@");
    let refused = format!("the proxy {} refused a connection to {name}", proxy.url());
    for (url, word, fix) in [
        (refusing.as_str(), refused.as_str(), "exclude this host with NO_PROXY"),
        (
            "socks5://user:hunter2@127.0.0.1:9",
            "HTTPS_PROXY names a socks5 proxy",
            "exclude c1.test with NO_PROXY",
        ),
    ] {
        let (status, text) = line(&c1, &[("HTTPS_PROXY", url), ("BATON_C1_API_HOST", &name)]);
        assert!(status == "failed" && text.contains(word) && text.contains(fix), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(c1.calls().is_empty());
}
