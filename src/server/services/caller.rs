//! The caller of a change, for the audit log.

use prost_types::Any;
use tonic::Request;

use crate::connector::audit::{Caller, TokenNumber};
use crate::proto::connector::RequestId;
use crate::proto::find_annotation;
use crate::server::transport::connection::Peer;
use crate::server::transport::tokens::TokenId;

/// The header in which callers of HTTP services send a request id.
const HEADER: &str = "x-request-id";

/// The caller of this request: the peer of the connection, and the request id from the annotations or else
/// from the headers.
pub(crate) fn caller<T>(request: &Request<T>, annotations: &[Any]) -> Caller {
    let peer = request.extensions().get::<Peer>();
    let annotated = find_annotation::<RequestId>(annotations).and_then(Result::ok).map(|id| id.request_id);
    let in_header = || Some(request.metadata().get(HEADER)?.to_str().ok()?.to_owned());
    let named = annotated.or_else(in_header).filter(|name| is_id(name));
    Caller {
        peer: peer.map(Peer::shown).unwrap_or_default(),
        network: peer.and_then(|peer| peer.slot.network),
        token: request.extensions().get::<TokenId>().map(|token| TokenNumber(token.get())),
        request_id: named.unwrap_or_default(),
    }
}

/// Any other text could be a person's name or a secret, which must not be logged.
fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::any;

    #[test]
    fn the_request_id_comes_from_the_annotation_or_else_the_header() {
        let mut request = Request::new(());
        assert_eq!(caller(&request, &[]), Caller::default());
        let value = "from-header_1".parse();
        if let Ok(value) = value {
            request.metadata_mut().insert(HEADER, value);
        }
        assert_eq!(caller(&request, &[]).request_id, "from-header_1");
        let annotation = any(&RequestId { request_id: "2ABCdef".to_owned() });
        assert_eq!(caller(&request, &[annotation]).request_id, "2ABCdef");
        let personal = any(&RequestId { request_id: "ann@example.com".to_owned() });
        assert_eq!(caller(&request, &[personal]).request_id, "");
    }
}
