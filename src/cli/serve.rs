//! `baton-retool serve`

use super::{Failure, asked_to_stop, connector};
use crate::config::Settings;
use crate::server::{Endpoint, Security, Server};

pub(super) async fn run(settings: Settings) -> Result<(), Failure> {
    let connector = connector(&settings)?;
    let server = Server::new(connector);
    let listening = server
        .listen(
            &Endpoint::Tcp { host: settings.listen.host.clone(), port: settings.listen.port },
            Security::default(),
        )
        .await
        .map_err(|error| Failure::Run(error.into()))?;
    tracing::info!(address = %listening.address(), version = env!("CARGO_PKG_VERSION"), "listening");
    listening.serve(asked_to_stop(), asked_to_stop()).await.map_err(|error| Failure::Run(error.into()))
}
