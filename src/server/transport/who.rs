//! Identifies the caller of a call.

use http::Request;

use crate::server::transport::connection::Peer;
use crate::server::transport::quota::Who;
use crate::server::transport::tokens::TokenId;

/// The caller of this request, after the check of its token.
pub(super) fn who<B>(request: &Request<B>) -> Who {
    let token = request.extensions().get::<TokenId>().copied();
    let slot = request.extensions().get::<Peer>().map(|peer| &peer.slot);
    slot.map_or(Who { token, ..Who::default() }, |slot| Who {
        connection: slot.number,
        network: slot.network,
        token,
    })
}
