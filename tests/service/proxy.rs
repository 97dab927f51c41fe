//! The HTTP proxy between the program and ConductorOne.

use super::{NOWHERE, end, small};
use crate::support::c1::C1;
use crate::support::faulty_http::ConnectProxy;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_calls_go_through_a_proxy() {
    let c1 = C1::start().await;
    let proxy = ConnectProxy::start().await;
    let url = proxy.url().replace("http://", "http://user:hunter2@");
    let server = Server::run(c1.program_behind(&url, NOWHERE));
    c1.run(small()).await;
    assert_eq!(proxy.seen(), [c1.name(), c1.name()]);
    assert_eq!(proxy.authorizations(), ["Basic dXNlcjpodW50ZXIy"; 2]);
    let begun = server.wait_for_log(|line| line["msg"] == "serving ConductorOne");
    assert_eq!(begun["proxy"], proxy.url());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loopback_address_needs_no_proxy() {
    let c1 = C1::start().await;
    let proxy = ConnectProxy::start().await;
    let mut command = c1.program(NOWHERE);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] {
        command.env(name, proxy.url());
    }
    let _server = Server::run(command);
    c1.run(small()).await;
    assert!(proxy.seen().is_empty(), "{:?}", proxy.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_no_proxy_is_reached_without_the_proxy() {
    let c1 = C1::start().await;
    let proxy = ConnectProxy::start().await;
    let mut command = c1.program_behind(&proxy.url(), NOWHERE);
    command.env("NO_PROXY", format!("other.example.com,*.test:{}", c1.address().port()));
    let server = Server::run(command);
    // Without the proxy, the name has no address.
    let failed =
        server.wait_for_log(|line| line["msg"] == "cannot get an access token from ConductorOne, retrying");
    assert!(failed["error"].as_str().unwrap().contains("/auth/v1/token cannot be reached"), "{failed}");
    assert!(proxy.seen().is_empty(), "{:?}", proxy.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_proxy_ends_the_program() {
    let c1 = C1::start().await;
    let server = Server::run(c1.program_behind("socks5://user:hunter2@127.0.0.1:9", NOWHERE));
    let (status, said) = end(server);
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("HTTPS_PROXY names a socks5 proxy"), "{said}");
    assert!(said.contains("http://host:port") && !said.contains("hunter2"), "{said}");
    assert_eq!(c1.attempts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_a_refusing_proxy_without_its_password() {
    let c1 = C1::start().await;
    let proxy = ConnectProxy::refusing().await;
    let url = proxy.url().replace("http://", "http://user:hunter2@");
    let server = Server::run(c1.program_behind(&url, NOWHERE));
    let refused = format!("the proxy {} refused a connection to {}: ", proxy.url(), c1.name());
    server.wait_for_log(|line| {
        line["level"] == "warn" && line["error"].as_str().is_some_and(|text| text.contains(&refused))
    });
    let log = server.logs().iter().map(ToString::to_string).collect::<String>();
    assert!(!log.contains("hunter2"), "{log}");
    assert!(c1.calls().is_empty());
}
